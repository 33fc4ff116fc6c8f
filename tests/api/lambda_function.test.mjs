// Functions: create, get, list, update, delete, tags, code downloads, concurrency.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import * as L from '@aws-sdk/client-lambda';
import { rejects, startServer } from './server.mjs';
import { echo, node, python, role, zip } from './zip.mjs';

let server, lambda;
const arn = (name) => `arn:aws:lambda:us-east-1:123456789012:function:${name}`;
const send = (Command, input) => lambda.send(new Command(input));
const create = (name, more) => send(L.CreateFunctionCommand, { FunctionName: name, ...python(echo), ...more });
const invalid = 'InvalidParameterValueException';

before(async () => {
	server = await startServer();
	lambda = new L.LambdaClient(server.client());
});
after(() => server?.stop());

describe('CreateFunction', () => {
	test('answers 201 and Pending, is Active soon, with every default', async () => {
		const source = python(echo);
		const made = await create('defaults', source);
		assert.equal(made.$metadata.httpStatusCode, 201);
		assert.equal(made.State, 'Pending');
		assert.equal(made.StateReasonCode, 'Creating');
		assert.equal(made.FunctionArn, arn('defaults'));
		assert.equal(made.CodeSha256, createHash('sha256').update(source.Code.ZipFile).digest('base64'));
		assert.equal(made.CodeSize, source.Code.ZipFile.length);
		await L.waitUntilFunctionActiveV2({ client: lambda, maxWaitTime: 10 }, { FunctionName: 'defaults' });
		const now = await send(L.GetFunctionConfigurationCommand, { FunctionName: 'defaults' });
		assert.equal(now.State, 'Active');
		assert.equal(now.LastUpdateStatus, 'Successful');
		assert.equal(now.Timeout, 3);
		assert.equal(now.MemorySize, 128);
		assert.equal(now.Description, '');
		assert.equal(now.Version, '$LATEST');
		assert.equal(now.PackageType, 'Zip');
		assert.deepEqual(now.EphemeralStorage, { Size: 512 });
		assert.deepEqual(now.SnapStart, { ApplyOn: 'None', OptimizationStatus: 'Off' });
		assert.deepEqual(now.TracingConfig, { Mode: 'PassThrough' });
		assert.deepEqual(now.LoggingConfig, { LogFormat: 'Text', LogGroup: '/aws/lambda/defaults' });
		assert.equal(now.Architectures.length, 1);
		assert.match(now.LastModified, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000$/);
		assert.match(now.RuntimeVersionConfig.RuntimeVersionArn, /^arn:aws:lambda:us-east-1::runtime:[0-9a-f]{64}$/);
		assert.match(now.RevisionId, /^[0-9a-f-]{36}$/);
		assert.equal(now.Environment, undefined);
	});

	test('keeps all that is asked for', async () => {
		await create('full', {
			Description: 'all of it', Timeout: 900, MemorySize: 10240, EphemeralStorage: { Size: 1024 },
			Environment: { Variables: { COLOUR: 'grün', EMPTY: '' } }, TracingConfig: { Mode: 'Active' },
			LoggingConfig: { LogFormat: 'JSON', ApplicationLogLevel: 'DEBUG', LogGroup: '/my/group' },
			Tags: { team: 'a' }, Publish: true, VpcConfig: { SubnetIds: [], SecurityGroupIds: [] },
			SnapStart: { ApplyOn: 'None' }, Layers: [],
		}).then((made) => {
			assert.equal(made.Version, '1');
			assert.equal(made.FunctionArn, arn('full:1'));
		});
		const { Configuration: c, Tags } = await send(L.GetFunctionCommand, { FunctionName: 'full' });
		assert.equal(c.Timeout, 900);
		assert.equal(c.MemorySize, 10240);
		assert.deepEqual(c.EphemeralStorage, { Size: 1024 });
		assert.deepEqual(c.Environment, { Variables: { COLOUR: 'grün', EMPTY: '' } });
		assert.deepEqual(c.TracingConfig, { Mode: 'Active' });
		assert.deepEqual(c.LoggingConfig,
			{ LogFormat: 'JSON', ApplicationLogLevel: 'DEBUG', SystemLogLevel: 'INFO', LogGroup: '/my/group' });
		assert.deepEqual(Tags, { team: 'a' });
	});

	test('a name can be taken once, also by two at a time', async () => {
		const twice = await Promise.allSettled([create('once'), create('once'), create('once')]);
		assert.equal(twice.filter((r) => r.status === 'fulfilled').length, 1);
		for (const { reason } of twice.filter((r) => r.status === 'rejected')) {
			assert.equal(reason.name, 'ResourceConflictException');
			assert.equal(reason.message, 'Function already exist: once');
			assert.equal(reason.Type, 'User');
		}
	});

	const refused = {
		'no zip': [{ Code: { ZipFile: Buffer.from('this is no zip archive, by no means') } },
			/^Could not unzip uploaded file\. Please check your file, then try to upload again\./],
		'a broken zip': [{ Code: { ZipFile: zip({ a: 'text' }).subarray(0, 60) } }, /^Could not unzip uploaded file\./],
		'an empty zip file': [{ Code: { ZipFile: Buffer.alloc(0) } }, 'Uploaded file must be a non-empty zip'],
		'no code': [{ Code: {} }, 'Please provide a source for function code.'],
		'two sources': [{ Code: { ZipFile: zip({ a: '' }), S3Bucket: 'bucket', S3Key: 'k' } },
			'Please do not provide other FunctionCode parameters when providing a ZipFile.'],
		'code from S3': [{ Code: { S3Bucket: 'bucket', S3Key: 'key' } }, /Error occurred while GetObject. S3 Error Code: NoSuchBucket/],
		'an image among zips': [{ Code: { ImageUri: 'x/y:1' } }, /Please don't provide ImageUri/],
		'no handler': [{ Handler: undefined },
			'Runtime and Handler are mandatory parameters for functions created with deployment packages.'],
		'a retired runtime': [{ Runtime: 'nodejs12.x' },
			'The runtime parameter of nodejs12.x is no longer supported for creating or updating AWS Lambda ' +
			'functions. We recommend you use a supported runtime while creating or updating functions.'],
		'a runtime of another family': [{ Runtime: 'java21' }, /java21 is not supported by this server/],
		'another architecture': [{ Architectures: [process.arch === 'arm64' ? 'x86_64' : 'arm64'] },
			/cannot run on this server/],
		'layers': [{ Layers: ['arn:aws:lambda:us-east-1:123456789012:layer:a:1'] }, /Layer version .*:a:1 does not exist/],
		'a VPC': [{ VpcConfig: { SubnetIds: ['subnet-1'], SecurityGroupIds: ['sg-1'] } }, /VPCs are not supported/],
		'SnapStart': [{ SnapStart: { ApplyOn: 'PublishedVersions' } }, /SnapStart is not supported/],
		'a dead-letter target': [{ DeadLetterConfig: { TargetArn: 'arn:aws:sqs:us-east-1:123456789012:q' } },
			/The queue .* does not exist/],
		'another account\'s role': [{ Role: role.replace('123456789012', '999999999999') },
			/^Cross-account pass role is not allowed/],
		'levels without JSON': [{ LoggingConfig: { LogFormat: 'Text', SystemLogLevel: 'WARN' } }, /need LogFormat JSON/],
		'reserved variables': [{ Environment: { Variables: { AWS_REGION: 'x', OK: 'y' } } },
			'Lambda was unable to configure your environment variables because the environment variables you have ' +
			'provided contains reserved keys that are currently not supported for modification. Reserved keys used ' +
			'in this request: AWS_REGION'],
	};
	for (const [what, [more, text]] of Object.entries(refused))
		test(`refuses ${what}`, () => rejects(create('refused', more), invalid, text));

	test('nothing that was refused is there', () =>
		rejects(send(L.GetFunctionCommand, { FunctionName: 'refused' }),
			'ResourceNotFoundException', `Function not found: ${arn('refused')}`));

	test('variables have 4 KB, counted as JSON', async () => {
		const variables = (n) => ({ Environment: { Variables: { LARGE: 'x'.repeat(n) } } });
		const around = '{"LARGE":""}'.length;
		await create('env-fits', variables(4096 - around));
		await rejects(create('env-large', variables(4097 - around)), invalid,
			/^Lambda was unable to configure your environment variables because the environment variables you have provided exceeded the 4KB limit\. String measured: \{"LARGE":"x+"\}$/);
	});

	test('limits of numbers and names', async () => {
		await rejects(create('limits', { Timeout: 901 }), 'ValidationException', /'timeout'.*less than or equal to 900/);
		await rejects(create('limits', { Timeout: 0 }), 'ValidationException', /'timeout'/);
		await rejects(create('limits', { MemorySize: 10241 }), 'ValidationException', /'memorySize'.*10240/);
		await rejects(create('limits', { MemorySize: 127 }), 'ValidationException', /'memorySize'/);
		await rejects(create('n'.repeat(65)), 'ValidationException', /less than or equal to 64/);
		await create('n'.repeat(64));
		await rejects(create('a b'), 'ValidationException', /functionName/);
	});
});

describe('GetFunction', () => {
	test('every form of name finds it', async () => {
		await create('named');
		for (const name of ['named', 'named:$LATEST', '123456789012:function:named', arn('named'), arn('named:$LATEST')]) {
			const c = await send(L.GetFunctionConfigurationCommand, { FunctionName: name });
			assert.equal(c.FunctionName, 'named');
			assert.equal(c.FunctionArn, name.endsWith('$LATEST') ? arn('named:$LATEST') : arn('named'));
		}
	});

	test('a qualifier must not contradict the name', async () => {
		await rejects(send(L.GetFunctionCommand, { FunctionName: 'named:$LATEST', Qualifier: '1' }), invalid,
			'The derived qualifier from the function name does not match the specified qualifier.');
		await rejects(send(L.GetFunctionCommand, { FunctionName: 'named', Qualifier: '7' }),
			'ResourceNotFoundException', `Function not found: ${arn('named:7')}`);
	});

	test('other regions and accounts are out of reach', async () => {
		await rejects(send(L.GetFunctionCommand, { FunctionName: arn('named').replace('us-east-1', 'eu-west-1') }),
			'ResourceNotFoundException', "Functions from 'eu-west-1' are not reachable from 'us-east-1'");
		await rejects(send(L.GetFunctionCommand, { FunctionName: '999999999999:function:named' }),
			'AccessDeniedException', /not authorized to perform: lambda:GetFunction/);
		const elsewhere = new L.LambdaClient(server.client(undefined, 'eu-west-1'));
		await rejects(elsewhere.send(new L.GetFunctionCommand({ FunctionName: 'named' })), 'ResourceNotFoundException');
	});

	test('Code.Location gives the zip, and only with its signature', async () => {
		const source = python(echo + '#'.repeat(3_000_000));
		await create('download', source);
		const { Code } = await send(L.GetFunctionCommand, { FunctionName: 'download' });
		assert.equal(Code.RepositoryType, 'S3');
		const answer = await fetch(Code.Location);
		assert.equal(answer.status, 200);
		assert.deepEqual(Buffer.from(await answer.arrayBuffer()), source.Code.ZipFile);
		const flip = Code.Location.replace(/.$/, (c) => (c === '0' ? '1' : '0'));
		assert.equal((await fetch(flip)).status, 403);
		assert.equal((await fetch(Code.Location.replace(/expires=\d/, 'expires=9'))).status, 403);
		assert.equal((await fetch(Code.Location.split('?')[0])).status, 403);
		assert.equal((await fetch(Code.Location, { method: 'POST' })).status, 405);
	});

	test('a client that stops reading a download does no harm', async () => {
		const { Code } = await send(L.GetFunctionCommand, { FunctionName: 'download' });
		for (let i = 0; i < 5; i++) {
			const stop = new AbortController();
			const answer = await fetch(Code.Location, { signal: stop.signal });
			await answer.body.getReader().read();
			stop.abort();
		}
		assert.equal((await fetch(Code.Location)).status, 200);
	});
});

describe('ListFunctions', () => {
	test('pages by name, and gives versions when asked', async () => {
		const there = new L.LambdaClient(server.client(undefined, 'ap-south-1'));
		for (const name of ['c', 'a', 'b'])
			await there.send(new L.CreateFunctionCommand({ FunctionName: name, ...python(echo), Publish: name === 'b' }));
		const names = [];
		for await (const page of L.paginateListFunctions({ client: there, pageSize: 1 }, {}))
			names.push(...page.Functions.map((f) => f.FunctionName));
		assert.deepEqual(names, ['a', 'b', 'c']);
		const all = [];
		for await (const page of L.paginateListFunctions({ client: there, pageSize: 2 }, { FunctionVersion: 'ALL' }))
			all.push(...page.Functions.map((f) => `${f.FunctionName}:${f.Version}`));
		assert.deepEqual(all, ['a:$LATEST', 'b:$LATEST', 'b:1', 'c:$LATEST']);
		await rejects(there.send(new L.ListFunctionsCommand({ Marker: 'nonsense' })), invalid, /^Invalid Marker/);
		await rejects(there.send(new L.ListFunctionsCommand({ FunctionVersion: 'NONE' })), 'ValidationException');
	});
});

describe('updates', () => {
	test('configuration: only what is given changes', async () => {
		await create('updated', { Environment: { Variables: { AA: '1' } }, MemorySize: 256 });
		const was = await send(L.GetFunctionConfigurationCommand, { FunctionName: 'updated' });
		const answer = await send(L.UpdateFunctionConfigurationCommand, { FunctionName: 'updated', Timeout: 7 });
		assert.equal(answer.LastUpdateStatus, 'InProgress');
		await L.waitUntilFunctionUpdatedV2({ client: lambda, maxWaitTime: 10 }, { FunctionName: 'updated' });
		const now = await send(L.GetFunctionConfigurationCommand, { FunctionName: 'updated' });
		assert.equal(now.Timeout, 7);
		assert.equal(now.MemorySize, 256);
		assert.deepEqual(now.Environment, { Variables: { AA: '1' } });
		assert.notEqual(now.RevisionId, was.RevisionId);
		await send(L.UpdateFunctionConfigurationCommand, { FunctionName: 'updated', Environment: { Variables: {} } });
		assert.equal((await send(L.GetFunctionConfigurationCommand, { FunctionName: 'updated' })).Environment, undefined);
	});

	test('a stale RevisionId is refused with 412', async () => {
		const text = 'The Revision Id provided does not match the latest Revision Id. Call the ' +
			'GetFunction/GetAlias API to retrieve the latest Revision Id';
		const stale = { FunctionName: 'updated', RevisionId: '00000000-0000-4000-8000-000000000000' };
		const e = await rejects(send(L.UpdateFunctionConfigurationCommand, { ...stale, Timeout: 8 }), 'PreconditionFailedException', text);
		assert.equal(e.$metadata.httpStatusCode, 412);
		await rejects(send(L.UpdateFunctionCodeCommand, { ...stale, ZipFile: zip({ a: '' }) }), 'PreconditionFailedException', text);
		const { RevisionId } = await send(L.GetFunctionConfigurationCommand, { FunctionName: 'updated' });
		await send(L.UpdateFunctionConfigurationCommand, { FunctionName: 'updated', RevisionId, Timeout: 8 });
	});

	test('code: dry runs change nothing, Publish gives a version', async () => {
		const ZipFile = zip({ 'app.py': 'def handler(e, c):\n    return "new"\n' });
		const sum = createHash('sha256').update(ZipFile).digest('base64');
		const was = await send(L.GetFunctionConfigurationCommand, { FunctionName: 'updated' });
		const dry = await send(L.UpdateFunctionCodeCommand, { FunctionName: 'updated', ZipFile, DryRun: true });
		assert.equal(dry.CodeSha256, sum);
		assert.equal((await send(L.GetFunctionConfigurationCommand, { FunctionName: 'updated' })).RevisionId, was.RevisionId);
		const made = await send(L.UpdateFunctionCodeCommand, { FunctionName: 'updated', ZipFile, Publish: true });
		assert.equal(made.Version, '1');
		assert.equal(made.CodeSha256, sum);
	});

	test('twenty at a time all happen, one after the other', async () => {
		const answers = await Promise.all(Array.from({ length: 20 }, (_, i) =>
			send(L.UpdateFunctionConfigurationCommand, { FunctionName: 'updated', Timeout: i + 1 })));
		assert.equal(new Set(answers.map((a) => a.RevisionId)).size, 20);
	});

	test('what is refused at creation is refused here', async () => {
		await rejects(send(L.UpdateFunctionConfigurationCommand, { FunctionName: 'updated', Runtime: 'go1.x' }), invalid, /no longer supported/);
		await rejects(send(L.UpdateFunctionCodeCommand, { FunctionName: 'updated', ZipFile: Buffer.from('PK but no zip archive at all') }), invalid, /^Could not unzip/);
		await rejects(send(L.UpdateFunctionCodeCommand, { FunctionName: 'absent', ZipFile: zip({ a: '' }) }), 'ResourceNotFoundException');
	});
});

describe('size of code', () => {
	test('a zip above 50 MB gets 413', async () => {
		const ZipFile = Buffer.concat([Buffer.from('PK\x03\x04'), Buffer.alloc(52428801 - 4)]);
		const e = await rejects(create('huge', { Code: { ZipFile } }), 'RequestEntityTooLargeException',
			'Zipped size must be smaller than 52428800 bytes');
		assert.equal(e.$metadata.httpStatusCode, 413);
	});
});

describe('clients that go away', () => {
	test('in the midst of an upload: no harm, and the name is free or taken as a whole', async () => {
		const ZipFile = zip({ 'app.py': echo, fill: Buffer.alloc(12_000_000, 'x') });
		for (const delay of [150, 250, 350, 450, 600, 800]) {
			const stop = new AbortController();
			const name = `left-${delay}`;
			const made = lambda.send(new L.CreateFunctionCommand({ FunctionName: name, ...python(echo), Code: { ZipFile } }),
				{ abortSignal: stop.signal }).catch((e) => e);
			setTimeout(() => stop.abort(), delay);
			await made;
		}
		await create('after-all', { Code: { ZipFile } });
		for (const { FunctionName } of (await send(L.ListFunctionsCommand, {})).Functions.filter((f) => f.FunctionName.startsWith('left-')))
			assert.equal((await send(L.GetFunctionConfigurationCommand, { FunctionName })).State, 'Active');
	});
});

describe('tags', () => {
	test('round trip', async () => {
		await create('tagged', { Tags: { a: '1' } });
		await send(L.TagResourceCommand, { Resource: arn('tagged'), Tags: { b: '2', a: '3' } });
		assert.deepEqual((await send(L.ListTagsCommand, { Resource: arn('tagged') })).Tags, { a: '3', b: '2' });
		await send(L.UntagResourceCommand, { Resource: arn('tagged'), TagKeys: ['a', 'never'] });
		assert.deepEqual((await send(L.ListTagsCommand, { Resource: arn('tagged') })).Tags, { b: '2' });
	});

	test('fifty, not more; not on versions; not on nothing', async () => {
		const Tags = Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`k${i}`, 'v']));
		await rejects(send(L.TagResourceCommand, { Resource: arn('tagged'), Tags }), invalid, 'Number of tags exceeds resource tag limit.');
		await rejects(send(L.TagResourceCommand, { Resource: arn('tagged:1'), Tags: { a: 'b' } }), invalid,
			'Tags on function aliases and versions are not supported. Please specify a function ARN.');
		await rejects(send(L.TagResourceCommand, { Resource: arn('tagged'), Tags: { 'aws:x': 'b' } }), invalid, /reserved/);
		await rejects(send(L.ListTagsCommand, { Resource: arn('absent') }), 'ResourceNotFoundException', `Function not found: ${arn('absent')}`);
	});
});

