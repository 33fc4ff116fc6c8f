"""What the fault tests share: a server that can be killed and started again on its data, custom
runtimes, a view of what is left on the host. Standard library and Debian's boto3."""
import base64
import contextlib
import http.client
import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench"))
import lab  # noqa: E402
from lab import make_zip  # noqa: E402,F401

SANITIZED = os.environ.get("MAYFLY_SANITIZED") == "1"
# What is allowed to take longer in a build with sanitizers, in an emulated machine (tests/v2), or
# where others are at work.
SLOW = (int(os.environ.get("MAYFLY_SLOW") or (4 if SANITIZED else 1)) *
        min(4, max(1, round(os.getloadavg()[0] / os.cpu_count()))))
ROLE = "arn:aws:iam::123456789012:role/fault"
INIT_S = 10


def slow_callbacks(log):
    """Lines of core about callbacks that took too much CPU time. Core complains above 10 ms.
    Others at work on the same CPUs take caches and hyperthreads away, so the bound grows with how
    crowded the machine is, to three times as much."""
    crowd = min(3, max(1, os.getloadavg()[0] / os.cpu_count()))
    return [line.group() for line in re.finditer(r".*slow callback: (\d+) us.*", log)
            if int(line.group(1)) > 10000 * crowd * SLOW]


