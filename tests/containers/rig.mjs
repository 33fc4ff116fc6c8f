// What tests of containers share: an image made of busybox, a registry that serves it from this
// process, clients of a running server, and a look at what the kernel still holds.
// Run in a network namespace of its own: unshare --net sh -c 'ip link set lo up; exec node --test …'
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, chownSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync,
	symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

import { startServer } from '../api/server.mjs';

// The SDK is installed beside the API tests.
const require = createRequire(new URL('../api/server.mjs', import.meta.url));
export const ecs = require('@aws-sdk/client-ecs');
export const logs = require('@aws-sdk/client-cloudwatch-logs');
export const ssm = require('@aws-sdk/client-ssm');
export const secrets = require('@aws-sdk/client-secrets-manager');
export const s3 = require('@aws-sdk/client-s3');
export const iam = require('@aws-sdk/client-iam');

const digestOf = (data) => `sha256:${createHash('sha256').update(data).digest('hex')}`;

/* ---- images ---- */

const APPLETS = ['sh', 'cat', 'echo', 'env', 'false', 'head', 'id', 'ip', 'kill', 'ls', 'mount',
	'nc', 'ps', 'seq', 'sleep', 'tail', 'test', 'touch', 'true', 'wget', 'hostname', 'dd',
	'pwd', 'wc', 'grep', 'sort', 'httpd', 'stat', 'mknod', 'ping', 'printf', 'nslookup', 'df', 'tr', 'tty', 'chmod'];

// One layer: busybox, files as { 'path': 'text' }, links as { 'path': 'to' }, and the modes and
// owners of some as { 'path': ['755', '0:0'] }. config: members of the image's own config.
export function makeImage({ files = {}, links = {}, modes = {}, config = {} } = {}) {
	const dir = mkdtempSync(join(tmpdir(), 'mayfly-image-'));
	const tree = join(dir, 'tree');
	for (const d of ['bin', 'etc', 'tmp', 'proc', 'dev', 'sys', 'root', 'var'])
		mkdirSync(join(tree, d), { recursive: true });
	copyFileSync('/bin/busybox', join(tree, 'bin/busybox'));
	for (const name of APPLETS) symlinkSync('busybox', join(tree, 'bin', name));
	writeFileSync(join(tree, 'etc/passwd'),
		'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:app:/:/bin/sh\n');
	writeFileSync(join(tree, 'etc/group'), 'root:x:0:\napp:x:1001:\nextra:x:1002:app\n');
	for (const [path, text] of Object.entries(files)) {
		mkdirSync(join(tree, path, '..'), { recursive: true });
		writeFileSync(join(tree, path), text, { mode: 0o755 });
	}
	for (const [path, to] of Object.entries(links)) symlinkSync(to, join(tree, path));
	for (const [path, [mode, owner]] of Object.entries(modes)) {
		chownSync(join(tree, path), ...owner.split(':').map(Number));
		chmodSync(join(tree, path), Number.parseInt(mode, 8));
	}
	const tar = execFileSync('tar', ['-C', tree, '--numeric-owner', '-cf', '-', '.'],
		{ maxBuffer: 64 << 20 });
	rmSync(dir, { recursive: true, force: true });
	const layer = gzipSync(tar);
	const json = Buffer.from(JSON.stringify({ architecture: 'amd64', os: 'linux',
		config: { Cmd: ['/bin/sh'], Env: ['PATH=/bin'], ...config },
		rootfs: { type: 'layers', diff_ids: [digestOf(tar)] } }));
	const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2,
		mediaType: 'application/vnd.oci.image.manifest.v1+json',
		config: { mediaType: 'application/vnd.oci.image.config.v1+json', size: json.length,
			digest: digestOf(json) },
		layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', size: layer.length,
			digest: digestOf(layer) }] }));
	return { manifest, digest: digestOf(manifest),
		blobs: new Map([[digestOf(json), json], [digestOf(layer), layer]]) };
}

