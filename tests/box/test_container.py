#!/usr/bin/env python3
"""Containers by the real spawner, conmon and crun: what they may, what they leave, what they survive.

Root only (77 without), in a network namespace of its own. Arguments: names of tests; none: all.
"""
import ctypes
import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from container import BASE, Mayfly, fail, mounts  # noqa: E402

BUILD = os.environ.get("MAYFLY_BUILD", "build")
NONE, TASK, BRIDGE, HOST = range(4)
HOST_MOUNT, VOLUME, SCRATCH, TMPFS, TEXT = range(5)
MIB = 1 << 20


def same(what, got, want):
    if got != want:
        fail(f"{what}: got {got!r}, want {want!r}")


def holds(what, text, part):
    if part not in text:
        fail(f"{what}: {part!r} is not in {text!r}")


def lacks(what, text, part):
    if part in text:
        fail(f"{what}: {part!r} is in {text!r}")


def test_first_words(m):
    s = m.sandbox()
    ended, out = m.sh(s, "echo out; echo err >&2; printf partial; echo; exit 7")
    same("code", ended["code"], 7)
    if not ended["started"] <= ended["finished"] + 1000:
        fail("times")
    lines = out.split("\n")
    same("log", sorted(lines), sorted(["out", "err", "partial"]))


def test_variables_and_arguments(m):
    """What needs escapes in JSON arrives as it was."""
    odd = "q\"b\\s\tn\nu\u00e4\x01end"
    s = m.sandbox()
    _, out = m.run(s, ["/bin/sh", "-c", "printf %s \"$ODD\" | od -c; printf %s \"$1\" | wc -c; hostname; pwd", "x", odd],
                   env={"PATH": "/bin", "ODD": odd}, cwd="/tmp", hostname="name-1")
    same("argument", out.split("\n")[-3:], [str(len(odd.encode())), "name-1", "/tmp"])


def test_confinement(m):
    """Capabilities, filter, ids, masked paths, devices: as documented."""
    s = m.sandbox()
    _, out = m.sh(s, "cat /proc/self/status; echo; cat /proc/self/uid_map; ls /dev | sort | tr '\\n' ' '; echo;"
                  "cat /proc/kcore | wc -c; cat /proc/keys | wc -c; ls -A /sys/firmware | wc -l;"
                  "echo x > /proc/sys/kernel/hostname; echo host $?; echo x > /proc/sysrq-trigger; echo sysrq $?;"
                  "mount -t tmpfs x /tmp; echo mount $?; unshare -U true; echo unshare $?; mknod /tmp/d b 8 0; echo mknod $?;"
                  "mount -o remount,rw /proc/sys; echo remount $?; touch /sys/x; echo sys $?; chroot / true; echo chroot $?;"
                  "ls /data /binds /rootfs /disk; echo; cat /proc/1/mountinfo")
    status = dict(line.split(":\t", 1) for line in out.split("\n") if ":\t" in line)
    same("capabilities", status["CapEff"].strip(), "00000000a80425fb")
    same("bounding set", status["CapBnd"].strip(), "00000000a80425fb")
    same("inheritable", status["CapInh"].strip(), "0" * 16)
    same("seccomp", status["Seccomp"].strip(), "2")
    same("no_new_privs", status["NoNewPrivs"].strip(), "0")
    holds("map", out, f"0 {BASE}      65536")
    for words in ("host 1", "sysrq 1", "mount 1", "unshare 1", "mknod 1", "remount 1", "sys 1", "chroot 0"):
        holds("refused", out, words)
    holds("devices", out, "console core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"
          .replace("console ", ""))
    for path in ("/data", "/binds", "/rootfs", "/disk"):
        holds("host path", out, f"ls: {path}: No such file")
    lacks("mounts of the host", out, m.dir)


