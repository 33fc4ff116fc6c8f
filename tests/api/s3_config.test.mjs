// What is configured about buckets: policies and public access, CORS, lifecycle, notifications, tags,
// POST forms; and the features that are not there, which must say so.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, test } from 'node:test';
import * as s3 from '@aws-sdk/client-s3';
import { createPresignedPost } from '@aws-sdk/s3-presigned-post';
import {
	AddPermissionCommand, CreateFunctionCommand, LambdaClient, waitUntilFunctionActiveV2,
} from '@aws-sdk/client-lambda';
import { CloudWatchLogsClient, FilterLogEventsCommand } from '@aws-sdk/client-cloudwatch-logs';
import { rejects, startServer } from './server.mjs';
import { zip } from './zip.mjs';

let server, client;
const send = (name, input) => client.send(new s3[`${name}Command`](input));
const bucket = async (name) => {
	await send('CreateBucket', { Bucket: name });
	return name;
};
const put = (Bucket, Key, Body = 'text') => send('PutObject', { Bucket, Key, Body });
const plain = (path, init) => fetch(`${server.url}/${path}`, init);

before(async () => {
	server = await startServer();
	client = new s3.S3Client({ ...server.client(), forcePathStyle: true });
});
after(() => server.stop());

const open = (name, action = 's3:GetObject') => JSON.stringify({
	Version: '2012-10-17',
	Statement: [{ Effect: 'Allow', Principal: '*', Action: action, Resource: `arn:aws:s3:::${name}/*` }],
});

test('nobody but the owner gets in, until policy and public-access block both say so', async () => {
	const Bucket = await bucket('policy');
	await put(Bucket, 'k', 'hello');
	assert.equal((await plain('policy/k')).status, 403);
	const block = await send('GetPublicAccessBlock', { Bucket });
	assert.deepEqual(block.PublicAccessBlockConfiguration, {
		BlockPublicAcls: true, BlockPublicPolicy: true, IgnorePublicAcls: true, RestrictPublicBuckets: true,
	});
	await rejects(send('GetBucketPolicy', { Bucket }), 'NoSuchBucketPolicy');
	await rejects(send('PutBucketPolicy', { Bucket, Policy: open(Bucket) }), 'AccessDenied', /BlockPublicPolicy/);
	await send('DeletePublicAccessBlock', { Bucket });
	await rejects(send('GetPublicAccessBlock', { Bucket }), 'NoSuchPublicAccessBlockConfiguration');
	await send('PutBucketPolicy', { Bucket, Policy: open(Bucket) });
	assert.equal(await (await plain('policy/k')).text(), 'hello');
	assert.equal((await plain('policy')).status, 403); // listing is another action
	assert.equal((await plain('policy/new', { method: 'PUT', body: 'x' })).status, 403);
	assert.equal((await send('GetBucketPolicyStatus', { Bucket })).PolicyStatus.IsPublic, true);
	assert.equal((await send('GetBucketPolicy', { Bucket })).Policy, open(Bucket));
	await send('PutPublicAccessBlock', {
		Bucket, PublicAccessBlockConfiguration: { RestrictPublicBuckets: true },
	});
	assert.equal((await plain('policy/k')).status, 403);
	await server.restart();
	client = new s3.S3Client({ ...server.client(), forcePathStyle: true });
	assert.equal((await send('GetBucketPolicy', { Bucket })).Policy, open(Bucket));
	await send('DeleteBucketPolicy', { Bucket });
	await rejects(send('GetBucketPolicy', { Bucket }), 'NoSuchBucketPolicy');
});

test('a policy that denies binds the owner, who can still mend it', async () => {
	const Bucket = await bucket('deny');
	const Policy = JSON.stringify({
		Version: '2012-10-17',
		Statement: [{ Effect: 'Deny', Principal: '*', Action: 's3:*',
			Resource: [`arn:aws:s3:::deny`, `arn:aws:s3:::deny/*`] }],
	});
	await put(Bucket, 'k');
	await send('PutBucketPolicy', { Bucket, Policy });
	await rejects(send('GetObject', { Bucket, Key: 'k' }), 'AccessDenied');
	await rejects(send('ListObjectsV2', { Bucket }), 'AccessDenied');
	await send('DeleteBucketPolicy', { Bucket });
	assert.equal((await send('ListObjectsV2', { Bucket })).KeyCount, 1);
	await rejects(send('PutBucketPolicy', { Bucket, Policy: '{' }), 'MalformedPolicy');
});

