// What goes wrong: endless logs, a killed conmon or runtime, a full disk, ports that are taken. What
// happened is told as ECS tells it, siblings go on, and in the end nothing is left.
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { Rig, ecs, makeImage, startRegistry } from './rig.mjs';

const command = process.env.MAYFLY ?? fileURLToPath(new URL('../../build/mayfly', import.meta.url));
// crun, but for the verbs that a test has named: then it is killed at once.
const runtime = mkdtempSync(join(tmpdir(), 'mayfly-runtime-'));
writeFileSync(join(runtime, 'crun'), `#!/bin/sh
for a; do
	case $a in
	create | start | delete | kill)
		[ ! -e /data/kill-$a ] || kill -9 $$
		break ;;
	esac
done
exec /usr/bin/crun "$@"
`, { mode: 0o755 });

let rig;
before(async () => (rig = await Rig.start({ args: ['--container-runtime', `crun=${join(runtime, 'crun')}`] })));
after(async () => {
	await rig?.stop();
	rmSync(runtime, { recursive: true, force: true });
});

// Whatever a test left.
afterEach(async () => {
	const { taskArns } = await rig.ecs.send(new ecs.ListTasksCommand({}));
	await Promise.all(taskArns.map((arn) => rig.halt(arn)));
	await rig.clean();
});

const disk = (dir) => Number(execFileSync('du', ['-s', '-B1', join(rig.server.data, dir)], { encoding: 'utf8' }).split('\t')[0]);

test('what prints without end is logged at 4 MiB a second; the rest is counted', async () => {
	const MiB = 1 << 20, printed = 400_000_000, before = disk('logs');
	const task = await rig.finished([{ sh: `yes ${'y'.repeat(99)} | head -c ${printed}; echo end` }]);
	assert.equal(task.containers[0].exitCode, 0);
	const seconds = (task.stoppedAt - task.startedAt) / 1000;
	const stored = disk('logs') - before;
	// Twice the burst (what waits may be as much), what came meanwhile, and what a journal allots ahead.
	assert.ok(stored < 64 * MiB + 2 * 4 * MiB * seconds, `${stored} bytes on disk after ${seconds} s`);
	const lines = await rig.lines(task.taskArn);
	const told = lines.map((l) => /^mayfly: (\d+) bytes of output, .* were dropped: no more than 4 MiB a second/.exec(l)).filter(Boolean);
	const dropped = told.reduce((sum, m) => sum + Number(m[1]), 0);
	const kept = lines.reduce((sum, l) => sum + (l.startsWith('y') ? l.length + 1 : 0), 0);
	assert.ok(dropped + kept >= printed, `${dropped} dropped, ${kept} kept`);
	assert.ok(kept <= stored, `${kept} kept, ${stored} on disk`);
	assert.ok(disk('tasks') < 32 * MiB, 'the file that conmon writes gives its disk back');
});

test('a port that is taken is named, whoever has it', async (t) => {
	const publish = (hostPort) => [{ sh: 'sleep 600', portMappings: [{ containerPort: 80, hostPort }] }];
	const holder = await rig.run(publish(18081));
	await rig.status(holder, 'RUNNING');
	const id = holder.split('/').at(-1);
	await assert.rejects(rig.run(publish(18081)), new RegExp(`"RESOURCE:PORTS".*"port 18081/tcp is used by task ${id}"`));

	// Somebody else on the host: only the attempt tells.
	const other = createServer();
	await new Promise((resolve) => other.listen(18082, '0.0.0.0', resolve));
	t.after(() => other.close());
	const task = await rig.finished(publish(18082));
	assert.equal(task.stopCode, 'TaskFailedToStart');
	assert.match(task.stoppedReason, /^CannotStartContainerError: port 18082\/tcp of 0\.0\.0\.0 is taken on the host/);
	assert.equal(task.containers[0].exitCode, undefined);
	assert.equal((await rig.get(holder)).lastStatus, 'RUNNING');
	await rig.halt(holder);
	await rig.status(holder, 'STOPPED');
});

