// Invoke in all its kinds: answers, errors, limits, headers, events, throttling, clients that go.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import * as L from '@aws-sdk/client-lambda';
import { rejects, startServer } from './server.mjs';
import { echo, node, python, zip } from './zip.mjs';

let server, lambda;
const send = (Command, input) => lambda.send(new Command(input));
const create = (FunctionName, source) => send(L.CreateFunctionCommand, { FunctionName, ...source });
const invoke = (FunctionName, Payload, more) => send(L.InvokeCommand, { FunctionName, Payload, ...more });
const text = (r) => Buffer.from(r.Payload).toString();
const json = (r) => JSON.parse(text(r));
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const bad = 'InvalidRequestContentException';

const describeContext = `
import os
def handler(event, context):
    cc = context.client_context
    return {"arn": context.invoked_function_arn, "id": context.aws_request_id,
            "version": context.function_version, "memory": context.memory_limit_in_mb,
            "trace": os.environ.get("_X_AMZN_TRACE_ID"), "own": os.environ.get("OWN"),
            "custom": cc.custom if cc else None}
`;
const fails = 'def handler(event, context):\n    raise ValueError("no good")\n';
const slow = 'import time\ndef handler(event, context):\n    time.sleep(event["s"])\n    return "slept"\n';

before(async () => {
	server = await startServer();
	lambda = new L.LambdaClient({ ...server.client(), requestHandler: { connectionTimeout: 5000 } });
	await create('echo', python(echo));
	await create('context', python(describeContext, { Environment: { Variables: { OWN: 'mine' } }, Publish: true }));
	await create('fails', python(fails));
	await create('slow', python(slow, { Timeout: 5 }));
});
after(() => server?.stop());

