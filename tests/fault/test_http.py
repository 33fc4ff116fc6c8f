"""Malformed, oversized, slow and hostile HTTP against the server, and hostile archives."""
import contextlib
import io
import json
import os
import random
import re
import socket
import stat
import struct
import time
import zipfile

import botocore.exceptions

import fault
from fault import Case

OK = b"GET /_mayfly/health HTTP/1.1\r\nHost: x\r\n\r\n"


class Raw(Case):
    def send(self, data, wait=3.0, close=False):
        """What comes back until silence or the end."""
        s = socket.create_connection(("127.0.0.1", self.server.port))
        s.settimeout(wait)
        out = b""
        try:
            s.sendall(data)
            if close:
                s.shutdown(socket.SHUT_WR)
            while True:
                more = s.recv(65536)
                if not more:
                    break
                out += more
                s.settimeout(0.1)
        except OSError:
            pass
        s.close()
        return out

    def test_malformed(self):
        h = b"GET /_mayfly/health HTTP/1.1\r\n"
        p = b"POST /2015-03-31/functions HTTP/1.1\r\nHost: x\r\n"
        cases = {
            "no method": b" / HTTP/1.1\r\nHost: x\r\n\r\n",
            "no version": b"GET /\r\n\r\n",
            "version 2": b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
            "version 11": b"GET / HTTP/11\r\nHost: x\r\n\r\n",
            "two blanks": b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
            "no slash": b"GET x HTTP/1.1\r\nHost: x\r\n\r\n",
            "control": b"GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n",
            "nul": b"GET /a\0b HTTP/1.1\r\nHost: x\r\n\r\n",
            "bare lf": b"GET / HTTP/1.1\nHost: x\n\n",
            "no host": h + b"\r\n",
            "two hosts": h + b"Host: a\r\nHost: b\r\n\r\n",
            "blank before colon": h + b"Host : x\r\n\r\n",
            "folded": h + b"Host: x\r\nA: b\r\n c\r\n\r\n",
            "no colon": h + b"Host: x\r\nnonsense\r\n\r\n",
            "empty name": h + b"Host: x\r\n: b\r\n\r\n",
            "cr in value": h + b"Host: x\r\nA: b\rc\r\n\r\n",
            "nul in value": h + b"Host: x\r\nA: b\0c\r\n\r\n",
            "length and chunks": p + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "two lengths": p + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            "negative": p + b"Content-Length: -1\r\n\r\n",
            "plus": p + b"Content-Length: +1\r\n\r\na",
            "hex": p + b"Content-Length: 0x1\r\n\r\na",
            "list": p + b"Content-Length: 1, 1\r\n\r\na",
            "endless number": p + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n",
            "bad coding": p + b"Transfer-Encoding: gzip\r\n\r\n",
            "coding twice": p + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
            "hidden coding": p + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
            "bad chunk": p + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
            "huge chunk": p + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n",
            "negative chunk": p + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
            "chunk without end": p + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
            "garbage": random.Random(1).randbytes(5000),
            "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
            "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "long line": b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1\r\nHost: x\r\n\r\n",
            "long header": h + b"Host: x\r\nA: " + b"a" * (1 << 20) + b"\r\n\r\n",
            "many headers": h + b"Host: x\r\n" + b"A: b\r\n" * 100000 + b"\r\n",
            "bad percent": b"GET /2015-03-31/functions/%zz HTTP/1.1\r\nHost: x\r\n\r\n",
            "dots": b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
            "absolute": b"GET http://169.254.169.254/ HTTP/1.1\r\nHost: x\r\n\r\n",
            "connect": b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
            "trace": b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n",
        }
        for name, data in cases.items():
            # A request behind it must not be answered as if nothing was wrong with the first.
            answer = self.send(data + OK)
            with self.subTest(name):
                if answer:
                    self.assertRegex(answer, rb"^HTTP/1\.1 (4\d\d|501|505) ")
                    if b"Connection: close" in answer or name not in (
                            "bad percent", "dots", "absolute", "connect", "trace"):
                        self.assertNotIn(b'"ready"', answer)
            self.assertLess(self.server.best_health(), 0.5 * fault.SLOW)

    def test_too_large(self):
        p = b"POST /2015-03-31/functions HTTP/1.1\r\nHost: x\r\n"
        self.assertRegex(self.send(p + b"Content-Length: 99999999999\r\n\r\n"),
                         rb"^HTTP/1\.1 (413|403|400) ")
        core = self.server.core_pid()
        before = int(open(f"/proc/{core}/statm").read().split()[1])
        for head in (b"Content-Length: 1073741824\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"):
            s = socket.create_connection(("127.0.0.1", self.server.port))
            s.settimeout(5)
            sent, piece = 0, b"10000\r\n" + b"a" * 65536 + b"\r\n"
            try:
                s.sendall(p + head)
                while sent < 300 << 20:
                    s.sendall(piece)
                    sent += len(piece)
            except OSError:
                pass
            # The rest of a refused body is thrown away for a second, then the connection goes.
            try:
                end = time.monotonic() + 10
                while time.monotonic() < end:
                    s.sendall(piece)
                self.fail("it listens on and on")
            except OSError:
                pass
            s.close()
        after = int(open(f"/proc/{core}/statm").read().split()[1])
        self.assertLess((after - before) * 4096, (120 << 20) * fault.SLOW)

    def test_payloads_too_large(self):
        self.server.create("sink", {"index.py": "def handler(e, c): return len(e)\n"}, memory=1769)
        self.assertEqual(self.server.invoke("sink", "x" * 6000000).value, 6000000)
        for size, kind in ((6291556 + 100, "RequestResponse"), (1048576 + 100, "Event")):
            with self.assertRaises(botocore.exceptions.ClientError) as raised:
                self.server.client().invoke(FunctionName="sink", InvocationType=kind,
                                            Payload=json.dumps("x" * size))
            self.assertIn(raised.exception.response["Error"]["Code"],
                          ("RequestTooLargeException", "RequestEntityTooLargeException"))
            self.assertEqual(raised.exception.response["ResponseMetadata"]["HTTPStatusCode"], 413)

    def test_slow_clients(self):
        """Hundreds of half requests, byte by byte, do not hold up the rest."""
        held = []
        try:
            for i in range(500):
                s = socket.create_connection(("127.0.0.1", self.server.port))
                s.sendall((b"POST /2015-03-31/functions HTTP/1.1\r\nHost: x\r\nContent-Length: 100000"
                           b"\r\n\r\n" if i % 2 else b"GET /_mayfly/health HTTP/1.1\r\nHo"))
                held.append(s)
            times = []
            for i in range(20):
                for s in held[i::20]:
                    try:
                        s.sendall(b"x")
                    except OSError:
                        pass
                times.append(self.server.health())
            self.assertLess(sorted(times)[5], 0.1 * fault.SLOW)
        finally:
            for s in held:
                s.close()

    def test_never_reads(self):
        """Clients that ask for megabytes and take nothing cost bounded memory."""
        self.server.create("megabytes", {"index.py": "def handler(e, c): return 'x' * 6000000\n"},
                           memory=1769, timeout=20)
        self.server.invoke("megabytes").value
        path = "/2015-03-31/functions/megabytes/invocations"
        head = "".join(f"{k}: {v}\r\n" for k, v in
                       self.server.signed("POST", path, b"{}").items())
        held = []
        for _ in range(10):
            s = socket.create_connection(("127.0.0.1", self.server.port))
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.sendall(f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.server.port}\r\n{head}"
                      "Content-Length: 2\r\n\r\n{}".encode())
            held.append(s)
        time.sleep(1)
        self.assertLess(self.server.best_health(), 0.2 * fault.SLOW)
        self.assertEqual(len(self.server.invoke("megabytes").value), 6000000)
        for s in held:
            s.close()

    def test_many_connections(self):
        """More than it has room for: some are refused, and afterwards all is well."""
        held = []
        try:
            for _ in range(3000):
                s = socket.socket()
                s.settimeout(0.5)
                s.connect(("127.0.0.1", self.server.port))
                held.append(s)
        except OSError:
            pass
        finally:
            for s in held:
                s.close()
        time.sleep(0.1)
        self.assertLess(self.server.best_health(), 1 * fault.SLOW)

    def test_fuzzed_requests(self):
        """Valid requests with bytes turned: nobody falls over."""
        dice = random.Random(7)
        path = "/2015-03-31/functions"
        body = json.dumps({"FunctionName": "f", "Role": fault.ROLE, "Runtime": "python3.11",
                           "Handler": "a.b", "Code": {"ZipFile": "AAAA"}}).encode()
        head = "".join(f"{k}: {v}\r\n" for k, v in self.server.signed("POST", path, body).items())
        whole = (f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.server.port}\r\n{head}"
                 f"Content-Length: {len(body)}\r\n\r\n").encode() + body
        for _ in range(300):
            data = bytearray(whole)
            for _ in range(dice.randint(1, 8)):
                data[dice.randrange(len(data))] = dice.randrange(256)
            s = socket.create_connection(("127.0.0.1", self.server.port))
            s.settimeout(0.02)
            try:
                s.sendall(data)
                s.recv(1000)
            except OSError:
                pass
            s.close()