test('rules that somebody flushes come back without a container being made', async () => {
	const nft = (...args) => execFileSync('nft', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
	const arn = await rig.run([{ sh: 'mkdir /www; echo hello > /www/index.html; exec httpd -f -p 80 -h /www',
		portMappings: [{ containerPort: 80, hostPort: 18083 }] }]);
	await rig.status(arn, 'RUNNING');
	const answers = () => fetch('http://127.0.0.1:18083/', { signal: AbortSignal.timeout(2000) }).then((r) => r.status === 200, () => false);
	await rig.until('its page', answers);
	const { table } = rig, before = rig.rules();
	assert.match(before, /127\.0\.0\.0\/8/);
	for (const flush of [['flush', 'ruleset'], ['flush', 'table', 'inet', table], ['delete', 'table', 'inet', table], ['flush', 'ruleset']]) {
		nft(...flush);
		await rig.until(`the rules after ${flush.join(' ')}`, () => rig.rules() === before);
		await rig.until('its page', answers);
	}
	await rig.server.halt('SIGKILL');
	nft('flush', 'ruleset');
	await rig.server.start();
	rig.connect();
	await rig.until('the rules after a start', () => rig.rules() === before);
	await rig.until('its page', answers);
	await rig.halt(arn);
	await rig.status(arn, 'STOPPED');
});

test('an image stays as long as a task runs of it, though its name is gone and core was killed', async (t) => {
	const sets = ['used', 'other'].map((name) => [name, makeImage({ files: { [`etc/${name}`]: `${name}\n` } })]);
	const registry = await startRegistry(Object.fromEntries(sets));
	t.after(() => registry.close());
	const { PATH, ...env } = rig.server.environment();
	const mayfly = (...args) => new Promise((resolve) => execFile(command, args, { env: { PATH, ...env, AWS_ENDPOINT_URL: rig.server.url } },
		(error, out, err) => resolve(error ? `${out}${err}` : 'done')));
	const layers = () => readdirSync(join(rig.server.data, 'layers')).filter((n) => /^[0-9a-f]{64}$/.test(n));
	const none = layers();
	const arn = await rig.run([{ image: registry.name('used'), sh: 'until [ -e /tmp/go ]; do sleep 0.05; done; cat /etc/used' }]);
	await rig.status(arn, 'RUNNING');
	const [used] = layers().filter((l) => !none.includes(l));
	assert.equal(await mayfly('rmi', registry.name('used')), 'done');
	await rig.killCore();
	// Whatever is collected soon after another image went would have been with it.
	assert.equal(await mayfly('pull', registry.name('other')), 'done');
	const [other] = layers().filter((l) => l !== used && !none.includes(l));
	assert.equal(await mayfly('rmi', registry.name('other')), 'done');
	await rig.until('the collection', () => !layers().includes(other));
	assert.ok(layers().includes(used));
	assert.equal(await mayfly('exec', arn.split('/').at(-1), 'touch', '/tmp/go'), 'done');
	await rig.status(arn, 'STOPPED');
	assert.deepEqual(await rig.lines(arn), ['used']);
	await mayfly('pull', registry.name('other'));
	await mayfly('rmi', registry.name('other'));
	await rig.until('the end of the image', () => !layers().includes(used));
});

const read = (path) => {
	try {
		return readFileSync(path, 'latin1');
	} catch {
		return '';
	}
};
const pids = () => readdirSync('/proc').filter((p) => /^\d+$/.test(p));
// What the kernel and the disk hold for tasks of this server.
function holdings() {
	const { data } = rig.server, groups = [];
	const group = readdirSync('/sys/fs/cgroup').flatMap((t) => [join('/sys/fs/cgroup', t)]).concat('/sys/fs/cgroup')
		.flatMap((t) => { try { return readdirSync(t).filter((n) => n === rig.groups).map((n) => join(t, n)); } catch { return []; } });
	for (const g of group) groups.push(...readdirSync(g, { withFileTypes: true }).filter((d) => d.isDirectory()).map((d) => join(g, d.name)));
	return {
		groups: groups.toSorted(),
		processes: pids().filter((p) => read(`/proc/${p}/cgroup`).includes(`/${rig.groups}/`) && !/\) [ZX] /.test(read(`/proc/${p}/stat`))).length,
		mounts: read(`/proc/${rig.spawnerPid}/mountinfo`).split('\n').length,
		disks: read('/proc/mounts').split('\n').filter((l) => l.includes(data)).length +
			readdirSync('/sys/block').filter((d) => read(`/sys/block/${d}/loop/backing_file`).includes(`${data}/tasks`)).length,
		links: readdirSync('/sys/class/net').toSorted(),
		rules: execFileSync('nft', ['list', 'ruleset'], { encoding: 'utf8' }),
		addresses: readdirSync(join(data, 'net')).filter((n) => /^[0-9.]+$/.test(n)),
		sandboxes: readdirSync(join(data, 'tasks')),
		descriptors: readdirSync(`/proc/${rig.spawnerPid}/fd`).length,
	};
}
const conmonOf = (id) => Number(pids().find((p) => read(`/proc/${p}/comm`).trim() === 'conmon' &&
	read(`/proc/${p}/cmdline`).replaceAll('\0', ' ').includes(` -c ${id} `)));

