// `aws lambda` of Debian's CLI: every operation that it knows, as its users type them.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { aws } from './cli.mjs';
import { startServer } from './server.mjs';
import { role, zip } from './zip.mjs';

let server, dir;
const cli = (...words) => aws(server, ['lambda', ...words]);
const sqs = (...words) => aws(server, ['sqs', ...words]);
const named = (name) => ['--function-name', name];
const arn = (name) => `arn:aws:lambda:us-east-1:123456789012:function:${name}`;
const file = (name) => join(dir, name);
const all = (...calls) => Promise.all(calls);
const archive = zip({ 'app.py': 'import os\ndef handler(event, context):\n    return {"got": event, "v": context.function_version}\n' });
const failing = zip({ 'app.py': 'def handler(event, context):\n    raise ValueError("no")\n' });
const make = (name, ...more) => cli('create-function', ...named(name), '--runtime', 'python3.11', '--handler', 'app.handler', '--role', role,
	'--zip-file', `fileb://${file('code.zip')}`, ...more);
const answer = async (name) => JSON.parse(await readFile(file(name), 'utf8'));

before(async () => {
	server = await startServer();
	dir = await mkdtemp(join(tmpdir(), 'mayfly-cli-lambda-'));
	await writeFile(file('code.zip'), archive);
	await writeFile(file('failing.zip'), failing);
	await make('f', '--tags', 'team=a', '--description', 'first');
	await cli('wait', 'function-active-v2', ...named('f'));
});
after(async () => {
	await server?.stop();
	await rm(dir, { recursive: true, force: true });
});

test('a function: got, listed, changed, called', async () => {
	const [got, configuration, listed, account] = await all(cli('get-function', ...named('f')), cli('get-function-configuration', ...named('f')),
		cli('list-functions'), cli('get-account-settings'),
		assert.rejects(cli('get-function', ...named('absent')), /ResourceNotFoundException.*Function not found: arn:aws:lambda:us-east-1:123456789012:function:absent/s),
		assert.rejects(make('f'), /ResourceConflictException.*Function already exist: f/s));
	assert.deepEqual([got.Tags, got.Code.RepositoryType], [{ team: 'a' }, 'S3']);
	assert.ok(archive.equals(Buffer.from(await (await fetch(got.Code.Location)).arrayBuffer())));
	assert.deepEqual([configuration.Description, configuration.CodeSize, configuration.State], ['first', archive.length, 'Active']);
	assert.deepEqual(listed.Functions.map((f) => [f.FunctionName, f.CodeSha256]), [['f', configuration.CodeSha256]]);
	assert.deepEqual([account.AccountUsage.FunctionCount, account.AccountLimit.ConcurrentExecutions], [1, 1000]);
	const changed = await cli('update-function-configuration', ...named('f'), '--timeout', '9', '--environment', 'Variables={AB=c}');
	assert.deepEqual([changed.Timeout, changed.Environment.Variables], [9, { AB: 'c' }]);
	await cli('wait', 'function-updated', ...named('f'));
	await assert.rejects(cli('update-function-configuration', ...named('f'), '--revision-id', got.Configuration.RevisionId), /PreconditionFailedException/);
	const [sync, dry, event, old] = await all(
		cli('invoke', ...named('f'), '--payload', '{"n":1}', '--cli-binary-format', 'raw-in-base64-out', '--log-type', 'Tail', file('sync')),
		cli('invoke', ...named('f'), '--invocation-type', 'DryRun', file('dry')),
		cli('invoke', ...named('f'), '--invocation-type', 'Event', '--payload', 'e30=', file('event')),
		writeFile(file('args'), '{}').then(() => cli('invoke-async', ...named('f'), '--invoke-args', file('args'))),
		assert.rejects(cli('invoke', ...named('absent'), file('absent')), /ResourceNotFoundException/),
		assert.rejects(cli('invoke', ...named('f'), '--payload', 'e3s=', file('absent')), /InvalidRequestContentException/));
	assert.deepEqual([sync.StatusCode, sync.ExecutedVersion, dry.StatusCode, event.StatusCode, old.Status], [200, '$LATEST', 204, 202, 202]);
	assert.deepEqual(await answer('sync'), { got: { n: 1 }, v: '$LATEST' });
	assert.match(Buffer.from(sync.LogResult, 'base64').toString(), /REPORT RequestId/);
});

