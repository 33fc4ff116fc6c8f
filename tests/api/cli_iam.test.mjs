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
const iam = (...words) => aws(server, ['iam', ...words]);
const sts = (...words) => aws(server, ['sts', ...words]);
const all = (...calls) => Promise.all(calls);
const document = (Action) => JSON.stringify({ Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action, Resource: '*' }] });
const absent = (call) => assert.rejects(call, /NoSuchEntity/);

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

test('managed policies: versions, tags, who has them', async () => {
	const { Policy } = await iam('create-policy', '--policy-name', 'own', '--policy-document', document('s3:GetObject'), '--tags', 'Key=a,Value=b');
	const own = ['--policy-arn', Policy.Arn];
	assert.deepEqual([Policy.Arn, Policy.DefaultVersionId], ['arn:aws:iam::123456789012:policy/own', 'v1']);
	const { PolicyVersion } = await iam('create-policy-version', ...own, '--policy-document', document('s3:PutObject'));
	assert.deepEqual([PolicyVersion.VersionId, PolicyVersion.IsDefaultVersion], ['v2', false]);
	await all(iam('set-default-policy-version', ...own, '--version-id', 'v2'), iam('tag-policy', ...own, '--tags', 'Key=c,Value=d'),
		iam('create-role', '--role-name', 'holder', '--assume-role-policy-document', JSON.stringify(trust)),
		iam('create-user', '--user-name', 'holder'), iam('create-group', '--group-name', 'holders'));
	await all(iam('untag-policy', ...own, '--tag-keys', 'a'), iam('attach-role-policy', '--role-name', 'holder', ...own),
		iam('attach-user-policy', '--user-name', 'holder', ...own), iam('attach-group-policy', '--group-name', 'holders', ...own));
	const [got, second, versions, tags, holders, ofUser, ofGroup] = await all(iam('get-policy', ...own),
		iam('get-policy-version', ...own, '--version-id', 'v2'), iam('list-policy-versions', ...own), iam('list-policy-tags', ...own),
		iam('list-entities-for-policy', ...own), iam('list-attached-user-policies', '--user-name', 'holder'),
		iam('list-attached-group-policies', '--group-name', 'holders'),
		absent(iam('get-policy', '--policy-arn', 'arn:aws:iam::123456789012:policy/none')),
		assert.rejects(iam('delete-policy-version', ...own, '--version-id', 'v2'), /DeleteConflict/));
	assert.deepEqual([got.Policy.DefaultVersionId, got.Policy.AttachmentCount], ['v2', 3]);
	assert.equal(second.PolicyVersion.Document.Statement[0].Action, 's3:PutObject');
	assert.deepEqual(versions.Versions.map((v) => [v.VersionId, v.IsDefaultVersion]), [['v2', true], ['v1', false]]);
	assert.deepEqual(tags.Tags, [{ Key: 'c', Value: 'd' }]);
	assert.deepEqual([holders.PolicyRoles[0].RoleName, holders.PolicyUsers[0].UserName, holders.PolicyGroups[0].GroupName],
		['holder', 'holder', 'holders']);
	assert.deepEqual([ofUser.AttachedPolicies, ofGroup.AttachedPolicies], Array(2).fill([{ PolicyName: 'own', PolicyArn: Policy.Arn }]));
	await all(iam('detach-role-policy', '--role-name', 'holder', ...own), iam('detach-user-policy', '--user-name', 'holder', ...own),
		iam('detach-group-policy', '--group-name', 'holders', ...own), iam('delete-policy-version', ...own, '--version-id', 'v1'));
	await iam('delete-policy', ...own);
	await all(absent(iam('get-policy', ...own)), absent(iam('detach-role-policy', '--role-name', 'holder', ...own)));
});

test('what else a role has', async () => {
	const role = ['--role-name', 'holder'], inline = [...role, '--policy-name', 'in'];
	await all(iam('put-role-policy', ...inline, '--policy-document', document('sqs:*')), iam('tag-role', ...role, '--tags', 'Key=a,Value=b', 'Key=c,Value=d'),
		iam('put-role-permissions-boundary', ...role, '--permissions-boundary', 'arn:aws:iam::aws:policy/AdministratorAccess'),
		iam('update-role', ...role, '--max-session-duration', '7200'));
	await all(iam('update-role-description', ...role, '--description', 'told'), iam('untag-role', ...role, '--tag-keys', 'a'),
		iam('update-assume-role-policy', ...role, '--policy-document', JSON.stringify(trust).replace('lambda', 'ecs-tasks')));
	const [{ Role }, policy, names, tags, profiles, roles] = await all(iam('get-role', ...role), iam('get-role-policy', ...inline),
		iam('list-role-policies', ...role), iam('list-role-tags', ...role), iam('list-instance-profiles-for-role', ...role),
		iam('list-roles'), absent(iam('get-role-policy', ...role, '--policy-name', 'none')),
		assert.rejects(iam('update-assume-role-policy', ...role, '--policy-document', '{'), /MalformedPolicyDocument/));
	assert.deepEqual([Role.Description, Role.MaxSessionDuration, Role.PermissionsBoundary.PermissionsBoundaryArn],
		['told', 7200, 'arn:aws:iam::aws:policy/AdministratorAccess']);
	assert.equal(Role.AssumeRolePolicyDocument.Statement[0].Principal.Service, 'ecs-tasks.amazonaws.com');
	assert.equal(policy.PolicyDocument.Statement[0].Action, 'sqs:*');
	assert.deepEqual([names.PolicyNames, tags.Tags, profiles.InstanceProfiles], [['in'], [{ Key: 'c', Value: 'd' }], []]);
	assert.deepEqual(roles.Roles.map((r) => r.RoleName), ['holder', 'lambda-ex']);
	await all(iam('delete-role-policy', ...inline), iam('delete-role-permissions-boundary', ...role));
	await iam('delete-role', ...role);
	await absent(iam('get-role', ...role));
});

