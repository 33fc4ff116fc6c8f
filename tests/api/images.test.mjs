// Images: pulled from registries, honest and other, loaded from archives, named and removed.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { lstat, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { makeImage, run, startRegistry } from './oci.mjs';
import { startServer } from './server.mjs';

const command = process.env.MAYFLY ?? fileURLToPath(new URL('../../build/mayfly', import.meta.url));
const sha256 = (data) => `sha256:${createHash('sha256').update(data).digest('hex')}`;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const base = 1900200000; // of the users inside of containers

let server, registry, small;
const removals = [];

before(async () => {
	server = await startServer(['--dev']);
	registry = await startRegistry();
	small = await makeImage([{ 'bin/app': { data: 'app', mode: 0o755 }, 'etc/passwd': 'root:x:0:0' }, { 'etc/.wh.passwd': '', 'new/.wh..wh..opq': '', 'new/file': 'x' }],
		{ Cmd: ['/bin/app'] });
});
after(async () => {
	await registry?.stop();
	await server?.stop();
	await small?.remove();
	for (const remove of removals) await remove();
});

// The command line, with what it printed.
async function mayfly(...args) {
	const child = spawn(command, args, { env: { ...server.environment(), AWS_ENDPOINT_URL: server.url }, stdio: ['ignore', 'pipe', 'pipe'] });
	let out = '', err = '';
	child.stdout.on('data', (d) => (out += d));
	child.stderr.on('data', (d) => (err += d));
	const code = await new Promise((resolve) => child.once('close', resolve));
	return { code, out, err };
}

async function pull(name, policy = 'always', auth) {
	const answer = await fetch(`${server.url}/_mayfly/images/pull?policy=${policy}&name=${encodeURIComponent(name)}`,
		{ method: 'POST', body: auth ? JSON.stringify(auth) : undefined });
	const lines = (await answer.text()).trim().split('\n').map((line) => JSON.parse(line));
	return lines.at(-1);
}

const list = async () => (await (await fetch(`${server.url}/_mayfly/images`)).json()).images;
const layers = async () => (await readdir(join(server.data, 'layers'))).filter((n) => /^[0-9a-f]{64}$/.test(n));
const remove = (name) => fetch(`${server.url}/_mayfly/images?name=${encodeURIComponent(name)}`, { method: 'DELETE' });

async function until(check, what, ms = 15_000) {
	for (const end = Date.now() + ms; Date.now() < end; await sleep(100)) if (await check()) return;
	throw new Error(`not within ${ms} ms: ${what}`);
}

describe('a registry', () => {
	test('gives an image, whose layers are unpacked for overlayfs', async () => {
		const name = await registry.push(small, 'small:1');
		const answer = await pull(name);
		assert.equal(answer.digest, small.digest);
		const [item] = (await list()).filter((i) => i.name === name);
		assert.equal(item.digest, small.digest);
		const found = {};
		for (const layer of await layers()) {
			const top = join(server.data, 'layers', layer);
			for (const path of ['bin/app', 'etc/passwd', 'new/file']) {
				const st = await lstat(join(top, path)).catch(() => null);
				if (st) (found[path] ??= []).push({ uid: st.uid - base, device: st.isCharacterDevice(), mode: st.mode & 0o7777 });
			}
		}
		assert.deepEqual(found['bin/app'], [{ uid: 0, device: false, mode: 0o755 }]);
		assert.equal(found['etc/passwd'].filter((f) => f.device).length, 1);
		assert.equal(found['etc/passwd'].length, 2);
		assert.equal(found['new/file'].length, 1);
	});

	test('is not asked again when the image is here, unless told so', async () => {
		const name = await registry.push(small, 'small:2');
		assert.match((await pull(name, 'never')).message, /is not here/);
		assert.equal((await pull(name)).digest, small.digest);
		assert.equal((await pull(name, 'never')).digest, small.digest);
		assert.equal((await pull(`${name.replace(/:2$/, '')}@${small.digest}`, 'missing')).digest, small.digest);
	});

	test('is told by ECS\'s names when it has nothing or is not there', async () => {
		const missing = await pull(`${registry.host}/nothing:1`);
		assert.equal(missing.error, 'CannotPullImageManifestError');
		assert.match(missing.message, /not found/);
		const nobody = await pull('127.0.0.1:9/x');
		assert.equal(nobody.error, 'CannotPullContainerError');
		const bad = await fetch(`${server.url}/_mayfly/images/pull?name=Not%20A%20Name`, { method: 'POST' });
		assert.equal(bad.status, 400);
	});

	test('is asked once by equal pulls', async () => {
		const image = await makeImage([{ big: Buffer.alloc(3_000_000, 'x') }]);
		removals.push(image.remove);
		const name = await registry.push(image, 'shared:1');
		const answers = await Promise.all(Array.from({ length: 8 }, () => pull(name)));
		assert.deepEqual(new Set(answers.map((a) => a.digest)), new Set([image.digest]));
	});
});

