#!/usr/bin/python3
"""Core is killed while messages are sent, received and deleted. Each message is accounted for: what
was acknowledged is there until it is deleted, and what was deleted does not come back."""
import random
import threading
import time
import unittest

import fault
from fault import Background, Server

KILLS = 6


class Queue(unittest.TestCase):
    def setUp(self):
        self.lock = threading.Lock()
        self.sent, self.deleted, self.back = set(), set(), set()
        self.unknown = set()  # deletions whose answer was lost
        self.number = 0

    def client(self, s):
        return s.client("sqs")

    def send(self, s, url):
        with self.lock:
            self.number += 10
            first = self.number
        bodies = [str(first + i) for i in range(10)]
        try:
            if first % 20:
                self.client(s).send_message(QueueUrl=url, MessageBody=bodies[0])
                done = bodies[:1]
            else:
                r = self.client(s).send_message_batch(QueueUrl=url, Entries=[
                    {"Id": str(i), "MessageBody": b} for i, b in enumerate(bodies)])
                done = [bodies[int(x["Id"])] for x in r["Successful"]]
        except Exception:  # killed meanwhile: it may be there or not
            return
        with self.lock:
            self.sent.update(done)

    def take(self, s, url, wait=1):
        """Receive and delete a batch; returns how many came. None: the server was not there."""
        try:
            with self.lock:
                gone = set(self.deleted)
            messages = self.client(s).receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=wait).get("Messages", [])
            with self.lock:
                self.back.update(m["Body"] for m in messages if m["Body"] in gone)
            if not messages:
                return 0
            with self.lock:
                self.unknown.update(m["Body"] for m in messages)
            r = self.client(s).delete_message_batch(QueueUrl=url, Entries=[
                {"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]}
                for i, m in enumerate(messages)])
        except Exception:
            return None
        with self.lock:
            done = {messages[int(x["Id"])]["Body"] for x in r["Successful"]}
            self.deleted |= done
            self.unknown -= done
        return len(messages)

    def test_every_message_is_accounted_for(self):
        with Server() as s:
            path = self.client(s).create_queue(
                QueueName="jobs", Attributes={"VisibilityTimeout": "2"})["QueueUrl"]
            with Background(lambda: self.send(s, path), threads=4), \
                    Background(lambda: self.take(s, path), threads=3):
                for _ in range(KILLS):
                    time.sleep(random.uniform(0.5, 1.5) * fault.SLOW)
                    s.kill_core()
            quiet = 0
            while quiet < 4:  # longer than a message is in flight
                quiet = quiet + 1 if self.take(s, path) == 0 else 0
            print(f"{len(self.sent)} acknowledged, {len(self.deleted)} deleted")
            self.assertGreater(len(self.sent), 100)
            self.assertEqual(self.sent - self.deleted - self.unknown, set(), "lost")
            self.assertLessEqual(len(self.unknown), KILLS * 3 * 10)
            self.assertEqual(self.back, set(), "back after their deletion")


unittest.main()
