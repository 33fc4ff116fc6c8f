// Functions from container images: from a foreign registry to an answer, what runs, and what is refused.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import * as L from '@aws-sdk/client-lambda';
import { bootstrap, makeImage, startRegistry } from './oci.mjs';
import { rejects, startServer } from './server.mjs';
import { role } from './zip.mjs';

const invalid = 'InvalidParameterValueException';
let server, lambda, registry, made = 0;
const images = [];
const send = (Command, input) => lambda.send(new Command(input));

// A runtime of twenty lines: tells what it finds.
const script = `#!/bin/sh
api=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation
while :; do
	wget -S -q -O /tmp/event $api/next 2>/tmp/head
	id=$(sed -n 's/.*[Rr]equest-[Ii]d: *//p' /tmp/head | tr -d '\\r')
	wget -q -O /dev/null --post-data "{\\"cwd\\":\\"$(pwd)\\",\\"args\\":\\"$*\\",\\"who\\":\\"$WHO\\",\\"user\\":\\"$USER_SET\\",\\"path\\":\\"$PATH\\",\\"uid\\":$(id -u),\\"top\\":\\"$(cat /top)\\",\\"ls\\":\\"$(echo /*)\\",\\"name\\":\\"$AWS_LAMBDA_FUNCTION_NAME\\",\\"write\\":\\"$(touch /evil 2>&1)\\"}" $api/$id/response
done
`;

async function push(layers, config, name) {
	const image = await makeImage(layers, config);
	images.push(image);
	return { uri: await registry.push(image, name), digest: image.digest };
}

let shell, plain;
before(async () => {
	registry = await startRegistry();
	server = await startServer();
	lambda = new L.LambdaClient(server.client());
	const busybox = { data: await readFile('/bin/busybox'), mode: 0o755 };
	const tools = Object.fromEntries(['sh', 'wget', 'sed', 'tr', 'cat', 'id', 'touch'].map((n) => [`bin/${n}`, busybox]));
	shell = await push([{ ...tools, top: 'low' }, { 'app/run': { data: script, mode: 0o755 }, top: 'high' }],
		{ Entrypoint: ['run'], Cmd: ['a', 'b'], WorkingDir: '/app', Env: ['PATH=/app:/bin', 'WHO=image', 'USER_SET=image'] }, 'shell:1');
	plain = await push([{ bootstrap: { data: await bootstrap(), mode: 0o755 } }], { Cmd: ['/bootstrap'] }, 'plain');
});
after(async () => {
	await server?.stop();
	await registry?.stop();
	for (const image of images) await image.remove();
});

async function create(ImageUri, more = {}) {
	const FunctionName = `image${made++}`;
	const out = await send(L.CreateFunctionCommand, { FunctionName, Role: role, PackageType: 'Image', Code: { ImageUri }, Timeout: 20, ...more });
	await L.waitUntilFunctionActiveV2({ client: lambda, maxWaitTime: 60, minDelay: 1 }, { FunctionName });
	return { FunctionName, out };
}

async function invoke(FunctionName) {
	const r = await send(L.InvokeCommand, { FunctionName, Payload: '{}', LogType: 'Tail' });
	return { error: r.FunctionError, ...JSON.parse(Buffer.from(r.Payload).toString()), log: Buffer.from(r.LogResult, 'base64').toString() };
}