test('CORS rules answer preflights and mark answers', async () => {
	const Bucket = await bucket('cors');
	await rejects(send('GetBucketCors', { Bucket }), 'NoSuchCORSConfiguration');
	const CORSRules = [
		{ AllowedMethods: ['PUT'], AllowedOrigins: ['https://*.example.com'], AllowedHeaders: ['x-amz-*'],
			ExposeHeaders: ['ETag'], MaxAgeSeconds: 60, ID: 'one' },
		{ AllowedMethods: ['GET'], AllowedOrigins: ['*'] },
	];
	await send('PutBucketCors', { Bucket, CORSConfiguration: { CORSRules } });
	assert.deepEqual((await send('GetBucketCors', { Bucket })).CORSRules, CORSRules);
	const ask = (origin, method, headers) => plain('cors/k', {
		method: 'OPTIONS',
		headers: { origin, 'access-control-request-method': method,
			...(headers ? { 'access-control-request-headers': headers } : {}) },
	});
	const good = await ask('https://a.example.com', 'PUT', 'x-amz-date, X-Amz-Meta-A');
	assert.equal(good.status, 200);
	assert.equal(good.headers.get('access-control-allow-origin'), 'https://a.example.com');
	assert.equal(good.headers.get('access-control-max-age'), '60');
	assert.equal((await ask('https://a.example.com', 'PUT', 'authorization')).status, 403);
	assert.equal((await ask('https://example.org', 'PUT')).status, 403);
	const read = await plain('cors/k', { headers: { origin: 'http://anywhere' } });
	assert.equal(read.status, 403);
	assert.equal(read.headers.get('access-control-allow-origin'), '*');
	await rejects(send('PutBucketCors', { Bucket, CORSConfiguration: { CORSRules: [
		{ AllowedMethods: ['LOOK'], AllowedOrigins: ['*'] }] } }), 'InvalidRequest', /unsupported HTTP method/);
	await rejects(send('PutBucketCors', { Bucket, CORSConfiguration: { CORSRules: [
		{ AllowedMethods: ['GET'], AllowedOrigins: ['*.*'] }] } }), 'InvalidRequest', /wildcard/);
	await send('DeleteBucketCors', { Bucket });
	assert.equal((await ask('https://a.example.com', 'PUT')).status, 403);
});

test('what has expired goes; what has not stays', async () => {
	const Bucket = await bucket('lifecycle');
	await put(Bucket, 'old/a');
	await put(Bucket, 'old/keep.txt', 'a longer text');
	await put(Bucket, 'new/b');
	await send('CreateMultipartUpload', { Bucket, Key: 'old/upload' });
	await rejects(send('GetBucketLifecycleConfiguration', { Bucket }), 'NoSuchLifecycleConfiguration');
	const Rules = [{ ID: 'r', Status: 'Enabled', Filter: { And: { Prefix: 'old/', ObjectSizeLessThan: 10 } },
		Expiration: { Date: new Date('2020-01-01T00:00:00Z') } }];
	await send('PutBucketLifecycleConfiguration', { Bucket, LifecycleConfiguration: { Rules } });
	assert.deepEqual((await send('GetBucketLifecycleConfiguration', { Bucket })).Rules, Rules);
	let keys;
	for (let i = 0; i < 100; i++) {
		keys = (await send('ListObjectsV2', { Bucket })).Contents.map((o) => o.Key);
		if (keys.length === 2) break;
		await new Promise((resolve) => setTimeout(resolve, 100));
	}
	assert.deepEqual(keys, ['new/b', 'old/keep.txt']);
	const days = [{ ID: 'd', Status: 'Enabled', Filter: { Prefix: '' }, Expiration: { Days: 1 } }];
	await send('PutBucketLifecycleConfiguration', { Bucket, LifecycleConfiguration: { Rules: days } });
	const head = await send('HeadObject', { Bucket, Key: 'new/b' });
	assert.match(head.Expiration, /^expiry-date=".* GMT", rule-id="d"$/);
	const bad = (rule) => send('PutBucketLifecycleConfiguration', { Bucket,
		LifecycleConfiguration: { Rules: [{ Status: 'Enabled', Filter: { Prefix: '' }, ...rule }] } });
	await rejects(bad({}), 'InvalidRequest');
	await rejects(bad({ Expiration: { Days: 0 } }), 'InvalidArgument');
	await rejects(bad({ Transitions: [{ Days: 1, StorageClass: 'GLACIER' }] }), 'NotImplemented');
	await send('DeleteBucketLifecycle', { Bucket });
});

