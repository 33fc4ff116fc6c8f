// Function URLs, from the side of HTTP clients: bodies of all kinds, cookies, answers, CORS,
// signatures.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { request } from 'node:http';
import { after, before, describe, test } from 'node:test';
import * as L from '@aws-sdk/client-lambda';
import { startServer } from './server.mjs';
import { node } from './zip.mjs';

const answers = `export const handler = async (e) => ({
	binary: { statusCode: 201, headers: { 'Content-Type': 'image/png', 'X-Number': 1, 'X-True': true },
		cookies: ['a=1; Path=/', 'b=2'], body: Buffer.from([0, 255, 1]).toString('base64'), isBase64Encoded: true },
	text: 'hello', number: 5, list: [1], object: { a: 1 }, nothing: null,
	textcode: { statusCode: '404', body: 'nf' }, nobody: { statusCode: 302, headers: { Location: '/x' } },
	empty: { statusCode: 204, body: 'ignored' },
	own: { statusCode: 200, headers: { 'Content-Length': '1', Connection: 'close', 'Transfer-Encoding': 'chunked', 'X-Bad': 'a\\r\\nb: c' }, body: 'abc' },
	objectbody: { statusCode: 200, body: { a: 1 } }, lowcode: { statusCode: 99 }, wordcode: { statusCode: 'x' },
	badbase64: { statusCode: 200, body: '***', isBase64Encoded: true },
})[e.rawPath.slice(1)];`;
const Cors = { AllowOrigins: ['https://a.example'], AllowMethods: ['GET', 'POST'], AllowHeaders: ['x-a'], MaxAge: 60, AllowCredentials: true };
let server, lambda;
const urls = {};

async function make(FunctionName, text, more = {}) {
	const send = (Command, input) => lambda.send(new Command({ FunctionName, ...input }));
	await send(L.CreateFunctionCommand, node(text));
	await send(L.AddPermissionCommand, { StatementId: 'a', Action: 'lambda:InvokeFunctionUrl', Principal: '*', FunctionUrlAuthType: 'NONE' });
	await send(L.AddPermissionCommand, { StatementId: 'b', Action: 'lambda:InvokeFunction', Principal: '*', InvokedViaFunctionUrl: true });
	urls[FunctionName] = (await send(L.CreateFunctionUrlConfigCommand, { AuthType: 'NONE', ...more })).FunctionUrl;
}

// localhost names resolve, but not everywhere: ask the address, name the host.
const ask = (name, path = '/', { method = 'GET', headers = {}, body } = {}) => new Promise((resolve, reject) => {
	const { port } = new URL(server.url), host = urls[name] ? new URL(urls[name]).host : name;
	const length = body === undefined ? {} : { 'Content-Length': Buffer.byteLength(body) };
	request({ host: '127.0.0.1', port, path, method, headers: { Host: host, ...length, ...headers } }, (answer) => {
		const parts = [];
		answer.on('data', (d) => parts.push(d)).on('end', () => {
			resolve({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(parts) });
		});
	}).on('error', reject).end(body);
});
const event = async (path, options) => JSON.parse((await ask('echo', path, options)).body);

before(async () => {
	server = await startServer();
	lambda = new L.LambdaClient(server.client());
	await make('echo', 'export const handler = async (e) => e;');
	await make('answers', answers, { Cors });
	await make('fails', 'export const handler = async () => { throw new Error("x"); };');
	await make('signed', 'export const handler = async (e) => e.requestContext.authorizer.iam.userArn;', { AuthType: 'AWS_IAM' });
});
after(() => server?.stop());

describe('what the function gets', () => {
	test('path as it came, queries joined, cookies apart, repeated headers joined', async () => {
		const e = await event('/a%20b/%2F/c?x=1&x=%2F&y=a%2Bb&z', { headers: { Cookie: 'a=1; b=2', 'X-Multi': ['1', '2'] } });
		assert.equal(e.version, '2.0');
		assert.equal(e.rawPath, '/a%20b/%2F/c');
		assert.equal(e.rawQueryString, 'x=1&x=%2F&y=a%2Bb&z');
		assert.deepEqual(e.queryStringParameters, { x: '1,/', y: 'a+b', z: '' });
		assert.deepEqual(e.cookies, ['a=1', 'b=2']);
		assert.equal(e.headers.cookie, undefined);
		assert.equal(e.headers['x-multi'], '1,2');
		assert.equal(e.body, undefined);
	});

	test('text as text, all else in base64', async () => {
		const bytes = Buffer.from([0, 255, 254, 10, 13, 128]);
		const body = async (type, data) => {
			const e = await event('/', { method: 'POST', body: data, headers: type ? { 'Content-Type': type } : {} });
			return [e.body, e.isBase64Encoded];
		};
		assert.deepEqual(await body('text/plain; charset=utf-8', 'grüße'), ['grüße', false]);
		assert.deepEqual(await body('application/json', '{"a":1}'), ['{"a":1}', false]);
		assert.deepEqual(await body('application/octet-stream', bytes), [bytes.toString('base64'), true]);
		assert.deepEqual(await body('text/plain', bytes), [bytes.toString('base64'), true]);
		assert.deepEqual(await body('application/x-www-form-urlencoded', 'a=1&b=2'), [Buffer.from('a=1&b=2').toString('base64'), true]);
		assert.deepEqual(await body(null, 'hello'), [Buffer.from('hello').toString('base64'), true]);
	});

	test('six megabytes, not more', async () => {
		const post = (size) => ask('echo', '/', { method: 'POST', body: 'x'.repeat(size), headers: { 'Content-Type': 'text/plain' } });
		const most = await post(6 * 1024 * 1024 - 2000);
		assert.equal(most.status, 200);
		assert.equal(JSON.parse(most.body).body.length, 6 * 1024 * 1024 - 2000);
		assert.equal((await post(6 * 1024 * 1024 + 1)).status, 413);
	});
});

