// External extensions out of layers: beside framed bootstraps and custom runtimes, through init,
// invocations, crashes and the end.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { CloudWatchLogsClient, FilterLogEventsCommand } from '@aws-sdk/client-cloudwatch-logs';
import * as L from '@aws-sdk/client-lambda';
import { startServer } from './server.mjs';
import { node, python, role, zip } from './zip.mjs';

let server, lambda, logs, made = 0;
const send = (Command, input) => lambda.send(new Command(input));
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Registers, then does what is told for each event.
const extension = (body, events = ['INVOKE', 'SHUTDOWN']) => `#!/usr/bin/env python3
import json, os, sys, time, urllib.request
base = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2020-01-01/extension/"
name = os.path.basename(sys.argv[0])
def call(path, headers, data=None):
    return urllib.request.urlopen(urllib.request.Request(base + path, data, headers))
def say(*what):
    print(name, *what, flush=True)
${body.early ?? ''}
r = call("register", {"Lambda-Extension-Name": name}, json.dumps({"events": ${JSON.stringify(events)}}).encode())
identity = {"Lambda-Extension-Identifier": r.headers["Lambda-Extension-Identifier"]}
say("REGISTERED", json.loads(r.read())["functionName"])
${body.begin ?? ''}
while True:
    event = json.loads(call("event/next", identity).read())
    say(event["eventType"], event.get("requestId", event.get("shutdownReason")))
    if event["eventType"] == "SHUTDOWN":
${(body.shutdown ?? '').replace(/^/gm, '        ')}
        sys.exit(0)
${(body.invoke ?? '').replace(/^/gm, '    ')}
`;

async function layer(files) {
	const LayerName = `layer${made++}`;
	const r = await send(L.PublishLayerVersionCommand, { LayerName, Content: { ZipFile: zip(files) } });
	return r.LayerVersionArn;
}
async function create(source, files, more = {}) {
	const FunctionName = `f${made++}`;
	await send(L.CreateFunctionCommand, { FunctionName, Timeout: 5, ...source, Layers: [await layer(files)], ...more });
	return FunctionName;
}
async function run(FunctionName, Payload = '{}') {
	const r = await send(L.InvokeCommand, { FunctionName, Payload });
	return { error: r.FunctionError, value: JSON.parse(Buffer.from(r.Payload).toString()), id: r.$metadata.requestId };
}
async function lines(name) {
	const r = await logs.send(new FilterLogEventsCommand({ logGroupName: `/aws/lambda/${name}` }));
	return r.events.map((e) => e.message.trimEnd());
}
async function until(name, pattern, seconds = 30) {
	for (let i = 0; i < seconds * 20; i++) {
		const found = (await lines(name)).find((m) => pattern.test(m));
		if (found) return found;
		await sleep(50);
	}
	assert.fail(`no ${pattern} in\n${(await lines(name)).join('\n')}`);
}
const billed = (line) => Number(line.match(/Billed Duration: (\d+) ms/)[1]);

before(async () => {
	server = await startServer(['--idle', '5']);
	lambda = new L.LambdaClient(server.client());
	logs = new CloudWatchLogsClient(server.client());
});
after(() => server?.stop());

const bootstrap = `#!/usr/bin/env python3
import os, urllib.request
base = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    r = urllib.request.urlopen(base + "next")
    urllib.request.urlopen(base + r.headers["Lambda-Runtime-Aws-Request-Id"] + "/response", b'"done"').read()
`;
const runtimes = {
	python: python('print("INIT")\ndef handler(event, context):\n    return "done"\n'),
	node: node('console.log("INIT");\nexport const handler = async () => "done";'),
	custom: { Runtime: 'provided.al2023', Handler: 'x', Role: role, Code: { ZipFile: zip({ bootstrap }) } },
};

