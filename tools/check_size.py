#!/usr/bin/env python3
"""Check the size limits of functions and files in src/.

A function starts at a line in column 0 that ends in ')' followed by a line '{' (the layout that
clang-format enforces) and ends at '}' in column 0. Limits: functions 100 lines, 60 in spawner/
and init/, median 20, 95th percentile 70; files 1,000 lines.
"""
import pathlib
import statistics
import sys

STRICT = {"spawner", "init"}


def functions(lines):
    start = None
    for number, line in enumerate(lines, 1):
        if line == "{" and start is None:
            start = number
        elif line.startswith("}") and start is not None:
            yield start, number - start + 1
            start = None


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    sizes, bad = [], 0
    for path in sorted((root / "src").rglob("*.[ch]")):
        lines = path.read_text().splitlines()
        name = path.relative_to(root)
        limit = 60 if path.relative_to(root / "src").parts[0] in STRICT else 100
        if len(lines) > 1000:
            print(f"{name}: {len(lines)} lines, the limit is 1000")
            bad += 1
        for start, size in functions(lines):
            sizes.append(size)
            if size > limit:
                print(f"{name}:{start}: function of {size} lines, the limit is {limit}")
                bad += 1
    sizes.sort()
    median, p95 = statistics.median(sizes), sizes[int(len(sizes) * 0.95)]
    if median > 20 or p95 > 70:
        print(f"functions: median {median} (limit 20), 95th percentile {p95} (limit 70)")
        bad += 1
    sys.exit(1 if bad else 0)


main()
