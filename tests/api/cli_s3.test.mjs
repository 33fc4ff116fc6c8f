// `aws s3` of Debian's CLI, as people use it: mb, cp, sync, ls, mv, rm, presign, rb.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { aws } from './cli.mjs';
import { startServer } from './server.mjs';

let server, dir;
const cli = (...words) => aws(server, ['s3', ...words]);
const api = (...words) => aws(server, ['s3api', ...words]);
const keys = async (bucket) => {
	const { Contents = [] } = (await api('list-objects-v2', '--bucket', bucket)) || {};
	return Contents.map((o) => o.Key);
};

async function write(tree) {
	for (const [name, data] of Object.entries(tree)) {
		await mkdir(dirname(join(dir, name)), { recursive: true });
		await writeFile(join(dir, name), data);
	}
}

async function read(top, at = '') {
	const found = {};
	for (const entry of await readdir(join(top, at), { withFileTypes: true })) {
		const name = join(at, entry.name);
		if (entry.isDirectory()) Object.assign(found, await read(top, name));
		else found[name] = (await readFile(join(top, name))).toString('hex');
	}
	return found;
}

before(async () => {
	server = await startServer();
	dir = await mkdtemp(join(tmpdir(), 'mayfly-cli-s3-'));
});
after(async () => {
	await server?.stop();
	await rm(dir, { recursive: true, force: true });
});

test('a bucket is made, listed, filled, emptied, removed', async () => {
	assert.match(await cli('mb', 's3://photos'), /make_bucket: photos/);
	await write({ 'photo.jpg': 'a photo', 'more/one.txt': '1', 'more/deep/two.log': '22' });
	await cli('cp', join(dir, 'photo.jpg'), 's3://photos/', '--metadata', 'by=me', '--content-type', 'image/jpeg');
	const head = await api('head-object', '--bucket', 'photos', '--key', 'photo.jpg');
	assert.deepEqual([head.ContentType, head.Metadata, head.ContentLength], ['image/jpeg', { by: 'me' }, 7]);
	await cli('cp', join(dir, 'more'), 's3://photos/more', '--recursive', '--exclude', '*.log');
	assert.deepEqual(await keys('photos'), ['more/one.txt', 'photo.jpg']);
	assert.match(await cli('ls', 's3://photos'), /PRE more\/\n.* 7 photo\.jpg/);
	assert.match(await cli('ls', 's3://photos', '--recursive', '--summarize'), /Total Objects: 2\n\s*Total Size: 8/);
	assert.match(await cli('ls'), / photos\n/);
	await cli('cp', 's3://photos/photo.jpg', 's3://photos/copy.jpg');
	await cli('mv', 's3://photos/copy.jpg', join(dir, 'back.jpg'));
	assert.equal(await readFile(join(dir, 'back.jpg'), 'utf8'), 'a photo');
	const url = (await cli('presign', 's3://photos/photo.jpg', '--expires-in', '60')).trim();
	assert.equal(await (await fetch(url)).text(), 'a photo');
	await assert.rejects(cli('rb', 's3://photos'), /BucketNotEmpty/);
	await cli('rm', 's3://photos', '--recursive', '--exclude', 'photo*');
	assert.deepEqual(await keys('photos'), ['photo.jpg']);
	await assert.rejects(cli('cp', 's3://photos/absent', join(dir, 'absent')), /404|Not Found/);
	await cli('rb', 's3://photos', '--force');
	await assert.rejects(cli('ls', 's3://photos'), /NoSuchBucket/);
});

test('directories with awkward names go there and back', async () => {
	await cli('mb', 's3://awkward');
	const names = ['a b', 'ä ö', '日本/😀', "it's", 'q?x=1&y', 'p%20c%2F', 'plus+', '#hash', 'star*', '[x]', 'semi;comma,', '~t',
		'..dots', 'dir.with/..more/x', '=eq', '$d@at', 'back`tick', '"quoted"', '<tag>&amp;', '-dash'];
	await write(Object.fromEntries(names.map((name) => [`odd/${name}`, `content of ${name}`])));
	await cli('sync', join(dir, 'odd'), 's3://awkward/in dir');
	assert.equal((await keys('awkward')).length, names.length);
	await cli('sync', 's3://awkward/in dir', join(dir, 'again'));
	assert.deepEqual(await read(join(dir, 'again')), await read(join(dir, 'odd')));
	// Nothing to do the second time; what is new, changed or gone the third.
	assert.equal(await cli('sync', join(dir, 'odd'), 's3://awkward/in dir'), '');
	await write({ 'odd/a b': 'a longer content than before', 'odd/new': 'n' });
	await rm(join(dir, 'odd/plus+'));
	const done = await cli('sync', join(dir, 'odd'), 's3://awkward/in dir', '--delete');
	assert.equal(done.match(/upload:/g).length, 2);
	assert.equal(done.match(/delete:/g).length, 1);
	await cli('sync', 's3://awkward/in dir', 's3://awkward/copy');
	assert.equal((await keys('awkward')).length, names.length * 2);
	await cli('sync', 's3://awkward/in dir', join(dir, 'again'), '--delete');
	assert.deepEqual(await read(join(dir, 'again')), await read(join(dir, 'odd')));
});

test('100 MB in parts, up, across and down', async () => {
	await cli('mb', 's3://large');
	const data = Buffer.concat(Array(10).fill(randomBytes(10 << 20)));
	await write({ large: data });
	await cli('cp', join(dir, 'large'), 's3://large/k', '--no-progress');
	const head = await api('head-object', '--bucket', 'large', '--key', 'k', '--part-number', '1');
	assert.equal(head.PartsCount, 13);
	await cli('cp', 's3://large/k', 's3://large/copy', '--no-progress');
	await cli('cp', 's3://large/copy', join(dir, 'back'), '--no-progress');
	assert.ok(data.equals(await readFile(join(dir, 'back'))));
	await cli('rm', 's3://large', '--recursive');
});