def test_no_capabilities(m):
    s = m.sandbox()
    _, out = m.sh(s, "grep -E '^(Cap|Uid|Gid|Groups|NoNew)' /proc/self/status; touch /x; echo $?", uid=1000, gid=1000,
                  nnp=True)
    holds("user", out, "Uid:\t1000\t1000\t1000\t1000")
    holds("effective", out, "CapEff:\t" + "0" * 16)
    holds("new privileges", out, "NoNewPrivs:\t1")
    _, out = m.sh(s, "grep CapBnd /proc/self/status", capabilities=1 << 19 | 1 << 10)
    holds("SYS_PTRACE besides the default", out, "CapBnd:\t" + f"{1 << 19 | 1 << 10:016x}")
    reply = m.ask("make", **m.spec(s, ["/bin/true"], capabilities=1 << 21 | 1 << 10))
    if reply["result"] >= 0 or "SYS_ADMIN" not in reply["why"] or "--allow-privileged" not in reply["why"]:
        fail(f"no more than the default: {reply}")
    reply = m.ask("make", **m.spec(s, ["/bin/true"], privileged=True))
    if reply["result"] >= 0 or "--allow-privileged" not in reply["why"]:
        fail(f"privileged: {reply}")


def test_read_only(m):
    s = m.sandbox()
    ended, out = m.sh(s, "touch /x; echo a$?; touch /dev/shm/x; echo b$?", read_only=True)
    holds("root", out, "a1")
    holds("shm", out, "b0")


def test_words_of_failures(m):
    s = m.sandbox()
    for args, members, words in ((["/bin/nothing"], {}, "No such file or directory"),
                                 (["nothing"], {}, "not found"),
                                 (["/etc"], {}, "not permitted"),
                                 (["/bin/sh"], {"cwd": "/bin/sh/x"}, "chdir"),
                                 (["/bin/sh"], {"runtime": "strange"}, "container runtime strange"),
                                 (["/bin/sh"], {"layers": ["ab" * 32]}, "No such file"),
                                 (["/bin/sh"], {"mounts": [{"kind": HOST_MOUNT, "source": "/etc", "target": "/x"}]},
                                  "--bind-root")):
        reply = m.ask("make", **m.spec(s, args, **members))
        if reply["result"] >= 0 or words not in reply["why"]:
            fail(f"{args} {members}: {reply}")
    ended, _ = m.run(s, ["/bin/true"])
    same("the sandbox still works", ended["code"], 0)


def test_volumes(m):
    s = m.sandbox()
    one = [{"kind": VOLUME, "source": "kept", "target": "/v"}, {"kind": SCRATCH, "source": "shared", "target": "/s"},
           {"kind": TMPFS, "source": "", "target": "/t", "size": MIB},
           {"kind": TEXT, "source": "1.2.3.4 name\n", "target": "/etc/hosts"},
           {"kind": HOST_MOUNT, "source": m.bind + "/in", "target": "/b", "ro": True}]
    _, out = m.sh(s, "cat /etc/hosts /b/file; echo v > /v/f; echo s > /s/f; touch /b/x; echo b$?;"
                  "dd if=/dev/zero of=/t/f bs=1k count=2000; echo t$?; touch /etc/hosts; echo h$?", mounts=one)
    for part in ("1.2.3.4 name", "of the host", "b1", "t1", "h0"):
        holds("first", out, part)
    _, out = m.sh(s, "cat /v/f /s/f; ls /t", mounts=one)
    same("second", out, "v\ns")
    other = m.sandbox()
    _, out = m.sh(other, "cat /v/f; ls /s", mounts=one)
    same("another task", out, "v")
    for bad in (m.bind + "/link", m.bind + "x", m.bind + "/in/../../etc", "/", m.bind + "/none"):
        reply = m.ask("make", **m.spec(s, ["/bin/true"], mounts=[{"kind": HOST_MOUNT, "source": bad, "target": "/b"}]))
        if reply["result"] >= 0:
            fail(f"{bad} was mounted")


def test_targets_do_not_leave(m):
    """Links in an image lead a mount to places in the image."""
    layer = m.add_layer({"keep/x": b""})
    os.symlink("/../../../../../tmp/escape", f"{m.dir}/layers/{layer}/link")
    s = m.sandbox()
    m.ask("make", **m.spec(s, ["/bin/true"], layers=[m.layer, layer],
                           mounts=[{"kind": SCRATCH, "source": "a", "target": "/link/deep"}]))
    if os.path.exists("/tmp/escape"):
        fail("a directory was made on the host")