// A registry of our own, which does as each test says.
async function liar(image, hooks = {}) {
	const blob = (digest) => readFile(join(image.dir, 'blobs/sha256', digest.slice(7)));
	const seen = [];
	const http = createServer(async (request, response) => {
		seen.push({ url: request.url, authorization: request.headers.authorization, range: request.headers.range });
		if (await hooks.before?.(request, response, seen)) return;
		const [, kind, what] = /^\/v2\/x\/(manifests|blobs)\/(.*)$/.exec(request.url) ?? [];
		if (!kind) return void response.writeHead(404).end();
		const digest = kind === 'manifests' && !what.startsWith('sha256:') ? image.digest : what;
		let body = await blob(digest).catch(() => null);
		if (!body) return void response.writeHead(404).end();
		if (kind === 'manifests') {
			body = hooks.manifest ? hooks.manifest(body) : body;
			return void response.writeHead(200, { 'content-type': 'application/vnd.oci.image.manifest.v1+json' }).end(body);
		}
		if (hooks.blob && (await hooks.blob(request, response, digest, body))) return;
		const from = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
		response.writeHead(from ? 206 : 200, from ? { 'content-range': `bytes ${from}-${body.length - 1}/${body.length}` } : {});
		response.end(body.subarray(from));
	});
	await new Promise((resolve) => http.listen(0, '127.0.0.1', resolve));
	removals.push(() => new Promise((resolve) => (http.closeAllConnections(), http.close(resolve))));
	return { name: `127.0.0.1:${http.address().port}/x:1`, seen, port: http.address().port };
}

// An image of one layer that is what `tar` says.
async function imageOf(tar, compress = gzipSync) {
	const image = await makeImage([{ a: 'x' }]);
	removals.push(image.remove);
	const put = async (data) => {
		await writeFile(join(image.dir, 'blobs/sha256', sha256(data).slice(7)), data);
		return { digest: sha256(data), size: data.length };
	};
	const config = await put(Buffer.from(JSON.stringify({ architecture: process.arch === 'arm64' ? 'arm64' : 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [sha256(tar)] } })));
	const layer = await put(compress(tar));
	image.digest = (await put(Buffer.from(JSON.stringify({
		schemaVersion: 2,
		config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
		layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', ...layer }],
	})))).digest;
	image.layer = layer.digest;
	return image;
}

async function tarOf(...script) {
	const dir = await mkdtemp(join(tmpdir(), 'mayfly-tar-'));
	try {
		return (await run('python3', ['-c', `import io,sys,tarfile
b=io.BytesIO()
t=tarfile.open(fileobj=b,mode='w',format=tarfile.PAX_FORMAT)
def add(name,data=b'',**kw):
    i=tarfile.TarInfo(name)
    for k,v in kw.items(): setattr(i,k,v)
    i.size=len(data)
    t.addfile(i,io.BytesIO(data))
${script.join('\n')}
t.close()
sys.stdout.buffer.write(b.getvalue())`], { cwd: dir, encoding: 'buffer', maxBuffer: 1 << 28 })).stdout;
	} finally {
		await rm(dir, { recursive: true });
	}
}

const random = (n) => Buffer.from(Array.from({ length: n }, (_, i) => (i * 7919 + (i >> 8) * 104729) & 255));

describe('a registry that lies', () => {
	let image;
	beforeEach(async () => {
		image = await imageOf(await tarOf(`add("a", bytes((i*i*${Math.floor(Math.random() * 1000) + 1}>>3)&255 for i in range(2000000)))`));
	});

	const failing = async (hooks, error, words) => {
		const r = await liar(image, hooks);
		const answer = await pull(r.name);
		assert.equal(answer.error, error, JSON.stringify(answer));
		assert.match(answer.message, words);
		assert.deepEqual((await list()).filter((i) => i.name === r.name), []);
		return r;
	};
	const layerOnly = (fn) => ({
		blob: (request, response, digest, body) => (digest === image.layer ? fn(request, response, body) : false),
	});

	test('about contents', async () => {
		await failing(layerOnly((q, s, body) => {
			const other = Buffer.from(body);
			other[other.length >> 1] ^= 1;
			s.writeHead(200).end(other);
			return true;
		}), 'CannotPullContainerError', /verification failed|broken/);
	});

	test('about lengths', async () => {
		await failing(layerOnly((q, s, body) => {
			s.writeHead(200).end(Buffer.concat([body, Buffer.alloc(100_000)]));
			return true;
		}), 'CannotPullContainerError', /more of/);
		await failing(layerOnly((q, s, body) => {
			const from = Number(/^bytes=(\d+)-/.exec(q.headers.range ?? '')?.[1] ?? 0);
			s.writeHead(from ? 206 : 200).end(body.subarray(from, body.length - 10 > from ? body.length - 10 : from));
			return true;
		}), 'CannotPullContainerError', /bytes less/);
	});

	test('about manifests', async () => {
		await failing({ manifest: () => Buffer.from('nonsense') }, 'CannotPullImageManifestError', /no JSON/);
		const r = await liar(image, { manifest: (body) => Buffer.from(`${body} `) });
		const answer = await pull(r.name.replace(/:1$/, `@${image.digest}`));
		assert.equal(answer.error, 'CannotPullImageManifestError');
		assert.match(answer.message, /something else/);
	});

	test('about the contents of the layer', async () => {
		const other = await imageOf(await tarOf('add("a", b"x")'), () => gzipSync(random(5000)));
		const r = await liar(other);
		const answer = await pull(r.name);
		assert.equal(answer.error, 'CannotPullContainerError');
		assert.match(answer.message, /failed to register layer.*(not what the image says|not a tar)/);
	});

	test('or breaks the connection is asked for the rest', async () => {
		let cuts = 0;
		const r = await liar(image, layerOnly((q, s, body) => {
			if (cuts++ > 1) return false;
			const from = Number(/^bytes=(\d+)-/.exec(q.headers.range ?? '')?.[1] ?? 0);
			s.writeHead(from ? 206 : 200, { 'content-length': body.length - from });
			s.write(body.subarray(from, from + (body.length >> 2)), () => s.destroy());
			return true;
		}));
		const answer = await pull(r.name);
		assert.equal(answer.digest, image.digest, JSON.stringify(answer));
		assert.ok(r.seen.some((q) => /^bytes=[1-9]\d*-$/.test(q.range ?? '')), 'a range was asked for');
	});
});