describe('RequestResponse', () => {
	test('answers with what the function returns', async () => {
		const r = await invoke('echo', '{"a":[1,2,{"b":null}]}');
		assert.equal(r.StatusCode, 200);
		assert.equal(r.ExecutedVersion, '$LATEST');
		assert.equal(r.FunctionError, undefined);
		assert.equal(r.LogResult, undefined);
		assert.deepEqual(json(r), { a: [1, 2, { b: null }] });
	});

	test('no payload is an empty object', async () => assert.deepEqual(json(await invoke('echo')), {}));

	test('Node.js too', async () => {
		await create('js', node('export const handler = async (event, context) => [event, context.awsRequestId];'));
		const r = await invoke('js', '"x"');
		assert.deepEqual(json(r), ['x', r.$metadata.requestId]);
	});

	test('variables of the interpreters themselves count', async () => {
		await create('py-own', python('import sys\ndef handler(e, c):\n    return sys.flags.hash_randomization\n',
			{ Environment: { Variables: { PYTHONHASHSEED: '0' } } }));
		assert.equal(json(await invoke('py-own')), 0);
		await create('js-own', node('export const handler = async () => process.throwDeprecation;',
			{ Environment: { Variables: { NODE_OPTIONS: '--throw-deprecation' } } }));
		assert.equal(json(await invoke('js-own')), true);
	});

	test('an own bootstrap too', async () => {
		const script = `#!/bin/sh
# exit instead of a loop: no curl in the box
exit 3
`;
		await create('own', { ...python(''), Runtime: 'provided.al2023', Handler: 'none', Code: { ZipFile: zip({ bootstrap: script }) } });
		const r = await invoke('own');
		assert.equal(r.FunctionError, 'Unhandled');
		assert.equal(json(r).errorType, 'Runtime.ExitError');
	});

	test('the context knows what it must', async () => {
		const client = Buffer.from(JSON.stringify({ custom: { k: 'v' } })).toString('base64');
		const r = await invoke('context', '{}', { Qualifier: '1', ClientContext: client });
		const c = json(r);
		assert.equal(c.arn, 'arn:aws:lambda:us-east-1:123456789012:function:context:1');
		assert.equal(c.id, r.$metadata.requestId);
		assert.equal(c.version, '1');
		assert.equal(Number(c.memory), 128);
		assert.equal(c.own, 'mine');
		assert.deepEqual(c.custom, { k: 'v' });
		assert.match(c.trace, /^Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0/);
		assert.equal(json(await invoke('context')).arn, 'arn:aws:lambda:us-east-1:123456789012:function:context');
	});

	test('a trace id is passed on', async () => {
		const trace = 'Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1';
		const command = new L.InvokeCommand({ FunctionName: 'context' });
		let answered;
		command.middlewareStack.add((next) => async (args) => {
			args.request.headers['X-Amzn-Trace-Id'] = trace;
			const result = await next(args);
			answered = result.response.headers['x-amzn-trace-id'];
			return result;
		}, { step: 'build' });
		const passed = json(await lambda.send(command)).trace;
		assert.match(passed, /;Lineage=1:[0-9a-f]{8}:0$/);
		assert.equal(passed.replace(/;Lineage=.*/, ''), trace);
		assert.equal(answered, trace);
	});

	test('errors of the function come with 200 and a header', async () => {
		const r = await invoke('fails', '{}', { LogType: 'Tail' });
		assert.equal(r.StatusCode, 200);
		assert.equal(r.FunctionError, 'Unhandled');
		assert.equal(json(r).errorType, 'ValueError');
		assert.equal(json(r).errorMessage, 'no good');
		const log = Buffer.from(r.LogResult, 'base64').toString();
		assert.match(log, new RegExp(`START RequestId: ${r.$metadata.requestId} Version: \\$LATEST`));
		assert.match(log, new RegExp(`REPORT RequestId: ${r.$metadata.requestId}\tDuration: `));
	});

	test('a time-out', async () => {
		await create('late', python(slow, { Timeout: 1 }));
		const r = await invoke('late', '{"s":30}');
		assert.equal(r.FunctionError, 'Unhandled');
		assert.equal(json(r).errorType, 'Sandbox.Timedout');
		assert.equal(json(r).errorMessage, `RequestId: ${r.$metadata.requestId} Error: Task timed out after 1.00 seconds`);
	});

	test('what is no JSON is refused', async () => {
		for (const payload of ['{', 'nope', '{"a":}', '[1,]', '"\u0001"', '{} {}', '01', '"\\x"', Buffer.from([0x22, 0xff, 0x22])]) {
			const e = await rejects(invoke('echo', payload), bad, /^Could not parse request body into json: /);
			assert.equal(e.$metadata.httpStatusCode, 400);
		}
		for (const payload of ['null', ' 1.5e-3 ', '"\\ud83d\\ude00"', '[]', '{"":{}}', 'true'])
			assert.deepEqual(json(await invoke('echo', payload)), JSON.parse(payload));
	});

	test('six megabytes go in and out, more do not', async () => {
		await create('length', python('def handler(event, context):\n    return len(event)\n'));
		const limit = 6291556;
		assert.equal(json(await invoke('length', JSON.stringify('x'.repeat(limit - 2)))), limit - 2);
		const e = await rejects(invoke('length', JSON.stringify('x'.repeat(limit - 1))), 'RequestEntityTooLargeException');
		assert.equal(e.$metadata.httpStatusCode, 413);
	});

	test('what does not exist', async () => {
		await rejects(invoke('absent'), 'ResourceNotFoundException',
			'Function not found: arn:aws:lambda:us-east-1:123456789012:function:absent');
		await rejects(invoke('echo', '{}', { Qualifier: 'no' }), 'ResourceNotFoundException',
			'Function not found: arn:aws:lambda:us-east-1:123456789012:function:echo:no');
		await rejects(invoke('echo', '{}', { InvocationType: 'Never' }), 'ValidationException');
		await rejects(invoke('echo', '{}', { ClientContext: 'no base64!' }), bad, /^Client context must be/);
		await rejects(invoke('echo', '{}', { ClientContext: 'A'.repeat(3584) }), bad, /at most 3583 bytes/);
		await rejects(invoke('999999999999:function:echo'), 'AccessDeniedException', /lambda:InvokeFunction/);
	});

	test('a hundred at once', async () => {
		const all = await Promise.all(Array.from({ length: 100 }, (_, i) => invoke('echo', `${i}`)));
		assert.deepEqual(all.map(json), Array.from({ length: 100 }, (_, i) => i));
	});

	test('a client that goes away leaves nothing behind', async () => {
		const stop = new AbortController();
		const gone = lambda.send(new L.InvokeCommand({ FunctionName: 'slow', Payload: '{"s":1}' }), { abortSignal: stop.signal });
		await sleep(300);
		stop.abort();
		await assert.rejects(gone, { name: 'AbortError' });
		assert.equal(json(await invoke('slow', '{"s":0}')), 'slept');
	});
});

