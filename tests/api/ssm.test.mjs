import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import * as ssm from '@aws-sdk/client-ssm';
import { rejects, startServer } from './server.mjs';

let server, client;

async function connect() {
	client = new ssm.SSMClient(server.client());
}
before(async () => {
	server = await startServer();
	await connect();
});
after(() => server?.stop());

const call = (name, input = {}) => client.send(new ssm[`${name}Command`](input));
const put = (Name, Value, more) => call('PutParameter', { Name, Value, Type: 'String', ...more });
const get = async (Name, WithDecryption) => (await call('GetParameter', { Name, WithDecryption })).Parameter;
const arn = (name) => `arn:aws:ssm:us-east-1:123456789012:parameter/${name}`;
const names = (list) => list.map((p) => p.Name);

// Every file of the data directory, whatever its name.
async function inData(text) {
	for (const entry of await readdir(server.data, { withFileTypes: true, recursive: true })) {
		if (!entry.isFile()) continue;
		const content = await readFile(join(entry.parentPath ?? entry.path, entry.name)).catch(() => '');
		if (content.includes(text)) return entry.name;
	}
	return undefined;
}

test('a parameter from put to delete', async () => {
	assert.deepEqual([(await put('/app/one', 'first')).Version, (await put('/app/one', 'second', { Overwrite: true, Type: undefined })).Version], [1, 2]);
	await rejects(put('/app/one', 'x'), 'ParameterAlreadyExists', /^The parameter already exists\. To overwrite/);
	await rejects(put('/app/one', 'x', { Overwrite: true, Type: 'StringList' }), 'HierarchyTypeMismatchException');
	const p = await get('/app/one');
	assert.deepEqual([p.Name, p.Value, p.Version, p.Type, p.DataType, p.ARN, p.Selector],
		['/app/one', 'second', 2, 'String', 'text', arn('app/one'), undefined]);
	assert.ok(Math.abs(p.LastModifiedDate - Date.now()) < 60_000);
	assert.deepEqual([(await get('/app/one:1')).Value, (await get('/app/one:1')).Selector], ['first', ':1']);
	assert.equal((await get(arn('app/one'))).Value, 'second');
	assert.equal((await get(`${arn('app/one')}:1`)).Value, 'first');
	await rejects(get('/app/one:3'), 'ParameterVersionNotFound');
	await rejects(get('/app/none'), 'ParameterNotFound');
	await rejects(get(arn('app/one').replace('us-east-1', 'us-east-2')), 'ParameterNotFound');
	await put('plain', 'p');
	assert.equal((await get(arn('plain'))).Value, 'p');
	const many = await call('GetParameters', { Names: ['plain', '/app/none', '/app/one:1', '/app/one:9'] });
	assert.deepEqual(many.Parameters.map((x) => x.Value), ['p', 'first']);
	assert.deepEqual(many.InvalidParameters, ['/app/none', '/app/one:9']);
	await call('DeleteParameter', { Name: '/app/one' });
	await rejects(call('DeleteParameter', { Name: '/app/one' }), 'ParameterNotFound');
	const gone = await call('DeleteParameters', { Names: ['plain', 'none', 'plain'] });
	assert.deepEqual([gone.DeletedParameters, gone.InvalidParameters], [['plain'], ['none', 'plain']]);
	assert.equal((await put('/app/one', 'anew')).Version, 1);
	assert.deepEqual((await call('DeleteParameters', { Names: ['no'] })).InvalidParameters, ['no']);
});

