// Resource policies and configurations of function URLs, and what they let through.
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { after, before, describe, test } from 'node:test';
import * as L from '@aws-sdk/client-lambda';
import { rejects, startServer } from './server.mjs';
import { echo, python } from './zip.mjs';

let server, lambda;
const FunctionName = 'guarded';
const base = 'arn:aws:lambda:us-east-1:123456789012:function:guarded';
const send = (Command, input) => lambda.send(new Command({ FunctionName, ...input }));
const invalid = 'InvalidParameterValueException', stale = '00000000-0000-4000-8000-000000000000';
const missing = 'ResourceNotFoundException', nothing = 'The resource you requested does not exist.';

before(async () => {
	server = await startServer();
	lambda = new L.LambdaClient(server.client());
	await send(L.CreateFunctionCommand, { ...python(echo), Publish: true });
	await send(L.CreateAliasCommand, { Name: 'live', FunctionVersion: '1' });
});
after(() => server?.stop());

describe('AddPermission', () => {
	const add = (StatementId, more) =>
		send(L.AddPermissionCommand, { StatementId, Action: 'lambda:InvokeFunction', Principal: 's3.amazonaws.com', ...more });

	test('before the first there is no policy', () => rejects(send(L.GetPolicyCommand), missing, nothing));

	const statements = {
		service: [{}, { Principal: { Service: 's3.amazonaws.com' } }],
		conditions: [{ SourceArn: 'arn:aws:s3:::bucket', SourceAccount: '123456789012' }, {
			Principal: { Service: 's3.amazonaws.com' },
			Condition: { StringEquals: { 'AWS:SourceAccount': '123456789012' }, ArnLike: { 'AWS:SourceArn': 'arn:aws:s3:::bucket' } } }],
		account: [{ Principal: '999999999999' }, { Principal: { AWS: 'arn:aws:iam::999999999999:root' } }],
		user: [{ Principal: 'arn:aws:iam::999999999999:user/joe' }, { Principal: { AWS: 'arn:aws:iam::999999999999:user/joe' } }],
		everybody: [{ Principal: '*', PrincipalOrgID: 'o-1234567890' }, {
			Principal: '*', Condition: { StringEquals: { 'aws:PrincipalOrgID': 'o-1234567890' } } }],
		url: [{ Principal: '*', Action: 'lambda:InvokeFunctionUrl', FunctionUrlAuthType: 'NONE' }, {
			Principal: '*', Action: 'lambda:InvokeFunctionUrl',
			Condition: { StringEquals: { 'lambda:FunctionUrlAuthType': 'NONE' } } }],
		viaUrl: [{ Principal: '*', InvokedViaFunctionUrl: true }, {
			Principal: '*', Condition: { Bool: { 'lambda:InvokedViaFunctionUrl': 'true' } } }],
		token: [{ EventSourceToken: 'amzn1.skill' }, {
			Principal: { Service: 's3.amazonaws.com' }, Condition: { StringEquals: { 'lambda:EventSourceToken': 'amzn1.skill' } } }],
	};
	for (const [sid, [input, more]] of Object.entries(statements))
		test(`statement: ${sid}`, async () => {
			const { Statement } = await add(sid, input);
			const want = { Sid: sid, Effect: 'Allow', Action: 'lambda:InvokeFunction', Resource: base, ...more };
			assert.deepEqual(JSON.parse(Statement), want);
			const { Policy } = await send(L.GetPolicyCommand);
			const { Version, Id, Statement: all } = JSON.parse(Policy);
			assert.deepEqual([Version, Id], ['2012-10-17', 'default']);
			assert.deepEqual(all.at(-1), want);
		});

	test('each qualifier has a policy of its own', async () => {
		const { Statement } = await add('q', { Qualifier: 'live' });
		assert.equal(JSON.parse(Statement).Resource, `${base}:live`);
		const { Policy } = await send(L.GetPolicyCommand, { Qualifier: 'live' });
		assert.deepEqual(JSON.parse(Policy).Statement.map((s) => s.Sid), ['q']);
		await rejects(send(L.GetPolicyCommand, { Qualifier: '1' }), missing, nothing);
	});

	test('errors', async () => {
		await rejects(add('service'), 'ResourceConflictException',
			'The statement id (service) provided already exists. Please provide a new statement id, or remove the existing statement.');
		await rejects(add('x', { Principal: 'nobody' }), invalid, 'The provided principal was invalid. Please check the principal and try again.');
		await rejects(add('x', { Qualifier: '$LATEST' }), invalid, 'We currently do not support adding policies for $LATEST.');
		await rejects(add('x', { Qualifier: '9' }), missing, `Function not found: ${base}:9`);
		await rejects(add('x', { FunctionName: 'absent' }), missing);
		await rejects(add('x', { FunctionUrlAuthType: 'NONE' }), invalid,
			'FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action');
		await rejects(add('x', { Action: 's3:Get' }), 'ValidationException');
		await rejects(add('x', { RevisionId: stale }), 'PreconditionFailedException',
			'The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the latest Revision Id');
	});

	test('twenty kilobytes, not more', async () => {
		await send(L.CreateFunctionCommand, { ...python(echo), FunctionName: 'large' });
		const big = (i) => add(`s${i}`, { FunctionName: 'large', SourceArn: `arn:aws:s3:::${'b'.repeat(900)}` });
		let i = 0;
		await assert.rejects(async () => { for (; i < 30; i++) await big(i); }, (e) => {
			assert.equal(e.name, 'PolicyLengthExceededException');
			assert.match(e.message, /^The final policy size \(\d+\) is bigger than the limit \(20480\)\.$/);
			return true;
		});
		const { Policy } = await send(L.GetPolicyCommand, { FunctionName: 'large' });
		assert.equal(JSON.parse(Policy).Statement.length, i);
		assert.ok(Policy.length <= 20480 && Policy.length > 18000, `${Policy.length}`);
	});
});