describe('concurrency', () => {
	test('reserve, read, give back', async () => {
		await create('reserved');
		const FunctionName = 'reserved';
		assert.equal((await send(L.GetFunctionConcurrencyCommand, { FunctionName })).ReservedConcurrentExecutions, undefined);
		assert.equal((await send(L.PutFunctionConcurrencyCommand, { FunctionName, ReservedConcurrentExecutions: 900 })).ReservedConcurrentExecutions, 900);
		assert.equal((await send(L.GetFunctionCommand, { FunctionName })).Concurrency.ReservedConcurrentExecutions, 900);
		assert.equal((await send(L.GetAccountSettingsCommand, {})).AccountLimit.UnreservedConcurrentExecutions, 100);
		await create('second');
		await rejects(send(L.PutFunctionConcurrencyCommand, { FunctionName: 'second', ReservedConcurrentExecutions: 1 }), invalid,
			"Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [100].");
		await send(L.DeleteFunctionConcurrencyCommand, { FunctionName });
		assert.equal((await send(L.GetAccountSettingsCommand, {})).AccountLimit.UnreservedConcurrentExecutions, 1000);
	});

	test('two reservations at once do not take the same room', async () => {
		const r = await Promise.allSettled(['reserved', 'second'].map((FunctionName) =>
			send(L.PutFunctionConcurrencyCommand, { FunctionName, ReservedConcurrentExecutions: 600 })));
		assert.deepEqual(r.map((x) => x.status).sort(), ['fulfilled', 'rejected']);
	});
});

