"""Play core's part over a socket pair against the real bootstraps, outside a box.

Run by /usr/bin/python3; MAYFLY_RUNTIMES names the folder of the bootstraps (default: the tree's).
"""
import fcntl
import json
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import tempfile
import time
import unittest

RUNTIMES = pathlib.Path(os.environ.get("MAYFLY_RUNTIMES", pathlib.Path(__file__).resolve().parents[2] / "runtimes"))
LAYOUT = struct.Struct("<IBBHII36s108s")
INIT, INVOKE, WARM, READY, INIT_ERROR, RESULT, ERROR, PIECE = 1, 2, 16, 17, 18, 19, 20, 21
MAX = 6 * 1024 * 1024 + 100
ID = "01234567-89ab-4def-8123-456789abcd%02x"
ARN = "arn:aws:lambda:us-east-1:123456789012:function:f:live"
TRACE = "Root=1-67891233-abcdef012345678912345678;Parent=53995c3f42cd8ad8;Sampled=1"


class Frame:
    def __init__(self, header, payload):
        self.kind, self.sequence = header[1], header[4]
        self.id = header[6].rstrip(b"\0").decode()
        self.type = header[7].rstrip(b"\0").decode()
        self.clean = header[2] == 0 and header[3] == 0 and header[5] == 0
        self.payload = payload

    def json(self):
        return json.loads(self.payload)


class Box:
    """A bootstrap as a child process, and core's end of its channel."""

    def __init__(self, command, folder, handler, env, begin_as=None):
        self.folder, self.handler = folder, handler
        self.env = {
            "PATH": "/usr/bin:/bin",
            "AWS_LAMBDA_FUNCTION_NAME": "f",
            "AWS_LAMBDA_FUNCTION_VERSION": "7",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
            "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/f",
            "AWS_LAMBDA_LOG_STREAM_NAME": "2026/11/23/[$LATEST]abc",
            **env,
        }
        self.sequence = 0
        self.held = bytearray()
        self.log = tempfile.TemporaryFile()
        self.core, box = socket.socketpair()
        self.core.settimeout(20)
        # 3 and 4 in the child, whatever the number is here, and nowhere else.
        fd = fcntl.fcntl(box, fcntl.F_DUPFD_CLOEXEC, 10)
        self.process = subprocess.Popen(
            ["/bin/bash", "-c", f'exec "$@" 3<&{fd} 4>&{fd} {fd}<&-', "bash", *command],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, pass_fds=[fd],
            env={"PATH": os.environ["PATH"], "OLD": "must go", **(begin_as or {})},
        )
        os.close(fd)
        box.close()

    def send(self, kind, payload=b"", sequence=0, request_id="", trace="", extra=b"", timeout=0, flags=0):
        size = 160 + len(extra) + len(payload)
        head = LAYOUT.pack(size, kind, flags, len(extra), sequence, timeout, request_id.encode(), trace.encode())
        self.core.sendall(head + extra + payload)

    def receive(self):
        while True:
            if len(self.held) >= 160:
                header = LAYOUT.unpack_from(self.held)
                if len(self.held) >= header[0]:
                    payload = bytes(self.held[160 : header[0]])
                    del self.held[: header[0]]
                    return Frame(header, payload)
            data = self.core.recv(1 << 20)
            if not data:
                return None
            self.held += data

    def start(self):
        frame = self.receive()
        assert frame is not None and frame.kind == WARM, self.text()
        init = {"env": self.env, "handler": self.handler, "cwd": str(self.folder)}
        self.send(INIT, json.dumps(init).encode())
        return self.receive()

    def event(self, payload, extra=None, trace=TRACE, timeout=3000, flags=0):
        self.sequence += 1
        if extra is None and self.sequence == 1:
            extra = {"arn": ARN}
        extra = json.dumps(extra).encode() if extra else b""
        data = payload if isinstance(payload, bytes) else json.dumps(payload, ensure_ascii=False).encode()
        self.send(INVOKE, data, self.sequence, ID % self.sequence, trace, extra, timeout, flags)
        return self.sequence

    def invoke(self, payload=None, **more):
        number = self.event(payload, **more)
        frame = self.receive()
        assert frame is not None, f"the box has gone\n{self.text()}"
        assert frame.sequence == number and frame.id == ID % number and frame.clean
        return frame

    def stream(self, payload=None):
        """Invoke by somebody who takes pieces: those, with the times at which they came, and the end."""
        number = self.event(payload, flags=1)
        pieces, times = [], []
        while True:
            frame = self.receive()
            assert frame is not None, f"the box has gone\n{self.text()}"
            assert frame.sequence == number and frame.id == ID % number and frame.clean
            if frame.kind != PIECE:
                return pieces, times, frame
            pieces.append(frame)
            times.append(time.monotonic())

    def text(self):
        self.log.seek(0)
        return self.log.read().decode()

    def exit_code(self):
        """Wait until it has gone; nothing may come any more."""
        frame = self.receive()
        assert frame is None, frame.payload
        return self.process.wait(20)

    def close(self):
        self.core.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


