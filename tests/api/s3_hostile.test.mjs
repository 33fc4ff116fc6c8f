// Bad clients of S3: uploads that lie, stop midway or come at the same time as their opposite; bodies,
// documents, keys and headers made to do harm. Nothing of them is kept, and others notice nothing.
import assert from 'node:assert/strict';
import { createHash, createHmac, randomBytes } from 'node:crypto';
import { readFile, readdir, readlink } from 'node:fs/promises';
import { request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, before, test } from 'node:test';
import * as s3 from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { createPresignedPost } from '@aws-sdk/s3-presigned-post';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { rejects, startServer } from './server.mjs';

const MIB = 1 << 20;
let server, client;
const send = (name, input) => client.send(new s3[`${name}Command`](input));
const bucket = async (name) => {
	await send('CreateBucket', { Bucket: name });
	return name;
};
const bytes = async (Bucket, Key, more = {}) =>
	Buffer.from(await (await send('GetObject', { Bucket, Key, ...more })).Body.transformToByteArray());
const start = async (Bucket, Key, more = {}) =>
	({ Bucket, Key, UploadId: (await send('CreateMultipartUpload', { Bucket, Key, ...more })).UploadId });
async function part(upload, PartNumber, Body, more = {}) {
	const got = await send('UploadPart', { ...upload, PartNumber, Body, ...more });
	return { PartNumber, ETag: got.ETag, ChecksumCRC32: got.ChecksumCRC32, ChecksumSHA256: got.ChecksumSHA256,
		ChecksumCRC32C: got.ChecksumCRC32C, ChecksumSHA1: got.ChecksumSHA1, ChecksumCRC64NVME: got.ChecksumCRC64NVME };
}
const complete = (upload, Parts, more = {}) =>
	send('CompleteMultipartUpload', { ...upload, MultipartUpload: { Parts }, ...more });
const bare = (parts) => parts.map(({ PartNumber, ETag }) => ({ PartNumber, ETag }));
const files = async () => (await Promise.all((await readdir(join(server.data, 'files'))).map((d) =>
	readdir(join(server.data, 'files', d))))).flat().length;
async function until(condition, what) {
	for (let i = 0; i < 200; i++) {
		if (await condition()) return;
		await new Promise((resolve) => setTimeout(resolve, 50));
	}
	throw new Error(`waited in vain: ${what}`);
}

const A = randomBytes(5 * MIB), B = randomBytes(5 * MIB + 1), C = randomBytes(1000);

before(async () => {
	server = await startServer();
	client = new s3.S3Client({ ...server.client(), forcePathStyle: true });
});
after(() => server.stop());

test('Upload streams what has no known length, and leaves nothing when stopped', async () => {
	const Bucket = await bucket('upload');
	const data = randomBytes(12 * MIB + 3);
	const stream = Readable.from((function* () {
		for (let at = 0; at < data.length; at += 100_003) yield data.subarray(at, at + 100_003);
	})());
	await new Upload({ client, params: { Bucket, Key: 'streamed', Body: stream }, queueSize: 3 }).done();
	assert.ok(data.equals(await bytes(Bucket, 'streamed')));
	await new Upload({ client, params: { Bucket, Key: 'small', Body: 'tiny' } }).done();
	assert.equal((await bytes(Bucket, 'small')).toString(), 'tiny');
	const had = await files();
	const upload = new Upload({ client, params: { Bucket, Key: 'stopped', Body: Readable.from((async function* () {
		for (let i = 0; ; i++) {
			yield A;
			if (i === 2) await upload.abort();
		}
	})()) } });
	await assert.rejects(upload.done());
	await until(async () => !(await send('ListMultipartUploads', { Bucket })).Uploads?.length, 'no upload is left');
	await until(async () => (await files()) === had, 'no file is left');
});

