// Answers that stream: InvokeWithResponseStream and function URLs with RESPONSE_STREAM, as they come
// and as they fail, from Node.js handlers and from an own bootstrap that speaks the Runtime API.
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, test } from 'node:test';
import * as L from '@aws-sdk/client-lambda';
import { startServer } from './server.mjs';
import { node, zip } from './zip.mjs';

const handler = `const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
export const handler = awslambda.streamifyResponse(async (event, stream, context) => {
	if (event.rawPath) event = JSON.parse(decodeURIComponent(event.rawQueryString || '%7B%7D'));
	if (event.early) throw new RangeError('early');
	if (event.type) stream.setContentType(event.type);
	if (event.http) stream = awslambda.HttpResponseStream.from(stream, event.http);
	if (event.raw) stream.setContentType('application/vnd.awslambda.http-integration-response');
	console.log('streaming');
	for (const word of event.words ?? []) { stream.write(word); await sleep(event.every ?? 0); }
	if (event.fill) stream.write('a'.repeat(event.fill));
	if (event.fail) throw new RangeError('midway');
	if (event.exit) process.exit(3);
	if (event.hang) await sleep(60000);
	const mega = Buffer.alloc(1 << 20, 'x');
	for (let i = 0; i < (event.megas ?? 0); i++)
		if (!stream.write(mega)) await new Promise((done) => stream.once('drain', done));
	stream.end();
});`;

// One answer of each kind, told apart by the event; no library, so that every byte is meant.
const bootstrap = `#!/usr/bin/python3
import json, os, socket, time
host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
def connect():
    return socket.create_connection((host, int(port)))
def head(s):
    data = b""
    while b"\\r\\n\\r\\n" not in data:
        got = s.recv(65536)
        if not got: raise SystemExit(1)
        data += got
    top, rest = data.split(b"\\r\\n\\r\\n", 1)
    fields = dict(line.split(": ", 1) for line in top.decode().lower().split("\\r\\n")[1:])
    while len(rest) < int(fields.get("content-length", 0)): rest += s.recv(65536)
    return fields, rest
s = connect()
while True:
    s.sendall(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    fields, event = head(s)
    event = json.loads(event)
    s.sendall(b"POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\\r\\nHost: x\\r\\n"
        b"Lambda-Runtime-Function-Response-Mode: streaming\\r\\nTransfer-Encoding: chunked\\r\\n"
        b"Content-Type: text/plain\\r\\nTrailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\\r\\n\\r\\n"
        % fields["lambda-runtime-aws-request-id"].encode())
    for word in event["words"]:
        s.sendall(b"%x\\r\\n%s\\r\\n" % (len(word), word.encode()))
        time.sleep(event.get("every", 0))
    if event.get("cut"):
        s.close()
        s = connect()
        continue
    trailers = b"".join(b"%s: %s\\r\\n" % (k.encode(), v.encode()) for k, v in event.get("trailers", {}).items())
    s.sendall(b"0\\r\\n" + trailers + b"\\r\\n")
    head(s)
`;

let server, lambda, url;
const text = (bytes) => Buffer.from(bytes).toString();

// All events of an answer, and when they came.
async function stream(FunctionName, payload, more = {}) {
	const answer = await lambda.send(new L.InvokeWithResponseStreamCommand({ FunctionName, Payload: JSON.stringify(payload), ...more }));
	const chunks = [], times = [];
	let end;
	for await (const event of answer.EventStream) {
		assert.equal(end, undefined);
		if (event.PayloadChunk) {
			chunks.push(Buffer.from(event.PayloadChunk.Payload));
			times.push(performance.now());
		} else end = event.InvokeComplete;
	}
	return { answer, chunks, times, end, body: Buffer.concat(chunks) };
}