test('old versions and lone delete markers expire', async () => {
	const Bucket = await bucket('versions');
	await send('PutBucketVersioning', { Bucket, VersioningConfiguration: { Status: 'Enabled' } });
	await put(Bucket, 'k', '1');
	await send('DeleteObject', { Bucket, Key: 'k' });
	const { Versions } = await send('ListObjectVersions', { Bucket });
	await send('DeleteObject', { Bucket, Key: 'k', VersionId: Versions[0].VersionId });
	assert.equal((await send('ListObjectVersions', { Bucket })).DeleteMarkers.length, 1);
	await send('PutBucketLifecycleConfiguration', { Bucket, LifecycleConfiguration: { Rules: [
		{ Status: 'Enabled', Filter: { Prefix: '' }, Expiration: { ExpiredObjectDeleteMarker: true } }] } });
	let left;
	for (let i = 0; i < 100; i++) {
		left = (await send('ListObjectVersions', { Bucket })).DeleteMarkers;
		if (!left) break;
		await new Promise((resolve) => setTimeout(resolve, 100));
	}
	assert.equal(left, undefined);
});

test('an upload calls the function that a notification names, with AWS’s record', async () => {
	const Bucket = await bucket('notify');
	const lambda = new LambdaClient(server.client());
	const logs = new CloudWatchLogsClient(server.client());
	const FunctionName = 'on-upload';
	const arn = `arn:aws:lambda:us-east-1:123456789012:function:${FunctionName}`;
	const configure = (more = {}) => send('PutBucketNotificationConfiguration', { Bucket,
		NotificationConfiguration: { LambdaFunctionConfigurations: [{ Id: 'n', LambdaFunctionArn: arn,
			Events: ['s3:ObjectCreated:*'],
			Filter: { Key: { FilterRules: [{ Name: 'prefix', Value: 'in/' }, { Name: 'suffix', Value: '.txt' }] } },
			...more }] } });
	const missing = await rejects(configure(), 'InvalidArgument', /Unable to validate/);
	assert.equal(missing.ArgumentName, arn);
	await lambda.send(new CreateFunctionCommand({ FunctionName, Runtime: 'nodejs20.x', Handler: 'index.handler',
		Role: 'arn:aws:iam::123456789012:role/r',
		Code: { ZipFile: zip({ 'index.mjs': 'export const handler = async (e) => console.log("EVENT " + JSON.stringify(e));' }) } }));
	await waitUntilFunctionActiveV2({ client: lambda, maxWaitTime: 20, minDelay: 0.1, maxDelay: 0.2 }, { FunctionName });
	await rejects(configure(), 'InvalidArgument', /Unable to validate/); // nobody permitted it yet
	await lambda.send(new AddPermissionCommand({ FunctionName, StatementId: 's', Action: 'lambda:InvokeFunction',
		Principal: 's3.amazonaws.com', SourceArn: `arn:aws:s3:::${Bucket}`, SourceAccount: '123456789012' }));
	await configure();
	const got = await send('GetBucketNotificationConfiguration', { Bucket });
	assert.equal(got.LambdaFunctionConfigurations[0].LambdaFunctionArn, arn);
	await put(Bucket, 'other/a.txt');
	await put(Bucket, 'in/a.jpg');
	const { ETag } = await put(Bucket, 'in/red flower+ü.txt', 'hello');
	let events = [];
	for (let i = 0; i < 100 && !events.length; i++) {
		await new Promise((resolve) => setTimeout(resolve, 100));
		events = (await logs.send(new FilterLogEventsCommand({ logGroupName: `/aws/lambda/${FunctionName}`,
			filterPattern: 'EVENT' })).catch(() => ({ events: [] }))).events;
	}
	assert.equal(events.length, 1);
	const text = events[0].message;
	const [record] = JSON.parse(text.slice(text.indexOf('EVENT ') + 6)).Records;
	assert.equal(record.eventName, 'ObjectCreated:Put');
	assert.equal(record.s3.bucket.name, Bucket);
	assert.equal(record.s3.configurationId, 'n');
	assert.equal(record.s3.object.key, 'in/red+flower%2B%C3%BC.txt');
	assert.equal(record.s3.object.size, 5);
	assert.equal(`"${record.s3.object.eTag}"`, ETag);
	await rejects(send('PutBucketNotificationConfiguration', { Bucket, NotificationConfiguration: {
		LambdaFunctionConfigurations: [
			{ LambdaFunctionArn: arn, Events: ['s3:ObjectCreated:*'] },
			{ LambdaFunctionArn: arn, Events: ['s3:ObjectCreated:Put'] }] } }), 'InvalidArgument', /ambiguously/);
	for (const event of ['s3', '', 's3:ObjectCreated:', 's3:Nothing:*'])
		await rejects(send('PutBucketNotificationConfiguration', { Bucket, NotificationConfiguration: {
			LambdaFunctionConfigurations: [{ LambdaFunctionArn: arn, Events: [event] }] } }), 'InvalidArgument');
	await send('PutBucketNotificationConfiguration', { Bucket, NotificationConfiguration: {} });
	assert.equal((await send('GetBucketNotificationConfiguration', { Bucket })).LambdaFunctionConfigurations, undefined);
});