test('conmon is killed: its container goes, the task ends and says so, others go on', async () => {
	const sibling = await rig.run([{ sh: 'sleep 600' }]);
	await rig.status(sibling, 'RUNNING');
	const arn = await rig.run([{ sh: 'sleep 600' }, { sh: 'trap "exit 7" TERM; while :; do sleep 0.1; done' }]);
	const { containers: [first] } = await rig.status(arn, 'RUNNING');
	process.kill(conmonOf(first.runtimeId), 'SIGKILL');
	const task = await rig.status(arn, 'STOPPED');
	assert.equal(task.stopCode, 'EssentialContainerExited');
	assert.equal(task.stoppedReason, 'Essential container in task exited');
	const [lost, other] = task.containers;
	assert.equal(lost.exitCode, 137); // it was killed with it
	assert.equal(other.exitCode, 7);
	assert.equal((await rig.get(sibling)).lastStatus, 'RUNNING');
});

test('the runtime is killed at each of its verbs: the task ends as documented, others go on', async () => {
	const sibling = await rig.run([{ sh: 'sleep 600' }]);
	await rig.status(sibling, 'RUNNING');
	for (const [verb, code, reason, exitCode] of [
		['create', 'TaskFailedToStart', /^CannotCreateContainerError: ./, undefined],
		['start', 'EssentialContainerExited', /^Essential container in task exited$/, 5],
		['delete', 'EssentialContainerExited', /^Essential container in task exited$/, 5],
		['kill', 'UserInitiated', /^enough$/, 137],
	]) {
		const flag = join(rig.server.data, `kill-${verb}`);
		writeFileSync(flag, '');
		const arn = await rig.run([{ sh: verb === 'kill' ? 'sleep 600' : 'exit 5' }, { sh: 'sleep 600' }]);
		if (verb === 'kill') {
			await rig.status(arn, 'RUNNING');
			await rig.halt(arn, 'enough');
		}
		const task = await rig.status(arn, 'STOPPED');
		assert.deepEqual([verb, task.stopCode, task.containers[0].exitCode], [verb, code, exitCode]);
		assert.match(task.stoppedReason, reason);
		rmSync(flag);
		assert.equal((await rig.get(sibling)).lastStatus, 'RUNNING');
	}
});

