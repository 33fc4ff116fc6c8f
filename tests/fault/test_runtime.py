"""Hostile and broken code in a box: the box fails in Lambda's words, everything else goes on."""
import os
import time

import fault
from fault import Case, bootstrap


def disk_used(path):
    total = 0
    for top, _, files in os.walk(path):
        for name in files:
            try:
                total += os.stat(os.path.join(top, name)).st_blocks * 512
            except OSError:
                pass
    return total


class Protocol(Case):
    """Custom runtimes that break the rules of the Runtime API."""

    def run_one(self, name, code, event=None, timeout=5, **more):
        self.server.create(name, bootstrap(code), timeout=timeout, **more)
        return self.server.invoke(name, event)

    def test_answers_twice(self):
        answer = self.run_one("twice", '''
import json
last = None
while True:
    id, body = next_event()
    if last is None:
        respond(id, b'"first"')
        last = respond(id, b'"second"')
    else:
        respond(id, json.dumps([last[0], last[2].decode()]).encode())
''')
        self.assertEqual(answer.value, "first")
        status, text = self.server.invoke("twice").value
        self.assertEqual(status, 403)
        self.assertIn("InvalidStateTransition", text)

    def test_answers_for_another(self):
        answer = self.run_one("other", '''
import json, uuid
while True:
    id, body = next_event()
    tries = [respond(x, b'"stolen"')[0] for x in
             (str(uuid.uuid4()), id[:-1] + ("0" if id[-1] != "0" else "1"), id.upper() + "x",
              "../" + id, id + "%00", "a" * 5000, "")]
    respond(id, json.dumps(tries).encode())
''')
        for status in answer.value:
            self.assertIn(status, (400, 403, 404, 405, 414, 431))

    def test_asks_twice_without_answer(self):
        answer = self.run_one("greedy", '''
import json
while True:
    id, body = next_event()
    status, _, text = call("GET", "invocation/next")
    respond(id, json.dumps([status, text.decode()]).encode())
''')
        self.assertEqual(answer.value[0], 403)

    def test_answers_at_the_deadline(self):
        """However close: an answer or a time-out, never anything else, and one REPORT each."""
        code = '''
import json
while True:
    id, body = next_event()
    time.sleep(json.loads(body))
    respond(id, body)
'''
        self.run_one("late", code, event=0, timeout=1, memory=1769)
        waits = [0.4] + [0.9 + i * 0.02 for i in range(10)]
        answers = fault.parallel(*[lambda w=w: self.server.invoke("late", w) for w in waits])
        for wait, answer in zip(waits, answers):
            if answer.error:
                self.assertEqual(answer.fault["errorType"], "Sandbox.Timedout", wait)
            else:
                self.assertAlmostEqual(answer.value, wait)
            self.assertEqual(answer.tail.count("REPORT "), 1)
        self.assertFalse(answers[0].error and fault.SLOW == 1)
        self.assertTrue(answers[-1].error)

    def test_breaks_http(self):
        """Garbage, half requests, too many connections, endless heads on the Runtime API."""
        self.server.create("calm", {"index.py": "def handler(e, c): return 1\n"})
        answer = self.run_one("vandal", r'''
import json
id, body = next_event()
socks = []
garbage = [b"\0" * 1000, b"GET / HTTP/9.9\r\n\r\n", b"POST " + b"x" * 100000, b"\xff\xfe" * 5000,
           b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
           b"POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\r\nHost: x\r\n"
           b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % id.encode(),
           b"POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\r\nHost: x\r\n"
           b"Content-Length: 99999999999999999999\r\n\r\n" % id.encode(),
           b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 50000]
for g in garbage:
    s = connect()
    try:
        s.sendall(g)
        s.settimeout(0.2)
        s.recv(100)
    except OSError:
        pass
    s.close()
refused = 0
for i in range(300):
    try:
        s = connect()
        s.sendall(b"GET /2018")
        socks.append(s)
    except OSError:
        refused += 1
        break
for s in socks:
    s.close()
time.sleep(0.2)
while True:
    respond(id, b'"survived"')
    id, body = next_event()
''', timeout=15)
        self.assertEqual(answer.value, "survived")
        self.assertEqual(self.server.invoke("vandal").value, "survived")
        self.assertEqual(self.server.invoke("calm").value, 1)

    def test_half_an_answer(self):
        """A body that stops: time-out. One that is cut: it may try again, or exits."""
        self.server.create("stops", bootstrap(r'''
id, body = next_event()
s = connect()
s.sendall(f"POST {BASE}invocation/{id}/response HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc".encode())
time.sleep(100)
'''), timeout=1)
        self.server.create("cut", bootstrap(r'''
while True:
    id, body = next_event()
    s = connect()
    s.sendall(f"POST {BASE}invocation/{id}/response HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc".encode())
    s.close()
    time.sleep(0.1)
    respond(id, b'"whole"')
'''))
        self.assertEqual(self.server.invoke("stops").fault["errorType"], "Sandbox.Timedout")
        self.assertEqual(self.server.invoke("cut").value, "whole")

    def test_huge_answers(self):
        too_large = {"errorType": "Function.ResponseSizeTooLarge",
                     "errorMessage": "Response payload size exceeded maximum allowed payload size "
                                     "(6291556 bytes)."}
        code = r'''
import json
last = None
while True:
    id, body = next_event()
    event = json.loads(body)
    if event == "last":
        respond(id, json.dumps(last).encode())
        continue
    if event["how"] == "length":
        last = respond(id, b'"' + b"x" * (event["size"] - 2) + b'"')[0]
        continue
    s = connect()
    s.sendall(f"POST {BASE}invocation/{id}/response HTTP/1.1\r\nHost: x\r\n"
              "Transfer-Encoding: chunked\r\n\r\n".encode())
    try:
        for i in range(event["size"] >> 20):
            s.sendall(b"100000\r\n" + b"x" * (1 << 20) + b"\r\n")
        s.sendall(b"0\r\n\r\n")
    except OSError:
        pass
    try:
        last = read_answer(s)[0]
    except OSError:
        last = "reset"
    s.close()
'''
        self.server.create("huge", bootstrap(code), memory=1769, timeout=30)
        core = self.server.core_pid()

        def rss():
            return int(open(f"/proc/{core}/statm").read().split()[1]) * 4096
        ok = self.server.invoke("huge", {"how": "length", "size": 6291556})
        self.assertEqual(len(ok.value), 6291554)
        before = rss()
        for event in ({"how": "length", "size": 6291557}, {"how": "length", "size": 64 << 20},
                      {"how": "chunked", "size": 64 << 20}):
            answer = self.server.invoke("huge", event)
            self.assertEqual(answer.fault, too_large, event)
            self.assertIn(self.server.invoke("huge", "last").value, (413, "reset", 0), event)
        self.assertLess(rss() - before, (40 << 20) * (1 if fault.SLOW == 1 else 20))

    def test_huge_answer_of_a_framed_runtime(self):
        for name, files in (("hugepy", {"index.py": "def handler(e, c): return 'x' * e\n"}),
                            ("hugejs", {"index.mjs": "export const handler = async (e) => "
                                                     "'x'.repeat(e);\n"})):
            self.server.create(name, files, memory=1769, timeout=30)
            self.assertEqual(len(self.server.invoke(name, 6291500).value), 6291500)
            for size in (6291600, 50 << 20):
                self.assertEqual(self.server.invoke(name, size).fault["errorType"],
                                 "Function.ResponseSizeTooLarge")
            self.assertEqual(self.server.invoke(name, 3).value, "xxx")

    def test_attacks_its_own_channel(self):
        """Code in a framed runtime that writes nonsense to its channel loses its box only."""
        self.server.create("frames", {"index.py": '''
import os, socket, stat
def handler(event, context):
    if event == "break":
        for fd in range(3, 64):
            try:
                if stat.S_ISSOCK(os.fstat(fd).st_mode):
                    os.write(fd, os.urandom(4096))
            except OSError:
                pass
    return "fine"
'''})
        self.assertEqual(self.server.invoke("frames").value, "fine")
        answer = self.server.invoke("frames", "break")
        self.assertIn(answer.fault["errorType"], ("Sandbox.Failure", "Runtime.ExitError"))
        self.assertEqual(self.server.invoke("frames").value, "fine")


