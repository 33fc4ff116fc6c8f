"""Where boxes live on a host with cgroup v2 alone, for each of the groups that a server may find
itself in. Run by suite.py in the guest of run.sh: it makes groups of its own at the top."""
import os
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "fault"))
import fault  # noqa: E402
import lab  # noqa: E402

TOP = pathlib.Path("/sys/fs/cgroup")
HANDLER = {"index.py": "def handler(event, context): return 'here'\n"}


def groups(pid):
    """Path of the group that a process is in."""
    return pathlib.Path(f"/proc/{pid}/cgroup").read_text().strip().removeprefix("0::")


class Places(unittest.TestCase):
    def make(self, path):
        """Groups down to `path`, removed again after the test."""
        at = TOP
        for part in pathlib.PurePath(path).parts:
            at = at / part
            at.mkdir()
            self.addCleanup(self.remove, at)
        return at

    def remove(self, at):
        for left in list(at.iterdir()):
            if left.is_dir():
                left.rmdir()
        at.rmdir()

    def serve(self, group, wanted):
        """A server in `group`, one function called in it: its box has to live below `wanted`."""
        server = fault.Server()
        server.preexec = lambda: (group / "cgroup.procs").write_text(str(os.getpid()))
        with server as s:
            s.create("f", HANDLER)
            self.assertEqual(s.invoke("f").value, "here")
            name = s.group()
            own = groups(s.process.pid)
            boxes = {groups(p) for p in s.box_pids() if groups(p) != own}
            self.assertTrue(boxes)
            for box in boxes:
                self.assertTrue(box.startswith(f"{wanted}/{name}/b"), box)
            for part in ("memory.max", "cpu.max", "pids.max"):
                self.assertTrue((TOP / box[1:] / part).exists())
            self.assertEqual(s.stop(), 0)
            self.assertFalse((TOP / wanted[1:] / name).exists())
        return own

    def test_a_service_alone_in_its_group_keeps_boxes_there(self):
        at = self.make("app.slice/mayfly.service")
        (TOP / "app.slice/cgroup.subtree_control").write_text("+memory +cpu +pids")
        self.assertEqual(self.serve(at, "/app.slice/mayfly.service"),
                         "/app.slice/mayfly.service/mayfly-spawner")

    def test_a_server_beside_a_shell_uses_the_group_above_and_gets_the_controllers(self):
        at = self.make("user.slice/user-0.slice/session-1.scope")
        shell = subprocess.Popen(["sleep", "1000"])
        self.addCleanup(shell.wait)
        self.addCleanup(shell.kill)
        (at / "cgroup.procs").write_text(str(shell.pid))
        self.assertNotIn("cpu", (TOP / "user.slice/user-0.slice/cgroup.controllers").read_text())
        own = self.serve(at, "/user.slice/user-0.slice")
        self.assertEqual(own, "/user.slice/user-0.slice/session-1.scope")
        self.assertEqual([p for p in at.iterdir() if p.is_dir()], [])

    def test_the_top_may_have_both(self):
        self.assertEqual(self.serve(TOP, ""), "/")

    def test_a_container_full_of_processes_is_refused_with_what_to_do(self):
        at = self.make("container")
        command = ["unshare", "--mount", "--cgroup", "sh", "-c",
                   "umount -l /sys/fs/cgroup; mount -t cgroup2 c /sys/fs/cgroup; "
                   f"{lab.BUILD}/mayfly serve --data /tmp/refused --listen 127.0.0.1:0; echo code $?"]
        done = subprocess.run(
            command, preexec_fn=lambda: (at / "cgroup.procs").write_text(str(os.getpid())),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100)
        self.assertIn("start mayfly alone in a delegated group", done.stdout)
        self.assertIn("code 1\n", done.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
