// Layers: all nine operations, what functions find below /opt, and what stays when a layer goes.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import * as L from '@aws-sdk/client-lambda';
import { rejects, startServer } from './server.mjs';
import { node, python, role, zip } from './zip.mjs';

let server, lambda, made = 0;
const invalid = 'InvalidParameterValueException', missing = 'ResourceNotFoundException';
const arn = (name, number) => `arn:aws:lambda:us-east-1:123456789012:layer:${name}${number ? `:${number}` : ''}`;
const send = (Command, input) => lambda.send(new Command(input));
const publish = (LayerName, files, more = {}) =>
	send(L.PublishLayerVersionCommand, { LayerName, Content: { ZipFile: zip(files) }, ...more });

before(async () => {
	server = await startServer();
	lambda = new L.LambdaClient(server.client());
});
after(() => server?.stop());

async function create(source, Layers) {
	const FunctionName = `f${made++}`;
	await send(L.CreateFunctionCommand, { FunctionName, Timeout: 10, Layers, ...source });
	return FunctionName;
}
async function run(FunctionName) {
	const r = await send(L.InvokeCommand, { FunctionName });
	assert.equal(r.FunctionError, undefined, Buffer.from(r.Payload).toString());
	return JSON.parse(Buffer.from(r.Payload).toString());
}

describe('versions', () => {
	test('are published, numbered and described', async () => {
		const one = await publish('first', { 'python/first.py': 'WHO = "one"\n' },
			{ Description: 'd', LicenseInfo: 'MIT', CompatibleRuntimes: ['python3.11'], CompatibleArchitectures: ['x86_64'] });
		assert.equal(one.$metadata.httpStatusCode, 201);
		assert.equal(one.Version, 1);
		assert.equal(one.LayerArn, arn('first'));
		assert.equal(one.LayerVersionArn, arn('first', 1));
		assert.deepEqual([one.Description, one.LicenseInfo, one.CompatibleRuntimes, one.CompatibleArchitectures],
			['d', 'MIT', ['python3.11'], ['x86_64']]);
		assert.match(one.CreatedDate, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000$/);
		const two = await publish('first', { 'python/first.py': 'WHO = "two"\n' });
		assert.equal(two.Version, 2);
		const got = await send(L.GetLayerVersionCommand, { LayerName: 'first', VersionNumber: 1 });
		assert.equal(got.Content.CodeSha256, one.Content.CodeSha256);
		const body = Buffer.from(await (await fetch(got.Content.Location)).arrayBuffer());
		assert.equal(body.length, got.Content.CodeSize);
		const by = await send(L.GetLayerVersionByArnCommand, { Arn: arn('first', 2) });
		assert.equal(by.Content.CodeSha256, two.Content.CodeSha256);
	});

	test('are listed, newest first, by runtime and architecture, in pages', async () => {
		await publish('second', { 'a.txt': 'a' }, { CompatibleRuntimes: ['nodejs20.x'] });
		const all = await send(L.ListLayersCommand, {});
		assert.deepEqual(all.Layers.map((y) => [y.LayerName, y.LatestMatchingVersion.Version]), [['first', 2], ['second', 1]]);
		const python = await send(L.ListLayersCommand, { CompatibleRuntime: 'python3.11' });
		assert.deepEqual(python.Layers.map((y) => [y.LayerName, y.LatestMatchingVersion.Version]), [['first', 1]]);
		const page = await send(L.ListLayersCommand, { MaxItems: 1 });
		assert.equal(page.Layers.length, 1);
		const rest = await send(L.ListLayersCommand, { Marker: page.NextMarker });
		assert.deepEqual(rest.Layers.map((y) => y.LayerName), ['second']);
		const versions = await send(L.ListLayerVersionsCommand, { LayerName: 'first' });
		assert.deepEqual(versions.LayerVersions.map((v) => v.Version), [2, 1]);
		const some = await send(L.ListLayerVersionsCommand, { LayerName: 'first', MaxItems: 1 });
		const more = await send(L.ListLayerVersionsCommand, { LayerName: 'first', Marker: some.NextMarker });
		assert.deepEqual(more.LayerVersions.map((v) => v.Version), [1]);
		assert.deepEqual((await send(L.ListLayerVersionsCommand, { LayerName: 'none' })).LayerVersions, []);
		await rejects(send(L.ListLayersCommand, { CompatibleRuntime: 'cobol' }), 'ValidationException');
	});

	test('what is wrong is refused', async () => {
		await rejects(send(L.GetLayerVersionCommand, { LayerName: 'first', VersionNumber: 9 }), missing, 'The resource you requested does not exist.');
		await rejects(send(L.GetLayerVersionCommand, { LayerName: 'first', VersionNumber: 0 }), invalid, 'Layer Version Cannot be less than 1.');
		await rejects(send(L.PublishLayerVersionCommand, { LayerName: 'x', Content: { ZipFile: Buffer.from('nothing') } }), invalid, /^Could not unzip uploaded file/);
		await rejects(send(L.PublishLayerVersionCommand, { LayerName: 'x', Content: {} }), invalid, 'Please provide a source for function code.');
		await rejects(send(L.PublishLayerVersionCommand, { LayerName: 'x', Content: { S3Bucket: 'bucket' } }), invalid, /S3Key/);
	});
});

