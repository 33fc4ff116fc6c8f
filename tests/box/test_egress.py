"""The way out of boxes (`mayfly serve --egress`), seen from code in a box. The whole test runs in
a network namespace of its own that plays the host: `wan` leads to the outside, `lan` to a private
network, both played by a process in another namespace."""
import contextlib
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

HOST, OUTSIDE = "203.0.113.1", "203.0.113.2"
LAN_HOST, LAN = "10.99.0.1", "10.99.0.2"
TCP, SMTP, UDP, DNS, HOST_PORT = 80, 25, 7, 53, 7777

# Says whom it sees: on every TCP connection and datagram; on port 53 an address for every name.
WORLD = f'''
import socket, struct, sys, threading
def tcp(port):
    l = socket.create_server(("0.0.0.0", port), backlog=100)
    while True:
        c, peer = l.accept()
        c.sendall(peer[0].encode())
        c.close()
def udp(port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("0.0.0.0", port))
    while True:
        data, peer = s.recvfrom(2000)
        if port == {DNS}:
            known = b"there" in data
            found = known and data[-4:-2] == b"\\0\\1"
            s.sendto(data[:2] + struct.pack(">HHHHH", 0x8180 if known else 0x8183, 1, found, 0, 0) + data[12:] +
                     (b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\x3c\\0\\4" +
                      socket.inet_aton("{OUTSIDE}") if found else b""), peer)
        else:
            s.sendto(peer[0].encode(), peer)
for f, p in ((tcp, {TCP}), (tcp, {SMTP}), (udp, {UDP}), (udp, {DNS})):
    threading.Thread(target=f, args=(p,), daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
'''

BOX = {"index.py": r'''
import errno, fcntl, os, socket, struct, time

def tcp(host, port, patience=1.5):
    s = socket.socket()
    s.settimeout(patience)
    start = time.monotonic()
    try:
        s.connect((host, port))
        return s.recv(100).decode()
    except OSError as e:
        return errno.errorcode.get(e.errno, "TIMEOUT")
    finally:
        s.close()

def udp(host, port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(0.7)
    try:
        s.connect((host, port))
        s.send(b"x")
        return s.recv(100).decode()
    except OSError as e:
        return errno.errorcode.get(e.errno, "TIMEOUT")

def name(host):
    try:
        return socket.gethostbyname(host)
    except OSError as e:
        return type(e).__name__

def address():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        return socket.inet_ntoa(fcntl.ioctl(s, 0x8915, struct.pack("256s", b"eth0"))[20:24])
    except OSError as e:
        return errno.errorcode[e.errno]

def listen(seconds):
    """Wait for anybody to come."""
    l = socket.create_server(("0.0.0.0", 9999))
    l.settimeout(seconds)
    try:
        return l.accept()[1][0]
    except TimeoutError:
        return "nobody"
    finally:
        l.close()

def interfaces():
    return [n for _, n in socket.if_nameindex()]

def ipv6():
    return open("/proc/net/if_inet6").read()

def flood(count):
    """A flow for each of many ports."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for port in range(1024, 1024 + count):
        try:
            s.sendto(b"x", ("203.0.113.2", port))
        except OSError:
            pass
    return count

def handler(event, context):
    return globals()[event["do"]](*event.get("with", []))
'''}


