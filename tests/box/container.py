"""A spawner with containers, and a core that does as it is told (testcontainer.c). Root only."""
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

BASE = 1900200000
BUSYBOX = "/bin/busybox"


def fail(text):
    raise AssertionError(text)


class Mayfly:
    """One data directory and the spawner on it."""

    def __init__(self, build, prefix="mayfly-container-"):
        self.build = build
        self.dir = tempfile.mkdtemp(prefix=prefix)
        status = os.stat(self.dir)
        self.group = f"mayfly-{status.st_dev:x}-{status.st_ino:x}-tasks"
        self.process = self.core = None
        self.number = 0
        self.events, self.replies = [], {}
        os.makedirs(self.dir + "/layers", 0o750)
        self.layer = self.add_layer({"bin/busybox": open(BUSYBOX, "rb").read()},
                                    links=["sh", "true", "false", "sleep", "cat", "ls", "id", "mount", "ps", "echo",
                                           "kill", "env", "grep", "wc", "dd", "touch", "nc", "wget", "ip", "stat",
                                           "readlink", "hostname", "tail", "head", "unshare", "mknod", "chroot", "tty", "stty",
                                           "ping", "yes", "rm", "mkdir", "sort", "tr", "ulimit", "nproc", "date", "usleep", "test"])

    def add_layer(self, files, links=()):
        name = hashlib.sha256(repr(sorted(files)).encode() + os.urandom(8)).hexdigest()
        top = f"{self.dir}/layers/{name}"
        for directory in ("bin", "etc", "tmp", "proc", "sys", "dev", "root"):
            os.makedirs(f"{top}/{directory}", 0o755, exist_ok=True)
        os.chmod(f"{top}/tmp", 0o1777)
        for path, content in files.items():
            os.makedirs(os.path.dirname(f"{top}/{path}"), exist_ok=True)
            with open(f"{top}/{path}", "wb") as f:
                f.write(content)
            os.chmod(f"{top}/{path}", 0o755)
        for link in links:
            os.symlink("busybox", f"{top}/bin/{link}")
        for base, directories, names in os.walk(top):
            for entry in directories + names:
                os.lchown(os.path.join(base, entry), BASE, BASE)
        os.chown(top, BASE, BASE)
        return name

    def start(self, *options):
        b = self.build
        command = [f"{b}/src/spawner/mayfly-spawner", "--data", self.dir, "--listen", "127.0.0.1:0",
                   "--core", f"{b}/tests/box/testcontainer", "--init", f"{b}/src/init/box-init",
                   "--unpack", f"{b}/src/unpack/mayfly-unpack", "--pause", f"{b}/src/pause/mayfly-pause",
                   *options]
        read, write = os.pipe()
        self.process = subprocess.Popen(command + ["--ready-fd", str(write)], stdout=subprocess.PIPE,
                                        pass_fds=[write], text=True)
        os.close(write)
        with os.fdopen(read) as f:
            where = f.readline().split(":")
        if len(where) < 2:
            fail("the spawner did not start")
        self.port = int(where[1])
        self.connect()

    def connect(self):
        line = self.process.stdout.readline().split()
        if not line:
            fail("core did not start")
        self.core_pid = int(line[2])
        self.core = socket.create_connection(("127.0.0.1", self.port))
        self.core.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.core.makefile("r")
        self.found = []
        while True:
            event = self.event_or_reply()
            self.found.append(event)
            if event.get("event") == "end":
                break

    def event_or_reply(self, seconds=30):
        self.core.settimeout(seconds)
        line = self.file.readline()
        if not line:
            fail("core is gone")
        return json.loads(line)

    def send(self, op, **members):
        self.number += 1
        self.core.sendall((json.dumps({"op": op, "n": self.number, **members}) + "\n").encode())
        return self.number

    def wait(self, number, seconds=60):
        end = time.time() + seconds
        while number not in self.replies:
            if time.time() > end:
                fail("no answer")
            message = self.event_or_reply(seconds)
            if "event" in message:
                self.events.append(message)
            else:
                self.replies[message["n"]] = message
        return self.replies.pop(number)

    def ask(self, op, **members):
        return self.wait(self.send(op, **members))

    def do(self, op, **members):
        reply = self.ask(op, **members)
        if reply["result"] < 0:
            fail(f"{op}: {reply['result']} {reply['why']}")
        return reply

    def exit_of(self, container, seconds=30):
        end = time.time() + seconds
        while True:
            for event in self.events:
                if event.get("event") == "exit" and event["id"] == container:
                    self.events.remove(event)
                    return event
            if time.time() > end:
                fail("container does not end")
            message = self.event_or_reply(seconds)
            if "event" in message:
                self.events.append(message)
            else:
                self.replies[message["n"]] = message

    def sandbox(self, network=0, **members):
        name = os.urandom(16).hex()
        reply = self.do("sandbox_make", id=name, network=network, **members)
        self.net = reply
        return name

    def spec(self, sandbox, args, **members):
        return {"id": os.urandom(16).hex(), "sandbox": sandbox, "runtime": "crun", "layers": [self.layer],
                "args": args, "env": {"PATH": "/bin", "A": "b\"\\\n"}, "cwd": "/", "hostname": "box", **members}

    def container(self, sandbox, args, **members):
        spec = self.spec(sandbox, args, **members)
        self.made = self.do("make", **spec)
        return spec["id"]

    def log(self, container):
        """[(stream, text)] with partial lines joined."""
        out = []
        partial = False
        for line in self.do("log", id=container)["log"].splitlines():
            _, stream, tag, text = (line.split(" ", 3) + [""])[:4]
            if partial and out and out[-1][0] == stream:
                out[-1] = (stream, out[-1][1] + text)
            else:
                out.append((stream, text))
            partial = tag == "P"
        return out

    def output(self, container):
        return "\n".join(text for _, text in self.log(container))

    def run(self, sandbox, args, **members):
        """To its end: (exit event, what it printed)."""
        name = self.container(sandbox, args, **members)
        self.do("start", id=name)
        ended = self.exit_of(name)
        return ended, self.output(name)

    def sh(self, sandbox, script, **members):
        return self.run(sandbox, ["/bin/sh", "-c", script], **members)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.core.close()

    def stop(self):
        if not self.process:
            return
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)
        if self.core:
            self.core.close()
        self.process = None

    def clean(self):
        """Everything that is there, by a spawner of its own, which is told of all of it."""
        self.stop()
        self.start()
        for event in self.found:
            if event["event"] == "sandbox":
                self.ask("sandbox_remove", id=event["id"])
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


def mounts():
    with open("/proc/self/mountinfo") as f:
        return sorted(line.split()[4] for line in f)