// images: { name: image }. Serves /v2/ for reading; with `auth` only to who knows it ("user:password").
export async function startRegistry(images, auth) {
	const server = createServer((request, response) => {
		if (auth && request.headers.authorization !== `Basic ${Buffer.from(auth).toString('base64')}`)
			return response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="private"' }).end('{}');
		const m = request.url.match(/^\/v2\/([^/]+)\/(manifests|blobs)\/([^/]+)$/);
		const image = m && images[m[1]];
		const data = m && image && (m[2] === 'blobs' ? image.blobs.get(m[3]) : image.manifest);
		if (request.url === '/v2/') return response.writeHead(200).end('{}');
		if (!data) return response.writeHead(404).end('{}');
		response.writeHead(200, { 'Content-Length': data.length,
			'Content-Type': m[2] === 'blobs' ? 'application/octet-stream'
				: 'application/vnd.oci.image.manifest.v1+json',
			...(m[2] === 'manifests' && { 'Docker-Content-Digest': image.digest }) });
		return response.end(request.method === 'HEAD' ? undefined : data);
	});
	await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
	const host = `127.0.0.1:${server.address().port}`;
	return { host, name: (image) => `${host}/${image}:latest`,
		close: () => new Promise((resolve) => server.close(resolve)) };
}

/* ---- a server ---- */

export class Rig {
	static async start({ images = { busybox: makeImage() }, args = [] } = {}) {
		const rig = new Rig();
		rig.registry = await startRegistry(images);
		rig.server = await startServer(args);
		rig.connect();
		rig.before = rig.kernel();
		return rig;
	}

	connect() {
		this.ecs = new ecs.ECSClient(this.server.client());
		this.logs = new logs.CloudWatchLogsClient(this.server.client());
	}

	// Containers would live on without the server: they go first, whatever the test left.
	async stop() {
		try {
			const { taskArns } = await this.ecs.send(new ecs.ListTasksCommand({}));
			await Promise.all(taskArns.map((arn) => this.halt(arn)));
			await this.clean();
		} finally {
			const { table } = this;
			await this.server.stop();
			await this.registry.close();
			if (rules(table)) throw new Error(`the table ${table} is left`);
		}
	}

	// Its server's, in the packet filter; others may have left theirs.
	get table() {
		const { dev, ino } = statSync(this.server.data);
		return `mayfly-${dev.toString(16)}-${ino.toString(16)}`;
	}

	rules() {
		return rules(this.table);
	}

	image(name = 'busybox') {
		return this.registry.name(name);
	}

	// Registers and runs; containers: definitions without image, with `sh` for a shell command.
	async run(containers, definition = {}, request = {}) {
		const family = definition.family ?? `t${Math.random().toString(36).slice(2, 10)}`;
		const { taskDefinition } = await this.ecs.send(new ecs.RegisterTaskDefinitionCommand({
			family, executionRoleArn: 'arn:aws:iam::123456789012:role/execution', ...definition,
			containerDefinitions: containers.map(({ sh, ...c }, i) => ({ name: `c${i}`,
				image: this.image(), memoryReservation: 16, stopTimeout: 2,
				...(sh !== undefined && { command: ['sh', '-c', sh] }), ...c })) }));
		const { tasks, failures } = await this.ecs.send(new ecs.RunTaskCommand({
			taskDefinition: taskDefinition.taskDefinitionArn,
			...(definition.networkMode === 'awsvpc' && { networkConfiguration: {
				awsvpcConfiguration: { subnets: ['subnet-0a1b2c3d'] } } }), ...request }));
		if (failures?.length) throw new Error(JSON.stringify(failures));
		return tasks[0].taskArn;
	}

	async get(arn) {
		const { tasks } = await this.ecs.send(new ecs.DescribeTasksCommand({ tasks: [arn] }));
		return tasks[0];
	}

	async until(what, test, ms = 30_000) {
		const end = Date.now() + ms;
		let last;
		for (;;) {
			last = await test();
			if (last) return last;
			if (Date.now() > end)
				throw new Error(`${what} did not come\n${this.server.log.slice(-4000)}`);
			await new Promise((resolve) => setTimeout(resolve, 50));
		}
	}

	async status(arn, wanted, ms) {
		let task;
		await this.until(`${wanted}`, async () => {
			try {
				task = await this.get(arn);
			} catch (error) {
				if (!['ECONNREFUSED', 'ECONNRESET', 'EPIPE'].includes(error.code)) throw error;
				return false;
			}
			if (wanted !== 'STOPPED' && task.lastStatus === 'STOPPED')
				throw new Error(`stopped: ${JSON.stringify(task)}`);
			return task.lastStatus === wanted;
		}, ms);
		return task;
	}

	async finished(...args) {
		return this.status(await this.run(...args), 'STOPPED');
	}

	halt(arn, reason) {
		return this.ecs.send(new ecs.StopTaskCommand({ task: arn, reason }));
	}

