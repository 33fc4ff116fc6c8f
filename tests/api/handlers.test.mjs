// Functions as people write them: Node.js, Python and own bootstraps, and what they are told when
// they are wrong.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import * as L from '@aws-sdk/client-lambda';
import { startServer } from './server.mjs';
import { node, python, zip } from './zip.mjs';

let server, lambda, made = 0;

before(async () => {
	server = await startServer();
	lambda = new L.LambdaClient({ ...server.client(), requestHandler: { connectionTimeout: 5000 } });
});
after(() => server?.stop());

// Creates a function of its own and invokes it once.
async function run(source, payload = '{"k":1}') {
	const FunctionName = `f${made++}`;
	await lambda.send(new L.CreateFunctionCommand({ FunctionName, Timeout: 10, MemorySize: 256, ...source }));
	const r = await lambda.send(new L.InvokeCommand({ FunctionName, Payload: payload, LogType: 'Tail' }));
	return {
		error: r.FunctionError,
		id: r.$metadata.requestId,
		value: JSON.parse(Buffer.from(r.Payload).toString()),
		log: Buffer.from(r.LogResult, 'base64').toString(),
	};
}

const files = (source, list, mode) => ({ ...source, Code: { ZipFile: zip(list, mode) } });
const common = (text) => files(node(''), { 'index.js': text });
const answers = (source, value, payload) => async () => {
	const r = await run(source, payload);
	assert.equal(r.error, undefined, JSON.stringify(r.value));
	assert.deepEqual(r.value, value);
};
const fails = (source, type, message) => async () => {
	const r = await run(source);
	assert.equal(r.error, 'Unhandled');
	assert.equal(r.value.errorType, type);
	if (message instanceof RegExp) assert.match(r.value.errorMessage, message);
	else assert.equal(r.value.errorMessage, message);
	assert.match(r.log, /^END RequestId: /m);
};

describe('Node.js', () => {
	test('a callback', answers(common('exports.handler = (e, c, cb) => setTimeout(() => cb(null, { cb: e }), 10);'), { cb: { k: 1 } }));
	test('a callback that does not wait', answers(common(`exports.handler = (e, c, cb) => {
		c.callbackWaitsForEmptyEventLoop = false; setTimeout(() => {}, 60000); cb(null, 1); };`), 1));
	test('await at the top', answers(node('const x = await new Promise((r) => setTimeout(() => r(42), 5)); export const handler = async () => x;'), 42));
	test('modules of both kinds, and a package', answers(files(node(''), {
		'index.mjs': 'import { a } from "./lib/a.js"; import p from "pkg"; export const handler = async () => [a, p];',
		'lib/a.js': 'exports.a = 7;', 'node_modules/pkg/package.json': '{"main":"m.js"}', 'node_modules/pkg/m.js': 'module.exports = "p";',
	}), [7, 'p']));
	test('"type": "module"', answers(files(node(''), { 'package.json': '{"type":"module"}', 'index.js': 'export const handler = async () => import.meta.url;' }),
		'file:///var/task/index.js'));
	test('a handler inside an object, in a folder', answers({ ...files(node(''), { 'src/app.js': 'exports.api = { handler: async () => "n" };' }), Handler: 'src/app.api.handler' }, 'n'));
	test('a promise that nobody resolves is null', answers(node('export const handler = () => new Promise(() => {});'), null));
	test('a server and a client inside', answers(node(`import http from 'node:http';
		export const handler = async () => {
			const s = http.createServer((q, r) => r.end('hi')).listen(0, '127.0.0.1');
			await new Promise((r) => s.on('listening', r));
			const t = await (await fetch('http://localhost:' + s.address().port)).text();
			s.close();
			return t;
		};`), 'hi'));
	test('a worker thread', answers(node(`import { Worker } from 'node:worker_threads';
		export const handler = () => new Promise((ok, no) => {
			const w = new Worker("require('worker_threads').parentPort.postMessage(5)", { eval: true });
			w.on('message', ok); w.on('error', no);
		});`), 5));
	test('six megabytes in and out', answers(node('export const handler = async (e) => e;'), 'y'.repeat(6291554), JSON.stringify('y'.repeat(6291554))));
	test('more than that out', fails(node('export const handler = async () => "x".repeat(6291555);'), 'Function.ResponseSizeTooLarge',
		'Response payload size exceeded maximum allowed payload size (6291556 bytes).'));
	test('what it throws', fails(node('export const handler = async () => { throw new RangeError("bad"); };'), 'RangeError', 'bad'));
	test('what it throws that is no Error', fails(node('export const handler = async () => { throw "str"; };'), 'string', 'str'));
	test('an error for the callback', fails(common('exports.handler = (e, c, cb) => cb(new TypeError("no"));'), 'TypeError', 'no'));
	test('a rejection that nobody handles', fails(node('export const handler = async () => { Promise.reject(new Error("lost")); await new Promise((r) => setTimeout(r, 500)); };'),
		'Runtime.UnhandledPromiseRejection', 'Error: lost'));
	test('what a timer throws', fails(node('export const handler = () => new Promise(() => setTimeout(() => { throw new Error("later"); }, 10));'), 'Error', 'later'));
	test('a module that is not there', fails(common('require("nothere");'), 'Runtime.ImportModuleError', /^Error: Cannot find module 'nothere'/));
	test('a syntax error', fails(node('export const handler = async () => {'), 'Runtime.UserCodeSyntaxError', 'SyntaxError: Unexpected end of input'));
	test('no such handler', fails(node('export const other = 1;'), 'Runtime.HandlerNotFound', 'index.handler is undefined or not exported'));
	test('an answer that is no JSON', fails(node('export const handler = async () => 10n;'), 'Runtime.MarshalError', 'Unable to stringify response body'));
	test('an exit', fails(node('export const handler = async () => process.exit(3);'), 'Runtime.ExitError', /^RequestId: [0-9a-f-]{36} Error: Runtime exited with error: exit status 3$/));
});