test('what a parameter may be', async () => {
	for (const name of ['aws-x', '/AWS/x', 'ssmx', '/a//b', '/a/', '/ä', 'a b', 'a/b', `/${'a/'.repeat(3)}`])
		await rejects(put(name, 'x'), 'ValidationException');
	await put(`/${Array(15).fill('l').join('/')}`, 'x');
	await rejects(put(`/${Array(16).fill('l').join('/')}`, 'x'), 'HierarchyLevelLimitExceededException');
	await rejects(put(`/${'n'.repeat(1100)}`, 'x'), 'ValidationException');
	await rejects(put('new', 'x', { Type: undefined }), 'ValidationException', 'A parameter type is required when you create a parameter.');
	await rejects(put('new', ''), 'ValidationException');
	await rejects(put('new', 'x'.repeat(4097)), 'ValidationException', /^Standard tier parameters support a maximum parameter value of 4096 characters\./);
	await rejects(put('new', 'x'.repeat(8193), { Tier: 'Advanced' }), 'ValidationException', /8192/);
	assert.equal((await put('big', 'x'.repeat(8192), { Tier: 'Intelligent-Tiering' })).Tier, 'Advanced');
	assert.equal((await put('big', 'y', { Overwrite: true })).Tier, 'Advanced');
	await rejects(put('big', 'y', { Overwrite: true, Tier: 'Standard' }), 'ValidationException', /downgrade/);
	await rejects(put('new', 'ami-1', { DataType: 'aws:ec2:image' }), 'ValidationException', /aws:ec2:image/);
	await rejects(put('new', 'x', { Policies: '[{"Type":"Expiration"}]' }), 'InvalidPolicyTypeException');
	await rejects(put('new', 'x', { AllowedPattern: '(' }), 'InvalidAllowedPatternException');
	await rejects(put('new', 'x', { AllowedPattern: '^\\d+$' }), 'ParameterPatternMismatchException');
	await rejects(put('new', `${'a'.repeat(4000)}!`, { AllowedPattern: '^(a+)+$' }), 'ParameterPatternMismatchException');
	await put('number', '12', { AllowedPattern: '^\\d+$', Description: 'how many' });
	await rejects(put('number', 'x', { Overwrite: true }), 'ParameterPatternMismatchException');
	await rejects(put('number', '1', { Overwrite: true, Tags: [{ Key: 'a', Value: 'b' }] }), 'ValidationException', /tags and overwrite can't be used together/);
	await rejects(put('new', 'x', { KeyId: 'alias/x' }), 'ValidationException', 'KeyId is required for SecureString type parameter only.');
});

test('labels, history and its end', async () => {
	for (let i = 1; i <= 3; i++) await put('/h', `v${i}`, { Overwrite: true });
	const label = (Labels, ParameterVersion, Name = '/h') => call('LabelParameterVersion', { Name, Labels, ParameterVersion });
	assert.deepEqual((await label(['prod', '1bad', 'awsx'], 1)).InvalidLabels, ['1bad', 'awsx']);
	assert.equal((await label(['test'])).ParameterVersion, 3);
	assert.equal((await get('/h:prod')).Value, 'v1');
	await label(['prod'], 2);
	assert.equal((await get('/h:prod')).Value, 'v2');
	await rejects(get('/h:none'), 'ParameterVersionNotFound');
	await rejects(label(['x'], 9), 'ParameterVersionNotFound');
	await rejects(label(['x'], 1, '/none'), 'ParameterNotFound');
	await label(Array.from({ length: 9 }, (_, i) => `l${i}`), 2);
	await rejects(label(['eleven'], 2), 'ParameterVersionLabelLimitExceeded');
	const first = await call('GetParameterHistory', { Name: '/h', MaxResults: 2 });
	assert.deepEqual(first.Parameters.map((p) => [p.Version, p.Value, p.Labels.length]), [[1, 'v1', 0], [2, 'v2', 10]]);
	const rest = await call('GetParameterHistory', { Name: '/h', MaxResults: 2, NextToken: first.NextToken });
	assert.deepEqual(rest.Parameters.map((p) => p.Value), ['v3']);
	assert.equal(rest.NextToken, undefined);
	assert.match(rest.Parameters[0].LastModifiedUser, /^arn:aws:iam::123456789012:/);
	await rejects(call('GetParameterHistory', { Name: '/h', NextToken: '!' }), 'InvalidNextToken');
	await label(['first'], 1);
	for (let i = 4; i <= 100; i++) await put('/h', `v${i}`, { Overwrite: true });
	await rejects(put('/h', 'no', { Overwrite: true }), 'ParameterMaxVersionLimitExceeded', /Version 1, the oldest version/);
	await label(['first'], 3);
	assert.equal((await put('/h', 'v101', { Overwrite: true })).Version, 101);
	await rejects(get('/h:1'), 'ParameterVersionNotFound');
});

test('by path and by filters', async () => {
	for (const n of ['/p/a', '/p/b', '/p/c/d', '/p/c/e', '/px']) await put(n, n);
	await put('/p/secret', 's', { Type: 'SecureString', KeyId: 'alias/mine' });
	const path = (Path, more) => call('GetParametersByPath', { Path, ...more });
	assert.deepEqual(names((await path('/p')).Parameters), ['/p/a', '/p/b', '/p/secret']);
	assert.deepEqual(names((await path('/p/', { Recursive: true })).Parameters), ['/p/a', '/p/b', '/p/c/d', '/p/c/e', '/p/secret']);
	const one = await path('/p', { Recursive: true, MaxResults: 3 });
	const two = await path('/p', { Recursive: true, MaxResults: 3, NextToken: one.NextToken });
	assert.deepEqual(names([...one.Parameters, ...two.Parameters]).length, 5);
	assert.equal(two.NextToken, undefined);
	assert.ok(names((await path('/')).Parameters).includes('/px'));
	await rejects(path('p'), 'ValidationException');
	const filter = (Key, Values, Option) => ({ ParameterFilters: [{ Key, Values, Option }] });
	assert.deepEqual(names((await path('/p', filter('Type', ['SecureString']))).Parameters), ['/p/secret']);
	await rejects(path('/p', filter('Name', ['x'])), 'InvalidFilterKey');
	await rejects(path('/p', filter('Type', ['x'])), 'InvalidFilterValue');
	await rejects(path('/p', filter('Type', ['String'], 'BeginsWith')), 'InvalidFilterOption');
	await call('LabelParameterVersion', { Name: '/p/a', Labels: ['live'] });
	await put('/p/a', 'later', { Overwrite: true });
	assert.deepEqual((await path('/p', filter('Label', ['live']))).Parameters.map((p) => p.Value), ['/p/a']);
	const describe = async (input) => names((await call('DescribeParameters', input)).Parameters);
	assert.deepEqual(await describe(filter('Name', ['/p/c'], 'BeginsWith')), ['/p/c/d', '/p/c/e']);
	assert.deepEqual(await describe(filter('Name', ['/p/a', '/px'])), ['/p/a', '/px']);
	assert.deepEqual(await describe(filter('Name', ['/c/'], 'Contains')), ['/p/c/d', '/p/c/e']);
	assert.deepEqual(await describe(filter('Path', ['/p'], 'OneLevel')), ['/p/a', '/p/b', '/p/secret']);
	assert.equal((await describe(filter('Path', ['/p'], 'Recursive'))).length, 5);
	assert.deepEqual(await describe(filter('KeyId', ['alias/mine'])), ['/p/secret']);
	assert.deepEqual(await describe({ Filters: [{ Key: 'Name', Values: ['/p/c'] }] }), ['/p/c/d', '/p/c/e']);
	await rejects(describe(filter('Label', ['x'])), 'InvalidFilterKey');
	const tagged = { ResourceType: 'Parameter', ResourceId: '/p/b' };
	await call('AddTagsToResource', { ...tagged, Tags: [{ Key: 'team', Value: 'a' }, { Key: 'x', Value: 'y' }] });
	await call('RemoveTagsFromResource', { ...tagged, TagKeys: ['x'] });
	assert.deepEqual((await call('ListTagsForResource', tagged)).TagList, [{ Key: 'team', Value: 'a' }]);
	assert.deepEqual(await describe(filter('tag:team', ['a'])), ['/p/b']);
	assert.deepEqual(await describe({ ParameterFilters: [{ Key: 'tag:team' }] }), ['/p/b']);
	await rejects(call('ListTagsForResource', { ...tagged, ResourceId: 'none' }), 'InvalidResourceId');
	await rejects(call('ListTagsForResource', { ...tagged, ResourceType: 'Document' }), 'InvalidResourceType');
	await rejects(call('AddTagsToResource', { ...tagged, Tags: Array.from({ length: 51 }, (_, i) => ({ Key: `k${i}`, Value: '' })) }), 'TooManyTagsError');
	const [d] = (await call('DescribeParameters', filter('Name', ['number']))).Parameters;
	assert.deepEqual([d.AllowedPattern, d.Description, d.Tier, d.Version], ['^\\d+$', 'how many', 'Standard', 1]);
});

test('SecureStrings are sealed on disk and stay after a restart', async () => {
	const secret = 'correct-horse-battery-staple-ssm';
	await put('/s/one', secret, { Type: 'SecureString' });
	const sealed = (await get('/s/one')).Value;
	assert.ok(sealed !== secret && !Buffer.from(sealed, 'base64').includes(secret));
	assert.equal((await get('/s/one', true)).Value, secret);
	await put('/s/plain', 'findme-in-data-plain');
	await server.restart('SIGKILL');
	await connect();
	assert.equal((await get('/s/one', true)).Value, secret);
	assert.equal((await call('GetParameterHistory', { Name: '/s/one', WithDecryption: true })).Parameters[0].KeyId, 'alias/aws/ssm');
	assert.equal((await get('/h:first')).Value, 'v3');
	await server.restart();
	await connect();
	assert.equal(await inData(secret), undefined);
	assert.ok(await inData('findme-in-data-plain'), 'the search would find what is not sealed');
	assert.ok(!server.log.includes(secret));
});