def sh(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def world():
    """The outside, reached by two interfaces; lives until its standard input ends."""
    process = subprocess.Popen(["unshare", "--net", sys.executable, "-c", WORLD],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    inside = ["nsenter", f"--net=/proc/{process.pid}/ns/net", "ip"]
    sh(*inside, "link", "set", "lo", "up")
    for near, far, here, there in (("wan", "e0", HOST, OUTSIDE), ("lan", "e1", LAN_HOST, LAN)):
        sh("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns",
           str(process.pid))
        sh("ip", "addr", "add", here + "/24", "dev", near)
        sh("ip", "link", "set", near, "up")
        sh(*inside, "addr", "add", there + "/24", "dev", far)
        sh(*inside, "link", "set", far, "up")
    # It knows the way to boxes, so that only rules keep it from them.
    sh(*inside, "route", "add", "10.214.0.0/16", "via", HOST)
    sh("ip", "route", "add", "default", "via", OUTSIDE)
    return process


class Egress(Case):
    options = ("--pool-each", "2", "--listen", f"{HOST}:0")
    more = ()

    @classmethod
    def setUpClass(cls):
        cls.options = (*Egress.options, "--egress", "--egress-dns", OUTSIDE, *cls.more)
        super().setUpClass()
        cls.server.create("box", BOX, timeout=20)
        cls.server.create("other", BOX, timeout=20)

    def ask(self, do, *args, function="box"):
        return self.server.invoke(function, {"do": do, "with": args}).value


class Out(Egress):
    def test_the_outside_is_reached(self):
        self.assertEqual(self.ask("interfaces"), ["lo", "eth0"])
        self.assertEqual(self.ask("tcp", OUTSIDE, TCP), HOST)
        self.assertEqual(self.ask("udp", OUTSIDE, UDP), HOST)
        self.assertEqual(self.ask("name", "there.example"), OUTSIDE)
        self.assertEqual(self.ask("name", "nowhere.example"), "gaierror")

    def test_nothing_else_is(self):
        """The host by any of its addresses, its networks, special addresses, mail."""
        own = self.ask("address")
        self.assertTrue(own.startswith("10.214."), own)
        gateway = ".".join(own.split(".")[:2]) + ".0.1"
        api = int(next(line for line in self.server.text().splitlines()
                       if f"listening on {HOST}:" in line).rsplit(":", 1)[1])
        with socket.create_server(("0.0.0.0", HOST_PORT)) as listener, \
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            listener.settimeout(0.2)
            datagrams.bind(("0.0.0.0", HOST_PORT))
            datagrams.settimeout(0.2)
            # The host could be reached: the outside does.
            socket.create_connection((HOST, HOST_PORT)).close()
            listener.accept()[0].close()
            for host, port in ((HOST, HOST_PORT), (HOST, api), (LAN_HOST, HOST_PORT),
                               (gateway, HOST_PORT), (gateway, 4566), (LAN, TCP),
                               ("192.168.0.1", 80), ("172.16.0.1", 80),
                               ("100.64.0.1", 80), (OUTSIDE, SMTP)):
                with self.subTest(host=host, port=port):
                    self.assertIn(self.ask("tcp", host, port), ("EHOSTUNREACH", "ENETUNREACH"))
            for host in (HOST, LAN_HOST, gateway, "255.255.255.255", "10.214.15.255"):
                self.assertNotIn(self.ask("udp", host, HOST_PORT), (host, gateway, own))
            self.assertRaises(TimeoutError, listener.accept)
            self.assertRaises(TimeoutError, datagrams.recv, 10)
        # Its own loopback is its own, link-local addresses are on it; the Runtime API's port does not listen on eth0.
        self.assertEqual(self.ask("tcp", "127.0.0.1", HOST_PORT), "ECONNREFUSED")
        self.assertEqual(self.ask("tcp", "169.254.169.254", 80), "ECONNREFUSED")
        self.assertEqual(self.ask("tcp", own, 9001), "ECONNREFUSED")
        self.assertEqual([line.split()[-1] for line in self.ask("ipv6").splitlines()], ["lo"])

    def test_nobody_gets_in(self):
        """Not the host, not a sibling, not the outside that knows the way."""
        def come():
            time.sleep(1)
            with contextlib.suppress(OSError):
                socket.create_connection((own, 9999), timeout=0.5).close()
            subprocess.run(
                ["nsenter", f"--net=/proc/{WORLD_PROCESS.pid}/ns/net", sys.executable, "-c",
                 f"import socket; socket.create_connection(({own!r}, 9999), timeout=0.5)"],
                capture_output=True)
            return self.ask("tcp", own, 9999, function="other")
        own = self.ask("address")
        got, sibling = fault.parallel(lambda: self.ask("listen", 6), come)
        self.assertEqual(got, "nobody")
        self.assertEqual(sibling, "EHOSTUNREACH")

    def test_flows_are_bounded(self):
        """The host's memory of connections is not one function's to fill."""
        def flows():
            return int(open("/proc/sys/net/netfilter/nf_conntrack_count").read())
        before = flows()
        self.server.create("flooder", BOX, timeout=20)
        self.ask("flood", 6000, function="flooder")
        self.assertGreater(flows() - before, 1000)
        self.assertLess(flows() - before, 2200)
        # Others have room, it has not.
        self.assertEqual(self.ask("tcp", OUTSIDE, TCP), HOST)
        self.assertEqual(self.ask("tcp", OUTSIDE, TCP, function="flooder"), "TIMEOUT")

    def test_flush(self):
        """Who flushes all rules of the host does not open the fences."""
        sh("nft", "flush", "ruleset")
        self.assertEqual(self.ask("tcp", OUTSIDE, TCP), HOST)
        self.assertEqual(self.ask("tcp", LAN, TCP), "EHOSTUNREACH")

    def test_life(self):
        """Killed and started again, it is as before; stopped, nothing is left."""
        with fault.Server(*self.options) as server:
            server.create("box", BOX, timeout=20)
            event = {"do": "tcp", "with": [OUTSIDE, TCP]}
            self.assertEqual(server.invoke("box", event).value, HOST)
            server.settle()
            server.kill_spawner()
            server.start()
            self.assertEqual(server.invoke("box", event).value, HOST)
            self.assertEqual(len(bridges()), 2)
            server.stop()
            self.assertEqual(len(bridges()), 1)
            self.assertEqual(sh("nft", "list", "tables").count("-boxes"), 1)


class Allowed(Egress):
    more = ("--egress-allow", "10.0.0.0/8", "--egress-allow", "203.0.113.1/32")

    def test_a_private_network(self):
        """It is reached; the host's addresses in it, and siblings, still are not."""
        self.assertEqual(self.ask("tcp", LAN, TCP), LAN_HOST)
        own = self.ask("address")
        with socket.create_server(("0.0.0.0", HOST_PORT)):
            for host in (LAN_HOST, HOST, ".".join(own.split(".")[:2]) + ".0.1"):
                self.assertEqual(self.ask("tcp", host, HOST_PORT), "EHOSTUNREACH")
        _, sibling = fault.parallel(
            lambda: self.ask("listen", 4),
            lambda: (time.sleep(1), self.ask("tcp", own, 9999, function="other"))[1])
        self.assertEqual(sibling, "TIMEOUT")


class Off(Case):
    def test_there_is_no_way(self):
        self.server.create("box", BOX, timeout=20)
        for do, want in ((["interfaces"], ["lo"]), (["tcp", OUTSIDE, TCP], "ENETUNREACH")):
            self.assertEqual(
                self.server.invoke("box", {"do": do[0], "with": do[1:]}).value, want)
        self.assertEqual(bridges(), [])
        self.assertEqual(sh("nft", "list", "tables"), "")
        self.assertEqual(open("/proc/sys/net/ipv4/ip_forward").read(), "0\n")


class Usage(Case):
    def test_words(self):
        for options, words in ((["--egress-dns", "1.1.1.1"], "add --egress"),
                               (["--egress", "--egress-dns", "one"], "out of range")):
            out = subprocess.run([fault.lab.BUILD / "mayfly", "serve", *options, "--data",
                                  self.server.data / "other"], capture_output=True, text=True)
            self.assertEqual(out.returncode, 2, out.stderr)
            self.assertIn(words, out.stderr)


def bridges():
    return [n for _, n in socket.if_nameindex() if n.startswith("mfb") and "-" not in n]


if __name__ == "__main__":
    if os.geteuid() != 0:
        fault.main()
    if os.environ.get("MAYFLY_TEST_NET") != "own":
        os.environ["MAYFLY_TEST_NET"] = "own"
        os.execvp("unshare", ["unshare", "--net", sys.executable, "-B", *sys.argv])
    sh("ip", "link", "set", "lo", "up")
    # A new namespace begins as the host's is at the moment.
    pathlib.Path("/proc/sys/net/ipv4/ip_forward").write_text("0")
    WORLD_PROCESS = world()
    try:
        fault.main()
    finally:
        WORLD_PROCESS.kill()