def test_nothing_covers_the_kernels_own(m):
    """Neither by name nor by links of an image or of a volume is anything mounted over /proc, /sys, /dev or the root."""
    links = {"proc": "/proc", "up": "../../../../proc", "sys": "//sys/./", "two": "/proc2", "proc2": "proc/self/..",
             "root": "/", "here": ".", "dev": "/dev", "pts": "dev/pts", "loop": "loop"}
    layer = m.add_layer({"keep/x": b""})
    top = f"{m.dir}/layers/{layer}"
    for name, to in links.items():
        os.symlink(to, f"{top}/l-{name}" if name != "proc2" else f"{top}/proc2")
    os.symlink("l-two", f"{top}/via")
    os.symlink("/l-none/../proc", f"{top}/none")
    os.symlink("loop", f"{top}/loop")
    refused = ["/", "//", "/proc", "/proc/", "//proc//self", "/./sys", "/sys/fs/cgroup", "/dev", "/dev/", "/dev/pts", "/dev/init",
               "/l-proc", "/l-proc/sys", "/l-up", "/l-sys/fs", "/l-two", "/via/x", "/none", "/l-root", "/l-root/proc",
               "/l-here", "/l-here/l-here/proc", "/l-dev", "/l-pts/1", "/loop", "/keep/./../proc"]
    for runtime in ("crun", "runc"):
        for kind in (SCRATCH, TMPFS):
            for target in refused:
                s = m.sandbox() if kind == SCRATCH else s
                reply = m.ask("make", **m.spec(s, ["/bin/true"], layers=[m.layer, layer], runtime=runtime,
                                               mounts=[{"kind": kind, "source": "a", "target": target}]))
                if reply["result"] >= 0:
                    fail(f"{target} was covered with {runtime}")
    # What is fine goes on to be, by links too.
    s = m.sandbox()
    os.symlink("/keep/.", f"{top}/good")
    _, out = m.sh(s, "echo x > /keep/deep/f && cat /good/deep/f; grep -c ' /proc ' /proc/mounts; ls -d /dev/shm/v /dev/log",
                  layers=[m.layer, layer],
                  mounts=[{"kind": SCRATCH, "source": n, "target": t} for n, t in
                          (("a", "/good/deep"), ("b", "/dev/shm/v"), ("c", "/dev/log"), ("d", "/procx"))])
    same("other targets", out, "x\n1\n/dev/log\n/dev/shm/v")
    # A link in a volume that is mounted first.
    link = [{"kind": SCRATCH, "source": "links", "target": "/v"}]
    ended, _ = m.sh(s, "ln -s /proc /v/p; ln -s ../proc/sys /v/q", mounts=link)
    same("links", ended["code"], 0)
    for target in ("/v/p", "/v/q/x"):
        reply = m.ask("make", **m.spec(s, ["/bin/true"], layers=[m.layer, layer],
                                       mounts=link + [{"kind": SCRATCH, "source": "a", "target": target}]))
        if reply["result"] >= 0:
            fail(f"{target} was covered")


def test_many_layers(m):
    layers = [m.layer] + [m.add_layer({f"l{i}": b""}) for i in range(119)]
    s = m.sandbox()
    ended, out = m.sh(s, "ls -d /l* | wc -l", layers=layers)
    same("files of layers", out, "119")


def test_memory(m):
    s = m.sandbox()
    ended, _ = m.sh(s, "dd if=/dev/zero of=/dev/shm/f bs=1M count=60; dd if=/dev/zero bs=40M of=/dev/null count=1; yes | sort",
                    memory=32 * MIB)
    same("out of memory", (ended["oom"], ended["code"] in (1, 137)), (True, True))
    ended, _ = m.run(s, ["/bin/sh", "-c", "exec tail -c 100m /dev/zero"], memory=32 * MIB)
    same("its first process", (ended["oom"], ended["code"]), (True, 137))
    task = m.sandbox(memory=32 * MIB)
    ended, _ = m.run(task, ["/bin/sh", "-c", "exec tail -c 100m /dev/zero"])
    same("limit of the task", (ended["oom"], ended["code"]), (True, 137))
    ended, _ = m.run(task, ["/bin/true"])
    same("nobody else", (ended["oom"], ended["code"]), (False, 0))


