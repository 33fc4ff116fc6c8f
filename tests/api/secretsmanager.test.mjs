import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import * as sm from '@aws-sdk/client-secrets-manager';
import { rejects, startServer } from './server.mjs';

let server, client;

function connect() {
	client = new sm.SecretsManagerClient(server.client());
}
before(async () => {
	server = await startServer();
	connect();
});
after(() => server?.stop());

const call = (name, input = {}) => client.send(new sm[`${name}Command`](input));
const make = (Name, SecretString, more) => call('CreateSecret', { Name, SecretString, ...more });
const get = (SecretId, more) => call('GetSecretValue', { SecretId, ...more });
const describe = (SecretId) => call('DescribeSecret', { SecretId });
const missing = "Secrets Manager can't find the specified secret.";

// The file of the data directory that holds this text, if there is one.
async function inData(text) {
	for (const entry of await readdir(server.data, { withFileTypes: true, recursive: true })) {
		if (!entry.isFile()) continue;
		const content = await readFile(join(entry.parentPath ?? entry.path, entry.name)).catch(() => '');
		if (content.includes(text)) return entry.name;
	}
	return undefined;
}

test('a secret by name, ARN and partial ARN', async () => {
	const made = await make('app/db', '{"user":"u","password":"p"}', { Description: 'the database', Tags: [{ Key: 'a', Value: 'b' }] });
	assert.match(made.ARN, /^arn:aws:secretsmanager:us-east-1:123456789012:secret:app\/db-[A-Za-z0-9]{6}$/);
	for (const id of ['app/db', made.ARN, made.ARN.slice(0, -7)]) {
		const got = await get(id);
		assert.deepEqual([got.Name, got.ARN, got.SecretString, got.VersionId, got.VersionStages],
			['app/db', made.ARN, '{"user":"u","password":"p"}', made.VersionId, ['AWSCURRENT']]);
	}
	await rejects(get(`${made.ARN.slice(0, -1)}_`), 'ResourceNotFoundException', missing);
	await rejects(get(made.ARN.replace('us-east-1', 'us-east-2')), 'ResourceNotFoundException');
	await rejects(get('none'), 'ResourceNotFoundException', missing);
	await rejects(make('app/db', 'x'), 'ResourceExistsException', 'The operation failed because the secret app/db already exists.');
	await rejects(make('a b', 'x'), 'InvalidParameterException', /Invalid name/);
	await rejects(make('both', 'x', { SecretBinary: Buffer.from('x') }), 'InvalidParameterException');
	await rejects(make('replica', 'x', { AddReplicaRegions: [{ Region: 'us-west-2' }] }), 'InvalidParameterException', /Replication/);
	await rejects(call('RotateSecret', { SecretId: 'app/db' }), 'UnknownOperationException');
	const d = await describe('app/db');
	assert.deepEqual([d.Description, d.Tags, d.VersionIdsToStages, d.DeletedDate],
		['the database', [{ Key: 'a', Value: 'b' }], { [made.VersionId]: ['AWSCURRENT'] }, undefined]);
	assert.ok(d.LastAccessedDate <= Date.now());
	assert.equal((await make('name-abcdef', 'tricky')).Name, 'name-abcdef');
	assert.equal((await get('arn:aws:secretsmanager:us-east-1:123456789012:secret:name-abcdef')).SecretString, 'tricky');
	const empty = await make('empty');
	assert.equal(empty.VersionId, undefined);
	await rejects(get('empty'), 'ResourceNotFoundException', "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT");
});

test('the same token again', async () => {
	const ClientRequestToken = randomUUID();
	const a = await make('token', 'v', { ClientRequestToken });
	assert.deepEqual([a.VersionId, (await make('token', 'v', { ClientRequestToken })).ARN], [ClientRequestToken, a.ARN]);
	await rejects(make('token', 'w', { ClientRequestToken }), 'ResourceExistsException', /ClientRequestToken/);
	const put = (SecretString, token, more) => call('PutSecretValue', { SecretId: 'token', SecretString, ClientRequestToken: token, ...more });
	const next = randomUUID();
	assert.deepEqual((await put('two', next)).VersionStages, ['AWSCURRENT']);
	assert.equal((await put('two', next)).VersionId, next);
	await rejects(put('three', next), 'ResourceExistsException');
	await rejects(put(undefined, next, { SecretBinary: Buffer.from('two') }), 'ResourceExistsException');
	await rejects(call('UpdateSecret', { SecretId: 'token', SecretString: 'x', ClientRequestToken: next }), 'ResourceExistsException');
	await rejects(put(undefined), 'InvalidParameterException', 'You must provide either SecretString or SecretBinary.');
	assert.equal((await call('ListSecretVersionIds', { SecretId: 'token' })).Versions.length, 2);
});