async function push(name, to, auth, at = server) {
	const answer = await fetch(`${at.url}/_mayfly/images/push?name=${encodeURIComponent(name)}${to ? `&to=${encodeURIComponent(to)}` : ''}`,
		{ method: 'POST', body: auth ? JSON.stringify(auth) : undefined });
	return JSON.parse((await answer.text()).trim().split('\n').at(-1));
}

// A registry that takes what is pushed, as each test lets it.
async function taker(before = () => false) {
	const seen = [], blobs = new Map(), manifests = new Map();
	const http = createServer(async (q, s) => {
		seen.push({ method: q.method, url: q.url, authorization: q.headers.authorization, type: q.headers['content-type'] });
		if (await before(q, s, seen)) return;
		const url = new URL(q.url, 'http://x');
		const digest = url.searchParams.get('digest');
		if (q.method === 'HEAD') return void s.writeHead(blobs.has(url.pathname.split('/').at(-1)) ? 200 : 404).end();
		if (q.method === 'POST') return void s.writeHead(202, { location: '/v2/x/blobs/uploads/1?state=a' }).end();
		const body = Buffer.concat(await q.toArray().catch(() => []));
		if (digest && sha256(body) !== digest) return void s.writeHead(400).end();
		if (digest) blobs.set(digest, body);
		else manifests.set(url.pathname.split('/').at(-1), body);
		s.writeHead(201).end();
	});
	await new Promise((resolve) => http.listen(0, '127.0.0.1', resolve));
	removals.push(() => new Promise((resolve) => (http.closeAllConnections(), http.close(resolve))));
	const host = `127.0.0.1:${http.address().port}`;
	return { host, name: `${host}/x:1`, seen, blobs, manifests };
}

