"""Core and spawner killed under load: what was acknowledged is there, what was made is gone."""
import concurrent.futures
import json
import os
import re
import signal
import threading
import time

import botocore.exceptions

import fault

WRITE = {"index.py": '''
import os, time
def handler(event, context):
    print("ran " + event["id"], flush=True)
    time.sleep(event.get("s", 0))
    return event["id"]
'''}
LOST = (botocore.exceptions.HTTPClientError, botocore.exceptions.ClientError, OSError)
RESTART_MS = 100


class Kill(fault.unittest.TestCase):
    def load(self, s, ending, answered, events, threads=4):
        """Sync and Event invokes until told to end; keeps the ids of those acknowledged."""
        def body(n):
            client, i = s.client(), 0
            while not ending.is_set():
                i += 1
                name = f"{n}-{i}"
                kind = "Event" if n % 2 else "RequestResponse"
                try:
                    r = client.invoke(FunctionName="w", InvocationType=kind,
                                      Payload=json.dumps({"id": name}))
                    if kind == "Event" and r["StatusCode"] == 202:
                        events.append(name)
                    elif kind != "Event" and json.loads(r["Payload"].read()) == name:
                        answered.append((name, r["ResponseMetadata"]["RequestId"]))
                except LOST:
                    time.sleep(0.01)

        found = [threading.Thread(target=body, args=(n,)) for n in range(threads)]
        for t in found:
            t.start()
        return found

    def wait_until_run(self, s, events):
        """Wait until all these have run, and their ends are booked; returns what has."""
        end = time.monotonic() + 30 * fault.SLOW
        while True:
            ran = {line.split()[1] for line in s.logs("w") if line.startswith("ran ")}
            missing = set(events) - ran
            if not missing and s.status()["events"] == 0:
                return ran
            self.assertLess(time.monotonic(), end, f"never ran: {sorted(missing)[:20]}, "
                                                   f"{len(missing)} in all")
            time.sleep(0.3)

    def test_core_under_load(self):
        times = []
        with fault.Server("--pool-each", "4", "--retry-base-ms", "200") as s:
            s.create("w", WRITE, memory=1769, timeout=20)
            s.invoke("w", {"id": "warm-up"}).value
            before_boxes = s.box_pids()
            ending, answered, events, made = threading.Event(), [], [], []
            threads = self.load(s, ending, answered, events)
            for kill in range(5):
                time.sleep(1.1)  # dying earlier is answered by waiting
                # Acknowledged a moment before: it must survive.
                client = s.client()
                name = f"f{kill}"
                s.create(name, {"index.py": "def handler(e, c): return 1\n"}, wait=False)
                s.client().get_waiter("function_active_v2").wait(
                    FunctionName=name, WaiterConfig={"Delay": 0.02, "MaxAttempts": 500})
                version = client.publish_version(FunctionName=name)["Version"]
                client.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
                made.append((name, version))
                times.append(s.kill_core())
            time.sleep(0.5)
            ending.set()
            for t in threads:
                t.join()
            print(f"  core back after {', '.join(f'{t:.0f}' for t in times)} ms; "
                  f"{len(answered)} answered, {len(events)} events")
            self.assertGreater(len(answered), 20)
            self.assertGreater(len(events), 20)
            # Others may use this machine, too: their share of it is not ours to be fast in.
            most = RESTART_MS * fault.SLOW * max(1, os.getloadavg()[0] / os.cpu_count())
            self.assertLess(sorted(times)[len(times) // 2], most)
            self.assertLess(max(times), 5 * most)

            # The boxes of former cores are gone.
            self.assertEqual(before_boxes & s.box_pids(), set())
            for name, version in made:
                alias = s.client().get_alias(FunctionName=name, Name="live")
                self.assertEqual(alias["FunctionVersion"], version)
                self.assertEqual(s.invoke(name, Qualifier="live").value, 1)

            # Every acknowledged event ran, at least once.
            ran = self.wait_until_run(s, events)
            # And the log has every answered invocation, from START to REPORT.
            self.assertEqual({n for n, _ in answered} - ran, set())
            log = "".join(s.logs("w"))
            for _, request in answered:
                self.assertIn(f"REPORT RequestId: {request}", log)

            # The ledger has each of them.
            rows = s.page("/_mayfly/bill")["rows"]
            booked = {r["function"]: r["requests"] for r in rows}
            reports = log.count("REPORT RequestId")
            self.assertGreaterEqual(booked["w"], len(answered) + len(events))
            self.assertLessEqual(abs(booked["w"] - reports), 5 * len(times))
            for name, _ in made:
                self.assertEqual(booked[name], 1)

    def test_core_again_and_again(self):
        """Dying at once is waited out, and does not leak."""
        with fault.Server("--pool-each", "1") as s:
            s.create("w", WRITE)
            s.invoke("w", {"id": "1"}).value
            s.settle()
            before = Counted(s)
            for _ in range(6):
                s.kill_core()
            s.invoke("w", {"id": "2"}).value
            s.settle()
            after = Counted(s)
            self.assertEqual(after.same(), before.same())

    def test_spawner(self):
        """Everything dies with it; the next start removes what is left and works."""
        with fault.Server("--pool-each", "2", "--retry-base-ms", "200") as s:
            s.create("w", WRITE, memory=512, timeout=30)
            s.invoke("w", {"id": "0"}).value
            ending, answered, events = threading.Event(), [], []
            threads = self.load(s, ending, answered, events)
            s.create("busy", {"index.py": '''
import os, signal, time
def handler(e, c):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for i in range(10):
        if os.fork() == 0:
            break
    while True: pass
'''}, memory=512, timeout=30)
            hung = threading.Thread(target=lambda: self.swallow(s, "busy"))
            hung.start()
            time.sleep(1)
            core, pids = s.core_pid(), s.box_pids()
            self.assertGreater(len(pids), 10)
            s.kill_spawner()
            ending.set()
            for t in threads + [hung]:
                t.join()
            self.until(lambda: not [p for p in pids | {core} if alive(p)], "processes to die", 3)
            self.assertEqual(s.loops(), [])

            start = time.perf_counter()
            s.start()
            took = (time.perf_counter() - start) * 1e3
            print(f"  started again in {took:.0f} ms; {len(answered)} answered, "
                  f"{len(events)} events before")
            self.assertLess(took, 3000 * fault.SLOW)
            s.invoke("w", {"id": "after"}).value
            # The group has no more boxes than the new life made.
            ran = self.wait_until_run(s, events)
            self.assertEqual({n for n, _ in answered} - ran, set())
            booked = {r["function"]: r["requests"] for r in s.page("/_mayfly/bill")["rows"]}
            self.assertGreaterEqual(booked["w"], len(answered) + len(events) + 2)
            groups, directory = s.cgroups(), s.dir
            self.assertGreater(len(groups), 0)
            group = s.group()
            s.stop()
            left = [p for top, dirs, _ in os.walk("/sys/fs/cgroup") for p in
                    (os.path.join(top, d) for d in dirs) if group in p]
            self.assertEqual(left, [])
            self.assertEqual([m for m in open("/proc/mounts") if str(directory) in m], [])
            self.assertEqual(s.loops(), [])

    def swallow(self, s, name):
        try:
            s.invoke(name)
        except LOST:
            pass

    def until(self, condition, what, seconds):
        end = time.monotonic() + seconds * fault.SLOW
        while not condition():
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.01)

    def test_box_init(self):
        """Somebody on the host kills one box: its invocation fails, the next gets another."""
        with fault.Server("--pool-each", "1") as s:
            s.create("w", WRITE, timeout=20)
            s.invoke("w", {"id": "0"}).value
            with concurrent.futures.ThreadPoolExecutor() as pool:
                running = pool.submit(s.invoke, "w", {"id": "1", "s": 10})
                time.sleep(0.5)
                victims = [p for p in s.box_pids() if in_task(p)]
                for p in victims:
                    os.kill(parent(p), signal.SIGKILL)
                answer = running.result()
            self.assertEqual(answer.fault["errorType"], "Sandbox.Failure")
            self.assertEqual(s.invoke("w", {"id": "2"}).value, "2")
            self.assertNotIn("core", [line.split()[2] for line in s.text().splitlines()
                                      if "killed by" in line])

    def test_term_drains(self):
        """SIGTERM: what runs finishes and is answered, then all ends with code 0."""
        with fault.Server("--pool-each", "1") as s:
            s.create("w", WRITE, timeout=20)
            s.invoke("w", {"id": "0"}).value
            with concurrent.futures.ThreadPoolExecutor() as pool:
                running = pool.submit(s.invoke, "w", {"id": "last", "s": 2})
                time.sleep(0.7)
                start = time.monotonic()
                s.process.send_signal(signal.SIGTERM)
                time.sleep(0.2)
                # Nobody new comes in.
                with self.assertRaises(LOST):
                    s.client("sts").get_caller_identity()
                self.assertEqual(running.result().value, "last")
            self.assertEqual(s.process.wait(10), 0)
            self.assertLess(time.monotonic() - start, 15 * fault.SLOW)
            s.start()
            log = "".join(s.logs("w"))
            self.assertIn("ran last", log)
            self.assertEqual(log.count("REPORT"), 2)


def alive(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def in_task(pid):
    try:
        return os.readlink(f"/proc/{pid}/cwd") == "/var/task" and os.path.exists(
            f"/proc/{pid}/root/var/task/index.py")
    except OSError:
        return False


def parent(pid):
    return int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1])


class Counted:
    """What a server has of everything that could leak."""

    def __init__(self, s):
        core, spawner = s.core_pid(), s.process.pid
        self.processes = len(s.box_pids())
        self.groups = len(s.cgroups())
        self.loops = len(s.loops())
        self.mounts = len(open(f"/proc/{spawner}/mountinfo").readlines())
        self.core_fds = len(os.listdir(f"/proc/{core}/fd"))
        self.spawner_fds = len(os.listdir(f"/proc/{spawner}/fd"))
        self.nets = len({os.readlink(f"/proc/{p}/ns/net") for p in s.box_pids()})
        self.children = len(open(f"/proc/{spawner}/task/{spawner}/children").read().split())
        self.core_rss, self.core_anon_rss = rss(core)
        self.spawner_rss, self.spawner_anon_rss = rss(spawner)

    def same(self):
        return {k: v for k, v in self.__dict__.items() if not k.endswith("rss")}


def rss(pid):
    """All of it, and without mapped files."""
    text = open(f"/proc/{pid}/status").read()
    return tuple(int(re.search(rf"^{name}:\s+(\d+)", text, re.M).group(1)) * 1024
                 for name in ("VmRSS", "RssAnon"))


if __name__ == "__main__":
    fault.main()
