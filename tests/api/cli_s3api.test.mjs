// `aws s3api` of Debian's CLI: every operation of buckets and objects that it knows, with what it prints.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { aws } from './cli.mjs';
import { startServer } from './server.mjs';

let server, dir;
const api = (...words) => aws(server, ['s3api', ...words]);
const sqs = (...words) => aws(server, ['sqs', ...words]);
const bucket = ['--bucket', 'work'];
const object = (key) => [...bucket, '--key', key];
const file = (name) => join(dir, name);
const md5 = (data) => createHash('md5').update(data).digest('hex');
const all = (...calls) => Promise.all(calls);

before(async () => {
	server = await startServer();
	dir = await mkdtemp(join(tmpdir(), 'mayfly-cli-s3api-'));
	await api('create-bucket', ...bucket);
});
after(async () => {
	await server?.stop();
	await rm(dir, { recursive: true, force: true });
});

test('buckets', async () => {
	assert.deepEqual(await api('create-bucket', '--bucket', 'other', '--create-bucket-configuration', 'LocationConstraint=eu-west-1'),
		{ Location: '/other' });
	const [listed, here, there] = await all(api('list-buckets'), api('get-bucket-location', ...bucket),
		api('get-bucket-location', '--bucket', 'other'), api('head-bucket', ...bucket),
		assert.rejects(api('head-bucket', '--bucket', 'absent'), /404/),
		assert.rejects(api('create-bucket', '--bucket', 'UPPER'), /InvalidBucketName/),
		assert.rejects(api('create-bucket', '--bucket', 'locked', '--object-lock-enabled-for-bucket'), /NotImplemented/));
	assert.deepEqual(listed.Buckets.map((b) => b.Name), ['other', 'work']);
	assert.deepEqual([here.LocationConstraint, there.LocationConstraint], [null, 'eu-west-1']);
	await api('delete-bucket', '--bucket', 'other');
	await assert.rejects(api('delete-bucket', '--bucket', 'other'), /NoSuchBucket/);
});

test('objects: put, get a range, attributes, copy, tags, delete', async () => {
	await writeFile(file('in'), 'hello, world');
	const put = await api('put-object', ...object('a/one'), '--body', file('in'), '--content-type', 'text/plain', '--metadata', 'by=me',
		'--tagging', 'k=v', '--checksum-algorithm', 'SHA256');
	const sha256 = createHash('sha256').update('hello, world').digest('base64');
	assert.deepEqual([put.ETag, put.ChecksumSHA256], [`"${md5('hello, world')}"`, sha256]);
	const [whole, attributes, tags] = await all(
		api('get-object', ...object('a/one'), '--range', 'bytes=7-', file('out')),
		api('get-object-attributes', ...object('a/one'), '--object-attributes', 'ETag', 'Checksum', 'ObjectSize', 'StorageClass'),
		api('get-object-tagging', ...object('a/one')),
		assert.rejects(api('get-object', ...object('absent'), file('absent')), /NoSuchKey/),
		assert.rejects(api('get-object', ...object('a/one'), '--range', 'bytes=100-', file('absent')), /InvalidRange/));
	assert.equal(await readFile(file('out'), 'utf8'), 'world');
	assert.deepEqual([whole.ContentRange, whole.ContentType, whole.Metadata, whole.TagCount], ['bytes 7-11/12', 'text/plain', { by: 'me' }, 1]);
	assert.deepEqual([attributes.ObjectSize, attributes.StorageClass, attributes.Checksum.ChecksumSHA256], [12, 'STANDARD', sha256]);
	assert.deepEqual(tags.TagSet, [{ Key: 'k', Value: 'v' }]);
	const copy = await api('copy-object', ...object('a/two'), '--copy-source', 'work/a/one', '--metadata-directive', 'REPLACE', '--metadata', 'of=one');
	assert.equal(copy.CopyObjectResult.ETag, put.ETag);
	await api('put-object-tagging', ...object('a/two'), '--tagging', '{"TagSet":[{"Key":"x","Value":"y"},{"Key":"z","Value":""}]}');
	const [head, newer] = await all(api('head-object', ...object('a/two')), api('get-object-tagging', ...object('a/two')));
	assert.deepEqual([head.Metadata, head.ContentLength], [{ of: 'one' }, 12]);
	assert.deepEqual(newer.TagSet, [{ Key: 'x', Value: 'y' }, { Key: 'z', Value: '' }]);
	await api('delete-object-tagging', ...object('a/two'));
	assert.deepEqual((await api('get-object-tagging', ...object('a/two'))).TagSet, []);
	const [first, second] = await all(api('list-objects', ...bucket, '--delimiter', '/'),
		api('list-objects-v2', ...bucket, '--prefix', 'a/', '--max-items', '1'));
	assert.deepEqual(first.CommonPrefixes, [{ Prefix: 'a/' }]);
	assert.deepEqual(second.Contents.map((o) => [o.Key, o.Size, o.ETag]), [['a/one', 12, put.ETag]]);
	assert.ok(second.NextToken);
	await api('delete-object', ...object('a/one'), '--bypass-governance-retention'); // "True", says its header
	const gone = await api('delete-objects', ...bucket, '--delete', 'Objects=[{Key=a/two},{Key=never}]');
	assert.deepEqual(gone.Deleted.map((o) => o.Key).toSorted(), ['a/two', 'never']);
	assert.equal((await api('list-objects', ...bucket)).Contents, undefined);
});

