// Objects: put, get, conditions, ranges, checksums, versions, listings, multipart uploads, copies.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import http from 'node:http';
import { after, before, test } from 'node:test';
import * as s3 from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { rejects, startServer } from './server.mjs';

let server, client;
const send = (name, input) => client.send(new s3[`${name}Command`](input));
const connect = () => {
	client = new s3.S3Client({ ...server.client(), forcePathStyle: true });
};
const bucket = async (name, versioning) => {
	await send('CreateBucket', { Bucket: name });
	if (versioning)
		await send('PutBucketVersioning', { Bucket: name, VersioningConfiguration: { Status: versioning } });
	return name;
};
const put = (Bucket, Key, Body = 'text', more = {}) => send('PutObject', { Bucket, Key, Body, ...more });
const text = async (Bucket, Key, more = {}) =>
	(await send('GetObject', { Bucket, Key, ...more })).Body.transformToString();
const bytes = async (Bucket, Key, more = {}) =>
	Buffer.from(await (await send('GetObject', { Bucket, Key, ...more })).Body.transformToByteArray());
const md5 = (data) => createHash('md5').update(data).digest('hex');
const status = async (promise) => {
	try {
		return (await promise).$metadata.httpStatusCode;
	} catch (error) {
		return error.$metadata.httpStatusCode;
	}
};

before(async () => {
	server = await startServer();
	connect();
});
after(() => server.stop());

test('buckets: create, again, look, list, delete', async () => {
	const made = await send('CreateBucket', { Bucket: 'first-bucket' });
	assert.equal(made.Location, '/first-bucket');
	await send('CreateBucket', { Bucket: 'first-bucket' }); // us-east-1
	const elsewhere = new s3.S3Client({ ...server.client(server.credentials, 'eu-west-1'), forcePathStyle: true });
	await elsewhere.send(new s3.CreateBucketCommand({ Bucket: 'in-europe' }));
	await rejects(elsewhere.send(new s3.CreateBucketCommand({ Bucket: 'in-europe' })), 'BucketAlreadyOwnedByYou');
	assert.equal((await send('GetBucketLocation', { Bucket: 'in-europe' })).LocationConstraint, 'eu-west-1');
	assert.equal((await send('GetBucketLocation', { Bucket: 'first-bucket' })).LocationConstraint, undefined);
	assert.equal((await send('HeadBucket', { Bucket: 'in-europe' })).BucketRegion, 'eu-west-1');
	for (const Bucket of ['ab', 'Upper', '1.2.3.4', 'a..b', '-x-', 'xn--a'])
		await assert.rejects(send('CreateBucket', { Bucket }), /not valid|InvalidBucketName/);
	const list = await send('ListBuckets', {});
	assert.deepEqual(list.Buckets.map((b) => b.Name), ['first-bucket', 'in-europe']);
	assert.match(list.Owner.ID, /^[0-9a-f]{64}$/);
	const page = await send('ListBuckets', { MaxBuckets: 1 });
	assert.equal(page.Buckets.length, 1);
	const rest = await send('ListBuckets', { MaxBuckets: 1, ContinuationToken: page.ContinuationToken });
	assert.deepEqual(rest.Buckets.map((b) => b.Name), ['in-europe']);
	assert.equal((await send('ListBuckets', { Prefix: 'in-' })).Buckets.length, 1);
	await put('in-europe', 'x');
	await rejects(send('DeleteBucket', { Bucket: 'in-europe' }), 'BucketNotEmpty');
	await send('DeleteObject', { Bucket: 'in-europe', Key: 'x' });
	await send('CreateMultipartUpload', { Bucket: 'in-europe', Key: 'unfinished' });
	await send('DeleteBucket', { Bucket: 'in-europe' });
	await rejects(send('DeleteBucket', { Bucket: 'in-europe' }), 'NoSuchBucket');
	assert.equal(await status(send('HeadBucket', { Bucket: 'in-europe' })), 404);
	await rejects(put('nobody-made-it', 'k'), 'NoSuchBucket', 'The specified bucket does not exist');
});