const ask = (event, { onData, path } = {}) => new Promise((resolve, reject) => {
	const { port } = new URL(server.url), from = performance.now();
	const query = event === undefined ? '' : `?${encodeURIComponent(JSON.stringify(event))}`;
	request({ host: '127.0.0.1', port, path: `${path ?? '/'}${query}`, headers: { Host: new URL(url).host } }, (answer) => {
		const parts = [], times = [performance.now() - from];
		const done = (complete) => resolve({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(parts), times, complete });
		answer.on('data', (d) => { parts.push(d); times.push(performance.now() - from); onData?.(answer, d); });
		answer.on('end', () => done(true)).on('error', () => done(false));
	}).on('error', reject).end();
});

before(async () => {
	server = await startServer();
	lambda = new L.LambdaClient({ ...server.client(), maxAttempts: 1 });
	const create = (FunctionName, more) => lambda.send(new L.CreateFunctionCommand({ FunctionName, Timeout: 10, ...more }));
	await create('streams', node(handler));
	await create('short', { ...node(handler), Timeout: 1 });
	await create('whole', node('export const handler = async (e) => { if (e.fail) throw new Error("no"); return { statusCode: 201, body: "b", ...e.answer }; };'));
	await create('own', { ...node(''), Runtime: 'provided.al2023', Handler: 'x', Code: { ZipFile: zip({ bootstrap }) } });
	const send = (Command, input) => lambda.send(new Command({ FunctionName: 'streams', ...input }));
	await send(L.AddPermissionCommand, { StatementId: 'a', Action: 'lambda:InvokeFunctionUrl', Principal: '*', FunctionUrlAuthType: 'NONE' });
	await send(L.AddPermissionCommand, { StatementId: 'b', Action: 'lambda:InvokeFunction', Principal: '*', InvokedViaFunctionUrl: true });
	const made = await send(L.CreateFunctionUrlConfigCommand, { AuthType: 'NONE', InvokeMode: 'RESPONSE_STREAM' });
	assert.equal(made.InvokeMode, 'RESPONSE_STREAM');
	url = made.FunctionUrl;
});
after(() => server?.stop());