test('uploads are listed, aborted, and gone with their bucket', async () => {
	const Bucket = await bucket('uploads');
	const had = await files();
	const all = [];
	for (const key of ['a', 'b/1', 'b/2', 'c']) all.push(await start(Bucket, key));
	const again = await start(Bucket, 'a');
	const listed = await send('ListMultipartUploads', { Bucket });
	assert.deepEqual(listed.Uploads.map((u) => u.Key), ['a', 'a', 'b/1', 'b/2', 'c']);
	const grouped = await send('ListMultipartUploads', { Bucket, Delimiter: '/' });
	assert.deepEqual(grouped.CommonPrefixes.map((p) => p.Prefix), ['b/']);
	const page = await send('ListMultipartUploads', { Bucket, MaxUploads: 1 });
	const next = await send('ListMultipartUploads', { Bucket, KeyMarker: page.NextKeyMarker,
		UploadIdMarker: page.NextUploadIdMarker });
	assert.equal(next.Uploads.length, 4);
	await part(again, 1, A);
	assert.equal(await files(), had + 1);
	await send('AbortMultipartUpload', again);
	await rejects(send('AbortMultipartUpload', again), 'NoSuchUpload');
	await until(async () => (await files()) === had, 'its part is gone');
	await part(all[1], 1, A);
	await send('DeleteBucket', { Bucket });
	await rejects(part(all[0], 1, C), 'NoSuchBucket');
	await until(async () => (await files()) === had, 'the parts are gone with the bucket');
	await bucket(Bucket);
	assert.equal((await send('ListMultipartUploads', { Bucket })).Uploads, undefined);
	await rejects(complete(all[1], [{ PartNumber: 1, ETag: '"x"' }]), 'NoSuchUpload');
});

test('completed, aborted and extended at once: one order of things', async () => {
	const Bucket = await bucket('races');
	for (let i = 0; i < 8; i++) {
		const had = await files();
		const Key = `k${i}`, upload = await start(Bucket, Key);
		const parts = bare([await part(upload, 1, A), await part(upload, 2, C)]);
		const results = await Promise.allSettled([complete(upload, parts), complete(upload, parts),
			send('AbortMultipartUpload', upload), part(upload, 2, Buffer.from('other'))]);
		const there = await bytes(Bucket, Key).catch((e) => e.name);
		const completed = results.slice(0, 2).some((r) => r.status === 'fulfilled');
		assert.equal(completed, there !== 'NoSuchKey');
		assert.equal(results[2].status === 'fulfilled', !completed || results[2].status === 'fulfilled');
		if (completed) assert.ok(Buffer.concat([A, C]).equals(there));
		assert.equal((await send('ListMultipartUploads', { Bucket })).Uploads, undefined);
		await until(async () => (await files()) === had + (completed ? 2 : 0), 'nothing superfluous is left');
	}
});

// ---- requests as no SDK sends them ----

const { sha256, hmac } = {
	sha256: (data) => createHash('sha256').update(data).digest('hex'),
	hmac: (key, data) => createHmac('sha256', key).update(data).digest(),
};

// Head of a signed PUT; what signs its chunks.
function signed(method, path, payload, more = {}, query = '') {
	const date = new Date().toISOString().replace(/[-:]|\.\d+/g, ''), day = date.slice(0, 8);
	const scope = `${day}/us-east-1/s3/aws4_request`;
	const { host } = new URL(server.url);
	const headers = { host, 'x-amz-content-sha256': payload, 'x-amz-date': date, ...more };
	const names = Object.keys(headers).sort();
	const canonical = [method, path, query, ...names.map((n) => `${n}:${headers[n]}`), '', names.join(';'), payload].join('\n');
	const key = [day, 'us-east-1', 's3', 'aws4_request'].reduce(hmac, `AWS4${server.credentials.secretAccessKey}`);
	const toSign = `AWS4-HMAC-SHA256\n${date}\n${scope}\n${sha256(canonical)}`;
	const seed = hmac(key, toSign).toString('hex');
	headers.authorization = `AWS4-HMAC-SHA256 Credential=${server.credentials.accessKeyId}/${scope}, ` +
		`SignedHeaders=${names.join(';')}, Signature=${seed}`;
	let previous = seed;
	const chunk = (data) => {
		previous = hmac(key, `AWS4-HMAC-SHA256-PAYLOAD\n${date}\n${scope}\n${previous}\n${sha256('')}\n${sha256(data)}`)
			.toString('hex');
		return `${data.length.toString(16)};chunk-signature=${previous}\r\n${data}\r\n`;
	};
	return { headers, chunk };
}