test('DryRun runs nothing', async () => {
	assert.equal((await invoke('fails', '{}', { InvocationType: 'DryRun' })).StatusCode, 204);
	await rejects(invoke('absent', '{}', { InvocationType: 'DryRun' }), 'ResourceNotFoundException');
});

describe('Event', () => {
	test('202 and nothing else', async () => {
		const r = await invoke('echo', '{"e":1}', { InvocationType: 'Event' });
		assert.equal(r.StatusCode, 202);
		assert.equal(r.Payload?.length ?? 0, 0);
		assert.equal(r.FunctionError, undefined);
	});

	test('one megabyte, not more', async () => {
		assert.equal((await invoke('echo', JSON.stringify('x'.repeat(1048574)), { InvocationType: 'Event' })).StatusCode, 202);
		const e = await rejects(invoke('echo', JSON.stringify('x'.repeat(1048575)), { InvocationType: 'Event' }), 'RequestTooLargeException',
			'Request must be smaller than 1048576 bytes for the InvokeFunction operation');
		assert.equal(e.$metadata.httpStatusCode, 413);
	});

	test('must be JSON', () => rejects(invoke('echo', 'x', { InvocationType: 'Event' }), bad));

	test('InvokeAsync, the old way', async () => {
		const r = await send(L.InvokeAsyncCommand, { FunctionName: 'echo', InvokeArgs: Buffer.from('{}') });
		assert.equal(r.Status, 202);
		await rejects(send(L.InvokeAsyncCommand, { FunctionName: 'echo', InvokeArgs: Buffer.from('{') }), bad);
	});
});

describe('throttling', () => {
	test('reserved concurrency 0 and 1', async () => {
		// A function of its own: what an earlier test left running would count.
		await create('throttled', python(slow, { Timeout: 5 }));
		await send(L.PutFunctionConcurrencyCommand, { FunctionName: 'throttled', ReservedConcurrentExecutions: 0 });
		const e = await rejects(invoke('throttled', '{"s":0}'), 'TooManyRequestsException', 'Rate Exceeded.');
		assert.equal(e.$metadata.httpStatusCode, 429);
		assert.equal(e.Reason, 'ReservedFunctionConcurrentInvocationLimitExceeded');
		assert.equal(e.retryAfterSeconds, '1');
		await send(L.PutFunctionConcurrencyCommand, { FunctionName: 'throttled', ReservedConcurrentExecutions: 1 });
		const two = await Promise.allSettled([invoke('throttled', '{"s":0.5}'), invoke('throttled', '{"s":0.5}')]);
		assert.deepEqual(two.map((r) => r.status).sort(), ['fulfilled', 'rejected']);
		await send(L.DeleteFunctionConcurrencyCommand, { FunctionName: 'throttled' });
	});
});

describe('while things change', () => {
	test('new code runs at once, what runs ends on the old', async () => {
		await create('changing', python(slow, { Timeout: 5 }));
		const old = invoke('changing', '{"s":1}');
		await sleep(300);
		await send(L.UpdateFunctionCodeCommand, { FunctionName: 'changing', ZipFile: zip({ 'app.py': 'def handler(e, c):\n    return "new"\n' }) });
		assert.equal(json(await invoke('changing')), 'new');
		assert.equal(json(await old), 'slept');
	});

	test('a deleted function still ends what it began', async () => {
		await create('dying', python(slow, { Timeout: 5 }));
		const last = invoke('dying', '{"s":1}');
		await sleep(300);
		await send(L.DeleteFunctionCommand, { FunctionName: 'dying' });
		await rejects(invoke('dying'), 'ResourceNotFoundException');
		assert.equal(json(await last), 'slept');
	});

	test('new variables are seen by the next invocation', async () => {
		await send(L.UpdateFunctionConfigurationCommand, { FunctionName: 'context', Environment: { Variables: { OWN: 'other' } } });
		assert.equal(json(await invoke('context')).own, 'other');
		assert.equal(json(await invoke('context:1')).own, 'mine');
	});
});