test('code is replaced, and a function that fails says how', async () => {
	await make('broken');
	const dry = await cli('update-function-code', ...named('broken'), '--zip-file', `fileb://${file('failing.zip')}`, '--dry-run');
	const sum = createHash('sha256').update(failing).digest('base64');
	assert.equal(dry.CodeSha256, sum);
	assert.notEqual((await cli('get-function-configuration', ...named('broken'))).CodeSha256, sum);
	assert.equal((await cli('update-function-code', ...named('broken'), '--zip-file', `fileb://${file('failing.zip')}`)).CodeSha256, sum);
	await cli('wait', 'function-updated-v2', ...named('broken'));
	assert.equal((await cli('invoke', ...named('broken'), file('broken'))).FunctionError, 'Unhandled');
	const { errorMessage, errorType, stackTrace } = await answer('broken');
	assert.deepEqual([errorMessage, errorType], ['no', 'ValueError']);
	assert.match(stackTrace[0], /line 2, in handler/);
	await cli('delete-function', ...named('broken'));
	await assert.rejects(cli('delete-function', ...named('broken')), /ResourceNotFoundException/);
});

test('versions and aliases', async () => {
	await make('versions');
	const one = await cli('publish-version', ...named('versions'), '--description', 'one');
	await cli('update-function-configuration', ...named('versions'), '--memory-size', '256');
	await cli('wait', 'function-updated', ...named('versions'));
	const two = await cli('publish-version', ...named('versions'));
	assert.deepEqual([one.Version, one.Description, two.Version, two.MemorySize], ['1', 'one', '2', 256]);
	const listed = await cli('list-versions-by-function', ...named('versions'));
	assert.deepEqual(listed.Versions.map((v) => v.Version), ['$LATEST', '1', '2']);
	const alias = [...named('versions'), '--name', 'live'];
	const made = await cli('create-alias', ...alias, '--function-version', '1', '--description', 'd');
	assert.deepEqual([made.AliasArn, made.FunctionVersion], [arn('versions:live'), '1']);
	const moved = await cli('update-alias', ...alias, '--function-version', '2', '--routing-config', 'AdditionalVersionWeights={1=0.25}');
	assert.deepEqual([moved.FunctionVersion, moved.RoutingConfig], ['2', { AdditionalVersionWeights: { 1: 0.25 } }]);
	const [got, aliases] = await all(cli('get-alias', ...alias), cli('list-aliases', ...named('versions'), '--function-version', '2'),
		assert.rejects(cli('create-alias', ...alias, '--function-version', '1'), /ResourceConflictException/),
		assert.rejects(cli('get-alias', ...named('versions'), '--name', 'none'), /ResourceNotFoundException/));
	assert.deepEqual([got.RevisionId, got.RoutingConfig], [moved.RevisionId, moved.RoutingConfig]);
	assert.deepEqual(aliases.Aliases.map((a) => a.Name), ['live']);
	await cli('update-alias', ...alias, '--routing-config', 'AdditionalVersionWeights={}');
	assert.equal((await cli('invoke', ...named('versions'), '--qualifier', 'live', file('live'))).ExecutedVersion, '2');
	assert.equal((await answer('live')).v, '2');
	await cli('delete-alias', ...alias);
	await assert.rejects(cli('get-alias', ...alias), /ResourceNotFoundException/);
});

test('tags, concurrency, permissions', async () => {
	await cli('tag-resource', '--resource', arn('f'), '--tags', 'stage=b');
	assert.deepEqual((await cli('list-tags', '--resource', arn('f'))).Tags, { team: 'a', stage: 'b' });
	await cli('untag-resource', '--resource', arn('f'), '--tag-keys', 'team');
	assert.deepEqual((await cli('list-tags', '--resource', arn('f'))).Tags, { stage: 'b' });
	assert.deepEqual(await cli('put-function-concurrency', ...named('f'), '--reserved-concurrent-executions', '0'), { ReservedConcurrentExecutions: 0 });
	assert.deepEqual(await cli('get-function-concurrency', ...named('f')), { ReservedConcurrentExecutions: 0 });
	const throttled = await aws({ url: server.url, environment: () => ({ ...server.environment(), AWS_MAX_ATTEMPTS: '1' }) },
		['lambda', 'invoke', ...named('f'), file('throttled')]).catch((e) => e);
	assert.match(throttled.stderr, /TooManyRequestsException/);
	await cli('delete-function-concurrency', ...named('f'));
	assert.equal(await cli('get-function-concurrency', ...named('f')), '');
	const { Statement } = await cli('add-permission', ...named('f'), '--statement-id', 's3', '--action', 'lambda:InvokeFunction',
		'--principal', 's3.amazonaws.com', '--source-arn', 'arn:aws:s3:::photos', '--source-account', '123456789012');
	const policy = await cli('get-policy', ...named('f'));
	assert.deepEqual(JSON.parse(policy.Policy).Statement, [JSON.parse(Statement)]);
	assert.deepEqual(JSON.parse(Statement).Condition, { StringEquals: { 'AWS:SourceAccount': '123456789012' },
		ArnLike: { 'AWS:SourceArn': 'arn:aws:s3:::photos' } });
	await cli('remove-permission', ...named('f'), '--statement-id', 's3', '--revision-id', policy.RevisionId);
	await all(assert.rejects(cli('get-policy', ...named('f')), /ResourceNotFoundException/),
		assert.rejects(cli('remove-permission', ...named('f'), '--statement-id', 's3'), /ResourceNotFoundException/));
});

