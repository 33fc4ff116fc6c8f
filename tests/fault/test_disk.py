"""A full disk: documented errors, the rest goes on, and after freeing space all works again."""
import contextlib
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time

import botocore.exceptions

import fault
from fault import make_zip

ERRORS = (botocore.exceptions.ClientError, )
KNOWN = ("ServiceException", "CodeStorageExceededException", "InternalFailure",
         "ServiceUnavailableException", "ServiceUnavailable", "EC2ThrottledException",
         "ResourceNotReadyException", "InternalServerError")


def tar_of(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


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

    def test_images(self):
        """An image that there is no room for is refused in words, harms no other, and comes when there is room."""
        with self.small(256, "ext4") as s, tempfile.TemporaryDirectory() as directory:
            def mayfly(*words):
                env = {"PATH": os.environ["PATH"], "AWS_ENDPOINT_URL": s.url, "AWS_DEFAULT_REGION": "us-east-1",
                       "AWS_ACCESS_KEY_ID": s.keys["aws_access_key_id"], "AWS_SECRET_ACCESS_KEY": s.keys["aws_secret_access_key"]}
                return subprocess.run([fault.lab.BUILD / "mayfly", *words], env=env, capture_output=True, text=True, check=False)

            def archive(name, size):
                path = f"{directory}/{name}.tar"
                layer = tar_of({"file": os.urandom(size)})
                config = json.dumps({"architecture": "arm64" if os.uname().machine == "aarch64" else "amd64", "os": "linux",
                                     "rootfs": {"type": "layers", "diff_ids": [
                                         "sha256:" + hashlib.sha256(layer).hexdigest()]}}).encode()
                with open(path, "wb") as f:
                    f.write(tar_of({"c.json": config, "l.tar": layer, "manifest.json": json.dumps(
                        [{"Config": "c.json", "RepoTags": [f"example/{name}:1"], "Layers": ["l.tar"]}]).encode()}))
                return path

            def there():
                return sorted(n for n in os.listdir(s.dir / "layers") if n[0] != "u")  # but marks

            small, large = archive("small", 1 << 20), archive("large", 24 << 20)
            loaded = mayfly("image", "load", small)
            self.assertEqual(loaded.returncode, 0, loaded.stderr)
            images, layers = mayfly("images", "--json").stdout, there()
            self.assertEqual(len(layers), 1)
            for leave, words in ((100, "no space left on device"), (10, "(?i)no space left")):
                # For the archive's blobs and not for its layer, which leaves 64 MiB to others; for neither.
                filler = self.fill(s, leave << 20)
                core = s.core_pid()
                refused = mayfly("image", "load", large)
                print(f"  {leave} MiB: {refused.stderr.strip()}")
                self.assertEqual(refused.returncode, 1)
                self.assertRegex(refused.stderr, words)
                self.assertEqual(mayfly("images", "--json").stdout, images)
                s.wait_for(lambda: there() == layers, "what was unpacked to go")
                self.assertLess(s.health(), 1)
                self.assertEqual(s.core_pid(), core)
                os.unlink(filler)
            loaded = mayfly("image", "load", large)
            self.assertEqual(loaded.returncode, 0, loaded.stderr)
            self.assertEqual(len(there()), 2)


if __name__ == "__main__":
    # What is mounted here is nobody else's, and goes with us whatever happens.
    if os.geteuid() == 0 and os.environ.get("MAYFLY_PRIVATE") != "1":
        os.environ["MAYFLY_PRIVATE"] = "1"
        os.execvp("unshare", ["unshare", "-m", "--propagation", "private", sys.executable, "-B",
                              *sys.argv])
    fault.main()
