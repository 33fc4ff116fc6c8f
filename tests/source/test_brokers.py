"""Mappings over brokers that are really there: librdkafka's own cluster and Debian's RabbitMQ, both
on loopback. Functions print the events they get; the tests read their logs."""
import base64
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "fault"))
import fault  # noqa: E402
from queues import Rabbit  # noqa: E402

HELPERS = pathlib.Path(os.environ["MAYFLY_HELPERS"])
SLOW = fault.SLOW

# Fails as long as its description says so.
PRINTS = {"index.py": '''
import json, os
def handler(event, context):
    print("EVENT " + json.dumps(event))
    if os.environ.get("FAIL"):
        raise ValueError("not today")
    if os.environ.get("SLEEP"):
        import time
        time.sleep(float(os.environ["SLEEP"]))
    if os.environ.get("ANSWER"):
        answer, os.environ["ANSWER"] = os.environ["ANSWER"], ""
        return json.loads(answer)
'''}


class Helper:
    """One of our small programs: a line in, a line out."""

    def __init__(self, *command):
        self.process = subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, bufsize=1)
        self.first = self.process.stdout.readline().strip()
        assert self.first, f"{command[0]} ended"

    def __call__(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        return int(self.process.stdout.readline())

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def text(data):
    return base64.b64decode(data).decode()


class Brokers(fault.unittest.TestCase):
    def make(self, name, **environment):
        self.server.create(name, PRINTS, timeout=10,
                           Environment={"Variables": {
                               k.upper(): v for k, v in environment.items()}})

    def set(self, name, **environment):
        lam = self.server.client()
        lam.update_function_configuration(FunctionName=name, Environment={
            "Variables": {k.upper(): v for k, v in environment.items()}})
        lam.get_waiter("function_updated_v2").wait(
            FunctionName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 400})

    def until(self, what, good, seconds=25):
        end = time.monotonic() + seconds * SLOW
        while True:
            value = what()
            if good(value):
                return value
            if time.monotonic() > end:
                self.fail(f"still {value!r}\n{self.server.text()[-3000:]}")
            time.sleep(0.1)

    def events(self, name):
        try:
            lines = self.server.logs(name)
        except self.server.client("logs").exceptions.ResourceNotFoundException:
            return []  # it has not run yet
        return [json.loads(line[6:]) for line in lines if line.startswith("EVENT ")]

    def state(self, uuid, wanted):
        lam = self.server.client()
        return self.until(lambda: lam.get_event_source_mapping(UUID=uuid),
                          lambda m: m["State"] == wanted)

    def gone(self, uuid):
        lam = self.server.client()
        lam.delete_event_source_mapping(UUID=uuid)
        self.assertLess(self.server.best_health(), 1)

        def there():
            try:
                return lam.get_event_source_mapping(UUID=uuid)["State"]
            except lam.exceptions.ResourceNotFoundException:
                return None
        self.until(there, lambda s: s is None)