for (const [name, source] of Object.entries(runtimes))
	test(`beside ${name}: registered first, told of each event and of the end`, async () => {
		const f = await create(source, { 'extensions/watch': extension({ early: 'say("EARLY")' }) });
		const first = await run(f);
		await until(f, /^REPORT/); // before, its environment takes nothing
		const second = await run(f);
		assert.deepEqual([first.value, second.value], ['done', 'done']);
		for (const { id } of [first, second]) await until(f, new RegExp(`^watch INVOKE ${id}`));
		await until(f, /^EXTENSION\tName: watch\tState: Ready\tEvents: \[INVOKE,SHUTDOWN\]$/);
		const all = await lines(f), at = (m) => all.indexOf(m);
		assert.ok(at(`watch REGISTERED ${f}`) >= 0);
		// What it prints of its answer races with what the runtime prints.
		if (name !== 'custom') assert.ok(at('watch EARLY') < all.findIndex((m) => /\bINIT$/.test(m)));
		assert.equal(all.filter((m) => m.startsWith('watch REGISTERED')).length, 1);
		await until(f, /^watch SHUTDOWN spindown$/i);
	});

test('the answer does not wait for extensions, the bill does', async () => {
	const f = await create(runtimes.python, { 'extensions/slow': extension({ invoke: 'time.sleep(4)\nsay("LATE")' }) }, { Timeout: 20 });
	await run(f);
	await until(f, /^REPORT/);
	const began = Date.now(), { id } = await run(f);
	assert.ok(Date.now() - began < 3500);
	const report = await until(f, new RegExp(`^REPORT RequestId: ${id}`));
	assert.ok(billed(report) >= 4000, report);
	const all = await lines(f);
	assert.ok(all.lastIndexOf('slow LATE') < all.indexOf(report));
});

test('the environment is the function\'s, but for what is the runtime\'s', async () => {
	const f = await create(runtimes.python, { 'extensions/env': extension({ begin: 'say("ENV", json.dumps(dict(os.environ)), os.getuid())' }) },
		{ Environment: { Variables: { MINE: 'yes' } } });
	await run(f);
	const text = await until(f, /^env ENV/), env = JSON.parse(text.slice('env ENV '.length).replace(/ \d+$/, ''));
	assert.equal(env.MINE, 'yes');
	assert.equal(env.AWS_LAMBDA_FUNCTION_NAME, f);
	assert.ok(env.AWS_ACCESS_KEY_ID && env.AWS_REGION && env.AWS_LAMBDA_RUNTIME_API);
	for (const name of ['_HANDLER', 'AWS_EXECUTION_ENV', 'AWS_LAMBDA_LOG_GROUP_NAME', 'AWS_XRAY_CONTEXT_MISSING', 'LAMBDA_TASK_ROOT'])
		assert.equal(env[name], undefined, name);
	assert.match(text, / 993$/);
});

describe('what goes wrong', () => {
	test('one that crashes during init', async () => {
		const f = await create(runtimes.python, { 'extensions/dies': extension({ early: 'sys.exit(3)' }) });
		const r = await run(f);
		assert.equal(r.error, 'Unhandled');
		assert.equal(r.value.errorType, 'Extension.Crash');
		assert.match(r.value.errorMessage, /^RequestId: \S+ Error: exit code 3$/);
	});

	test('one that reports that it cannot start', async () => {
		const f = await create(runtimes.python, { 'extensions/sorry': extension({
			begin: 'call("init/error", {**identity, "Lambda-Extension-Function-Error-Type": "Extension.NoConfig"}, b"{}")\ntime.sleep(60)',
		}) });
		const r = await run(f);
		assert.equal(r.value.errorType, 'Extension.InitError');
	});

	test('one that crashes while an event runs: the next one finds a new environment', async () => {
		const f = await create(python('import time\ndef handler(event, context):\n    time.sleep(event.get("s", 0))\n    return 1\n'),
			{ 'extensions/once': extension({ invoke: 'if not os.path.exists("/tmp/once"):\n    open("/tmp/once", "w").close()\n    os.kill(os.getpid(), 9)' }) });
		const r = await run(f, '{"s":3}');
		assert.equal(r.value.errorType, 'Extension.Crash');
		assert.equal((await run(f)).value, 1);
		assert.equal((await lines(f)).filter((m) => m.startsWith('once REGISTERED')).length, 2);
	});

	test('one that never registers: init runs into its time-out', async () => {
		const f = await create(runtimes.python, { 'extensions/mute': extension({ early: 'time.sleep(600)' }) }, { Timeout: 1 });
		const r = await run(f);
		assert.equal(r.value.errorType, 'Sandbox.Timedout');
		await until(f, /^INIT_REPORT .*Status: timeout/);
	});

	test('one that does not let go of an event: the time-out counts', async () => {
		const f = await create(runtimes.python, { 'extensions/stuck': extension({ invoke: 'time.sleep(600)' }) }, { Timeout: 4 });
		assert.equal((await run(f)).value, 'done');
		assert.match(await until(f, /^REPORT/), /Status: timeout/);
		assert.equal((await run(f)).value, 'done');
	});

	test('eleven', async () => {
		const files = {};
		for (let i = 0; i < 11; i++) files[`extensions/e${i}`] = extension({});
		const r = await run(await create(runtimes.python, files));
		assert.equal(r.value.errorType, 'Extension.TooManyExtensions');
	});
});