test('a function URL', async () => {
	const made = await cli('create-function-url-config', ...named('f'), '--auth-type', 'NONE', '--cors', 'AllowOrigins=*,MaxAge=60');
	assert.match(made.FunctionUrl, /^http:\/\/[a-z0-9]+\.lambda-url\.us-east-1\.localhost:\d+\/$/);
	await all(cli('add-permission', ...named('f'), '--statement-id', 'url', '--action', 'lambda:InvokeFunctionUrl', '--principal', '*',
		'--function-url-auth-type', 'NONE'),
	cli('add-permission', ...named('f'), '--statement-id', 'call', '--action', 'lambda:InvokeFunction', '--principal', '*'));
	const id = new URL(made.FunctionUrl).hostname.split('.')[0];
	const called = await fetch(`${server.url}/_mayfly/url/${id}/some/path?a=1`);
	const told = await called.text();
	assert.equal(JSON.parse(told).got?.rawPath, '/some/path', told);
	const [got, listed] = await all(cli('get-function-url-config', ...named('f')), cli('list-function-url-configs', ...named('f')),
		assert.rejects(cli('create-function-url-config', ...named('f'), '--auth-type', 'NONE'), /ResourceConflictException/));
	assert.deepEqual([got.AuthType, got.Cors], ['NONE', { AllowOrigins: ['*'], MaxAge: 60 }]);
	assert.deepEqual(listed.FunctionUrlConfigs.map((u) => u.FunctionUrl), [made.FunctionUrl]);
	assert.equal((await cli('update-function-url-config', ...named('f'), '--auth-type', 'AWS_IAM')).AuthType, 'AWS_IAM');
	assert.equal((await fetch(`${server.url}/_mayfly/url/${id}/`)).status, 403);
	await cli('delete-function-url-config', ...named('f'));
	await assert.rejects(cli('get-function-url-config', ...named('f')), /ResourceNotFoundException/);
});

test('layers', async () => {
	const layer = ['--layer-name', 'shared'], version = [...layer, '--version-number', '1'];
	const layerArn = 'arn:aws:lambda:us-east-1:123456789012:layer:shared:1';
	const content = zip({ 'python/shared.py': 'WHO = "layer"\n' });
	await writeFile(file('layer.zip'), content);
	const made = await cli('publish-layer-version', ...layer, '--zip-file', `fileb://${file('layer.zip')}`, '--compatible-runtimes', 'python3.11',
		'--license-info', 'MIT');
	assert.deepEqual([made.Version, made.LayerVersionArn, made.Content.CodeSize], [1, layerArn, content.length]);
	const [got, byArn, layers, versions, allowed] = await all(cli('get-layer-version', ...version), cli('get-layer-version-by-arn', '--arn', layerArn),
		cli('list-layers', '--compatible-runtime', 'python3.11'), cli('list-layer-versions', ...layer),
		cli('add-layer-version-permission', ...version, '--statement-id', 'x', '--action', 'lambda:GetLayerVersion', '--principal', '*'),
		assert.rejects(cli('get-layer-version', ...layer, '--version-number', '2'), /ResourceNotFoundException/));
	assert.ok(content.equals(Buffer.from(await (await fetch(got.Content.Location)).arrayBuffer())));
	assert.equal(byArn.Content.CodeSha256, made.Content.CodeSha256);
	assert.deepEqual(layers.Layers.map((y) => [y.LayerName, y.LatestMatchingVersion.Version]), [['shared', 1]]);
	assert.deepEqual(versions.LayerVersions.map((v) => [v.Version, v.LicenseInfo]), [[1, 'MIT']]);
	const policy = await cli('get-layer-version-policy', ...version);
	assert.deepEqual(JSON.parse(policy.Policy).Statement, [JSON.parse(allowed.Statement)]);
	await cli('remove-layer-version-permission', ...version, '--statement-id', 'x');
	await cli('delete-layer-version', ...version);
	await all(assert.rejects(cli('get-layer-version-policy', ...version), /ResourceNotFoundException/),
		assert.rejects(cli('get-layer-version', ...version), /ResourceNotFoundException/));
});