def archive(entries, compress=zipfile.ZIP_DEFLATED):
    """entries: (name, content, mode with file type)."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compress) as z:
        for name, content, mode in entries:
            info = zipfile.ZipInfo(name)
            info.create_system = 3
            info.compress_type = compress
            info.external_attr = mode << 16
            z.writestr(info, content)
    return out.getvalue()


F = stat.S_IFREG | 0o755
L = stat.S_IFLNK | 0o777


class Archives(Case):
    GOOD = ("index.py", "def handler(e, c): return 'ran'\n", F)

    def files(self):
        found = []
        for top, _, names in os.walk(self.server.dir):
            found += [os.path.join(top, n) for n in names]
        return found

    def used(self):
        """Bytes on disk below the data directory; the file system itself is used by others, too."""
        total = 0
        for top, _, names in os.walk(self.server.dir):
            for name in names:
                with contextlib.suppress(OSError):
                    total += os.lstat(os.path.join(top, name)).st_blocks * 512
        return total

    def refused(self, name, data, runtime="python3.11"):
        """It is refused at once, or the function becomes Failed, and never runs."""
        client = self.server.client()
        try:
            client.create_function(FunctionName=name, Runtime=runtime, Role=fault.ROLE,
                                   Handler="index.handler", Code={"ZipFile": data})
        except botocore.exceptions.ClientError as e:
            self.assertIn(e.response["Error"]["Code"], (
                "InvalidParameterValueException", "CodeStorageExceededException",
                "RequestTooLargeException", "InvalidZipFileException",
                "RequestEntityTooLargeException"))
            self.assertLess(e.response["ResponseMetadata"]["HTTPStatusCode"], 500)
            return e.response["Error"]["Message"]
        end = time.monotonic() + 30 * fault.SLOW
        while time.monotonic() < end:
            c = client.get_function_configuration(FunctionName=name)
            if c["State"] != "Pending":
                self.assertEqual(c["State"], "Failed", "it was accepted")
                return c["StateReason"]
            time.sleep(0.02)
        self.fail("it is still Pending")

    def test_bombs(self):
        before, start = self.used(), time.monotonic()
        gigabyte = archive([self.GOOD, ("big", bytes(1 << 30), F)])
        self.assertRegex(self.refused("bomb", gigabyte), r"\d")
        del gigabyte
        many = archive([self.GOOD] + [(f"f{i}", bytes(100 << 20), F) for i in range(3)])
        self.refused("bombs", many)
        # The same data named again and again by overlapping entries.
        data = bytearray(archive([("a", bytes(40 << 20), F)]))
        at = data.rindex(b"PK\x01\x02")
        entry = bytes(data[at:at + 46 + 1])
        count = 5000
        tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, len(entry) * count, at, 0)
        overlap = bytes(data[:at]) + entry * count + tail
        try:
            self.refused("overlap", overlap)
        except AssertionError:  # it may also be read as the one small file that it really holds
            self.server.client().delete_function(FunctionName="overlap")
        self.assertLess(time.monotonic() - start, 40 * fault.SLOW)
        self.server.wait_for(lambda: self.used() - before < 60 << 20, "the disk space to return", 5)

    def test_lying_sizes(self):
        data = bytearray(archive([self.GOOD, ("big", bytes(300 << 20), F)]))
        for at in (m.start() for m in re.finditer(b"PK\x01\x02", bytes(data))):
            struct.pack_into("<L", data, at + 24, 100)
        for at in (m.start() for m in re.finditer(b"PK\x03\x04", bytes(data))):
            struct.pack_into("<L", data, at + 22, 100)
        self.refused("liar", bytes(data))

    def test_outside(self):
        mark = f"mayfly-escaped-{os.getpid()}"
        names = (f"../{mark}", f"a/../../{mark}", f"/tmp/{mark}", f"../../../../../../tmp/{mark}",
                 f"..\\{mark}", f"a/b/../../../{mark}", f"//tmp/{mark}", f"./../{mark}")
        for i, name in enumerate(names):
            data = archive([self.GOOD, (name, "x", F)])
            try:
                self.server.client().create_function(
                    FunctionName=f"out{i}", Runtime="python3.11", Role=fault.ROLE,
                    Handler="index.handler", Code={"ZipFile": data})
            except botocore.exceptions.ClientError as e:
                self.assertEqual(e.response["Error"]["Code"], "InvalidParameterValueException")
        time.sleep(0.5)
        for path in self.files():
            if mark in path:  # a harmless reading of the name is one inside its own directory
                self.assertRegex(path, r"/code/[0-9a-f]{64}/", path)
        self.assertFalse(os.path.exists("/tmp/" + mark))

    def test_links(self):
        """Links in code may exist, but lead nowhere outside the box, and nothing is written
        through them."""
        with open("/tmp/mayfly-target-%d" % os.getpid(), "w") as target:
            target.write("untouched")
        sniff = ("index.py", '''
import os
def handler(e, c):
    out = {}
    for n in os.listdir("/var/task"):
        try:
            out[n] = open("/var/task/" + n).read(100)
        except OSError as x:
            out[n] = x.strerror
    return out
''', F)
        cases = {
            "passwd": [("evil", "/etc/shadow", L)], "up": [("evil", "../" * 9 + "etc/shadow", L)],
            "through": [("evil", "/tmp", L), ("evil/" + os.path.basename(target.name), "x", F)],
            "self": [("evil", "evil", L)], "data": [("evil", str(self.server.dir / "secret"), L)],
            "twice": [("evil", target.name, L), ("evil", "overwritten", F)],
            "updir": [("evil", "..", L), ("evil/escaped", "x", F)],
        }
        for name, entries in cases.items():
            try:
                self.server.create(name, {"index.py": "x"}, wait=False) if False else None
                self.server.client().create_function(
                    FunctionName=name, Runtime="python3.11", Role=fault.ROLE,
                    Handler="index.handler", Code={"ZipFile": archive([sniff] + entries)})
                self.server.client().get_waiter("function_active_v2").wait(
                    FunctionName=name, WaiterConfig={"Delay": 0.02, "MaxAttempts": 500})
            except (botocore.exceptions.ClientError, botocore.exceptions.WaiterError):
                continue
            seen = self.server.invoke(name).value.get("evil", "")
            self.assertNotIn("root:", seen, name)
            self.assertNotEqual(seen, "untouched", name)
        with open(target.name) as f:
            self.assertEqual(f.read(), "untouched")
        os.unlink(target.name)
        self.assertFalse(os.path.exists("/tmp/escaped"))
        for path in self.files():
            self.assertFalse(path.endswith("/code/escaped"), path)

    def test_devices_and_modes(self):
        data = archive([self.GOOD, ("sda", "", stat.S_IFBLK | 0o666),
                        ("mem", "", stat.S_IFCHR | 0o666), ("fifo", "", stat.S_IFIFO | 0o666),
                        ("socket", "", stat.S_IFSOCK | 0o666),
                        ("suid", "#!/bin/sh\n", stat.S_IFREG | 0o6777)])
        try:
            self.server.client().create_function(
                FunctionName="dev", Runtime="python3.11", Role=fault.ROLE, Handler="index.handler",
                Code={"ZipFile": data})
            time.sleep(0.5)
        except botocore.exceptions.ClientError as e:
            self.assertEqual(e.response["Error"]["Code"], "InvalidParameterValueException")
        for top, dirs, names in os.walk(self.server.dir / "code"):
            for n in names:
                mode = os.lstat(os.path.join(top, n)).st_mode
                self.assertTrue(stat.S_ISREG(mode) or stat.S_ISLNK(mode), (n, oct(mode)))
                self.assertEqual(mode & 0o6022, 0 if stat.S_ISREG(mode) else mode & 0o22, n)

    def test_broken(self):
        good = archive([self.GOOD, ("data", os.urandom(100000), F)])
        damaged = bytearray(good)
        damaged[len(damaged) // 2] ^= 0xff
        cases = {
            "empty": b"", "text": b"this is no archive", "half": good[:len(good) // 2],
            "end": good[-22:], "damaged": bytes(damaged),
            "tar": b"index.py" + bytes(504), "gzip": b"\x1f\x8b\x08" + bytes(100),
            "void": archive([]), "encrypted": good[:6] + b"\x01" + good[7:],
        }
        for name, data in cases.items():
            with self.subTest(name):
                if name in ("encrypted", "void"):
                    # Either way, but no crash and no 5xx.
                    try:
                        self.refused(name, data)
                    except AssertionError:
                        pass
                    continue
                self.refused(name, data)

    def test_odd_names(self):
        entries = [("index.py", "import os\ndef handler(e, c): return os.listdir()\n", F)]
        entries += [("d/" * 60 + "deep", "x", F), ("n" * 255, "x", F),
                    ("new\nline", "x", F), ("caf\u00e9", "x", F), ("dir/", "", stat.S_IFDIR | 0o755),
                    ("dir/file", "x", F), ("-rf", "x", F), (" ", "x", F)]
        self.server.client().create_function(
            FunctionName="odd", Runtime="python3.11", Role=fault.ROLE, Handler="index.handler",
            Code={"ZipFile": archive(entries)})
        self.server.client().get_waiter("function_active_v2").wait(
            FunctionName="odd", WaiterConfig={"Delay": 0.02, "MaxAttempts": 500})
        self.assertEqual(set(self.server.invoke("odd").value), {
            "index.py", "d", "n" * 255, "new\nline", "caf\u00e9", "dir", "-rf", " "})
        self.refused("long", archive([self.GOOD, ("n" * 5000, "x", F)]))

    def test_very_many_files(self):
        data = archive([self.GOOD] + [(f"f{i}", "", F) for i in range(20000)], zipfile.ZIP_STORED)
        with fault.Background(self.server.health, pause=0.01) as others:
            self.server.client().create_function(
                FunctionName="twenty", Runtime="python3.11", Role=fault.ROLE,
                Handler="index.handler", Code={"ZipFile": data})
            client, end = self.server.client(), time.monotonic() + 30 * fault.SLOW
            while client.get_function_configuration(FunctionName="twenty")["State"] == "Pending":
                self.assertLess(time.monotonic(), end)
                time.sleep(0.05)
        # Finer is what core itself says of callbacks that take long.
        self.assertLess(max(others.results), 2 * fault.SLOW)

    def test_nothing_is_left(self):
        """What was refused leaves nothing; what was deleted is gone at the latest after a start
        (invocations that still run may read it until then)."""
        with fault.Server("--pool-each", "0") as s:
            def left():
                return os.listdir(s.dir / "code") + os.listdir(s.dir / "blobs")
            s.create("first", {"index.py": "def handler(e, c): return 1\n"})
            usual = left()
            self.server, mine = s, self.server
            try:
                for i, entries in enumerate(([("../x", "x", F)], [("big", bytes(300 << 20), F)],
                                             [("l", "/etc/passwd", L)])):
                    self.refused(f"gone{i}", archive([self.GOOD] + entries))
                self.refused("gone", b"PK" + bytes(1000))
                for f in s.client().list_functions()["Functions"]:
                    if f["FunctionName"] != "first":
                        s.client().delete_function(FunctionName=f["FunctionName"])
            finally:
                self.server = mine
            s.wait_for(lambda: sorted(left()) == sorted(usual), "refused code to go", 5)
            s.invoke("first").value
            s.client().delete_function(FunctionName="first")
            s.stop()
            s.start()
            s.wait_for(lambda: not left(), "deleted code to go", 5)


if __name__ == "__main__":
    fault.main()
