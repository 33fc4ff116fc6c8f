// What goes wrong: endless logs, a killed conmon or runtime, a full disk, ports that are taken. What
// happened is told as ECS tells it, siblings go on, and in the end nothing is left.
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { Rig, makeImage, startRegistry } from './rig.mjs';

const command = process.env.MAYFLY ?? fileURLToPath(new URL('../../build/mayfly', import.meta.url));
let rig;
before(async () => (rig = await Rig.start()));
after(() => rig?.stop());

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
	const [, table] = /^table inet (mayfly-[0-9a-f]+-[0-9a-f]+)$/m.exec(nft('list', 'tables'));
	const rules = () => { try { return nft('list', 'table', 'inet', table); } catch { return ''; } };
	const before = rules();
	assert.match(before, /127\.0\.0\.0\/8/);
	for (const flush of [['flush', 'ruleset'], ['flush', 'table', 'inet', table], ['delete', 'table', 'inet', table], ['flush', 'ruleset']]) {
		nft(...flush);
		await rig.until(`the rules after ${flush.join(' ')}`, () => rules() === before);
		await rig.until('its page', answers);
	}
	await rig.server.halt('SIGKILL');
	nft('flush', 'ruleset');
	await rig.server.start();
	rig.connect();
	await rig.until('the rules after a start', () => rules() === before);
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