describe('pushing', () => {
	let name; // of small, as it is here
	before(async () => {
		name = await registry.push(small, 'push:1');
		assert.equal((await pull(name)).digest, small.digest);
	});
	const skopeo = (...args) => run('skopeo', args, { env: { PATH: process.env.PATH, HOME: tmpdir() } });

	test('gives another registry the image, digests unchanged', async () => {
		const other = await startRegistry();
		removals.push(other.stop);
		const to = `${other.host}/team/app:v2`;
		const pushed = await mayfly('push', name, to);
		assert.equal(pushed.code, 0, pushed.err);
		assert.equal(pushed.out, `${to} ${small.digest}\n`);
		const found = JSON.parse((await skopeo('inspect', '--tls-verify=false', `docker://${to}`)).stdout);
		assert.equal(found.Digest, small.digest);
		const dir = await mkdtemp(join(tmpdir(), 'mayfly-back-'));
		removals.push(() => rm(dir, { recursive: true, force: true }));
		await skopeo('copy', '--insecure-policy', '--src-tls-verify=false', `docker://${to}`, `oci:${dir}:x`);
		assert.deepEqual((await readdir(join(dir, 'blobs/sha256'))).sort(), (await readdir(join(small.dir, 'blobs/sha256'))).sort());

		// Again, by what it is called there, and by digest: nothing is in the way of what is there.
		assert.equal((await mayfly('image', 'tag', name, to)).code, 0);
		assert.equal((await mayfly('push', to)).code, 0);
		const byDigest = await mayfly('push', '--json', small.digest, `${other.host}/by-digest`);
		assert.deepEqual(JSON.parse(byDigest.out || '{}'), { name: small.digest, to: `${other.host}/by-digest`, digest: small.digest }, byDigest.err);
		assert.equal(JSON.parse((await skopeo('inspect', '--tls-verify=false', `docker://${other.host}/by-digest`)).stdout).Digest, small.digest);
	});

	test('of many large layers arrives whole', async () => {
		const image = await makeImage(Array.from({ length: 7 }, (_, i) => ({ [`f${i}`]: randomBytes(1_500_000) })));
		removals.push(image.remove);
		const here = await registry.push(image, 'large:1');
		assert.equal((await pull(here)).digest, image.digest);
		const r = await taker();
		assert.equal((await push(here, r.name)).digest, image.digest);
		assert.equal(r.blobs.size, 8);
		assert.equal(sha256(r.manifests.get('1')), image.digest);
		// What is there is not sent twice.
		r.seen.length = 0;
		assert.equal((await push(here, r.name)).digest, image.digest);
		assert.deepEqual(r.seen.filter((q) => q.method === 'POST'), []);
	});

	test('is begun anew when the connection breaks', async () => {
		let cuts = 0;
		const r = await taker((q, s) => {
			if (q.method !== 'PUT' || !q.url.includes('digest=') || cuts++) return false;
			q.once('data', () => s.destroy());
			return true;
		});
		assert.equal((await push(name, r.name)).digest, small.digest);
		assert.ok(cuts > 1);
	});

	test('of an index of which only this machine\'s image is here pushes that', async () => {
		const image = await imageOf(await tarOf('add("one-of-two", b"yes")'));
		const mine = image.digest, arch = process.arch === 'arm64' ? 'arm64' : 'amd64';
		const { length } = await readFile(join(image.dir, 'blobs/sha256', mine.slice(7)));
		const child = (architecture, digest) => ({ mediaType: 'application/vnd.oci.image.manifest.v1+json', digest, size: length, platform: { os: 'linux', architecture } });
		const index = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json',
			manifests: [child('s390x', sha256('other')), child(arch, mine)] }));
		image.digest = sha256(index);
		await writeFile(join(image.dir, 'blobs/sha256', image.digest.slice(7)), index);
		const from = await liar(image), r = await taker();
		assert.equal((await pull(from.name)).digest, mine);
		assert.equal((await push(from.name, r.name)).digest, mine);
		assert.equal(sha256(r.manifests.get('1')), mine);
	});

	test('of an index that is here whole pushes all of it', async () => {
		const image = await imageOf(await tarOf('add("whole", b"yes")'));
		const manifest = await readFile(join(image.dir, 'blobs/sha256', image.digest.slice(7)));
		const put = async (data) => (await writeFile(join(image.dir, 'blobs/sha256', sha256(data).slice(7)), data), sha256(data));
		const second = Buffer.from(`${manifest} `); // the same in other words
		const mediaType = 'application/vnd.oci.image.manifest.v1+json', indexType = 'application/vnd.oci.image.index.v1+json';
		const entry = (data, architecture) => ({ mediaType, digest: sha256(data), size: data.length, platform: { os: 'linux', architecture } });
		await put(second);
		const index = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: indexType,
			manifests: [entry(second, 's390x'), entry(manifest, process.arch === 'arm64' ? 'arm64' : 'amd64')] }));
		await writeFile(join(image.dir, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [{ mediaType: indexType, digest: await put(index), size: index.length }] }));
		const own = `${new URL(server.url).host}/whole:1`, to = `${registry.host}/whole:1`;
		await skopeo('copy', '--all', '--insecure-policy', '--dest-tls-verify=false', `oci:${image.dir}`, `docker://${own}`);
		assert.equal((await push(own, to)).digest, sha256(index));
		const raw = (await skopeo('inspect', '--raw', '--tls-verify=false', `docker://${to}`)).stdout;
		assert.equal(sha256(raw), sha256(index));
		for (const { digest } of JSON.parse(raw).manifests)
			assert.equal(sha256((await skopeo('inspect', '--raw', '--tls-verify=false', `docker://${registry.host}/whole@${digest}`)).stdout), digest);
	});

	test('of what an archive of docker had works as well', async () => {
		const dir = await mkdtemp(join(tmpdir(), 'mayfly-archive-'));
		removals.push(() => rm(dir, { recursive: true, force: true }));
		await skopeo('copy', '--insecure-policy', `oci:${small.dir}`, `docker-archive:${dir}/a.tar:example/loaded:v1`);
		assert.equal((await mayfly('image', 'load', join(dir, 'a.tar'))).code, 0);
		const { digest } = await push('example/loaded:v1', `${registry.host}/loaded:1`);
		assert.equal(JSON.parse((await skopeo('inspect', '--tls-verify=false', `docker://${registry.host}/loaded:1`)).stdout).Digest, digest);
	});

	test('of what is not here, or to where it is, is refused with a hint', async () => {
		const absent = await mayfly('push', `${registry.host}/never-seen:1`);
		assert.equal(absent.code, 4);
		assert.match(absent.err, /there is no image .*never-seen:1 here/);
		assert.equal((await mayfly('push', sha256('nothing'), `${registry.host}/y`)).code, 4);
		assert.match((await mayfly('push', small.digest)).err, /give a destination/);
		const own = `${new URL(server.url).host}/own:1`;
		assert.equal((await mayfly('image', 'tag', name, own)).code, 0);
		for (const args of [[own], [name, own]]) {
			const refused = await mayfly('push', ...args);
			assert.equal(refused.code, 1);
			assert.match(refused.err, /mayfly image tag/);
		}
		assert.match((await mayfly('push', name, 'Not A Name')).err, /is not a name of an image/);
		assert.match((await push(name, `${registry.host}/x@${sha256('else')}`)).message, /not the one/);
	});

	test('to nobody says so', async () => {
		const failed = await mayfly('push', name, '127.0.0.1:9/x');
		assert.equal(failed.code, 1);
		assert.match(failed.err, /nobody answers at 127\.0\.0\.1:9/);
	});

	for (const [status, words] of [[401, /wants to know who pushes.*docker-config\.json/], [403, /does not allow people without credentials to push to x/],
		[413, /refuses sha256:[0-9a-f]{64} \(\d+ bytes\) as too large/], [500, /answered 500/]])
		test(`to a registry that answers ${status} says why`, async () => {
			const r = await taker((q, s) => {
				if (status === 413 ? q.method !== 'PUT' : q.method !== 'POST') return false;
				s.writeHead(status, { 'content-type': 'application/json' }).end('{"errors":[{"code":"DENIED","message":"come back\\u0007 tomorrow"}]}');
				return true;
			});
			const failed = await push(name, r.name);
			assert.equal(failed.error, 'CannotPushImageError');
			assert.match(failed.message, words);
			assert.match(failed.message, /it says: come back {2}tomorrow$/);
			assert.equal(r.manifests.size, 0);
		});

	test('of a layer that is too large, to who hangs up at once, says why', async () => {
		const image = await makeImage([{ f: randomBytes(6_000_000) }]);
		removals.push(image.remove);
		const here = await registry.push(image, 'too-large:1');
		await pull(here);
		const r = await taker((q, s) => {
			if (q.method !== 'PUT' || q.headers['content-length'] < 1_000_000) return false;
			s.writeHead(413, { connection: 'close' }).end('<html>Too large</html>');
			return true;
		});
		assert.match((await push(here, r.name)).message, /as too large/);
	});

	test('ends when nobody waits for it any more', async () => {
		let hung, gone;
		const waiting = new Promise((resolve) => (hung = resolve)), closed = new Promise((resolve) => (gone = resolve));
		const r = await taker((q) => {
			if (q.method !== 'POST') return false;
			q.socket.once('close', gone);
			hung();
			return true;
		});
		const client = new AbortController();
		const asked = fetch(`${server.url}/_mayfly/images/push?name=${encodeURIComponent(name)}&to=${encodeURIComponent(r.name)}`,
			{ method: 'POST', signal: client.signal }).then((a) => a.text()).catch(() => {});
		await waiting;
		client.abort();
		await Promise.all([asked, closed]);
		assert.equal((await push(name, (await taker()).name)).digest, small.digest);
	});

	test('shows credentials to the registry alone, and asks for the right to push', async () => {
		const basic = `Basic ${Buffer.from('ann:s3cret').toString('base64')}`;
		const store = await taker();
		const scopes = new Set();
		const r = await taker((q, s) => {
			if (q.url.startsWith('/token')) {
				scopes.add(new URL(q.url, 'http://x').searchParams.get('scope'));
				s.writeHead(q.headers.authorization === basic ? 200 : 401).end(JSON.stringify({ token: 'tok' }));
			} else if (q.headers.authorization !== 'Bearer tok') {
				s.writeHead(401, { 'www-authenticate': `Bearer realm="http://${q.headers.host}/token",service="here"` }).end();
			} else if (q.method === 'POST') {
				s.writeHead(202, { location: `http://${store.host}/v2/x/blobs/uploads/7` }).end();
			} else {
				return false;
			}
			return true;
		});
		assert.match((await push(name, r.name)).message, /wants to know who pushes/);
		assert.match((await push(name, r.name, { username: 'ann', password: 'wrong' })).message, /does not take the credentials of ann/);
		assert.equal((await push(name, r.name, { username: 'ann', password: 's3cret' })).digest, small.digest);
		assert.deepEqual([...scopes], ['repository:x:pull,push']);
		assert.ok(store.blobs.size > 0 && store.seen.every((q) => q.authorization === undefined));
		const file = join(server.data, 'docker-config.json');
		await writeFile(file, JSON.stringify({ auths: { [r.host]: { auth: basic.slice(6) } } }), { mode: 0o644 });
		assert.equal((await push(name, r.name)).digest, small.digest);
		await rm(file);
	});
});