	// The lines of a container, all of its stream; none before the first one.
	async lines(...args) {
		try {
			return await this.readLines(...args);
		} catch (error) {
			if (error.name !== 'ResourceNotFoundException') throw error;
			return [];
		}
	}

	async readLines(arn, name = 'c0', group = '/mayfly/tasks', stream) {
		const all = [];
		let token;
		for (;;) {
			const page = await this.logs.send(new logs.GetLogEventsCommand({ logGroupName: group,
				logStreamName: stream ?? `${name}/${arn.split('/').at(-1)}`, startFromHead: true,
				nextToken: token }));
			all.push(...page.events.map((e) => e.message));
			if (page.nextForwardToken === token) return all;
			token = page.nextForwardToken;
		}
	}

	// Ends and what it printed.
	async output(sh, container = {}, definition = {}, request = {}, others = []) {
		const task = await this.finished([{ sh, ...container }, ...others], definition, request);
		if (task.stopCode !== 'EssentialContainerExited')
			throw new Error(`${task.stoppedReason}\n${this.server.log.slice(-4000)}`);
		return { task, text: (await this.lines(task.taskArn)).join('\n') };
	}

	/* ---- processes ---- */

	get spawnerPid() {
		return this.server.child.pid;
	}

	corePid() {
		return childrenOf(this.spawnerPid).find((pid) => commOf(pid) === 'mayfly-core');
	}

	async killCore() {
		const pid = this.corePid();
		process.kill(pid, 'SIGKILL');
		await this.until('another core', async () => {
			const next = this.corePid();
			if (!next || next === pid) return false;
			try {
				return (await fetch(`${this.server.url}/_mayfly/health`,
					{ signal: AbortSignal.timeout(2000) })).status === 200;
			} catch {
				return false;
			}
		});
		if (/mayfly: bug:|Sanitizer|runtime error:/.test(this.server.log))
			throw new Error(this.server.log);
		this.server.log = ''; // it tells of the kill, which is no complaint here
	}

	// What this server holds in the kernel.
	kernel() {
		const data = this.server.data;
		const own = (text) => text.split('\n').filter((line) => line.includes(data)).length;
		return { processes: pids().filter((p) => own(cmdline(p))).length,
			sandboxes: list(join(data, 'tasks')).length,
			links: readdirSync('/sys/class/net').filter((n) => /^(mfy|veth|mf)/.test(n)).length };
	}

	// What tasks of the server hold that the container of this id is one of: processes that are
	// not only waited for by their parent, cgroups, addresses, directories.
	held(id) {
		this.groups ??= pids().filter((p) => cmdline(p).includes(` -c ${id} `))
			.map((p) => read(`/proc/${p}/cgroup`).match(/mayfly-[^/]*-tasks/)?.[0])[0];
		const tree = '/sys/fs/cgroup';
		return { processes: pids().filter((p) => read(`/proc/${p}/cgroup`).includes(`/${this.groups}/`) &&
				!/\) [ZX] /.test(read(`/proc/${p}/stat`))).map((p) => `${p} ${commOf(p)}`),
			groups: [tree, ...readdirSync(tree).map((t) => join(tree, t))].flatMap((t) =>
				list(join(t, this.groups)).map((n) => join(t, n))),
			addresses: readdirSync(join(this.server.data, 'net')).filter((n) => /^[0-9.]+$/.test(n)),
			sandboxes: list(join(this.server.data, 'tasks')) };
	}

	// Nothing of tasks is left.
	async clean() {
		await this.until('the end of all that tasks held', () =>
			list(join(this.server.data, 'tasks')).length === 0);
		for (const pid of pids())
			if (/^(conmon|mayfly-pause)$/.test(commOf(pid)) && cmdline(pid).includes(this.server.data))
				throw new Error(`process ${pid} is left: ${cmdline(pid)}`);
	}
}

function rules(table) {
	try {
		return execFileSync('nft', ['list', 'table', 'inet', table], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
	} catch {
		return '';
	}
}

function list(dir) {
	try {
		return readdirSync(dir).filter((n) => /^[0-9a-f]{32}$/.test(n));
	} catch {
		return [];
	}
}

function read(path) {
	try {
		return readFileSync(path, 'latin1');
	} catch {
		return '';
	}
}

const pids = () => readdirSync('/proc').filter((p) => /^\d+$/.test(p));
const cmdline = (pid) => read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ');
const commOf = (pid) => read(`/proc/${pid}/comm`).trim();
const childrenOf = (pid) =>
	read(`/proc/${pid}/task/${pid}/children`).split(' ').filter(Boolean).map(Number);