test('an object comes back as it went, with all that was said about it', async () => {
	const Bucket = await bucket('facts');
	const Body = randomBytes(300_000);
	const said = {
		ContentType: 'image/png', CacheControl: 'max-age=5', ContentDisposition: 'inline', ContentEncoding: 'gzip',
		ContentLanguage: 'de', Metadata: { Colour: 'red', 'two-words': 'a b' }, StorageClass: 'STANDARD_IA',
		Tagging: 'a=1&b%20c=2%2F3', WebsiteRedirectLocation: '/other',
	};
	const made = await put(Bucket, 'k', Body, said);
	assert.equal(made.ETag, `"${md5(Body)}"`);
	assert.equal(made.ChecksumType, 'FULL_OBJECT');
	for (const name of ['GetObject', 'HeadObject']) {
		const got = await send(name, { Bucket, Key: 'k', ChecksumMode: 'ENABLED' });
		assert.equal(got.ContentType, 'image/png');
		assert.equal(got.ContentEncoding, 'gzip');
		assert.equal(got.CacheControl, 'max-age=5');
		assert.equal(got.ContentDisposition, 'inline');
		assert.equal(got.ContentLanguage, 'de');
		assert.deepEqual(got.Metadata, { colour: 'red', 'two-words': 'a b' });
		assert.equal(got.StorageClass, 'STANDARD_IA');
		assert.equal(got.WebsiteRedirectLocation, '/other');
		assert.equal(got.TagCount, 2);
		assert.equal(got.ContentLength, Body.length);
		assert.equal(got.ETag, made.ETag);
		assert.equal(got.ChecksumCRC32, made.ChecksumCRC32);
		assert.equal(got.AcceptRanges, 'bytes');
		if (name === 'GetObject')
			assert.ok(Body.equals(Buffer.from(await got.Body.transformToByteArray())));
	}
	assert.equal(await text(Bucket, (await put(Bucket, 'empty', ''), 'empty')), '');
	assert.equal((await send('HeadObject', { Bucket, Key: 'empty' })).ContentLength, 0);
	assert.equal((await send('HeadObject', { Bucket, Key: 'empty' })).ContentType, 'application/octet-stream');
	await rejects(put(Bucket, 'k', 'x', { Metadata: { big: 'x'.repeat(2100) } }), 'MetadataTooLarge');
	await rejects(put(Bucket, 'k', 'x', { StorageClass: 'NEVER' }), 'InvalidStorageClass');
	await rejects(put(Bucket, 'k', 'x', { ACL: 'public-read' }), 'AccessControlListNotSupported');
	await put(Bucket, 'k2', 'x', { ACL: 'private' });
	for (const ServerSideEncryption of ['AES256', 'aws:kms'])
		await rejects(put(Bucket, 'k', 'x', { ServerSideEncryption }), 'NotImplemented', /x-amz-server-side-encryption asks/);
	await rejects(send('CreateMultipartUpload', { Bucket, Key: 'k', ServerSideEncryption: 'AES256' }), 'NotImplemented');
	await rejects(send('CopyObject', { Bucket, Key: 'k', CopySource: `${Bucket}/empty`, ServerSideEncryption: 'AES256' }),
		'NotImplemented');
	await rejects(put(Bucket, 'k', 'x', { SSECustomerAlgorithm: 'AES256', SSECustomerKey: 'k'.repeat(32) }), 'NotImplemented');
	await rejects(put(Bucket, 'k', 'x', { Tagging: 'a=1&a=2' }), 'InvalidTag');
	await rejects(send('GetObject', { Bucket, Key: 'nothing' }), 'NoSuchKey', 'The specified key does not exist.');
	await server.restart('SIGKILL');
	connect();
	assert.ok(Body.equals(await bytes(Bucket, 'k')));
});

test('keys may be anything', async () => {
	const Bucket = await bucket('keys');
	const keys = ['..', '../x', 'a/../b', './y', '/leading', 'a//b', 'dir/', 'ünï/çødé ✓', 'a b+c&d=e?f#g%h', '%2e%2e',
		'k"<>\'`{}|\\^~[]', 'x'.repeat(1024), 'tab\there', '\u{1F600}'];
	for (const key of keys) await put(Bucket, key, `of ${key}`);
	for (const key of keys) assert.equal(await text(Bucket, key), `of ${key}`, key);
	const listed = await send('ListObjectsV2', { Bucket, EncodingType: 'url' });
	assert.deepEqual(listed.Contents.map((o) => decodeURIComponent(o.Key)).sort(), [...keys].sort());
	await rejects(put(Bucket, 'x'.repeat(1025)), 'KeyTooLongError');
	const gone = await send('DeleteObjects', { Bucket, Delete: { Objects: keys.map((Key) => ({ Key })) } });
	assert.equal(gone.Errors, undefined);
	assert.equal((await send('ListObjectsV2', { Bucket })).KeyCount, 0);
});