class Server(lab.Server):
    """Options as for `mayfly serve`. Life: with Server() as s. kill_spawner() and start() on the
    same data in between. preexec: called in the new process, before it becomes the server."""

    preexec = None

    def __init__(self, *options, directory=None):
        super().__init__(*options)
        self.directory = directory
        self.process = None
        self.local = threading.local()

    def __enter__(self):
        self.data = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-fault-"))
        self.dir = pathlib.Path(self.directory or self.data / "d")
        self.log = open(self.data / "log", "a")
        try:
            self.start()
        except BaseException:
            if self.process:
                self.process.kill()
                self.process.wait()
            self.log.close()
            shutil.rmtree(self.data, ignore_errors=True)
            raise
        return self

    def start(self):
        with contextlib.suppress(OSError):
            (self.dir / "endpoint").unlink()
        self.process = subprocess.Popen(
            [lab.BUILD / "mayfly", "serve", "--data", self.dir, "--listen",
             "127.0.0.1:0", *self.options], stdout=self.log, stderr=self.log,
            preexec_fn=self.preexec)
        self.wait_for(lambda: (self.dir / "endpoint").exists(), "the server to be ready")
        self.url = (self.dir / "endpoint").read_text().strip()
        self.port = int(self.url.rsplit(":", 1)[1])
        self.keys = dict(
            re.findall(r"(\w+)\s*=\s*(\S+)", (self.dir / "credentials").read_text()))
        with contextlib.suppress(OSError, http.client.HTTPException):
            self.status()  # from the first look on, core measures what its callbacks take

    def wait_for(self, condition, what, seconds=20):
        end = time.monotonic() + seconds * SLOW
        while True:
            with contextlib.suppress(OSError):
                if condition():
                    return
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended: {self.text()[-4000:]}")
            if time.monotonic() > end:
                raise AssertionError(f"waited in vain for {what}: {self.text()[-4000:]}")
            time.sleep(0.005)

    def settle(self):
        """Wait until the pools are full."""
        last, since = None, time.monotonic()
        while time.monotonic() < since + 0.5:
            now = (self.status()["boxes"], self.status()["pooled_boxes"], len(self.box_pids()))
            if now != last:
                last, since = now, time.monotonic()
            time.sleep(0.02)

    def text(self):
        return (self.data / "log").read_text(errors="replace")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        return code

    def kill_spawner(self):
        self.process.kill()
        self.process.wait(10)

    def kill_core(self):
        """Returns the milliseconds from the signal until health is answered again."""
        pid = self.core_pid()
        handle = os.pidfd_open(pid)
        start = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        select.select([handle], [], [])
        os.close(handle)
        while True:
            with contextlib.suppress(OSError):
                with socket.create_connection(("127.0.0.1", self.port), timeout=20) as s:
                    s.sendall(b"GET /_mayfly/health HTTP/1.1\r\nHost: x\r\n\r\n")
                    if s.recv(1000).startswith(b"HTTP/1.1 200 "):
                        return (time.perf_counter() - start) * 1e3
            if time.perf_counter() - start > 20:
                raise AssertionError("core did not come back: " + self.text()[-4000:])

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise
        self.log.close()
        if os.environ.get("MAYFLY_SHOW_LOG"):
            print(self.text()[-8000:])
        bad = re.findall(r".*(?:AddressSanitizer|runtime error|assertion).*", self.text(), re.I)
        bad += slow_callbacks(self.text())
        if os.environ.get("MAYFLY_KEEP"):
            print("kept", self.data)
        else:
            shutil.rmtree(self.data, ignore_errors=True)
        if bad:
            raise AssertionError("\n".join(bad[:20]))

    def health(self, timeout=10):
        """Seconds that it took to answer."""
        start = time.perf_counter()
        with urllib.request.urlopen(self.url + "/_mayfly/health", timeout=timeout) as r:
            assert r.status == 200
        return time.perf_counter() - start

    def best_health(self):
        """The same, but for moments in which the machine did something else."""
        return min(self.health() for _ in range(5))

    def page(self, path):
        request = urllib.request.Request(self.url + path, headers=self.signed("GET", path))
        return json.load(urllib.request.urlopen(request, timeout=30))

    def create(self, name, files, runtime=None, handler="index.handler", memory=256, timeout=5 * SLOW,
               wait=True, **more):
        """Python if the files hold index.py, node for index.mjs, else a bootstrap."""
        if not runtime:
            runtime = ("python3.11" if "index.py" in files else
                       "nodejs20.x" if "index.mjs" in files else "provided.al2023")
        client = self.client()
        client.create_function(FunctionName=name, Runtime=runtime, Role=ROLE, Handler=handler,
                               MemorySize=memory, Timeout=timeout,
                               Code={"ZipFile": make_zip(files)}, **more)
        if wait:
            client.get_waiter("function_active_v2").wait(
                FunctionName=name, WaiterConfig={"Delay": 0.02, "MaxAttempts": 1000})

    def client(self, service="lambda"):
        """One for each thread and server."""
        known = self.local.__dict__.setdefault("clients", {})
        if (service, self.url) not in known:
            known[service, self.url] = super().client(service)
        return known[service, self.url]

    def invoke(self, name, event=None, **more):
        return Answer(self.client().invoke(
            FunctionName=name, Payload=json.dumps(event), LogType="Tail", **more))

    def logs(self, name):
        """All lines of a function's log group, in order."""
        client = self.client("logs")
        lines, token = [], {}
        while True:
            page = client.filter_log_events(logGroupName="/aws/lambda/" + name, **token)
            lines += [e["message"] for e in page["events"]]
            if "nextToken" not in page:
                return lines
            token = {"nextToken": page["nextToken"]}

    # ---- what is there on the host ----

    def group(self):
        status = os.stat(self.dir)
        return f"mayfly-{status.st_dev:x}-{status.st_ino:x}"

    def cgroups(self):
        group, found = self.group(), []
        for top, dirs, _ in os.walk("/sys/fs/cgroup"):
            found += [os.path.join(top, d) for d in dirs if group in os.path.join(top, d)]
        return found

    def box_pids(self):
        pids = set()
        for path in self.cgroups():
            for name in ("cgroup.procs",):
                with contextlib.suppress(OSError):
                    pids |= {int(p) for p in open(os.path.join(path, name)).read().split()}
        return pids

    def loops(self):
        found = []
        for name in os.listdir("/sys/block"):
            with contextlib.suppress(OSError):
                backing = open(f"/sys/block/{name}/loop/backing_file").read()
                if str(self.dir) in backing or self.data.name in backing:
                    found.append(name)
        return found