describe('a registry that stalls', () => {
	let other;
	before(async () => (other = await startServer(['--dev', '--registry-timeout', '2'])));
	after(() => other?.stop());

	test('ends a pull', async () => {
		const image = await imageOf(await tarOf(`add("f", b"${Math.random()}" * 1000)`));
		const r = await liar(image, { blob: (q, s, digest, body) => (digest === image.layer ? (s.writeHead(200, { 'content-length': body.length }), s.write(body.subarray(0, 10)), true) : false) });
		const answer = await fetch(`${other.url}/_mayfly/images/pull?name=${encodeURIComponent(r.name)}`, { method: 'POST' });
		assert.match(JSON.parse((await answer.text()).trim().split('\n').at(-1)).message, /sent next to nothing for 2 s/);
	});

	test('by a byte now and then ends a pull, too', async () => {
		const image = await imageOf(await tarOf(`add("f", b"${Math.random()}" * 1000)`));
		let timer, sent = 0;
		const r = await liar(image, { blob: (q, s, digest, body) => {
			if (digest !== image.layer) return false;
			s.writeHead(200, { 'content-length': body.length });
			timer = setInterval(() => s.write(body.subarray(sent, ++sent)), 100);
			s.on('close', () => clearInterval(timer));
			return true;
		} });
		const answer = await fetch(`${other.url}/_mayfly/images/pull?name=${encodeURIComponent(r.name)}`, { method: 'POST' });
		assert.match(JSON.parse((await answer.text()).trim().split('\n').at(-1)).message, /sent next to nothing for 2 s/);
		assert.ok(sent > 5, `${sent}`);
	});

	test('ends a push', async () => {
		const image = await imageOf(await tarOf('add("f", b"x")'));
		const from = await liar(image);
		await fetch(`${other.url}/_mayfly/images/pull?name=${encodeURIComponent(from.name)}`, { method: 'POST' }).then((a) => a.text());
		const r = await taker((q) => q.method === 'POST');
		assert.match((await push(from.name, r.name, null, other)).message, /does not go on: nothing was sent or taken for 2 s/);
	});

	test('ends a push in the middle of a layer', async () => {
		const image = await makeImage([{ f: randomBytes(24_000_000) }]);
		removals.push(image.remove);
		const from = await registry.push(image, 'stalls:1');
		await fetch(`${other.url}/_mayfly/images/pull?name=${encodeURIComponent(from)}`, { method: 'POST' }).then((a) => a.text());
		const r = await taker((q) => q.method === 'PUT' && q.headers['content-length'] > 1_000_000); // never reads it
		assert.match((await push(from, r.name, null, other)).message, /does not go on/);
	});
});