class Floods(Case):
    def responsive(self, seconds=0.25):
        """Invokes of another function while something else goes on."""
        def one():
            start = time.perf_counter()
            self.server.invoke("neighbour").value
            return time.perf_counter() - start
        return fault.Background(one, pause=0.02)

    def check(self, background, most):
        self.assertEqual(background.errors, [])
        times = sorted(background.results)
        print(f"  neighbour: {len(times)} invokes, median {times[len(times) // 2] * 1e3:.1f} ms, "
              f"slowest {times[-1] * 1e3:.1f} ms")
        self.assertGreater(len(times), 5)
        self.assertLess(times[len(times) // 2], most * fault.SLOW)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server.create("neighbour", {"index.py": "def handler(e, c): return 1\n"}, memory=1769)
        cls.server.invoke("neighbour").value

    def test_output(self):
        self.server.create("flood", bootstrap('''
id, body = next_event()
line = b"x" * 4095 + b"\\n"
while True:
    os.write(1, line * 16)
'''), timeout=4, memory=1769)
        before = disk_used(self.server.dir)
        with self.responsive() as others:
            answer = self.server.invoke("flood")
        self.assertEqual(answer.fault["errorType"], "Sandbox.Timedout")
        grown = disk_used(self.server.dir) - before
        print(f"  four seconds of flood: {grown / 1e6:.1f} MB on disk")
        self.check(others, 0.1)
        self.assertLess(grown, 200e6)
        self.assertEqual(answer.tail.count("REPORT "), 1)

    def test_output_of_short_lines(self):
        self.server.create("drizzle", {"index.py": '''
import os
def handler(event, context):
    while True:
        os.write(1, b"\\n" * 65536)
'''}, timeout=3, memory=1769)
        before = disk_used(self.server.dir)
        with self.responsive() as others:
            self.server.invoke("drizzle").fault
        grown = disk_used(self.server.dir) - before
        print(f"  three seconds of empty lines: {grown / 1e6:.1f} MB on disk")
        self.check(others, 0.1)
        self.assertLess(grown, 200e6)

    def test_fork_bomb(self):
        self.server.create("bomb", {"index.py": '''
import os
def handler(event, context):
    while True:
        try:
            os.fork()
        except OSError:
            pass
'''}, timeout=3, memory=512)
        with self.responsive() as others:
            answer = self.server.invoke("bomb")
        self.assertIn(answer.fault["errorType"], ("Sandbox.Timedout", "Runtime.OutOfMemory"))
        self.check(others, 0.2)
        self.server.wait_for(lambda: len(self.server.box_pids()) < 60, "the bomb's end", 5)

    def test_threads_and_memory(self):
        """Eats memory in a grandchild, so that the kernel kills something else first."""
        self.server.create("eater", {"index.py": '''
import os, time
def handler(event, context):
    if event != "eat":
        return "fine"
    if os.fork() == 0:
        hoard = []
        while True:
            hoard.append(bytearray(b"x") * (8 << 20))
    time.sleep(60)
'''}, timeout=8, memory=512)
        with self.responsive() as others:
            answer = self.server.invoke("eater", "eat")
        self.assertIn(answer.fault["errorType"], ("Sandbox.Timedout", "Runtime.OutOfMemory"))
        self.check(others, 0.1)
        self.assertEqual(self.server.invoke("eater").value, "fine")

    def test_calls_itself_through_the_endpoint(self):
        """A flood of requests from inside against the AWS endpoint of the box."""
        self.server.create("noisy", {"index.py": '''
import os, socket, time
def handler(event, context):
    host, port = os.environ["AWS_ENDPOINT_URL"][7:].split(":")
    end, n, held = time.monotonic() + 2, 0, []
    while time.monotonic() < end:
        try:
            s = socket.create_connection((host, int(port)), timeout=0.2)
            s.sendall(b"GET /2015-03-31/functions/ HTTP/1.1\\r\\nHost: x\\r\\n" +
                      (b"\\r\\n" if n % 2 else b""))
            held.append(s)
            n += 1
            if len(held) > 900:
                held.clear()
        except OSError:
            held.clear()
    return n
'''}, timeout=10, memory=1769)
        with self.responsive() as others:
            self.server.invoke("noisy").value
        self.check(others, 0.1)


if __name__ == "__main__":
    fault.main()