def test_processes(m):
    s = m.sandbox(pids=30)
    ended, out = m.sh(s, "f() { f | f & }; f; i=0; while [ $i -lt 100 ]; do sleep 100 & i=$((i+1)); done; echo here")
    holds("bomb", out, "can't fork")
    ended, out = m.run(m.sandbox(), ["/bin/echo", "well"])
    same("others", out, "well")


def test_cpu(m):
    s = m.sandbox(cpu_milli=100)
    ended, _ = m.sh(s, "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; cat /proc/self/stat > /dev/null")
    took = (ended["finished"] - ended["started"]) / 1000
    c = m.container(s, ["/bin/sh", "-c", "while :; do :; done"])
    m.do("start", id=c)
    time.sleep(1)
    usage = m.do("usage", id=c)
    m.do("signal", id=c, signal=9)
    same("killed", m.exit_of(c)["code"], 137)
    used = usage["cpu"].split()
    ns = int(used[0]) if len(used) == 1 else int(used[1]) * 1000
    if not 20e6 < ns < 400e6:
        fail(f"a tenth of a CPU for a second: {ns} ns; {took}")


def test_disk(m):
    s = m.sandbox(disk=64 * MIB)
    _, out = m.sh(s, "dd if=/dev/zero of=/f bs=1M count=100; ls -l /f")
    holds("full", out, "No space left")


def test_limits(m):
    s = m.sandbox()
    _, out = m.sh(s, "ulimit -n; ulimit -Hn", limits=[{"name": "nofile", "soft": 99, "hard": 199}])
    same("lower", out, "99\n199")
    reply = m.ask("make", **m.spec(s, ["/bin/true"], limits=[{"name": "nofile", "soft": 1 << 40, "hard": 1 << 40}]))
    if reply["result"] >= 0 or "nofile" not in reply["why"]:
        fail(f"higher: {reply}")


def test_sysctls(m):
    s = m.sandbox()
    _, out = m.sh(s, "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/msgmax",
                  sysctls={"net.ipv4.ip_unprivileged_port_start": "7", "kernel.msgmax": "9000"})
    same("set", out, "7\n9000")
    if m.ask("make", **m.spec(s, ["/bin/true"], sysctls={"kernel.hostname": "x"}))["result"] >= 0:
        fail("a setting of the host was taken")


def test_signals(m):
    s = m.sandbox()
    c = m.container(s, ["/bin/sh", "-c", "trap 'echo got; exit 5' TERM; echo up; while :; do sleep 0.05; done"])
    m.do("start", id=c)
    wait_for(lambda: "up" in m.output(c))
    m.do("signal", id=c, signal=signal.SIGTERM)
    same("handled", m.exit_of(c)["code"], 5)
    holds("log", m.output(c), "got")
    c = m.container(s, ["/bin/sleep", "100"])
    m.do("start", id=c)
    m.do("signal", id=c, signal=signal.SIGTERM)
    time.sleep(0.3)
    same("pid 1 ignores it", [e for e in m.events if e.get("event") == "exit"], [])
    m.do("signal", id=c, signal=signal.SIGKILL)
    same("killed", m.exit_of(c)["code"], 137)
    c = m.container(s, ["/bin/sleep", "100"], init=True)
    m.do("start", id=c)
    time.sleep(0.2)
    m.do("signal", id=c, signal=signal.SIGTERM)
    same("with an init", m.exit_of(c)["code"], 143)


def test_init(m):
    s = m.sandbox()
    ended, out = m.sh(s, "(sleep 0.05 &) ; sleep 0.3; ps -o pid,stat,args | cat; exit 3", init=True)
    same("code", ended["code"], 3)
    lacks("reaped", out, "Z")
    holds("pid 1", out, "/dev/init")
    ended, _ = m.run(s, ["/bin/nothing"], init=True)
    same("not found", ended["code"], 127)


def wait_for(condition, seconds=10):
    end = time.time() + seconds
    while not condition():
        if time.time() > end:
            fail("waited in vain")
        time.sleep(0.02)


