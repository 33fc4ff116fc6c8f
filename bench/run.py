"""The benchmark table: every row a ratio of ours to a peer, measured in interleaved rounds.

Absolute times depend on the machine; ratios travel. Usage: bench/run.sh [--rounds N] [--write]
[ROW…]; --write keeps the table in docs/benchmarks.md.
"""
import argparse
import datetime
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import lab
from lab import ROWS, median, row

# ---- warm ----

def warm_pairs(runtime, files, rounds, connections):
    ratios, notes = [], []
    with lab.Server() as server, lab.NodeServer() as plain:
        ident = server.function("warm", runtime, files)
        url = f"{server.url}/_mayfly/url/{ident}/"
        lab.wrk(url, 1, 1)  # one box; a cold burst would start one for each connection
        lab.wrk(url, connections, 1)
        lab.wrk(plain.url, connections, 1)
        core = server.core_pid()
        for i in range(rounds):
            if i % 2:
                theirs = lab.wrk(plain.url, connections, 1)
            before = lab.cpu_us(core)
            ours = lab.wrk(url, connections, 1)
            cpu = (lab.cpu_us(core) - before) / ours[0]
            if not i % 2:
                theirs = lab.wrk(plain.url, connections, 1)
            ratios.append((ours, theirs))
            notes.append(cpu)
        print(f"  environments: {server.status()['environments']}", file=sys.stderr)
    return ratios, notes


@row("warm-node", ">= 0.85", "warm invokes/s, node hello, one box, 32 connections ÷ plain node http")
def warm_node(rounds):
    pairs, cpu = warm_pairs("nodejs20.x", lab.NODE_HELLO, max(rounds, 13), 32)
    warm_node.cpu = cpu
    return [a[0] / b[0] for a, b in pairs], f"{median(a[0] for a, _ in pairs):,.0f}/s"


@row("warm-cpu", "<= 20", "CPU µs of core per warm invoke, 32 connections, logs and metering included")
def warm_cpu(rounds):
    cpu = getattr(warm_node, "cpu", None)
    if not cpu:
        _, cpu = warm_pairs("nodejs20.x", lab.NODE_HELLO, rounds, 32)
    return cpu, "µs, not a ratio"


@row("warm-python", ">= 0.75", "the same as warm-node, python hello")
def warm_python(rounds):
    pairs, _ = warm_pairs("python3.11", lab.PYTHON_HELLO, max(rounds, 13), 32)
    return [a[0] / b[0] for a, b in pairs], f"{median(a[0] for a, _ in pairs):,.0f}/s"


@row("warm-p50", "<= 1.4", "warm p50 with one connection ÷ plain node http")
def warm_p50(rounds):
    pairs, _ = warm_pairs("nodejs20.x", lab.NODE_HELLO, max(rounds, 13), 1)
    return [a[1] / b[1] for a, b in pairs], f"{median(a[1] for a, _ in pairs):.0f} µs"


# ---- cold ----

def cold(server, runtime, files, rounds, peer, pooled):
    """Each round: a function never invoked before, and the peer."""
    idents = [server.function(f"cold{i}", runtime, files) for i in range(rounds + 1)]
    ours, ratios = [], []
    for i, ident in enumerate(idents):
        if pooled:
            server.wait_pool(pooled)
            time.sleep(0.1)
        took = lab.get(server.port, f"/_mayfly/url/{ident}/")
        if i == 0:
            continue  # first touch of files
        ours.append(took)
        ratios.append(took / peer())
    return ratios, f"{median(ours):.1f} ms"


PYTHON_START = ["/usr/bin/python3", "-I", "-c", "import json,http.client"]


@row("cold-node", "<= 0.2", "cold start node hello, pool warm ÷ plain node start to first response")
def cold_node(rounds):
    with lab.Server() as server:
        return cold(server, "nodejs20.x", lab.NODE_HELLO, max(rounds, 9),
                    lab.node_first_response_ms, 3)


@row("cold-python", "<= 0.2", "cold start python, pool warm ÷ python3 -I -c 'import json,http.client'")
def cold_python(rounds):
    with lab.Server() as server:
        return cold(server, "python3.11", lab.PYTHON_HELLO, max(rounds, 9),
                    lambda: lab.run_ms(PYTHON_START), 3)


@row("cold-node-empty", "<= 1.2", "the same with the pool empty, node")
def cold_node_empty(rounds):
    with lab.Server("--pool-memory", "0") as server:
        return cold(server, "nodejs20.x", lab.NODE_HELLO, max(rounds, 9),
                    lab.node_first_response_ms, 0)


@row("cold-python-empty", "<= 1.2", "the same with the pool empty, python")
def cold_python_empty(rounds):
    with lab.Server("--pool-memory", "0") as server:
        return cold(server, "python3.11", lab.PYTHON_HELLO, max(rounds, 9),
                    lambda: lab.run_ms(PYTHON_START), 0)