test('a browser posts a form that the owner signed', async () => {
	const Bucket = await bucket('forms');
	const make = (Conditions, Fields = {}) => createPresignedPost(client, { Bucket, Key: 'up/${filename}',
		Conditions: [['starts-with', '$key', 'up/'], ...Conditions], Fields, Expires: 60 });
	const post = async ({ url, fields }, body, more = {}) => {
		const form = new FormData();
		for (const [k, v] of Object.entries({ ...fields, ...more })) form.append(k, v);
		form.append('file', new Blob([body], { type: 'text/plain' }), 'photo.txt');
		form.append('submit', 'Upload');
		return fetch(url, { method: 'POST', body: form });
	};
	const signed = await make([['content-length-range', 2, 200_000]],
		{ 'Content-Type': 'text/plain', success_action_status: '201', 'x-amz-meta-a': 'b' });
	const big = 'x\r\n--'.repeat(30_000);
	const answer = await post(signed, big);
	assert.equal(answer.status, 201, await answer.clone().text());
	assert.match(await answer.text(), /<Key>up\/photo.txt<\/Key>/);
	const stored = await send('GetObject', { Bucket, Key: 'up/photo.txt' });
	assert.equal(await stored.Body.transformToString(), big);
	assert.equal(stored.ContentType, 'text/plain');
	assert.deepEqual(stored.Metadata, { a: 'b' });
	assert.equal((await post(signed, 'x')).status, 400); // too small
	assert.equal((await post(signed, 'x'.repeat(200_001))).status, 400);
	assert.equal((await post(signed, 'xx', { extra: '1' })).status, 403);
	assert.equal((await post(signed, 'xx', { key: 'other' })).status, 403);
	for (const field of ['tagging', 'x-amz-server-side-encryption', 'x-amz-object-lock-mode'])
		assert.equal((await post(await make([{ [field]: 'AES256' }], { [field]: 'AES256' }), 'xx')).status, 501);
	const sum = createHash('sha256').update('xx').digest('base64');
	const summed = await make([], { 'x-amz-checksum-sha256': sum, 'x-amz-storage-class': 'STANDARD_IA' });
	assert.equal((await post(summed, 'xy')).status, 400);
	assert.equal((await post(summed, 'xx')).status, 204);
	const kept = await send('HeadObject', { Bucket, Key: 'up/photo.txt', ChecksumMode: 'ENABLED' });
	assert.equal(kept.ChecksumSHA256, sum);
	assert.equal(kept.StorageClass, 'STANDARD_IA');
	const wrong = { url: signed.url, fields: { ...signed.fields, 'X-Amz-Signature': '0'.repeat(64) } };
	assert.equal((await post(wrong, 'xx')).status, 403);
	assert.equal((await post({ url: signed.url, fields: { key: 'anonymous' } }, 'xx')).status, 403);
	const broken = await fetch(signed.url, { method: 'POST', body: '--b\r\nnonsense',
		headers: { 'content-type': 'multipart/form-data; boundary=b' } });
	assert.equal(broken.status, 400);
	assert.equal((await send('ListObjectsV2', { Bucket })).KeyCount, 1);
});