test('checksums of five kinds in header and trailer, Content-MD5', async () => {
	const Bucket = await bucket('sums');
	const Body = Buffer.from('123456789');
	const known = {
		CRC32: 'y/Q5Jg==', CRC32C: '4waSgw==', CRC64NVME: 'rosUhgp5mIg=', SHA1: '98O8HYCOBHMq32eZZczDTKeuNEE=',
		SHA256: 'FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=',
	};
	for (const [kind, value] of Object.entries(known)) {
		const made = await put(Bucket, kind, Body, { [`Checksum${kind}`]: value });
		assert.equal(made[`Checksum${kind}`], value);
		const head = await send('HeadObject', { Bucket, Key: kind, ChecksumMode: 'ENABLED' });
		assert.equal(head[`Checksum${kind}`], value);
		await rejects(put(Bucket, kind, 'other text', { [`Checksum${kind}`]: value }), 'BadDigest',
			`The ${kind} you specified did not match the calculated checksum.`);
		if (kind !== 'CRC64NVME')
			assert.equal((await put(Bucket, kind, Body, { ChecksumAlgorithm: kind }))[`Checksum${kind}`], value);
		assert.equal(await text(Bucket, kind), '123456789');
	}
	const url = `${server.url}/sums/raw`;
	await put(Bucket, 'md5', Body, { ContentMD5: createHash('md5').update(Body).digest('base64') });
	await rejects(put(Bucket, 'md5', 'no', { ContentMD5: createHash('md5').update(Body).digest('base64') }), 'BadDigest');
	await rejects(put(Bucket, 'md5', 'no', { ContentMD5: 'nonsense' }), 'InvalidDigest');
	assert.equal((await fetch(url, { method: 'PUT', body: 'x' })).status, 403);
	const old = new s3.S3Client({
		...server.client(), forcePathStyle: true, requestChecksumCalculation: 'WHEN_REQUIRED',
	});
	const plain = await old.send(new s3.PutObjectCommand({ Bucket, Key: 'plain', Body }));
	assert.equal(plain.ChecksumCRC64NVME, known.CRC64NVME);
});

test('ranges, conditions, overrides', async () => {
	const Bucket = await bucket('ranges');
	const { ETag } = await put(Bucket, 'k', '0123456789');
	const get = (more) => send('GetObject', { Bucket, Key: 'k', ...more });
	for (const [range, want, place] of [['bytes=0-3', '0123', '0-3'], ['bytes=7-', '789', '7-9'], ['bytes=-2', '89', '8-9'],
		['bytes=5-100', '56789', '5-9'], ['bytes=-100', '0123456789', '0-9']]) {
		const got = await get({ Range: range });
		assert.equal(got.$metadata.httpStatusCode, 206, range);
		assert.equal(got.ContentRange, `bytes ${place}/10`);
		assert.equal(await got.Body.transformToString(), want);
	}
	for (const range of ['bytes=0-1,4-5', 'lines=1-2', 'bytes=5-2'])
		assert.equal((await get({ Range: range })).$metadata.httpStatusCode, 200);
	await rejects(get({ Range: 'bytes=10-' }), 'InvalidRange');
	await rejects(get({ Range: 'bytes=-0' }), 'InvalidRange');
	assert.equal((await send('HeadObject', { Bucket, Key: 'k', Range: 'bytes=0-3' })).ContentLength, 4);
	const past = new Date(Date.now() - 3_600_000), future = new Date(Date.now() + 3_600_000);
	assert.equal(await status(get({ IfMatch: ETag })), 200);
	assert.equal(await status(get({ IfMatch: '"other"' })), 412);
	assert.equal(await status(get({ IfNoneMatch: ETag })), 304);
	assert.equal(await status(get({ IfNoneMatch: '"other"' })), 200);
	assert.equal(await status(get({ IfModifiedSince: past })), 200);
	assert.equal(await status(get({ IfModifiedSince: future })), 304);
	assert.equal(await status(get({ IfUnmodifiedSince: past })), 412);
	assert.equal(await status(get({ IfMatch: ETag, IfUnmodifiedSince: past })), 200);
	assert.equal(await status(get({ IfNoneMatch: '"other"', IfModifiedSince: future })), 200);
	const changed = await get({ ResponseContentType: 'text/x', ResponseCacheControl: 'no-store' });
	assert.equal(changed.ContentType, 'text/x');
	assert.equal(changed.CacheControl, 'no-store');
	assert.equal(await status(get({ PartNumber: 1 })), 206);
	assert.equal(await status(get({ PartNumber: 2 })), 416);
	await rejects(put(Bucket, 'k', 'x', { IfNoneMatch: '*' }), 'PreconditionFailed');
	await put(Bucket, 'new', 'x', { IfNoneMatch: '*' });
	await rejects(put(Bucket, 'k', 'x', { IfMatch: '"other"' }), 'PreconditionFailed');
	await rejects(put(Bucket, 'absent', 'x', { IfMatch: ETag }), 'NoSuchKey');
	await put(Bucket, 'k', 'second', { IfMatch: ETag });
	await rejects(send('DeleteObject', { Bucket, Key: 'k', IfMatch: ETag }), 'PreconditionFailed');
	const racers = await Promise.allSettled(Array.from({ length: 20 }, (_, i) => put(Bucket, 'race', `${i}`, { IfNoneMatch: '*' })));
	assert.equal(racers.filter((r) => r.status === 'fulfilled').length, 1);
});

