#!/usr/bin/python3
"""Write docs/compatibility.md: which operations of each service this tree answers.

    coverage.py [--check]

An operation is there when src/service/ defines its handler; the models say what there could be.
--check writes nothing and exits 1 when the file is not up to date.
"""
import importlib.util
import pathlib
import re
import sys

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parent.parent
TITLES = {"lambda": "AWS Lambda", "logs": "CloudWatch Logs", "sts": "Security Token Service",
          "iam": "Identity and Access Management"}
HEAD = """# Compatibility

Written by `tools/coverage.py` from `model/` and the handlers in `src/service/`: do not edit.

An operation listed as answered decodes, validates and encodes everything its model has; reading what
a bucket does not have here answers as AWS does for a bucket without it. Some ask for what is not there
and are refused in words. Any other operation gets AWS's own error for an unknown operation.

Tests drive each operation by the AWS SDK for JavaScript v3, and by Debian's AWS CLI (2.9) where that
knows it; `tools/check_driven.py` refuses one that they do not.

| service | protocol | answered | of |
| --- | --- | ---: | ---: |
"""


def apigen():
    spec = importlib.util.spec_from_file_location("apigen", ROOT / "tools" / "apigen.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def made_by_macros(text):
    """Handlers that macros of this file make, as name -> macro: FIXED(thing, …) for
    `#define FIXED(function, …) int s3_get_##function(struct call *…`."""
    made = {}
    for macro, argument, body in re.findall(
            r"^#define (\w+)\((\w+)[^)]*\)((?:.*\\\n)+)", text, re.M):
        name = re.search(rf"int (\w+?)##{argument}\(\s*struct call \*", body)
        for value in re.findall(rf"^{macro}\(\s*(\w+)", text, re.M) if name else ():
            made[name[1] + value] = macro
    return made


def handlers():
    """Names of all functions defined with a handler's first argument, and of those among them
    that only refuse."""
    found, refusing = set(), set()
    for path in (ROOT / "src" / "service").rglob("*.c"):
        text = path.read_text()
        made = made_by_macros(text)
        found |= set(re.findall(r"^int (\w+)\(\s*struct call \*", text, re.M)) | made.keys()
        refusing |= {name for name, macro in made.items() if macro.endswith("REFUSED")}
    return found, refusing


def services():
    """Of each service its name, its model, and the operations answered, refused and not known."""
    gen, (have, refusing) = apigen(), handlers()
    for path in sorted((ROOT / "model").glob("*.json")):
        if path.stem in ("errors", "limits", "wire"):
            continue
        model = gen.Model(path, ROOT / "model" / "limits.json")
        names = {op: f"{model.name}_{gen.snake(op)}" for op in model.operations}
        done = [op for op, name in names.items() if name in have - refusing]
        no = [op for op, name in names.items() if name in refusing]
        yield path.stem, model, done, no, [op for op in names if op not in done + no]


def report():
    table, sections = [], []
    for service, model, done, no, todo in services():
        names = done + no + todo
        title = TITLES.get(service, model.meta["serviceFullName"])
        table.append(f"| {title} | {model.meta['protocol']} | {len(done)} | {len(names)} |")
        sections += ["", f"## {title}", "", f"Answered ({len(done)}): " + (", ".join(done) or "none")
                     + "."]
        if no:
            sections += ["", f"Refused with NotImplemented ({len(no)}): " + ", ".join(no) + "."]
        sections += ["", f"Not answered ({len(todo)}): " + (", ".join(todo) or "none") + "."]
    return HEAD + "\n".join(table + sections) + "\n"


def main():
    target = ROOT / "docs" / "compatibility.md"
    text = report()
    if "--check" in sys.argv[1:]:
        if not target.exists() or target.read_text() != text:
            sys.exit("docs/compatibility.md is out of date: run tools/coverage.py")
        return
    target.write_text(text)


if __name__ == "__main__":
    main()