describe('a registry that asks for patience', () => {
	let image;
	before(async () => (image = await imageOf(await tarOf(`add("f", b"${Math.random()}")`))));
	// answers: what is said before the request is served, for paths that match
	const full = (path, ...answers) => {
		const at = [];
		return { at, before: (q, s) => {
			if (!path.test(q.url)) return false;
			at.push(performance.now());
			const next = answers.shift(), answer = typeof next === 'function' ? next() : next;
			if (answer) s.writeHead(...answer).end('{}');
			return Boolean(answer);
		} };
	};
	const story = async (name) => (await (await fetch(`${server.url}/_mayfly/images/pull?name=${encodeURIComponent(name)}`, { method: 'POST' })).text())
		.trim().split('\n').map((line) => JSON.parse(line));

	test('is waited for, and says so while it goes', async () => {
		for (const [path, first, second] of [[/manifests/, [429, { 'retry-after': '3' }], [503, { 'retry-after': '1' }]],
			[/blobs/, [429, {}], () => [503, { 'retry-after': new Date(Date.now() + 3000).toUTCString() }]]]) {
			const f = full(path, first, second);
			const r = await liar(image, f);
			const lines = await story(r.name);
			assert.equal(lines.at(-1).digest, image.digest, JSON.stringify(lines.at(-1)));
			assert.ok(f.at[1] - f.at[0] > 900 && f.at[2] - f.at[1] > 900, `${f.at}`);
			assert.ok(lines.some((l) => l.waiting_s > 0 && l.waiting_s <= 3), JSON.stringify(lines));
			assert.equal(lines.find((l) => 'waiting_s' in l && l.waiting_s > 3), undefined);
			image = await imageOf(await tarOf(`add("f", b"${Math.random()}")`));
		}
	});

	test('is given up when it asks for more than a minute', async () => {
		for (const [status, words] of [[429, /^toomanyrequests: 127.0.0.1:\d+ answers no more requests for now and asks for 3600 s of patience .* log in/],
			[503, /127.0.0.1:\d+ is not available and asks for 3600 s of patience/]]) {
			const f = full(/manifests/, [status, { 'retry-after': '3600' }]);
			const r = await liar(image, f);
			assert.match((await story(r.name)).at(-1).message, words);
			assert.equal(f.at.length, 1);
		}
	});

	test('does not keep a client that leaves', async () => {
		const f = full(/manifests/, [429, { 'retry-after': '50' }]);
		const r = await liar(image, f);
		const leaving = new AbortController();
		const answer = await fetch(`${server.url}/_mayfly/images/pull?name=${encodeURIComponent(r.name)}`, { method: 'POST', signal: leaving.signal });
		await answer.body.getReader().read();
		leaving.abort();
		// The same name again is a pull of its own.
		assert.equal((await story(r.name)).at(-1).digest, image.digest);
	});

	test('is one of several: another is asked at once', async () => {
		const f = full(/./, ...Array.from({ length: 20 }, () => [503, { 'retry-after': '50' }]));
		const mirror = await liar(image, f), r = await liar(image);
		const other = await startServer(['--dev', '--mirror', `${r.name.split('/')[0]}=http://127.0.0.1:${mirror.port}`]);
		try {
			const answer = await fetch(`${other.url}/_mayfly/images/pull?name=${encodeURIComponent(r.name)}`, { method: 'POST' });
			assert.equal(JSON.parse((await answer.text()).trim().split('\n').at(-1)).digest, image.digest);
			assert.equal(f.at.length, 1);
		} finally {
			await other.stop();
		}
	});

	test('is waited for when it hands out tokens, and when it takes a push', async () => {
		let tokens = 0;
		const r = await liar(image, { before: (q, s) => {
			if (q.url.startsWith('/token')) {
				if (++tokens === 1) s.writeHead(429, { 'retry-after': '1' }).end();
				else s.writeHead(200).end('{"token":"t"}');
				return true;
			}
			if (q.headers.authorization === 'Bearer t') return false;
			s.writeHead(401, { 'www-authenticate': `Bearer realm="http://${q.headers.host}/token",service="s"` }).end();
			return true;
		} });
		assert.equal((await story(r.name)).at(-1).digest, image.digest);
		assert.equal(tokens, 2);
		let refused = 0;
		const to = await taker((q, s) => q.method === 'POST' && refused++ === 0 && (s.writeHead(429, { 'retry-after': '1' }).end(), true));
		assert.equal((await push(r.name, to.name)).digest, image.digest);
		assert.ok(refused > 1);
	});
});