test('versions: delete markers, promotion, suspension, listings', async () => {
	const Bucket = await bucket('versions');
	await put(Bucket, 'k', 'before');
	await send('PutBucketVersioning', { Bucket, VersioningConfiguration: { Status: 'Enabled' } });
	assert.equal((await send('GetBucketVersioning', { Bucket })).Status, 'Enabled');
	const one = await put(Bucket, 'k', 'one'), two = await put(Bucket, 'k', 'two');
	assert.notEqual(one.VersionId, two.VersionId);
	assert.equal(await text(Bucket, 'k'), 'two');
	assert.equal(await text(Bucket, 'k', { VersionId: one.VersionId }), 'one');
	assert.equal(await text(Bucket, 'k', { VersionId: 'null' }), 'before');
	const marker = await send('DeleteObject', { Bucket, Key: 'k' });
	assert.equal(marker.DeleteMarker, true);
	const missing = await rejects(send('GetObject', { Bucket, Key: 'k' }), 'NoSuchKey');
	assert.equal(missing.$response.headers['x-amz-delete-marker'], 'true');
	const refused = await rejects(send('GetObject', { Bucket, Key: 'k', VersionId: marker.VersionId }), 'MethodNotAllowed');
	assert.equal(refused.$metadata.httpStatusCode, 405);
	assert.equal((await send('ListObjectsV2', { Bucket })).KeyCount, 0);
	const all = await send('ListObjectVersions', { Bucket });
	assert.deepEqual(all.Versions.map((v) => [v.VersionId, v.IsLatest]),
		[[two.VersionId, false], [one.VersionId, false], ['null', false]]);
	assert.deepEqual(all.DeleteMarkers.map((v) => [v.VersionId, v.IsLatest]), [[marker.VersionId, true]]);
	// one version a page
	const paged = [];
	for (let page, at = {}; !page || page.IsTruncated;) {
		page = await send('ListObjectVersions', { Bucket, MaxKeys: 1, ...at });
		paged.push(...(page.DeleteMarkers ?? []), ...(page.Versions ?? []));
		at = { KeyMarker: page.NextKeyMarker, VersionIdMarker: page.NextVersionIdMarker };
	}
	assert.deepEqual(paged.map((v) => v.VersionId), [marker.VersionId, two.VersionId, one.VersionId, 'null']);
	await send('DeleteObject', { Bucket, Key: 'k', VersionId: marker.VersionId });
	assert.equal(await text(Bucket, 'k'), 'two');
	await send('DeleteObject', { Bucket, Key: 'k', VersionId: two.VersionId });
	assert.equal(await text(Bucket, 'k'), 'one');
	await rejects(send('GetObject', { Bucket, Key: 'k', VersionId: two.VersionId }), 'NoSuchVersion');
	await rejects(send('GetObject', { Bucket, Key: 'k', VersionId: 'nonsense' }), 'InvalidArgument');
	await send('PutBucketVersioning', { Bucket, VersioningConfiguration: { Status: 'Suspended' } });
	await put(Bucket, 'k', 'null again');
	const after = await send('ListObjectVersions', { Bucket });
	assert.deepEqual(after.Versions.map((v) => v.VersionId), ['null', one.VersionId]);
	const gone = await send('DeleteObject', { Bucket, Key: 'k' });
	assert.equal(gone.VersionId, 'null');
	assert.equal(gone.DeleteMarker, true);
	await rejects(send('DeleteBucket', { Bucket }), 'BucketNotEmpty');
	const many = await send('DeleteObjects', {
		Bucket, Delete: { Objects: [{ Key: 'k', VersionId: 'null' }, { Key: 'k', VersionId: one.VersionId }, { Key: 'never' }] },
	});
	assert.equal(many.Deleted.length, 3);
	const left = await send('ListObjectVersions', { Bucket });
	assert.equal(left.Versions, undefined);
	for (const m of left.DeleteMarkers) await send('DeleteObject', { Bucket, Key: m.Key, VersionId: m.VersionId });
	await send('DeleteBucket', { Bucket });
});

// What listings must say, the naive way.
function expected(keys, { prefix = '', delimiter = '' }) {
	const out = [];
	for (const key of [...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))) {
		if (!key.startsWith(prefix)) continue;
		const at = delimiter ? key.indexOf(delimiter, prefix.length) : -1;
		const item = at < 0 ? key : `p:${key.slice(0, at + delimiter.length)}`;
		if (out.at(-1) !== item) out.push(item);
	}
	return out;
}

