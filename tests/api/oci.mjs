// Container images made by hand, and a foreign registry (Debian's docker-registry) to keep them in.
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';

export const run = promisify(execFile);
const sha256 = (data) => createHash('sha256').update(data).digest('hex');

// files: { 'bin/app': { data, mode }, 'etc/x': 'text' } to an uncompressed tar, owned by root.
async function tar(files) {
	const root = await mkdtemp(join(tmpdir(), 'mayfly-layer-'));
	try {
		for (const [name, what] of Object.entries(files)) {
			const { data = what, mode = 0o644 } = typeof what === 'object' && !Buffer.isBuffer(what) ? what : {};
			await mkdir(dirname(join(root, name)), { recursive: true, mode: 0o755 });
			await writeFile(join(root, name), data, { mode });
		}
		const { stdout } = await run('tar', ['--owner=0', '--group=0', '--mtime=@0', '--sort=name', '-C', root, '-cf', '-', '.'],
			{ encoding: 'buffer', maxBuffer: 1 << 30 });
		return stdout;
	} finally {
		await rm(root, { recursive: true, force: true });
	}
}

// An OCI layout in a new directory, of layers (lowest first) and the config's own part.
export async function makeImage(layers, config = {}) {
	const dir = await mkdtemp(join(tmpdir(), 'mayfly-image-'));
	const put = async (data, mediaType) => {
		const digest = sha256(data);
		await writeFile(join(dir, 'blobs/sha256', digest), data);
		return { mediaType, digest: `sha256:${digest}`, size: data.length };
	};
	await mkdir(join(dir, 'blobs/sha256'), { recursive: true });
	const tars = await Promise.all(layers.map(tar));
	const blobs = [];
	for (const t of tars) blobs.push(await put(gzipSync(t, { level: 1 }), 'application/vnd.oci.image.layer.v1.tar+gzip'));
	const description = {
		architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
		os: 'linux',
		config,
		rootfs: { type: 'layers', diff_ids: tars.map((t) => `sha256:${sha256(t)}`) },
	};
	const configBlob = await put(Buffer.from(JSON.stringify(description)), 'application/vnd.oci.image.config.v1+json');
	const manifest = { schemaVersion: 2, mediaType: 'application/vnd.oci.image.manifest.v1+json', config: configBlob, layers: blobs };
	const entry = await put(Buffer.from(JSON.stringify(manifest)), manifest.mediaType);
	await writeFile(join(dir, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [entry] }));
	await writeFile(join(dir, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
	return { dir, digest: entry.digest, remove: () => rm(dir, { recursive: true, force: true }) };
}

async function freePort() {
	const server = createServer();
	await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
	const { port } = server.address();
	await new Promise((resolve) => server.close(resolve));
	return port;
}

export async function startRegistry() {
	const dir = await mkdtemp(join(tmpdir(), 'mayfly-registry-'));
	const port = await freePort();
	await writeFile(join(dir, 'config.yml'), `version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: ${dir}/data}, delete: {enabled: true}}
http: {addr: "127.0.0.1:${port}"}
`);
	const child = spawn('docker-registry', ['serve', join(dir, 'config.yml')], { stdio: 'ignore' });
	const host = `127.0.0.1:${port}`;
	for (let i = 0; ; i++) {
		const there = await fetch(`http://${host}/v2/`).then((r) => r.ok, () => false);
		if (there) break;
		if (i > 200 || child.exitCode !== null) throw new Error('docker-registry does not start');
		await new Promise((resolve) => setTimeout(resolve, 50));
	}
	return {
		host,
		push: async (image, name) => {
			await run('skopeo', ['copy', '--insecure-policy', '--dest-tls-verify=false', `oci:${image.dir}`, `docker://${host}/${name}`],
				{ env: { PATH: process.env.PATH, HOME: dir } });
			return `${host}/${name}`;
		},
		stop: async () => {
			child.kill();
			await new Promise((resolve) => child.once('close', resolve));
			await rm(dir, { recursive: true, force: true });
		},
	};
}

let compiled;
// examples/hello-c as a static binary.
export function bootstrap() {
	compiled ??= (async () => {
		const dir = await mkdtemp(join(tmpdir(), 'mayfly-c-'));
		await run('cc', ['-D_GNU_SOURCE', '-O1', '-static', '-o', join(dir, 'bootstrap'),
			new URL('../../examples/hello-c/bootstrap.c', import.meta.url).pathname]);
		const data = await readFile(join(dir, 'bootstrap'));
		await rm(dir, { recursive: true, force: true });
		return data;
	})();
	return compiled;
}
