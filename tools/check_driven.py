#!/usr/bin/env python3
"""Refuse an operation that no test drives as its users do: by the AWS SDK for JavaScript, and by
Debian's AWS CLI if that knows it.

Reads, does not run, tests/api and tests/containers. What counts, in a file that imports the client:
`new NS.XCommand(`, a named import XCommand, 'X' where the file builds `${name}Command`, paginateX.
By the CLI: 'SERVICE', 'x' as words in a row, or 'x' as first word of a helper that was defined as
`const helper = (...words) => aws(server, ['SERVICE', ...words])`; a first word in `for (const …)`
lists does not count. Prints what is missing; exit 1 if anything is.
"""
import json
import pathlib
import re
import sys

sys.dont_write_bytecode = True
import coverage  # noqa: E402

ROOT = coverage.ROOT
CLIENTS = {"logs": "cloudwatch-logs", "secretsmanager": "secrets-manager"}
WORDS = {"s3": "s3api"}
CLI_DATA = pathlib.Path("/usr/lib/python3/dist-packages/awscli/botocore/data")
HIGH_LEVEL = ("cp", "mv", "sync", "rm", "mb", "rb", "ls", "presign")


def kebab(name):
    """As botocore names commands: ListObjectsV2 is list-objects-v2."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1-\2", name.replace("V2", "-v2"))
    return re.sub(r"([a-z0-9])([A-Z])", r"\1-\2", name).replace("--", "-").lower()


def namespaces(text, shared):
    """Names by which this file knows a client's module, as {name: client}."""
    found = {name: client for name, client in
             re.findall(r"import \* as (\w+) from '@aws-sdk/client-([\w-]+)'", text)}
    for names in re.findall(r"import \{([^}]*)\} from '\./rig\.mjs'", text):
        found |= {n: shared[n] for n in re.findall(r"\w+", names) if n in shared}
    return found


def by_sdk(text, shared):
    """(client, operation) pairs that this file drives."""
    for names, client in re.findall(r"import \{([^}]*)\} from '@aws-sdk/client-([\w-]+)'", text):
        for name in re.findall(r"(\w+)Command\b", names):
            if len(re.findall(rf"\b{name}Command\b", text)) > 1:
                yield client, name
    for name, client in namespaces(text, shared).items():
        for op in re.findall(rf"\b{name}\.(\w+)Command\b", text):
            yield client, op
        for op in re.findall(rf"\b{name}\.paginate(\w+)\b", text):
            yield client, op
        if re.search(rf"\b{name}\[`\$\{{\w+\}}Command`\]", text):
            for op in re.findall(r"'([A-Z]\w+)'", text):
                yield client, op


def by_cli(text):
    """(service word, command) pairs that this file drives."""
    yield from re.findall(r"\['([a-z0-9]+)',\s*'([a-z0-9-]+)'", text)
    for helper, service in re.findall(
            r"(\w+) = \(\.\.\.words\) => aws\(\w[\w.]*, \['([a-z0-9]+)', \.\.\.words\]", text):
        for command in re.findall(rf"\b{helper}\(\s*'([a-z0-9-]+)'", text):
            yield service, command


def driven():
    shared = dict(re.findall(r"export const (\w+) = require\('@aws-sdk/client-([\w-]+)'\)",
                             (ROOT / "tests/containers/rig.mjs").read_text()))
    sdk, cli = set(), set()
    for path in sorted((ROOT / "tests").glob("*/*.test.mjs")):
        text = path.read_text()
        sdk |= set(by_sdk(text, shared))
        cli |= set(by_cli(text))
    return sdk, cli


def known_to_cli(service):
    """Operations in the model that Debian's CLI makes its commands of."""
    for path in sorted(CLI_DATA.glob(f"{service}/*/service-2.json")):
        return set(json.loads(path.read_text())["operations"])
    return set()


def main():
    sdk, cli = driven()
    holes = []
    if not CLI_DATA.exists():
        print("awscli of Debian is not installed: what it would have to drive is not known", file=sys.stderr)
    for service, _, done, refused, _ in coverage.services():
        known = known_to_cli(service)
        client, word = CLIENTS.get(service, service), WORDS.get(service, service)
        no_sdk = [op for op in done + refused if (client, op) not in sdk]
        no_cli = [op for op in done if op in known and (word, kebab(op)) not in cli]
        holes += [(service, "SDK", no_sdk), (service, "CLI", no_cli)]
    holes.append(("s3", "aws s3", [verb for verb in HIGH_LEVEL if ("s3", verb) not in cli]))
    for service, what, missing in holes:
        if missing:
            print(f"{service:14} {what:6} {len(missing):3} not driven: " + ", ".join(missing))
    sys.exit(1 if any(missing for _, _, missing in holes) else 0)


main()