describe('policies', () => {
	test('are added, read and removed', async () => {
		const grant = { LayerName: 'first', VersionNumber: 1, StatementId: 's', Action: 'lambda:GetLayerVersion', Principal: '210987654321' };
		await rejects(send(L.GetLayerVersionPolicyCommand, { LayerName: 'first', VersionNumber: 1 }), missing, 'No policy is associated with the given resource.');
		const added = await send(L.AddLayerVersionPermissionCommand, grant);
		assert.equal(added.$metadata.httpStatusCode, 201);
		assert.deepEqual(JSON.parse(added.Statement), { Sid: 's', Effect: 'Allow', Principal: { AWS: 'arn:aws:iam::210987654321:root' }, Action: 'lambda:GetLayerVersion', Resource: arn('first', 1) });
		await rejects(send(L.AddLayerVersionPermissionCommand, grant), 'ResourceConflictException', /already exists/);
		await rejects(send(L.AddLayerVersionPermissionCommand, { ...grant, StatementId: 't', Action: 'lambda:Else' }), 'ValidationException');
		await rejects(send(L.AddLayerVersionPermissionCommand, { ...grant, VersionNumber: 8 }), missing, `Layer version ${arn('first', 8)} does not exist.`);
		const got = await send(L.GetLayerVersionPolicyCommand, { LayerName: 'first', VersionNumber: 1 });
		assert.equal(JSON.parse(got.Policy).Statement.length, 1);
		assert.equal(got.RevisionId, added.RevisionId);
		const remove = { LayerName: 'first', VersionNumber: 1, StatementId: 's' };
		await rejects(send(L.RemoveLayerVersionPermissionCommand, { ...remove, RevisionId: 'stale' }), 'PreconditionFailedException');
		await send(L.RemoveLayerVersionPermissionCommand, { ...remove, RevisionId: got.RevisionId });
		await rejects(send(L.RemoveLayerVersionPermissionCommand, remove), missing, 'Statement s is not found in resource policy.');
		await rejects(send(L.GetLayerVersionPolicyCommand, { LayerName: 'first', VersionNumber: 1 }), missing);
	});
});

const opt = `import os
def handler(event, context):
    return {n: open("/opt/" + n).read() for n in sorted(os.listdir("/opt")) if os.path.isfile("/opt/" + n)}
`;

