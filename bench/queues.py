"""Rows of queues and of what they trigger: SQS against RabbitMQ, time until a handler is entered."""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import lab
from lab import median, row

RABBITMQ = pathlib.Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


class Rabbit:
    """Debian's RabbitMQ on loopback with a directory, a node name and an epmd of its own."""

    def __enter__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-rabbit-"))
        self.port, dist, epmd = lab.free_port(), lab.free_port(), lab.free_port()
        (self.dir / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\nlog.console.level = error\n")
        (self.dir / "plugins").write_text("[].")
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.dir), "LANG": "C.UTF-8",
            "RABBITMQ_NODENAME": "bench@localhost", "RABBITMQ_DIST_PORT": str(dist),
            "RABBITMQ_MNESIA_BASE": str(self.dir / "mnesia"), "RABBITMQ_LOG_BASE": str(self.dir),
            "RABBITMQ_CONFIG_FILE": str(self.dir / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.dir / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "ERL_EPMD_ADDRESS": "127.0.0.1", "ERL_EPMD_PORT": str(epmd),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS":
                "-kernel inet_dist_use_interface {127,0,0,1}",
        }
        # epmd in the foreground, so that it ends with us.
        self.epmd = subprocess.Popen(["epmd", "-address", "127.0.0.1", "-port", str(epmd)],
                                     env=environment)
        lab.wait_port(epmd, self.epmd)
        self.log = open(self.dir / "out", "w")
        self.process = subprocess.Popen([RABBITMQ], env=environment, cwd=self.dir,
                                        stdout=self.log, stderr=self.log, start_new_session=True)
        lab.wait_port(self.port, self.process, 90)
        time.sleep(2)
        return self

    def __exit__(self, *_):
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(60)
        self.epmd.terminate()
        self.epmd.wait()
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)


@row("sqs-cycles", ">= 1", "SQS send + receive + delete cycles/s, 32 clients, each durable ÷ RabbitMQ "
     "persistent with confirms and acks")
def sqs_cycles(rounds):
    ratios, rates = [], []
    with lab.Server() as server, Rabbit() as rabbit:
        url = server.client("sqs").create_queue(QueueName="bench")["QueueUrl"]
        ours = ("sqs", server.port, 32, 2, server.keys["aws_access_key_id"],
                server.keys["aws_secret_access_key"], url)
        theirs = ("rabbit", rabbit.port, 32, 2, "bench")
        for i in range(max(rounds, 7)):
            rate = {}
            for side in ((ours, theirs) if i % 2 else (theirs, ours)):
                rate[side[0]] = lab.load(*side)[0]
            rates.append(rate["sqs"])
            ratios.append(rate["sqs"] / rate["rabbit"])
    return ratios, f"{median(rates):,.0f}/s"


# ---- until a handler is entered ----

# The wall clock is the same inside a box and outside.
ENTERED = {"index.mjs": """
const clock = () => performance.timeOrigin + performance.now();
const name = (event) => event.Records ? (event.Records[0].s3?.object.key ?? event.Records[0].body)
    : event.name;
export const handler = async (event) => {
    const at = clock();
    console.log(`entered ${name(event)} ${at.toFixed(3)}`);
};
"""}


def entered(server, function, names):
    """Wall milliseconds at which the handler was entered, by name."""
    logs, found = server.client("logs"), {}
    deadline = time.time() + 30
    while len(found) < len(names) and time.time() < deadline:
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName=f"/aws/lambda/{function}", filterPattern="entered")
        for page in pages:
            for event in page["events"]:
                words = event["message"].split()
                words = words[words.index("entered"):]
                found[words[1]] = float(words[2])
        time.sleep(0.3)
    missing = [n for n in names if n not in found]
    if missing:
        raise RuntimeError(f"the handler never saw {missing[:3]}")
    return found


def latencies(server, function, send, count, acknowledged):
    """send(name) makes it happen. From its start, or from its end when `acknowledged`."""
    names = [f"n{i}" for i in range(count)]
    sent = {}
    for name in names:
        before = time.time() * 1e3
        send(name)
        sent[name] = time.time() * 1e3 if acknowledged else before
        time.sleep(0.02)
    found = entered(server, function, names)
    return [found[n] - sent[n] for n in names[5:]]


@row("s3-event", "<= 5", "ms from an upload acknowledged to the handler entered, warm, p50")
def s3_event(rounds):
    with lab.Server() as server:
        server.function("upload", "nodejs20.x", ENTERED, url=False)
        server.client().add_permission(
            FunctionName="upload", StatementId="s3", Action="lambda:InvokeFunction",
            Principal="s3.amazonaws.com", SourceArn="arn:aws:s3:::bench")
        s3 = server.client("s3")
        s3.create_bucket(Bucket="bench")
        s3.put_bucket_notification_configuration(
            Bucket="bench", NotificationConfiguration={"LambdaFunctionConfigurations": [{
                "LambdaFunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:upload",
                "Events": ["s3:ObjectCreated:*"]}]})
        values = latencies(server, "upload",
                           lambda n: s3.put_object(Bucket="bench", Key=n, Body=b"x" * 1000),
                           100, True)
    return values, "ms, not a ratio"


@row("sqs-event", "<= 10", "ms from SendMessage to the handler entered, batch 1, warm, p50")
def sqs_event(rounds):
    with lab.Server() as server:
        server.function("consume", "nodejs20.x", ENTERED, url=False)
        sqs = server.client("sqs")
        url = sqs.create_queue(QueueName="bench")["QueueUrl"]
        lam = server.client()
        mapping = lam.create_event_source_mapping(
            EventSourceArn="arn:aws:sqs:us-east-1:123456789012:bench", FunctionName="consume",
            BatchSize=1)
        while lam.get_event_source_mapping(UUID=mapping["UUID"])["State"] != "Enabled":
            time.sleep(0.1)
        values = latencies(server, "consume",
                           lambda n: sqs.send_message(QueueUrl=url, MessageBody=n), 100, False)
    return values, "ms, not a ratio"


@row("sqs-idle", "<= 0.5", "% of one CPU that core uses while a mapping waits at an empty "
     "queue")
def sqs_idle(rounds):
    values = []
    with lab.Server() as server:
        server.function("consume", "nodejs20.x", ENTERED, url=False)
        server.client("sqs").create_queue(QueueName="idle")
        server.client().create_event_source_mapping(
            EventSourceArn="arn:aws:sqs:us-east-1:123456789012:idle", FunctionName="consume")
        time.sleep(5)
        core = server.core_pid()
        for _ in range(max(rounds, 5)):
            before = lab.cpu_us(core)
            time.sleep(3)
            values.append((lab.cpu_us(core) - before) / 3e6 * 100)
    return values, "%, not a ratio"
