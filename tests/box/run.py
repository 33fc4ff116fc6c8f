#!/usr/bin/env python3
"""Starts a real spawner with testcore and compares what a box, a core or the host sees.

Usage: run.py SPAWNER TESTCORE INIT UNPACK PROBE SCENARIO. Needs root; exit 77 without.
"""
import gzip
import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile

SPAWNER, TESTCORE, INIT, UNPACK, PROBE = sys.argv[1:6]
CORE_ID = 1900000001
# In an emulated machine (tests/v2), or where others are at work.
SLOW = (int(os.environ.get("MAYFLY_SLOW", 1)) *
        min(4, max(1, round(os.getloadavg()[0] / os.cpu_count()))))
EPERM, EACCES, EROFS, ENOENT = 1, 13, 30, 2


def fail(text):
    print("FAIL", text)
    sys.exit(1)


def same(what, got, want):
    if got != want:
        fail(f"{what}: got {got!r}, want {want!r}")


def make_zip(entries):
    """entries: (name, content, mode); a mode of 0o120777 makes a link to content."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        for name, content, mode in entries:
            info = zipfile.ZipInfo(name)
            info.create_system = 3
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = mode << 16
            z.writestr(info, content)
    return out.getvalue()


class Mayfly:
    """One data directory and the spawner on it."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="mayfly-box-")
        os.mkdir(self.dir + "/blobs", 0o700)
        os.chown(self.dir + "/blobs", CORE_ID, CORE_ID)
        self.process = None
        status = os.stat(self.dir)
        self.group = f"mayfly-{status.st_dev:x}-{status.st_ino:x}"

    def blob(self, content):
        name = hashlib.sha256(content).hexdigest()
        path = f"{self.dir}/blobs/{name}"
        with open(path, "wb") as f:
            f.write(content)
        os.chown(path, CORE_ID, CORE_ID)
        return name

    def probe(self):
        with open(PROBE, "rb") as f:
            return self.blob(make_zip([("probe", f.read(), 0o100755), ("readme", b"x", 0o100600)]))

    def start(self, *arguments, core=TESTCORE):
        command = [SPAWNER, "--data", self.dir, "--listen", "127.0.0.1:0", "--core", core,
                   "--init", INIT, "--unpack", UNPACK, "--"]
        self.process = subprocess.Popen(command + [str(a) for a in arguments],
                                        stdout=subprocess.PIPE, text=True)

    def read(self, until="DONE", seconds=90):
        """Lines of core up to and with the first that starts with `until`."""
        lines, end = [], time.time() + seconds
        signal.alarm(seconds)
        while time.time() < end:
            line = self.process.stdout.readline()
            if not line:
                fail(f"the spawner ended before {until}: {lines}")
            lines.append(line.rstrip("\n"))
            if line.startswith("FAIL"):
                fail("\n".join(lines))
            if line.startswith(until):
                signal.alarm(0)
                return lines
        fail(f"no {until} within {seconds} s: {lines}")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(10)
        same("exit code of the spawner", code, 0)

    def play(self, *arguments):
        self.start(*arguments)
        lines = self.read()
        self.stop()
        return lines

    def done(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


def value(lines, word):
    for line in lines:
        if line.startswith(word + " "):
            return line[len(word) + 1:]
    fail(f"no line {word} in {lines}")


# ---- what is left on the host ----

def cgroups(m):
    found = 0
    for top, dirs, _ in os.walk("/sys/fs/cgroup"):
        found += sum(1 for d in dirs if d == m.group or m.group in top)
    return found


def loops(m):
    count = 0
    for name in os.listdir("/sys/block"):
        try:
            with open(f"/sys/block/{name}/loop/backing_file") as f:
                count += os.path.basename(m.dir) in f.read()  # from its mount's top
        except OSError:
            pass
    return count


def processes(m):
    """Those in the groups of boxes, and the spawner's children."""
    found = set()
    for pid in os.listdir("/proc"):
        if not pid.isdigit():
            continue
        try:
            with open(f"/proc/{pid}/cgroup") as f:
                ours = m.group in f.read()
            with open(f"/proc/{pid}/stat") as f:
                parent = int(f.read().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        if ours or (m.process and parent == m.process.pid):
            found.add(int(pid))
    return found


def host(m):
    with open("/proc/self/mountinfo") as f:
        mounts = sum(m.dir in line for line in f)
    return {"mounts": mounts, "cgroups": cgroups(m), "loops": loops(m),
            "processes": len(processes(m))}


def settle(m, seconds=10):
    """The kernel frees mounts, loop devices and name spaces a little later."""
    end = time.time() + seconds
    while time.time() < end:
        now = host(m)
        if not any(now.values()):
            return now
        time.sleep(0.05)
    fail(f"left behind: {host(m)}")


# ---- scenarios ----

REFUSED = {
    EPERM: """try_mount try_remount try_umount try_unshare_user try_unshare_mount try_unshare_net
        try_clone_user try_fsopen try_chroot try_pivot try_mknod try_setns try_ptrace_1 try_kill_1
        try_setuid_1 try_sethostname try_keyctl try_add_key try_bpf try_io_uring try_userfaultfd
        try_perf try_kexec try_module try_reboot try_clock try_swapon try_handle try_raw_socket
        try_filter try_high_filter try_bridge try_vlan""",
    ENOENT: """try_mem_1 try_root_1 try_environ_1 try_fd_1 try_oom_score try_kmsg try_host_home
        try_shadow try_sys try_disk try_loop""",
    22: "try_setuid_0 try_setgid_0",
    38: "try_clone3 try_statmount",
    97: """try_packet_socket try_alg_socket try_vsock try_netfilter try_pair_vsock try_pair_packet
        try_pair_tipc try_high_vsock try_high_alg try_high_netfilter""",
    93: "try_mptcp try_high_mptcp try_sctp try_udplite try_dccp",
    94: "try_seqpacket",
    EACCES: "try_userns_limit try_core_pattern try_nice try_write_etc",
    EROFS: "try_write_usr try_write_task try_write_opt try_write_root try_write_dev",
    0: "try_write_tmp connect_api connect_endpoint try_pair_unix try_udp try_route linger_read linger_kept",
    111: "connect_host connect_alias",
    101: "connect_world",
}


def check_inside(seen, refused=REFUSED):
    for errno, names in refused.items():
        for name in names.split():
            same(name, seen[name], errno)
    if not seen["try_sysrq"] or not seen["try_write_runtime"]:
        fail("sysrq or the runtimes can be written")
    want = {"uid": 993, "gid": 990, "groups": 0, "hostname": "mayfly", "cwd": "/var/task",
            "pids_seen": 1, "no_new_privs": 1, "fd3": 0, "fd4": 0, "fd5": 0, "tmp_mode": 0o1777,
            "nofile": 1024, "core": 0, "memlock": 65536, "nproc": 1024, "oom": "500\n"}
    for name, wanted in want.items():
        same(name, seen[name], wanted)
    for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb"):
        if f"Cap{kind}:\t0000000000000000" not in seen["status"]:
            fail(f"capabilities: {seen['status']}")
    if "Seccomp:\t2" not in seen["status"]:
        fail("no filter")
    for kind in ("pid", "mnt", "ipc", "uts", "net", "user", "cgroup"):
        if seen["ns_" + kind] == os.readlink(f"/proc/self/ns/{kind}"):
            fail(f"{kind} namespace of the host")
    for line in seen["mounts"].splitlines():
        where, options = line.split()[1], line.split()[3].split(",")
        if "nosuid" not in options or (where not in ("/tmp", "/proc") and "ro" not in options):
            fail(f"mount {line}")
    if any(not line.endswith(":/") for line in seen["cgroup"].splitlines()):
        fail(f"cgroup paths: {seen['cgroup']}")
    same("interfaces", re.findall(r"(\S+):", seen["net"].split("\n", 2)[2]), ["lo"])


def scenario_probe(m):
    lines = m.play("probe", "look", m.probe())
    seen = json.loads(value(lines, "PROBE"))
    check_inside(seen)
    same("exit", value(lines, "EXITED"), "kind 64 tag 7 status 0")
    if not 490 <= seen["tmp_mb"] <= 512:
        fail(f"/tmp of {seen['tmp_mb']} MB")


def scenario_layers(m):
    low = m.blob(make_zip([("a", b"1", 0o100644), ("top", b"1", 0o100644)]))
    high = m.blob(make_zip([("b", b"1", 0o100644), ("top", b"22", 0o100644)]))
    # testcore takes hashes from the last argument on: code, then layers lowest first.
    seen = json.loads(value(m.play("probe", "look", high, low, m.probe()), "PROBE"))
    same("files of both layers", (seen["opt_a"], seen["opt_b"], seen["opt_top"]), (1, 1, 2))
    check_inside(seen)
    seen = json.loads(value(m.play("probe", "look", low, m.probe()), "PROBE"))
    same("files of one layer", (seen["opt_a"], seen["opt_b"], seen["opt_top"]), (1, 0, 1))


def image_layer(m, number, entries):
    """An unpacked layer as the spawner would have left it; the name is its number."""
    name = f"{number:064x}"
    top = f"{m.dir}/layers/{name}"
    os.makedirs(top)
    for path, content in entries.items():
        os.makedirs(os.path.dirname(f"{top}/{path}"), exist_ok=True)
        if isinstance(content, str):
            os.symlink(content, f"{top}/{path}")
        else:
            with open(f"{top}/{path}", "wb") as f:
                f.write(content)
            os.chmod(f"{top}/{path}", 0o755)
    return name


def scenario_image(m):
    """An image as root: nothing of our template is left, and no link of it leads anywhere."""
    with open(PROBE, "rb") as f:
        probe = f.read()
    low = image_layer(m, 1, {"var/task/probe": probe, "usr/bin/a": b"1", "opt/a": b"1",
                             "opt/top": b"1", "etc/hosts": b"of the image"})
    high = image_layer(m, 2, {"opt/b": b"1", "opt/top": b"22", "etc/shadow.d/x": b"1"})
    lines = m.play("image", high, low)
    same("assigned", value(lines, "ASSIGNED"), "0")
    seen = json.loads(value(lines, "PROBE"))
    same("files of both layers", (seen["opt_a"], seen["opt_b"], seen["opt_top"]), (1, 1, 2))
    if any(line.split()[1].startswith(("/usr", "/var/runtime", "/box")) for line in seen["mounts"].splitlines()):
        fail(f"mounts of the template: {seen['mounts']}")
    with_changes = dict(REFUSED)
    with_changes[EACCES] = REFUSED[EACCES].replace("try_write_etc", "")
    check_inside(seen, with_changes)
    for place in ("proc", "dev", "tmp"):
        link = image_layer(m, 10 + len(place) + ord(place[0]), {place: "/var/../../../etc"})
        lines = m.play("image", link, low)
        same(f"a link at /{place}", value(lines, "ASSIGNED"), "-20")
    lines = m.play("image", f"{99:064x}", low)
    same("a layer that is not there", value(lines, "ASSIGNED"), "-2")


def scenario_init(m):
    lines = m.play("init", m.probe())
    same("program that is not there", value(lines, "MISSING"), "kind 66 tag 1 status 2")
    same("asked to end", value(lines, "TERM"), "kind 64 tag 3 status 15")
    same("all killed", value(lines, "KILLED"), "tag 9, output ends 0")
    same("used again", value(lines, "AGAIN"), "kind 64 tag 5 status 15")


def scenario_interpreters(m):
    """The filter and the small root are enough for what people run."""
    programs = [
        ("/usr/bin/node", "-e", "const w=require('worker_threads');"
         "new w.Worker('require(\"fs\").writeFileSync(\"/tmp/x\",\"1\")',{eval:true})"
         ".on('exit',()=>require('child_process').exec('cat /tmp/x',"
         "(e,o)=>console.log('fine',o,require('os').userInfo().username,"
         "Object.keys(require('os').networkInterfaces()).length>0)))", "fine 1 sbx_user1051 true"),
        ("/usr/bin/python3", "-c", "import ssl,subprocess,threading,multiprocessing.dummy,sqlite3,pwd,os,"
         "tempfile; tempfile.NamedTemporaryFile();"
         "print('fine', subprocess.check_output(['/bin/echo','1']).decode().strip(),"
         "pwd.getpwuid(os.getuid()).pw_name)", "fine 1 sbx_user1051"),
    ]
    for program, option, code, want in programs:
        if not os.path.exists(program):
            print("SKIP:", program, "is not installed")
            continue
        lines = m.play("run", program, option, code, m.probe())
        same(program, value(lines, "RUN"), want)
        same(program, value(lines, "EXITED"), "kind 64 status 0")


def scenario_limits(m):
    lines = m.play("limits", m.probe())
    same("out of memory", value(lines, "OOM"), "status 9, counted")
    same("killed while frozen", value(lines, "KILLED FROZEN"), "quickly")


def scenario_self(m):
    lines = m.play("self")
    facts = dict(line[5:].rsplit(" ", 1) for line in lines if line.startswith("SELF ")
                 and "ids" not in line)
    want = {"fork": EPERM, "exec": EPERM, "execveat": EPERM, "unshare": EPERM, "mount": EPERM,
            "root write": EROFS, "data write": 0, "code write": EACCES, "code rename": EPERM,
            "tmp open": EACCES, "host proc": ENOENT, "usr": 0, "home": ENOENT, "vfork": EPERM,
            "clone3": 38, "clone vm": EPERM, "setns": EPERM, "setuid": EPERM, "capset": EPERM,
            "ptrace": EPERM, "memory of others": EPERM, "bpf": EPERM, "io_uring": EPERM,
            "keyctl": EPERM, "perf": EPERM, "userfaultfd": EPERM, "mknod": EPERM,
            "open by handle": EPERM, "death signal": EPERM, "statmount": 38, "packet": 97,
            "vsock": 97, "alg": 97, "netfilter": 97, "vsock pair": 97, "mptcp": 93, "raw": EPERM,
            "inet": 0, "thread": 0, "cgroup write": EACCES, "no_new_privs": 1,
            "lifted rlimit": EPERM}
    for name, errno in want.items():
        same("core: " + name, int(facts[name]), errno)


def scenario_disorder(m):
    for which in ("short", "slot", "twice", "stranger", "kind", "memory", "layers", "descriptor",
                  "descriptors", "record", "record-socket", "queue",
                  "requests"):
        m.start("disorder", which)
        first = m.read("HELLO")[-1].split()[2]
        start = time.time()
        second = m.read("HELLO")[-1].split()[2]
        if first == second or time.time() - start > 0.5 * SLOW:
            fail(f"{which}: core {first} became {second} after {time.time() - start:.3f} s")
        m.stop()


def scenario_lock(m):
    """One spawner a directory; but what is left of one that has just ended is waited for."""
    holder = os.open(m.dir, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    m.start("config")
    same("exit code beside another", m.process.wait(10 * SLOW), 1)
    m.start("config")
    time.sleep(0.5)
    same("exit code while it waits", m.process.poll(), None)
    os.close(holder)
    same("exit code when core refuses its configuration", m.process.wait(10 * SLOW), 2)


def scenario_record(m):
    """Root kills what DATA/cgroups names, but not at the word of somebody else."""
    victim = subprocess.Popen(["sleep", "60"])
    fake = m.dir + "/fake"
    os.makedirs(fake + "/b1")
    for path, text in ((fake + "/b1/cgroup.procs", f"{victim.pid}\n"),
                       (m.dir + "/cgroups", f"0 {fake}\n")):
        with open(path, "w") as f:
            f.write(text)
    os.chown(m.dir + "/cgroups", CORE_ID, CORE_ID)
    m.start("config")
    m.process.wait(10)
    alive = victim.poll() is None
    victim.kill()
    victim.wait()
    if not alive:
        fail("a process was killed at the word of core's file")


def scenario_config(m):
    m.start("config")
    same("exit code", m.process.wait(10), 2)


def scenario_unpack(m):
    bad = "Could not unzip uploaded file. Please check your file, then try to upload again."
    good = make_zip([("a/b/c.txt", b"hello", 0o100600), ("run", b"#!", 0o100700),
                     ("a/link", b"b/c.txt", 0o120777)])
    cases = [
        (good, 0, ""),
        (b"this is no zip at all", -22, bad),
        (good[:len(good) // 2], -22, bad),
        (make_zip([("../evil", b"x", 0o100644)]), -22, "absolute path"),
        (make_zip([("/evil", b"x", 0o100644)]), -22, "absolute path"),
        (make_zip([("a/../../evil", b"x", 0o100644)]), -22, "absolute path"),
        (make_zip([("l", b"/etc/passwd", 0o120777)]), -22, "leads out"),
        (make_zip([("d/l", b"../../x", 0o120777)]), -22, "leads out"),
        (make_zip([("l", b".", 0o120777), ("l/x", b"y", 0o100644)]), -22, ""),
        (make_zip([("disk", b"", 0o060644)]), -22, "no file or directory"),
        (make_zip([("pipe", b"", 0o010644)]), 0, ""),  # libarchive makes it a file
        (make_zip([("bomb", bytes(1_100_000), 0o100644)]), -27,
         "Unzipped size must be smaller than 1000000 bytes"),
        (make_zip([("x" * 300, b"y", 0o100644)]), -22, ""),
        (make_zip([("/".join("d" * 70), b"y", 0o100644)]), -22, ""),
    ]
    for content, result, text in cases:
        m.start("unpack", 1000000, m.blob(content))
        lines = m.read()
        got = value(lines, "UNPACKED").split(" ", 2)
        if int(got[0]) != result or text not in got[2]:
            fail(f"unpacking {content[:60]}: {got}, want {result} {text}")
        m.stop()
        same("left in code/", os.listdir(m.dir + "/code"), [])


def make_tar(entries):
    """(name, type, contents or link, mode, uid)"""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as t:
        for name, kind, content, mode, uid in entries:
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.uid, info.gid = kind, mode, uid, uid
            if kind == tarfile.REGTYPE:
                info.size = len(content)
                t.addfile(info, io.BytesIO(content))
            else:
                info.linkname = content
                t.addfile(info)
    return out.getvalue()


def layers_of(m):
    """Without the marks of those that are not known to be on the disk yet."""
    return [n for n in os.listdir(m.dir + "/layers") if not n.startswith("unsynced-")]


def try_layer(m, tar, stream, how="keep", limit=10_000_000):
    """Tar as the image says it is, stream as it comes; what the spawner says of it."""
    name = hashlib.sha256(tar).hexdigest()
    m.start("layer", how, limit, m.blob(stream), name)
    lines = m.read()
    if how == "delete":
        same("result of deleting", value(lines, "DELETED"), "0")
    m.stop()
    got = value(lines, "UNPACKED").split(" ", 2)
    kept = got[0] == "0" and how != "delete"
    same("left in layers/", layers_of(m), [name] if kept else [])
    return int(got[0]), got[2], f"{m.dir}/layers/{name}"


def scenario_layer(m):
    REG, DIR, SYM, LNK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
    good = make_tar([("etc", DIR, "", 0o755, 0), ("etc/passwd", REG, b"root:x:0:0", 0o644, 0),
                     ("su", REG, b"#!", 0o4755, 0), ("www", REG, b"x", 0o600, 33),
                     ("null", tarfile.CHRTYPE, "", 0o666, 0), (".wh.gone", REG, b"", 0o644, 0),
                     ("opaque/.wh..wh..opq", REG, b"", 0o644, 0), ("l", SYM, "/etc", 0o777, 0),
                     ("l/through", REG, b"x", 0o644, 0), ("hard", LNK, "etc/passwd", 0, 0)])
    try:
        result, text, top = try_layer(m, good, gzip.compress(good))
        same("result", (result, text), (0, ""))
        base = 1900200000
        facts = {n: (s.st_uid - base, oct(s.st_mode)) for n in ("etc/passwd", "su", "www", "gone")
                 for s in [os.lstat(f"{top}/{n}")]}
        same("files", facts, {"etc/passwd": (0, "0o100644"), "su": (0, "0o104755"),
                              "www": (33, "0o100600"), "gone": (0, "0o20000")})
        same("null", os.path.exists(top + "/null"), False)
        same("through a link", os.path.exists(top + "/etc/through"), True)
        same("opaque", os.getxattr(top + "/opaque", "user.overlay.opaque"), b"y")
        same("mode of layers/", oct(os.stat(m.dir + "/layers").st_mode), "0o40750")
        same("mode of a layer", oct(os.stat(top).st_mode), "0o40755")
        shutil.rmtree(top)
        same("plain", try_layer(m, good, good, "delete")[0], 0)
        same("another hash", try_layer(m, b"other", gzip.compress(good))[0], -74)
        same("cut off", try_layer(m, good, gzip.compress(good), "half")[0], -22)
        same("bomb", try_layer(m, good, gzip.compress(bytes(50_000_000)))[0], -27)
        same("no tar", try_layer(m, b"x", b"x" * 5000)[0], -22)
        for entry in (("../evil", REG, b"x", 0o644, 0), ("h", LNK, "/etc/shadow", 0, 0),
                      ("f", REG, b"x", 0o644, 70000)):
            bad = make_tar([entry])
            same(f"{entry}", try_layer(m, bad, bad)[0], -22)
        # Core dies while it feeds a layer: the next one clears away.
        m.start("layer", "die", 10_000_000, m.blob(good[:len(good) // 2]),
                hashlib.sha256(good).hexdigest())
        m.read("HELLO")
        m.read("HELLO")
        m.stop()
        m.start("config-not")
        m.read()
        same("left in layers/", layers_of(m), [])
        m.stop()
    finally:
        shutil.rmtree(m.dir + "/layers", ignore_errors=True)


def scenario_modes(m):
    name = m.blob(make_zip([("f", b"1", 0o100600), ("x", b"1", 0o100711), ("d/", b"", 0o040700),
                            ("suid", b"1", 0o104755), ("w", b"1", 0o100666)]))
    m.start("hold", 0, "blank", name)
    m.read()
    top = f"{m.dir}/code/{name}/"
    modes = {n: oct(os.lstat(top + n).st_mode & 0o7777) for n in ("f", "x", "d", "suid", "w", "")}
    same("modes", modes, {"f": "0o644", "x": "0o755", "d": "0o755", "suid": "0o755",
                          "w": "0o644", "": "0o755"})
    same("owner of the tree", os.stat(top).st_uid, 0)
    for private in ("code", "blobs", "tmp", "root"):  # from users of the host
        same(f"others in {private}/", os.stat(f"{m.dir}/{private}").st_mode & 0o007, 0)
    m.stop()


def scenario_leak(m):
    m.start("leak", 1000, 60, m.probe())
    m.read("UNPACKED")
    fds = len(os.listdir(f"/proc/{m.process.pid}/fd"))
    lines = m.read()
    time.sleep(0.3)
    after = len(os.listdir(f"/proc/{m.process.pid}/fd"))
    if after > fds + 8:  # the pool and its jobs come and go
        fail(f"descriptors of the spawner: {fds} before, {after} after")
    busy = host(m)
    end = time.time() + 10
    while not (busy["cgroups"] and busy["loops"] and busy["processes"]) and time.time() < end:
        time.sleep(0.05)  # the pool of disks fills again
        busy = host(m)
    if not busy["cgroups"] or not busy["loops"] or not busy["processes"]:
        fail(f"counting does not find what is there: {busy}")
    with open(f"/proc/{m.process.pid}/status") as f:
        rss = int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))
    m.stop()
    print(f"{value(lines, 'CYCLES')} cycles; spawner: {fds} -> {after} descriptors, {rss} KB; "
          f"on the host: {busy}, afterwards {settle(m)}")


def scenario_crash(m):
    """kill -9 of the spawner ends everything; the next start clears up. Then kill -9 of core."""
    probe = m.probe()
    m.start("hold", 20, "run", probe)
    m.read()
    end = time.time() + 5
    while len(processes(m)) < 41 and time.time() < end:  # core, 20 times init and program
        time.sleep(0.01)
    there = processes(m)
    if len(there) < 41:
        fail(f"only {len(there)} processes of 20 boxes and core")
    m.process.kill()
    m.process.wait()
    end = time.time() + 2
    while any(os.path.exists(f"/proc/{p}") for p in there) and time.time() < end:
        time.sleep(0.01)
    same("processes after kill -9", [p for p in there if os.path.exists(f"/proc/{p}")], [])
    if not cgroups(m):
        fail("the crash left no groups: this test tests nothing")
    m.start("hold", 5, "run", probe)
    m.read()
    m.stop()
    settle(m)
    m.start("hold", 20, "run", probe)
    core = int(m.read()[0].split()[2])
    start = time.time()
    os.kill(core, signal.SIGKILL)
    again = m.read("HELLO")[-1]
    took = time.time() - start
    print(f"core was back after {took * 1000:.0f} ms with 20 boxes to clear away")
    if took > 0.5 * SLOW or int(again.split()[2]) == core:
        fail("core did not come back in time")
    m.read()
    m.stop()
    settle(m)


def main():
    if os.geteuid() != 0:
        print("SKIP: boxes need root")
        sys.exit(77)
    mayfly = Mayfly()
    try:
        globals()["scenario_" + sys.argv[6]](mayfly)
    finally:
        mayfly.done()
    print("ok")


main()