test('multipart uploads', async () => {
	const five = Buffer.alloc(5 << 20, 'x');
	await writeFile(file('five'), five);
	await writeFile(file('tail'), 'tail');
	const { UploadId } = await api('create-multipart-upload', ...object('parts'), '--content-type', 'a/b');
	const upload = [...object('parts'), '--upload-id', UploadId];
	await api('put-object', ...object('source'), '--body', file('five'));
	const [one, two, three] = await all(api('upload-part', ...upload, '--part-number', '1', '--body', file('five')),
		api('upload-part-copy', ...upload, '--part-number', '2', '--copy-source', 'work/source'),
		api('upload-part', ...upload, '--part-number', '3', '--body', file('tail')));
	assert.deepEqual([one.ETag, two.CopyPartResult.ETag, three.ETag], [five, five, 'tail'].map((d) => `"${md5(d)}"`));
	const [parts, uploads] = await all(api('list-parts', ...upload), api('list-multipart-uploads', ...bucket),
		assert.rejects(api('complete-multipart-upload', ...upload, '--multipart-upload', 'Parts=[{PartNumber=1,ETag=no}]'), /InvalidPart/));
	assert.deepEqual(parts.Parts.map((p) => [p.PartNumber, p.Size]), [[1, 5 << 20], [2, 5 << 20], [3, 4]]);
	assert.deepEqual(uploads.Uploads.map((u) => [u.Key, u.UploadId]), [['parts', UploadId]]);
	const done = await api('complete-multipart-upload', ...upload, '--multipart-upload',
		JSON.stringify({ Parts: parts.Parts.map(({ PartNumber, ETag }) => ({ PartNumber, ETag })) }));
	assert.match(done.ETag, /^"[0-9a-f]{32}-3"$/);
	const [head] = await all(api('head-object', ...object('parts')), assert.rejects(api('list-parts', ...upload), /NoSuchUpload/));
	assert.deepEqual([head.ContentLength, head.ContentType], [(10 << 20) + 4, 'a/b']);
	const other = await api('create-multipart-upload', ...object('never'));
	await api('abort-multipart-upload', ...object('never'), '--upload-id', other.UploadId);
	assert.equal((await api('list-multipart-uploads', ...bucket)).Uploads, undefined);
	await api('delete-objects', ...bucket, '--delete', 'Objects=[{Key=parts},{Key=source}],Quiet=true');
});