test('what becomes of asynchronous calls', async () => {
	const queue = 'arn:aws:sqs:us-east-1:123456789012:failed';
	await sqs('create-queue', '--queue-name', 'failed');
	const put = await cli('put-function-event-invoke-config', ...named('f'), '--maximum-retry-attempts', '0', '--maximum-event-age-in-seconds', '60');
	assert.deepEqual([put.FunctionArn, put.MaximumRetryAttempts, put.MaximumEventAgeInSeconds], [arn('f:$LATEST'), 0, 60]);
	const config = { OnFailure: { Destination: queue } };
	const changed = await cli('update-function-event-invoke-config', ...named('f'), '--destination-config', JSON.stringify(config));
	assert.deepEqual([changed.MaximumRetryAttempts, changed.DestinationConfig.OnFailure], [0, config.OnFailure]);
	const [got, listed] = await all(cli('get-function-event-invoke-config', ...named('f')), cli('list-function-event-invoke-configs', ...named('f')),
		assert.rejects(cli('put-function-event-invoke-config', ...named('f'), '--maximum-event-age-in-seconds', '59'), /Parameter validation failed/));
	assert.deepEqual([got.MaximumEventAgeInSeconds, got.DestinationConfig.OnFailure], [60, config.OnFailure]);
	assert.deepEqual(listed.FunctionEventInvokeConfigs.map((c) => c.FunctionArn), [arn('f:$LATEST')]);
	await cli('delete-function-event-invoke-config', ...named('f'));
	await assert.rejects(cli('get-function-event-invoke-config', ...named('f')), /ResourceNotFoundException/);
});

// Until `what` gives something that is `ok`; the CLI itself takes its time.
async function until(what, ok) {
	const end = Date.now() + 60_000;
	for (;;) {
		const seen = await what();
		if (ok(seen)) return seen;
		if (Date.now() > end) assert.fail(`still ${JSON.stringify(seen)}`);
	}
}

test('a queue feeds a function, and what fails is in the dead-letter queue', async () => {
	const source = 'arn:aws:sqs:us-east-1:123456789012:jobs', dead = 'arn:aws:sqs:us-east-1:123456789012:dead';
	const [, { QueueUrl: deadUrl }] = await all(make('worker', '--zip-file', `fileb://${file('failing.zip')}`), sqs('create-queue', '--queue-name', 'dead'));
	const { QueueUrl } = await sqs('create-queue', '--queue-name', 'jobs', '--attributes',
		JSON.stringify({ VisibilityTimeout: '3', RedrivePolicy: JSON.stringify({ deadLetterTargetArn: dead, maxReceiveCount: '1' }) }));
	assert.deepEqual((await sqs('list-dead-letter-source-queues', '--queue-url', deadUrl)).queueUrls, [QueueUrl]);
	const made = await cli('create-event-source-mapping', ...named('worker'), '--event-source-arn', source, '--batch-size', '5');
	assert.deepEqual([made.State, made.BatchSize, made.EventSourceArn, made.FunctionArn], ['Creating', 5, source, arn('worker')]);
	const get = () => cli('get-event-source-mapping', '--uuid', made.UUID);
	await until(get, (m) => m.State === 'Enabled');
	await sqs('send-message', '--queue-url', QueueUrl, '--message-body', 'poison');
	const { Messages } = await until(() => sqs('receive-message', '--queue-url', deadUrl, '--wait-time-seconds', '10'), (r) => r.Messages);
	assert.equal(Messages[0].Body, 'poison');
	const off = await cli('update-event-source-mapping', '--uuid', made.UUID, '--no-enabled', '--batch-size', '7');
	assert.deepEqual([off.State, off.BatchSize], ['Disabling', 7]);
	await until(get, (m) => m.State === 'Disabled');
	const [listed] = await all(cli('list-event-source-mappings', '--event-source-arn', source),
		assert.rejects(cli('create-event-source-mapping', ...named('worker'), '--event-source-arn', source), /ResourceConflictException/));
	assert.deepEqual(listed.EventSourceMappings.map((m) => [m.UUID, m.State, m.BatchSize]), [[made.UUID, 'Disabled', 7]]);
	assert.equal((await cli('delete-event-source-mapping', '--uuid', made.UUID)).State, 'Deleting');
	await until(() => get().catch((e) => e), (e) => /ResourceNotFoundException/.test(e.stderr));
});
