#!/usr/bin/python3
"""Objects under kill -9: every acknowledged one is whole, no other is visible, nothing is left on
disk that no row keeps. And large uploads in bounded memory, clients that go away midway."""
import contextlib
import hashlib
import os
import random
import socket
import threading
import time
import unittest

import botocore.exceptions

import fault
import test_disk
from fault import Background, Server

KILLS = 6
MB = 1 << 20


def body_of(key, size):
    """The same bytes for the same key."""
    return random.Random(key).randbytes(size)


class Objects(unittest.TestCase):
    def setUp(self):
        self.lock = threading.Lock()
        self.number = 0
        self.written = {}  # key -> digests of versions that may be there; the first is certain
        self.maybe = set()

    def next(self):
        with self.lock:
            self.number += 1
            return self.number

    def put(self, s):
        key = f"put/{self.next()}"
        body = body_of(key, random.choice((0, 10, 5_000, 100_000, 700_000)))
        with self.lock:
            self.maybe.add(key)
        try:
            s.client("s3").put_object(Bucket="objects", Key=key, Body=body)
        except Exception:  # killed meanwhile: it may be there or not, but whole
            return
        with self.lock:
            self.written[key] = body

    def overwrite(self, s):
        """One key again and again, by one client: what was acknowledged last, or what came after
        it, is there."""
        n = self.next()
        body = b"%08d" % n + body_of(n, 50_000)
        try:
            s.client("s3").put_object(Bucket="objects", Key="same", Body=body)
        except Exception:
            return
        with self.lock:
            self.last = max(n, getattr(self, "last", 0))

    def multipart(self, s):
        client, key = s.client("s3"), f"multi/{self.next()}"
        parts = [body_of(key, 5 * MB), body_of(key + "x", 1000)]
        with self.lock:
            self.maybe.add(key)
        try:
            upload = client.create_multipart_upload(Bucket="objects", Key=key)["UploadId"]
            done = [{"PartNumber": i + 1, "ETag": client.upload_part(
                Bucket="objects", Key=key, UploadId=upload, PartNumber=i + 1, Body=p)["ETag"]}
                for i, p in enumerate(parts)]
            client.complete_multipart_upload(
                Bucket="objects", Key=key, UploadId=upload, MultipartUpload={"Parts": done})
        except Exception:
            return
        with self.lock:
            self.written[key] = b"".join(parts)

    def delete(self, s):
        with self.lock:
            keys = [k for k in self.written if k.startswith("put/")]
            if len(keys) < 50:
                return
            key = random.choice(keys)
            self.written.pop(key)
        with contextlib.suppress(Exception):
            s.client("s3").delete_object(Bucket="objects", Key=key)

    def check(self, s):
        client, seen = s.client("s3"), {}
        for page in client.get_paginator("list_objects_v2").paginate(Bucket="objects"):
            seen.update({o["Key"]: o for o in page.get("Contents", [])})
        lost = set(self.written) - set(seen)
        self.assertFalse(lost, "acknowledged and gone")
        for key, facts in seen.items():
            body = client.get_object(Bucket="objects", Key=key)["Body"].read()
            self.assertEqual(len(body), facts["Size"], key)
            if key == "same":
                self.assertGreaterEqual(int(body[:8]), self.last)
                self.assertEqual(body[8:], body_of(int(body[:8]), 50_000))
            elif key.startswith("multi/"):
                self.assertEqual(body, body_of(key, 5 * MB) + body_of(key + "x", 1000), key)
            else:
                self.assertEqual(body, body_of(key, len(body)), key)
                self.assertIn(key, self.maybe)
        return seen

    def files(self, s):
        return sum(len(names) for _, _, names in os.walk(s.dir / "files"))

    def test_kills_while_objects_are_written(self):
        with Server() as s:
            s.client("s3").create_bucket(Bucket="objects")
            with Background(lambda: self.put(s), threads=3), \
                    Background(lambda: self.overwrite(s)), \
                    Background(lambda: self.multipart(s), threads=1), \
                    Background(lambda: self.delete(s), threads=1):
                for _ in range(KILLS):
                    time.sleep(random.uniform(0.5, 1.5) * fault.SLOW)
                    s.kill_core()
            seen = self.check(s)
            print(f"{len(self.written)} acknowledged, {len(seen)} there")
            self.assertGreater(len(self.written), 30)
            for upload in s.client("s3").list_multipart_uploads(Bucket="objects").get("Uploads", []):
                s.client("s3").abort_multipart_upload(
                    Bucket="objects", Key=upload["Key"], UploadId=upload["UploadId"])
            # A start sweeps what nobody keeps: files of small objects one, of large ones two.
            s.kill_core()
            want = sum(2 if k.startswith("multi/") else o["Size"] > 0 for k, o in seen.items())
            s.wait_for(lambda: self.files(s) == want, "files that nobody keeps to go")

    def memory(self, s):
        for line in open(f"/proc/{s.core_pid()}/status"):
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmHWM")

    def test_large_upload_in_bounded_memory(self):
        size = 400 * MB
        with Server() as s:
            client = s.client("s3")
            client.create_bucket(Bucket="objects")
            client.put_object(Bucket="objects", Key="warm", Body=b"x" * MB)
            before = self.memory(s)
            path = s.data / "large"
            digest, piece = hashlib.md5(), os.urandom(MB)
            with open(path, "wb") as f:
                for i in range(size // MB):
                    one = i.to_bytes(8, "big") + piece[8:]
                    digest.update(one)
                    f.write(one)
            with open(path, "rb") as f:
                etag = client.put_object(Bucket="objects", Key="large", Body=f)["ETag"]
            self.assertEqual(etag, f'"{digest.hexdigest()}"')
            back = hashlib.md5()
            for chunk in client.get_object(Bucket="objects", Key="large")["Body"].iter_chunks(MB):
                back.update(chunk)
            self.assertEqual(back.hexdigest(), digest.hexdigest())
            grown = self.memory(s) - before
            print(f"{size >> 20} MB up and down, memory grew by {grown >> 10} kB")
            if not fault.SANITIZED:
                self.assertLess(grown, 16 * MB)
            path.unlink()

    def test_half_sent_uploads_leave_nothing(self):
        with Server() as s:
            client = s.client("s3")
            client.create_bucket(Bucket="objects")
            for i in range(10):
                url = client.generate_presigned_url(
                    "put_object", Params={"Bucket": "objects", "Key": f"half{i}"})
                head = [f"PUT {url.split(str(s.port), 1)[1]} HTTP/1.1",
                        f"Host: 127.0.0.1:{s.port}", f"Content-Length: {20 * MB}"]
                with socket.create_connection(("127.0.0.1", s.port)) as c:
                    c.sendall(("\r\n".join(head) + "\r\n\r\n").encode())
                    with contextlib.suppress(OSError):
                        c.sendall(os.urandom(i * MB))
            s.wait_for(lambda: self.files(s) == 0, "half-sent uploads to go")
            self.assertNotIn("Contents", client.list_objects_v2(Bucket="objects"))
            client.put_object(Bucket="objects", Key="k", Body=b"whole")
            self.assertEqual(client.get_object(Bucket="objects", Key="k")["Body"].read(), b"whole")

    def test_full_disk_midway(self):
        with test_disk.Disk.small(self, 128, "ext4") as s:
            client = s.client("s3")
            client.create_bucket(Bucket="objects")
            client.put_object(Bucket="objects", Key="before", Body=b"before" * 1000)
            upload = client.create_multipart_upload(Bucket="objects", Key="k")["UploadId"]
            part = {"Bucket": "objects", "Key": "k", "UploadId": upload}
            done, body = [], os.urandom(8 * MB)
            with self.assertRaises(botocore.exceptions.ClientError) as caught:
                for i in range(1, 40):
                    etag = client.upload_part(**part, PartNumber=i, Body=body)["ETag"]
                    done.append({"PartNumber": i, "ETag": etag})
            self.assertIn("no space left", str(caught.exception))
            self.assertGreater(len(done), 3)
            self.assertEqual(
                client.get_object(Bucket="objects", Key="before")["Body"].read(), b"before" * 1000)
            kept = client.list_parts(**part)["Parts"]
            self.assertEqual([p["ETag"] for p in kept], [d["ETag"] for d in done])
            # What was acknowledged is an object all the same; deleting it makes room again.
            client.complete_multipart_upload(**part, MultipartUpload={"Parts": done})
            back = client.get_object(Bucket="objects", Key="k")["Body"].read()
            self.assertEqual(back, body * len(done))
            client.delete_object(Bucket="objects", Key="k")
            s.wait_for(lambda: self.files(s) == 1, "its files to go")
            for i in range(3):
                client.put_object(Bucket="objects", Key=f"after{i}", Body=body)
            self.assertEqual(
                client.get_object(Bucket="objects", Key="after2")["Body"].read(), body)


if __name__ == "__main__":
    fault.main()