test('versions and delete markers', async () => {
	const named = ['--bucket', 'versions'];
	await api('create-bucket', ...named);
	assert.equal(await api('get-bucket-versioning', ...named), '');
	await api('put-bucket-versioning', ...named, '--versioning-configuration', 'Status=Enabled');
	assert.deepEqual(await api('get-bucket-versioning', ...named), { Status: 'Enabled' });
	const { VersionId } = await api('put-object', ...named, '--key', 'k', '--body', file('in'));
	const marker = await api('delete-object', ...named, '--key', 'k');
	assert.equal(marker.DeleteMarker, true);
	const listed = await api('list-object-versions', ...named);
	assert.deepEqual([listed.Versions.map((v) => [v.VersionId, v.IsLatest]), listed.DeleteMarkers.map((m) => [m.VersionId, m.IsLatest])],
		[[[VersionId, false]], [[marker.VersionId, true]]]);
	await assert.rejects(api('get-object', ...named, '--key', 'k', file('absent')), /NoSuchKey/);
	await api('delete-object', ...named, '--key', 'k', '--version-id', marker.VersionId);
	assert.equal((await api('get-object', ...named, '--key', 'k', file('again'))).VersionId, VersionId);
});

// SET, GET, DELETE: what is given, what is read back, and the error once it is gone.
test('what is configured about a bucket comes back', async () => {
	const cors = { CORSRules: [{ AllowedMethods: ['GET'], AllowedOrigins: ['*'], MaxAgeSeconds: 5 }] };
	const lifecycle = { Rules: [{ ID: 'old', Status: 'Enabled', Filter: { Prefix: 'tmp/' }, Expiration: { Days: 3 } }] };
	const owner = { Rules: [{ ObjectOwnership: 'BucketOwnerEnforced' }] };
	const tags = { TagSet: [{ Key: 'team', Value: 'a' }] };
	const set = (option, value) => [...bucket, option, JSON.stringify(value)];
	await all(api('put-bucket-cors', ...set('--cors-configuration', cors)),
		api('put-bucket-lifecycle-configuration', ...set('--lifecycle-configuration', lifecycle)),
		api('put-bucket-ownership-controls', ...set('--ownership-controls', owner)),
		api('put-bucket-tagging', ...set('--tagging', tags)));
	assert.deepEqual(await all(api('get-bucket-cors', ...bucket), api('get-bucket-lifecycle-configuration', ...bucket),
		api('get-bucket-ownership-controls', ...bucket), api('get-bucket-tagging', ...bucket)),
	[cors, lifecycle, { OwnershipControls: owner }, tags]);
	await assert.rejects(api('put-bucket-ownership-controls', ...set('--ownership-controls', { Rules: [{ ObjectOwnership: 'ObjectWriter' }] })),
		/NotImplemented/);
	await assert.rejects(api('put-bucket-cors', ...set('--cors-configuration', { CORSRules: [{ AllowedMethods: ['LOOK'], AllowedOrigins: ['*'] }] })),
		/InvalidRequest/);
	await all(api('delete-bucket-cors', ...bucket), api('delete-bucket-lifecycle', ...bucket),
		api('delete-bucket-ownership-controls', ...bucket), api('delete-bucket-tagging', ...bucket));
	assert.deepEqual(await api('get-bucket-ownership-controls', ...bucket), { OwnershipControls: owner }); // the only one there is
	await all(assert.rejects(api('get-bucket-cors', ...bucket), /NoSuchCORSConfiguration/),
		assert.rejects(api('get-bucket-lifecycle-configuration', ...bucket), /NoSuchLifecycleConfiguration/),
		assert.rejects(api('get-bucket-tagging', ...bucket), /NoSuchTagSet/));
});

