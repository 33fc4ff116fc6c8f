"""Large buckets, long queues, many who wait: what one page, one message and one second cost must
not grow with what is there. Rows are copied into the database while the server is down; then CPU is
measured, which other load on the machine hardly changes.

MAYFLY_SCALE: how many keys and messages (200,000 unless said otherwise).
"""
import resource
import select
import socket
import sqlite3
import struct
import time
import urllib.parse

import fault

SCALE = int(fault.os.environ.get("MAYFLY_SCALE") or 200_000)
SMALL = 2000
PAGES = 5
WAITING = 10_000


class Scale(fault.unittest.TestCase):
    def core(self, server):
        """CPU seconds of all threads so far, and resident MiB."""
        pid, total = server.core_pid(), 0
        for task in fault.os.listdir(f"/proc/{pid}/task"):
            with fault.contextlib.suppress(OSError):
                total += int(open(f"/proc/{pid}/task/{task}/schedstat").read().split()[0])
        pages = int(open(f"/proc/{pid}/statm").read().split()[1])
        return total / 1e9, pages * 4096 / 2**20

    def cost(self, server, work, times):
        """CPU milliseconds of one go, the best of three."""
        best = None
        for _ in range(3):
            before = self.core(server)[0]
            for _ in range(times):
                work()
            spent = (self.core(server)[0] - before) * 1e3 / times
            best = spent if best is None else min(best, spent)
        return best

    def fill(self, server, fill):
        server.stop()
        db = sqlite3.connect(server.dir / "mayfly.db")
        with db:
            fill(db)
        db.close()
        began = time.monotonic()
        server.start()
        return time.monotonic() - began

    # ---- keys ----

    def keys(self, db, bucket, count):
        """`count` copies of the only object, 1,000 in each of its directories."""
        space, value, version = db.execute(
            "SELECT space, value, version FROM keys WHERE key = ? ",
            (bucket.encode() + b"/first\0",)).fetchone()
        db.executemany("INSERT INTO keys (space, key, value, version) VALUES (?, ?, ?, ?)", (
            (space, f"d{i // 1000:06}/k{i % 1000:04}\0".encode(), value, version)
            for i in range(count)))

    def listings(self, s3, bucket, count):
        middle = f"d{count // 2000:06}/"

        def first():
            page = s3.list_objects_v2(Bucket=bucket)
            self.assertEqual(page["KeyCount"], 1000)

        def old():
            page = s3.list_objects(Bucket=bucket, Marker=middle)
            self.assertEqual(len(page["Contents"]), 1000)

        def prefix():
            page = s3.list_objects_v2(Bucket=bucket, Prefix=middle)
            self.assertEqual(page["KeyCount"], 1000)
            self.assertFalse(page["IsTruncated"])

        def delimiter():
            page = s3.list_objects_v2(Bucket=bucket, Delimiter="/", MaxKeys=2)
            self.assertEqual(len(page["CommonPrefixes"]), 2)

        def nothing():
            self.assertEqual(s3.list_objects_v2(Bucket=bucket, Prefix="nothing/")["KeyCount"], 0)
        return {"first page": first, "v1 from the middle": old, "prefix": prefix,
                "delimiter": delimiter, "nothing": nothing}

    def test_listings_cost_what_they_show(self):
        with fault.Server("--pool-each", "0") as server:
            s3 = server.client("s3")
            for bucket in ("small", "large"):
                s3.create_bucket(Bucket=bucket)
                s3.put_object(Bucket=bucket, Key=bucket + "/first", Body=b"x")
            self.fill(server, lambda db: (self.keys(db, "small", SMALL),
                                          self.keys(db, "large", SCALE)))
            s3 = server.client("s3")
            small = self.listings(s3, "small", SMALL)
            for name, large in self.listings(s3, "large", SCALE).items():
                a = self.cost(server, small[name], PAGES)
                b = self.cost(server, large, PAGES)
                print(f"{name}: {a:.2f} ms of {SMALL:,}, {b:.2f} ms of {SCALE:,}", flush=True)
                self.assertLess(b, 2 * a + 1 * fault.SLOW)
            seen, pages = 0, 0
            before = self.core(server)
            for page in s3.get_paginator("list_objects_v2").paginate(Bucket="large"):
                seen += page["KeyCount"]
                pages += 1
                if pages == 1:
                    one = (self.core(server)[0] - before[0])
            self.assertEqual(seen, SCALE + 1)
            after = self.core(server)
            print(f"all pages: {(after[0] - before[0]) * 1e3 / pages:.2f} ms each, the first "
                  f"{one * 1e3:.2f}, {after[1] - before[1]:.1f} MiB more", flush=True)
            self.assertLess(after[1] - before[1], 64)
            names = [p["Prefix"] for page in
                     s3.get_paginator("list_objects_v2").paginate(Bucket="large", Delimiter="/")
                     for p in page.get("CommonPrefixes", [])]
            self.assertEqual(len(names), (SCALE + 999) // 1000 + 1)

    # ---- messages ----

    def messages(self, db, queue, count):
        table, id, body, due, sent = db.execute(
            "SELECT queue, id, body, due_ms, sent_ms FROM messages WHERE instr(body, ?) > 0",
            (queue.encode(),)).fetchone()
        order, seq = struct.unpack(">QQ", id)
        db.executemany("INSERT INTO messages VALUES (?, ?, ?, ?, ?, 0)", (
            (table, struct.pack(">QQ", order, seq + 1 + i), body, due, sent)
            for i in range(count - 1)))

    def cycles(self, sqs, url):
        def cycle():
            got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
            self.assertEqual(len(got), 10)
            self.assertFalse(sqs.delete_message_batch(QueueUrl=url, Entries=[
                {"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]}
                for i, m in enumerate(got)]).get("Failed"))
        return cycle

    def test_long_queues_cost_no_more(self):
        with fault.Server("--pool-each", "0") as server:
            sqs = server.client("sqs")
            for name in ("small", "large"):
                url = sqs.create_queue(QueueName=name)["QueueUrl"]
                sqs.send_message(QueueUrl=url, MessageBody=name + " message " + "x" * 100)
            began = self.fill(server, lambda db: (self.messages(db, "small message", SMALL),
                                                  self.messages(db, "large message", SCALE)))
            sqs = server.client("sqs")
            urls = {n: sqs.get_queue_url(QueueName=n)["QueueUrl"] for n in ("small", "large")}
            count = sqs.get_queue_attributes(
                QueueUrl=urls["large"], AttributeNames=["ApproximateNumberOfMessages"])
            self.assertEqual(
                int(count["Attributes"]["ApproximateNumberOfMessages"]), SCALE)
            before = self.core(server)[1]
            a = self.cost(server, self.cycles(sqs, urls["small"]), 50)
            b = self.cost(server, self.cycles(sqs, urls["large"]), 50)
            # Beyond what is in memory, so that reading on is in it.
            many = self.cost(server, self.cycles(sqs, urls["large"]), 250)
            grown = self.core(server)[1] - before
            print(f"ten messages: {a:.2f} ms of {SMALL:,}, {b:.2f} and then {many:.2f} ms of "
                  f"{SCALE:,}; start {began:.2f} s, {grown:.1f} MiB more", flush=True)
            self.assertLess(b, 2 * a + 1 * fault.SLOW)
            self.assertLess(many, 2 * a + 1 * fault.SLOW)
            self.assertLess(grown, 64)
            self.assertLess(began, 10 * fault.SLOW)

    # ---- receivers ----

    def test_ten_thousand_wait(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        waiting = min(WAITING, hard - 500)
        # Fewer boxes leave more descriptors for clients.
        with fault.Server("--pool-each", "0", "--boxes", "100") as server:
            sqs = server.client("sqs")
            url = sqs.create_queue(QueueName="empty")["QueueUrl"]
            body = urllib.parse.urlencode({
                "Action": "ReceiveMessage", "Version": "2012-11-05", "QueueUrl": url,
                "WaitTimeSeconds": 20}).encode()
            path = urllib.parse.urlsplit(url).path
            headers = server.signed("POST", path, body, service="sqs")
            lines = "".join(f"{k}: {v}\r\n" for k, v in headers.items() if k.lower() != "host")
            request = (f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n{lines}"
                       f"Content-Length: {len(body)}\r\n\r\n").encode() + body
            sockets = []
            began = time.monotonic()
            try:
                for _ in range(waiting):
                    s = socket.create_connection(("127.0.0.1", server.port), timeout=30)
                    s.sendall(request)
                    sockets.append(s)
                opened = time.monotonic() - began
                time.sleep(1)
                cpu, memory = self.core(server)
                time.sleep(3)
                spent = self.core(server)[0] - cpu
                print(f"{waiting:,} wait, opened in {opened:.1f} s: {spent / 3 * 100:.2f} % of a CPU,"
                      f" {memory:.0f} MiB", flush=True)
                self.assertLess(spent / 3, 0.02 * fault.SLOW)
                poll = select.poll()
                for s in sockets:
                    poll.register(s, select.POLLIN)
                if opened < 12:
                    self.assertEqual(poll.poll(0), [])
                sqs.send_message(QueueUrl=url, MessageBody="one")
                self.assertEqual(len(poll.poll(5000 * fault.SLOW)), 1)
                self.assertLess(server.best_health(), 1 * fault.SLOW)
            finally:
                for s in sockets:
                    s.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


if __name__ == "__main__":
    fault.main()