test('listings equal the naive ones, in pages of any size', async () => {
	const Bucket = await bucket('lists');
	const parts = ['a', 'b', 'a/', 'b/', '-', 'ab', 'é', '/', 'zz'];
	const keys = new Set();
	for (let i = 0; i < 60; i++)
		keys.add(Array.from({ length: 1 + i % 4 }, (_, n) => parts[(i * 7 + n * 13 + i * n + (i >> 3) * n) % parts.length]).join('') + i % 3);
	await Promise.all([...keys].map((key) => put(Bucket, key, key)));
	for (const prefix of ['', 'a', 'a/', 'b/a', 'none'])
		for (const delimiter of ['', '/', 'b', 'a/'])
			for (const max of [1, 3, 1000]) {
				const two = [], one = [];
				const args = { Bucket, Prefix: prefix, Delimiter: delimiter, MaxKeys: max };
				for (let page, token; !page || page.IsTruncated;) {
					page = await send('ListObjectsV2', { ...args, ContinuationToken: token });
					token = page.NextContinuationToken;
					two.push([...(page.CommonPrefixes ?? []).map((p) => `p:${p.Prefix}`), ...(page.Contents ?? []).map((o) => o.Key)]);
				}
				for (let page, Marker; !page || page.IsTruncated;) {
					page = await send('ListObjects', { ...args, Marker });
					Marker = page.NextMarker ?? page.Contents?.at(-1).Key;
					one.push([...(page.CommonPrefixes ?? []).map((p) => `p:${p.Prefix}`), ...(page.Contents ?? []).map((o) => o.Key)]);
				}
				const want = expected(keys, { prefix, delimiter });
				for (const got of [two, one]) {
					assert.deepEqual(got.flat().sort(), [...want].sort(), JSON.stringify({ prefix, delimiter, max }));
					assert.ok(got.every((page) => page.length <= max));
				}
			}
	const some = await send('ListObjectsV2', { Bucket, StartAfter: 'b', MaxKeys: 2, FetchOwner: true });
	const rest = expected(keys, {}).filter((k) => Buffer.compare(Buffer.from(k), Buffer.from('b')) > 0);
	assert.deepEqual(some.Contents.map((o) => o.Key), rest.slice(0, 2));
	assert.match(some.Contents[0].Owner.ID, /^[0-9a-f]{64}$/);
	assert.equal((await send('ListObjectsV2', { Bucket, MaxKeys: 0 })).KeyCount, 0);
	await rejects(send('ListObjectsV2', { Bucket, ContinuationToken: '***' }), 'InvalidArgument');
});

test('tags', async () => {
	const Bucket = await bucket('tags', 'Enabled');
	const { VersionId } = await put(Bucket, 'k', 'x', { Tagging: 'a=1' });
	await put(Bucket, 'k', 'y');
	const tags = async (more) => (await send('GetObjectTagging', { Bucket, Key: 'k', ...more })).TagSet;
	assert.deepEqual(await tags({ VersionId }), [{ Key: 'a', Value: '1' }]);
	assert.deepEqual(await tags(), []);
	await send('PutObjectTagging', { Bucket, Key: 'k', Tagging: { TagSet: [{ Key: 'b', Value: '2' }] } });
	assert.deepEqual(await tags(), [{ Key: 'b', Value: '2' }]);
	await send('DeleteObjectTagging', { Bucket, Key: 'k', VersionId });
	assert.deepEqual(await tags({ VersionId }), []);
	const eleven = Array.from({ length: 11 }, (_, i) => ({ Key: `${i}`, Value: '' }));
	await rejects(send('PutObjectTagging', { Bucket, Key: 'k', Tagging: { TagSet: eleven } }), 'InvalidTag');
	await rejects(send('GetObjectTagging', { Bucket, Key: 'none' }), 'NoSuchKey');
	assert.equal(await text(Bucket, 'k'), 'y');
});

const MB = 1024 * 1024;