def test_exec(m):
    s = m.sandbox()
    c = m.container(s, ["/bin/sleep", "100"], env={"PATH": "/bin", "OWN": "1"})
    m.do("start", id=c)
    run = lambda args, **more: m.do("exec", id=c, exec_id=os.urandom(16).hex(), args=args, **more)
    r = run(["/bin/sh", "-c", "echo out $OWN; echo err >&2; cat; exit 9"], input="in")
    same("exec", (r["code"], r["out"], r["err"]), (9, "out 1\nin", "err\n"))
    r = run(["/bin/sh", "-c", "grep -E 'CapEff|Seccomp:' /proc/self/status; cat /proc/self/uid_map"], env={"PATH": "/bin"})
    holds("confined", r["out"], "a80425fb")
    holds("confined", r["out"], "Seccomp:\t2")
    r = run(["/bin/sh", "-c", "tty; stty size; echo $X"], terminal=True, rows=12, columns=34, env={"PATH": "/bin", "X": "y"})
    same("terminal", (r["code"], r["out"]), (0, "/dev/pts/0\r\n12 34\r\ny\r\n"))
    r = m.ask("exec", id=c, exec_id=os.urandom(16).hex(), args=["/nothing"])
    if r.get("code") not in (1, 126, 127, 255) or not r["err"]:
        fail(f"not found: {r}")
    name = os.urandom(16).hex()
    n = m.send("exec", id=c, exec_id=name, args=["/bin/sleep", "77"], leave=True)
    wait_for(lambda: "sleep 77" in run(["/bin/ps", "-o", "args"])["out"])
    m.do("exec_kill", exec_id=name)
    same("killed", m.wait(n)["code"], 137)
    lacks("gone", run(["/bin/ps", "-o", "args"])["out"], "sleep 77")
    m.do("signal", id=c, signal=9)
    m.exit_of(c)


def test_attach(m):
    s = m.sandbox()
    c = m.container(s, ["/bin/sh", "-c", "read x; echo got $x; read x"], stdin=True)
    m.do("start", id=c)
    holds("attached", m.do("attach", id=c, input="word\n")["output"], "\x02got word")
    m.do("signal", id=c, signal=9)
    m.exit_of(c)
    c = m.container(s, ["/bin/sh", "-c", "tty; read x; until stty size | grep 33; do sleep 0.1; done 2>/dev/null; read x"], stdin=True, terminal=True)
    m.do("start", id=c)
    m.do("resize", id=c)
    holds("terminal", m.do("attach", id=c, input="word\n")["output"], "33 77")
    m.do("signal", id=c, signal=9)
    m.exit_of(c)
    holds("log of a terminal", m.output(c), "/dev/pts/0")


def test_usage(m):
    s = m.sandbox()
    c = m.container(s, ["/bin/sleep", "100"])
    m.do("start", id=c)
    u = m.do("usage", id=c)
    if int(u["memory"]) <= 0 or int(u["pids"]) != 1 or "lo:" not in u["net"]:
        fail(f"usage: {u}")
    m.do("signal", id=c, signal=9)
    m.exit_of(c)


def test_sharing(m):
    s = m.sandbox(share_pid=True, share_ipc=True)
    c = m.container(s, ["/bin/sleep", "66"])
    m.do("start", id=c)
    ended, out = m.sh(s, "ps -o pid,args; cat /proc/1/mem | wc -c; ls /proc/1/root/; (sleep 0.1 &); exit 4")
    holds("sees the sibling", out, "sleep 66")
    holds("pause is pid 1", out, "mayfly-pause")
    lacks("pause shows nothing", out, "usr")
    same("code", ended["code"], 4)
    _, out = m.sh(m.sandbox(), "ps -o pid,args")
    lacks("a stranger does not", out, "sleep 66")
    m.do("signal", id=c, signal=9)
    same("code", m.exit_of(c)["code"], 137)