class Answer:
    def __init__(self, r):
        self.status = r["StatusCode"]
        self.error = r.get("FunctionError")
        self.body = r["Payload"].read()
        self.request_id = r["ResponseMetadata"]["RequestId"]
        self.tail = base64.b64decode(r.get("LogResult", "")).decode(errors="replace")

    @property
    def value(self):
        if self.error:
            raise AssertionError(f"{self.error}: {self.body[:2000]!r} {self.tail}")
        return json.loads(self.body)

    @property
    def fault(self):
        if not self.error:
            raise AssertionError(f"it worked: {self.body[:200]!r}")
        return json.loads(self.body)

    def report(self):
        """The numbers of the REPORT line."""
        line = re.search(r"^REPORT RequestId: (.*)$", self.tail, re.M)
        if not line:
            raise AssertionError("no REPORT in " + self.tail)
        fields = dict(re.findall(r"\t([A-Z][A-Za-z ]+): ([^\t]*)", line.group(1)))
        return {k: float(v.split()[0]) if v[0].isdigit() else v for k, v in fields.items()}


# A runtime in plain Python: raw sockets, so that tests can break any rule.
RUNTIME = '''#!/usr/bin/python3
import os, socket, sys, time
HOST, PORT = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
BASE = "/2018-06-01/runtime/"

def connect():
    s = socket.create_connection((HOST, int(PORT)))
    return s

def read_answer(s):
    data = b""
    while b"\\r\\n\\r\\n" not in data:
        more = s.recv(65536)
        if not more:
            return 0, {}, data
        data += more
    head, body = data.split(b"\\r\\n\\r\\n", 1)
    lines = head.decode().split("\\r\\n")
    headers = {k.lower(): v.strip() for k, v in (l.split(":", 1) for l in lines[1:])}
    while len(body) < int(headers.get("content-length", 0)):
        more = s.recv(65536)
        if not more:
            break
        body += more
    return int(lines[0].split()[1]), headers, body

def call(method, path, body=b"", headers=""):
    s = connect()
    s.sendall(f"{method} {BASE}{path} HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: {len(body)}\\r\\n"
              f"{headers}Connection: close\\r\\n\\r\\n".encode() + body)
    answer = read_answer(s)
    s.close()
    return answer

def next_event():
    status, headers, body = call("GET", "invocation/next")
    return headers.get("lambda-runtime-aws-request-id"), body

def respond(id, body):
    return call("POST", f"invocation/{id}/response", body)
'''


def bootstrap(code):
    return {"bootstrap": RUNTIME + code}


def hello_c():
    for path in ("tests/runtimes/hello-c", "examples/hello-c/bootstrap"):
        if (lab.BUILD / path).exists():
            return {"bootstrap": (lab.BUILD / path).read_bytes()}
    raise RuntimeError("hello-c is not built")


class Background:
    """Runs a function again and again until stopped; keeps what it returned or raised."""

    def __init__(self, function, threads=1, pause=0.0):
        self.results, self.errors = [], []
        self.ending = threading.Event()

        def body():
            while not self.ending.is_set():
                try:
                    self.results.append(function())
                except Exception as error:  # looked at by the test
                    self.errors.append(error)
                if pause:
                    time.sleep(pause)

        self.threads = [threading.Thread(target=body, daemon=True) for _ in range(threads)]

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        for t in self.threads:
            t.join()


def parallel(*functions):
    """Run at once; results in order; the first error is raised."""
    results = [None] * len(functions)
    errors = []

    def body(i, function):
        try:
            results[i] = function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=body, args=(i, f)) for i, f in enumerate(functions)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]
    return results


class Case(unittest.TestCase):
    """All tests of a class share one server."""
    options = ("--pool-each", "2")

    @classmethod
    def setUpClass(cls):
        # As a clean-up of the class it is also stopped when the rest of a setUpClass fails.
        cls.server = cls.enterClassContext(Server(*cls.options))

    def tearDown(self):
        # Whatever a test did, the server is there for the next.
        self.assertIsNone(self.server.process.poll(), self.server.text()[-4000:])
        self.assertLess(self.server.best_health(), 2)
        self.assertNotIn("killing core", self.server.text())
        self.assertNotIn("core exited", self.server.text())
        self.assertNotIn("core was killed", self.server.text())


def main():
    if os.geteuid() != 0:
        print("SKIP: boxes are made by root only")
        sys.exit(77)
    unittest.main(verbosity=2, warnings="ignore")