describe('functions', () => {
	test('find modules, programs and libraries of their layers', async () => {
		const text = 'import first, sys\ndef handler(event, context):\n    return [first.WHO, "/opt/python" in sys.path]\n';
		const name = await create(python(text), [arn('first', 1)]);
		assert.deepEqual(await run(name), ['one', true]);
		const got = await send(L.GetFunctionConfigurationCommand, { FunctionName: name });
		assert.deepEqual(got.Layers.map((y) => y.Arn), [arn('first', 1)]);
		assert.ok(got.Layers[0].CodeSize > 0);
		await publish('npm', { 'nodejs/node_modules/who/index.js': 'module.exports = "npm";', 'bin/hello': '#!/bin/sh\necho hello\n' });
		const common = { ...node(''), Code: { ZipFile: zip({ 'index.js': `
			const { execFileSync } = require('child_process');
			exports.handler = async () => [require('who'), execFileSync('hello').toString()];` }) } };
		assert.deepEqual(await run(await create(common, [arn('npm', 1)])), ['npm', 'hello\n']);
	});

	test('find site-packages of their own version of Python', async () => {
		const seen = await run(await create(python('import sys\ndef handler(event, context):\n    return "%d.%d" % sys.version_info[:2]\n')));
		await publish('site', { [`python/lib/python${seen}/site-packages/site_only.py`]: 'X = 1\n' });
		assert.equal(await run(await create(python('import site_only\ndef handler(event, context):\n    return site_only.X\n'), [arn('site', 1)])), 1);
	});

	test('a custom runtime may be a layer', async () => {
		await publish('custom', { bootstrap: `#!/bin/sh
while :; do
	curl -sS -D /tmp/h -o /tmp/b "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next"
	id=$(grep -i request-id /tmp/h | tr -d '\\r' | cut -d' ' -f2)
	curl -sS -d '"from a layer"' "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/$id/response" >/dev/null
done
` });
		const source = { Runtime: 'provided.al2023', Handler: 'x', Role: role, Code: { ZipFile: zip({ 'x.txt': 'x' }) } };
		assert.equal(await run(await create(source, [arn('custom', 1)])), 'from a layer');
	});

	test('later layers cover earlier ones; order can change', async () => {
		await publish('low', { same: 'low', low: '1' });
		await publish('high', { same: 'high', high: '2' });
		const name = await create(python(opt), [arn('low', 1), arn('high', 1)]);
		assert.deepEqual(await run(name), { high: '2', low: '1', same: 'high' });
		await send(L.UpdateFunctionConfigurationCommand, { FunctionName: name, Layers: [arn('high', 1), arn('low', 1)] });
		assert.deepEqual(await run(name), { high: '2', low: '1', same: 'low' });
		await send(L.UpdateFunctionConfigurationCommand, { FunctionName: name, Timeout: 9 });
		assert.deepEqual(await run(name), { high: '2', low: '1', same: 'low' });
		const cleared = await send(L.UpdateFunctionConfigurationCommand, { FunctionName: name, Layers: [] });
		assert.equal(cleared.Layers, undefined);
		assert.deepEqual(await run(name), {});
	});

	test('limits', async () => {
		const source = python(opt);
		for (let i = 0; i < 6; i++) await publish(`l${i}`, { [`f${i}`]: `${i}` });
		const five = [0, 1, 2, 3, 4].map((i) => arn(`l${i}`, 1));
		assert.deepEqual(await run(await create(source, five)), { f0: '0', f1: '1', f2: '2', f3: '3', f4: '4' });
		await rejects(create(source, [...five, arn('l5', 1)]), invalid, 'Cannot reference more than 5 layers.');
		await publish('l0', { x: 'x' });
		await rejects(create(source, [arn('l0', 1), arn('l0', 2)]), invalid,
			`Two different versions of the same layer are not allowed to be referenced in the same function. ${arn('l0', 1)} and ${arn('l0', 2)}.`);
		await rejects(create(source, [arn('l0', 3)]), invalid, `Layer version ${arn('l0', 3)} does not exist.`);
		await rejects(create(source, ['arn:aws:lambda:eu-west-1:123456789012:layer:l0:1']), invalid, /Layers from 'eu-west-1' are not reachable/);
		await publish('big', { big: Buffer.alloc(40_000_000, 1) });
		for (let i = 0; i < 4; i++) await publish(`big${i}`, { [`big${i}`]: Buffer.alloc(40_000_000, i) });
		const bigger = python(opt, { Code: { ZipFile: zip({ 'app.py': opt, data: Buffer.alloc(45_000_000) }) } });
		const layers = ['big', 'big0', 'big1', 'big2', 'big3'].map((n) => arn(n, 1));
		assert.ok(await create(bigger, layers)); // 245 MB
		await publish('more', { more: Buffer.alloc(49_000_000, 7) });
		await publish('more2', { more: Buffer.alloc(49_000_000, 8) });
		await rejects(create(bigger, [...layers.slice(0, 3), arn('more', 1), arn('more2', 1)]), invalid,
			/^Function code combined with layers exceeds the maximum allowed size of 262144000 bytes. The actual size is 26300\d{4} bytes\.$/);
	});

	test('go on when the version of their layer is deleted, also after a restart', async () => {
		await publish('gone', { 'python/gone.py': 'WHO = "still here"\n' });
		const name = await create(python('import gone\ndef handler(event, context):\n    return gone.WHO\n'), [arn('gone', 1)]);
		const deleted = await send(L.DeleteLayerVersionCommand, { LayerName: 'gone', VersionNumber: 1 });
		assert.equal(deleted.$metadata.httpStatusCode, 204);
		await send(L.DeleteLayerVersionCommand, { LayerName: 'gone', VersionNumber: 1 });
		await rejects(send(L.GetLayerVersionCommand, { LayerName: 'gone', VersionNumber: 1 }), missing);
		assert.equal(await run(name), 'still here');
		await server.restart();
		assert.equal(await run(name), 'still here');
		await rejects(create(python(opt), [arn('gone', 1)]), invalid, /does not exist/);
		assert.equal((await publish('gone', { x: 'x' })).Version, 2);
		assert.equal((await send(L.GetLayerVersionCommand, { LayerName: 'first', VersionNumber: 2 })).Version, 2);
	});
});
