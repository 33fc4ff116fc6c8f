// Other people's tools against our registry: docker and buildah log in, push, pull, and what they
// pushed runs.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

import { Rig } from './rig.mjs';

const { ECRClient, GetAuthorizationTokenCommand, DescribeImagesCommand } =
	createRequire(new URL('../api/server.mjs', import.meta.url))('@aws-sdk/client-ecr');
const execute = promisify(execFile);
let rig, ecr, dir, password, host;

before(async () => {
	rig = await Rig.start();
	dir = mkdtempSync(join(tmpdir(), 'mayfly-push-'));
	host = new URL(rig.server.url).host;
	ecr = new ECRClient(rig.server.client());
	const { authorizationData: [{ authorizationToken }] } = await ecr.send(new GetAuthorizationTokenCommand({}));
	password = Buffer.from(authorizationToken, 'base64').toString().replace(/^AWS:/, '');
});
after(async () => {
	await rig?.stop();
	rmSync(dir, { recursive: true, force: true });
});

const digestOf = async (repositoryName) =>
	(await ecr.send(new DescribeImagesCommand({ repositoryName }))).imageDetails.map((d) => d.imageDigest);

// What was pushed says who made it.
async function runs(name, words) {
	const { task, text } = await rig.output(undefined, { image: `${host}/${name}`, command: ['/bin/sh', '-c', 'cat /who; exit 6'] });
	assert.equal(task.containers[0].exitCode, 6);
	assert.equal(text, words);
}

function context(name) {
	const at = join(dir, name);
	mkdirSync(at);
	writeFileSync(join(at, 'who'), `${name}\n`);
	writeFileSync(join(at, 'Dockerfile'), 'FROM scratch\nCOPY busybox /bin/sh\nCOPY busybox /bin/cat\nCOPY who /who\nCMD ["/bin/sh"]\n');
	writeFileSync(join(at, 'busybox'), readFileSync('/bin/busybox'), { mode: 0o755 });
	return at;
}

test('docker', async (t) => {
	const at = (name) => join(dir, `docker-${name}`), log = [];
	// With mounts of its own; its bridge is in the namespace of this test.
	const daemon = spawn('unshare', ['--mount', 'dockerd', '--data-root', at('root'), '--exec-root', at('exec'), '-H', `unix://${at('socket')}`,
		'-p', at('pid'), '--bip', '172.30.99.1/24', '--insecure-registry', '127.0.0.0/8'], { stdio: ['ignore', 'ignore', 'pipe'] });
	const ended = new Promise((resolve) => daemon.once('close', resolve));
	daemon.stderr.on('data', (d) => log.push(d));
	t.after(async () => {
		daemon.kill();
		await ended;
	});
	const env = { PATH: process.env.PATH, HOME: at('home'), DOCKER_HOST: `unix://${at('socket')}`, DOCKER_BUILDKIT: '0' };
	const docker = (...args) => execute('/usr/bin/docker', args, { env });
	await rig.until('dockerd', () => docker('info').then(() => true, () => {
		assert.equal(daemon.exitCode, null, log.join('').slice(-2000));
		return false;
	}), 60_000);
	const login = docker('login', '--username', 'AWS', '--password-stdin', host);
	login.child.stdin.end(password);
	await login;
	await docker('build', '-t', `${host}/by/docker:1`, context('docker'));
	await docker('push', `${host}/by/docker:1`);
	const [digest, ...others] = await digestOf('by/docker');
	assert.deepEqual(others, []);
	await runs('by/docker:1', 'docker');
	// Pushed again, nothing is new; pulled, it is the same.
	assert.match((await docker('push', `${host}/by/docker:1`)).stdout, new RegExp(digest));
	await docker('rmi', `${host}/by/docker:1`);
	assert.match((await docker('pull', `${host}/by/docker:1`)).stdout, new RegExp(digest));
	await docker('pull', `${host}/by/docker@${digest}`);
	await assert.rejects(docker('pull', `${host}/by/nobody:1`));
});

test('buildah', async () => {
	const env = { PATH: process.env.PATH, HOME: join(dir, 'buildah-home') };
	const buildah = (...args) => execute('buildah', ['--root', join(dir, 'buildah'), '--runroot', join(dir, 'buildah-run'), '--storage-driver', 'vfs', ...args], { env });
	const { stdout } = await buildah('from', 'scratch');
	const container = stdout.trim();
	await buildah('copy', container, '/bin/busybox', '/bin/sh');
	await buildah('copy', container, '/bin/busybox', '/bin/cat');
	writeFileSync(join(dir, 'who'), 'buildah\n');
	await buildah('copy', container, join(dir, 'who'), '/who');
	await buildah('config', '--cmd', '/bin/sh', container);
	await buildah('commit', container, 'ours');
	await buildah('push', '--tls-verify=false', '--creds', `AWS:${password}`, 'ours', `docker://${host}/by/buildah:1`);
	assert.equal((await digestOf('by/buildah')).length, 1);
	await runs('by/buildah:1', 'buildah');
	await buildah('pull', '--tls-verify=false', '--creds', `AWS:${password}`, `docker://${host}/by/buildah:1`);
	await assert.rejects(buildah('push', '--tls-verify=false', '--creds', 'AWS:wrong', 'ours', `docker://${host}/by/buildah:2`));
});