test('multipart uploads: parts, sums, order, again, abort', async () => {
	const Bucket = await bucket('parts');
	const data = randomBytes(11 * MB + 17);
	const slices = [data.subarray(0, 5 * MB), data.subarray(5 * MB, 10 * MB + 5), data.subarray(10 * MB + 5)];
	const Key = 'big';
	const { UploadId } = await send('CreateMultipartUpload', { Bucket, Key, ContentType: 'x/y', Metadata: { m: '1' } });
	await rejects(send('UploadPart', { Bucket, Key, UploadId, PartNumber: 0, Body: 'x' }), 'InvalidArgument');
	await rejects(send('UploadPart', { Bucket, Key, UploadId: 'f'.repeat(48), PartNumber: 1, Body: 'x' }), 'NoSuchUpload');
	await send('UploadPart', { Bucket, Key, UploadId, PartNumber: 2, Body: 'replaced later' });
	const parts = [];
	for (const [i, Body] of slices.entries()) {
		const { ETag } = await send('UploadPart', { Bucket, Key, UploadId, PartNumber: i + 1, Body });
		assert.equal(ETag, `"${md5(Body)}"`);
		parts.push({ PartNumber: i + 1, ETag });
	}
	await send('UploadPart', { Bucket, Key, UploadId, PartNumber: 9, Body: 'not used' });
	const listed = await send('ListParts', { Bucket, Key, UploadId, MaxParts: 2 });
	assert.deepEqual(listed.Parts.map((p) => [p.PartNumber, p.Size]), [[1, 5 * MB], [2, 5 * MB + 5]]);
	assert.equal(listed.IsTruncated, true);
	const rest = await send('ListParts', { Bucket, Key, UploadId, PartNumberMarker: listed.NextPartNumberMarker });
	assert.deepEqual(rest.Parts.map((p) => p.PartNumber), [3, 9]);
	assert.equal((await send('ListObjectsV2', { Bucket })).KeyCount, 0);
	const complete = (Parts) => send('CompleteMultipartUpload', { Bucket, Key, UploadId, MultipartUpload: { Parts } });
	await rejects(complete([parts[1], parts[0]]), 'InvalidPartOrder');
	await rejects(complete([parts[0], { PartNumber: 5, ETag: '"x"' }]), 'InvalidPart');
	await rejects(complete([{ PartNumber: 1, ETag: '"wrong"' }]), 'InvalidPart');
	await rejects(complete([parts[0], parts[2], { PartNumber: 9, ETag: md5('not used') }]), 'EntityTooSmall');
	const done = await complete(parts);
	const etag = `"${createHash('md5').update(Buffer.concat(slices.map((s) => createHash('md5').update(s).digest()))).digest('hex')}-3"`;
	assert.equal(done.ETag, etag);
	assert.equal(done.ChecksumType, 'FULL_OBJECT');
	assert.equal((await complete(parts)).ETag, etag); // as often as one likes
	const got = await send('GetObject', { Bucket, Key, ChecksumMode: 'ENABLED' });
	assert.equal(got.ContentType, 'x/y');
	assert.deepEqual(got.Metadata, { m: '1' });
	const back = Buffer.from(await got.Body.transformToByteArray());
	assert.ok(back.equals(data));
	const across = await bytes(Bucket, Key, { Range: `bytes=${5 * MB - 10}-${10 * MB + 20}` });
	assert.ok(across.equals(data.subarray(5 * MB - 10, 10 * MB + 21)));
	const second = await send('GetObject', { Bucket, Key, PartNumber: 2 });
	assert.equal(second.PartsCount, 3);
	assert.equal(md5(Buffer.from(await second.Body.transformToByteArray())), md5(slices[1]));
	const facts = await send('GetObjectAttributes', {
		Bucket, Key, ObjectAttributes: ['ETag', 'Checksum', 'ObjectParts', 'ObjectSize', 'StorageClass'],
	});
	assert.equal(facts.ObjectSize, data.length);
	assert.equal(facts.ObjectParts.TotalPartsCount, 3);
	assert.equal(facts.Checksum.ChecksumCRC64NVME, done.ChecksumCRC64NVME);
	const whole = await put(Bucket, 'whole', data, { ChecksumCRC64NVME: done.ChecksumCRC64NVME });
	assert.equal(whole.ChecksumCRC64NVME, done.ChecksumCRC64NVME); // joined as if summed at once

	const other = await send('CreateMultipartUpload', { Bucket, Key: 'dir/other' });
	await send('UploadPart', { Bucket, Key: 'dir/other', UploadId: other.UploadId, PartNumber: 1, Body: 'x' });
	const uploads = await send('ListMultipartUploads', { Bucket, Delimiter: '/' });
	assert.deepEqual(uploads.CommonPrefixes, [{ Prefix: 'dir/' }]);
	assert.equal((await send('ListMultipartUploads', { Bucket, Prefix: 'dir/' })).Uploads[0].UploadId, other.UploadId);
	await send('AbortMultipartUpload', { Bucket, Key: 'dir/other', UploadId: other.UploadId });
	await rejects(send('AbortMultipartUpload', { Bucket, Key: 'dir/other', UploadId: other.UploadId }), 'NoSuchUpload');
	assert.equal((await send('ListMultipartUploads', { Bucket })).Uploads, undefined);
});

test('composite and whole sums of multipart uploads', async () => {
	const Bucket = await bucket('composite');
	const slices = [randomBytes(5 * MB), randomBytes(1000)];
	const sha = (d) => createHash('sha256').update(d).digest();
	const upload = await send('CreateMultipartUpload', { Bucket, Key: 'k', ChecksumAlgorithm: 'SHA256' });
	assert.equal(upload.ChecksumType, 'COMPOSITE');
	const Parts = [];
	for (const [i, Body] of slices.entries()) {
		const part = await send('UploadPart', {
			Bucket, Key: 'k', UploadId: upload.UploadId, PartNumber: i + 1, Body, ChecksumAlgorithm: 'SHA256',
		});
		Parts.push({ PartNumber: i + 1, ETag: part.ETag, ChecksumSHA256: part.ChecksumSHA256 });
	}
	await rejects(send('UploadPart', {
		Bucket, Key: 'k', UploadId: upload.UploadId, PartNumber: 3, Body: 'x', ChecksumAlgorithm: 'CRC32',
	}), 'InvalidRequest', /Checksum Type mismatch/);
	const done = await send('CompleteMultipartUpload', { Bucket, Key: 'k', UploadId: upload.UploadId, MultipartUpload: { Parts } });
	assert.equal(done.ChecksumSHA256, `${sha(Buffer.concat(slices.map(sha))).toString('base64')}-2`);
	assert.equal(done.ChecksumType, 'COMPOSITE');
	const full = await send('CreateMultipartUpload', { Bucket, Key: 'f', ChecksumAlgorithm: 'CRC32', ChecksumType: 'FULL_OBJECT' });
	const parts = [];
	for (const [i, Body] of slices.entries())
		parts.push({ PartNumber: i + 1, ETag: (await send('UploadPart', { Bucket, Key: 'f', UploadId: full.UploadId, PartNumber: i + 1, Body, ChecksumAlgorithm: 'CRC32' })).ETag });
	const end = { Bucket, Key: 'f', UploadId: full.UploadId, ChecksumType: 'FULL_OBJECT', MultipartUpload: { Parts: parts } };
	await rejects(send('CompleteMultipartUpload', { ...end, ChecksumCRC32: 'AAAAAA==' }), 'BadDigest');
	const whole = await send('CompleteMultipartUpload', end);
	assert.equal(whole.ChecksumCRC32, (await put(Bucket, 'w', Buffer.concat(slices))).ChecksumCRC32);
});

