// The AWS CLI against IAM and STS: what tutorials type.
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { aws } from './cli.mjs';
import { startServer } from './server.mjs';

const trust = { Version: '2012-10-17',
	Statement: [{ Effect: 'Allow', Principal: { Service: 'lambda.amazonaws.com' }, Action: 'sts:AssumeRole' }] };
let server, dir;

before(async () => {
	server = await startServer();
	dir = await mkdtemp(join(tmpdir(), 'mayfly-cli-'));
});
after(async () => {
	await server?.stop();
	if (dir) await rm(dir, { recursive: true });
});

test('a role for a function', async () => {
	const file = join(dir, 'trust.json');
	await writeFile(file, JSON.stringify(trust, null, 2));
	const { Role } = await aws(server, ['iam', 'create-role', '--role-name', 'lambda-ex',
		'--assume-role-policy-document', `file://${file}`, '--tags', 'Key=a,Value=b']);
	assert.equal(Role.Arn, 'arn:aws:iam::123456789012:role/lambda-ex');
	await aws(server, ['iam', 'wait', 'role-exists', '--role-name', 'lambda-ex']);
	await aws(server, ['iam', 'attach-role-policy', '--role-name', 'lambda-ex',
		'--policy-arn', 'arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole']);
	const attached = await aws(server, ['iam', 'list-attached-role-policies', '--role-name', 'lambda-ex']);
	assert.equal(attached.AttachedPolicies[0].PolicyName, 'AWSLambdaBasicExecutionRole');
	const got = await aws(server, ['iam', 'get-role', '--role-name', 'lambda-ex']);
	assert.deepEqual(got.Role.AssumeRolePolicyDocument, trust);
	await assert.rejects(aws(server, ['iam', 'delete-role', '--role-name', 'lambda-ex']), /DeleteConflict/);
});

test('a user with a key', async () => {
	await aws(server, ['iam', 'create-user', '--user-name', 'ann']);
	await aws(server, ['iam', 'wait', 'user-exists', '--user-name', 'ann']);
	const { AccessKey: key } = await aws(server, ['iam', 'create-access-key', '--user-name', 'ann']);
	const mine = { accessKeyId: key.AccessKeyId, secretAccessKey: key.SecretAccessKey };
	const me = await aws(server, ['sts', 'get-caller-identity'], mine);
	assert.equal(me.Arn, 'arn:aws:iam::123456789012:user/ann');
	const doc = JSON.stringify({ Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: '*', Resource: '*' }] });
	await aws(server, ['iam', 'put-user-policy', '--user-name', 'ann', '--policy-name', 'all', '--policy-document', doc]);
	const shown = await aws(server, ['iam', 'get-user-policy', '--user-name', 'ann', '--policy-name', 'all']);
	assert.deepEqual(shown.PolicyDocument, JSON.parse(doc));
	const role = await aws(server, ['sts', 'assume-role', '--role-arn', 'arn:aws:iam::123456789012:role/lambda-ex',
		'--role-session-name', 'shell'], mine);
	const session = { accessKeyId: role.Credentials.AccessKeyId, secretAccessKey: role.Credentials.SecretAccessKey,
		sessionToken: role.Credentials.SessionToken };
	const now = await aws(server, ['sts', 'get-caller-identity'], session);
	assert.equal(now.Arn, 'arn:aws:sts::123456789012:assumed-role/lambda-ex/shell');
});

test('the CLI pages through lists', async () => {
	const { Policies } = await aws(server, ['iam', 'list-policies', '--scope', 'AWS', '--page-size', '10']);
	assert.ok(Policies.length > 30);
	const some = await aws(server, ['iam', 'list-policies', '--max-items', '3']);
	assert.equal(some.Policies.length, 3);
	assert.ok(some.NextToken);
});
