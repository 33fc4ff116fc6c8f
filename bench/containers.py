"""Rows of containers, against crun, docker and skopeo with umoci; all inside a network namespace.

The first instruction of a container writes the monotonic clock, which is the same inside: what
counts is the time from before the request until then.
"""
import contextlib
import gzip
import hashlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import lab
from lab import median, row

CONTAINER_IDS = 1900200000  # root of containers, on the host (src/spawner/ids.h)
FIRST = r"""
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	printf("first %lld\n", t.tv_sec * 1000000000LL + t.tv_nsec);
	fflush(stdout);
	if (argc > 1)
		sleep((unsigned)atoi(argv[1]));
	return 0;
}
"""


def first_binary(directory):
    source = pathlib.Path(directory) / "first.c"
    source.write_text(FIRST)
    subprocess.run(["cc", "-O2", "-static", "-o", source.with_suffix(""), source], check=True)
    return source.with_suffix("")


def first_ns(text):
    return int(text.split("first ", 1)[1].split()[0])


class Registry:
    """Debian's docker-registry, for images that every peer pulls from."""

    def __enter__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-registry-"))
        self.port = lab.free_port()
        self.host = f"127.0.0.1:{self.port}"
        (self.dir / "config.yml").write_text(
            f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {self.dir}/data}}}}\n"
            f"http: {{addr: \"{self.host}\"}}\n")
        self.process = subprocess.Popen(["docker-registry", "serve", self.dir / "config.yml"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        lab.wait_port(self.port, self.process)
        return self

    def push(self, trees, name, arguments=()):
        """An image with a layer for each directory of `trees`; returns the reference."""
        layout = self.dir / name
        blobs = layout / "blobs" / "sha256"
        blobs.mkdir(parents=True)

        def blob(data, kind):
            digest = hashlib.sha256(data).hexdigest()
            (blobs / digest).write_bytes(data)
            return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}",
                    "size": len(data)}
        layers, ids = [], []
        for tree in trees:
            tar = subprocess.run(["tar", "-C", tree, "--owner=0", "--group=0", "-c", "."], check=True,
                                 capture_output=True).stdout
            ids.append("sha256:" + hashlib.sha256(tar).hexdigest())
            layers.append(blob(gzip.compress(tar, 6), "layer.v1.tar+gzip"))
        config = {"architecture": "amd64", "os": "linux", "config": {"Entrypoint": list(arguments)},
                  "rootfs": {"type": "layers", "diff_ids": ids}}
        manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "config": blob(json.dumps(config).encode(), "config.v1+json"), "layers": layers}
        entry = blob(json.dumps(manifest).encode(), "manifest.v1+json")
        (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
        (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        subprocess.run(["skopeo", "copy", "--insecure-policy", "--dest-tls-verify=false",
                        f"oci:{layout}", f"docker://{self.host}/{name}:latest"], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return f"{self.host}/{name}:latest"

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


class Docker:
    """dockerd by hand: own directories, own socket, own mounts; its bridge is in our namespace."""

    def __enter__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-docker-"))
        self.socket = f"unix://{self.dir}/socket"
        self.process = subprocess.Popen(
            ["unshare", "--mount", "dockerd", "--data-root", self.dir / "root", "--exec-root", self.dir / "exec",
             "-H", self.socket, "-p", self.dir / "pid", "--bip", "172.30.99.1/24",
             "--insecure-registry", "127.0.0.0/8"],
            stdout=subprocess.DEVNULL, stderr=open(self.dir / "log", "w"))
        deadline = time.time() + 30
        while subprocess.run(["/usr/bin/docker", "-H", self.socket, "info"], capture_output=True).returncode:
            if time.time() > deadline or self.process.poll() is not None:
                raise RuntimeError((self.dir / "log").read_text()[-2000:])
            time.sleep(0.1)
        return self

    def call(self, *arguments):
        return subprocess.run(["/usr/bin/docker", "-H", self.socket, *arguments], check=True,
                              capture_output=True, text=True).stdout

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        shutil.rmtree(self.dir, ignore_errors=True)


class Tasks:
    """RunTask by prepared requests, because clients in Python take longer than tasks."""

    def __init__(self, server, image, command=()):
        self.server = server
        self.ecs = server.client("ecs")
        self.logs = server.client("logs")
        self.logs.create_log_group(logGroupName="bench")
        self.families = 0
        self.image = image

    def define(self, *command, network="awsvpc"):
        self.families += 1
        name = f"bench{self.families}"
        self.ecs.register_task_definition(
            family=name, networkMode=network, containerDefinitions=[{
                "name": "first", "image": self.image, "memory": 16, "essential": True, "stopTimeout": 2,
                "command": list(command),
                "logConfiguration": {"logDriver": "awslogs", "options": {
                    "awslogs-group": "bench", "awslogs-region": "us-east-1",
                    "awslogs-stream-prefix": name}}}])
        return name

    def request(self, family, count=1):
        body = {"taskDefinition": family, "count": count, "cluster": "default",
                "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}}
        data = json.dumps(body).encode()
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials
        request = AWSRequest("POST", self.server.url + "/", data=data, headers={
            "X-Amz-Target": "AmazonEC2ContainerServiceV20141113.RunTask",
            "Content-Type": "application/x-amz-json-1.1"})
        keys = self.server.keys
        SigV4Auth(Credentials(keys["aws_access_key_id"], keys["aws_secret_access_key"]), "ecs",
                  "us-east-1").add_auth(request)
        return data, dict(request.headers)

    def post(self, connection, prepared):
        connection.request("POST", "/", *prepared)
        answer = json.load(connection.getresponse())
        if answer.get("failures") or not answer.get("tasks"):
            raise RuntimeError(str(answer)[:500])
        return [t["taskArn"] for t in answer["tasks"]]

    def said(self, family, arn, seconds=30):
        """Nanoseconds that the container of a task wrote."""
        stream = f"{family}/first/{arn.rsplit('/', 1)[1]}"
        deadline = time.time() + seconds
        while time.time() < deadline:
            with contextlib.suppress(self.logs.exceptions.ResourceNotFoundException):
                events = self.logs.get_log_events(logGroupName="bench", logStreamName=stream)["events"]
                if events:
                    return first_ns(events[0]["message"])
            time.sleep(0.01)
        raise RuntimeError(f"task {arn} said nothing: "
                           + str(self.ecs.describe_tasks(tasks=[arn])["tasks"])[:800])

    def start_ms(self, family):
        prepared = self.request(family)
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        start = time.monotonic_ns()
        [arn] = self.post(connection, prepared)
        connection.close()
        return (self.said(family, arn) - start) / 1e6

    def stop(self, arns):
        """Stop them and wait until they have stopped: a server that ends leaves tasks running."""
        for arn in arns:
            self.ecs.stop_task(task=arn)
        deadline = time.time() + 120
        while arns:
            seen = [t for i in range(0, len(arns), 100)
                    for t in self.ecs.describe_tasks(tasks=arns[i:i + 100])["tasks"]]
            arns = [t["taskArn"] for t in seen if t["lastStatus"] != "STOPPED"]
            if time.time() > deadline:
                raise RuntimeError(f"{len(arns)} tasks do not stop")
            time.sleep(0.2)


def config_of(tasks, arn):
    """The config.json of a running task's container: it is where its conmon sees it."""
    [task] = tasks.ecs.describe_tasks(tasks=[arn])["tasks"]
    mark = f"\0-c\0{task['containers'][0]['runtimeId']}\0".encode()
    for process in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit() and mark in (process / "cmdline").read_bytes():
                return json.loads((process / "root/run/bundle/config.json").read_text())
    raise RuntimeError("the task's conmon is not there")


def same_crun(tasks, binary):
    """crun with the configuration that a task of ours has: limits, capabilities, seccomp (compiled, as
    ours is), mounts, a user namespace. What is ours alone is replaced: paths, and namespaces, which
    are new ones. It has no address."""
    family = tasks.define("60")
    connection = http.client.HTTPConnection("127.0.0.1", tasks.server.port, timeout=30)
    [arn] = tasks.post(connection, tasks.request(family))
    connection.close()
    tasks.said(family, arn)
    spec = config_of(tasks, arn)
    tasks.stop([arn])
    crun = lab.Crun(binary)
    ids = [{"containerID": 0, "hostID": CONTAINER_IDS, "size": 65536}]
    spec["process"]["args"] = ["/run"]
    spec["root"]["path"] = "rootfs"
    spec["linux"].pop("cgroupsPath")
    spec["linux"]["resources"].pop("cpu", None)  # a share of its task's; here it would be of the host
    spec["linux"].update(uidMappings=ids, gidMappings=ids)
    for namespace in spec["linux"]["namespaces"]:
        namespace.pop("path", None)
    for i, mount in enumerate(m for m in spec["mounts"] if m["source"].startswith("/m/")):
        (crun.dir / f"m{i}").write_text("127.0.0.1 localhost\n")
        mount["source"] = str(crun.dir / f"m{i}")
    (crun.dir / "config.json").write_text(json.dumps(spec))
    crun.dir.chmod(0o755)
    for path in (crun.dir / "rootfs", crun.dir / "rootfs" / "run"):
        os.chown(path, CONTAINER_IDS, CONTAINER_IDS)
    return crun


def crun_first_ms(crun):
    """From before `crun run` to the first instruction."""
    script = "umount /sys/fs/cgroup/unified 2>/dev/null; read x; exec crun run mayfly-bench-first-%d" % os.getpid()
    process = subprocess.Popen(["unshare", "-m", "sh", "-c", script], cwd=crun.dir, text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    time.sleep(0.05)  # the shell waits: only crun counts
    start = time.monotonic_ns()
    out = process.communicate("\n")[0]
    if process.returncode:
        raise RuntimeError("crun failed")
    return (first_ns(out) - start) / 1e6


@contextlib.contextmanager
def stage(*options):
    with tempfile.TemporaryDirectory() as directory, Registry() as registry, lab.Server(*options) as server:
        tree = pathlib.Path(directory) / "first-tree"
        tree.mkdir()
        binary = first_binary(directory)
        shutil.copy(binary, tree / "first")
        image = registry.push([tree], "first", ["/first"])
        yield server, registry, image, binary


@row("task-docker", "<= 0.15", "RunTask to the first instruction, awsvpc, image local ÷ docker run")
def task_docker(rounds):
    ours, ratios = [], []
    with stage() as (server, _, image, _), Docker() as docker:
        tasks = Tasks(server, image)
        family = tasks.define()
        tasks.start_ms(family)
        docker.call("pull", image)
        docker.call("run", "--rm", image)
        for _ in range(max(rounds, 9)):
            time.sleep(0.3)
            ours.append(tasks.start_ms(family))
            time.sleep(0.3)
            start = time.monotonic_ns()
            theirs = (first_ns(docker.call("run", "--rm", image)) - start) / 1e6
            ratios.append(ours[-1] / theirs)
    return ratios, f"{median(ours):.1f} ms"


@row("task-crun", "<= 1.3", "the same ÷ crun run")
def task_crun(rounds):
    ours, ratios = [], []
    with stage() as (server, _, image, binary):
        tasks = Tasks(server, image)
        family = tasks.define()
        tasks.start_ms(family)
        crun = same_crun(tasks, binary)
        try:
            for _ in range(max(rounds, 13)):
                time.sleep(0.3)
                ours.append(tasks.start_ms(family))
                time.sleep(0.3)  # that task's network goes meanwhile, which would hold up crun
                ratios.append(ours[-1] / crun_first_ms(crun))
        finally:
            crun.close()
    return ratios, f"{median(ours):.1f} ms"


@row("tasks-100", "<= 1.1", "100 tasks asked for at once until the last runs ÷ 100 × crun run, one by one")
def tasks_100(rounds):
    took, ratios = [], []
    for _ in range(max(3, min(rounds, 5))):
        with stage() as (server, _, image, binary):
            tasks = Tasks(server, image)
            family = tasks.define("60")
            tasks.start_ms(tasks.define())
            crun = same_crun(tasks, binary)
            theirs = median(crun.run_ms(10)) * 100
            prepared = [tasks.request(family, 10) for _ in range(10)]
            connections = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=60) for _ in range(10)]
            arns = [[] for _ in range(10)]
            start = time.monotonic_ns()
            lab.in_parallel([lambda i=i: arns[i].extend(tasks.post(connections[i], prepared[i]))
                             for i in range(10)])
            last = max(tasks.said(family, arn, 120) for group in arns for arn in group)
            took.append((last - start) / 1e6)
            ratios.append(took[-1] / theirs)
            tasks.stop([arn for group in arns for arn in group])
            crun.close()
    return ratios, f"{median(took):,.0f} ms"


@row("tasks-idle", "<= 0.1", "% of a CPU that core uses with 100 sleeping tasks")
def tasks_idle(rounds):
    with stage() as (server, _, image, _):
        tasks = Tasks(server, image)
        family = tasks.define("300")
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        arns = [arn for _ in range(10) for arn in tasks.post(connection, tasks.request(family, 10))]
        for arn in arns:
            tasks.said(family, arn, 120)
        time.sleep(5)
        core, values = server.core_pid(), []
        for _ in range(max(rounds, 5)):
            before = lab.cpu_us(core)
            time.sleep(4)
            values.append((lab.cpu_us(core) - before) / 4e6 * 100)
        tasks.stop(arns)
    return values, "%, not a ratio"


def big_tree(directory, megabytes):
    """Files of many sizes, half of them compressible."""
    tree = pathlib.Path(directory) / "tree"
    for i in range(megabytes):
        sub = tree / f"usr/lib/d{i % 97}"
        sub.mkdir(parents=True, exist_ok=True)
        noise = os.urandom(4096) * 64
        for k, size in enumerate((4096, 16384, 65536, 131072, 262144, 570000)):
            data = (noise * 3)[:size] if k % 2 else os.urandom(size)
            (sub / f"f{i}-{k}").write_bytes(data)
    return tree


@row("image-function", "<= 1.2", "first invoke of a function from a 300 MB image, pulled before ÷ the same from a zip")
def image_function(rounds):
    ratios, ours = [], []
    rounds = max(rounds, 9)
    with tempfile.TemporaryDirectory() as directory, Registry() as registry, lab.Server() as server:
        tree = big_tree(directory, 300)
        (tree / "bootstrap").write_bytes(lab.c_hello()["bootstrap"])
        (tree / "bootstrap").chmod(0o755)
        image = registry.push([tree], "big", ["/bootstrap"])
        client = server.client()
        zips = [server.function(f"zip{i}", "provided.al2023", lab.c_hello()) for i in range(rounds + 1)]
        images = []
        for i in range(rounds + 1):
            client.create_function(FunctionName=f"image{i}", PackageType="Image", MemorySize=1769,
                                   Role="arn:aws:iam::123456789012:role/bench", Code={"ImageUri": image})
            server.wait_active(f"image{i}")
            images.append(server.public_url(f"image{i}"))
        for i in range(rounds + 1):
            server.wait_pool(3)
            time.sleep(0.1)
            theirs = lab.get(server.port, f"/_mayfly/url/{zips[i]}/")
            server.wait_pool(3)
            time.sleep(0.1)
            mine = lab.get(server.port, f"/_mayfly/url/{images[i]}/")
            if i:
                ours.append(mine)
                ratios.append(mine / theirs)
    return ratios, f"{median(ours):.1f} ms"