def exit_binary(directory):
    """A static program that does nothing, for crun."""
    source = pathlib.Path(directory) / "exit.c"
    source.write_text("int main(void) { return 0; }\n")
    subprocess.run(["cc", "-O2", "-static", "-o", source.with_suffix(""), source], check=True)
    return source.with_suffix("")


@row("cold-c", "<= 0.25", "cold start static C bootstrap ÷ crun run of a static binary")
def cold_c(rounds):
    with tempfile.TemporaryDirectory() as directory, lab.Server() as server:
        crun = lab.Crun(exit_binary(directory))
        try:
            return cold(server, "provided.al2023", lab.c_hello(), max(rounds, 9),
                        lambda: crun.run_ms()[0], 3)
        finally:
            crun.close()


@row("burst", ">= 5", "boxes started per second, burst of 200, C bootstrap ÷ sequential crun run")
def burst(rounds):
    ratios, rates = [], []
    with tempfile.TemporaryDirectory() as directory:
        crun = lab.Crun(exit_binary(directory))
        for i in range(max(3, rounds)):
            with lab.Server("--concurrency", "2000") as server:
                ident = server.function("burst", "provided.al2023", lab.c_hello(), memory=128,
                                        environment={"HELLO_DELAY_MS": "2000"})
                took = burst_once(server, ident, 200)
                theirs = 1e3 / median(crun.run_ms(10))
                rates.append(200 / took)
                ratios.append(200 / took / theirs)
        crun.close()
    return ratios, f"{median(rates):.0f} boxes/s"


def burst_once(server, ident, count):
    """All requests are in before the first answer: the function waits 2 s, so that every request
    needs a box of its own. Time: until the last box has begun to run."""
    import socket
    sockets = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(count)]
    request = (f"GET /_mayfly/url/{ident}/ HTTP/1.1\r\nHost: x\r\n\r\n").encode()
    start = time.perf_counter()
    for s in sockets:
        s.sendall(request)
    for s in sockets:
        if b" 200 " not in s.recv(65536):
            raise RuntimeError("burst: not 200")
    took = time.perf_counter() - start - 2.0
    for s in sockets:
        s.close()
    return took


# ---- idle ----