class Kafka(Brokers):
    @classmethod
    def setUpClass(cls):
        cls.kafka = Helper(HELPERS / "kafka_mock")
        cls.server = fault.Server("--pool-each", "2")
        cls.server.__enter__()

    @classmethod
    def tearDownClass(cls):
        try:
            cls.server.__exit__()
        finally:
            cls.kafka.stop()

    def map(self, function, topic, **more):
        settings = {"StartingPosition": "TRIM_HORIZON", "MaximumBatchingWindowInSeconds": 0, **more}
        m = self.server.client().create_event_source_mapping(
            FunctionName=function, Topics=[topic], SelfManagedEventSource={
                "Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": [self.kafka.first]}}, **settings)
        self.state(m["UUID"], "Enabled")
        return m["UUID"]

    def values(self, name, topic):
        """By partition, all that was seen, in order."""
        found = {}
        for event in self.events(name):
            for lane, records in event["records"].items():
                found.setdefault(lane, []).extend(text(r["value"]) for r in records)
        return found

    def test_shape_and_commit(self):
        self.kafka("topic", "shape", 2)
        self.kafka("put", "shape", 0, "key", '{"a":1}')
        self.kafka("put", "shape", 1, "-", "plain")
        self.make("shape")
        uuid = self.map("shape", "shape", SelfManagedKafkaEventSourceConfig={
            "ConsumerGroupId": "shape-group"})
        self.until(lambda: self.values("shape", "shape"),
                   lambda v: sum(map(len, v.values())) == 2)
        lanes = {}
        for event in self.events("shape"):
            self.assertEqual(event["eventSource"], "SelfManagedKafka")
            self.assertEqual(event["bootstrapServers"], self.kafka.first)
            self.assertEqual(set(event), {"eventSource", "bootstrapServers", "records"})
            lanes.update(event["records"])
        first = lanes["shape-0"][0]
        self.assertLess(abs(first.pop("timestamp") - time.time() * 1000), 300_000)
        self.assertEqual(first, {
            "topic": "shape", "partition": 0, "offset": 0, "timestampType": "CREATE_TIME",
            "key": base64.b64encode(b"key").decode(),
            "value": base64.b64encode(b'{"a":1}').decode(), "headers": [{"kind": [104, 105]}]})
        second = lanes["shape-1"][0]
        self.assertEqual((second["offset"], text(second["value"]), second["headers"]),
                         (0, "plain", []))
        self.assertNotIn("key", second)
        self.until(lambda: self.kafka("committed", "shape-group", "shape", 0), lambda o: o == 1)
        m = self.server.client().get_event_source_mapping(UUID=uuid)
        self.assertEqual(m["LastProcessingResult"], "OK")
        self.assertEqual(m["SelfManagedKafkaEventSourceConfig"]["ConsumerGroupId"], "shape-group")
        self.assertEqual(m["BatchSize"], 100)
        self.gone(uuid)

    def test_filter_skips_and_commits(self):
        self.kafka("topic", "filter", 1)
        self.make("filter")
        uuid = self.map("filter", "filter", FilterCriteria={"Filters": [
            {"Pattern": '{"value":{"a":[1]}}'}]})
        for value in ('{"a":2}', '{"a":1}', "plain", '{"a":3}'):
            self.kafka("put", "filter", 0, "k", value)
        self.until(lambda: self.kafka("committed", uuid, "filter", 0), lambda o: o == 4)
        self.assertEqual(self.values("filter", "filter"), {"filter-0": ['{"a":1}']})
        self.gone(uuid)

    def test_failures_are_tried_again_in_order(self):
        self.kafka("topic", "again", 1)
        self.make("again", fail="1")
        uuid = self.map("again", "again", BatchSize=2)
        for i in range(5):
            self.kafka("put", "again", 0, "k", f"m{i}")
        self.until(lambda: len(self.events("again")), lambda n: n >= 2)
        self.assertIn(self.kafka("committed", uuid, "again", 0), (-1001, 0))
        m = self.server.client().get_event_source_mapping(UUID=uuid)
        self.assertEqual(m["LastProcessingResult"], "PROBLEM: Function call failed")
        self.set("again")
        self.until(lambda: self.kafka("committed", uuid, "again", 0), lambda o: o == 5, 60)
        seen = self.values("again", "again")["again-0"]
        self.assertEqual(list(dict.fromkeys(seen)), [f"m{i}" for i in range(5)])
        self.assertEqual(seen[-5:], [f"m{i}" for i in range(5)])
        self.gone(uuid)

    def test_partial_failure(self):
        self.kafka("topic", "part", 1)
        for i in range(4):
            self.kafka("put", "part", 0, "k", f"m{i}")
        self.make("part", answer=json.dumps({"batchItemFailures": [
            {"itemIdentifier": {"topic-partition": "part-0", "offset": 2}}]}))
        uuid = self.map("part", "part", MaximumBatchingWindowInSeconds=1,
                        FunctionResponseTypes=["ReportBatchItemFailures"])
        self.until(lambda: self.kafka("committed", uuid, "part", 0), lambda o: o == 4)
        self.assertEqual(self.values("part", "part")["part-0"],
                         ["m0", "m1", "m2", "m3", "m2", "m3"])
        self.gone(uuid)

    def test_core_killed_before_the_commit(self):
        self.kafka("topic", "kill", 1)
        self.make("kill", sleep="3")
        uuid = self.map("kill", "kill")
        self.kafka("put", "kill", 0, "k", "once or twice")
        self.until(lambda: self.events("kill"), bool)
        self.server.kill_core()
        self.set("kill")
        self.until(lambda: self.kafka("committed", uuid, "kill", 0), lambda o: o == 1, 60)
        self.assertIn("once or twice", self.values("kill", "kill")["kill-0"])
        self.gone(uuid)

    def test_latest_and_disable(self):
        self.kafka("topic", "late", 1)
        self.kafka("put", "late", 0, "k", "before")
        self.make("late")
        uuid = self.map("late", "late", StartingPosition="LATEST")
        self.until(lambda: self.kafka("committed", uuid, "late", 0), lambda o: o == 1)
        lam = self.server.client()
        lam.update_event_source_mapping(UUID=uuid, Enabled=False)
        self.state(uuid, "Disabled")
        self.kafka("put", "late", 0, "k", "while disabled")
        lam.update_event_source_mapping(UUID=uuid, Enabled=True)
        self.state(uuid, "Enabled")
        self.until(lambda: self.kafka("committed", uuid, "late", 0), lambda o: o == 2, 60)
        self.assertEqual(self.values("late", "late"), {"late-0": ["while disabled"]})
        self.gone(uuid)

    def test_what_is_wrong_is_refused(self):
        lam = self.server.client()
        self.make("wrong")
        good = {"FunctionName": "wrong", "Topics": ["topic"], "StartingPosition": "LATEST",
                "SelfManagedEventSource": {"Endpoints": {
                    "KAFKA_BOOTSTRAP_SERVERS": ["127.0.0.1:1"]}}}
        for change, words in (
                ({"StartingPosition": "AT_TIMESTAMP"}, "StartingPositionTimestamp"),
                ({"BisectBatchOnFunctionError": True}, "ReportBatchItemFailures"),
                ({"SourceAccessConfigurations": [{"Type": "BASIC_AUTH", "URI":
                    "arn:aws:secretsmanager:us-east-1:123456789012:secret:x"}]}, "BASIC_AUTH|secret"),
        ):
            with self.assertRaisesRegex(lam.exceptions.InvalidParameterValueException, words):
                lam.create_event_source_mapping(**{**good, **change})