class Case(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-runtime-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def files(self, files):
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def box(self, handler, files, **env):
        self.files(files)
        box = Box(self.command, self.folder, handler, env)
        self.addCleanup(box.close)
        return box

    def ready(self, handler, files, **env):
        box = self.box(handler, files, **env)
        frame = box.start()
        self.assertEqual(frame.kind, READY, frame.payload)
        self.assertTrue(frame.clean)
        return box

    def init_error(self, handler, files, **env):
        box = self.box(handler, files, **env)
        frame = box.start()
        self.assertEqual(frame.kind, INIT_ERROR)
        self.assertNotEqual(box.exit_code(), 0)
        error = frame.json()
        self.assertEqual(frame.type, error["errorType"])
        return error, box

    def value(self, frame):
        self.assertEqual(frame.kind, RESULT, frame.payload)
        return frame.json()

    def error(self, frame):
        self.assertEqual(frame.kind, ERROR, frame.payload)
        error = frame.json()
        self.assertEqual(frame.type, error["errorType"][:108])
        return error


@unittest.skipUnless(shutil.which("node"), "node is not installed")
class Node(Case):
    command = ["node", str(RUNTIMES / "node" / "bootstrap.cjs")]

    def js(self, body, **env):
        return self.ready("index.handler", {"index.js": body}, **env)

    def test_warms_up_only_in_the_pool(self):
        self.files({"index.js": "exports.handler = async () => Object.keys(require.cache).length;"})
        for begin_as, files in ({}, 2), ({"AWS_LAMBDA_FUNCTION_NAME": "f"}, 1):
            box = Box(self.command, self.folder, "index.handler", {}, begin_as)
            self.addCleanup(box.close)
            self.assertEqual(box.start().kind, READY)
            self.assertEqual(self.value(box.invoke()), files)

    def test_is_not_the_main_module(self):
        box = self.js("exports.handler = async () => [require.main === undefined, require.main === module];")
        self.assertEqual(self.value(box.invoke()), [True, False])

    def test_styles(self):
        box = self.ready(
            "index.a.b.go",
            {
                "index.js": """
const styles = {
  async: async (e) => e.v, sync: (e) => ({ got: e.v }), promise: (e) => Promise.resolve(e.v),
  callback: (e, c, done) => setTimeout(() => done(null, e.v), 5),
  direct: (e, c, done) => done(null, e.v),
  nothing: () => {}, never: () => new Promise(() => {}), undef: async () => {},
  succeed: (e, c) => { c.succeed(e.v); }, done: (e, c) => setTimeout(() => c.done(null, e.v), 1),
  accidental: (e, c) => setTimeout(() => c.succeed('late'), 5),
};
exports.a = { b: { go: (e, c, done) => styles[e.s].length < 3 ? wrap(styles[e.s](e, c), done, e.s, c) : styles[e.s](e, c, done) } };
function wrap(value, done, style) { if (style === 'sync') done(null, value); return value; }
""",
            },
        )
        for style in ("async", "promise", "callback", "direct", "succeed", "done"):
            self.assertEqual(self.value(box.invoke({"s": style, "v": [1, "ä"]})), [1, "ä"], style)
        self.assertEqual(self.value(box.invoke({"s": "sync", "v": 5})), {"got": 5})
        for style in ("nothing", "never", "undef", "never"):
            self.assertIsNone(self.value(box.invoke({"s": style})), style)
        self.assertEqual(self.value(box.invoke({"s": "accidental"})), "late")

    def test_sync_value(self):
        box = self.js("exports.handler = (e) => e.t ? setTimeout(() => {}, 1) : ({ plain: e });")
        self.assertEqual(self.value(box.invoke(1)), {"plain": 1})
        self.assertIsNone(self.value(box.invoke({"t": 1})))

    def test_callback_waits(self):
        box = self.js(
            "exports.handler = (e, c, done) => { c.callbackWaitsForEmptyEventLoop = e.wait;"
            "const t = Date.now(); let late = 0; setTimeout(() => (result.late = 1), 60);"
            "const result = { late }; done(null, result); }"
        )
        self.assertEqual(self.value(box.invoke({"wait": True})), {"late": 1})
        self.assertEqual(self.value(box.invoke({"wait": False})), {"late": 0})

    def test_errors(self):
        box = self.js(
            """
class Mine extends Error { constructor(m) { super(m); this.name = 'MyError'; this.code = 7; } }
exports.handler = async (e, c) => {
  if (e === 1) throw new Mine('boom\\nline');
  if (e === 2) throw 'text';
  if (e === 3) throw null;
  if (e === 4) { const a = {}; a.a = a; return a; }
  if (e === 5) return 10n;
  if (e === 6) return c.fail();
  if (e === 7) throw { toString() { throw 1; } };
  if (e === 8) throw Object.assign(new Error('x'), { name: '\\u00e4 \\n' });
  return 'fine';
};"""
        )
        error = self.error(box.invoke(1))
        self.assertEqual((error["errorType"], error["errorMessage"]), ("MyError", "boom\nline"))
        self.assertRegex(error["trace"][2], r"^    at .*index\.js:4")
        self.assertEqual(self.error(box.invoke(2)), {"errorType": "string", "errorMessage": "text", "trace": []})
        self.assertEqual(self.error(box.invoke(3))["errorMessage"], "null")
        for number in (4, 5):
            error = self.error(box.invoke(number))
            self.assertEqual(error["errorType"], "Runtime.MarshalError")
            self.assertEqual(error["errorMessage"], "Unable to stringify response body")
        self.assertEqual(self.error(box.invoke(6))["errorMessage"], "handled")
        self.assertEqual(self.error(box.invoke(7))["errorType"], "object")
        frame = box.invoke(8)
        self.assertEqual((frame.kind, frame.type), (ERROR, "???"))
        self.assertEqual(self.value(box.invoke(9)), "fine")
        self.assertEqual(self.error(box.invoke(b"{broken"))["errorType"], "SyntaxError")
        self.assertEqual(self.value(box.invoke(9)), "fine")
        line = box.text().split("\n")[0]
        self.assertRegex(line, r"^\S{23}Z\t" + ID % 1 + r'\tERROR\tInvoke Error \t\{"errorType":"MyError"')
        self.assertEqual(json.loads(line.split("\t")[4])["code"], 7)

    def test_context(self):
        box = self.js(
            "exports.handler = async (e, c) => ({ ...c, left: c.getRemainingTimeInMillis(),"
            "trace: process.env._X_AMZN_TRACE_ID, old: process.env.OLD, cwd: process.cwd(), tz: new Date(0).getHours() });",
            TZ=":Asia/Tokyo",
        )
        got = self.value(box.invoke({}, timeout=2500))
        self.assertTrue(2300 < got.pop("left") <= 2500)
        self.assertEqual(
            got,
            {
                "callbackWaitsForEmptyEventLoop": True, "functionVersion": "7", "functionName": "f",
                "memoryLimitInMB": "128", "logGroupName": "/aws/lambda/f",
                "logStreamName": "2026/11/23/[$LATEST]abc", "invokedFunctionArn": ARN,
                "awsRequestId": ID % 1, "trace": TRACE, "cwd": str(self.folder), "tz": 9,
            },
        )
        extra = {"clientContext": '{"custom":{"a":1}}', "identity": '{"cognitoIdentityId":"i"}'}
        got = self.value(box.invoke({}, extra=extra, trace=""))
        self.assertEqual(got["clientContext"], {"custom": {"a": 1}})
        self.assertEqual(got["identity"], {"cognitoIdentityId": "i"})
        self.assertEqual(got["invokedFunctionArn"], ARN)
        self.assertNotIn("trace", got)
        got = self.value(box.invoke({}, extra={"arn": "arn:other"}))
        self.assertEqual(got["invokedFunctionArn"], "arn:other")
        self.assertNotIn("clientContext", got)

    def test_trace_id(self):
        """As part of the environment, wherever that is looked at."""
        box = self.js(
            "const { execFileSync } = require('child_process'); const N = '_X_AMZN_TRACE_ID';"
            "exports.handler = async (e) => { const p = process.env; if (e.set) p[N] = 7; if (e.delete) delete p[N];"
            "if (e.replace) process.env = { ...p };"
            "return [p[N] ?? null, { ...p }[N] ?? null, Object.keys(p).includes(N), N in p, Object.hasOwn(p, N),"
            "execFileSync('/usr/bin/env').toString().includes(`${N}=${p[N]}\\n`), p.AWS_LAMBDA_FUNCTION_NAME,"
            "process.env[N] ?? null] };"
        )
        for event, trace, seen in (({}, TRACE, TRACE), ({}, "Root=2", "Root=2"), ({}, "", None), ({"set": 1}, "", "7"),
                                   ({}, TRACE, TRACE), ({"delete": 1}, TRACE, None), ({}, TRACE, TRACE)):
            there = seen is not None
            self.assertEqual(self.value(box.invoke(event, trace=trace)),
                             [seen, seen, there, there, there, there, "f", seen])
        self.assertEqual(self.value(box.invoke({"replace": 1}, trace="Root=3"))[7], "Root=3")
        self.assertEqual(self.value(box.invoke({}, trace="Root=4"))[7], "Root=4")
        self.assertEqual(self.value(box.invoke({}, trace=""))[7], None)

    def test_modules(self):
        code = "handler = async () => "
        tries = {
            "src/app.handler": {"src/app.js": f"exports.{code} 'cjs in folder'"},
            "m.handler": {"m.mjs": f"import fs from 'node:fs'; const x = await Promise.resolve('mjs'); export const {code} x"},
            "c.handler": {"c.cjs": f"exports.{code} 'cjs'"},
            "esm/a.handler": {"esm/package.json": '{"type":"module"}', "esm/a.js": f"export const {code} 'esm js'"},
            "esm/b.handler": {"esm/package.json": '{"type":"module"}', "esm/b.cjs": f"exports.{code} 'cjs in esm'"},
            "dir.handler": {"dir/index.js": f"exports.{code} 'index'"},
            "pkg.handler": {"node_modules/pkg/index.js": f"exports.{code} 'package'"},
        }
        for handler, files in tries.items():
            box = self.ready(handler, files)
            self.assertIsInstance(self.value(box.invoke()), str)
            box.close()

    def test_init_errors(self):
        error, box = self.init_error("nope.handler", {})
        self.assertEqual(error["errorType"], "Runtime.ImportModuleError")
        self.assertTrue(error["errorMessage"].startswith("Error: Cannot find module 'nope'\nRequire stack:\n"))
        self.assertTrue(error["trace"][0].startswith("Runtime.ImportModuleError: Error: Cannot find module 'nope'"))
        self.assertRegex(box.text(), r"^\S+Z\tundefined\tERROR\tUncaught Exception \t\{")
        error, _ = self.init_error("x.handler", {"x.js": "require('missing-thing')"})
        self.assertIn("Cannot find module 'missing-thing'", error["errorMessage"])
        error, _ = self.init_error("x.nope", {"x.js": "exports.handler = 1"})
        self.assertEqual(error["errorType"], "Runtime.HandlerNotFound")
        self.assertEqual(error["errorMessage"], "x.nope is undefined or not exported")
        error, _ = self.init_error("x.handler", {})
        self.assertEqual(error["errorMessage"], "x.handler is not a function")
        error, _ = self.init_error("s.handler", {"s.js": "let let = {"})
        self.assertEqual(error["errorType"], "Runtime.UserCodeSyntaxError")
        self.assertTrue(error["errorMessage"].startswith("SyntaxError: "))
        for bad in ("noexport", ".handler", "x.", "../x.handler"):
            self.assertEqual(self.init_error(bad, {})[0]["errorType"], "Runtime.MalformedHandlerName", bad)
        error, _ = self.init_error("t.handler", {"t.mjs": "throw new TypeError('at load')"})
        self.assertEqual((error["errorType"], error["errorMessage"]), ("TypeError", "at load"))
        error, _ = self.init_error(
            "u.handler", {"u.mjs": "setTimeout(() => { throw new Error('in timer') }, 1); await new Promise((d) => setTimeout(d, 500));"}
        )
        self.assertEqual(error["errorMessage"], "in timer")

    def test_exit_at_load(self):
        box = self.box("x.handler", {"x.js": "process.exit(3)"})
        self.assertIsNone(box.start())
        self.assertEqual(box.process.wait(10), 3)
        box = self.box("n.handler", {"n.mjs": "await new Promise(() => {})"})
        self.assertIsNone(box.start())
        self.assertEqual(box.process.wait(10), 13)

    def test_escaping_errors(self):
        body = """
exports.handler = async (e) => {
  if (e === 1) { setTimeout(() => { throw new Error('loose') }, 1); }
  if (e === 2) { Promise.reject(new TypeError('unheard')); }
  await new Promise((done) => setTimeout(done, 2000));
};"""
        box = self.js(body)
        error = self.error(box.invoke(1))
        self.assertEqual((error["errorType"], error["errorMessage"]), ("Error", "loose"))
        self.assertEqual(box.exit_code(), 129)
        box = self.js(body)
        error = self.error(box.invoke(2))
        self.assertEqual(error["errorType"], "Runtime.UnhandledPromiseRejection")
        self.assertEqual(error["errorMessage"], "TypeError: unheard")
        self.assertEqual(box.exit_code(), 128)

    def test_logs(self):
        box = self.js(
            "console.log('at load'); exports.handler = async () => { console.log('a %s\\nb', 1, { x: 1 }); console.warn('w');"
            "console.error('e'); console.debug('d'); console.trace('t'); process.stdout.write('raw\\n'); }"
        )
        box.invoke()
        lines = box.text().split("\n")
        self.assertRegex(lines[0], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\tundefined\tINFO\tat load$")
        rest = [line.split("\t")[1:] for line in lines[1:6]]
        self.assertEqual(rest[0], [ID % 1, "INFO", "a 1\rb { x: 1 }"])
        self.assertEqual([line[1] for line in rest], ["INFO", "WARN", "ERROR", "DEBUG", "TRACE"])
        self.assertEqual(lines[6:], ["raw", ""])

    def test_json_logs(self):
        box = self.js(
            "exports.handler = async () => { console.log('hidden'); console.warn({ a: 1 }); console.error('x', new Error('e')); console.error(10n); }",
            AWS_LAMBDA_LOG_FORMAT="JSON", AWS_LAMBDA_LOG_LEVEL="warn",
        )
        box.invoke()
        lines = [json.loads(line) for line in box.text().splitlines()]
        self.assertEqual(len(lines), 3)
        self.assertEqual((lines[0]["level"], lines[0]["message"], lines[0]["requestId"]), ("WARN", {"a": 1}, ID % 1))
        self.assertEqual((lines[1]["errorType"], lines[1]["errorMessage"]), ("Error", "e"))
        self.assertEqual(lines[2]["message"], "10n")

    def test_streaming(self):
        box = self.ready(
            "index.handler",
            {
                "index.mjs": """
export const handler = awslambda.streamifyResponse(async (event, stream, context) => {
  if (event.never) { await new Promise(() => {}); }
  if (event.http) stream = awslambda.HttpResponseStream.from(stream, { statusCode: 201, headers: { a: 'b' } });
  stream.write('one '); await new Promise((d) => setTimeout(d, 5)); stream.write(Buffer.from('two'));
  if (event.fail) throw new Error('midway');
  if (event.large) for (let i = 0; i < 7; i++) stream.write(Buffer.alloc(1 << 20));
  stream.end();
});"""
            },
        )
        self.assertEqual(box.invoke({}).payload, b"one two")
        self.assertEqual(
            self.value(box.invoke({"http": 1})),
            {"statusCode": 201, "headers": {"a": "b"}, "body": "b25lIHR3bw==", "isBase64Encoded": True},
        )
        self.assertEqual(self.error(box.invoke({"fail": 1}))["errorMessage"], "midway")
        self.assertEqual(self.error(box.invoke({"large": 1}))["errorType"], "Function.ResponseSizeTooLarge")
        self.assertEqual(box.invoke({"never": 1}).payload, b"")
        self.assertEqual(box.invoke({}).payload, b"one two")

    def test_live_streaming(self):
        box = self.ready(
            "index.handler",
            {
                "index.mjs": """
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
export const handler = awslambda.streamifyResponse(async (event, stream, context) => {
  if (event.type) stream.setContentType(event.type);
  if (event.http) stream = awslambda.HttpResponseStream.from(stream, { statusCode: 201 });
  if (event.early) throw new Error('early');
  if (event.escape) { stream.write(Buffer.alloc(4 << 20)); setTimeout(() => { throw new Error('escaped'); }); await sleep(1000); }
  if (event.empty) { stream.end(); return; }
  stream.write('one'); await sleep(100); stream.write(Buffer.from('two'));
  if (event.fail) throw new Error('midway');
  for (let i = 0; i < (event.large ?? 0); i++) if (!stream.write(Buffer.alloc(1 << 20, i))) await new Promise((done) => stream.once('drain', done));
  if (event.ticks) { let n = 0; const timer = setInterval(() => n++, 10); stream.write(Buffer.alloc(2 << 20)); await sleep(300); clearInterval(timer); stream.write(`${n}`); }
  stream.end();
});"""
            },
        )
        pieces, times, last = box.stream({})
        self.assertEqual([p.payload for p in pieces], [b"one", b"two"])
        self.assertGreater(times[1] - times[0], 0.08)
        self.assertEqual((last.kind, last.payload, pieces[0].type), (RESULT, b"", "application/octet-stream"))
        pieces, _, last = box.stream({"type": "text/x; a=" + "b" * 100})
        self.assertEqual(pieces[0].type, ("text/x; a=" + "b" * 100)[:108])
        for event, rest in (({"http": 1}, b"onetwo"), ({"http": 1, "empty": 1}, b"")):
            pieces, _, last = box.stream(event)
            self.assertEqual(b"".join(p.payload for p in pieces), b'{"statusCode":201}' + bytes(8) + rest)
            self.assertEqual(pieces[0].type, "application/vnd.awslambda.http-integration-response")
        pieces, _, last = box.stream({"empty": 1})
        self.assertEqual((pieces, last.kind), ([], RESULT))
        pieces, _, last = box.stream({"early": 1})
        self.assertEqual((pieces, last.kind, last.json()["errorMessage"]), ([], ERROR, "early"))
        pieces, _, last = box.stream({"fail": 1})
        self.assertEqual(b"".join(p.payload for p in pieces)[:3], b"one")
        self.assertEqual((last.kind, last.json()["errorMessage"]), (ERROR, "midway"))
        pieces, _, last = box.stream({"large": 20})
        body = b"".join(p.payload for p in pieces)
        self.assertEqual(body, b"onetwo" + b"".join(bytes([i]) * (1 << 20) for i in range(20)))
        self.assertLessEqual(max(len(p.payload) for p in pieces), 1 << 20)
        # While nobody reads, the program's timers run on.
        box.event({"ticks": 1}, flags=1)
        time.sleep(0.6)
        body = b""
        while (frame := box.receive()).kind == PIECE:
            body += frame.payload
        self.assertGreater(int(body[6 + (2 << 20) :]), 10)
        # What escapes while a piece is half written is told after it.
        pieces, _, last = box.stream({"escape": 1})
        self.assertEqual(sum(len(p.payload) for p in pieces), 4 << 20)
        self.assertEqual((last.kind, last.json()["errorMessage"]), (ERROR, "escaped"))
        self.assertEqual(box.exit_code(), 129)

    def test_background_work(self):
        box = self.js(
            "let fired = 0; exports.handler = (e) => { setTimeout(() => fired++, 0); process.nextTick(() => fired++); return { fired }; }"
        )
        for _ in range(4):
            box.invoke()
            time.sleep(0.005)
        self.assertGreaterEqual(self.value(box.invoke())["fired"], 6)

    def test_sent_ahead(self):
        many_ahead(self, self.js("let n = 0; exports.handler = async (e) => { n++; const at = n; await null; return { e, at, now: n }; };"))

    def test_large(self):
        large(self, self.js("exports.handler = async (e) => typeof e === 'number' ? 'x'.repeat(e) : Array.isArray(e) ? 'ä'.repeat(e[0]) : e;"))

    def test_exit_in_handler(self):
        box = self.js("exports.handler = async () => process.exit(4)")
        box.event(1)
        self.assertEqual(box.exit_code(), 4)


def many_ahead(case, box):
    """Frames sent ahead are worked on one by one, in order, each answered by its own number."""
    for _ in range(32):
        box.event({"pad": "y" * 3000})
    for number in range(1, 33):
        frame = box.receive()
        case.assertEqual((frame.sequence, frame.id), (number, ID % number))
        case.assertEqual(frame.json()["at"], number)
        case.assertEqual(frame.json()["now"], number)


def large(case, box):
    event = "z" * (MAX - 2)
    for _ in range(2):
        case.assertEqual(case.value(box.invoke(event)), event)
        case.assertEqual(len(case.value(box.invoke(MAX - 2))), MAX - 2)
        error = case.error(box.invoke(MAX - 1))
        case.assertEqual(error["errorType"], "Function.ResponseSizeTooLarge")
        case.assertIn("(6291556 bytes)", error["errorMessage"])
        case.assertEqual(case.value(box.invoke("small")), "small")
    # It is bytes that count, not characters.
    case.assertEqual(case.error(box.invoke([MAX // 2]))["errorType"], "Function.ResponseSizeTooLarge")
    case.assertEqual(case.value(box.invoke([MAX // 2 - 1])), "ä" * (MAX // 2 - 1))
    case.assertEqual(case.value(box.invoke("ä" * 3000000)), "ä" * 3000000)


class Python(Case):
    command = ["/usr/bin/python3", "-I", "-X", "utf8", str(RUNTIMES / "python" / "bootstrap.py")]

    def py(self, body, **env):
        return self.ready("app.handler", {"app.py": body}, **env)

    def test_context(self):
        box = self.py(
            """
import os, time, sys
def handler(event, c):
    return {k: getattr(c, k) for k in ("aws_request_id", "function_name", "function_version", "memory_limit_in_mb",
        "log_group_name", "log_stream_name", "invoked_function_arn", "tenant_id")} | {
        "left": c.get_remaining_time_in_millis(), "trace": os.environ.get("_X_AMZN_TRACE_ID"),
        "old": os.environ.get("OLD"), "cwd": os.getcwd(), "tz": time.localtime(0).tm_hour, "path": sys.path[0],
        "cc": repr(c.client_context), "id": c.identity.cognito_identity_id, "repr": repr(c)[:20],
        "app": c.client_context.client.app_title if c.client_context else None}
""",
            TZ=":Asia/Tokyo",
        )
        got = self.value(box.invoke({}, timeout=2500))
        self.assertTrue(2300 < got.pop("left") <= 2500)
        self.assertEqual(
            got,
            {
                "aws_request_id": ID % 1, "function_name": "f", "function_version": "7", "memory_limit_in_mb": "128",
                "log_group_name": "/aws/lambda/f", "log_stream_name": "2026/11/23/[$LATEST]abc",
                "invoked_function_arn": ARN, "tenant_id": None, "trace": TRACE, "old": None, "cwd": str(self.folder),
                "tz": 9, "path": str(self.folder), "cc": "None", "id": None, "repr": "LambdaContext([aws_r", "app": None,
            },
        )
        extra = {
            "clientContext": '{"custom":{"a":1},"env":{},"client":{"app_title":"t"}}',
            "identity": '{"cognitoIdentityId":"i","cognitoIdentityPoolId":"p"}',
        }
        got = self.value(box.invoke({}, extra=extra, trace=""))
        self.assertEqual((got["app"], got["id"], got["trace"], got["invoked_function_arn"]), ("t", "i", None, ARN))

    def test_memory(self):
        """An event leaves nothing behind, not even its trace id in the C library."""
        box = self.py("def handler(event, context): return 'x'")

        def many(count):
            for _ in range(count // 50):
                for _ in range(50):
                    box.event({}, trace=f"Root=1-67891234-{box.sequence:024d};Parent=0123456789abcdef")
                for _ in range(50):
                    self.value(box.receive())
            return int(pathlib.Path(f"/proc/{box.process.pid}/statm").read_text().split()[1]) * 4096

        before = many(5000)
        self.assertLess(many(20000) - before, 1 << 20)

    def test_text_around_events(self):
        box = self.py("def handler(event, context): return event")
        for text, value in ((b' {"a": [1, 2.5]}\n', {"a": [1, 2.5]}), (b"\t7 ", 7), (b'"x"', "x")):
            self.assertEqual(self.value(box.invoke(text)), value)
        for text in (b"", b" ", b"1 2", b"{}x", b"[", b"\xef\xbb\xbf1"):
            self.assertEqual(self.error(box.invoke(text))["errorType"], "Runtime.UnmarshalError", text)

    def test_modules(self):
        for handler, name in (
            ("src/app.handler", "src/app.py"), ("src.deep.app.handler", "src/deep/app.py"), ("pkg.handler", "pkg/__init__.py"),
        ):
            box = self.ready(handler, {name: "def handler(e, c):\n    return __name__\n"})
            self.assertEqual(self.value(box.invoke()), handler.replace("/", ".").rsplit(".", 1)[0])
            box.close()
        self.files({"lib/other.py": "VALUE = 5\n"})
        box = self.py("import other, boto3\ndef handler(e, c):\n    return other.VALUE\n", PYTHONPATH=str(self.folder / "lib"))
        self.assertEqual(self.value(box.invoke()), 5)

    def test_init_errors(self):
        error, box = self.init_error("nope.handler", {})
        self.assertEqual(error["errorType"], "Runtime.ImportModuleError")
        self.assertEqual(error["errorMessage"], "Unable to import module 'nope': No module named 'nope'")
        self.assertEqual((error["requestId"], error["stackTrace"]), ("", []))
        self.assertTrue(box.text().startswith("[ERROR] Runtime.ImportModuleError: Unable to import module 'nope'"))
        self.assertEqual(self.init_error("x.h", {"x.py": "import missing_y"})[0]["errorMessage"], "Unable to import module 'x': No module named 'missing_y'")
        error, _ = self.init_error("y.nope", {"y.py": ""})
        self.assertEqual((error["errorType"], error["errorMessage"]), ("Runtime.HandlerNotFound", "Handler 'nope' missing on module 'y'"))
        error, _ = self.init_error("s.h", {"s.py": "def (:\n"})
        self.assertEqual(error["errorType"], "Runtime.UserCodeSyntaxError")
        self.assertTrue(error["errorMessage"].startswith("Syntax error in module 's': invalid syntax"))
        self.assertIn("s.py\" Line 1\n    def (:", error["stackTrace"][0])
        error, _ = self.init_error("noexport", {})
        self.assertEqual(error["errorType"], "Runtime.MalformedHandlerName")
        self.assertEqual(error["errorMessage"], "Bad handler 'noexport': not enough values to unpack (expected 2, got 1)")
        self.assertEqual(self.init_error(".handler", {})[0]["errorType"], "Runtime.MalformedHandlerName")
        self.assertIn("built-in module sys", self.init_error("sys.exit", {})[0]["errorMessage"])
        error, _ = self.init_error("r.h", {"r.py": "def f():\n    raise KeyError('k')\nf()\n"})
        self.assertEqual((error["errorType"], error["errorMessage"], len(error["stackTrace"])), ("KeyError", "'k'", 2))

    def test_exit(self):
        box = self.box("x.h", {"x.py": "import sys; sys.exit(3)"})
        self.assertIsNone(box.start())
        self.assertEqual(box.process.wait(10), 3)
        box = self.py("import sys, threading, time\nthreading.Thread(target=time.sleep, args=(6,)).start()\ndef handler(e, c):\n    sys.exit(4)\n")
        box.event(1)
        started = time.time()
        self.assertIsNone(box.receive())
        self.assertLess(time.time() - started, 5)
        self.assertEqual(box.process.wait(10), 4)

    def test_errors(self):
        box = self.py(
            """
import datetime, decimal
class Mine(Exception): pass
class Mute(Exception):
    def __str__(self): raise ValueError
def fail(text): raise Mine(text)
def handler(e, c):
    if e == 1: fail("boom")
    if e == 2: return datetime.datetime.now()
    if e == 3: return {"d": decimal.Decimal("1.5"), "t": "\\u00e4"}
    if e == 4: return "\\ud800"
    if e == 5: raise Mute
    if e == 6:
        a = []
        a.append(a)
        return a
    if e == 7: handler(e, c)
"""
        )
        error = self.error(box.invoke(1))
        self.assertEqual((error["errorType"], error["errorMessage"], error["requestId"]), ("Mine", "boom", ID % 1))
        self.assertEqual(error["stackTrace"][0], f'  File "{self.folder}/app.py", line 8, in handler\n    if e == 1: fail("boom")\n')
        self.assertEqual(len(error["stackTrace"]), 2)
        line = box.text().split("\n")[0]
        self.assertTrue(line.startswith("[ERROR] Mine: boom\rTraceback (most recent call last):\r  File "))
        error = self.error(box.invoke(2))
        self.assertEqual(error["errorType"], "Runtime.MarshalError")
        self.assertEqual(error["errorMessage"], "Unable to marshal response: Object of type datetime is not JSON serializable")
        self.assertEqual(box.invoke(3).payload.decode(), '{"d": 1.5, "t": "ä"}')
        self.assertEqual(box.invoke(4).payload.decode(), '"\\ud800"')
        self.assertEqual(self.error(box.invoke(5))["errorType"], "Mute")
        self.assertEqual(self.error(box.invoke(6))["errorType"], "Runtime.MarshalError")
        self.assertEqual(self.error(box.invoke(7))["errorType"], "RecursionError")
        self.assertIsNone(self.value(box.invoke(8)))
        self.assertEqual(self.error(box.invoke(b"{broken"))["errorType"], "Runtime.UnmarshalError")
        self.assertEqual(self.error(box.invoke(b"\xff"))["errorType"], "Runtime.UnmarshalError")

    def test_logs(self):
        box = self.py(
            """
import logging, sys
print("at load")
log = logging.getLogger()
log.setLevel(logging.INFO)
def handler(e, c):
    print("a", 1)
    log.info("x %s\\ny", 2)
    log.debug("hidden")
    logging.getLogger("lib").warning("w")
    c.log("raw\\n")
    sys.stdout.write("no newline")
"""
        )
        box.invoke()
        lines = box.text().split("\n")
        self.assertEqual(lines[:2], ["at load", "a 1"])
        self.assertRegex(lines[2], r"^\[INFO\]\t\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\t" + ID % 1 + "\tx 2\ry$")
        self.assertRegex(lines[3], r"^\[WARNING\]\t.*\tw$")
        self.assertEqual(lines[4:], ["raw", "no newline"])

    def test_json_logs(self):
        box = self.py(
            """
import logging
log = logging.getLogger("mine")
def handler(e, c):
    log.info("hidden")
    log.warning("seen", extra={"more": 5})
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("oops")
    raise ValueError("end")
""",
            AWS_LAMBDA_LOG_FORMAT="JSON", AWS_LAMBDA_LOG_LEVEL="WARN",
        )
        box.invoke()
        lines = [json.loads(line) for line in box.text().splitlines()]
        self.assertEqual(len(lines), 3)
        first = lines[0]
        self.assertRegex(first.pop("timestamp"), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertEqual(first, {"level": "WARN", "message": "seen", "logger": "mine", "requestId": ID % 1, "more": 5})
        self.assertEqual((lines[1]["errorType"], lines[1]["errorMessage"]), ("ZeroDivisionError", "division by zero"))
        self.assertEqual((lines[2]["log_level"], lines[2]["errorType"], lines[2]["errorMessage"]), ("ERROR", "ValueError", "end"))

    def test_sent_ahead(self):
        many_ahead(self, self.py("n = 0\ndef handler(e, c):\n    global n\n    n += 1\n    return {'e': e, 'at': n, 'now': n}\n"))

    def test_large(self):
        large(self, self.py("def handler(e, c):\n    return 'x' * e if isinstance(e, int) else 'ä' * e[0] if isinstance(e, list) else e\n"))


class Started(Case):
    """The interpreter was started with the function's own environment: nothing else changes."""

    command = Python.command

    def test_core_goes_away(self):
        box = self.box("app.handler", {"app.py": ""})
        self.assertEqual(box.receive().kind, WARM)
        box.core.shutdown(socket.SHUT_WR)
        self.assertEqual(box.process.wait(10), 0)


if __name__ == "__main__":
    unittest.main()
