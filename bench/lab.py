"""What every measurement needs: a server, clients, load, statistics. Standard library and boto3."""
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.request
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("MAYFLY_BUILD", ROOT / "build"))

ROWS = []


def row(name, goal, better):
    """Register a measurement: a function of the number of rounds that returns values and a note."""
    def add(function):
        ROWS.append((name, goal, better, function))
        return function
    return add


def median(values):
    return statistics.median(values)


class Server:
    """A server of ours with its own data directory. Use with `with`."""

    def __init__(self, *options):
        self.options = options

    def __enter__(self):
        self.data = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-bench-"))
        self.log = open(self.data / "log", "w")
        self.process = subprocess.Popen(
            [BUILD / "mayfly", "serve", "--data", self.data / "d", "--listen", "127.0.0.1:0",
             *self.options], stdout=self.log, stderr=self.log)
        deadline = time.time() + 20
        endpoint = self.data / "d" / "endpoint"
        while not endpoint.exists():
            if time.time() > deadline or self.process.poll() is not None:
                raise RuntimeError((self.data / "log").read_text())
            time.sleep(0.02)
        self.url = endpoint.read_text().strip()
        self.port = int(self.url.rsplit(":", 1)[1])
        keys = {}
        for line in (self.data / "d" / "credentials").read_text().splitlines():
            if "=" in line:
                name, value = line.split("=", 1)
                keys[name.strip()] = value.strip()
        self.keys = keys
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        self.log.close()
        shutil.rmtree(self.data, ignore_errors=True)

    def client(self, service="lambda"):
        import boto3
        from botocore.config import Config
        return boto3.client(
            service, endpoint_url=self.url, region_name="us-east-1",
            aws_access_key_id=self.keys["aws_access_key_id"],
            aws_secret_access_key=self.keys["aws_secret_access_key"],
            config=Config(retries={"max_attempts": 0}, read_timeout=60))

    def signed(self, method, path, body=b"", service="lambda"):
        """Headers of a signed request; good for replay within a quarter of an hour, as on AWS."""
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials
        request = AWSRequest(method, self.url + path, data=body)
        keys = Credentials(self.keys["aws_access_key_id"], self.keys["aws_secret_access_key"])
        SigV4Auth(keys, service, "us-east-1").add_auth(request)
        return dict(request.headers)

    def core_pid(self):
        """The process named mayfly-core below the one we started."""
        todo = [self.process.pid]
        while todo:
            pid = todo.pop()
            with contextlib.suppress(OSError):
                if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == "mayfly-core":
                    return pid
                for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                    todo += map(int, (task / "children").read_text().split())
        raise RuntimeError("no core")

    def status(self):
        path = "/_mayfly/status"
        request = urllib.request.Request(self.url + path, headers=self.signed("GET", path))
        return json.load(urllib.request.urlopen(request))

    def wait_pool(self, pooled):
        deadline = time.time() + 15
        while self.status()["pooled_boxes"] < pooled and time.time() < deadline:
            time.sleep(0.02)

    def function(self, name, runtime, files, handler="index.handler", memory=1769, url=True,
                 timeout=10, environment=None):
        """Create it, wait until it is active, give it a public URL. Returns the URL's id."""
        client = self.client()
        client.create_function(
            FunctionName=name, Runtime=runtime, Role="arn:aws:iam::123456789012:role/bench",
            Handler=handler, MemorySize=memory, Timeout=timeout,
            Environment={"Variables": environment or {}}, Code={"ZipFile": make_zip(files)})
        self.wait_active(name)
        return self.public_url(name) if url else None

    def wait_active(self, name):
        self.client().get_waiter("function_active_v2").wait(
            FunctionName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 2000})

    def public_url(self, name):
        """The id of a URL that anybody may use."""
        client = self.client()
        answer = client.create_function_url_config(FunctionName=name, AuthType="NONE")
        for action in ("lambda:InvokeFunctionUrl", "lambda:InvokeFunction"):
            extra = {"FunctionUrlAuthType": "NONE"} if action.endswith("Url") else {}
            client.add_permission(FunctionName=name, StatementId=action[7:], Action=action,
                                  Principal="*", **extra)
        return answer["FunctionUrl"].split("//")[1].split(".")[0]


def make_zip(files):
    with tempfile.TemporaryFile() as f:
        with zipfile.ZipFile(f, "w", zipfile.ZIP_DEFLATED) as z:
            for name, data in files.items():
                info = zipfile.ZipInfo(name)
                info.external_attr = 0o755 << 16
                z.writestr(info, data)
        f.seek(0)
        return f.read()


NODE_HELLO = {"index.mjs": "export const handler = async () => 'hello';\n"}
PYTHON_HELLO = {"index.py": "def handler(event, context):\n    return 'hello'\n"}