describe('InvokeWithResponseStream', () => {
	for (const name of ['streams', 'own'])
		test(`${name}: words as they are written`, async () => {
			const seconds = name === 'own' ? 0.6 : 600;
			const r = await stream(name, { words: ['one ', 'two ', 'three'], every: seconds }, { LogType: 'Tail' });
			assert.equal(text(r.body), 'one two three');
			assert.equal(r.chunks.length, 3);
			assert.ok(r.times[2] - r.times[0] > 600, `${r.times}`);
			assert.equal(r.answer.StatusCode, 200);
			assert.equal(r.answer.ExecutedVersion, '$LATEST');
			assert.equal(r.answer.ResponseStreamContentType, 'application/vnd.amazon.eventstream');
			assert.equal(r.end.ErrorCode, undefined);
			assert.match(text(Buffer.from(r.end.LogResult, 'base64')), /^END RequestId: .*\nREPORT /m);
		});

	test('what fails midway says so at its end', async () => {
		const r = await stream('streams', { words: ['one', 'two'], every: 20, fail: true });
		assert.equal(text(r.body), 'onetwo');
		assert.equal(r.end.ErrorCode, 'Unhandled');
		const details = JSON.parse(r.end.ErrorDetails);
		assert.deepEqual([details.errorType, details.errorMessage], ['RangeError', 'midway']);
		assert.equal(r.end.LogResult, undefined);
		assert.equal(text((await stream('streams', { words: ['fine'] })).body), 'fine');
	});

	test('trailers of the Runtime API are errors', async () => {
		const body = { errorType: 'Oops', errorMessage: 'half way' };
		const trailers = { 'Lambda-Runtime-Function-Error-Type': 'Function.Oops', 'Lambda-Runtime-Function-Error-Body': Buffer.from(JSON.stringify(body)).toString('base64') };
		const r = await stream('own', { words: ['a', 'b'], trailers });
		assert.equal(text(r.body), 'ab');
		assert.equal(r.end.ErrorCode, 'Unhandled');
		assert.deepEqual(JSON.parse(r.end.ErrorDetails), body);
		const whole = await lambda.send(new L.InvokeCommand({ FunctionName: 'own', Payload: JSON.stringify({ words: ['a'], trailers }) }));
		assert.equal(whole.FunctionError, 'Unhandled');
		assert.deepEqual(JSON.parse(text(whole.Payload)), body);
	});

	test('an answer whose connection breaks is truncated', async () => {
		const r = await stream('own', { words: ['a'], cut: true });
		assert.equal(text(r.body), 'a');
		assert.equal(JSON.parse(r.end.ErrorDetails).errorType, 'Runtime.TruncatedResponse');
		assert.equal(text((await stream('own', { words: ['fine'] })).body), 'fine');
	});

	test('time-outs and ends of the process', async () => {
		const [hangs, exits] = await Promise.all([stream('short', { words: ['x'], hang: true }), stream('streams', { words: ['x'], every: 50, exit: true })]);
		assert.equal(text(hangs.body), 'x');
		assert.match(JSON.parse(hangs.end.ErrorDetails).errorMessage, /Task timed out after 1.00 seconds/);
		assert.equal(text(exits.body), 'x');
		assert.equal(JSON.parse(exits.end.ErrorDetails).errorType, 'Runtime.ExitError');
		assert.equal(text((await stream('short', { words: ['fine'] })).body), 'fine');
	});

	test('a function that does not stream is one chunk', async () => {
		const r = await stream('whole', { answer: { a: 1 } });
		assert.deepEqual(r.chunks.map(text), ['{"statusCode":201,"body":"b","a":1}']);
		assert.equal(r.end.ErrorCode, undefined);
		const f = await stream('whole', { fail: true });
		assert.equal(f.chunks.length, 0);
		assert.equal(JSON.parse(f.end.ErrorDetails).errorMessage, 'no');
		const early = await stream('streams', { early: true });
		assert.deepEqual([early.chunks.length, early.end.ErrorCode], [0, 'Unhandled']);
		assert.equal((await stream('streams', {})).body.length, 0);
	});

	test('who wants it whole gets it whole', async () => {
		const r = await lambda.send(new L.InvokeCommand({ FunctionName: 'streams', Payload: '{"words":["a","b"]}' }));
		assert.equal(text(r.Payload), 'ab');
	});

	test('much, by a client that takes its time', async () => {
		const answer = await lambda.send(new L.InvokeWithResponseStreamCommand({ FunctionName: 'streams', Payload: '{"megas":24}' }));
		let size = 0, slow = 6;
		for await (const event of answer.EventStream) {
			size += event.PayloadChunk?.Payload.length ?? 0;
			if (slow-- > 0) await sleep(100);
			assert.equal(event.InvokeComplete?.ErrorCode, undefined);
		}
		assert.equal(size, 24 << 20);
	});

	test('a client that goes leaves the function to its end', async () => {
		const abort = new AbortController();
		const answer = await lambda.send(new L.InvokeWithResponseStreamCommand({ FunctionName: 'streams', Payload: '{"megas":30}' }), { abortSignal: abort.signal });
		await assert.rejects(async () => {
			for await (const event of answer.EventStream) if (event) abort.abort();
		});
		assert.equal(text((await stream('streams', { words: ['fine'] })).body), 'fine');
	});

	test('refusals come before the stream', async () => {
		const rejects = (input, name) => assert.rejects(lambda.send(new L.InvokeWithResponseStreamCommand({ FunctionName: 'streams', ...input })), { name });
		await rejects({ FunctionName: 'nobody' }, 'ResourceNotFoundException');
		await rejects({ Payload: '{' }, 'InvalidRequestContentException');
		await rejects({ TenantId: 'a' }, 'InvalidParameterValueException');
		await rejects({ InvocationType: 'Event' }, 'ValidationException');
		await lambda.send(new L.PutFunctionConcurrencyCommand({ FunctionName: 'whole', ReservedConcurrentExecutions: 0 }));
		await rejects({ FunctionName: 'whole' }, 'TooManyRequestsException');
		await lambda.send(new L.DeleteFunctionConcurrencyCommand({ FunctionName: 'whole' }));
		const dry = await lambda.send(new L.InvokeWithResponseStreamCommand({ FunctionName: 'streams', InvocationType: 'DryRun' }));
		assert.equal(dry.StatusCode, 204);
	});
});

