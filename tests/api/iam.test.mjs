import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import * as iam from '@aws-sdk/client-iam';
import { GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts';
import { rejects, startServer } from './server.mjs';

const trust = JSON.stringify({
	Version: '2012-10-17',
	Statement: [{ Effect: 'Allow', Principal: { Service: 'lambda.amazonaws.com' }, Action: 'sts:AssumeRole' }],
});
const policy = (action = 's3:GetObject') => JSON.stringify({
	Version: '2012-10-17',
	Statement: [{ Effect: 'Allow', Action: action, Resource: 'arn:aws:s3:::bucket/*' }],
});
const basic = 'arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole';
let server, client;

before(async () => {
	server = await startServer();
	client = new iam.IAMClient(server.client());
});
after(() => server?.stop());

// call('GetRole', {...}) sends a GetRoleCommand.
const call = (name, input = {}) => client.send(new iam[`${name}Command`](input));
const whoami = (credentials) =>
	new STSClient(server.client(credentials)).send(new GetCallerIdentityCommand({}));

test('roles from create to delete', async () => {
	const { Role: made } = await call('CreateRole', {
		RoleName: 'Worker', Path: '/team/a/', AssumeRolePolicyDocument: trust, Description: 'does work',
		Tags: [{ Key: 'team', Value: 'a' }] });
	assert.match(made.RoleId, /^AROA[A-Z2-7]{17}$/);
	assert.equal(made.Arn, 'arn:aws:iam::123456789012:role/team/a/Worker');
	assert.equal(decodeURIComponent(made.AssumeRolePolicyDocument), trust);
	assert.ok(Math.abs(made.CreateDate - Date.now()) < 10_000);
	await rejects(call('CreateRole', { RoleName: 'worker', AssumeRolePolicyDocument: trust }),
		'EntityAlreadyExistsException', 'Role with name worker already exists.');
	const { Role: got } = await call('GetRole', { RoleName: 'Worker' });
	assert.equal(got.MaxSessionDuration, 3600);
	assert.equal(got.Description, 'does work');
	assert.deepEqual(got.Tags, [{ Key: 'team', Value: 'a' }]);
	assert.deepEqual(got.RoleLastUsed, {});
	await call('UpdateRole', { RoleName: 'Worker', Description: 'rests', MaxSessionDuration: 43200 });
	await call('UpdateAssumeRolePolicy', { RoleName: 'Worker', PolicyDocument: trust.replace('lambda', 'ecs-tasks') });
	await server.restart('SIGKILL');
	const { Role: again } = await call('GetRole', { RoleName: 'Worker' });
	assert.equal(again.RoleId, made.RoleId);
	assert.equal(again.Description, 'rests');
	assert.equal(again.MaxSessionDuration, 43200);
	assert.match(decodeURIComponent(again.AssumeRolePolicyDocument), /ecs-tasks\.amazonaws\.com/);
	await iam.waitUntilRoleExists({ client, maxWaitTime: 5 }, { RoleName: 'Worker' });
	const profiles = await call('ListInstanceProfilesForRole', { RoleName: 'Worker' });
	assert.deepEqual(profiles.InstanceProfiles, []);
	await call('DeleteRole', { RoleName: 'Worker' });
	await rejects(call('GetRole', { RoleName: 'Worker' }), 'NoSuchEntityException',
		'The role with name Worker cannot be found.');
	await rejects(call('DeleteRole', { RoleName: 'Worker' }), 'NoSuchEntityException');
});

test('lists come in pages, in order, by path', async () => {
	const names = Array.from({ length: 7 }, (_, i) => `page-${i}`);
	await Promise.all(names.map((n, i) => call('CreateRole', {
		RoleName: n, AssumeRolePolicyDocument: trust, Path: i % 2 ? '/odd/' : '/even/' })));
	const seen = [];
	let Marker, pages = 0;
	do {
		const page = await call('ListRoles', { MaxItems: 3, Marker });
		seen.push(...page.Roles.map((r) => r.RoleName));
		assert.equal(page.IsTruncated, page.Marker !== undefined);
		Marker = page.Marker;
		pages++;
	} while (Marker);
	assert.deepEqual(seen, names);
	assert.equal(pages, 3);
	const odd = await call('ListRoles', { PathPrefix: '/odd/' });
	assert.equal(odd.Roles.length, 3);
	await rejects(call('ListRoles', { Marker: 'x y' }), 'ValidationError');
	await Promise.all(names.map((RoleName) => call('DeleteRole', { RoleName })));
	assert.deepEqual((await call('ListRoles')).Roles, []);
});

test('users and their access keys, at once and after a restart', async () => {
	const { User: ann } = await call('CreateUser', { UserName: 'ann', Tags: [{ Key: 'a', Value: '1' }] });
	assert.match(ann.UserId, /^AIDA[A-Z2-7]{17}$/);
	await iam.waitUntilUserExists({ client, maxWaitTime: 5 }, { UserName: 'ann' });
	const { AccessKey: key } = await call('CreateAccessKey', { UserName: 'ann' });
	assert.match(key.AccessKeyId, /^AKIA[A-Z2-7]{16}$/);
	assert.equal(key.SecretAccessKey.length, 40);
	const mine = { accessKeyId: key.AccessKeyId, secretAccessKey: key.SecretAccessKey };
	assert.equal((await whoami(mine)).Arn, 'arn:aws:iam::123456789012:user/ann');
	await rejects(whoami({ ...mine, secretAccessKey: 'x'.repeat(40) }), 'SignatureDoesNotMatch');

	// Without a name it is about the caller.
	const self = new iam.IAMClient(server.client(mine));
	assert.equal((await self.send(new iam.GetUserCommand({}))).User.UserName, 'ann');
	assert.equal((await self.send(new iam.ListAccessKeysCommand({}))).AccessKeyMetadata.length, 1);
	assert.match((await call('GetUser')).User.Arn, /:root$/);

	await server.restart('SIGKILL');
	assert.equal((await whoami(mine)).UserId, ann.UserId);
	await call('UpdateAccessKey', { UserName: 'ann', AccessKeyId: key.AccessKeyId, Status: 'Inactive' });
	await rejects(whoami(mine), 'InvalidClientTokenId');
	await call('UpdateAccessKey', { UserName: 'ann', AccessKeyId: key.AccessKeyId, Status: 'Active' });
	await whoami(mine);
	const used = await call('GetAccessKeyLastUsed', { AccessKeyId: key.AccessKeyId });
	assert.equal(used.UserName, 'ann');
	await call('CreateAccessKey', { UserName: 'ann' });
	await rejects(call('CreateAccessKey', { UserName: 'ann' }), 'LimitExceededException',
		'Cannot exceed quota for AccessKeysPerUser: 2');

	// Keys go with a renamed user.
	await call('UpdateUser', { UserName: 'ann', NewUserName: 'anna', NewPath: '/x/' });
	assert.equal((await whoami(mine)).Arn, 'arn:aws:iam::123456789012:user/x/anna');
	await rejects(call('GetUser', { UserName: 'ann' }), 'NoSuchEntityException');
	await server.restart();
	assert.equal((await whoami(mine)).Arn, 'arn:aws:iam::123456789012:user/x/anna');

	await rejects(call('DeleteUser', { UserName: 'anna' }), 'DeleteConflictException',
		'Cannot delete entity, must delete access keys first.');
	const { AccessKeyMetadata: keys } = await call('ListAccessKeys', { UserName: 'anna' });
	for (const { AccessKeyId } of keys) await call('DeleteAccessKey', { UserName: 'anna', AccessKeyId });
	await rejects(whoami(mine), 'InvalidClientTokenId');
	await rejects(call('DeleteAccessKey', { UserName: 'anna', AccessKeyId: key.AccessKeyId }),
		'NoSuchEntityException', `The Access Key with id ${key.AccessKeyId} cannot be found.`);
	await call('DeleteUser', { UserName: 'anna' });
	assert.deepEqual((await call('ListUsers')).Users, []);
});

test('managed policies and versions', async () => {
	const { Policy: made } = await call('CreatePolicy', {
		PolicyName: 'read', PolicyDocument: policy(), Description: 'reads', Path: '/p/' });
	const PolicyArn = made.Arn;
	assert.equal(PolicyArn, 'arn:aws:iam::123456789012:policy/p/read');
	assert.match(made.PolicyId, /^ANPA[A-Z2-7]{17}$/);
	await iam.waitUntilPolicyExists({ client, maxWaitTime: 5 }, { PolicyArn });
	await rejects(call('CreatePolicy', { PolicyName: 'read', PolicyDocument: policy() }), 'EntityAlreadyExistsException',
		'A policy called read already exists. Duplicate names are not allowed.');
	for (let i = 2; i <= 5; i++) {
		const { PolicyVersion: v } = await call('CreatePolicyVersion', {
			PolicyArn, PolicyDocument: policy(`s3:Get${i}`), SetAsDefault: i === 3 });
		assert.equal(v.VersionId, `v${i}`);
		assert.equal(v.IsDefaultVersion, i === 3);
	}
	await rejects(call('CreatePolicyVersion', { PolicyArn, PolicyDocument: policy() }), 'LimitExceededException');
	assert.equal((await call('GetPolicy', { PolicyArn })).Policy.DefaultVersionId, 'v3');
	await rejects(call('DeletePolicyVersion', { PolicyArn, VersionId: 'v3' }), 'DeleteConflictException',
		'Cannot delete the default version of a policy.');
	await call('SetDefaultPolicyVersion', { PolicyArn, VersionId: 'v5' });
	await call('DeletePolicyVersion', { PolicyArn, VersionId: 'v3' });
	await call('CreatePolicyVersion', { PolicyArn, PolicyDocument: policy() });
	const { Versions } = await call('ListPolicyVersions', { PolicyArn });
	assert.deepEqual(Versions.map((v) => v.VersionId), ['v6', 'v5', 'v4', 'v2', 'v1']);
	const { PolicyVersion: two } = await call('GetPolicyVersion', { PolicyArn, VersionId: 'v2' });
	assert.equal(decodeURIComponent(two.Document), policy('s3:Get2'));
	await rejects(call('GetPolicyVersion', { PolicyArn, VersionId: 'v3' }), 'NoSuchEntityException');
	await rejects(call('DeletePolicy', { PolicyArn }), 'DeleteConflictException');
	for (const { VersionId, IsDefaultVersion } of Versions)
		if (!IsDefaultVersion) await call('DeletePolicyVersion', { PolicyArn, VersionId });
	await call('TagPolicy', { PolicyArn, Tags: [{ Key: 'k', Value: 'v' }] });
	assert.deepEqual((await call('ListPolicyTags', { PolicyArn })).Tags, [{ Key: 'k', Value: 'v' }]);
	await call('UntagPolicy', { PolicyArn, TagKeys: ['K'] });
	assert.deepEqual((await call('ListPolicyTags', { PolicyArn })).Tags, []);
	await call('DeletePolicy', { PolicyArn });
	await rejects(call('GetPolicy', { PolicyArn }), 'NoSuchEntityException', `Policy ${PolicyArn} was not found.`);
});

test('policies of AWS are there', async () => {
	const { Policy: p } = await call('GetPolicy', { PolicyArn: basic });
	assert.equal(p.PolicyName, 'AWSLambdaBasicExecutionRole');
	assert.equal(p.Path, '/service-role/');
	const { PolicyVersion: v } = await call('GetPolicyVersion', { PolicyArn: basic, VersionId: p.DefaultVersionId });
	const actions = JSON.parse(decodeURIComponent(v.Document)).Statement[0].Action;
	assert.ok(actions.includes('logs:PutLogEvents'));
	for (const name of ['AdministratorAccess', 'AmazonS3ReadOnlyAccess', 'PowerUserAccess', 'AmazonSQSFullAccess'])
		await call('GetPolicy', { PolicyArn: `arn:aws:iam::aws:policy/${name}` });
	assert.deepEqual((await call('ListPolicies', { Scope: 'Local' })).Policies, []);
	const { Policies: all } = await call('ListPolicies', { Scope: 'AWS', MaxItems: 1000 });
	assert.ok(all.length > 30);
	await rejects(call('CreatePolicyVersion', { PolicyArn: basic, PolicyDocument: policy() }), 'AccessDenied');
	await rejects(call('DeletePolicy', { PolicyArn: basic }), 'AccessDenied');
	// Each of their documents is one that we would accept.
	for (const { Arn, DefaultVersionId } of all) {
		const { PolicyVersion } = await call('GetPolicyVersion', { PolicyArn: Arn, VersionId: DefaultVersionId });
		JSON.parse(decodeURIComponent(PolicyVersion.Document));
	}
});

test('attaching', async () => {
	await call('CreateRole', { RoleName: 'r', AssumeRolePolicyDocument: trust });
	await call('CreateUser', { UserName: 'u' });
	const { Policy: { Arn: own } } = await call('CreatePolicy', { PolicyName: 'own', PolicyDocument: policy() });
	// At once, as deployment tools do.
	await Promise.all([
		call('AttachRolePolicy', { RoleName: 'r', PolicyArn: basic }),
		call('AttachRolePolicy', { RoleName: 'r', PolicyArn: own }),
		call('AttachRolePolicy', { RoleName: 'r', PolicyArn: 'arn:aws:iam::aws:policy/AdministratorAccess' }),
		call('AttachUserPolicy', { UserName: 'u', PolicyArn: own }),
		call('TagRole', { RoleName: 'r', Tags: [{ Key: 'x', Value: 'y' }] }),
	]);
	await call('AttachRolePolicy', { RoleName: 'r', PolicyArn: basic });
	const { AttachedPolicies } = await call('ListAttachedRolePolicies', { RoleName: 'r' });
	assert.deepEqual(AttachedPolicies.map((p) => p.PolicyName).sort(), ['AWSLambdaBasicExecutionRole', 'AdministratorAccess', 'own']);
	const service = await call('ListAttachedRolePolicies', { RoleName: 'r', PathPrefix: '/service-role/' });
	assert.deepEqual(service.AttachedPolicies, [{ PolicyArn: basic, PolicyName: 'AWSLambdaBasicExecutionRole' }]);
	assert.deepEqual((await call('ListRoleTags', { RoleName: 'r' })).Tags, [{ Key: 'x', Value: 'y' }]);
	assert.equal((await call('GetPolicy', { PolicyArn: own })).Policy.AttachmentCount, 2);
	const holders = await call('ListEntitiesForPolicy', { PolicyArn: own });
	assert.deepEqual(holders.PolicyRoles.map((r) => r.RoleName), ['r']);
	assert.deepEqual(holders.PolicyUsers.map((u) => u.UserName), ['u']);
	const one = await call('ListEntitiesForPolicy', { PolicyArn: own, MaxItems: 1 });
	assert.equal(one.PolicyUsers.length + one.PolicyRoles.length, 1);
	const two = await call('ListEntitiesForPolicy', { PolicyArn: own, MaxItems: 1, Marker: one.Marker });
	assert.equal(two.IsTruncated, false);
	assert.equal(two.PolicyRoles[0].RoleName, 'r');
	const attached = await call('ListPolicies', { OnlyAttached: true });
	assert.equal(attached.Policies.length, 3);

	await rejects(call('DeletePolicy', { PolicyArn: own }), 'DeleteConflictException',
		'Cannot delete a policy attached to entities.');
	await rejects(call('DeleteRole', { RoleName: 'r' }), 'DeleteConflictException',
		'Cannot delete entity, must detach all policies first.');
	await rejects(call('AttachRolePolicy', { RoleName: 'r', PolicyArn: 'arn:aws:iam::aws:policy/Nothing' }), 'NoSuchEntityException',
		'Policy arn:aws:iam::aws:policy/Nothing does not exist or is not attachable.');
	await server.restart();
	assert.equal((await call('GetPolicy', { PolicyArn: own })).Policy.AttachmentCount, 2);
	for (const { PolicyArn } of AttachedPolicies) await call('DetachRolePolicy', { RoleName: 'r', PolicyArn });
	assert.deepEqual((await call('ListAttachedUserPolicies', { UserName: 'u' })).AttachedPolicies, [{ PolicyArn: own, PolicyName: 'own' }]);
	await call('DetachUserPolicy', { UserName: 'u', PolicyArn: own });
	assert.deepEqual((await call('ListAttachedUserPolicies', { UserName: 'u' })).AttachedPolicies, []);
	await rejects(call('DetachUserPolicy', { UserName: 'u', PolicyArn: own }), 'NoSuchEntityException');
	await call('PutRolePermissionsBoundary', { RoleName: 'r', PermissionsBoundary: own });
	assert.equal((await call('GetRole', { RoleName: 'r' })).Role.PermissionsBoundary.PermissionsBoundaryArn, own);
	await rejects(call('DeletePolicy', { PolicyArn: own }), 'DeleteConflictException');
	await call('PutUserPermissionsBoundary', { UserName: 'u', PermissionsBoundary: own });
	assert.deepEqual((await call('GetUser', { UserName: 'u' })).User.PermissionsBoundary,
		{ PermissionsBoundaryArn: own, PermissionsBoundaryType: 'Policy' });
	await rejects(call('PutUserPermissionsBoundary', { UserName: 'u', PermissionsBoundary: 'arn:aws:iam::aws:policy/Nothing' }),
		'NoSuchEntityException');
	await call('DeleteUserPermissionsBoundary', { UserName: 'u' });
	assert.equal((await call('GetUser', { UserName: 'u' })).User.PermissionsBoundary, undefined);
	await call('DeleteRolePermissionsBoundary', { RoleName: 'r' });
	await call('UntagRole', { RoleName: 'r', TagKeys: ['x'] });
	assert.deepEqual((await call('ListRoleTags', { RoleName: 'r' })).Tags, []);
	assert.equal((await call('UpdateRoleDescription', { RoleName: 'r', Description: 'new' })).Role.Description, 'new');
	await call('DeletePolicy', { PolicyArn: own });
	await call('DeleteRole', { RoleName: 'r' });
	await call('DeleteUser', { UserName: 'u' });
});

test('inline policies', async () => {
	await call('CreateRole', { RoleName: 'in', AssumeRolePolicyDocument: trust });
	await call('CreateUser', { UserName: 'in' });
	const PolicyDocument = `{\n  "Version": "2012-10-17",\n  "Statement": {"Effect": "Deny", "NotAction": "*", "Resource": "*"}\n}`;
	for (const PolicyName of ['a', 'b']) {
		await call('PutRolePolicy', { RoleName: 'in', PolicyName, PolicyDocument });
		await call('PutUserPolicy', { UserName: 'in', PolicyName, PolicyDocument });
	}
	assert.deepEqual((await call('ListRolePolicies', { RoleName: 'in' })).PolicyNames, ['a', 'b']);
	assert.deepEqual((await call('ListUserPolicies', { UserName: 'in' })).PolicyNames, ['a', 'b']);
	const got = await call('GetRolePolicy', { RoleName: 'in', PolicyName: 'a' });
	assert.equal(decodeURIComponent(got.PolicyDocument), PolicyDocument);
	const ofUser = await call('GetUserPolicy', { UserName: 'in', PolicyName: 'b' });
	assert.deepEqual([ofUser.UserName, ofUser.PolicyName, decodeURIComponent(ofUser.PolicyDocument)], ['in', 'b', PolicyDocument]);
	await rejects(call('GetUserPolicy', { UserName: 'in', PolicyName: 'c' }), 'NoSuchEntityException',
		'The user policy with name c cannot be found.');
	await rejects(call('GetRolePolicy', { RoleName: 'in', PolicyName: 'c' }), 'NoSuchEntityException',
		'The role policy with name c cannot be found.');
	const big = (n) => JSON.stringify({ Version: '2012-10-17', Statement: { Effect: 'Allow', Action: `s3:${'x'.repeat(n)}`, Resource: '*' } });
	await rejects(call('PutUserPolicy', { UserName: 'in', PolicyName: 'c', PolicyDocument: big(2048) }),
		'LimitExceededException', 'Maximum policy size of 2048 bytes exceeded for user in');
	await rejects(call('DeleteRole', { RoleName: 'in' }), 'DeleteConflictException', 'Cannot delete entity, must delete policies first.');
	for (const PolicyName of ['a', 'b']) {
		await call('DeleteRolePolicy', { RoleName: 'in', PolicyName });
		await call('DeleteUserPolicy', { UserName: 'in', PolicyName });
	}
	await call('DeleteRole', { RoleName: 'in' });
	await call('DeleteUser', { UserName: 'in' });
});

test('documents that are not policies', async () => {
	const create = (PolicyDocument) => call('CreatePolicy', { PolicyName: 'bad', PolicyDocument });
	const bad = (text) => (doc) => rejects(create(typeof doc === 'string' ? doc : JSON.stringify(doc)), 'MalformedPolicyDocumentException', text);
	await bad('Syntax errors in policy.')('no json');
	await bad('Policy document must be version 2012-10-17 or greater.')({ Statement: { Effect: 'Allow', Action: '*', Resource: '*' } });
	await bad('Policy statement must contain resources.')({ Version: '2012-10-17', Statement: { Effect: 'Allow', Action: '*' } });
	await rejects(create(policy().padEnd(20) + ' '.repeat(1) + '}'), 'MalformedPolicyDocumentException');
	await rejects(create(JSON.stringify({ Version: '2012-10-17', Statement: { Sid: 'x'.repeat(6200), Effect: 'Allow', Action: '*', Resource: '*' } })),
		'LimitExceededException', 'Cannot exceed quota for PolicySize: 6144');
	await rejects(call('CreateRole', { RoleName: 'bad', AssumeRolePolicyDocument: policy() }), 'MalformedPolicyDocumentException');
	await rejects(call('CreateRole', { RoleName: 'bad', AssumeRolePolicyDocument: '{' }), 'MalformedPolicyDocumentException',
		'This policy contains invalid Json');
	await rejects(call('CreateRole', { RoleName: 'no good', AssumeRolePolicyDocument: trust }), 'ValidationError');
});

test('tags', async () => {
	await call('CreateUser', { UserName: 't' });
	await call('TagUser', { UserName: 't', Tags: [{ Key: 'Team', Value: 'a' }, { Key: 'b', Value: '' }] });
	await call('TagUser', { UserName: 't', Tags: [{ Key: 'team', Value: 'c' }] });
	const { Tags } = await call('ListUserTags', { UserName: 't' });
	assert.deepEqual(Tags.sort((x, y) => x.Key < y.Key ? -1 : 1), [{ Key: 'b', Value: '' }, { Key: 'team', Value: 'c' }]);
	await rejects(call('TagUser', { UserName: 't', Tags: [{ Key: 'x', Value: '1' }, { Key: 'X', Value: '2' }] }),
		'InvalidInputException', 'Duplicate tag keys found. Please note that Tag keys are case insensitive.');
	const many = Array.from({ length: 49 }, (_, i) => ({ Key: `k${i}`, Value: '' }));
	await rejects(call('TagUser', { UserName: 't', Tags: many }), 'LimitExceededException');
	await call('UntagUser', { UserName: 't', TagKeys: ['TEAM', 'none'] });
	assert.deepEqual((await call('GetUser', { UserName: 't' })).User.Tags, [{ Key: 'b', Value: '' }]);
	await call('DeleteUser', { UserName: 't' });
});

test('groups', async () => {
	const { Group } = await call('CreateGroup', { GroupName: 'g', Path: '/x/' });
	assert.match(Group.GroupId, /^AGPA/);
	await call('CreateUser', { UserName: 'm' });
	await call('AddUserToGroup', { GroupName: 'g', UserName: 'm' });
	await call('AddUserToGroup', { GroupName: 'g', UserName: 'm' });
	const got = await call('GetGroup', { GroupName: 'g' });
	assert.equal(got.Group.Arn, 'arn:aws:iam::123456789012:group/x/g');
	assert.deepEqual(got.Users.map((u) => u.UserName), ['m']);
	assert.deepEqual((await call('ListGroupsForUser', { UserName: 'm' })).Groups.map((g) => g.GroupName), ['g']);
	assert.equal((await call('ListGroups')).Groups.length, 1);
	await call('AttachGroupPolicy', { GroupName: 'g', PolicyArn: basic });
	assert.equal((await call('ListAttachedGroupPolicies', { GroupName: 'g' })).AttachedPolicies.length, 1);
	await call('PutGroupPolicy', { GroupName: 'g', PolicyName: 'in', PolicyDocument: policy() });
	assert.deepEqual((await call('ListGroupPolicies', { GroupName: 'g' })).PolicyNames, ['in']);
	assert.equal(decodeURIComponent((await call('GetGroupPolicy', { GroupName: 'g', PolicyName: 'in' })).PolicyDocument), policy());
	await call('DeleteGroupPolicy', { GroupName: 'g', PolicyName: 'in' });
	await rejects(call('GetGroupPolicy', { GroupName: 'g', PolicyName: 'in' }), 'NoSuchEntityException',
		'The group policy with name in cannot be found.');
	await rejects(call('DeleteUser', { UserName: 'm' }), 'DeleteConflictException');
	await rejects(call('DeleteGroup', { GroupName: 'g' }), 'DeleteConflictException');
	await call('RemoveUserFromGroup', { GroupName: 'g', UserName: 'm' });
	await rejects(call('DeleteGroup', { GroupName: 'g' }), 'DeleteConflictException');
	await call('DetachGroupPolicy', { GroupName: 'g', PolicyArn: basic });
	await call('DeleteGroup', { GroupName: 'g' });
	await call('DeleteUser', { UserName: 'm' });
});

test('many writers, one winner', async () => {
	const made = await Promise.allSettled(Array.from({ length: 8 }, () =>
		call('CreateRole', { RoleName: 'race', AssumeRolePolicyDocument: trust })));
	assert.equal(made.filter((m) => m.status === 'fulfilled').length, 1);
	const keys = await Promise.allSettled([call('DeleteRole', { RoleName: 'race' }), call('DeleteRole', { RoleName: 'race' })]);
	assert.equal(keys.filter((m) => m.status === 'fulfilled').length, 1);
	await rejects(call('GetRole', { RoleName: 'race' }), 'NoSuchEntityException');
});

test('an operation that is not there says so', async () => {
	await rejects(call('CreateInstanceProfile', { InstanceProfileName: 'x' }), 'InvalidAction');
});