def c_hello():
    """The static C bootstrap of the examples."""
    with tempfile.TemporaryDirectory() as directory:
        binary = pathlib.Path(directory) / "bootstrap"
        subprocess.run(["cc", "-O2", "-static", "-o", binary,
                        ROOT / "examples" / "hello-c" / "bootstrap.c"], check=True)
        return {"bootstrap": binary.read_bytes()}


class NodeServer:
    """Plain `http.createServer`, what warm invokes are measured against."""

    def __enter__(self):
        self.process = subprocess.Popen(
            ["node", "-e", "const s=require('http').createServer((q,r)=>r.end('hello'));"
             "s.listen(0,'127.0.0.1',()=>console.log(s.address().port))"],
            stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}/"
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def wrk(url, connections, seconds, headers=(), script=None):
    """Requests per second and the median latency in microseconds."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    for name, value in headers:
        command += ["-H", f"{name}: {value}"]
    if script:
        command += ["-s", script]
    out = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        raise RuntimeError(out)
    rate = p50 = 0.0
    for line in out.splitlines():
        if "Requests/sec" in line:
            rate = float(line.split()[1])
        elif line.strip().startswith("50%"):
            text = line.split()[1]
            unit = {"us": 1, "ms": 1e3, "s": 1e6}
            name = text.lstrip("0123456789.")
            p50 = float(text[:-len(name)]) * unit[name]
    return rate, p50


def load(*arguments):
    """Operations per second and the median in microseconds, by bench/load.c."""
    out = subprocess.run([BUILD / "bench" / "mayfly-load", *map(str, arguments)], check=True,
                         capture_output=True, text=True).stdout.split()
    return float(out[0]), float(out[1])


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port, process=None, seconds=60):
    deadline = time.time() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.time() > deadline or (process and process.poll() is not None):
                raise RuntimeError(f"nothing listens on port {port}") from None
            time.sleep(0.05)


def cpu_us(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1e6 / os.sysconf("SC_CLK_TCK")


def get(port, path, timeout=30):
    """One GET on a new connection: milliseconds from connect to the whole answer."""
    start = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    took = (time.perf_counter() - start) * 1e3
    connection.close()
    if response.status != 200:
        raise RuntimeError(f"{response.status} {body[:200]}")
    return took


def run_ms(command):
    """Wall time of a command, milliseconds."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return (time.perf_counter() - start) * 1e3


def node_first_response_ms():
    """From spawning a plain node server to its first answer."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    start = time.perf_counter()
    process = subprocess.Popen(
        ["node", "-e", f"require('http').createServer((q,r)=>r.end('hello')).listen({port},'127.0.0.1')"])
    try:
        while True:
            try:
                get(port, "/")
                return (time.perf_counter() - start) * 1e3
            except OSError:
                time.sleep(0.0005)
    finally:
        process.kill()
        process.wait()


def in_parallel(functions):
    """Run all at once, each on a thread; returns the wall time in seconds."""
    gate = threading.Barrier(len(functions) + 1)
    errors = []

    def body(function):
        gate.wait()
        try:
            function()
        except Exception as error:  # told to the caller below
            errors.append(error)

    threads = [threading.Thread(target=body, args=(f,)) for f in functions]
    for thread in threads:
        thread.start()
    gate.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return time.perf_counter() - start


class Crun:
    """`crun run` of a static binary, where the unified hierarchy that it refuses is out of sight."""

    def __init__(self, binary):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-crun-"))
        rootfs = self.dir / "rootfs"
        rootfs.mkdir()
        shutil.copy(binary, rootfs / "run")
        subprocess.run(["crun", "spec"], cwd=self.dir, check=True)
        spec = json.loads((self.dir / "config.json").read_text())
        spec["process"]["args"] = ["/run"]
        spec["process"]["terminal"] = False
        # Raising limits needs a capability that the machine may not have.
        spec["process"].pop("rlimits", None)
        (self.dir / "config.json").write_text(json.dumps(spec))
        self.serial = 0

    def run_ms(self, count=1):
        """Sequential runs; milliseconds for each, measured inside the private namespace."""
        script = ("umount /sys/fs/cgroup/unified 2>/dev/null; exec /usr/bin/python3 -c '"
                  "import subprocess,time,sys\n"
                  "out=[]\n"
                  f"for i in range({count}):\n"
                  "  t=time.perf_counter()\n"
                  f"  subprocess.run([\"crun\",\"run\",\"mayfly-bench-{os.getpid()}-{self.serial}-%d\"%i],"
                  "check=True,stdin=subprocess.DEVNULL,stdout=subprocess.DEVNULL)\n"
                  "  out.append((time.perf_counter()-t)*1e3)\n"
                  "print(*out)'")
        self.serial += 1
        out = subprocess.run(["unshare", "-m", "sh", "-c", script], cwd=self.dir, check=True,
                             capture_output=True, text=True).stdout
        return [float(v) for v in out.split()]

    def close(self):
        shutil.rmtree(self.dir, ignore_errors=True)