function ask(method, path, headers, body = '') {
	return new Promise((resolve, reject) => {
		const r = request(server.url, { method, path, headers, agent: false }, (answer) => {
			const pieces = [];
			answer.on('data', (piece) => pieces.push(piece));
			answer.on('end', () => resolve({ status: answer.statusCode, headers: answer.headers,
				body: Buffer.concat(pieces).toString() }));
		});
		r.on('error', reject);
		r.end(body);
	});
}

// What core holds open of uploads: files of the store, connections to its port.
async function held() {
	const port = Number(new URL(server.url).port).toString(16).toUpperCase().padStart(4, '0');
	const tcp = (await readFile('/proc/net/tcp', 'utf8')).split('\n').map((l) => l.trim().split(/\s+/));
	let count = tcp.filter((l) => l[1]?.endsWith(`:${port}`) && l[3] === '01').length;
	for (const pid of await readdir('/proc')) {
		const words = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
		if (!/mayfly-core/.test(words.split('\0')[0]) || !(await mine(pid))) continue;
		for (const fd of await readdir(`/proc/${pid}/fd`)) {
			const name = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '');
			if (/\/files\/[0-9a-f]{2}\//.test(name)) count++;
		}
	}
	return count;
}

// Does this process descend from the server that we started?
async function mine(pid) {
	for (let at = `${pid}`; at !== '0' && at !== '1'; ) {
		if (at === `${server.child.pid}`) return true;
		at = (await readFile(`/proc/${at}/stat`, 'utf8').catch(() => ') x 0')).split(') ')[1].split(' ')[1];
	}
	return false;
}

test('chunked bodies that lie are refused, and nothing is kept', async () => {
	const Bucket = await bucket('chunks'), path = '/chunks/k';
	const STREAM = 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD', TRAILER = 'STREAMING-UNSIGNED-PAYLOAD-TRAILER';
	const had = await files();
	const send2 = async (kind, length, make, more = {}) => {
		const { headers, chunk } = signed('PUT', path, kind, { 'x-amz-decoded-content-length': `${length}`, ...more });
		const body = make(chunk);
		const got = await ask('PUT', path, { ...headers, 'content-length': Buffer.byteLength(body) }, body);
		return `${got.status} ${got.body.match(/<Code>(.*?)<\/Code>/)?.[1] ?? ''}`.trim();
	};
	assert.equal(await send2(STREAM, 11, (c) => c('hello ') + c('world') + c('')), '200');
	assert.equal((await bytes(Bucket, 'k')).toString(), 'hello world');
	await send('DeleteObject', { Bucket, Key: 'k' });
	const bad = {
		'short': [STREAM, 12, (c) => c('hello ') + c('world') + c('')],
		'long': [STREAM, 10, (c) => c('hello ') + c('world') + c('')],
		'no end': [STREAM, 11, (c) => c('hello ') + c('world')],
		'replayed': [STREAM, 12, (c) => { const one = c('hello '); return one + one + c(''); }],
		'exchanged': [STREAM, 10, (c) => { const one = c('hello'), two = c('world'); return two + one + c(''); }],
		'changed': [STREAM, 5, (c) => c('hello').replace('hello', 'hullo') + c('')],
		'end replaced': [STREAM, 5, (c) => c('hello') + c('').replace(/=./, '=0').replace(/=0./, '=00')],
		'unsigned': [STREAM, 5, () => '5\r\nhello\r\n0\r\n\r\n'],
		'negative': [TRAILER, 5, () => '-5\r\nhello\r\n0\r\n\r\n'],
		'huge': [TRAILER, 5, () => 'ffffffffffffffff\r\nhello\r\n0\r\n\r\n'],
		'overflow': [TRAILER, 5, () => '10000000000000005\r\nhello\r\n0\r\n\r\n'],
		'no size': [TRAILER, 5, () => '\r\nhello\r\n0\r\n\r\n'],
		'no line end': [TRAILER, 5, () => '5'.repeat(5000)],
		'wrong sum': [TRAILER, 5, () => '5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n',
			{ 'x-amz-trailer': 'x-amz-checksum-crc32' }],
		'no trailer': [TRAILER, 5, () => '5\r\nhello\r\n0\r\n\r\n', { 'x-amz-trailer': 'x-amz-checksum-crc32' }],
		'many trailers': [TRAILER, 5, () => `5\r\nhello\r\n0\r\n${'a:b\r\n'.repeat(9000)}\r\n`,
			{ 'x-amz-trailer': 'x-amz-checksum-crc32' }],
	};
	for (const [name, [kind, length, make, more]] of Object.entries(bad)) {
		assert.match(await send2(kind, length, make, more), /^40[03] [A-Z]/, name);
		await rejects(bytes(Bucket, 'k'), 'NoSuchKey');
	}
	await until(async () => (await files()) === had, 'no file is left');
});