describe('Python', () => {
	test('calls back with boto3, as its role', async () => {
		await lambda.send(new L.CreateFunctionCommand({ FunctionName: 'other', ...python('def handler(e, c):\n    return {"got": e}\n') }));
		await answers(python(`
import boto3
def handler(e, c):
    who = boto3.client("sts").get_caller_identity()["Arn"]
    r = boto3.client("lambda").invoke(FunctionName="other", Payload=b"[1]")
    return [who.rsplit("/", 1)[0], r["Payload"].read().decode()]
`), ['arn:aws:sts::123456789012:assumed-role/worker', '{"got": [1]}'])();
	});
	test('packages in the archive', answers({ ...files(python(''), { 'src/app.py': 'import dep.sub\ndef handler(e, c):\n    return [dep.sub.W, __file__]\n', 'dep/__init__.py': '', 'dep/sub.py': 'W = 2\n' }),
		Handler: 'src/app.handler' }, [2, '/var/task/src/app.py']));
	test('threads', answers(python('from concurrent.futures import ThreadPoolExecutor as T\ndef handler(e, c):\n    with T(8) as t:\n        return list(t.map(lambda x: x * x, range(4)))\n'), [0, 1, 4, 9]));
	test('a process and a pipe', answers(python('import multiprocessing as m\ndef f(c):\n    c.send(7)\ndef handler(e, c):\n    a, b = m.Pipe()\n    p = m.Process(target=f, args=(b,))\n    p.start()\n    r = a.recv()\n    p.join()\n    return r\n'), 7));
	test('semaphores between processes are missing, as with Lambda', fails(python('import multiprocessing as m\ndef handler(e, c):\n    m.Queue()\n'), 'FileNotFoundError', /No such file/));
	test('time is UTC, time zones are there, text is UTF-8', answers(python('import time, zoneinfo, sys\ndef handler(e, c):\n    return [time.tzname[0], str(zoneinfo.ZoneInfo("Europe/Berlin")), sys.stdout.encoding, "ü🎉"]\n'),
		['UTC', 'Europe/Berlin', 'utf-8', 'ü🎉']));
	test('logging has level and request id', async () => {
		const r = await run(python('import logging\nlog = logging.getLogger()\nlog.setLevel("INFO")\ndef handler(e, c):\n    print("plain é")\n    log.info("two\\nlines")\n'));
		assert.match(r.log, /^plain é$/m);
		assert.match(r.log, new RegExp(`^\\[INFO\\]\t\\S+Z\t${r.id}\ttwo\rlines$`, 'm'));
	});
	test('an exit', fails(python('import sys\ndef handler(e, c):\n    sys.exit(2)\n'), 'Runtime.ExitError', /exit status 2$/));
	test('a crash', fails(python('import ctypes\ndef handler(e, c):\n    ctypes.string_at(0)\n'), 'Runtime.ExitError', /signal: segmentation fault$/));
	test('no such module', fails(python('import nothere\n'), 'Runtime.ImportModuleError', "Unable to import module 'app': No module named 'nothere'"));
	test('a syntax error', fails(python('def handler(e, c)\n    return 1\n'), 'Runtime.UserCodeSyntaxError', "Syntax error in module 'app': expected ':' (app.py, line 1)"));
	test('no handler', fails(python('x = 1\n'), 'Runtime.HandlerNotFound', "Handler 'handler' missing on module 'app'"));
	test('an answer that is no JSON', fails(python('def handler(e, c):\n    return {1}\n'), 'Runtime.MarshalError', 'Unable to marshal response: Object of type set is not JSON serializable'));
});

