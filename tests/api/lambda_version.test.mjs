// Versions and aliases, and how an alias splits traffic.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import * as L from '@aws-sdk/client-lambda';
import { rejects, startServer } from './server.mjs';
import { python, zip } from './zip.mjs';

let server, lambda;
const FunctionName = 'versioned';
const base = 'arn:aws:lambda:us-east-1:123456789012:function:versioned';
const send = (Command, input) => lambda.send(new Command({ FunctionName, ...input }));
const invalid = 'InvalidParameterValueException', stale = '00000000-0000-4000-8000-000000000000';
const says = (what) => `def handler(event, context):\n    return ${JSON.stringify(what)}\n`;
const invoke = async (Qualifier) => {
	const r = await send(L.InvokeCommand, { Qualifier });
	return [JSON.parse(Buffer.from(r.Payload).toString()), r.ExecutedVersion];
};

before(async () => {
	server = await startServer();
	lambda = new L.LambdaClient(server.client());
	await send(L.CreateFunctionCommand, python(says('one')));
});
after(() => server?.stop());

describe('PublishVersion', () => {
	test('numbers count up; nothing changed gives the same one', async () => {
		const first = await send(L.PublishVersionCommand, { Description: 'the first' });
		assert.equal(first.$metadata.httpStatusCode, 201);
		assert.equal(first.Version, '1');
		assert.equal(first.Description, 'the first');
		assert.equal(first.FunctionArn, `${base}:1`);
		assert.equal((await send(L.PublishVersionCommand, { Description: 'again' })).Version, '1');
		const ZipFile = zip({ 'app.py': says('two') });
		await send(L.UpdateFunctionCodeCommand, { ZipFile });
		await send(L.UpdateFunctionCodeCommand, { ZipFile }); // the same: no change
		assert.equal((await send(L.PublishVersionCommand)).Version, '2');
		await send(L.UpdateFunctionConfigurationCommand, { Timeout: 9 });
		const [a, b] = await Promise.all([send(L.PublishVersionCommand), send(L.PublishVersionCommand)]);
		assert.deepEqual([a.Version, b.Version], ['3', '3']);
		await L.waitUntilPublishedVersionActive({ client: lambda, maxWaitTime: 10 }, { FunctionName, Qualifier: '3' });
	});

	test('checks CodeSha256 and RevisionId', async () => {
		const { CodeSha256, RevisionId } = await send(L.GetFunctionConfigurationCommand);
		await rejects(send(L.PublishVersionCommand, { CodeSha256: 'abc' }), invalid,
			`CodeSHA256 (abc) is different from current CodeSHA256 in $LATEST (${CodeSha256}). Please try again with the CodeSHA256 in $LATEST.`);
		await rejects(send(L.PublishVersionCommand, { RevisionId: stale }), 'PreconditionFailedException', /^The Revision Id provided/);
		assert.equal((await send(L.PublishVersionCommand, { CodeSha256, RevisionId })).Version, '3');
	});

	test('versions never change, and run their own code', async () => {
		assert.deepEqual(await invoke('1'), ['one', '1']);
		assert.deepEqual(await invoke('2'), ['two', '2']);
		assert.deepEqual(await invoke(), ['two', '$LATEST']);
		assert.equal((await send(L.GetFunctionConfigurationCommand, { Qualifier: '2' })).Timeout, 3);
		assert.equal((await send(L.GetFunctionConfigurationCommand, { Qualifier: '3' })).Timeout, 9);
	});

	test('are listed, $LATEST first, in pages', async () => {
		const all = [];
		for await (const page of L.paginateListVersionsByFunction({ client: lambda, pageSize: 3 }, { FunctionName }))
			all.push(...page.Versions.map((v) => v.FunctionArn.slice(base.length)));
		assert.deepEqual(all, [':$LATEST', ':1', ':2', ':3']);
		await rejects(send(L.ListVersionsByFunctionCommand, { FunctionName: 'absent' }), 'ResourceNotFoundException');
	});
});