test('the Upload of lib-storage', async () => {
	const Bucket = await bucket('lib-storage');
	const data = randomBytes(23 * MB);
	await new Upload({ client, params: { Bucket, Key: 'k', Body: data }, queueSize: 4 }).done();
	assert.equal(md5(await bytes(Bucket, 'k')), md5(data));
	await new Upload({ client, params: { Bucket, Key: 'small', Body: 'x' } }).done();
	assert.equal(await text(Bucket, 'small'), 'x');
});

test('copies: whole, parts, conditions, across buckets and versions', async () => {
	const Bucket = await bucket('copy-from'), to = await bucket('copy-to', 'Enabled');
	const { ETag } = await put(Bucket, 'a b/ç', 'content', { Metadata: { x: '1' }, ContentType: 'a/b', Tagging: 't=1' });
	const source = `${Bucket}/${encodeURIComponent('a b/ç')}`;
	const copied = await send('CopyObject', { Bucket: to, Key: 'k', CopySource: source });
	assert.equal(copied.CopyObjectResult.ETag, ETag);
	assert.ok(copied.VersionId);
	await send('DeleteObject', { Bucket, Key: 'a b/ç' });
	let got = await send('GetObject', { Bucket: to, Key: 'k' });
	assert.equal(await got.Body.transformToString(), 'content');
	assert.deepEqual([got.Metadata, got.ContentType, got.TagCount], [{ x: '1' }, 'a/b', 1]);
	const self = { Bucket: to, Key: 'k', CopySource: `${to}/k` };
	await rejects(send('CopyObject', self), 'InvalidRequest', /without changing/);
	await send('CopyObject', { ...self, MetadataDirective: 'REPLACE', Metadata: { y: '2' }, TaggingDirective: 'REPLACE', Tagging: 'u=2' });
	got = await send('GetObject', { Bucket: to, Key: 'k' });
	assert.equal(await got.Body.transformToString(), 'content');
	assert.deepEqual([got.Metadata, got.TagCount], [{ y: '2' }, 1]);
	const old = await send('CopyObject', { Bucket, Key: 'back', CopySource: `${to}/k?versionId=${copied.VersionId}` });
	assert.equal(old.CopySourceVersionId, copied.VersionId);
	assert.deepEqual((await send('HeadObject', { Bucket, Key: 'back' })).Metadata, { x: '1' });
	await rejects(send('CopyObject', { ...self, Key: 'n', CopySourceIfMatch: '"no"' }), 'PreconditionFailed');
	await rejects(send('CopyObject', { ...self, Key: 'n', CopySourceIfNoneMatch: ETag }), 'PreconditionFailed');
	await rejects(send('CopyObject', { ...self, CopySource: `${to}/absent` }), 'NoSuchKey');
	await rejects(send('CopyObject', { ...self, CopySource: 'nonsense' }), 'InvalidArgument');
	const summed = await send('CopyObject', { Bucket, Key: 'sha', CopySource: `${to}/k`, ChecksumAlgorithm: 'SHA256' });
	assert.equal(summed.CopyObjectResult.ChecksumSHA256, createHash('sha256').update('content').digest('base64'));

	const data = randomBytes(12 * MB);
	await put(Bucket, 'big', data);
	const { UploadId } = await send('CreateMultipartUpload', { Bucket, Key: 'pieces' });
	const Parts = [];
	for (const [i, range] of [`bytes=0-${6 * MB - 1}`, `bytes=${6 * MB}-${12 * MB - 1}`].entries()) {
		const part = await send('UploadPartCopy', {
			Bucket, Key: 'pieces', UploadId, PartNumber: i + 1, CopySource: `${Bucket}/big`, CopySourceRange: range,
		});
		Parts.push({ PartNumber: i + 1, ETag: part.CopyPartResult.ETag });
	}
	await rejects(send('UploadPartCopy', {
		Bucket, Key: 'pieces', UploadId, PartNumber: 3, CopySource: `${Bucket}/big`, CopySourceRange: `bytes=0-${12 * MB}`,
	}), 'InvalidArgument');
	await send('CompleteMultipartUpload', { Bucket, Key: 'pieces', UploadId, MultipartUpload: { Parts } });
	await send('DeleteObject', { Bucket, Key: 'big' });
	assert.equal(md5(await bytes(Bucket, 'pieces')), md5(data));
	const joined = await send('CopyObject', { Bucket, Key: 'joined', CopySource: `${Bucket}/pieces` });
	assert.equal(joined.CopyObjectResult.ETag, `"${md5(data)}"`);
	assert.equal(md5(await bytes(Bucket, 'joined')), md5(data));
});

