// The verbs for containers of the command line, with real containers: run, ps, exec, logs, stats,
// stop. Terminals are real ones (on_terminal.py).
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { ecs, Rig } from './rig.mjs';

const MAYFLY = process.env.MAYFLY;
const PTY = fileURLToPath(new URL('on_terminal.py', import.meta.url));
const sha256 = (data) => createHash('sha256').update(data).digest('hex');

let rig, dir, env;

function start(command, args, { input, variables } = {}) {
	const child = spawn(command, args, { env: { ...env, ...variables },
		stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'] });
	const out = [], err = [];
	child.stdout.on('data', (d) => out.push(d));
	child.stderr.on('data', (d) => err.push(d));
	if (input !== undefined) {
		child.stdin.on('error', () => {});
		child.stdin.end(input);
	}
	child.ended = new Promise((resolve) => child.on('close', (code, signal) => resolve({ code,
		signal, raw: Buffer.concat(out), out: Buffer.concat(out).toString(),
		err: Buffer.concat(err).toString() })));
	child.soFar = () => Buffer.concat(out).toString();
	return child;
}

const mayfly = (args, options) => start(MAYFLY, args, options).ended;

// On a terminal; fails when something expected did not come.
async function onTerminal(steps, args) {
	const { code, out, err } = await start('python3', [PTY, JSON.stringify(steps), MAYFLY, ...args])
		.ended;
	const result = JSON.parse(out || '{}');
	assert.equal(code, 0, `did not come: ${result.missing}\n${result.output}\n${err}`);
	return result;
}

async function runDetached(...args) {
	const r = await mayfly(['run', '-d', ...args]);
	assert.equal(r.code, 0, r.err);
	assert.match(r.out, /^[0-9a-f]{32}\n$/);
	return r.out.trim();
}

async function running(id) {
	return rig.until(`${id} running`, async () => {
		const { out } = await mayfly(['ps', '--json']);
		return JSON.parse(out).find((t) => t.taskArn.endsWith(id) && t.lastStatus === 'RUNNING');
	});
}

describe('containers from the command line', () => {
	before(async () => {
		dir = mkdtempSync(join(tmpdir(), 'mayfly-cli-run-'));
		rig = await Rig.start({ args: ['--bind-root', dir] });
		env = { ...rig.server.environment(), AWS_ENDPOINT_URL: rig.server.url, HOME: dir, NO_COLOR: '1' };
	});

	after(async () => {
		await rig?.stop();
		rmSync(dir, { recursive: true, force: true });
	});

	test('output, errors and exit codes are those of the container', async () => {
		const r = await mayfly(['run', '--rm', rig.image(), 'sh', '-c',
			'echo out; echo err >&2; exit 7']);
		assert.equal(r.out, 'out\n', r.err);
		assert.equal(r.err, 'err\n');
		assert.equal(r.code, 7);
	});

	test('the first byte is never missed', async () => {
		for (let i = 0; i < 10; i++) {
			const r = await mayfly(['run', '--rm', rig.image(), 'echo', '-n', `round ${i}`]);
			assert.equal(r.out, `round ${i}`, r.err);
			assert.equal(r.code, 0);
		}
	});

	test('what cannot run has docker\'s exit codes', async () => {
		const absent = await mayfly(['run', '--rm', rig.image(), 'no-such-command']);
		assert.equal(absent.code, 127, absent.err);
		assert.match(absent.err, /no-such-command/);
		const data = await mayfly(['run', '--rm', rig.image(), '/etc/passwd']);
		assert.ok([126, 0].includes(data.code), `${data.code} ${data.err}`);
		const directory = await mayfly(['run', '--rm', rig.image(), '/tmp']);
		assert.equal(directory.code, 126, directory.err);
		assert.equal((await mayfly(['run', '--no-such-option', 'x'])).code, 125);
		assert.equal((await mayfly(['run', '--memory', 'x', rig.image()])).code, 125);
		const image = await mayfly(['run', `${rig.registry.host}/none:latest`]);
		assert.equal(image.code, 125);
		assert.match(image.err, /none:latest/);
	});

	test('exec has docker\'s exit codes for what cannot run', async () => {
		const id = await runDetached('--name', 'codes', rig.image(), 'sh', '-c', `mkdir /x
echo text > /x/data; echo garbage > /x/garbage; printf '#!/no/such\\n' > /x/script; chmod 755 /x/garbage /x/script
trap exit TERM; echo made; while :; do sleep 0.1; done`);
		await running(id);
		await rig.until('the files', async () => (await mayfly(['logs', 'codes'])).out.includes('made'));
		for (const [command, code, words] of [['no-such', 127, /no-such/], ['/x/none', 127, /none/],
			['/x/script', 127, /o such file/], ['/x', 126, /./], ['/x/data', 126, /ermission denied/],
			['/x/data/sub', 126, /ot a directory/], ['/x/garbage', 126, /format error/]]) {
			const r = await mayfly(['exec', 'codes', command]);
			assert.equal(r.code, code, `${command}: ${r.err}`);
			assert.match(r.err, words);
		}
		// A command's own codes are its own.
		for (const code of [1, 126, 127]) {
			const r = await mayfly(['exec', 'codes', 'sh', '-c', `echo "exec: is a directory" >&2; exit ${code}`]);
			assert.equal(r.code, code);
		}
		for (const [command, code] of [['no-such', 127], ['/x', 126]]) {
			const r = await onTerminal([], ['exec', '-it', 'codes', command]);
			assert.equal(r.code, code, r.output);
			assert.match(r.output, /executable/);
		}
		assert.equal((await mayfly(['stop', 'codes'])).code, 0);
	});

	test('megabytes go through stdin and come back as they were', async () => {
		const input = randomBytes(8 << 20);
		const r = await mayfly(['run', '--rm', '-i', rig.image(), 'cat'], { input });
		assert.equal(r.code, 0, r.err);
		assert.equal(r.raw.length, input.length);
		assert.equal(sha256(r.raw), sha256(input));
	});

	test('options reach the container', async () => {
		const host = join(dir, 'shared');
		const file = join(dir, 'variables');
		writeFileSync(file, '# none\nFROM_FILE=a b\nBOTH=file\n');
		// Root inside is nobody special here, so it writes where everybody may.
		mkdirSync(host);
		chmodSync(host, 0o777);
		const write = await mayfly(['run', '--rm', '-v', `${host}:/here`, rig.image(), 'sh', '-c',
			'echo hello > /here/f']);
		assert.equal(write.code, 0, write.err);
		assert.equal(readFileSync(join(host, 'f'), 'utf8'), 'hello\n');
		const r = await mayfly(['run', '--rm', '-e', 'A=1', '-e', 'PASSED', '-e', 'BOTH=option',
			'--env-file', file, '-v', `${host}:/in:ro`, '-w', '/in', '-u', '1000:1001',
			'--read-only', '--memory', '64m', '--cpus', '0.5', rig.image(), 'sh', '-c',
			'cat f; echo $A $PASSED "$FROM_FILE" $BOTH; pwd; id -u; touch /in/x 2>/dev/null || '
			+ 'echo ro; touch /x 2>/dev/null || echo read-only'],
		{ variables: { PASSED: 'yes' } });
		assert.equal(r.out, 'hello\n1 yes a b option\n/in\n1000\nro\nread-only\n', r.err);
		const entry = await mayfly(['run', '--rm', '--entrypoint', 'echo', rig.image(), 'a', 'b']);
		assert.equal(entry.out, 'a b\n', entry.err);
		const init = await mayfly(['run', '--rm', '--init', rig.image(), 'sh', '-c', 'echo $$']);
		assert.notEqual(init.out.trim(), '1', init.err);
	});

	test('named volumes outlive tasks', async () => {
		const one = await mayfly(['run', '--rm', '-v', 'keep:/d', rig.image(), 'sh', '-c',
			'echo kept > /d/f']);
		assert.equal(one.code, 0, one.err);
		const two = await mayfly(['run', '--rm', '-v', 'keep:/d', rig.image(), 'cat', '/d/f']);
		assert.equal(two.out, 'kept\n', two.err);
	});

	test('a terminal has a size, and follows the window', async () => {
		const r = await onTerminal([{ size: [40, 100] }, { expect: '#' },
			{ send: 'stty size; echo first\n' }, { expect: '40 100' }, { expect: 'first' },
			{ size: [25, 90] }, { send: 'sleep 1; stty size; echo second\n' },
			{ expect: '25 90' }, { expect: 'second' }, { send: 'exit 5\n' }],
		['run', '--rm', '-it', rig.image(), 'sh']);
		assert.equal(r.code, 5, r.output);
	});

	test('ctrl-C goes to the foreground of a terminal', async () => {
		const r = await onTerminal([{ expect: '#' }, { send: 'sleep 100\n' }, { wait: 1, send: '\x03' },
			{ send: 'echo sti""ll here\n' }, { expect: 'still here' }, { send: 'exit\n' }],
		['run', '--rm', '-it', rig.image(), 'sh']);
		assert.notEqual(r.code, null);
	});

	test('signals stop the task when there is no terminal for them', async () => {
		const child = start(MAYFLY, ['run', '--rm', rig.image(), 'sh', '-c',
			'trap "echo bye; exit 3" TERM; echo ready; while :; do sleep 0.1; done']);
		await rig.until('ready', () => child.soFar().includes('ready'));
		child.kill('SIGINT');
		const r = await child.ended;
		assert.equal(r.out, 'ready\nbye\n', r.err);
		assert.equal(r.code, 3);
	});

	test('-it without a terminal is refused in words', async () => {
		const r = await mayfly(['run', '-it', rig.image(), 'sh'], { input: '' });
		assert.equal(r.code, 125);
		assert.match(r.err, /no terminal/);
	});

	test('--rm leaves nothing', async () => {
		const r = await mayfly(['run', '--rm', '--name', 'passing', rig.image(), 'echo', 'hi']);
		assert.equal(r.out, 'hi\n', r.err);
		await rig.until('the end of it', async () => {
			const { out } = await mayfly(['ps', '-a', '--json']);
			return !JSON.parse(out).some((t) => t.taskDefinitionArn.includes('/passing:'));
		});
		const { families } = await rig.ecs.send(new ecs.ListTaskDefinitionFamiliesCommand({
			familyPrefix: 'passing', status: 'ACTIVE' }));
		assert.deepEqual(families, []);
		await rig.clean();
	});

	test('a server in the background: ports, ps, exec, logs, stats, stop', async () => {
		const id = await runDetached('--name', 'web', '-p', '18080:80', rig.image(), 'sh', '-c',
			'mkdir /www; echo welcome > /www/index.html; echo starting; exec httpd -f -p 80 -h /www');
		await running(id);
		const page = await rig.until('the page', async () => {
			try {
				const answer = await fetch('http://127.0.0.1:18080/index.html');
				return answer.ok && answer.text();
			} catch {
				return false;
			}
		});
		assert.equal(page, 'welcome\n');

		const ps = await mayfly(['ps']);
		assert.match(ps.out, /^ID +NAME +IMAGE +STATUS +PORTS +AGE +CPU +MEMORY$/m);
		assert.match(ps.out, new RegExp(`^${id.slice(0, 12)} +web .* running +18080->80/tcp +`, 'm'));
		assert.match(ps.out, /\d\.\d% +[\d.]+ [KM]?B$/m);

		const taken = await mayfly(['run', '--rm', '--name', 'web', rig.image(), 'true']);
		assert.equal(taken.code, 125);
		assert.match(taken.err, /in use/);
		const port = await mayfly(['run', '--rm', '-p', '18080:80', rig.image(), 'true']);
		assert.equal(port.code, 125, port.err);
		assert.match(port.err, new RegExp(`port 18080/tcp is used by task ${id}`));

		const inside = await mayfly(['exec', 'web', 'sh', '-c', 'cat /www/index.html; echo e >&2; exit 9']);
		assert.equal(inside.out, 'welcome\n');
		assert.equal(inside.err, 'e\n');
		assert.equal(inside.code, 9);
		const input = randomBytes(3 << 20);
		const piped = await mayfly(['exec', '-i', id.slice(0, 8), 'cat'], { input });
		assert.equal(sha256(piped.raw), sha256(input), piped.err);
		assert.equal((await mayfly(['exec', 'web', 'no-such'])).code, 127);
		assert.equal((await mayfly(['exec', 'web', '/www'])).code, 126);
		const shell = await onTerminal([{ size: [30, 70] }, { expect: '#' },
			{ send: 'stty size\n' }, { expect: '30 70' }, { size: [20, 60] },
			{ send: 'sleep 1; stty size\n' }, { expect: '20 60' }, { send: 'exit 4\n' }],
		['exec', '-it', 'web', 'sh']);
		assert.equal(shell.code, 4);

		const logs = await rig.until('the log', async () => {
			const r = await mayfly(['logs', 'web']);
			return r.out.includes('starting') && r;
		});
		assert.equal(logs.out, 'starting\n', logs.err);
		const stats = await mayfly(['stats', '--no-stream', 'web']);
		assert.match(stats.out, new RegExp(`^${id.slice(0, 12)} +web +\\d`, 'm'), stats.err);
		const json = JSON.parse((await mayfly(['stats', '--no-stream', '--json'])).out);
		assert.ok(json[0].memory_bytes > 0 && json[0].pids >= 1, JSON.stringify(json));

		const follow = start(MAYFLY, ['logs', '-f', 'web']);
		const stop = await mayfly(['stop', '-t', '1', 'web']);
		assert.equal(stop.code, 0, stop.err);
		assert.equal(stop.out, 'web\n');
		assert.equal((await follow.ended).code, 0);
		const all = await mayfly(['ps', '-a']);
		assert.match(all.out, new RegExp(`^${id.slice(0, 12)} +web .* exited \\(\\d+\\)`, 'm'));
		assert.doesNotMatch((await mayfly(['ps'])).out, /web/);
		assert.equal((await mayfly(['logs', 'web'])).out, 'starting\n');
		const gone = await mayfly(['exec', 'web', 'true']);
		assert.equal(gone.code, 125);
		assert.match(gone.err, /no task with this name or ID runs: web/);
	});

	test('stop says what it waits for', async () => {
		const id = await runDetached('--name', 'deaf', rig.image(), 'sh', '-c', 'trap "" TERM; while :; do sleep 0.1; done');
		await running(id);
		const r = await onTerminal([{ expect: 'waiting for deaf to heed its stop signal' }, { expect: 'deaf\r\n' }], ['stop', '-t', '6', 'deaf']);
		assert.equal(r.code, 0, r.output);
	});

	test('what containers of a task share is counted once', async () => {
		const arn = await rig.run([{ sh: 'sleep 1000' }, { sh: 'sleep 1000' }],
			{ family: 'shared', networkMode: 'awsvpc', cpu: '256', memory: '512', requiresCompatibilities: ['FARGATE'] }, { launchType: 'FARGATE' });
		const { attachments: [{ details }] } = await rig.status(arn, 'RUNNING');
		const address = details.find((d) => d.name === 'privateIPv4Address').value;
		for (let i = 0; i < 20; i++) await fetch(`http://${address}:8123/`).catch(() => {}); // refused, but counted
		const rows = await rig.until('stats', async () => {
			const [row] = JSON.parse((await mayfly(['stats', '--no-stream', '--json', 'shared'])).out);
			return row.rx_bytes > 0 && row;
		});
		assert.equal(rows.memory_limit_bytes, 512 << 20);
		assert.match((await mayfly(['ps'])).out, new RegExp(` shared .* running +${address} `));
		const [{ usage }] = JSON.parse((await mayfly(['ps', '--json'])).out).filter((t) => t.taskArn === arn);
		assert.equal(usage.length, 2);
		assert.ok(rows.rx_bytes < usage[0].rx_bytes * 2, JSON.stringify([rows, usage]));
		await rig.halt(arn);
		await rig.status(arn, 'STOPPED');
	});

	test('a name that two tasks share is no answer', async () => {
		const ids = [await runDetached(rig.image(), 'sleep', '100'),
			await runDetached(rig.image(), 'sleep', '100')];
		const r = await mayfly(['stop', '-t', '0', 'busybox']);
		assert.equal(r.code, 1);
		for (const id of ids) assert.match(r.err, new RegExp(id.slice(0, 12)));
		const stop = await mayfly(['stop', '-t', '0', ...ids]);
		assert.equal(stop.code, 0, stop.err);
		await rig.clean();
	});

	test('a client that is killed closes what it had open', async () => {
		const id = await runDetached('--name', 'host', rig.image(), 'sleep', '100');
		await running(id);
		const child = start(MAYFLY, ['exec', '-i', 'host', 'sh', '-c', 'echo up; cat; sleep 0.2; '
			+ 'echo ended > /tmp/ended'], { input: undefined });
		await rig.until('up', () => child.soFar().includes('up'));
		child.kill('SIGKILL');
		await child.ended;
		await rig.until('its end', async () =>
			(await mayfly(['exec', 'host', 'cat', '/tmp/ended'])).out === 'ended\n');
		await mayfly(['stop', '-t', '0', 'host']);
	});

	test('strangers get no streams', async () => {
		const id = await runDetached('--name', 'guarded', rig.image(), 'sleep', '100');
		await running(id);
		const r = await mayfly(['exec', 'guarded', 'true'], { variables: {
			AWS_SECRET_ACCESS_KEY: 'x'.repeat(40) } });
		assert.equal(r.code, 125);
		for (const verb of ['exec', 'attach', 'kill']) {
			const answer = await fetch(`${rig.server.url}/_mayfly/tasks/${id}/${verb}`,
				{ method: 'POST', body: '{"command":["true"]}' });
			assert.equal(answer.status, 403, verb);
		}
		await mayfly(['stop', '-t', '0', 'guarded']);
		await rig.clean();
	});
});