describe('what the client gets', () => {
	test('status, headers, cookies and bytes', async () => {
		const r = await ask('answers', '/binary');
		assert.equal(r.status, 201);
		assert.deepEqual([...r.body], [0, 255, 1]);
		assert.equal(r.headers['content-type'], 'image/png');
		assert.equal(r.headers['x-number'], '1');
		assert.equal(r.headers['x-true'], 'true');
		assert.deepEqual(r.headers['set-cookie'], ['a=1; Path=/', 'b=2']);
	});

	test('values that are no answer become one', async () => {
		for (const [path, body] of [['text', 'hello'], ['number', '5'], ['list', '[1]'], ['object', '{"a":1}'], ['nothing', 'null']]) {
			const r = await ask('answers', `/${path}`);
			assert.equal(r.status, 200);
			assert.equal(r.headers['content-type'], 'application/json');
			assert.equal(r.body.toString(), body);
		}
	});

	test('codes without a body, and as text', async () => {
		assert.equal((await ask('answers', '/textcode')).status, 404);
		const moved = await ask('answers', '/nobody');
		assert.deepEqual([moved.status, moved.headers.location, moved.body.length], [302, '/x', 0]);
		const empty = await ask('answers', '/empty');
		assert.deepEqual([empty.status, empty.headers['content-length'], empty.body.length], [204, undefined, 0]);
	});

	test('the function does not frame the answer, nor forge headers', async () => {
		const r = await ask('answers', '/own');
		assert.equal(r.body.toString(), 'abc');
		assert.equal(r.headers['content-length'], '3');
		assert.equal(r.headers['x-bad'], undefined);
		assert.equal(r.headers.b, undefined);
	});

	test('502 when the function fails or its answer is none', async () => {
		for (const path of ['objectbody', 'lowcode', 'wordcode', 'badbase64'])
			assert.equal((await ask('answers', `/${path}`)).status, 502, path);
		const r = await ask('fails');
		assert.equal(r.status, 502);
		assert.equal(r.headers['x-amzn-errortype'], 'InternalServerError');
	});

	test('404 for any name that is no URL', async () => {
		const { port } = new URL(server.url);
		for (const id of ['nothere', 'a'.repeat(32), 'a'.repeat(40), '']) {
			const r = await ask(`${id}.lambda-url.us-east-1.localhost:${port}`);
			assert.equal(r.status, 404, id);
			assert.deepEqual(JSON.parse(r.body), { Message: 'Not Found' });
		}
	});
});

test('a loop is refused, and said to be one', async () => {
	const r = await ask('echo', '/', { headers: { 'X-Amzn-Trace-Id': 'Root=1-5759e988-bd862e3fe1be46a994272793;Lineage=32767:00000000:3' } });
	assert.equal(r.status, 400);
	assert.equal(r.headers['x-amzn-errortype'], 'RecursiveInvocationException');
	assert.match(r.body.toString(), /recursive loop/);
});

test('CORS is done for the function', async () => {
	const preflight = (Origin) => ask('answers', '/text', { method: 'OPTIONS', headers: { Origin, 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'x-a' } });
	const good = await preflight('https://a.example');
	assert.equal(good.status, 200);
	assert.equal(good.headers['access-control-allow-origin'], 'https://a.example');
	assert.equal(good.headers['access-control-allow-methods'], 'GET,POST');
	assert.equal(good.headers['access-control-allow-headers'], 'x-a');
	assert.equal(good.headers['access-control-max-age'], '60');
	assert.equal(good.body.length, 0);
	assert.equal((await preflight('https://b.example')).headers['access-control-allow-origin'], undefined);
	const get = (Origin) => ask('answers', '/text', { headers: { Origin } });
	assert.equal((await get('https://a.example')).headers['access-control-allow-origin'], 'https://a.example');
	assert.equal((await get('https://b.example')).headers['access-control-allow-origin'], undefined);
});

test('signed by curl: answered, or told what is wrong', () => {
	const { accessKeyId: id, secretAccessKey: secret } = server.credentials;
	const { hostname, port } = new URL(urls.signed);
	const curl = (user, region, ...more) => execFileSync('curl', ['-sS', '--noproxy', '*', '--resolve', `${hostname}:${port}:127.0.0.1`,
		'--aws-sigv4', `aws:amz:${region}:lambda`, '--user', user, ...more, urls.signed], { encoding: 'utf8' });
	const arn = 'arn:aws:iam::123456789012:root';
	assert.equal(curl(`${id}:${secret}`, 'us-east-1'), arn);
	assert.equal(curl(`${id}:${secret}`, 'us-east-1', '-d', '{"x":2}', '-H', 'Content-Type: application/json'), arn);
	assert.match(curl(`${id}:wrong`, 'us-east-1'), /^\{"Message":"The request signature we calculated does not match/);
	assert.match(curl(`${id}:${secret}`, 'eu-west-1'), /scoped to a valid region/);
	assert.match(curl(`AKIAXXXXXXXXXXXXXXXX:${secret}`, 'us-east-1'), /security token included in the request is invalid/);
	const unsigned = execFileSync('curl', ['-sS', '--noproxy', '*', '--resolve', `${hostname}:${port}:127.0.0.1`, urls.signed], { encoding: 'utf8' });
	assert.equal(unsigned, '{"Message":"Forbidden"}');
});