test('an object that is replaced while it is read is read to its end', async () => {
	const Bucket = await bucket('replaced');
	const data = randomBytes(30 * MB);
	await new Upload({ client, params: { Bucket, Key: 'k', Body: data } }).done();
	const got = await send('GetObject', { Bucket, Key: 'k' });
	await put(Bucket, 'k', 'small');
	assert.equal(md5(Buffer.from(await got.Body.transformToByteArray())), md5(data));
});

test('presigned URLs and virtual hosts', async () => {
	const Bucket = await bucket('hosted');
	const upload = await getSignedUrl(client, new s3.PutObjectCommand({ Bucket, Key: 'k', ContentType: 'text/plain', Metadata: { m: 'x' } }));
	assert.equal((await fetch(upload, { method: 'PUT', body: 'presigned', headers: { 'content-type': 'text/plain' } })).status, 200);
	const url = await getSignedUrl(client, new s3.GetObjectCommand({ Bucket, Key: 'k', ResponseContentType: 'x/y' }), { expiresIn: 60 });
	const answer = await fetch(url);
	assert.equal(await answer.text(), 'presigned');
	assert.equal(answer.headers.get('content-type'), 'x/y');
	assert.equal(answer.headers.get('x-amz-meta-m'), 'x');
	assert.equal((await fetch(url.replace('hosted/k', 'hosted/j'))).status, 403);
	const port = new URL(server.url).port;
	for (const host of ['hosted.s3.localhost', 'hosted.s3.us-east-1.localhost', 'hosted.localhost']) {
		const status = await new Promise((resolve, reject) => {
			http.get({ host: '127.0.0.1', port, path: '/k', headers: { host: `${host}:${port}` } }, (r) => {
				let text = '';
				r.on('data', (d) => { text += d; });
				r.on('end', () => resolve([r.statusCode, text]));
			}).on('error', reject);
		});
		assert.equal(status[0], 403, host);
		assert.match(status[1], /AccessDenied/);
	}
	// The names end in localhost, which this machine may not resolve: so by a look-up of our own.
	const lookup = (name, options, done) => options.all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4);
	const virtual = new s3.S3Client({
		...server.client(), endpoint: `http://localhost:${port}`,
		requestHandler: { httpAgent: new http.Agent({ lookup }) },
	});
	await virtual.send(new s3.CreateBucketCommand({ Bucket: 'made-by-host' }));
	await virtual.send(new s3.PutObjectCommand({ Bucket: 'made-by-host', Key: 'a/../b c', Body: 'virtual' }));
	assert.equal(await text('made-by-host', 'a/../b c'), 'virtual');
	assert.equal((await virtual.send(new s3.ListObjectsV2Command({ Bucket: 'made-by-host' }))).KeyCount, 1);
});

test('DeleteObjects: quiet, errors by key, limits', async () => {
	const Bucket = await bucket('many');
	await Promise.all(Array.from({ length: 50 }, (_, i) => put(Bucket, `k${i}`)));
	const Objects = Array.from({ length: 50 }, (_, i) => ({ Key: `k${i}` }));
	const quiet = await send('DeleteObjects', { Bucket, Delete: { Objects: Objects.slice(0, 25), Quiet: true } });
	assert.equal(quiet.Deleted, undefined);
	const loud = await send('DeleteObjects', { Bucket, Delete: { Objects: Objects.slice(25) } });
	assert.equal(loud.Deleted.length, 25);
	const mixed = await send('DeleteObjects', { Bucket, Delete: { Objects: [{ Key: 'x', VersionId: 'bad' }, { Key: 'y' }] } });
	assert.equal(mixed.Errors[0].Code, 'NoSuchVersion');
	assert.equal(mixed.Deleted[0].Key, 'y');
	const tooMany = Array.from({ length: 1001 }, (_, i) => ({ Key: `${i}` }));
	await rejects(send('DeleteObjects', { Bucket, Delete: { Objects: tooMany } }), 'MalformedXML');
});