test('tags, ownership, payment', async () => {
	const Bucket = await bucket('misc');
	await rejects(send('GetBucketTagging', { Bucket }), 'NoSuchTagSet');
	await send('PutBucketTagging', { Bucket, Tagging: { TagSet: [{ Key: 'a', Value: '1' }] } });
	assert.deepEqual((await send('GetBucketTagging', { Bucket })).TagSet, [{ Key: 'a', Value: '1' }]);
	await send('DeleteBucketTagging', { Bucket });
	const { OwnershipControls } = await send('GetBucketOwnershipControls', { Bucket });
	assert.equal(OwnershipControls.Rules[0].ObjectOwnership, 'BucketOwnerEnforced');
	await rejects(send('PutBucketOwnershipControls', { Bucket,
		OwnershipControls: { Rules: [{ ObjectOwnership: 'ObjectWriter' }] } }), 'NotImplemented');
	assert.equal((await send('GetBucketRequestPayment', { Bucket })).Payer, 'BucketOwner');
	const acl = await send('GetBucketAcl', { Bucket });
	assert.equal(acl.Grants[0].Permission, 'FULL_CONTROL');
	await rejects(send('PutBucketAcl', { Bucket, ACL: 'public-read' }), 'AccessControlListNotSupported');
	await put(Bucket, 'k');
	assert.equal((await send('GetObjectAcl', { Bucket, Key: 'k' })).Grants.length, 1);
	await rejects(send('GetObjectAcl', { Bucket, Key: 'none' }), 'NoSuchKey');
	assert.equal((await send('PutObjectAcl', { Bucket, Key: 'k', ACL: 'private' })).$metadata.httpStatusCode, 200);
	await rejects(send('PutObjectAcl', { Bucket, Key: 'k', ACL: 'public-read' }), 'AccessControlListNotSupported');
	await rejects(send('PutObjectAcl', { Bucket, Key: 'none', ACL: 'private' }), 'NoSuchKey');
	const pay = (Payer) => send('PutBucketRequestPayment', { Bucket, RequestPaymentConfiguration: { Payer } });
	assert.equal((await pay('BucketOwner')).$metadata.httpStatusCode, 200);
	await rejects(pay('Requester'), 'NotImplemented');
	assert.equal((await send('PutBucketLogging', { Bucket, BucketLoggingStatus: {} })).$metadata.httpStatusCode, 200);
	await rejects(send('PutBucketLogging', { Bucket, BucketLoggingStatus: { LoggingEnabled: { TargetBucket: Bucket, TargetPrefix: '' } } }),
		'NotImplemented');
	assert.equal((await send('DeleteBucketOwnershipControls', { Bucket })).$metadata.httpStatusCode, 204);
});