test('policies and the public-access block', async () => {
	const policy = JSON.stringify({ Version: '2012-10-17',
		Statement: [{ Effect: 'Allow', Principal: '*', Action: 's3:GetObject', Resource: 'arn:aws:s3:::work/*' }] });
	const { PublicAccessBlockConfiguration: block } = await api('get-public-access-block', ...bucket);
	assert.deepEqual(Object.values(block), [true, true, true, true]);
	await assert.rejects(api('put-bucket-policy', ...bucket, '--policy', policy), /AccessDenied/);
	await api('put-public-access-block', ...bucket, '--public-access-block-configuration', 'BlockPublicAcls=true');
	await api('put-bucket-policy', ...bucket, '--policy', policy);
	const [got, status, now] = await all(api('get-bucket-policy', ...bucket), api('get-bucket-policy-status', ...bucket),
		api('get-public-access-block', ...bucket));
	assert.deepEqual([got.Policy, status.PolicyStatus.IsPublic], [policy, true]);
	assert.deepEqual([now.PublicAccessBlockConfiguration.BlockPublicAcls, now.PublicAccessBlockConfiguration.BlockPublicPolicy], [true, false]);
	await all(api('delete-bucket-policy', ...bucket), api('delete-public-access-block', ...bucket));
	await all(assert.rejects(api('get-bucket-policy', ...bucket), /NoSuchBucketPolicy/),
		assert.rejects(api('get-public-access-block', ...bucket), /NoSuchPublicAccessBlockConfiguration/));
});

test('notifications to a queue that lets this bucket in', async () => {
	const { QueueUrl } = await sqs('create-queue', '--queue-name', 'uploads');
	const arn = 'arn:aws:sqs:us-east-1:123456789012:uploads';
	const wanted = { QueueConfigurations: [{ Id: 'q', QueueArn: arn, Events: ['s3:ObjectCreated:*'],
		Filter: { Key: { FilterRules: [{ Name: 'Suffix', Value: '.jpg' }] } } }] };
	const put = () => api('put-bucket-notification-configuration', ...bucket, '--notification-configuration', JSON.stringify(wanted));
	await assert.rejects(put(), /InvalidArgument.*Unable to validate the following destination configurations: .*not/s);
	const Policy = JSON.stringify({ Version: '2012-10-17', Statement: [{ Effect: 'Allow', Principal: { Service: 's3.amazonaws.com' },
		Action: 'sqs:SendMessage', Resource: arn, Condition: { ArnLike: { 'aws:SourceArn': 'arn:aws:s3:::work' } } }] });
	await sqs('set-queue-attributes', '--queue-url', QueueUrl, '--attributes', JSON.stringify({ Policy }));
	await put();
	assert.deepEqual(await api('get-bucket-notification-configuration', ...bucket), wanted);
	await api('put-object', ...object('photo.jpg'), '--body', file('in'));
	const events = [];
	for (let i = 0; i < 10 && events.length < 2; i++) { // that of the test of the configuration, too
		const got = await sqs('receive-message', '--queue-url', QueueUrl, '--wait-time-seconds', '5', '--max-number-of-messages', '10');
		events.push(...(got.Messages ?? []).map((m) => JSON.parse(m.Body)));
	}
	assert.ok(events.some((e) => e.Event === 's3:TestEvent'));
	const [{ Records: [record] }] = events.filter((e) => e.Records);
	assert.deepEqual([record.eventName, record.s3.object.key], ['ObjectCreated:Put', 'photo.jpg']);
	await api('put-bucket-notification-configuration', ...bucket, '--notification-configuration', '{}');
	assert.equal(await api('get-bucket-notification-configuration', ...bucket), '');
});