test('a restart policy makes the container again, once it has run for its period', async () => {
	const restartPolicy = { enabled: true, ignoredExitCodes: [3], restartAttemptPeriod: 60 };
	const early = await rig.finished([{ sh: 'exit 1', restartPolicy }]);
	assert.deepEqual([early.stopCode, early.containers[0].exitCode], ['EssentialContainerExited', 1]);
	const arn = await rig.run([{ sh: 'echo begin; until [ -e /tmp/go ]; do sleep 0.05; done; exit $(cat /tmp/go)', restartPolicy }]);
	const id = async () => (await rig.get(arn)).containers[0].runtimeId;
	const end = async (code) => {
		const tasks = join(rig.server.data, 'tasks'), container = await id();
		// It has been running for two minutes, as the new core finds.
		execFileSync('python3', ['-c', `import os, struct, sys, time
[name] = [n for n in os.listxattr(sys.argv[1]) if n.endswith("started")]
os.setxattr(sys.argv[1], name, struct.pack("q", int(time.time() * 1000) - 120000))`,
		join(tasks, readdirSync(tasks).find((n) => n.startsWith(container.slice(0, 20))), container)]);
		await rig.killCore();
		await rig.status(arn, 'RUNNING');
		execFileSync(command, ['exec', arn.split('/').at(-1), 'sh', '-c', `echo ${code} > /tmp/new; mv /tmp/new /tmp/go`],
			{ env: { ...rig.server.environment(), AWS_ENDPOINT_URL: rig.server.url } });
	};
	await rig.status(arn, 'RUNNING');
	const before = await id();
	await end(1);
	await rig.until('another container', async () => {
		const [c] = (await rig.get(arn)).containers;
		return c.runtimeId !== before && c.lastStatus === 'RUNNING';
	});
	await rig.until('its line', async () => (await rig.lines(arn)).length === 2);
	await end(3); // ignored
	const task = await rig.status(arn, 'STOPPED');
	assert.equal(task.containers[0].exitCode, 3);
	assert.deepEqual(await rig.lines(arn), ['begin', 'begin']);
});

test('whatever happened to tasks, nothing of them is left', async () => {
	const one = await rig.run([{ sh: 'sleep 600', portMappings: [{ containerPort: 80, hostPort: 18084 }] }]);
	const { containers: [c] } = await rig.status(one, 'RUNNING');
	rig.held(c.runtimeId); // finds out what the group is called
	await rig.halt(one);
	await rig.status(one, 'STOPPED');
	await rig.clean();
	const before = holdings();
	assert.deepEqual([before.processes, before.addresses, before.sandboxes], [0, [], []]);

	const sleeps = { sh: 'sleep 600' }, volume = { volumes: [{ name: 'v' }] };
	const tasks = await Promise.all([
		rig.run([{ ...sleeps, portMappings: [{ containerPort: 80 }, { containerPort: 53, protocol: 'udp' }] }, sleeps]),
		rig.run([sleeps, sleeps], { networkMode: 'awsvpc' }),
		rig.run([{ ...sleeps, mountPoints: [{ sourceVolume: 'v', containerPath: '/v' }],
			linuxParameters: { tmpfs: [{ containerPath: '/t', size: 1 }], initProcessEnabled: true } }], { ...volume, networkMode: 'none' }),
		rig.run([sleeps], { networkMode: 'host', pidMode: 'task' }),
		rig.run([{ sh: 'exit 1' }]),
		rig.run([{ command: ['/none'] }]),
		rig.run([{ sh: 'exec tail -c 100m /dev/zero', memory: 16, memoryReservation: undefined }]),
		rig.run([sleeps]),
	]);
	const last = await rig.status(tasks.at(-1), 'RUNNING');
	process.kill(conmonOf(last.containers[0].runtimeId), 'SIGKILL');
	for (const arn of tasks.slice(0, 4)) await rig.status(arn, 'RUNNING');
	assert.ok(holdings().groups.length > before.groups.length);
	await rig.killCore();
	await Promise.all(tasks.slice(0, 4).map((arn) => rig.halt(arn)));
	await Promise.all(tasks.map((arn) => rig.status(arn, 'STOPPED')));
	let now;
	await rig.until('as little as before', () => JSON.stringify(now = holdings()) === JSON.stringify(before)).catch(() => {});
	assert.deepEqual(now, before);
});