test('what else users and groups have', async () => {
	const user = ['--user-name', 'holder'], group = ['--group-name', 'holders'], inline = ['--policy-name', 'in'];
	const boundary = 'arn:aws:iam::aws:policy/ReadOnlyAccess';
	await all(iam('add-user-to-group', ...user, ...group), iam('put-group-policy', ...group, ...inline, '--policy-document', document('a:b')),
		iam('put-user-permissions-boundary', ...user, '--permissions-boundary', boundary), iam('tag-user', ...user, '--tags', 'Key=a,Value=b'),
		iam('put-user-policy', ...user, ...inline, '--policy-document', document('c:d')));
	const { AccessKey: { AccessKeyId } } = await iam('create-access-key', ...user);
	await iam('update-access-key', ...user, '--access-key-id', AccessKeyId, '--status', 'Inactive');
	const [got, ofGroup, names, { User }, groups, allGroups, tags, userNames, keys, users, used] = await all(iam('get-group', ...group),
		iam('get-group-policy', ...group, ...inline), iam('list-group-policies', ...group), iam('get-user', ...user),
		iam('list-groups-for-user', ...user), iam('list-groups'), iam('list-user-tags', ...user), iam('list-user-policies', ...user),
		iam('list-access-keys', ...user), iam('list-users'), iam('get-access-key-last-used', '--access-key-id', AccessKeyId),
		absent(iam('get-group', '--group-name', 'none')), assert.rejects(iam('delete-user', ...user), /DeleteConflict/),
		assert.rejects(iam('delete-group', ...group), /DeleteConflict/));
	assert.deepEqual([got.Users.map((u) => u.UserName), ofGroup.PolicyDocument.Statement[0].Action, names.PolicyNames], [['holder'], 'a:b', ['in']]);
	assert.equal(User.PermissionsBoundary.PermissionsBoundaryArn, boundary);
	assert.deepEqual([groups.Groups, allGroups.Groups].map((list) => list.map((g) => g.GroupName)), [['holders'], ['holders']]);
	assert.deepEqual([tags.Tags, userNames.PolicyNames], [[{ Key: 'a', Value: 'b' }], ['in']]);
	assert.deepEqual(keys.AccessKeyMetadata.map((k) => [k.AccessKeyId, k.Status]), [[AccessKeyId, 'Inactive']]);
	assert.deepEqual([users.Users.map((u) => u.UserName), used.UserName], [['ann', 'holder'], 'holder']);
	await all(iam('delete-user-policy', ...user, ...inline), iam('delete-user-permissions-boundary', ...user), iam('untag-user', ...user, '--tag-keys', 'a'),
		iam('delete-access-key', ...user, '--access-key-id', AccessKeyId), iam('remove-user-from-group', ...user, ...group),
		iam('delete-group-policy', ...group, ...inline));
	assert.equal((await iam('get-user', ...user)).User.Tags, undefined);
	await iam('update-user', ...user, '--new-user-name', 'renamed', '--new-path', '/x/');
	assert.equal((await iam('get-user', '--user-name', 'renamed')).User.Arn, 'arn:aws:iam::123456789012:user/x/renamed');
	await all(iam('delete-user', '--user-name', 'renamed'), iam('delete-group', ...group));
	await all(absent(iam('delete-user', '--user-name', 'renamed')), absent(iam('delete-group', ...group)));
});

test('whose key it is, and temporary ones', async () => {
	const { Credentials: made } = await sts('get-session-token', '--duration-seconds', '900');
	assert.equal((await sts('get-access-key-info', '--access-key-id', made.AccessKeyId)).Account, '123456789012');
	const session = { accessKeyId: made.AccessKeyId, secretAccessKey: made.SecretAccessKey, sessionToken: made.SessionToken };
	assert.equal((await aws(server, ['sts', 'get-caller-identity'], session)).Arn, 'arn:aws:iam::123456789012:root');
	await all(assert.rejects(aws(server, ['sts', 'get-caller-identity'], { ...session, sessionToken: undefined }), /InvalidClientTokenId/),
		assert.rejects(sts('get-access-key-info', '--access-key-id', 'AKIAAAAAAAAAAAAAAAAA'), /ValidationError/));
});