test('what is not there says so', async () => {
	const Bucket = await bucket('absent');
	for (const [name, error] of [
		['GetBucketWebsite', 'NoSuchWebsiteConfiguration'],
		['GetBucketReplication', 'ReplicationConfigurationNotFoundError'],
		['GetBucketEncryption', 'ServerSideEncryptionConfigurationNotFoundError'],
		['GetObjectLockConfiguration', 'ObjectLockConfigurationNotFoundError'],
	]) await rejects(send(name, { Bucket }), error);
	assert.equal((await send('GetBucketLogging', { Bucket })).LoggingEnabled, undefined);
	assert.equal((await send('GetBucketAccelerateConfiguration', { Bucket })).Status, undefined);
	for (const name of ['ListBucketAnalyticsConfigurations', 'ListBucketIntelligentTieringConfigurations',
		'ListBucketInventoryConfigurations', 'ListBucketMetricsConfigurations'])
		assert.equal((await send(name, { Bucket })).IsTruncated, false);
	for (const name of ['GetBucketAnalyticsConfiguration', 'GetBucketIntelligentTieringConfiguration', 'GetBucketInventoryConfiguration',
		'GetBucketMetricsConfiguration', 'DeleteBucketAnalyticsConfiguration', 'DeleteBucketIntelligentTieringConfiguration',
		'DeleteBucketInventoryConfiguration', 'DeleteBucketMetricsConfiguration'])
		await rejects(send(name, { Bucket, Id: 'x' }), 'NoSuchConfiguration');
	for (const name of ['DeleteBucketEncryption', 'DeleteBucketReplication', 'DeleteBucketWebsite']) {
		assert.equal((await send(name, { Bucket })).$metadata.httpStatusCode, 204);
		await rejects(send(name, { Bucket: 'nobody-has-this' }), 'NoSuchBucket');
	}
	await put(Bucket, 'k');
	for (const name of ['GetObjectLegalHold', 'GetObjectRetention'])
		await rejects(send(name, { Bucket, Key: 'k' }), 'InvalidRequest', 'Bucket is missing Object Lock Configuration');
	const destination = { Bucket: `arn:aws:s3:::${Bucket}`, Format: 'CSV' };
	for (const [name, input] of [
		['PutBucketAccelerateConfiguration', { AccelerateConfiguration: { Status: 'Enabled' } }],
		['PutBucketAnalyticsConfiguration', { Id: 'x', AnalyticsConfiguration: { Id: 'x', StorageClassAnalysis: {} } }],
		['PutBucketIntelligentTieringConfiguration', { Id: 'x', IntelligentTieringConfiguration: { Id: 'x', Status: 'Enabled',
			Tierings: [{ Days: 90, AccessTier: 'ARCHIVE_ACCESS' }] } }],
		['PutBucketInventoryConfiguration', { Id: 'x', InventoryConfiguration: { Id: 'x', IsEnabled: true, IncludedObjectVersions: 'All',
			Schedule: { Frequency: 'Daily' }, Destination: { S3BucketDestination: destination } } }],
		['PutBucketMetricsConfiguration', { Id: 'x', MetricsConfiguration: { Id: 'x' } }],
		['PutBucketReplication', { ReplicationConfiguration: { Role: 'arn:aws:iam::123456789012:role/r',
			Rules: [{ Status: 'Enabled', Prefix: '', Destination: { Bucket: 'arn:aws:s3:::elsewhere' } }] } }],
	]) await rejects(send(name, { Bucket, ...input }), 'NotImplemented', /not implemented/);
	await rejects(send('PutBucketWebsite', { Bucket,
		WebsiteConfiguration: { IndexDocument: { Suffix: 'i.html' } } }), 'NotImplemented');
	await rejects(send('PutBucketEncryption', { Bucket, ServerSideEncryptionConfiguration: {
		Rules: [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' } }] } }), 'NotImplemented');
	await rejects(send('SelectObjectContent', { Bucket, Key: 'k', Expression: 'select 1', ExpressionType: 'SQL',
		InputSerialization: { CSV: {} }, OutputSerialization: { CSV: {} } }), 'NotImplemented');
	await rejects(send('GetBucketTagging', { Bucket: 'nobody-has-this' }), 'NoSuchBucket');
});
