"""A full disk: documented errors, the rest goes on, and after freeing space all works again."""
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

import botocore.exceptions

import fault
from fault import make_zip

ERRORS = (botocore.exceptions.ClientError, )
KNOWN = ("ServiceException", "CodeStorageExceededException", "InternalFailure",
         "ServiceUnavailableException", "ServiceUnavailable", "EC2ThrottledException",
         "ResourceNotReadyException", "InternalServerError")


class Disk(fault.unittest.TestCase):
    """The data directory is a small file system of its own, in a private mount namespace."""

    @contextlib.contextmanager
    def small(self, megabytes, kind):
        directory = tempfile.mkdtemp(prefix="mayfly-disk-")
        if kind == "tmpfs":
            mount = f"mount -t tmpfs -o size={megabytes}m,mode=755 tmpfs {directory}/m"
        else:
            image = directory + "/image"
            with open(image, "wb") as f:
                f.truncate(megabytes << 20)
            subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
            mount = f"mount -o loop {image} {directory}/m"
        os.mkdir(directory + "/m")
        subprocess.run(mount.split(), check=True)
        try:
            with fault.Server("--pool-each", "1", "--idle", "1", "--retry-base-ms", "200",
                              directory=directory + "/m/d") as s:
                yield s
        finally:
            subprocess.run(["umount", "-l", directory + "/m"], check=False)
            shutil.rmtree(directory, ignore_errors=True)

    def fill(self, s, leave=0):
        """All of the disk but `leave` bytes."""
        path = s.dir.parent / "filler"
        with open(path, "ab", buffering=0) as f:
            for step in (1 << 20, 65536, 4096, 512):
                with contextlib.suppress(OSError):
                    while True:
                        left = os.fstatvfs(f.fileno())
                        if left.f_bavail * left.f_frsize - leave < step:
                            break
                        f.write(b"x" * step)
        return path

    def full(self, kind):
        with self.small(128, kind) as s:
            client = s.client()
            s.create("before", {"index.py": '''
import os
def handler(event, context):
    print("line", event, flush=True)
    if event == "tmp":
        with open("/tmp/f", "wb") as f:
            for i in range(200):
                f.write(os.urandom(1 << 20))
            os.fsync(f.fileno())
    return event
'''}, memory=512, timeout=20)
            self.assertEqual(s.invoke("before", 1).value, 1)
            filler = self.fill(s)

            # What changes something is refused in documented words ...
            outcomes = {}
            for name, call in {
                "create": lambda: client.create_function(
                    FunctionName="during", Runtime="python3.11", Role=fault.ROLE,
                    Handler="index.handler", Code={"ZipFile": make_zip(
                        {"index.py": b"def handler(e, c): return 1\n#" +
                         os.urandom(1 << 20).hex().encode()})}),
                "event": lambda: [client.invoke(FunctionName="before", InvocationType="Event",
                                                Payload=json.dumps("x" * 100000))
                                  for _ in range(60)],
                "group": lambda: [s.client("logs").create_log_group(logGroupName=f"g{i}" + "x" * 400)
                                  for i in range(2000)],
            }.items():
                with self.assertRaises(ERRORS) as raised:
                    call()
                    print(f"  {kind}: {name} worked on a full disk")
                outcomes[name] = raised.exception.response
            for name, r in outcomes.items():
                print(f"  {kind}: {name}: {r['ResponseMetadata']['HTTPStatusCode']} "
                      f"{r['Error']['Code']}: {r['Error']['Message'][:90]}")
                self.assertGreaterEqual(r["ResponseMetadata"]["HTTPStatusCode"], 400, name)
                self.assertIn(r["Error"]["Code"], KNOWN, name)

            # ... what does not goes on: invoking, reading. For a while, however much is printed.
            core = s.core_pid()
            for i in range(50):
                self.assertEqual(s.invoke("before", i).value, i)
            self.assertEqual(client.get_function(FunctionName="before")
                             ["Configuration"]["State"], "Active")
            self.assertLess(s.best_health(), 1)
            # A function that uses its /tmp has an error of its own, and nobody else.
            answer = s.invoke("before", "tmp")
            self.assertTrue(answer.error, "200 MB were written to a disk of 128")
            # A new environment: gets its box, or is refused in documented words.
            time.sleep(1.5)
            try:
                self.assertEqual(s.invoke("before", 5).value, 5)
            except ERRORS as e:
                print(f"  {kind}: cold start: {e.response['Error']}")
                self.assertIn(e.response["Error"]["Code"], KNOWN)
            self.assertEqual(s.core_pid(), core, "core died: " + s.text()[-2000:])

            # Core can even start on it, or says why not and tries again.
            os.unlink(filler)
            s.invoke("before", 7).value
            s.create("after", {"index.py": "def handler(e, c): return 'after'\n"})
            self.assertEqual(s.invoke("after").value, "after")
            self.assertEqual(client.invoke(FunctionName="after", InvocationType="Event",
                                           Payload=b"{}")["StatusCode"], 202)
            s.wait_for(lambda: s.status()["events"] == 0, "the event to run", 20)
            s.invoke("before", "later").value
            self.assertIn("line later", "".join(s.logs("before")))
            booked = {r["function"]: r["requests"] for r in s.page("/_mayfly/bill")["rows"]}
            print(f"  {kind}: booked {booked}")
            self.assertGreaterEqual(booked["after"], 2)
            self.assertEqual(s.core_pid(), core, "core died: " + s.text()[-2000:])

    def test_ext4(self):
        self.full("ext4")

    def test_tmpfs(self):
        self.full("tmpfs")

    def test_core_killed_on_a_full_disk(self):
        """It comes back when there is room again at the latest; nothing acknowledged is lost."""
        with self.small(96, "ext4") as s:
            s.create("kept", {"index.py": "def handler(e, c): return e\n"})
            s.invoke("kept", 1).value
            filler = self.fill(s)
            pid = s.core_pid()
            os.kill(pid, 9)
            time.sleep(1.5)
            self.assertIsNone(s.process.poll(), "the server gave up: " + s.text()[-2000:])
            os.unlink(filler)

            def back():
                try:
                    return s.invoke("kept", 2).value == 2
                except (botocore.exceptions.HTTPClientError, AssertionError):
                    return False
            s.wait_for(back, "core to come back", 15)
            s.create("more", {"index.py": "def handler(e, c): return e\n"})
            self.assertEqual(s.invoke("more", 3).value, 3)


if __name__ == "__main__":
    # What is mounted here is nobody else's, and goes with us whatever happens.
    if os.geteuid() == 0 and os.environ.get("MAYFLY_PRIVATE") != "1":
        os.environ["MAYFLY_PRIVATE"] = "1"
        os.execvp("unshare", ["unshare", "-m", "--propagation", "private", sys.executable, "-B",
                              *sys.argv])
    fault.main()
