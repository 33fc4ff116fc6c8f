"""Code in a box against other boxes, the host and the spawner: looked at from inside, while there
really is something to find."""
import os
import re
import socket
import subprocess
import tempfile
import threading

import fault
from fault import Case

VICTIM = {"index.py": '''
import os, socket, threading
SECRET = "SECRET-" + "f00d" * 4
listeners = []
def handler(event, context):
    if not listeners:
        s = socket.socket(); s.bind(("0.0.0.0", 5000)); s.listen(); listeners.append(s)
        u = socket.socket(socket.AF_UNIX); u.bind("\\0victim"); u.listen(); listeners.append(u)
        d = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); d.bind(("0.0.0.0", 5001))
        listeners.append(d)
        open("/tmp/secret", "w").write(SECRET)
        open("/dev/shm/secret", "w").write(SECRET) if os.path.isdir("/dev/shm") else None
    return [os.getpid(), os.readlink("/proc/self/ns/pid"), os.readlink("/proc/self/ns/net"),
            os.readlink("/proc/self/ns/ipc"), os.readlink("/proc/self/ns/mnt"), os.getuid()]
'''}

ATTACKER = {"index.py": '''
import ctypes, errno, json, os, signal, socket, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)

def tcp(host, port):
    s = socket.socket()
    s.settimeout(0.3)
    try:
        s.connect((host, port))
        return "CONNECTED"
    except OSError as e:
        return errno.errorcode.get(e.errno, str(e))
    finally:
        s.close()

def unix(path):
    s = socket.socket(socket.AF_UNIX)
    try:
        s.connect(path)
        return "CONNECTED"
    except OSError as e:
        return errno.errorcode[e.errno]

def read(path):
    try:
        with open(path, "rb") as f:
            return "READ " + repr(f.read(64))
    except OSError as e:
        return errno.errorcode[e.errno]

def kill(pid, number):
    try:
        os.kill(pid, number)
        return "SENT"
    except OSError as e:
        return errno.errorcode[e.errno]

def call(number, *args):
    r = libc.syscall(number, *args)
    return "OK" if r >= 0 else errno.errorcode[ctypes.get_errno()]

def make(*args):
    try:
        socket.socket(*args)
        return "MADE"
    except OSError as e:
        return errno.errorcode[e.errno]

def find(word):
    found = []
    for top, dirs, files in os.walk("/", followlinks=False):
        if top.startswith(("/usr", "/lib", "/bin", "/sbin", "/proc")):
            dirs[:] = []
            continue
        found += [os.path.join(top, f) for f in files if word in f]
    return found

def handler(event, context):
    do = event["do"]
    if do == "pids":
        return {p: open(f"/proc/{p}/cmdline").read() for p in os.listdir("/proc") if p.isdigit()}
    if do == "kill":
        return {p: kill(p, 0) for p in event["pids"]}
    if do == "kill_all":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return kill(-1, signal.SIGTERM)
    if do == "tcp":
        return {f"{h}:{p}": tcp(h, p) for h, p in event["to"]}
    if do == "unix":
        return {p: unix(p) for p in event["to"]}
    if do == "read":
        return {p: read(p) for p in event["paths"]}
    if do == "calls":
        return {
            "mount": call(165, b"none", b"/tmp", b"tmpfs", 0, None),
            "umount": call(166, b"/tmp", 2),
            "remount": call(165, b"none", b"/var/task", b"", 32, None),
            "unshare user": call(272, 0x10000000), "unshare mount": call(272, 0x20000),
            "unshare net": call(272, 0x40000000),
            "ptrace init": call(101, 16, 1, 0, 0),
            "mknod": call(133, b"/tmp/sda", 0o60666, 0x800),
            "chroot": call(161, b"/tmp"), "pivot_root": call(155, b"/tmp", b"/tmp"),
            "bpf": call(321, 0, None, 0), "perf": call(298, None, 0, -1, -1, 0),
            "keyctl": call(250, 0, -3, 1), "add_key": call(248, b"user", b"x", b"y", 1, -3),
            "userfaultfd": call(323, 0), "io_uring": call(425, 1, None),
            "init_module": call(175, None, 0, b""), "kexec": call(246, 0, 0, None, 0),
            "reboot": call(169, 0xfee1dead, 672274793, 0x1234567, None),
            "settimeofday": call(164, ctypes.create_string_buffer(16), None),
            "sethostname": call(170, b"x", 1), "swapon": call(167, b"/tmp/x", 0),
            "setuid 0": call(105, 0), "setgid 0": call(106, 0),
            "iopl": call(172, 3), "open_by_handle": call(304, -1, None, 0),
            "setns": call(308, os.open("/proc/1/ns/net", os.O_RDONLY)
                          if os.access("/proc/1/ns/net", os.R_OK) else 0, 0),
            "nice": call(141, 0, 0, -20), "quotactl": call(179, 0, None, 0, None),
            "process_vm_readv init": call(310, 1, None, 0, None, 0, 0),
            "pidfd init": call(434, 1, 0) and call(438, call(434, 1, 0) == "OK" and 3, 0, 0),
        }
    if do == "sockets":
        return {"raw": make(socket.AF_INET, socket.SOCK_RAW, 1),
                "packet": make(17, socket.SOCK_RAW, 0), "vsock": make(40, socket.SOCK_STREAM, 0)}
    if do == "find":
        return find(event["word"])
    if do == "who":
        return [os.getpid(), os.readlink("/proc/self/ns/pid"), os.readlink("/proc/self/ns/net"),
            os.readlink("/proc/self/ns/ipc"), os.readlink("/proc/self/ns/mnt"), os.getuid()]
    if do == "fds":
        return {f: os.readlink(f"/proc/self/fd/{f}") for f in os.listdir("/proc/self/fd")
                if os.path.lexists(f"/proc/self/fd/{f}")}
    if do == "init":
        out = {}
        for what in ("mem", "root", "cwd", "exe", "fd", "environ", "maps", "ns/mnt"):
            try:
                p = f"/proc/1/{what}"
                out[what] = repr(os.listdir(p) if what in ("root", "cwd", "fd") else
                                 open(p, "rb").read(16))
            except OSError as e:
                out[what] = errno.errorcode[e.errno]
        return out
    if do == "mounts":
        return open("/proc/self/mountinfo").read()
    if do == "write":
        out = {}
        for p in event["paths"]:
            try:
                os.write(os.open(p, os.O_WRONLY), b"1")
                out[p] = "WROTE"
            except OSError as e:
                out[p] = errno.errorcode[e.errno]
        return out
'''}