test('stages move', async () => {
	const ids = [(await make('stages', 'one')).VersionId];
	const stages = async () => (await describe('stages')).VersionIdsToStages;
	const value = async (VersionStage) => (await get('stages', { VersionStage })).SecretString;
	ids.push((await call('PutSecretValue', { SecretId: 'stages', SecretString: 'two' })).VersionId);
	assert.deepEqual(await stages(), { [ids[0]]: ['AWSPREVIOUS'], [ids[1]]: ['AWSCURRENT'] });
	ids.push((await call('PutSecretValue', { SecretId: 'stages', SecretString: 'three', VersionStages: ['AWSPENDING', 'mine'] })).VersionId);
	assert.deepEqual([await value('AWSPENDING'), await value(), await value('AWSPREVIOUS')], ['three', 'two', 'one']);
	const move = (VersionStage, MoveToVersionId, RemoveFromVersionId) =>
		call('UpdateSecretVersionStage', { SecretId: 'stages', VersionStage, MoveToVersionId, RemoveFromVersionId });
	await rejects(move('AWSCURRENT', ids[2]), 'InvalidParameterException', /RemoveFromVersionId can't be empty/);
	await rejects(move('AWSCURRENT', ids[2], ids[0]), 'InvalidParameterException');
	await rejects(move('AWSCURRENT', undefined, ids[1]), 'InvalidParameterException', /can't be completely removed/);
	await rejects(move('AWSCURRENT', randomUUID(), ids[1]), 'ResourceNotFoundException');
	await move('AWSCURRENT', ids[2], ids[1]);
	assert.deepEqual(await stages(), { [ids[1]]: ['AWSPREVIOUS'], [ids[2]]: ['AWSPENDING', 'mine', 'AWSCURRENT'] });
	await move('mine', undefined, ids[2]);
	// Back: the one that was current is the previous one, and the other way round.
	await move('AWSCURRENT', ids[1], ids[2]);
	assert.deepEqual(await stages(), { [ids[1]]: ['AWSCURRENT'], [ids[2]]: ['AWSPENDING', 'AWSPREVIOUS'] });
	assert.equal((await get('stages', { VersionId: ids[0] })).SecretString, 'one');
	await rejects(get('stages', { VersionId: ids[0], VersionStage: 'AWSCURRENT' }), 'InvalidRequestException');
	await rejects(get('stages', { VersionId: randomUUID() }), 'ResourceNotFoundException', /VersionId/);
	const { Versions } = await call('ListSecretVersionIds', { SecretId: 'stages', IncludeDeprecated: true, MaxResults: 2 });
	assert.equal(Versions.length, 2);
	for (let i = 0; i < 105; i++) await call('PutSecretValue', { SecretId: 'stages', SecretString: `v${i}` });
	await rejects(get('stages', { VersionId: ids[0] }), 'ResourceNotFoundException');
	assert.deepEqual([await value('AWSPENDING'), await value('AWSPREVIOUS'), await value()], ['three', 'v103', 'v104']);
	const all = [];
	for (let NextToken, more = true; more; more = !!NextToken) {
		const page = await call('ListSecretVersionIds', { SecretId: 'stages', IncludeDeprecated: true, MaxResults: 30, NextToken });
		all.push(...page.Versions.map((v) => v.VersionId));
		NextToken = page.NextToken;
	}
	assert.deepEqual([all.length, new Set(all).size], [100, 100]);
});

test('update, tags, policies', async () => {
	const made = await make('update', 'one');
	const updated = await call('UpdateSecret', { SecretId: 'update', Description: 'new', KmsKeyId: 'alias/k' });
	assert.equal(updated.VersionId, undefined);
	await call('UpdateSecret', { SecretId: made.ARN, SecretBinary: Buffer.from([0, 1, 255]) });
	const got = await get('update');
	assert.deepEqual([[...got.SecretBinary], got.SecretString], [[0, 1, 255], undefined]);
	await call('TagResource', { SecretId: 'update', Tags: [{ Key: 'x', Value: '1' }, { Key: 'y', Value: '2' }] });
	await call('UntagResource', { SecretId: 'update', TagKeys: ['x'] });
	const d = await describe('update');
	assert.deepEqual([d.Description, d.KmsKeyId, d.Tags], ['new', 'alias/k', [{ Key: 'y', Value: '2' }]]);
	await rejects(call('TagResource', { SecretId: 'update', Tags: Array.from({ length: 51 }, (_, i) => ({ Key: `${i}` })) }), 'InvalidParameterException');
	const policy = (Principal) => JSON.stringify({ Version: '2012-10-17',
		Statement: [{ Effect: 'Allow', Principal, Action: 'secretsmanager:GetSecretValue', Resource: '*' }] });
	const put = (ResourcePolicy, more) => call('PutResourcePolicy', { SecretId: 'update', ResourcePolicy, ...more });
	await put(policy({ AWS: 'arn:aws:iam::123456789012:root' }), { BlockPublicPolicy: true });
	assert.equal((await call('GetResourcePolicy', { SecretId: 'update' })).ResourcePolicy, policy({ AWS: 'arn:aws:iam::123456789012:root' }));
	await rejects(put(policy('*'), { BlockPublicPolicy: true }), 'PublicPolicyException');
	await rejects(put('{'), 'MalformedPolicyDocumentException');
	const judged = await call('ValidateResourcePolicy', { ResourcePolicy: policy('*') });
	assert.deepEqual([judged.PolicyValidationPassed, judged.ValidationErrors.length], [false, 1]);
	await call('DeleteResourcePolicy', { SecretId: 'update' });
	assert.equal((await call('GetResourcePolicy', { SecretId: 'update' })).ResourcePolicy, undefined);
});

test('lists and batches', async () => {
	for (const n of ['list/a', 'list/b', 'list/c']) await make(n, `value of ${n}`, { Description: `The ${n}`, Tags: [{ Key: 'letter', Value: n.slice(-1) }] });
	const filter = (Key, ...Values) => ({ Filters: [{ Key, Values }] });
	const list = async (input) => (await call('ListSecrets', { SortBy: 'name', SortOrder: 'asc', ...input })).SecretList.map((s) => s.Name);
	assert.deepEqual(await list(filter('name', 'list/')), ['list/a', 'list/b', 'list/c']);
	assert.deepEqual(await list({ ...filter('name', 'list/'), SortOrder: 'desc' }), ['list/c', 'list/b', 'list/a']);
	assert.deepEqual(await list({ ...filter('name', 'list/'), SortBy: 'created-date' }), ['list/a', 'list/b', 'list/c']);
	assert.deepEqual(await list(filter('description', 'the list/b')), ['list/b']);
	assert.deepEqual(await list(filter('tag-value', 'a', 'c')), ['list/a', 'list/c']);
	assert.deepEqual(await list({ Filters: [{ Key: 'tag-key', Values: ['letter'] }, { Key: 'tag-value', Values: ['!b'] }] }), ['list/a', 'list/c']);
	assert.deepEqual(await list(filter('all', 'LETTER list/b')), ['list/b']);
	const pages = [];
	for (let NextToken, more = true; more; more = !!NextToken) {
		const page = await call('ListSecrets', { ...filter('name', 'list/'), MaxResults: 2, NextToken });
		pages.push(page.SecretList.map((s) => s.Name));
		NextToken = page.NextToken;
	}
	assert.deepEqual(pages, [['list/c', 'list/b'], ['list/a']]);
	await rejects(list({ NextToken: '?' }), 'InvalidNextTokenException');
	const batch = await call('BatchGetSecretValue', { SecretIdList: ['list/a', 'none', 'list/c', 'empty'] });
	assert.deepEqual(batch.SecretValues.map((s) => s.SecretString), ['value of list/a', 'value of list/c']);
	assert.deepEqual(batch.Errors.map((e) => [e.SecretId, e.ErrorCode]), [['none', 'ResourceNotFoundException'], ['empty', 'ResourceNotFoundException']]);
	const two = await call('BatchGetSecretValue', { ...filter('name', 'list/'), MaxResults: 2 });
	const rest = await call('BatchGetSecretValue', { ...filter('name', 'list/'), MaxResults: 2, NextToken: two.NextToken });
	assert.deepEqual([...two.SecretValues, ...rest.SecretValues].map((s) => s.Name), ['list/a', 'list/b', 'list/c']);
	await rejects(call('BatchGetSecretValue'), 'InvalidParameterException');
});

test('deleting and restoring', async () => {
	const made = await make('doomed', 'x');
	const del = (more) => call('DeleteSecret', { SecretId: 'doomed', ...more });
	await rejects(del({ RecoveryWindowInDays: 6 }), 'InvalidParameterException', 'The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).');
	await rejects(del({ RecoveryWindowInDays: 7, ForceDeleteWithoutRecovery: true }), 'InvalidParameterException');
	const { DeletionDate } = await del({ RecoveryWindowInDays: 7 });
	assert.ok(Math.abs(DeletionDate - Date.now() - 7 * 86_400_000) < 60_000);
	const marked = "You can't perform this operation on the secret because it was marked for deletion.";
	await rejects(get('doomed'), 'InvalidRequestException', marked);
	await rejects(call('PutSecretValue', { SecretId: 'doomed', SecretString: 'y' }), 'InvalidRequestException', marked);
	await rejects(make('doomed', 'y'), 'InvalidRequestException', /already scheduled for deletion/);
	assert.ok((await describe('doomed')).DeletedDate);
	const listed = async (IncludePlannedDeletion) => (await call('ListSecrets', { IncludePlannedDeletion,
		Filters: [{ Key: 'name', Values: ['doomed'] }] })).SecretList.length;
	assert.deepEqual([await listed(), await listed(true)], [0, 1]);
	await call('RestoreSecret', { SecretId: made.ARN });
	assert.equal((await get('doomed')).SecretString, 'x');
	await del({ ForceDeleteWithoutRecovery: true });
	await rejects(describe('doomed'), 'ResourceNotFoundException');
	await rejects(del(), 'ResourceNotFoundException');
	assert.equal((await del({ ForceDeleteWithoutRecovery: true })).Name, 'doomed');
	assert.notEqual((await make('doomed', 'z')).ARN, made.ARN);
	await rejects(get(made.ARN), 'ResourceNotFoundException');
});

test('random passwords', async () => {
	const password = async (input) => (await call('GetRandomPassword', input)).RandomPassword;
	assert.equal((await password()).length, 32);
	assert.match(await password({ PasswordLength: 4 }), /^(?=.*[a-z])(?=.*[A-Z])(?=.*\d)(?=.*[^A-Za-z0-9])/);
	assert.match(await password({ PasswordLength: 4096, ExcludePunctuation: true, ExcludeCharacters: 'abc012' }), /^[d-zA-Z3-9]{4096}$/);
	assert.match(await password({ ExcludeLowercase: true, ExcludeUppercase: true, ExcludePunctuation: true, IncludeSpace: true }), /^[ 0-9]{32}$/);
	await rejects(password({ PasswordLength: 3 }), 'InvalidParameterException');
	await rejects(password({ ExcludeLowercase: true, ExcludeUppercase: true, ExcludePunctuation: true, ExcludeNumbers: true }), 'InvalidParameterException');
	assert.notEqual(await password(), await password());
});

test('values are sealed on disk, stay after a restart, and get as long as they may', async () => {
	const text = 'correct-horse-battery-staple-sm', bytes = Buffer.from('binary-horse-battery-staple-sm');
	await make('sealed/text', text, { Description: 'findme-in-data-description' });
	await call('CreateSecret', { Name: 'sealed/bytes', SecretBinary: bytes });
	const long = '\u{1f600}'.repeat(16384);
	await make('sealed/long', long);
	await rejects(make('sealed/longer', `${long}x`), 'InvalidParameterException');
	await server.restart('SIGKILL');
	connect();
	assert.equal((await get('sealed/text')).SecretString, text);
	assert.deepEqual(Buffer.from((await get('sealed/bytes')).SecretBinary), bytes);
	assert.equal((await get('sealed/long')).SecretString, long);
	await server.restart();
	connect();
	for (const s of [text, bytes.toString(), bytes.toString('base64'), Buffer.from(text).toString('base64')]) {
		assert.equal(await inData(s), undefined);
		assert.ok(!server.log.includes(s));
	}
	assert.ok(await inData('findme-in-data-description'), 'the search would find what is not sealed');
});
