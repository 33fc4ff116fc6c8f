"""Rows of the S3 store, against nginx on the same disk."""
import contextlib
import pathlib
import shutil
import subprocess
import tempfile

import lab
from lab import median, row

SMALL, LARGE = 100_000, 100_000_000


class Nginx:
    """WebDAV PUT and static GET from a directory next to our data."""

    def __enter__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-nginx-"))
        self.dir.chmod(0o755)
        self.files = self.dir / "files"
        self.files.mkdir(mode=0o777)
        self.port = lab.free_port()
        temporary = "".join(
            f"{name}_temp_path {self.dir}/tmp;\n"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (self.dir / "conf").write_text(
            f"daemon off; worker_processes 1; user root; pid {self.dir}/pid;\n"
            f"error_log {self.dir}/log;\n"
            "events { worker_connections 256; }\n"
            f"http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;\n"
            f"{temporary}"
            f"server {{ listen 127.0.0.1:{self.port}; root {self.files};\n"
            "client_max_body_size 1g; location / { dav_methods PUT; create_full_put_path on; } } }\n")
        self.process = subprocess.Popen(["nginx", "-c", self.dir / "conf", "-e", self.dir / "log"])
        lab.wait_port(self.port, self.process)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


def raw(method, target, headers, body=b""):
    lines = [f"{method} {target} HTTP/1.1"] + [f"{k}: {v}" for k, v in headers.items()]
    if body or method == "PUT":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def s3_request(server, method, path, body=b""):
    """As the SDKs sign it; good for replay within a quarter of an hour."""
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
    request = AWSRequest(method, server.url + path, data=body,
                         headers={"Host": f"127.0.0.1:{server.port}"})
    keys = Credentials(server.keys["aws_access_key_id"], server.keys["aws_secret_access_key"])
    S3SigV4Auth(keys, "s3", "us-east-1").add_auth(request)
    return raw(method, path, dict(request.headers), body)


def write_list(directory, name, requests):
    """requests: (bytes, path to be fsynced or None)."""
    lines = []
    for i, (data, sync) in enumerate(requests):
        path = pathlib.Path(directory) / f"{name}-{i}"
        path.write_bytes(data)
        lines.append(f"{path} {sync}" if sync else str(path))
    listing = pathlib.Path(directory) / f"{name}.list"
    listing.write_text("\n".join(lines) + "\n")
    return listing


@contextlib.contextmanager
def stage():
    with lab.Server() as server, Nginx() as nginx, \
            tempfile.TemporaryDirectory(prefix="mayfly-load-") as directory:
        server.client("s3").create_bucket(Bucket="bench")
        yield server, nginx, directory


def compare(rounds, server, nginx, ours_list, theirs_list, connections, seconds):
    ratios, rates = [], []
    for i in range(rounds):
        sides = [(server.port, ours_list), (nginx.port, theirs_list)]
        rate = {}
        for port, listing in (sides if i % 2 else sides[::-1]):
            rate[port] = lab.load("http", port, connections, seconds, listing)[0]
        rates.append(rate[server.port])
        ratios.append(rate[server.port] / rate[nginx.port])
    return ratios, median(rates)


@row("s3-put", ">= 0.7", "PutObject 100 kB, on disk before 200, 8 connections ÷ nginx WebDAV PUT "
     "followed by fsync")
def s3_put(rounds):
    body = bytes(range(250)) * (SMALL // 250)
    with stage() as (server, nginx, directory):
        names = [f"put-{i}" for i in range(64)]
        ours = [(s3_request(server, "PUT", f"/bench/{n}", body), None) for n in names]
        theirs = [(raw("PUT", f"/{n}", {"Host": "x"}, body), nginx.files / n) for n in names]
        ratios, rate = compare(max(rounds, 7), server, nginx, write_list(directory, "o", ours),
                               write_list(directory, "t", theirs), 8, 2)
    return ratios, f"{rate:,.0f}/s"


def s3_get(rounds, size, connections, seconds):
    with stage() as (server, nginx, directory):
        body = bytes(range(250)) * (size // 250)
        server.client("s3").put_object(Bucket="bench", Key="get", Body=body)
        (nginx.files / "get").write_bytes(body)
        ours = write_list(directory, "o", [(s3_request(server, "GET", "/bench/get"), None)])
        theirs = write_list(directory, "t", [(raw("GET", "/get", {"Host": "x"}), None)])
        return compare(max(rounds, 7), server, nginx, ours, theirs, connections, seconds)


@row("s3-get", ">= 0.7", "GetObject 100 kB, 8 connections ÷ nginx static file")
def s3_get_small(rounds):
    ratios, rate = s3_get(rounds, SMALL, 8, 1)
    return ratios, f"{rate:,.0f}/s"


@row("s3-get-large", ">= 0.7", "GetObject 100 MB, 2 connections ÷ nginx static file")
def s3_get_large(rounds):
    ratios, rate = s3_get(rounds, LARGE, 2, 2)
    return ratios, f"{rate * LARGE / 1e9:,.1f} GB/s"