def test_host_namespaces(m):
    reply = m.ask("sandbox_make", id=os.urandom(16).hex(), network=HOST, host_pid=True)
    if reply["result"] >= 0 or "--allow-privileged" not in reply["why"]:
        fail(f"the host's processes: {reply}")
    m.stop()
    m.start("--bind-root", m.bind, "--allow-privileged")
    s = m.sandbox(HOST, host_pid=True)
    _, out = m.sh(s, "ps -o args; ip addr; cat /proc/self/uid_map; cat /proc/kcore | wc -c")
    holds("processes", out, "mayfly-spawner")
    holds("ids are mapped all the same", out, str(BASE))
    m.do("sandbox_remove", id=s)
    m.stop()
    m.start("--bind-root", m.bind)


def test_network_none(m):
    host = socket.create_server(("127.0.0.1", 0))
    port = host.getsockname()[1]
    s = m.sandbox(NONE)
    same("listeners", m.container(s, ["/bin/true"]) and m.made["listeners"], True)
    _, out = m.sh(s, f"nc -w 1 127.0.0.1 {port} </dev/null 2>&1; echo $?; ip route")
    same("loopback of the host", out, "nc: can't connect to remote host (127.0.0.1): Connection refused\n1")


def test_network_task(m):
    s = m.sandbox(TASK)
    address = m.net["address"]
    if not address or not m.net["listeners"]:
        fail(f"net: {m.net}")
    c = m.container(s, ["/bin/sh", "-c", "while :; do echo served | nc -l -p 8080; done"])
    m.do("start", id=c)
    wait_for(lambda: connect(address, 8080) == b"served\n")
    _, out = m.sh(s, "nc -w 1 127.0.0.1 8080 </dev/null")
    same("siblings share loopback", out, "served")
    host = socket.create_server(("127.0.0.1", 0))
    _, out = m.sh(s, f"nc -w 1 127.0.0.1 {host.getsockname()[1]} </dev/null 2>&1; echo $?")
    same("loopback of the host", out, "nc: can't connect to remote host (127.0.0.1): Connection refused\n1")
    m.do("sandbox_remove", id=s)
    same("killed with its sandbox", connect(address, 8080), None)


def test_network_bridge(m):
    s = m.sandbox(BRIDGE)
    c = m.container(s, ["/bin/sh", "-c", "while :; do echo served | nc -l -p 80; done"], ports=[{"host": 0, "inside": 80}])
    port = m.made["ports"][0]
    m.do("start", id=c)
    wait_for(lambda: connect("127.0.0.1", port) == b"served\n")
    reply = m.ask("make", **m.spec(s, ["/bin/true"], ports=[{"host": port, "inside": 80}]))
    same("taken", reply["result"], -98)
    m.do("remove", id=reply.get("id", c))
    again = m.container(s, ["/bin/true"], ports=[{"host": port, "inside": 80}])
    m.do("remove", id=again)


def connect(address, port):
    try:
        with socket.create_connection((address, port), 1) as c:
            c.settimeout(1)
            return c.recv(100)
    except OSError:
        return None


def test_spawner_killed(m):
    s = m.sandbox(TASK)
    address = m.net["address"]
    c = m.container(s, ["/bin/sh", "-c", "i=0; while [ $i -lt 120 ]; do echo line $i; i=$((i+1)); sleep 0.05; done; exit 6"])
    idle = m.container(s, ["/bin/sleep", "100"])
    gone = m.container(s, ["/bin/sh", "-c", "sleep 0.5; exit 8"])
    made = m.container(s, ["/bin/sh", "-c", "echo late; exit 2"])
    for name in (c, idle, gone):
        m.do("start", id=name)
    m.kill()
    time.sleep(1)
    m.start("--bind-root", m.bind)
    found = {e.get("id"): e for e in m.found}
    same("sandbox", (found[s]["event"], found[s]["address"], found[s]["listeners"]), ("sandbox", address, True))
    same("states", [found[x]["state"] for x in (c, idle, gone, made)], [1, 1, 2, 0])
    same("ended meanwhile", found[gone]["code"], 8)
    same("ends later", m.exit_of(c)["code"], 6)
    same("whole log", m.output(c).split("\n"), [f"line {i}" for i in range(120)])
    m.do("start", id=made)
    same("started by another", m.exit_of(made)["code"], 2)
    same("its log", m.output(made), "late")
    m.do("exec", id=idle, exec_id=os.urandom(16).hex(), args=["/bin/true"])
    m.do("remove", id=idle)