describe('credentials', () => {
	let image;
	beforeEach(async () => {
		image = await imageOf(await tarOf(`add("secret", b"${Math.random()}")`));
	});
	const basic = `Basic ${Buffer.from('ann:s3cret').toString('base64')}`;

	test('get a token, which is what the registry sees', async () => {
		const r = await liar(image, {
			before: (q, s) => {
				if (q.url.startsWith('/token')) {
					const url = new URL(q.url, 'http://x');
					assert.equal(url.searchParams.get('scope'), 'repository:x:pull');
					if (q.headers.authorization !== basic) return s.writeHead(401).end(), true;
					return s.writeHead(200).end(JSON.stringify({ token: 'tok' })), true;
				}
				if (q.headers.authorization === 'Bearer tok') return false;
				s.writeHead(401, { 'www-authenticate': `Bearer realm="http://${q.headers.host}/token",service="here"` }).end();
				return true;
			},
		});
		const denied = await pull(r.name);
		assert.equal(denied.error, 'CannotPullContainerAuthError');
		assert.equal((await pull(r.name, 'always', { username: 'ann', password: 's3cret' })).digest, image.digest);
	});

	test('stay with the host that they are for', async () => {
		const other = await liar(image);
		const r = await liar(image, {
			before: (q, s) => {
				if (q.headers.authorization !== basic)
					return s.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end(), true;
				if (!q.url.includes('/blobs/')) return false;
				return s.writeHead(307, { location: `http://127.0.0.1:${other.port}${q.url}` }).end(), true;
			},
		});
		assert.equal((await pull(r.name, 'always', { username: 'ann', password: 's3cret' })).digest, image.digest);
		assert.ok(other.seen.length > 0);
		assert.ok(other.seen.every((q) => q.authorization === undefined));
	});

	test('are read from docker-config.json in the data directory', async () => {
		const r = await liar(image, {
			before: (q, s) => (q.headers.authorization === basic ? false : (s.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end(), true)),
		});
		const file = join(server.data, 'docker-config.json');
		await writeFile(file, JSON.stringify({ auths: { [r.name.split('/')[0]]: { auth: basic.slice(6) } } }), { mode: 0o644 });
		assert.equal((await pull(r.name)).digest, image.digest);
		await rm(file);
	});
});

describe('an index', () => {
	test('gives the image for this machine', async () => {
		const image = await imageOf(await tarOf('add("mine", b"yes")'));
		const manifest = await readFile(join(image.dir, 'blobs/sha256', image.digest.slice(7)));
		const child = (architecture, digest) => ({ mediaType: 'application/vnd.oci.image.manifest.v1+json', digest, size: manifest.length, platform: { os: 'linux', architecture } });
		const index = (children) => Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests: children }));
		const put = async (data) => {
			await writeFile(join(image.dir, 'blobs/sha256', sha256(data).slice(7)), data);
			return sha256(data);
		};
		const mine = image.digest, arch = process.arch === 'arm64' ? 'arm64' : 'amd64';
		image.digest = await put(index([child('s390x', sha256('other')), child(arch, mine)]));
		assert.equal((await pull((await liar(image)).name)).digest, mine);
		image.digest = await put(index([child('s390x', sha256('other'))]));
		assert.match((await pull((await liar(image)).name)).message, /no matching manifest/);
	});
});

describe('a hostile layer', () => {
	for (const [what, script, words] of [
		['with ..', 'add("a/../../b", b"x")', /'\.\.'/],
		['with a hard link out', 'add("h", type=tarfile.LNKTYPE, linkname="/etc/shadow")', /hard link/],
		['of a user that nobody has', 'add("f", b"x", uid=70000)', /65535/],
		['that is too deep', 'add("d/" * 200 + "f", b"x")', /too deep/],
	])
		test(`${what} is refused`, async () => {
			const answer = await pull((await liar(await imageOf(await tarOf(script)))).name);
			assert.equal(answer.error, 'CannotPullContainerError', JSON.stringify(answer));
			assert.match(answer.message, words);
		});

	test('with links out and devices stays inside', async () => {
		const image = await imageOf(await tarOf('add("up", type=tarfile.SYMTYPE, linkname="../../../..")', 'add("up/tmp/mayfly-escaped", b"x")',
			'add("sda", type=tarfile.BLKTYPE)', 'add("f", b"x")', 'add("tun", type=tarfile.CHRTYPE, devmajor=10, devminor=200)'));
		assert.equal((await pull((await liar(image)).name)).digest, image.digest);
		assert.equal(await lstat('/tmp/mayfly-escaped').catch(() => null), null);
		const { stdout } = await run('find', [join(server.data, 'layers'), '-type', 'b', '-o', '-name', 'tun']);
		assert.equal(stdout, '');
	});
});