test('uploads that stop midway leave nothing', async () => {
	const Bucket = await bucket('midway');
	const had = await files(), open = await held();
	const { port } = new URL(server.url);
	const upload = await start(Bucket, 'part');
	for (const [path, query] of [['/midway/k', ''], ['/midway/part', `partNumber=1&uploadId=${upload.UploadId}`]]) {
		const { headers } = signed('PUT', path, 'UNSIGNED-PAYLOAD', {}, query);
		const head = `PUT ${path}${query && `?${query}`} HTTP/1.1\r\n` + Object.entries({ ...headers, 'content-length': 3 * MIB })
			.map(([n, v]) => `${n}: ${v}\r\n`).join('') + '\r\n';
		const sockets = [];
		for (const sent of [10, head.length - 2, head.length, head.length + 1, head.length + 70_000, head.length + 2 * MIB]) {
			for (let i = 0; i < 20; i++) {
				const socket = connect(port, '127.0.0.1');
				socket.on('error', () => {});
				socket.write(Buffer.concat([Buffer.from(head), A]).subarray(0, sent));
				sockets.push(socket);
			}
		}
		await new Promise((resolve) => setTimeout(resolve, 1000));
		assert.ok((await held()) > open + 100); // it can be seen
		for (const socket of sockets) socket.destroy();
	}
	await until(async () => (await files()) === had, 'no file is left');
	await until(async () => (await held()) <= open, 'no descriptor is left');
	assert.equal((await send('ListObjectsV2', { Bucket })).KeyCount, 0);
	assert.equal((await send('ListParts', upload)).Parts, undefined);
});

test('no header can be smuggled into an answer', async () => {
	const Bucket = await bucket('smuggle');
	await send('PutObject', { Bucket, Key: 'k', Body: 'hello' });
	const bad = 'a\r\nX-Smuggled: yes\r\n\r\n';
	const sign = (name, input) => getSignedUrl(client, new s3[`${name}Command`](input), { expiresIn: 60 });
	for (const member of ['ContentDisposition', 'ContentType', 'CacheControl', 'ContentEncoding', 'ContentLanguage']) {
		const got = await fetch(await sign('GetObject', { Bucket, Key: 'k', [`Response${member}`]: bad }));
		assert.equal(got.headers.get('x-smuggled'), null, member);
		await got.text();
	}
	const stored = await fetch(await sign('PutObject', { Bucket, Key: 'm', Metadata: { a: bad }, WebsiteRedirectLocation: `/${bad}` }),
		{ method: 'PUT', body: 'x' });
	await stored.text();
	const back = await fetch(await sign('GetObject', { Bucket, Key: 'm' }));
	assert.equal(back.headers.get('x-smuggled'), null);
	await back.text();
});