describe('aliases', () => {
	test('create, get, list', async () => {
		const made = await send(L.CreateAliasCommand, { Name: 'live', FunctionVersion: '1', Description: 'in use' });
		assert.equal(made.$metadata.httpStatusCode, 201);
		assert.equal(made.AliasArn, `${base}:live`);
		const got = await send(L.GetAliasCommand, { Name: 'live' });
		assert.equal(got.FunctionVersion, '1');
		assert.equal(got.RevisionId, made.RevisionId);
		assert.equal(got.RoutingConfig, undefined);
		await send(L.CreateAliasCommand, { Name: 'beta', FunctionVersion: '$LATEST' });
		assert.deepEqual((await send(L.ListAliasesCommand)).Aliases.map((a) => a.Name), ['beta', 'live']);
		assert.deepEqual((await send(L.ListAliasesCommand, { FunctionVersion: '1' })).Aliases.map((a) => a.Name), ['live']);
		const one = await send(L.ListAliasesCommand, { MaxItems: 1 });
		assert.deepEqual((await send(L.ListAliasesCommand, { Marker: one.NextMarker })).Aliases.map((a) => a.Name), ['live']);
		const c = await send(L.GetFunctionConfigurationCommand, { Qualifier: 'live' });
		assert.equal(c.FunctionArn, `${base}:live`);
		assert.equal(c.Version, '1');
		assert.deepEqual(await invoke('live'), ['one', '1']);
	});

	test('errors', async () => {
		await rejects(send(L.CreateAliasCommand, { Name: 'live', FunctionVersion: '1' }), 'ResourceConflictException', `Alias already exists: ${base}:live`);
		await rejects(send(L.CreateAliasCommand, { Name: '12', FunctionVersion: '1' }), 'ValidationException');
		await rejects(send(L.CreateAliasCommand, { Name: 'x', FunctionVersion: '77' }), 'ResourceNotFoundException', `Function not found: ${base}:77`);
		await rejects(send(L.GetAliasCommand, { Name: 'never' }), 'ResourceNotFoundException', `Cannot find alias arn: ${base}:never`);
		await rejects(send(L.UpdateAliasCommand, { Name: 'never' }), 'ResourceNotFoundException', `Cannot find alias arn: ${base}:never`);
		await rejects(send(L.UpdateAliasCommand, { Name: 'live', RevisionId: stale }), 'PreconditionFailedException', /GetFunction\/GetAlias API/);
	});

	const weights = (w) => ({ RoutingConfig: { AdditionalVersionWeights: w } });
	test('weights: what is refused', async () => {
		const update = (more) => send(L.UpdateAliasCommand, { Name: 'live', ...more });
		await rejects(update(weights({ 2: 0.1, 3: 0.1 })), invalid, 'Number of items in AdditionalVersionWeights cannot be greater than 1');
		await rejects(update(weights({ 1: 0.1 })), invalid,
			'Invalid function version 1. Function version 1 is already included in routing configuration.');
		await rejects(update(weights({ 77: 0.1 })), 'ResourceNotFoundException');
		await rejects(update({ FunctionVersion: '$LATEST', ...weights({ 2: 0.1 }) }), invalid,
			'$LATEST is not supported for an alias pointing to more than 1 version');
		await rejects(update(weights({ 2: 1.5 })), 'ValidationException');
	});

	test('weights: half of the traffic', async () => {
		const a = await send(L.UpdateAliasCommand, { Name: 'live', ...weights({ 2: 0.5 }) });
		assert.deepEqual(a.RoutingConfig, { AdditionalVersionWeights: { 2: 0.5 } });
		const seen = { 1: 0, 2: 0 };
		for (let i = 0; i < 100; i++) seen[(await invoke('live'))[1]]++;
		// Fewer than 20 of 100 at one half: once in 10^10 runs.
		assert.ok(seen[1] > 20 && seen[2] > 20, JSON.stringify(seen));
	});

	test('weights 0 and 1 are exact, and an empty map ends it', async () => {
		await send(L.UpdateAliasCommand, { Name: 'live', ...weights({ 2: 1 }) });
		for (let i = 0; i < 20; i++) assert.equal((await invoke('live'))[1], '2');
		await send(L.UpdateAliasCommand, { Name: 'live', ...weights({ 2: 0 }) });
		for (let i = 0; i < 20; i++) assert.equal((await invoke('live'))[1], '1');
		const a = await send(L.UpdateAliasCommand, { Name: 'live', ...weights({}) });
		assert.equal(a.RoutingConfig, undefined);
	});

	test('a version that an alias needs cannot be deleted', async () => {
		await rejects(send(L.DeleteFunctionCommand, { Qualifier: '1' }), 'ResourceConflictException',
			'Unable to delete version because the following aliases reference it: [live]');
		await send(L.UpdateAliasCommand, { Name: 'live', ...weights({ 2: 0.2 }) });
		await rejects(send(L.DeleteFunctionCommand, { Qualifier: '2' }), 'ResourceConflictException', /\[live\]$/);
		await rejects(send(L.DeleteFunctionCommand, { Qualifier: '$LATEST' }), invalid,
			'$LATEST version cannot be deleted without deleting the function.');
		await rejects(send(L.DeleteFunctionCommand, { Qualifier: 'live' }), invalid, 'Deletion of aliases is not currently supported.');
		await send(L.DeleteFunctionCommand, { Qualifier: '3' });
		await rejects(send(L.GetFunctionCommand, { Qualifier: '3' }), 'ResourceNotFoundException', `Function not found: ${base}:3`);
	});

	test('a number is never given twice', async () => {
		assert.equal((await send(L.PublishVersionCommand)).Version, '4');
	});

	test('deleting twice works', async () => {
		for (let i = 0; i < 2; i++)
			assert.equal((await send(L.DeleteAliasCommand, { Name: 'beta' })).$metadata.httpStatusCode, 204);
		await rejects(send(L.GetAliasCommand, { Name: 'beta' }), 'ResourceNotFoundException');
	});

	test('survive a restart', async () => {
		const was = await send(L.GetAliasCommand, { Name: 'live' });
		await server.restart();
		lambda = new L.LambdaClient(server.client());
		const now = await send(L.GetAliasCommand, { Name: 'live' });
		assert.deepEqual({ ...now, $metadata: 0 }, { ...was, $metadata: 0 });
		assert.equal((await invoke('2'))[0], 'two');
	});
});
