"""Rows of pulling images, against docker and skopeo with umoci, from one registry on loopback.

Each round has an image of its own that nobody has seen, of two layers of about 100 MB; everybody
gets it and unpacks it once, with nothing left to be written of whoever came before.
"""
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import lab
from containers import Docker, Registry
from lab import median, row

LAYERS = 2


def layer_tree(directory):
    """About 100 MB compressed, twice that unpacked: small files and large ones."""
    for i in range(1500):
        sub = pathlib.Path(directory) / f"usr/lib/d{i % 83}"
        sub.mkdir(parents=True, exist_ok=True)
        noise = os.urandom(66_000)
        (sub / f"f{i}").write_bytes(noise + noise[:33_000] * 2)
        (sub / f"s{i}").write_bytes(os.urandom(1200))
    return directory


def fresh(registry, directory, name):
    """The trees stay: removing thousands of files slows down who makes some just after it."""
    trees = []
    for i in range(LAYERS):
        tree = pathlib.Path(directory) / name / str(i)
        tree.mkdir(parents=True)
        trees.append(layer_tree(tree))
    return registry.push(trees, name)


def timed(work):
    os.sync()
    start = time.monotonic()
    work()
    return time.monotonic() - start


def pull(server, image):
    environment = {"PATH": os.environ["PATH"], "AWS_ENDPOINT_URL": server.url,
                   "AWS_ACCESS_KEY_ID": server.keys["aws_access_key_id"],
                   "AWS_SECRET_ACCESS_KEY": server.keys["aws_secret_access_key"]}
    subprocess.run([lab.BUILD / "mayfly", "pull", image], check=True, env=environment,
                   stdout=subprocess.DEVNULL)


def rounds_of(rounds, peer):
    ratios, ours = [], []
    with (tempfile.TemporaryDirectory() as directory, Registry() as registry,
          lab.Server() as server):
        for i in range(max(rounds, 3)):
            image = fresh(registry, directory, f"round{i}")
            if i % 2:
                theirs = timed(lambda: peer(image))
            ours.append(timed(lambda: pull(server, image)))
            if not i % 2:
                theirs = timed(lambda: peer(image))
            ratios.append(ours[-1] / theirs)
    return ratios, f"{median(ours):.2f} s"


@row("pull-docker", "<= 0.35", "pulling and unpacking an image of 2 × 100 MB ÷ docker pull")
def pull_docker(rounds):
    with Docker() as docker:
        return rounds_of(rounds, lambda image: docker.call("pull", image))


@row("pull-skopeo", "<= 0.5", "the same ÷ skopeo copy and umoci unpack")
def pull_skopeo(rounds):
    directory = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-skopeo-"))

    def peer(image):
        name = image.rsplit("/", 1)[1].split(":")[0]
        subprocess.run(["skopeo", "copy", "--insecure-policy", "--src-tls-verify=false", f"docker://{image}",
                        f"oci:{directory}/{name}:x"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["umoci", "unpack", "--image", f"{directory}/{name}:x", f"{directory}/{name}-out"],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return rounds_of(rounds, peer)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
