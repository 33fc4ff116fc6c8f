"""Ten thousand events while core and boxes are killed: each that was accepted ends in one place."""
import collections
import http.client
import json
import os
import random
import re
import signal
import threading
import time

import fault

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

EVENTS = 10_000 // (8 if fault.SANITIZED else 1)
SENDERS = 8
# One in ten fails, always. What is printed is read back from the logs: the id, and the request id
# of the invocation that heard of it, which is the same when an invocation is repeated.
WORK = {"index.mjs": '''
export const handler = async (event) => {
	if (event.id % 10 === 0) throw new Error(`event ${event.id} is a bad one`);
	return event.id;
};
'''}
HEAR = {"index.mjs": '''
export const handler = async (record, context) => {
	console.log(`HEARD ${record.requestPayload.id} ${context.awsRequestId} ${record.requestContext.condition}`);
};
'''}
PATH = "/2015-03-31/functions/work/invocations"
ARN = "arn:aws:lambda:us-east-1:123456789012:function:"


class Events(fault.unittest.TestCase):
    def send(self, s, numbers, accepted):
        keys = Credentials(s.keys["aws_access_key_id"], s.keys["aws_secret_access_key"])
        connection = None
        for number in numbers:
            body = json.dumps({"id": number}).encode()
            request = AWSRequest("POST", s.url + PATH, data=body,
                                 headers={"X-Amz-Invocation-Type": "Event"})
            SigV4Auth(keys, "lambda", "us-east-1").add_auth(request)
            try:
                if not connection:
                    connection = http.client.HTTPConnection("127.0.0.1", s.port, timeout=20)
                connection.request("POST", PATH, body, dict(request.headers))
                answer = connection.getresponse()
                answer.read()
                if answer.status == 202:
                    accepted.append(number)
            except (OSError, http.client.HTTPException):
                connection = None  # nobody knows whether this one was accepted
                time.sleep(0.02)

    def test_each_ends_once(self):
        random.seed(int(os.environ.get("SEED", "7")))
        began = time.monotonic()
        with fault.Server("--pool-each", "4", "--retry-base-ms", "500") as s:
            s.create("done", HEAR)
            s.create("dead", HEAR)
            s.create("work", WORK)
            s.client().put_function_event_invoke_config(
                FunctionName="work", MaximumRetryAttempts=2, DestinationConfig={
                    "OnSuccess": {"Destination": ARN + "done"},
                    "OnFailure": {"Destination": ARN + "dead"}})
            accepted, kills = [], collections.Counter()
            senders = [threading.Thread(target=self.send, args=(
                s, range(n, EVENTS, SENDERS), accepted)) for n in range(SENDERS)]
            for t in senders:
                t.start()
            while any(t.is_alive() for t in senders) or kills["core"] < 3:
                time.sleep(random.uniform(0.3, 0.9))
                if random.random() < 0.4 and kills["core"] < 6:
                    time.sleep(0.8)  # dying earlier is answered by waiting
                    s.kill_core()
                    kills["core"] += 1
                else:
                    pids = sorted(s.box_pids())
                    if pids:
                        with fault.contextlib.suppress(ProcessLookupError):
                            os.kill(random.choice(pids), signal.SIGKILL)
                        kills["box"] += 1
            for t in senders:
                t.join()
            sent = time.monotonic() - began
            heard = self.wait(s, accepted)
            self.account(accepted, heard)
            print(f"  {len(accepted)} of {EVENTS} accepted in {sent:.1f} s, {kills['core']} cores "
                  f"and {kills['box']} boxes killed; {len(heard['done'])} done, "
                  f"{len(heard['dead'])} dead; all in {time.monotonic() - began:.1f} s")

    def wait(self, s, accepted):
        """Until every event has ended and nothing goes on. One that was put off more than once, as
        nobody could take it, waits for longer than a moment of rest: lost is only what has not come
        after a minute of it."""
        end = time.monotonic() + 60
        while True:
            s.wait_for(lambda: s.status()["events"] == 0 and self.rest(s), "the events to end", 120)
            heard = {name: self.heard(s, name) for name in ("done", "dead")}
            if not self.missing(accepted, heard) or time.monotonic() > end:
                return heard
            time.sleep(1)

    @staticmethod
    def missing(accepted, heard):
        return [n for n in accepted if n not in heard["done"] and n not in heard["dead"]]

    def rest(self, s):
        """Those put off are on disk only: nothing may begin for longer than they wait."""
        before = s.status()["invocations"]
        for _ in range(12):
            time.sleep(0.1)
            now = s.status()
            if now["events"] or now["invocations"] != before:
                return False
        return True

    def heard(self, s, name):
        """By event: the invocations that were told of it, and what they were told."""
        found = collections.defaultdict(set)
        for line in s.logs(name):
            m = re.search(r"HEARD (\d+) (\S+) (\w+)", line)
            if m:
                found[int(m[1])].add((m[2], m[3]))
        return found

    def account(self, accepted, heard):
        done, dead = heard["done"], heard["dead"]
        missing = self.missing(accepted, heard)
        self.assertEqual(missing, [], f"{len(missing)} of {len(accepted)} were lost")
        self.assertEqual(sorted(set(done) & set(dead)), [], "both done and dead")
        for found in (done, dead):
            twice = {n: told for n, told in found.items() if len(told) > 1}
            self.assertEqual(twice, {}, "told twice")
        self.assertEqual({c for told in done.values() for _, c in told}, {"Success"})
        self.assertEqual({c for told in dead.values() for _, c in told}, {"RetriesExhausted"})
        self.assertEqual([n for n in done if n % 10 == 0], [])


if __name__ == "__main__":
    fault.main()
