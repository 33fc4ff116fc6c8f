"""Attacks that were tried for docs/security.md, on a whole server: from code in a box, from clients
without a key, from users of the host. What box and core may do as processes is in run.py."""
import contextlib
import http.client
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/fault"))
import fault  # noqa: E402
from fault import Case  # noqa: E402

CORE_ID = 1900000001
FOREIGN_HOST = "a" * 32
PATIENCE_S = 10  # what is slow only because the machine is busy stays below

BOX = {"index.py": r'''
import array, json, os, socket, struct, time

def lingering():
    """A TCP socket that takes an hour to close, in a message to core."""
    l = socket.socket()
    l.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    l.bind(("127.0.0.1", 0))
    l.listen()
    c = socket.create_connection(l.getsockname())
    a, _ = l.accept()
    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3600))
    c.setblocking(False)
    try:
        while True:
            c.send(b"x" * 65536)
    except BlockingIOError:
        pass
    sent = "refused"
    for fd in (3, 4):
        channel = socket.socket(fileno=os.dup(fd))
        try:
            channel.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                                      array.array("i", [c.fileno()]))])
            sent = "sent"
        except (PermissionError, BrokenPipeError):
            pass
    c.close()
    time.sleep(2)
    return sent

def connections(port, wanted):
    """How many of many connections are answered while all are held; then some time with them."""
    held = []
    for _ in range(wanted):
        try:
            s = socket.create_connection(("127.0.0.1", port), timeout=2)
            s.sendall(b"GET /_mayfly/health HTTP/1.1\r\nHost: x\r\n\r\n")
            held.append(s)
        except OSError:
            pass
    answered = 0
    for s in held:
        try:
            s.settimeout(0.5)
            answered += s.recv(20).startswith(b"HTTP/1.1 ")
        except OSError:
            pass
    time.sleep(1.5)
    return answered

def tcp_memory(mb):
    held, sent = [], 0
    l = socket.socket()
    l.bind(("127.0.0.1", 0))
    l.listen()
    for _ in range(300):
        c = socket.create_connection(l.getsockname())
        held += [c, l.accept()[0]]
        c.setblocking(False)
        try:
            while sent < mb << 20:
                sent += c.send(b"x" * 262144)
        except BlockingIOError:
            pass
    return sent >> 20

def netlink():
    """How many sockets there can be, in several processes, and whether there is room afterwards."""
    def many():
        held = []
        try:
            while len(held) < 500:
                held.append(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0))
        except OSError:
            pass
        return held
    r, w = os.pipe()
    if not os.fork():
        held = many()
        os.write(w, b"%d" % len(held))
        time.sleep(1)
        os._exit(0)
    first, second = int(os.read(r, 10)), len(many())
    time.sleep(1.2)
    again = len(many())
    return [first, second, again, socket.if_nameindex()]

def handler(event, context):
    if "requestContext" in event:
        return {"statusCode": 200, "body": "fine", "headers": {
            "x-fine": "1", "x-split": "a\r\nx-evil: 1", "x-nul": "a\u0000b", "bad name": "1",
            "content-length": "1", "transfer-encoding": "chunked", "x-split\r\nx-evil": "1",
            "connection": "upgrade"}, "cookies": ["a=1\r\nx-evil: 1"]}
    return globals()[event["do"]](*event.get("with", []))
'''}

NOBODY = r'''
import json, os, sys
os.setgroups([]); os.setgid({id}); os.setuid({id})
def attempt(path):
    try:
        if os.path.isdir(path):
            return "listed" if os.listdir(path) is not None else ""
        with open(path, "rb") as f:
            return "read" if f.read(1) is not None else ""
    except OSError as e:
        return type(e).__name__
print(json.dumps({{p: attempt(p) for p in {paths!r}}}))
'''