class Isolation(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server.create("victim", VICTIM, memory=512)
        cls.server.create("attacker", ATTACKER, memory=512, timeout=30)
        cls.victim = cls.server.invoke("victim").value

    def attack(self, **event):
        return self.server.invoke("attacker", event).value

    def host_pids(self, function="victim"):
        """Host pids of a box's processes whose environment names the function, and the rest."""
        mine = []
        for pid in self.server.box_pids():
            try:
                cwd = os.readlink(f"/proc/{pid}/cwd")
            except OSError:
                continue
            secret = os.path.exists(f"/proc/{pid}/root/tmp/secret")
            if cwd == "/var/task" and secret:
                mine.append(pid)
        return mine

    def test_sees_only_itself(self):
        pids = self.attack(do="pids")
        self.assertLessEqual(len(pids), 3)
        for line in pids.values():
            self.assertNotIn("mayfly-core", line)
            self.assertNotIn("mayfly-spawner", line)
        who = self.attack(do="who")
        for mine, other, what in zip(who[1:5], self.victim[1:5], ("pid", "net", "ipc", "mnt")):
            self.assertNotEqual(mine, other, what)
        # Users have the same name inside, and are others on the host.
        victims = {os.stat(f"/proc/{p}").st_uid for p in self.host_pids()}
        others = {os.stat(f"/proc/{p}").st_uid for p in self.server.box_pids()
                  if p not in self.host_pids()} - {0}
        self.assertTrue(victims and others and not victims & others, (victims, others))

    def test_signals(self):
        core, spawner = self.server.core_pid(), self.server.process.pid
        pids = [core, spawner, os.getpid(), *self.host_pids()]
        self.assertGreater(len(pids), 3, "the victim was not found")
        for pid, answer in self.attack(do="kill", pids=pids).items():
            self.assertEqual(answer, "ESRCH", pid)
        self.attack(do="kill_all")
        self.assertEqual(self.server.invoke("victim").value, self.victim)
        self.assertEqual(self.server.core_pid(), core)

    def test_network(self):
        ours = socket.create_server(("127.0.0.1", 0))
        everywhere = socket.create_server(("0.0.0.0", 0))
        addresses = re.findall(r"inet ([\d.]+)", subprocess.run(
            ["ip", "-4", "addr"], capture_output=True, text=True).stdout) or ["127.0.0.1"]
        to = [("127.0.0.1", ours.getsockname()[1]), ("127.0.0.1", self.server.port),
              ("127.0.0.1", 5000), ("127.0.0.1", 22), ("169.254.169.254", 80)]
        to += [(a, everywhere.getsockname()[1]) for a in addresses]
        for where, answer in self.attack(do="tcp", to=to).items():
            self.assertIn(answer, ("ECONNREFUSED", "ENETUNREACH", "EHOSTUNREACH", "EACCES"), where)
        # What is meant to be reached is: the Runtime API, the AWS endpoint.
        self.assertEqual(self.attack(do="tcp", to=[("127.0.0.1", 9001)]),
                         {"127.0.0.1:9001": "CONNECTED"})
        ours.close()
        everywhere.close()

    def test_unix_sockets(self):
        with tempfile.TemporaryDirectory() as d:
            listeners = []
            for name in ("\0mayfly-fault-host", d + "/s"):
                s = socket.socket(socket.AF_UNIX)
                s.bind(name)
                s.listen()
                listeners.append(s)
            answers = self.attack(do="unix", to=["\0victim", "\0mayfly-fault-host", d + "/s",
                                                 "/run/systemd/private", "/var/run/docker.sock"])
            for where, answer in answers.items():
                self.assertIn(answer, ("ECONNREFUSED", "ENOENT", "EACCES"), where)
            for s in listeners:
                s.close()

    def test_files(self):
        d = str(self.server.dir)
        with tempfile.NamedTemporaryFile(mode="w", prefix="mayfly-host-") as f:
            f.write("of the host")
            f.flush()
            os.chmod(f.name, 0o644)
            paths = [f.name, d + "/credentials", d + "/secret", d + "/mayfly.db", "/etc/shadow",
                     "/etc/ssh/sshd_config", "/root/.bashrc", "/proc/1/mem", "/dev/mem",
                     "/dev/kmsg", "/dev/loop0", "/dev/loop-control", "/proc/kcore", "/proc/kmsg",
                     "/sys/kernel/debug/x", "/tmp/secret", "/dev/shm/secret",
                     "/proc/sysrq-trigger", "/data/credentials", "/oldroot/etc/passwd",
                     "/proc/self/root/../../etc/shadow", "/sys/fs/cgroup/cgroup.procs"]
            paths += [f"/proc/{p}/{x}" for p in (self.server.core_pid(), self.server.process.pid,
                                                 *self.host_pids()) for x in ("environ", "maps")]
            for path, answer in self.attack(do="read", paths=paths).items():
                self.assertIn(answer, ("ENOENT", "EACCES", "EPERM", "ENXIO"), path)
        self.assertEqual(self.attack(do="find", word="secret"), [])
        self.assertEqual(self.attack(do="find", word="credentials"), [])
        mounts = self.attack(do="mounts")
        self.assertNotIn("cgroup", mounts)
        self.assertNotIn(" /oldroot", mounts)

    def test_system_calls(self):
        allowed = {name: answer for name, answer in self.attack(do="calls").items()
                   if answer in ("OK", True, None)}
        self.assertEqual(allowed, {})
        self.assertNotIn("MADE", self.attack(do="sockets").values())
        writes = self.attack(do="write", paths=[
            "/proc/sys/kernel/core_pattern", "/proc/sys/net/ipv4/ip_forward", "/proc/sysrq-trigger",
            "/proc/sys/user/max_user_namespaces", "/proc/1/oom_score_adj",
            "/proc/self/uid_map", "/sys/power/state"])
        self.assertNotIn("WROTE", writes.values(), writes)

    def test_box_init_and_descriptors(self):
        for what, answer in self.attack(do="init").items():
            self.assertIn(answer, ("EACCES", "EPERM", "ENOENT"), what)
        for n, target in self.attack(do="fds").items():
            self.assertRegex(target, r"^(pipe|socket):\[\d+\]$|^/dev/(null|urandom)$|^/proc/|"
                                     r"^anon_inode:", n)

    def test_one_function_two_boxes(self):
        """Two environments of the same function share nothing writable."""
        self.server.create("pair", {"index.py": '''
import os, time
def handler(event, context):
    seen = os.path.exists("/tmp/mine")
    open("/tmp/mine", "w").close()
    time.sleep(1)
    return [seen, os.readlink("/proc/self/ns/pid"), sorted(os.listdir("/tmp"))]
'''})
        a, b = fault.parallel(*[lambda: self.server.invoke("pair").value] * 2)
        self.assertEqual([a[0], b[0]], [False, False])
        self.assertNotEqual(a[1], b[1])


if __name__ == "__main__":
    fault.main()