def test_restart(m):
    """An ordered end of the server leaves containers alone."""
    s = m.sandbox()
    c = m.container(s, ["/bin/sleep", "100"])
    m.do("start", id=c)
    m.stop()
    time.sleep(0.2)
    m.start("--bind-root", m.bind)
    same("still there", [e["state"] for e in m.found if e.get("id") == c], [1])
    m.do("signal", id=c, signal=9)
    same("code", m.exit_of(c)["code"], 137)
    m.stop()
    os.setxattr(f"{m.dir}/tasks/{s}", "trusted.mayfly.boot", b"another")
    other = f"{m.dir}/tasks/{s}/{c}/{c}"
    os.unlink(other)
    m.start("--bind-root", m.bind)
    same("the machine restarted", [(e["state"], e["code"]) for e in m.found if e.get("id") == c], [(2, -1)])
    m.do("sandbox_remove", id=s)


def test_core_killed(m):
    s = m.sandbox()
    c = m.container(s, ["/bin/sh", "-c", "sleep 1; exit 3"])
    m.do("start", id=c)
    os.kill(m.core_pid, signal.SIGKILL)
    m.connect()
    same("adopted", [e["state"] for e in m.found if e.get("id") == c], [1])
    same("code", m.exit_of(c)["code"], 3)


def pid_of(m, sandbox, container, name):
    return int(os.getxattr(f"{m.dir}/tasks/{sandbox}/{container}", "trusted.mayfly." + name).split()[0])


def test_conmon_killed(m):
    s = m.sandbox()
    c = m.container(s, ["/bin/sh", "-c", "sleep 100 & sleep 100"])
    m.do("start", id=c)
    init = pid_of(m, s, c, "init")
    os.kill(pid_of(m, s, c, "conmon"), signal.SIGKILL)
    same("code", m.exit_of(c)["code"], 137)
    wait_for(lambda: not os.path.exists(f"/proc/{init}") or "Z" in open(f"/proc/{init}/stat").read().rsplit(")", 1)[1][:3])
    m.do("remove", id=c)


def test_pause_killed(m):
    s = m.sandbox()
    os.kill(pid_of(m, s, "", "pause"), signal.SIGKILL)
    time.sleep(0.1)
    if m.ask("make", **m.spec(s, ["/bin/true"]))["result"] >= 0:
        fail("made without a sandbox")
    m.do("sandbox_remove", id=s)


def test_killed_midway(m):
    """The spawner dies while containers are being made: what is left can be removed."""
    s = m.sandbox()
    for delay in (0.0, 0.01, 0.02, 0.03, 0.05):
        m.send("make", **m.spec(s, ["/bin/sleep", "100"]))
        time.sleep(delay)
        m.kill()
        m.start("--bind-root", m.bind)
    for event in m.found:
        if event["event"] == "container":
            m.do("remove", id=event["id"])
    ended, _ = m.run(s, ["/bin/true"])
    same("works on", ended["code"], 0)


def test_twice(m):
    s = m.sandbox()
    same("sandbox", m.ask("sandbox_make", id=s)["result"], -17)
    c = m.container(s, ["/bin/sleep", "9"])
    same("container", m.ask("make", **{**m.spec(s, ["/bin/true"]), "id": c})["result"], -17)
    m.do("start", id=c)
    if m.ask("start", id=c)["result"] >= 0:
        fail("started twice")
    for _ in range(2):
        m.do("remove", id=c)
        m.do("sandbox_remove", id=s)


def state_of_host(m):
    groups = [g for g in glob.glob(f"/sys/fs/cgroup/**/{m.group}/**", recursive=True) if os.path.isdir(g)]
    count = lambda path: {path + "/" + name for name in os.listdir(path)}
    return {"mounts": set(mounts()), "groups": set(groups), "tasks": count(f"{m.dir}/tasks"), "addresses": count(f"{m.dir}/net"),
            "processes": {line for g in groups for line in open(g + "/cgroup.procs").read().split()},
            "spawner": {os.readlink(f) for f in count(f"/proc/{m.process.pid}/fd") if os.path.lexists(f)},
            "core": len(count(f"/proc/{m.core_pid}/fd"))}