describe('RemovePermission', () => {
	test('one by one, until there is no policy', async () => {
		const remove = (StatementId, more) => send(L.RemovePermissionCommand, { StatementId, ...more });
		await rejects(remove('never'), missing, 'Statement never is not found in resource policy.');
		await rejects(remove('q', { Qualifier: '1' }), missing, 'No policy is associated with the given resource.');
		await rejects(remove('service', { RevisionId: stale }), 'PreconditionFailedException');
		const { RevisionId } = await send(L.GetPolicyCommand);
		assert.equal((await remove('service', { RevisionId })).$metadata.httpStatusCode, 204);
		assert.notEqual((await send(L.GetPolicyCommand)).RevisionId, RevisionId);
		for (const sid of ['conditions', 'account', 'user', 'everybody', 'url', 'viaUrl', 'token']) await remove(sid);
		await rejects(send(L.GetPolicyCommand), missing, nothing);
	});
});

describe('function URLs', () => {
	let url;
	// localhost names resolve, but not everywhere: ask the address, name the host.
	const get = (target = url, path = '/') => new Promise((resolve, reject) => {
		const { port } = new URL(server.url);
		request({ host: '127.0.0.1', port, path, headers: { Host: new URL(target).host } }, (answer) => {
			let body = '';
			answer.on('data', (d) => { body += d; }).on('end', () => resolve({ status: answer.statusCode, body }));
		}).on('error', reject).end();
	});

	test('create', async () => {
		const made = await send(L.CreateFunctionUrlConfigCommand, { AuthType: 'NONE' });
		assert.equal(made.$metadata.httpStatusCode, 201);
		url = made.FunctionUrl;
		assert.match(url, new RegExp(`^http://[a-z0-9]{32}\\.lambda-url\\.us-east-1\\.localhost:${new URL(server.url).port}/$`));
		assert.equal(made.FunctionArn, base);
		assert.equal(made.InvokeMode, undefined);
		assert.match(made.CreationTime, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
		await rejects(send(L.CreateFunctionUrlConfigCommand, { AuthType: 'NONE' }), 'ResourceConflictException',
			`Failed to create function url config for [functionArn = ${base}]. Error message:  FunctionUrlConfig exists for this Lambda function`);
	});

	test('is closed until both permissions are there', async () => {
		assert.equal((await get()).status, 403);
		await send(L.AddPermissionCommand, { StatementId: 'a', Action: 'lambda:InvokeFunctionUrl', Principal: '*', FunctionUrlAuthType: 'NONE' });
		assert.equal((await get()).status, 403);
		await send(L.AddPermissionCommand, { StatementId: 'b', Action: 'lambda:InvokeFunction', Principal: '*', InvokedViaFunctionUrl: true });
		const answer = await get(url, '/some/path?x=1');
		assert.equal(answer.status, 200);
		assert.equal(JSON.parse(answer.body).rawPath, '/some/path');
	});

	test('an alias has its own', async () => {
		const made = await send(L.CreateFunctionUrlConfigCommand, { AuthType: 'AWS_IAM', Qualifier: 'live', InvokeMode: 'BUFFERED' });
		assert.equal(made.FunctionArn, `${base}:live`);
		assert.equal(made.InvokeMode, 'BUFFERED');
		assert.notEqual(made.FunctionUrl, url);
		assert.equal((await get(made.FunctionUrl)).status, 403);
		const { FunctionUrlConfigs } = await send(L.ListFunctionUrlConfigsCommand);
		assert.deepEqual(FunctionUrlConfigs.map((u) => u.FunctionArn), [base, `${base}:live`]);
		const first = await send(L.ListFunctionUrlConfigsCommand, { MaxItems: 1 });
		const rest = await send(L.ListFunctionUrlConfigsCommand, { Marker: first.NextMarker });
		assert.deepEqual([...first.FunctionUrlConfigs, ...rest.FunctionUrlConfigs], FunctionUrlConfigs);
	});

	test('update: CORS comes and goes, the URL stays', async () => {
		const Cors = { AllowOrigins: ['https://a.example'], AllowMethods: ['GET', 'PUT'], AllowHeaders: ['x-a'],
			ExposeHeaders: ['x-b'], AllowCredentials: true, MaxAge: 60 };
		const now = await send(L.UpdateFunctionUrlConfigCommand, { Cors });
		assert.deepEqual(now.Cors, Cors);
		assert.equal(now.FunctionUrl, url);
		assert.deepEqual((await send(L.GetFunctionUrlConfigCommand)).Cors, Cors);
		assert.equal((await send(L.UpdateFunctionUrlConfigCommand, { Cors: {} })).Cors, undefined);
		await send(L.UpdateFunctionUrlConfigCommand, { AuthType: 'AWS_IAM' });
		assert.equal((await get()).status, 403);
		await send(L.UpdateFunctionUrlConfigCommand, { AuthType: 'NONE' });
		assert.equal((await get()).status, 200);
	});

	test('errors', async () => {
		await rejects(send(L.CreateFunctionUrlConfigCommand, { AuthType: 'NONE', Qualifier: '1' }), 'ValidationException', /qualifier/);
		await rejects(send(L.CreateFunctionUrlConfigCommand, { AuthType: 'NONE', Qualifier: '$LATEST' }), 'ValidationException', /qualifier/);
		await rejects(send(L.CreateFunctionUrlConfigCommand, { AuthType: 'NONE', Qualifier: 'no' }), missing, 'Function does not exist');
		await rejects(send(L.CreateFunctionUrlConfigCommand, { AuthType: 'OPEN' }), 'ValidationException');
		await rejects(send(L.GetFunctionUrlConfigCommand, { FunctionName: 'large' }), missing, nothing);
		await rejects(send(L.UpdateFunctionUrlConfigCommand, { FunctionName: 'large' }), missing, nothing);
		await rejects(send(L.DeleteFunctionUrlConfigCommand, { FunctionName: 'large' }), missing, nothing);
	});

	test('works after a restart, and is gone after its deletion', async () => {
		await server.restart();
		lambda = new L.LambdaClient(server.client());
		assert.equal((await get()).status, 200);
		assert.equal((await send(L.DeleteFunctionUrlConfigCommand)).$metadata.httpStatusCode, 204);
		assert.equal((await get()).status, 404);
		await rejects(send(L.GetFunctionUrlConfigCommand), missing, nothing);
	});
});
