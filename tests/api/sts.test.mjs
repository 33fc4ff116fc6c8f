import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { CreateRoleCommand, CreateUserCommand, CreateAccessKeyCommand, IAMClient } from '@aws-sdk/client-iam';
import * as sts from '@aws-sdk/client-sts';
import { rejects, startServer } from './server.mjs';

const trust = JSON.stringify({
	Version: '2012-10-17',
	Statement: [{ Effect: 'Allow', Principal: { Service: 'lambda.amazonaws.com' }, Action: 'sts:AssumeRole' }],
});
let server, root, role;

before(async () => {
	server = await startServer();
	root = new sts.STSClient(server.client());
	const iam = new IAMClient(server.client());
	({ Role: role } = await iam.send(
		new CreateRoleCommand({ RoleName: 'worker', Path: '/team/', AssumeRolePolicyDocument: trust, MaxSessionDuration: 7200 })));
});
after(() => server?.stop());

const whoami = (credentials) =>
	new sts.STSClient(server.client(credentials)).send(new sts.GetCallerIdentityCommand({}));
const keysOf = ({ Credentials: c }) => ({
	accessKeyId: c.AccessKeyId, secretAccessKey: c.SecretAccessKey, sessionToken: c.SessionToken });

test('the first key pair is the account itself', async () => {
	const me = await whoami();
	assert.equal(me.Account, '123456789012');
	assert.equal(me.Arn, 'arn:aws:iam::123456789012:root');
	assert.equal(me.UserId, '123456789012');
});

test('keys that nobody made are refused', async () => {
	await rejects(whoami({ accessKeyId: 'AKIAAAAAAAAAAAAAAAAA', secretAccessKey: 'x' }), 'InvalidClientTokenId');
});

test('a role is assumed, also after a restart', async () => {
	const answer = await root.send(new sts.AssumeRoleCommand({
		RoleArn: role.Arn, RoleSessionName: 'night', SourceIdentity: 'someone' }));
	assert.equal(answer.AssumedRoleUser.Arn, 'arn:aws:sts::123456789012:assumed-role/worker/night');
	assert.equal(answer.AssumedRoleUser.AssumedRoleId, `${role.RoleId}:night`);
	assert.equal(answer.SourceIdentity, 'someone');
	assert.match(answer.Credentials.AccessKeyId, /^ASIA[A-Z2-7]{16}$/);
	const left = answer.Credentials.Expiration - Date.now();
	assert.ok(left > 3500_000 && left < 3610_000, `expires in ${left} ms`);
	for (let i = 0; i < 2; i++) {
		const me = await whoami(keysOf(answer));
		assert.equal(me.Arn, answer.AssumedRoleUser.Arn);
		assert.equal(me.UserId, answer.AssumedRoleUser.AssumedRoleId);
		if (i === 0) await server.restart();
	}
	const keys = keysOf(answer);
	await rejects(whoami({ ...keys, sessionToken: `${keys.sessionToken.slice(0, -8)}AAAAAAA=` }), 'InvalidClientTokenId');
	await rejects(whoami({ ...keys, sessionToken: undefined }), 'InvalidClientTokenId');
});

test('what cannot be assumed', async () => {
	const assume = (input) => root.send(new sts.AssumeRoleCommand({ RoleArn: role.Arn, RoleSessionName: 'me', ...input }));
	const none = 'arn:aws:iam::123456789012:role/none';
	await rejects(assume({ RoleArn: none }), 'AccessDenied',
		`User: arn:aws:iam::123456789012:root is not authorized to perform: sts:AssumeRole on resource: ${none}`);
	await rejects(assume({ RoleArn: 'arn:aws:iam::123456789012:role/worker' }), 'AccessDenied');
	await rejects(assume({ DurationSeconds: 7201 }), 'ValidationError',
		'The requested DurationSeconds exceeds the MaxSessionDuration set for this role.');
	await rejects(assume({ DurationSeconds: 899 }), 'ValidationError');
	await rejects(assume({ RoleSessionName: 'x' }), 'ValidationError');
	await rejects(assume({ Policy: '{' }), 'MalformedPolicyDocumentException');
	await rejects(assume({ Policy: JSON.stringify({ Statement: [], Id: 'x'.repeat(2048) }) }), 'PackedPolicyTooLargeException');
	const first = await assume({ DurationSeconds: 7200 });
	const second = new sts.STSClient(server.client(keysOf(first)));
	await rejects(second.send(new sts.AssumeRoleCommand({ RoleArn: role.Arn, RoleSessionName: 'me', DurationSeconds: 3601 })),
		'ValidationError', /role chaining/);
	await rejects(second.send(new sts.GetSessionTokenCommand({})), 'AccessDenied');
});

test('session tokens act as their maker', async () => {
	const iam = new IAMClient(server.client());
	await iam.send(new CreateUserCommand({ UserName: 'ann' }));
	const { AccessKey: key } = await iam.send(new CreateAccessKeyCommand({ UserName: 'ann' }));
	const mine = { accessKeyId: key.AccessKeyId, secretAccessKey: key.SecretAccessKey };
	const client = new sts.STSClient(server.client(mine));
	const session = await client.send(new sts.GetSessionTokenCommand({ DurationSeconds: 900 }));
	assert.equal((await whoami(keysOf(session))).Arn, 'arn:aws:iam::123456789012:user/ann');
	const info = await client.send(new sts.GetAccessKeyInfoCommand({ AccessKeyId: key.AccessKeyId }));
	assert.equal(info.Account, '123456789012');
	await rejects(client.send(new sts.GetAccessKeyInfoCommand({ AccessKeyId: 'AKIAAAAAAAAAAAAAAAAA' })), 'ValidationError');
});