describe('a function from an image', () => {
	test('runs what its image says, in the image and nowhere else', async () => {
		const { FunctionName, out } = await create(shell.uri, { Environment: { Variables: { USER_SET: 'function' } } });
		assert.equal(out.PackageType, 'Image');
		assert.equal(out.Runtime, undefined);
		assert.equal(out.CodeSha256, shell.digest.slice(7));
		const seen = await invoke(FunctionName);
		assert.equal(seen.error, undefined, JSON.stringify(seen));
		assert.deepEqual([seen.cwd, seen.args, seen.who, seen.user, seen.path, seen.uid, seen.top, seen.name],
			['/app', 'a b', 'image', 'function', '/app:/bin', 993, 'high', FunctionName]);
		assert.match(seen.write, /Read-only file system/);
		assert.doesNotMatch(seen.ls, /\/(usr|home|root|boot)\b/);
		assert.match(seen.log, /REPORT RequestId: .*Init Duration/s);
		const got = await send(L.GetFunctionCommand, { FunctionName });
		assert.equal(got.Code.RepositoryType, 'ECR');
		assert.equal(got.Code.ImageUri, shell.uri);
		assert.ok(got.Code.ResolvedImageUri.endsWith(`@${shell.digest}`), got.Code.ResolvedImageUri);
	});

	test('runs what ImageConfig says instead, until it is taken away', async () => {
		const { FunctionName, out } = await create(shell.uri, { ImageConfig: { Command: ['c'], WorkingDirectory: '/bin' } });
		assert.deepEqual(out.ImageConfigResponse.ImageConfig, { Command: ['c'], WorkingDirectory: '/bin' });
		let seen = await invoke(FunctionName);
		assert.deepEqual([seen.cwd, seen.args], ['/bin', 'c']);
		await send(L.UpdateFunctionConfigurationCommand, { FunctionName, ImageConfig: {} });
		seen = await invoke(FunctionName);
		assert.deepEqual([seen.cwd, seen.args], ['/app', 'a b']);
	});

	test('takes another image, publishes versions of it, and stays over a restart', async () => {
		const { FunctionName } = await create(plain.uri);
		assert.equal((await invoke(FunctionName)).error, undefined);
		const one = await send(L.PublishVersionCommand, { FunctionName });
		const update = await send(L.UpdateFunctionCodeCommand, { FunctionName, ImageUri: shell.uri, Publish: true });
		assert.equal(update.CodeSha256, shell.digest.slice(7));
		assert.equal((await invoke(FunctionName)).top, 'high');
		assert.equal((await invoke(`${FunctionName}:${one.Version}`)).top, undefined);
		await server.restart();
		lambda = new L.LambdaClient(server.client());
		await L.waitUntilFunctionActiveV2({ client: lambda, maxWaitTime: 60, minDelay: 1 }, { FunctionName });
		assert.equal((await invoke(FunctionName)).top, 'high');
	});

	test('fails in Lambda\'s words when there is nothing to run', async () => {
		const missing = await create(plain.uri, { ImageConfig: { EntryPoint: ['/nothing'] } });
		let seen = await invoke(missing.FunctionName);
		assert.equal(seen.error, 'Unhandled');
		assert.equal(seen.errorType, 'Runtime.InvalidEntrypoint');
		assert.match(seen.errorMessage, /fork\/exec \/nothing: no such file or directory/);
		const nowhere = await create(plain.uri, { ImageConfig: { WorkingDirectory: '/nowhere' } });
		seen = await invoke(nowhere.FunctionName);
		assert.equal(seen.errorType, 'Runtime.InvalidWorkingDir');
	});
});

describe('refused', () => {
	const asked = (more) => send(L.CreateFunctionCommand, { FunctionName: 'refused', Role: role, PackageType: 'Image', ...more });

	test('what is no image, or not there', async () => {
		await rejects(asked({ Code: { ImageUri: `${registry.host}/not/there:1` } }), invalid, /does not exist/);
		await rejects(asked({ Code: { ImageUri: 'not a name' } }), invalid, /not valid/);
		await rejects(asked({ Code: { ImageUri: `127.0.0.1:1/nobody:1` } }), invalid, /does not exist, or cannot be read/);
	});

	test('what belongs to zips, and images where zips belong', async () => {
		await rejects(asked({ Code: { ImageUri: plain.uri }, Handler: 'a.b' }), invalid, /Please don't provide Handler or Runtime or Layer/);
		await rejects(asked({ Code: { ZipFile: Buffer.from('PK') } }), invalid, /Please provide ImageUri/);
		await rejects(send(L.CreateFunctionCommand, { FunctionName: 'refused', Role: role, Runtime: 'provided.al2023', Handler: 'x', Code: { ImageUri: plain.uri } }),
			invalid, /Please don't provide ImageUri/);
		const { FunctionName } = await create(plain.uri);
		await rejects(send(L.UpdateFunctionCodeCommand, { FunctionName, ZipFile: Buffer.from('PK') }), invalid, /Please provide ImageUri/);
		await rejects(send(L.UpdateFunctionConfigurationCommand, { FunctionName, Runtime: 'nodejs20.x' }), invalid, /Please don't provide Handler/);
	});
});
