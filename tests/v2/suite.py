#!/usr/bin/env python3
"""Runs tests of a meson build directory that cannot be written to, one after the other.

Usage: suite.py [NAME…]: names or beginnings of names; without, `places`, box- and fault-isolation. Time limits are TIMES those of
meson, for a machine that is emulated.
"""
import json
import os
import pathlib
import subprocess
import sys
import time

TIMES = 10
HERE = pathlib.Path(__file__).resolve().parent
BUILD = HERE.parents[1] / "build"
PLACES = {"name": "places", "cmd": ["/usr/bin/python3", "-B", str(HERE / "test_places.py")],
          "env": {"MAYFLY_BUILD": str(BUILD)}, "timeout": 60}


def run(test):
    """(ok, skipped, FAIL or late), and what it printed."""
    more = test["env"] | {"MAYFLY_SLOW": str(TIMES)}
    command = [c if os.path.exists(c) or "python3" not in c else sys.executable for c in test["cmd"]]
    try:
        done = subprocess.run(command, cwd=BUILD, env=os.environ | more, text=True, errors="replace",
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=test["timeout"] * TIMES)
    except subprocess.TimeoutExpired as late:
        return "late", (late.stdout or b"").decode(errors="replace")
    return {0: "ok", 77: "skipped"}.get(done.returncode, "FAIL"), done.stdout


def main():
    wanted = tuple(sys.argv[1:]) or ("places", "box-", "fault-isolation")
    tests = json.loads((BUILD / "meson-info/intro-tests.json").read_text())
    tests = [t for t in [PLACES, *tests] if t["name"].startswith(wanted)]
    count = {}
    for test in tests:
        start = time.monotonic()
        result, text = run(test)
        count[result] = count.get(result, 0) + 1
        print(f"{result:8}{test['name']} ({time.monotonic() - start:.0f} s)", flush=True)
        if result != "ok":
            print(text[-6000:], flush=True)
    print(", ".join(f"{n} {result}" for result, n in count.items()) or "no such test")
    sys.exit(0 if count.get("ok") and set(count) <= {"ok", "skipped"} else 1)


main()