test('access control lists: the owner has all, and there are no others', async () => {
	const [ofBucket, ofObject] = await all(api('get-bucket-acl', ...bucket), api('get-object-acl', ...object('photo.jpg')),
		api('put-bucket-acl', ...bucket, '--acl', 'private'), api('put-object-acl', ...object('photo.jpg'), '--acl', 'bucket-owner-full-control'),
		assert.rejects(api('put-bucket-acl', ...bucket, '--acl', 'public-read'), /AccessControlListNotSupported/),
		assert.rejects(api('put-object-acl', ...object('photo.jpg'), '--acl', 'public-read'), /AccessControlListNotSupported/),
		assert.rejects(api('get-object-acl', ...object('absent')), /NoSuchKey/));
	for (const acl of [ofBucket, ofObject]) {
		assert.deepEqual(acl.Grants.map((g) => [g.Grantee.Type, g.Permission]), [['CanonicalUser', 'FULL_CONTROL']]);
		assert.equal(acl.Grants[0].Grantee.ID, acl.Owner.ID);
	}
});

test('features that are off, as a new bucket of Amazon answers', async () => {
	const id = ['--id', 'x'];
	const [payment, logging, accelerate] = await all(api('get-bucket-request-payment', ...bucket), api('get-bucket-logging', ...bucket), api('get-bucket-accelerate-configuration', ...bucket));
	assert.deepEqual([payment, logging, accelerate], [{ Payer: 'BucketOwner' }, '', '']);
	await all(api('put-bucket-request-payment', ...bucket, '--request-payment-configuration', 'Payer=BucketOwner'),
		api('put-bucket-logging', ...bucket, '--bucket-logging-status', '{}'),
		assert.rejects(api('put-bucket-request-payment', ...bucket, '--request-payment-configuration', 'Payer=Requester'), /NotImplemented/));
	for (const words of await all(api('list-bucket-analytics-configurations', ...bucket), api('list-bucket-inventory-configurations', ...bucket),
		api('list-bucket-metrics-configurations', ...bucket), api('list-bucket-intelligent-tiering-configurations', ...bucket)))
		assert.equal(words.IsTruncated ?? false, false);
	const missing = (call, name) => assert.rejects(call, (e) => e.stderr.includes(`(${name})`) || assert.fail(e.stderr));
	await all(missing(api('get-bucket-analytics-configuration', ...bucket, ...id), 'NoSuchConfiguration'),
		missing(api('get-bucket-inventory-configuration', ...bucket, ...id), 'NoSuchConfiguration'),
		missing(api('get-bucket-metrics-configuration', ...bucket, ...id), 'NoSuchConfiguration'),
		missing(api('get-bucket-intelligent-tiering-configuration', ...bucket, ...id), 'NoSuchConfiguration'),
		missing(api('delete-bucket-analytics-configuration', ...bucket, ...id), 'NoSuchConfiguration'),
		missing(api('delete-bucket-inventory-configuration', ...bucket, ...id), 'NoSuchConfiguration'),
		missing(api('delete-bucket-metrics-configuration', ...bucket, ...id), 'NoSuchConfiguration'),
		missing(api('delete-bucket-intelligent-tiering-configuration', ...bucket, ...id), 'NoSuchConfiguration'),
		missing(api('get-bucket-encryption', ...bucket), 'ServerSideEncryptionConfigurationNotFoundError'),
		missing(api('get-bucket-replication', ...bucket), 'ReplicationConfigurationNotFoundError'),
		missing(api('get-bucket-website', ...bucket), 'NoSuchWebsiteConfiguration'),
		missing(api('get-object-lock-configuration', ...bucket), 'ObjectLockConfigurationNotFoundError'),
		missing(api('get-object-legal-hold', ...object('photo.jpg')), 'InvalidRequest'),
		missing(api('get-object-retention', ...object('photo.jpg')), 'InvalidRequest'),
		missing(api('put-bucket-website', ...bucket, '--website-configuration', 'IndexDocument={Suffix=i.html}'), 'NotImplemented'),
		api('delete-bucket-replication', ...bucket), api('delete-bucket-website', ...bucket), api('delete-bucket-encryption', ...bucket));
});