test('documents made to do harm', async () => {
	const Bucket = await bucket('documents');
	const post = async (method, query, body) => {
		const { headers } = signed(method, '/documents', sha256(body), {
			'content-md5': createHash('md5').update(body).digest('base64') }, `${query}=`);
		const began = Date.now();
		const got = await ask(method, `/documents?${query}`, { ...headers, 'content-length': Buffer.byteLength(body) }, body);
		assert.ok(Date.now() - began < 20_000, `${query}: ${Date.now() - began} ms`);
		return got.status;
	};
	const bomb = `<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">${Array.from({ length: 9 }, (_, i) =>
		`<!ENTITY ${'bcdefghij'[i]} "${`&${'abcdefghi'[i]};`.repeat(10)}">`).join('')}]><Delete><Object><Key>&j;</Key></Object></Delete>`;
	assert.equal(await post('POST', 'delete', bomb), 400);
	assert.equal(await post('POST', 'delete', '<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]><Delete><Object><Key>&x;</Key></Object></Delete>'), 400);
	assert.equal(await post('POST', 'delete', '<a>'.repeat(100_000)), 400);
	assert.equal(await post('POST', 'delete', `<Delete>${'<a>'.repeat(50_000)}${'</a>'.repeat(50_000)}</Delete>`), 400);
	assert.equal(await post('POST', 'delete', `<Delete ${'a="b" '.repeat(50_000)}/>`), 400);
	assert.equal(await post('POST', 'delete', `<Delete>${'<Object><Key>k</Key></Object>'.repeat(1001)}</Delete>`), 400);
	assert.equal(await post('POST', 'delete', `<Delete>${'<Object><Key>k</Key></Object>'.repeat(1000)}</Delete>`), 200);
	assert.ok([400, 413].includes(await post('POST', 'delete', `<Delete>${'<Object><Key>k</Key></Object>'.repeat(300_000)}</Delete>`)));
	assert.equal(await post('PUT', 'tagging', ''), 400);
	assert.equal(await post('PUT', 'versioning', '\u0000\u0001'), 400);
	const rule = (i) => `<Rule><ID>${i}</ID><Status>Enabled</Status><Filter><Prefix>${i}</Prefix></Filter><Expiration><Days>1</Days></Expiration></Rule>`;
	const rules = (n) => `<LifecycleConfiguration>${Array.from({ length: n }, (_, i) => rule(i)).join('')}</LifecycleConfiguration>`;
	assert.equal(await post('PUT', 'lifecycle', rules(1001)), 400);
	assert.equal(await post('PUT', 'lifecycle', rules(1000)), 200);
	assert.equal(await post('PUT', 'lifecycle', rule(1).replace('<Days>1<', '<Days>99999999999999999999<')
		.replace(/^(.*)$/, '<LifecycleConfiguration>$1</LifecycleConfiguration>')), 400);
	assert.equal(await post('PUT', 'lifecycle', '<LifecycleConfiguration><Rule><Status>Enabled</Status><Filter><Prefix/></Filter>' +
		'<Expiration><Days>2147483647</Days></Expiration></Rule></LifecycleConfiguration>'), 200);
	await send('PutObject', { Bucket, Key: 'for ever' });
	assert.equal((await send('HeadObject', { Bucket, Key: 'for ever' })).Expiration, undefined);
	const cors = (n) => `<CORSConfiguration>${'<CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule>'.repeat(n)}</CORSConfiguration>`;
	assert.equal(await post('PUT', 'cors', cors(101)), 400);
	// Patterns that make others' matchers look for years.
	await send('DeletePublicAccessBlock', { Bucket });
	const stars = `${'a*'.repeat(400)}b`;
	const statement = { Effect: 'Allow', Principal: '*', Action: ['s3:GetObject'], Resource: `arn:aws:s3:::documents/${stars}`,
		Condition: { StringLike: { 'aws:UserAgent': stars, 'aws:Referer': stars } } };
	await send('PutBucketPolicy', { Bucket, Policy: JSON.stringify({ Version: '2012-10-17', Statement: Array(8).fill(statement) }) })
		.catch((e) => assert.match(e.name, /MalformedPolicy|PolicyTooLarge|InvalidArgument/));
	const began = Date.now();
	const evil = 'a'.repeat(1000);
	const got = await ask('GET', `/documents/${evil}`, { 'user-agent': 'a'.repeat(3000), referer: 'a'.repeat(3000) });
	assert.equal(got.status, 403);
	assert.ok(Date.now() - began < 10_000, `${Date.now() - began} ms`);
	assert.ok((await send('PutBucketPolicy', { Bucket, Policy: JSON.stringify({ Version: '2012-10-17',
		Statement: [{ ...statement, Sid: 'x'.repeat(30_000) }] }) }).catch((e) => e)) instanceof Error);
});