def available_kb():
    for line in open("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1])
    raise RuntimeError("no MemAvailable")


@row("idle-c", "<= 0.6", "idle C box, MB of all memory including the kernel's")
def idle_c(rounds):
    values = []
    count = 200
    for _ in range(max(3, min(rounds, 5))):
        with lab.Server("--pool-memory", "0", "--concurrency", "2000") as server:
            ident = server.function("idle", "provided.al2023", lab.c_hello(), memory=128,
                                    environment={"HELLO_DELAY_MS": "2000"})
            lab.get(server.port, f"/_mayfly/url/{ident}/")
            time.sleep(1)
            before = available_kb()
            burst_once(server, ident, count)
            time.sleep(1)
            boxes = server.status()["boxes"]
            values.append((before - available_kb()) / 1024 / (boxes - 1))
    return values, "MB, not a ratio"


# ---- durable ----

def fdatasync_rate(directory, seconds=1.0):
    """512-byte writes into a preallocated file, each followed by fdatasync."""
    path = os.path.join(directory, "raw")
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.write(fd, b"\0" * (16 << 20))
    os.fsync(fd)
    data, count, at = b"x" * 512, 0, 0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        os.pwrite(fd, data, at)
        os.fdatasync(fd)
        at = (at + 512) % (16 << 20)
        count += 1
    os.close(fd)
    os.unlink(path)
    return count / seconds


def replay_script(directory, method, headers, body=""):
    path = pathlib.Path(directory) / f"replay-{method}.lua"
    lines = [f'wrk.method = "{method}"', f'wrk.body = "{body}"']
    lines += [f'wrk.headers["{k}"] = "{v}"' for k, v in headers.items()]
    path.write_text("\n".join(lines))
    return str(path)


@row("events", ">= 3", "Event invokes accepted/s, 32 connections, on disk before 202 ÷ raw fdatasync/s")
def events(rounds):
    ratios, rates = [], []
    with lab.Server() as server, tempfile.TemporaryDirectory(dir=server.data) as directory:
        server.function("event", "nodejs20.x", lab.NODE_HELLO, url=False)
        path = "/2015-03-31/functions/event/invocations"
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials
        request = AWSRequest("POST", server.url + path, data=b"{}",
                             headers={"X-Amz-Invocation-Type": "Event"})
        SigV4Auth(Credentials(server.keys["aws_access_key_id"],
                              server.keys["aws_secret_access_key"]), "lambda",
                  "us-east-1").add_auth(request)
        script = replay_script(directory, "POST", dict(request.headers), "{}")
        for _ in range(max(rounds, 5)):
            raw = fdatasync_rate(directory)
            rate, _ = lab.wrk(server.url + path, 32, 1, script=script)
            rates.append(rate)
            ratios.append(rate / raw)
            while server.status()["events"]:
                time.sleep(0.2)
    return ratios, f"{median(rates):,.0f}/s"


@row("event-entered", "<= 5", "ms from an Event invoke accepted to the handler entered, warm, p50")
def event_entered(rounds):
    import json
    with lab.Server() as server:
        server.function("event", "nodejs20.x", queues.ENTERED, url=False)
        client = server.client("lambda")

        def send(name):
            client.invoke(FunctionName="event", InvocationType="Event",
                          Payload=json.dumps({"name": name}))
        values = queues.latencies(server, "event", send, 40 * max(rounds, 3), True)
    return values, "ms, not a ratio"


def signed_post(server, path, **headers):
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
    request = AWSRequest("POST", server.url + path, data=b"{}", headers=headers)
    SigV4Auth(Credentials(server.keys["aws_access_key_id"], server.keys["aws_secret_access_key"]),
              "lambda", "us-east-1").add_auth(request)
    return dict(request.headers)


@row("events-done", ">= 0.5", "Event invokes run to completion/s, node hello ÷ warm synchronous "
     "invokes/s, 32 connections each")
def events_done(rounds):
    ratios, rates = [], []
    with lab.Server() as server, tempfile.TemporaryDirectory(dir=server.data) as directory:
        server.function("event", "nodejs20.x", lab.NODE_HELLO, url=False)
        path = "/2015-03-31/functions/event/invocations"
        for _ in range(max(rounds, 5)):
            script = replay_script(directory, "POST", signed_post(server, path), "{}")
            warm, _ = lab.wrk(server.url + path, 32, 1, script=script)
            script = replay_script(directory, "POST", signed_post(
                server, path, **{"X-Amz-Invocation-Type": "Event"}), "{}")
            before, start = server.status()["invocations"], time.perf_counter()
            lab.wrk(server.url + path, 32, 1, script=script)
            # Those beyond what runs at once are on disk only; the count tells when they are done.
            count, last = before, time.perf_counter()
            while time.perf_counter() - last < 0.7:
                now = server.status()["invocations"]
                if now != count:
                    count, last = now, time.perf_counter()
                time.sleep(0.02)
            rates.append((count - before) / (last - start))
            ratios.append(rates[-1] / warm)
    return ratios, f"{median(rates):,.0f}/s"


@row("get-function", ">= 5000", "GetFunction per second over one raw keep-alive connection")
def get_function(rounds):
    rates = []
    with lab.Server() as server, tempfile.TemporaryDirectory() as directory:
        server.function("get", "nodejs20.x", lab.NODE_HELLO, url=False)
        path = "/2015-03-31/functions/get"
        script = replay_script(directory, "GET", server.signed("GET", path))
        for _ in range(max(rounds, 5)):
            rates.append(lab.wrk(server.url + path, 1, 1, script=script)[0])
    return rates, "per second, not a ratio"


import queues  # noqa: E402  further rows, in the order of the table
import storage  # noqa: E402
import containers  # noqa: E402,F401
import images  # noqa: E402,F401


# ---- the table ----

def verdict(value, goal):
    sign, number = goal.split()
    return value >= float(number) if sign == ">=" else value <= float(number)


def table(results):
    lines = ["| row | measure | goal | median [min – max] | n | | met |",
             "| --- | --- | --- | --- | --- | --- | --- |"]
    for name, goal, what, values, note in results:
        if values is None:
            lines.append(f"| {name} | {what} | {goal} | failed: {note} | | | no |")
            continue
        value = median(values)
        lines.append(f"| {name} | {what} | {goal} | {value:,.2f} [{min(values):,.2f} – "
                     f"{max(values):,.2f}] | {len(values)} | {note} | "
                     f"{'yes' if verdict(value, goal) else 'no'} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="keep the table in docs/benchmarks.md")
    parser.add_argument("rows", nargs="*", help="only these rows")
    options = parser.parse_args()
    results = []
    for name, goal, what, function in ROWS:
        if options.rows and name not in options.rows:
            continue
        print(f"… {name}", file=sys.stderr, flush=True)
        try:
            values, note = function(options.rounds)
        except Exception as error:  # one row that fails must not cost the others
            values, note = None, str(error).splitlines()[-1][:120] if str(error) else repr(error)
        results.append((name, goal, what, values, note))
        print(table(results[-1:]).splitlines()[-1], flush=True)
    text = table(results)
    print("\n" + text)
    if options.write:
        path = lab.ROOT / "docs" / "benchmarks.md"
        head, _, rest = path.read_text().partition("<!-- table -->")
        said = rest[rest.index("\n## "):] if "\n## " in rest else "\n"
        when = datetime.date.today().isoformat()
        path.write_text(f"{head}<!-- table -->\nMeasured {when}, {os.cpu_count()} CPUs, "
                        f"kernel {os.uname().release.split('-')[0]}.\n\n{text}\n{said}")


if __name__ == "__main__":
    main()