describe('after a time-out or a crash', () => {
	// The handler leaves a trace for as long as it runs.
	const source = python(`
import os, time
def handler(event, context):
    seen = os.path.exists("/tmp/beat")
    if event.get("exit"):
        os._exit(3)
    while event.get("hang"):
        with open("/tmp/beat", "a") as f:
            f.write("x")
        time.sleep(0.01)
    return seen
`);
	const shutdown = `
size = lambda: os.path.getsize("/tmp/beat") if os.path.exists("/tmp/beat") else 0
before = size()
time.sleep(0.3)
say("RUNTIME", "gone" if size() == before else "alive", 0 < event["deadlineMs"] - time.time() * 1000 < 2000)`;

	for (const [what, payload, reason] of [['time-out', '{"hang":true}', 'TIMEOUT'], ['crash', '{"exit":true}', 'FAILURE']])
		test(`${what}: extensions are told why, once the runtime is dead; /tmp stays`, async () => {
			const f = await create(source, { 'extensions/watch': extension({ shutdown }) }, { Timeout: 2 });
			const r = await run(f, payload);
			assert.equal(r.value.errorType, reason === 'TIMEOUT' ? 'Sandbox.Timedout' : 'Runtime.ExitError');
			await until(f, new RegExp(`^watch SHUTDOWN ${reason}$`));
			await until(f, /^watch RUNTIME gone True$/);
			await sleep(700); // it ends, and its box waits for less than --idle
			assert.equal((await run(f)).value, reason === 'TIMEOUT');
			assert.equal((await lines(f)).filter((m) => m.startsWith('watch REGISTERED')).length, 2);
		});

	test('one that is busy with the event is told when it is done with it', async () => {
		const f = await create(source, { 'extensions/busy': extension({ invoke: 'time.sleep(1.5)', shutdown: 'say("FLUSHED")' }) }, { Timeout: 1 });
		await run(f, '{"hang":true}');
		await until(f, /^busy SHUTDOWN TIMEOUT$/);
		await until(f, /^busy FLUSHED$/);
	});

	test('one that does not end has two seconds, in which others do its work', async () => {
		const f = await create(source, { 'extensions/stays': extension({ shutdown: 'while True:\n    time.sleep(0.5)\n    say("STILL", event["shutdownReason"])' }) }, { Timeout: 1 });
		await run(f, '{"hang":true}');
		assert.equal((await run(f)).value, false); // in another box, which has no /tmp/beat
		await until(f, /^stays STILL TIMEOUT/);
		await sleep(4000);
		const still = (await lines(f)).filter((m) => m.startsWith('stays STILL TIMEOUT')).length;
		assert.ok(still >= 1 && still <= 4, `${still}`);
	});
});

test('layers without extensions change nothing', async () => {
	const f = await create(runtimes.python, { 'python/a.py': 'A = 1\n' });
	assert.equal((await run(f)).value, 'done');
	assert.equal((await lines(f)).filter((m) => m.startsWith('EXTENSION')).length, 0);
});