test('a wrong checksum of a list of deletions deletes nothing', async () => {
	const Bucket = await bucket('deletions');
	await send('PutObject', { Bucket, Key: 'k', Body: 'hello' });
	const lying = new s3.DeleteObjectsCommand({ Bucket, Delete: { Objects: [{ Key: 'k' }] } });
	lying.middlewareStack.add((next) => (args) => {
		args.request.headers['x-amz-checksum-crc32'] = 'AAAAAA==';
		return next(args);
	}, { step: 'build', priority: 'high' });
	await rejects(client.send(lying), 'BadDigest');
	assert.equal((await bytes(Bucket, 'k')).toString(), 'hello');
});

test('keys that are no keys, names that look otherwise', async () => {
	const Bucket = await bucket('keys');
	for (const path of ['/keys/%FF', '/keys/a%00b', '/keys/%C3%28', `/keys/${'x'.repeat(1025)}`]) {
		const { headers } = signed('PUT', path, 'UNSIGNED-PAYLOAD');
		assert.equal((await ask('PUT', path, headers, 'x')).status, 400, path);
	}
	for (const key of ['..', '../../../etc/passwd', '/', '//', '/a', 'a//b', 'a/../b', 'c\u0001\u001f']) {
		await send('PutObject', { Bucket, Key: key, Body: key });
		assert.equal((await bytes(Bucket, key)).toString(), key);
	}
	assert.equal((await send('ListObjectsV2', { Bucket })).KeyCount, 8);
	// Encoded as SDKs' manuals say, slashes and all.
	await send('CopyObject', { Bucket, Key: 'copied', CopySource: encodeURIComponent('keys/a/../b') });
	assert.equal((await bytes(Bucket, 'copied')).toString(), 'a/../b');
	// Names of hosts have no capitals.
	const url = await getSignedUrl(client, new s3.GetObjectCommand({ Bucket, Key: 'copied' }), { expiresIn: 60 });
	assert.equal((await fetch(url)).status, 200);
	for (const host of ['keys.s3.localhost', 'KEYS.S3.LocalHost:1', 'keys.localhost'])
		assert.match((await ask('GET', '/copied', { host })).body, /<Code>AccessDenied</, host);
});

test('a thousand uploads at once', async () => {
	const Bucket = await bucket('thousand');
	const paths = Array.from({ length: 1000 }, (_, i) => `/thousand/k${i}`);
	const results = await Promise.all(paths.map(async (path, i) => {
		const { headers } = signed('PUT', path, 'UNSIGNED-PAYLOAD');
		return (await ask('PUT', path, headers, `${i} ${'x'.repeat(i * 20)}`)).status;
	}));
	assert.deepEqual(results.filter((s) => s !== 200), []);
	assert.equal((await send('ListObjectsV2', { Bucket })).KeyCount, 1000);
	assert.equal((await bytes(Bucket, 'k999')).length, 4 + 999 * 20);
	await send('DeleteObjects', { Bucket, Delete: { Quiet: true, Objects: paths.map((p) => ({ Key: p.slice(10) })) } });
});