def test_runc(m):
    if not shutil.which("runc"):
        return
    s = m.sandbox()
    ended, out = m.sh(s, "echo said; grep -E 'CapEff|Seccomp:' /proc/self/status; cat /proc/self/uid_map; exit 3", runtime="runc")
    same("code", ended["code"], 3)
    for part in ("said", "a80425fb", "Seccomp:\t2", str(BASE)):
        holds("runc", out, part)
    c = m.container(s, ["/bin/sleep", "100"], runtime="runc")
    m.do("start", id=c)
    r = m.do("exec", id=c, exec_id=os.urandom(16).hex(), args=["/bin/sh", "-c", "echo inside; exit 4"])
    same("exec", (r["code"], r["out"]), (4, "inside\n"))
    m.do("remove", id=c)


def test_nothing_is_left(m):
    m.do("sandbox_remove", id=m.sandbox(TASK))
    before = state_of_host(m)
    for network in (NONE, BRIDGE, TASK, NONE):
        names = [m.sandbox(network) for _ in range(5)]
        made = []
        for s in names:
            made += [m.container(s, ["/bin/sh", "-c", "sleep 100 & exit 1" if i % 2 else "exec sleep 100"]) for i in range(5)]
        for n in [m.send("start", id=c) for c in made]:
            m.wait(n)
        for s in names:
            m.do("sandbox_remove", id=s)
    m.events.clear()
    time.sleep(0.3)
    after = state_of_host(m)
    for what in before:
        if before[what] != after[what]:
            fail(f"{what}: {before[what] ^ after[what] if isinstance(before[what], set) else (before[what], after[what])}")


def test_many_at_once(m):
    count, start = 100, time.time()
    names = [os.urandom(16).hex() for _ in range(count)]
    for n in [m.send("sandbox_make", id=s, network=NONE) for s in names]:
        same("sandbox", m.wait(n)["result"], 0)
    specs = [m.spec(s, ["/bin/true"]) for s in names]
    for n in [m.send("make", **spec) for spec in specs]:
        same("container", m.wait(n, 120)["result"], 0)
    for n in [m.send("start", id=spec["id"]) for spec in specs]:
        same("start", m.wait(n)["result"], 0)
    for spec in specs:
        same("code", m.exit_of(spec["id"])["code"], 0)
    print(f"{count} tasks from first to last in {time.time() - start:.2f} s")
    start = time.time()
    for n in [m.send("sandbox_remove", id=s) for s in names]:
        same("remove", m.wait(n, 120)["result"], 0)
    print(f"removed in {time.time() - start:.2f} s")


def main():
    if os.geteuid() != 0 or not all(shutil.which(p) for p in ("crun", "conmon", "busybox")):
        print("needs root, crun, conmon and busybox")
        return 77
    if ctypes.CDLL(None).unshare(0x40000000) < 0:
        return 77
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    wanted = sys.argv[1:]
    m = Mayfly(os.path.abspath(BUILD))
    m.bind = tempfile.mkdtemp(prefix="mayfly-bind-")
    os.chmod(m.bind, 0o755)
    os.mkdir(m.bind + "/in")
    with open(m.bind + "/in/file", "w") as f:
        f.write("of the host\n")
    os.symlink("/etc", m.bind + "/link")
    failed = []
    m.start("--bind-root", m.bind)
    for name, test in [(n, t) for n, t in globals().items() if n.startswith("test_")]:
        if wanted and name not in wanted and name[5:] not in wanted:
            continue
        start = time.time()
        try:
            m.events.clear()
            test(m)
            print(f"ok {name} {time.time() - start:.2f} s", flush=True)
        except Exception as e:  # noqa: BLE001
            print(f"FAIL {name}: {type(e).__name__} {e}", flush=True)
            failed.append(name)
            if not m.process or m.process.poll() is not None:
                m.start("--bind-root", m.bind)
    m.clean()
    shutil.rmtree(m.bind)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