class Attack(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server.create("box", BOX, memory=512, timeout=30)
        client = cls.server.client()
        answer = client.create_function_url_config(FunctionName="box", AuthType="NONE")
        for action in ("lambda:InvokeFunctionUrl", "lambda:InvokeFunction"):
            more = {"FunctionUrlAuthType": "NONE"} if action.endswith("Url") else {}
            client.add_permission(FunctionName="box", StatementId=action[7:], Action=action,
                                  Principal="*", **more)
        cls.url_id = answer["FunctionUrl"].split("//")[1].split(".")[0]

    def attack(self, do, *arguments):
        return self.server.invoke("box", {"do": do, "with": arguments})

    def meanwhile(self, attack):
        """The longest that anybody had to wait for health and a signed call while attack ran."""
        slow = []

        def both():
            start = time.monotonic()
            self.server.health()
            self.server.client("iam").list_users(MaxItems=1)
            slow.append(time.monotonic() - start)

        with fault.Background(both, pause=0.05) as others:
            result = attack()
        self.assertEqual(others.errors, [])
        return result, max(slow)

    def raw(self, data, wait=5):
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=wait) as s:
            s.sendall(data)
            out = b""
            with contextlib.suppress(OSError):
                while more := s.recv(65536):
                    out += more
            return out

    # ---- from a box ----

    def test_lingering_socket(self):
        answer, slowest = self.meanwhile(lambda: self.attack("lingering"))
        self.assertLess(slowest, PATIENCE_S)
        if not answer.error:  # an old kernel lets it through, and the channel is broken
            self.assertEqual(answer.value, "refused")

    def test_connections_of_a_box(self):
        answer, slowest = self.meanwhile(lambda: self.attack("connections", 4566, 150))
        self.assertGreater(answer.value, 32)
        self.assertLessEqual(answer.value, 64)
        self.assertLess(slowest, PATIENCE_S)

    def test_socket_memory(self):
        """What a box's sockets hold is bounded, by its own group or by a share beside it."""
        self.assertLess(self.attack("tcp_memory", 600).value, 400)

    def test_netlink_sockets(self):
        """What lies in them is charged to nobody, so there are few of them in a box."""
        first, second, again, interfaces = self.attack("netlink").value
        self.assertEqual([first, second, again], [64, 0, 64])
        self.assertEqual(interfaces, [[1, "lo"]])

    # ---- without a key ----

    def test_bodies_of_anybody(self):
        """Many large bodies that never end: core holds no more than its budget."""
        head = (f"POST /_mayfly/url/{self.url_id}/ HTTP/1.1\r\nHost: x\r\n"
                "Content-Length: 6000000\r\n\r\n").encode()
        before, held, refused = self.rss_mb(), [], 0
        for _ in range(60):
            s = socket.create_connection(("127.0.0.1", self.server.port), timeout=3)
            with contextlib.suppress(OSError):
                s.sendall(head + b"x" * 5900000)
            held.append(s)
        self.assertLess(self.server.health(), PATIENCE_S)
        self.server.client().list_functions()
        self.server.client().update_function_configuration(FunctionName="box", Description="y" * 200)
        grown = self.rss_mb() - before
        for s in held:
            s.settimeout(0.02)
            with contextlib.suppress(OSError):
                refused += b" 503 " in s.recv(100)
            s.close()
        self.assertGreater(refused, 20)
        # Sanitizers keep what has been freed.
        self.assertLess(grown, (2 * 128 + 64) * fault.SLOW)

    def test_bodies_for_nobody(self):
        """A function URL that is not there takes in no large body."""
        answer = self.raw((f"POST /_mayfly/url/{FOREIGN_HOST}/ HTTP/1.1\r\nHost: x\r\n"
                           "Content-Length: 6000000\r\n\r\n").encode())
        self.assertIn(b" 413 ", answer[:20])

    def test_unsigned_operations(self):
        """Every operation of every model, unsigned and with a key that nobody has."""
        s3 = self.server.client("s3")
        s3.create_bucket(Bucket="box")
        s3.put_object(Bucket="box", Key="box", Body=b"ours")
        forged = ("AWS4-HMAC-SHA256 Credential=AKIAAAAAAAAAAAAAAAAA/{}/us-east-1/{}/aws4_request,"
                  " SignedHeaders=host;x-amz-date{}, Signature=" + "0" * 64)
        asked = 0
        for meta, name, op in self.operations():
            method, uri, headers, body = self.request_of(meta, name, op)
            self.refused(meta, name, method, uri, headers, body)
            also = {"json": ";x-amz-target", "rest-xml": ";x-amz-content-sha256"}
            now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            headers |= {"x-amz-date": now, "Authorization": forged.format(
                now[:8], meta["endpointPrefix"], also.get(meta["protocol"], ""))}
            if meta["protocol"] == "rest-xml":
                headers["x-amz-content-sha256"] = "UNSIGNED-PAYLOAD"
            self.refused(meta, name, method, uri, headers, body)
            asked += 1
        self.assertGreater(asked, 100)
        self.assertEqual([b["Name"] for b in s3.list_buckets()["Buckets"]], ["box"])
        self.assertEqual([o["Key"] for o in s3.list_objects_v2(Bucket="box")["Contents"]], ["box"])
        self.assertEqual(s3.get_object(Bucket="box", Key="box")["Body"].read(), b"ours")
        self.assertNotIn("Uploads", s3.list_multipart_uploads(Bucket="box"))
        self.assertNotIn("QueueUrls", self.server.client("sqs").list_queues())

    def operations(self):
        for path in sorted((ROOT / "model").glob("*.json")):
            model = json.loads(path.read_text())
            for name, op in model.get("operations", {}).items():
                if name in self.OPEN:
                    continue
                yield model["metadata"], name, op
                if "awsQueryCompatible" in model["metadata"]:
                    yield model["metadata"] | {"protocol": "query"}, name, op

    def refused(self, meta, name, method, uri, headers, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        connection.request(method, uri, body, headers)
        reply = connection.getresponse()
        text = reply.read()
        connection.close()
        signed = "Authorization" in headers
        if meta["protocol"] == "rest-xml":
            # S3 serves anybody what a bucket's policy gives to anybody: here nothing. What makes
            # no sense as a request is refused before that.
            if reply.status != 403:
                self.assertIn(reply.status, (400, 501), (name, signed, text))
                self.assertRegex(text, b"<Code>(MalformedXML|NotImplemented|Invalid\\w+)<", name)
            elif method != "HEAD":
                self.assertRegex(text, b"InvalidAccessKeyId" if signed else
                                 b"AccessDenied|MissingAuthenticationToken", name)
        else:
            # The same is so of queues and their policies.
            early = b"|MissingParameter|Invalid|NonExistentQueue|AccessDenied"
            self.assertIn(reply.status, (400, 403, 404), (name, signed, text))
            self.assertRegex(text, b"(?i)token|unknown" + (
                early if meta["endpointPrefix"] == "sqs" and not signed else b""), (name, signed))

    # Their callers have no key yet, by AWS's design.
    OPEN = ("AssumeRoleWithSAML", "AssumeRoleWithWebIdentity")

    @staticmethod
    def request_of(meta, name, op):
        method, uri = op["http"]["method"], op["http"]["requestUri"]
        if meta["protocol"] == "query":
            return method, "/", {"Content-Type": "application/x-www-form-urlencoded"}, \
                f"Action={name}&Version={meta['apiVersion']}"
        if meta["protocol"] == "json":
            return method, "/", {"Content-Type": "application/x-amz-json-1.1",
                                 "X-Amz-Target": f"{meta['targetPrefix']}.{name}"}, "{}"
        for part in [p for p in uri.replace("?", "/").replace("&", "/").split("/") if "{" in p]:
            uri = uri.replace(part[part.index("{"):part.index("}") + 1], "box")
        return method, uri, {}, "{}" if method in ("POST", "PUT") else None

    def test_code_links(self):
        """Links to code are not to be guessed, bent or moved to another code."""
        location = self.server.client().get_function(FunctionName="box")["Code"]["Location"]
        path = location.split("/", 3)[3]
        name, query = path.split("?")
        digest = name.rsplit("/", 1)[1]
        other = ("0" if digest[0] != "0" else "1") + digest[1:]
        bent = ["/_mayfly/code/" + x for x in (
            f"{digest}", f"{other}?{query}", f"../credentials?{query}", f"%2e%2e/secret?{query}",
            f"{digest}/../../secret?{query}", f"{digest.upper()}?{query}",
            f"{digest}?{query.replace('expires=', 'expires=9')}", f"{digest}?{query[:-1]}",
            f"{digest}%00?{query}", f"{digest}?sig=&expires=99999999999")]
        for target in bent:
            answer = self.raw(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            self.assertRegex(answer[:20], rb" 40[034] ", target)
        good = self.raw(f"GET /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        self.assertIn(b" 200 ", good[:20])

    def test_answers_of_functions(self):
        """A function's headers cannot become other headers or another answer."""
        answer = self.raw(f"GET /_mayfly/url/{self.url_id}/ HTTP/1.1\r\nHost: x\r\n"
                          "Connection: close\r\n\r\n".encode(), wait=15)
        head, body = answer.split(b"\r\n\r\n", 1)
        self.assertEqual(body, b"fine")
        self.assertIn(b"x-fine: 1", head)
        names = [line.split(b":")[0].lower() for line in head.split(b"\r\n")[1:]]
        for bad in (b"x-evil", b"x-nul", b"bad name", b"transfer-encoding", b"x-split", b"set-cookie"):
            self.assertNotIn(bad, names)
        self.assertEqual(names.count(b"content-length"), 1)

    # ---- users of the host ----

    def as_user(self, number, paths):
        out = subprocess.run(["/usr/bin/python3", "-c", NOBODY.format(id=number, paths=paths)],
                             capture_output=True, text=True, check=True, cwd="/")
        return json.loads(out.stdout)

    def test_users_of_the_host(self):
        """Nothing of a function, and no key, is theirs to read."""
        os.chmod(self.server.data, 0o755)
        core, d = self.server.core_pid(), str(self.server.dir)
        paths = [f"{d}/{x}" for x in ("code", "blobs", "tmp", "root", "logs", "usage", "credentials",
                                      "secret", "mayfly.db", "mayfly.db-wal", "cgroups")]
        paths += [f"/proc/{p}/{x}" for p in (core, self.server.process.pid)
                  for x in ("environ", "mem", "fd", "root", "maps")]
        for path, answer in self.as_user(65534, paths).items():
            self.assertEqual(answer, "PermissionError", path)

    def test_user_of_core(self):
        """Another installation's core has the same user: the kernel keeps it out of this one."""
        core = self.server.core_pid()
        paths = [f"/proc/{core}/{x}" for x in ("environ", "mem", "fd", "root", "maps", "cwd")]
        for path, answer in self.as_user(CORE_ID, paths).items():
            self.assertEqual(answer, "PermissionError", path)

    def test_secrets_stay_in_their_files(self):
        secret = self.server.keys["aws_secret_access_key"]
        self.assertNotIn(secret, self.server.text())
        for pid in (self.server.core_pid(), self.server.process.pid):
            for name in ("environ", "cmdline"):
                self.assertNotIn(secret.encode(), pathlib.Path(f"/proc/{pid}/{name}").read_bytes())
        for name in ("credentials", "secret"):
            self.assertEqual((self.server.dir / name).stat().st_mode & 0o777, 0o600, name)

    def rss_mb(self):
        status = pathlib.Path(f"/proc/{self.server.core_pid()}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) // 1024


class Dev(Case):
    options = ("--dev", "--pool-each", "0")

    def test_pages_of_other_sites(self):
        """A page in the developer's browser cannot use the server; one from localhost can."""
        for origin, status in (("http://localhost:3000", 200), ("http://127.0.0.1", 200),
                               ("http://[::1]:1", 200), (None, 200), ("https://evil.example", 403),
                               ("http://localhost.evil.example", 403), ("null", 403),
                               ("http://127.0.0.1.evil.example:80", 403), ("", 403)):
            connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
            connection.request("GET", "/2015-03-31/functions/", headers={"Origin": origin}
                               if origin is not None else {})
            reply = connection.getresponse()
            text = reply.read()
            self.assertEqual(reply.status, status, (origin, text))
            connection.close()

    def test_other_addresses(self):
        """--dev accepts any key, so it listens on loopback only."""
        out = subprocess.run([fault.lab.BUILD / "mayfly", "serve", "--dev", "--data",
                              self.server.data / "other", "--listen", "0.0.0.0:0"],
                             capture_output=True, text=True)
        self.assertEqual(out.returncode, 2, out.stderr)
        self.assertFalse((self.server.data / "other").exists())


if __name__ == "__main__":
    fault.main()