describe('an archive', () => {
	const archive = async (kind, name) => {
		const dir = await mkdtemp(join(tmpdir(), 'mayfly-archive-'));
		removals.push(() => rm(dir, { recursive: true, force: true }));
		const file = join(dir, 'a.tar');
		await run('skopeo', ['copy', '--insecure-policy', `oci:${small.dir}`, `${kind}:${file}:${name}`], { env: { PATH: process.env.PATH, HOME: dir } });
		return file;
	};

	for (const kind of ['docker-archive', 'oci-archive'])
		test(`of kind ${kind} is loaded under its name`, async () => {
			const name = `example/${kind}:v1`;
			const loaded = await mayfly('image', 'load', await archive(kind, name));
			assert.equal(loaded.code, 0, loaded.err);
			assert.ok(loaded.out.startsWith(name));
			const answer = await pull(name, 'never');
			assert.ok(answer.digest, JSON.stringify(answer));
			if (kind === 'oci-archive') assert.equal(answer.digest, small.digest);
		});

	test('is loaded compressed, too', async () => {
		const file = await archive('docker-archive', 'example/zipped:v1');
		await run('gzip', [file]);
		assert.equal((await mayfly('image', 'load', `${file}.gz`)).code, 0);
	});

	test('that is none is refused in words', async () => {
		const dir = await mkdtemp(join(tmpdir(), 'mayfly-archive-'));
		removals.push(() => rm(dir, { recursive: true, force: true }));
		const bad = join(dir, 'bad.tar');
		await writeFile(bad, await tarOf('add("hello", b"x")'));
		const refused = await mayfly('image', 'load', bad);
		assert.equal(refused.code, 1);
		assert.match(refused.err, /no archive of images/);
		await writeFile(bad, random(100_000));
		assert.match((await mayfly('image', 'load', bad)).err, /archive/);
		await writeFile(bad, (await readFile(await archive('docker-archive', 'example/half:v1'))).subarray(0, 3000));
		assert.match((await mayfly('image', 'load', bad)).err, /archive/);
		assert.equal((await fetch(`${server.url}/_mayfly/images/load/00000000000000000000000000000000`, { method: 'PUT', body: 'x' })).status, 403);
	});

	test('with a layer that is broken leaves all names as they were', async () => {
		const good = await archive('oci-archive', 'example/kept:v1');
		assert.equal((await mayfly('image', 'load', good)).code, 0);
		const before = await list();
		const broken = await imageOf(await tarOf(`add("f", b"${Math.random()}")`), () => gzipSync(random(5000)));
		const fine = await imageOf(await tarOf(`add("f", b"${Math.random()}")`));
		const entry = async (image, name) => ({ mediaType: 'application/vnd.oci.image.manifest.v1+json', digest: image.digest,
			size: (await lstat(join(image.dir, 'blobs/sha256', image.digest.slice(7)))).size, annotations: { 'io.containerd.image.name': name } });
		await run('cp', ['-a', `${fine.dir}/blobs/.`, join(broken.dir, 'blobs')]);
		const pack = async (...manifests) => {
			await writeFile(join(broken.dir, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
			const file = join(broken.dir, 'a.tar');
			await run('tar', ['-C', broken.dir, '-cf', file, 'blobs', 'index.json', 'oci-layout']);
			return file;
		};
		const refused = await mayfly('image', 'load', await pack(await entry(fine, 'example/new:v1'), await entry(broken, 'example/kept:v1')));
		assert.equal(refused.code, 1);
		assert.match(refused.err, /failed to register layer.*(not what the image says|not a tar)/);
		assert.deepEqual(await list(), before);
		assert.equal((await mayfly('image', 'load', await pack(await entry(fine, 'example/new:v1'), await entry(fine, 'example/kept:v1')))).code, 0);
		assert.deepEqual((await list()).filter((i) => /example\/(new|kept):/.test(i.name)).map((i) => i.digest), [fine.digest, fine.digest]);
	});
});

describe('the command line', () => {
	test('pulls, lists, names and removes', async () => {
		const name = await registry.push(small, 'cli:1');
		const pulled = await mayfly('pull', name);
		assert.equal(pulled.out, `${name} ${small.digest}\n`);
		const listed = JSON.parse((await mayfly('images', '--json')).out).find((i) => i.name === name);
		assert.equal(listed.digest, small.digest);
		assert.equal((await mayfly('image', 'tag', name, 'example/again:2')).code, 0);
		assert.match((await mayfly('images')).out, /example\/again:2/);
		// What is this server's own is shown by the name that clients push to.
		const own = `${new URL(server.url).host}/cli:3`;
		assert.equal((await mayfly('image', 'tag', name, own)).code, 0);
		assert.match((await mayfly('images')).out, new RegExp(`^${own} `, 'm'));
		assert.equal((await mayfly('rmi', own)).code, 0);
		assert.equal((await mayfly('rmi', name, 'example/again:2')).code, 0);
		assert.equal((await mayfly('rmi', name)).code, 4);
	});
});

describe('what nobody needs', () => {
	test('is removed: layers with the last image', async () => {
		const before = new Set(await layers());
		const image = await imageOf(await tarOf('add("only-here", b"x")'));
		const { name } = await liar(image);
		await pull(name);
		const mine = (await layers()).filter((l) => !before.has(l));
		assert.equal(mine.length, 1);
		assert.equal((await remove(name)).status, 200);
		await until(async () => !(await layers()).includes(mine[0]), 'the layer has gone');
	});

	test('is kept over a restart when it has a name', async () => {
		const name = await registry.push(small, 'kept:1');
		await pull(name);
		await server.restart();
		assert.equal((await pull(name, 'never')).digest, small.digest);
	});
});

describe('a layer', () => {
	test('that a crash of the machine may have cut short comes again', async () => {
		const image = await imageOf(await tarOf(`add("f", b"${Math.random()}")`));
		const { name } = await liar(image);
		const before = new Set(await layers());
		await pull(name);
		const [layer] = (await layers()).filter((l) => !before.has(l));
		await until(async () => !(await readdir(join(server.data, 'layers'))).some((n) => n.startsWith('unsynced-')), 'the disk is synced');
		await server.halt();
		// As another boot would have left it: a mark, a directory without contents, a blob of zeros.
		const mark = join(server.data, 'layers', `unsynced-${'f'.repeat(8)}-${layer}`);
		await writeFile(mark, '');
		await rm(join(server.data, 'layers', layer, 'f'));
		const blob = join(server.data, 'images', image.layer.slice(7));
		await writeFile(blob, Buffer.alloc((await lstat(blob)).size));
		await server.start();
		assert.ok(!(await layers()).includes(layer));
		assert.equal(await lstat(mark).catch(() => null), null);
		assert.equal((await pull(name, 'missing')).digest, image.digest);
		assert.ok(await lstat(join(server.data, 'layers', layer, 'f')));
		assert.equal(sha256(await readFile(blob)), image.layer);
	});
});