describe('function URLs', () => {
	test('status, headers and cookies first, then words as they are written', async () => {
		const http = { statusCode: 203, headers: { 'Content-Type': 'text/plain', 'X-A': 1 }, cookies: ['a=1', 'b=2'] };
		const r = await ask({ http, words: ['one ', 'two ', 'three'], every: 400 });
		assert.equal(r.status, 203);
		assert.equal(text(r.body), 'one two three');
		assert.equal(r.headers['content-type'], 'text/plain');
		assert.equal(r.headers['x-a'], '1');
		assert.deepEqual(r.headers['set-cookie'], ['a=1', 'b=2']);
		assert.equal(r.headers['transfer-encoding'], 'chunked');
		assert.match(r.headers['x-amzn-requestid'], /^[0-9a-f-]{36}$/);
		assert.ok(r.times.at(-1) - r.times[1] > 200, `${r.times}`);
		assert.ok(r.complete);
	});

	test('without them it is 200 and bytes', async () => {
		const plain = await ask({ words: ['x'] });
		assert.deepEqual([plain.status, plain.headers['content-type'], text(plain.body)], [200, 'application/octet-stream', 'x']);
		const typed = await ask({ words: ['x'], type: 'text/event-stream' });
		assert.equal(typed.headers['content-type'], 'text/event-stream');
		const bare = await ask({ http: {}, words: ['x'] });
		assert.deepEqual([bare.status, bare.headers['content-type'], text(bare.body)], [200, 'application/octet-stream', 'x']);
		assert.deepEqual(text((await ask({ http: { statusCode: 204 } })).body), '');
	});

	test('failing before the first byte is a 502, later a broken connection', async () => {
		assert.equal((await ask({ early: true })).status, 502);
		const r = await ask({ words: ['one'], every: 50, fail: true });
		assert.deepEqual([r.status, text(r.body), r.complete], [200, 'one', false]);
	});

	test('what is no status and headers is a 502', async () => {
		assert.equal((await ask({ raw: true, words: ['no mark'] })).status, 502);
		assert.equal((await ask({ raw: true, words: ['{"statusCode":"x"}\0\0\0\0\0\0\0\0y'] })).status, 502);
		assert.equal((await ask({ raw: true, words: ['[]\0\0\0\0\0\0\0\0y'] })).status, 502);
		assert.equal((await ask({ raw: true, fill: 70000 })).status, 502);
		assert.equal(text((await ask({ raw: true, words: ['{}\0\0\0', '\0\0\0\0', '\0y'], every: 20 })).body), 'y');
	});

	test('much, by a client that takes its time', async () => {
		let slow = 5;
		const r = await ask({ megas: 24 }, {
			onData: (answer) => {
				if (slow-- <= 0) return;
				answer.pause();
				setTimeout(() => answer.resume(), 100);
			},
		});
		assert.equal(r.body.length, 24 << 20);
	});

	test('back to answers that are whole', async () => {
		await lambda.send(new L.UpdateFunctionUrlConfigCommand({ FunctionName: 'streams', InvokeMode: 'BUFFERED' }));
		const r = await ask({ http: { statusCode: 203 }, words: ['x'] });
		assert.deepEqual([r.status, text(r.body), r.headers['content-length']], [203, 'x', '1']);
		const got = await lambda.send(new L.GetFunctionUrlConfigCommand({ FunctionName: 'streams' }));
		assert.equal(got.InvokeMode, 'BUFFERED');
	});
});