describe('DeleteFunction', () => {
	test('takes everything along, and the name is free again', async () => {
		await create('gone', { Publish: true });
		await send(L.CreateAliasCommand, { FunctionName: 'gone', Name: 'live', FunctionVersion: '1' });
		await send(L.CreateFunctionUrlConfigCommand, { FunctionName: 'gone', AuthType: 'NONE' });
		await send(L.AddPermissionCommand, { FunctionName: 'gone', StatementId: 's', Action: 'lambda:InvokeFunction', Principal: '*' });
		const answer = await send(L.DeleteFunctionCommand, { FunctionName: 'gone' });
		assert.equal(answer.$metadata.httpStatusCode, 204);
		await rejects(send(L.GetFunctionCommand, { FunctionName: 'gone' }), 'ResourceNotFoundException');
		await rejects(send(L.DeleteFunctionCommand, { FunctionName: 'gone' }), 'ResourceNotFoundException');
		await create('gone');
		assert.deepEqual((await send(L.ListAliasesCommand, { FunctionName: 'gone' })).Aliases, []);
		await rejects(send(L.GetPolicyCommand, { FunctionName: 'gone' }), 'ResourceNotFoundException');
		const versions = await send(L.ListVersionsByFunctionCommand, { FunctionName: 'gone' });
		assert.deepEqual(versions.Versions.map((v) => v.Version), ['$LATEST']);
	});
});

test('all of it is there after a restart, also after SIGKILL', async () => {
	const before = await send(L.GetFunctionCommand, { FunctionName: 'full' });
	const count = (await send(L.GetAccountSettingsCommand, {})).AccountUsage;
	await server.restart('SIGKILL');
	lambda = new L.LambdaClient(server.client());
	const now = await send(L.GetFunctionCommand, { FunctionName: 'full' });
	assert.deepEqual(now.Configuration, before.Configuration);
	assert.deepEqual(now.Tags, before.Tags);
	assert.deepEqual((await send(L.GetAccountSettingsCommand, {})).AccountUsage, count);
	assert.equal((await fetch(now.Code.Location)).status, 200);
	assert.equal((await fetch(before.Code.Location)).status, 403); // signed with the key of the former life
});

test('Node.js and provided runtimes are taken too', async () => {
	const n = await create('js', node('export const handler = async () => 1;'));
	assert.match(n.RuntimeVersionConfig.RuntimeVersionArn, /runtime:[0-9a-f]{64}$/);
	await create('own', { Runtime: 'provided.al2023', Handler: 'x', Code: { ZipFile: zip({ bootstrap: '#!/bin/sh\n' }) } });
});