test('a bucket that comes and goes is never half there; nobody makes one unknown', async () => {
	assert.equal((await ask('PUT', '/thousand', {})).status, 403); // it exists: no answer to strangers
	assert.equal((await ask('PUT', '/strange', {})).status, 403);
	for (let i = 0; i < 20; i++) {
		const Bucket = await bucket('comes-and-goes');
		const outcome = (promise) => promise.then(() => 'done', (e) => e.name);
		const [gone, made] = await Promise.all([outcome(send('DeleteBucket', { Bucket })), outcome(send('CreateBucket', { Bucket }))]);
		const there = (await outcome(send('HeadBucket', { Bucket }))) === 'done';
		assert.equal(gone, 'done');
		if (made !== 'done') assert.equal(made, 'OperationAborted');
		if (there) assert.equal(made, 'done');
		await send('DeleteBucket', { Bucket }).catch(() => {});
	}
});

test('copies of what is large keep nobody waiting', async () => {
	const Bucket = await bucket('copies');
	await send('PutObject', { Bucket, Key: 'from', Body: randomBytes(8 * MIB) });
	const upload = await start(Bucket, 'large'), parts = [];
	for (let n = 1; n <= 25; n++) {
		const { CopyPartResult } = await send('UploadPartCopy', { ...upload, PartNumber: n, CopySource: `${Bucket}/from` });
		parts.push({ PartNumber: n, ETag: CopyPartResult.ETag });
	}
	await complete(upload, parts);
	const began = Date.now(), waits = [];
	let left = 16;
	const copies = Promise.all(Array.from({ length: left }, (_, i) => send('CopyObject', { Bucket, Key: `to${i}`,
		CopySource: `${Bucket}/large`, ChecksumAlgorithm: 'SHA256' }).finally(() => left--)));
	while (left) {
		const at = Date.now();
		await send('PutObject', { Bucket, Key: 'small', Body: 'x' });
		waits.push(Date.now() - at);
	}
	await copies;
	assert.ok(Math.max(...waits) < (Date.now() - began) / 3, `${Math.max(...waits)} of ${Date.now() - began} ms`);
});

test('a form cannot say one thing to its policy and another to the bucket', async () => {
	const Bucket = await bucket('forms');
	const { url, fields } = await createPresignedPost(client, { Bucket, Key: 'up/${filename}',
		Conditions: [['eq', '$Content-Type', 'image/png'], ['content-length-range', 1, 100]] });
	const post = async (pairs, name = 'a.png') => {
		const part = (head, data) => Buffer.concat([Buffer.from(`--b\r\nContent-Disposition: form-data; ${head}\r\n\r\n`),
			Buffer.from(data), Buffer.from('\r\n')]);
		const file = Buffer.concat([Buffer.from('name="file"; filename="'), Buffer.from(name, 'latin1'), Buffer.from('"')]);
		const body = Buffer.concat([...pairs.map(([n, v]) => part(`name="${n}"`, v)),
			Buffer.from('--b\r\nContent-Disposition: form-data; '), file, Buffer.from('\r\n\r\nhello\r\n--b--\r\n')]);
		return (await fetch(url, { method: 'POST', body, headers: { 'content-type': 'multipart/form-data; boundary=b' } })).status;
	};
	const good = [...Object.entries(fields), ['Content-Type', 'image/png']];
	assert.equal(await post([['Content-Type', 'text/html'], ...good]), 400);
	assert.equal(await post([...good, ['content-type', 'text/html']]), 400);
	assert.equal(await post([...Object.entries(fields), ['Content-Type', 'text/html']]), 403);
	assert.equal(await post([...good, ['key', 'elsewhere']]), 400);
	assert.equal(await post(good, 'a\xff.png'), 400);
	assert.equal((await send('ListObjectsV2', { Bucket })).KeyCount, 0);
	assert.equal(await post(good), 204);
	assert.equal((await send('HeadObject', { Bucket, Key: 'up/a.png' })).ContentType, 'image/png');
});