describe('bootstraps', () => {
	const own = (list, mode) => ({ ...files(python(''), list, mode), Runtime: 'provided.al2023', Handler: 'fn.handler' });
	const loop = `#!/bin/sh
api=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime
while :; do
	curl -sS -D /tmp/head -o /tmp/event "$api/invocation/next"
	id=$(sed -n 's/^Lambda-Runtime-Aws-Request-Id: *//Ip' /tmp/head | tr -d '\\r')
	printf '["%s","%s","%s","%s"]' "$_HANDLER" "$PWD" "$AWS_EXECUTION_ENV" "$(id -un)" |
		curl -sS -o /dev/null -d @- "$api/invocation/$id/response"
done
`;
	const cannot = (source, reason) => async () => {
		const r = await run(source);
		assert.equal(r.error, 'Unhandled');
		assert.deepEqual(r.value, { errorType: 'Runtime.InvalidEntrypoint', errorMessage: `RequestId: ${r.id} Error: ${reason}` });
		// Whoever reads only the log must find it there.
		assert.ok(r.log.includes(`RequestId: ${r.id} Error: ${reason}\nRuntime.InvalidEntrypoint\n`), r.log);
		assert.match(r.log, /\tStatus: error\tError Type: Runtime\.InvalidEntrypoint/);
	};

	test('a shell and curl', answers(own({ bootstrap: loop }), ['fn.handler', '/var/task', '', 'sbx_user1051']));
	test('none at all', cannot(own({ other: 'x' }), "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"));
	test('one that may not be executed', cannot(own({ bootstrap: loop }, 0o100644), 'fork/exec /var/task/bootstrap: permission denied'));
	test('one whose interpreter is not there', cannot(own({ bootstrap: '#!/nothere\n' }), 'fork/exec /var/task/bootstrap: no such file or directory'));
	test('one with line ends of Windows', cannot(own({ bootstrap: '#!/bin/sh\r\nexit 0\r\n' }), 'fork/exec /var/task/bootstrap: no such file or directory'));
	test('one that is no program', cannot(own({ bootstrap: 'hello\n' }), 'fork/exec /var/task/bootstrap: exec format error'));
	test('one that ends', async () => {
		const r = await run(own({ bootstrap: '#!/bin/sh\nexit 0\n' }));
		assert.equal(r.value.errorMessage, `RequestId: ${r.id} Error: Runtime exited without providing a reason`);
		assert.match(r.log, /Runtime exited without providing a reason\nRuntime\.ExitError\n/);
	});
});
