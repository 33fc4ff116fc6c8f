#!/usr/bin/env python3
"""Refuse includes that go up the layers.

One table of allowed edges: a folder may include its own headers and those of the folders named
here. A header called *_int.h stays in its folder. Exit 1 and one line an offence.
"""
import pathlib
import re
import sys

BASE = {"base"}
LOOP = BASE | {"loop"}
HTTP = LOOP | {"http"}
STORE = LOOP | {"store"}
LOGS = STORE | {"logs"}
METER = STORE | {"meter"}
SPAWN = LOOP | {"spawn", "init"}
AUTH = STORE | {"auth"}
BOX = SPAWN | LOGS | {"runtime"}
RUNTIME = HTTP
TARGET = STORE
INVOKE = BOX | RUNTIME | STORE | METER | TARGET | {"box", "target"}
AWS = HTTP | {"gen"}
IMAGE = SPAWN | STORE | {"docs", "http"}
SCHED = IMAGE | LOGS | METER | {"image", "http"}
SERVICE = INVOKE | AUTH | AWS | SCHED | {"invoke", "aws", "queue", "sched", "source"}
ALLOWED = {
    "base": set(),
    "loop": BASE,
    "http": LOOP,
    "store": LOOP,
    "queue": STORE,
    "logs": STORE,
    "meter": STORE,
    "spawn": LOOP,
    "aws": AWS,
    "auth": STORE | {"aws"},
    "docs": STORE | {"aws"},
    "runtime": RUNTIME,
    "box": BOX,
    "target": TARGET,
    "invoke": INVOKE,
    "service": SERVICE,
    "source": INVOKE | {"invoke", "queue", "target"},
    "attach": HTTP | {"http", "spawn"},
    "image": IMAGE,
    "sched": SCHED,
    "spawner": BASE | {"spawn/wire.h", "spawn/container_spec.h", "spawn/core_fds.h", "init/init.h"},
    "init": BASE,
    "pause": set(),
    "unpack": BASE | {"spawn/wire.h"},
    "core": SERVICE | {"service", "attach"},
    "cli": AWS | AUTH | {"aws", "attach/frame.h"},
}

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


def offences(root):
    for path in sorted((root / "src").rglob("*.[ch]")):
        parts = path.relative_to(root / "src").parts
        room = parts[0]
        for name in INCLUDE.findall(path.read_text()):
            folder = name.split("/")[0] if "/" in name else room
            own = folder == room
            if room == "service" and folder == "service":
                own = name.split("/")[1] == parts[1]
            if name.endswith("_int.h") and not (root / "src" / name).parent == path.parent:
                yield path, name, "belongs to another folder"
            elif not own and folder not in ALLOWED[room] and name not in ALLOWED[room]:
                yield path, name, "is above this layer"


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    found = 0
    for path, name, why in offences(root):
        print(f'{path.relative_to(root)}: "{name}" {why}')
        found += 1
    sys.exit(1 if found else 0)


main()