class RabbitMQ(Brokers):
    @classmethod
    def setUpClass(cls):
        cls.rabbit = Rabbit()
        cls.rabbit.__enter__()
        cls.client = Helper(HELPERS / "rabbit_client", cls.rabbit.port)
        cls.server = fault.Server("--pool-each", "2", "--broker",
                                  f"orders=amqp://guest:guest@127.0.0.1:{cls.rabbit.port}",
                                  "--broker", "nowhere=amqp://guest:guest@127.0.0.1:1")
        cls.server.__enter__()

    @classmethod
    def tearDownClass(cls):
        try:
            cls.server.__exit__()
        finally:
            cls.client.stop()
            cls.rabbit.__exit__()

    arn = "arn:aws:mq:us-east-1:123456789012:broker:orders:b-1"

    def map(self, function, queue, **more):
        settings = {"MaximumBatchingWindowInSeconds": 0, "EventSourceArn": self.arn, **more}
        m = self.server.client().create_event_source_mapping(
            FunctionName=function, Queues=[queue], **settings)
        self.state(m["UUID"], "Enabled")
        return m["UUID"]

    def messages(self, name, queue):
        return [m for e in self.events(name) for m in e["rmqMessagesByQueue"][queue + "::/"]]

    def test_shape_and_ack(self):
        self.client("queue", "shape")
        self.client("put", "shape", "hello")
        self.make("shape")
        uuid = self.map("shape", "shape")
        self.until(lambda: self.events("shape"), bool)
        event, = self.events("shape")
        self.assertEqual((event["eventSource"], event["eventSourceArn"]), ("aws:rmq", self.arn))
        self.assertEqual(list(event["rmqMessagesByQueue"]), ["shape::/"])
        message, = event["rmqMessagesByQueue"]["shape::/"]
        self.assertEqual(message, {
            "basicProperties": {
                "contentType": "text/plain", "contentEncoding": None,
                "headers": {"text": {"bytes": [104, 105]}, "number": 10}, "deliveryMode": 2,
                "priority": None, "correlationId": None, "replyTo": None, "expiration": None,
                "messageId": None, "timestamp": "Jan 1, 1970, 12:33:41 AM", "type": None,
                "userId": None, "appId": None, "clusterId": None, "bodySize": 5},
            "redelivered": False, "data": base64.b64encode(b"hello").decode()})
        self.gone(uuid)
        self.assertEqual(self.client("count", "shape"), 0)

    def test_batches_and_filter(self):
        self.client("queue", "filter")
        for i in range(20):
            self.client("put", "filter", json.dumps({"n": i}))
        self.make("filter")
        uuid = self.map("filter", "filter", BatchSize=4, FilterCriteria={"Filters": [
            {"Pattern": '{"data":{"n":[{"numeric":[">=",10]}]}}'}]})
        self.until(lambda: self.messages("filter", "filter"), lambda m: len(m) == 10)
        self.assertEqual(sorted(json.loads(text(m["data"]))["n"]
                                for m in self.messages("filter", "filter")), list(range(10, 20)))
        for event in self.events("filter"):
            self.assertLessEqual(len(event["rmqMessagesByQueue"]["filter::/"]), 4)
        self.gone(uuid)
        self.assertEqual(self.client("count", "filter"), 0)

    def test_failures_go_back(self):
        self.client("queue", "again")
        self.client("put", "again", "m")
        self.make("again", fail="1")
        uuid = self.map("again", "again")
        self.until(lambda: len(self.events("again")), lambda n: n >= 2)
        self.assertTrue(self.messages("again", "again")[-1]["redelivered"])
        self.assertLess(len(self.events("again")), 12)
        self.set("again")
        lam = self.server.client()
        self.until(lambda: lam.get_event_source_mapping(UUID=uuid)["LastProcessingResult"],
                   lambda r: r == "OK", 60)
        self.gone(uuid)
        self.assertEqual(self.client("count", "again"), 0)

    def test_core_killed_before_the_ack(self):
        self.client("queue", "kill")
        self.make("kill", sleep="3")
        uuid = self.map("kill", "kill")
        self.client("put", "kill", "once or twice")
        self.until(lambda: self.events("kill"), bool)
        self.server.kill_core()
        self.set("kill")
        self.until(lambda: [m for m in self.messages("kill", "kill") if m["redelivered"]], bool, 60)
        self.gone(uuid)
        self.assertEqual(self.client("count", "kill"), 0)

    def test_disabled_it_takes_nothing(self):
        self.client("queue", "off")
        self.make("off")
        uuid = self.map("off", "off")
        self.server.client().update_event_source_mapping(UUID=uuid, Enabled=False)
        self.state(uuid, "Disabled")
        self.client("put", "off", "m")
        time.sleep(1)
        self.assertEqual(self.client("count", "off"), 1)
        self.assertEqual(self.events("off"), [])
        self.gone(uuid)

    def test_a_queue_that_comes_and_goes(self):
        self.make("late")
        uuid = self.map("late", "late")
        lam = self.server.client()
        self.until(lambda: lam.get_event_source_mapping(UUID=uuid).get("LastProcessingResult", ""),
                   lambda r: "NOT_FOUND" in r)
        self.client("queue", "late")
        self.client("put", "late", "first")
        self.until(lambda: self.messages("late", "late"), lambda m: len(m) == 1, 60)
        self.client("drop", "late")
        self.until(lambda: lam.get_event_source_mapping(UUID=uuid)["LastProcessingResult"],
                   lambda r: r.startswith("PROBLEM"))
        self.gone(uuid)

    def test_what_is_wrong_is_said(self):
        lam = self.server.client()
        self.make("wrong")
        with self.assertRaisesRegex(lam.exceptions.InvalidParameterValueException, "--broker"):
            self.map("wrong", "q", EventSourceArn=self.arn.replace("orders", "unknown"))
        uuid = self.map("wrong", "q", EventSourceArn=self.arn.replace("orders", "nowhere"))
        self.until(lambda: lam.get_event_source_mapping(UUID=uuid).get("LastProcessingResult", ""),
                   lambda r: r.startswith("PROBLEM: Cannot connect to 127.0.0.1:1"))
        self.gone(uuid)


if __name__ == "__main__":
    if sys.argv[1:2] == ["RabbitMQ"] and not shutil.which("rabbitmq-server") and \
            not os.path.exists("/usr/lib/rabbitmq/bin/rabbitmq-server"):
        print("SKIP: Debian's rabbitmq-server is not installed")
        sys.exit(77)
    fault.main()
