// Lives of tasks with real containers: how they end and what is told of it.
import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';

import { Rig, logs } from './rig.mjs';

let rig;
before(async () => {
	rig = await Rig.start();
});
after(() => rig?.stop());
afterEach(() => rig.clean());

test('a task runs, prints, ends, and every time is told in order', async () => {
	const { task, text } = await rig.output('echo out; echo err >&2; exit 3');
	const [c] = task.containers;
	assert.equal(task.stopCode, 'EssentialContainerExited');
	assert.equal(task.stoppedReason, 'Essential container in task exited');
	assert.equal(c.exitCode, 3);
	assert.equal(c.lastStatus, 'STOPPED');
	assert.match(c.imageDigest, /^sha256:[0-9a-f]{64}$/);
	assert.match(c.runtimeId, /^[0-9a-f]{32}$/);
	assert.deepEqual(text.split('\n').sort(), ['err', 'out']);
	const times = ['createdAt', 'pullStartedAt', 'pullStoppedAt', 'startedAt', 'stoppingAt',
		'executionStoppedAt', 'stoppedAt'].map((n) => Number(task[n]));
	assert.ok(times.every((t) => t > 0), JSON.stringify(task));
	assert.deepEqual(times, times.toSorted((a, b) => a - b));
});

test('signals: 143 by SIGTERM, 137 when it is ignored until stopTimeout, 139 by SIGSEGV', async () => {
	const arn = await rig.run([{ sh: 'trap "exit 143" TERM; while :; do sleep 0.1; done' }]);
	await rig.status(arn, 'RUNNING');
	await rig.halt(arn, 'enough');
	const task = await rig.status(arn, 'STOPPED');
	assert.equal(task.stopCode, 'UserInitiated');
	assert.equal(task.stoppedReason, 'enough');
	assert.equal(task.containers[0].exitCode, 143);

	const deaf = await rig.run([{ sh: 'trap "" TERM; while :; do sleep 0.1; done', stopTimeout: 2 }]);
	await rig.status(deaf, 'RUNNING');
	const from = Date.now();
	await rig.halt(deaf);
	const dead = await rig.status(deaf, 'STOPPED');
	assert.ok(Date.now() - from >= 1900);
	assert.equal(dead.containers[0].exitCode, 137);

	const segv = await rig.finished([{ sh: 'sh -c "kill -SEGV \\$\\$"; exit $?' }]);
	assert.equal(segv.containers[0].exitCode, 139);
});

test('when a task is told to be STOPPED, what it held is free', async () => {
	for (const networkMode of ['awsvpc', 'bridge', 'bridge']) {
		// The third has the port that the second had, at once.
		const arn = await rig.run([{ sh: 'sleep 1000', ...(networkMode === 'bridge' && {
			portMappings: [{ containerPort: 80, hostPort: 18080 }] }) }, { sh: 'sleep 1000 & sleep 1000' }],
		{ networkMode });
		const { containers } = await rig.status(arn, 'RUNNING');
		const before = rig.held(containers[0].runtimeId);
		assert.ok(before.processes.length >= 5, JSON.stringify(before));
		assert.ok(before.groups.length && before.addresses.length, JSON.stringify(before));
		assert.equal(before.sandboxes.length, 1);
		await rig.halt(arn);
		while ((await rig.get(arn)).lastStatus !== 'STOPPED');
		assert.deepEqual(rig.held(), { processes: [], groups: [], addresses: [], sandboxes: [] });
	}
});

test('a container that uses too much memory is killed, its sibling is not', async () => {
	const arn = await rig.run([{ sh: 'tail /dev/zero', memory: 16, memoryReservation: 8, essential: false },
		{ sh: 'sleep 1000' }]);
	await rig.until('the OOM kill', async () => (await rig.get(arn)).containers[0].exitCode === 137);
	const task = await rig.get(arn);
	assert.match(task.containers[0].reason, /^OutOfMemoryError: Container killed due to memory usage/);
	assert.equal(task.lastStatus, 'RUNNING');
	assert.equal(task.containers[1].lastStatus, 'RUNNING');
	await rig.halt(arn);
	await rig.status(arn, 'STOPPED');
});

test('what cannot start says why', async () => {
	const cases = [
		[{ command: ['/bin/nothing'] }, /^CannotStartContainerError: .*not found/],
		[{ command: ['/bin'] }, /^CannotStartContainerError: ./],
		[{ image: rig.image('absent') }, /^CannotPull\w*Error: .*absent/],
		[{ secrets: [{ name: 'S', valueFrom: 'absent' }] }, /^ResourceInitializationError: .*absent/],
		[{ user: 'stranger', sh: 'true' }, /^Cannot(Create|Start)ContainerError: .*stranger/],
	];
	const outside = { volumes: [{ name: 'v', host: { sourcePath: '/etc' } }] };
	cases.push([{ sh: 'true', mountPoints: [{ sourceVolume: 'v', containerPath: '/v' }] },
		/^CannotCreateContainerError: \/etc on the host may not be mounted; allow it with serve --bind-root/, outside]);
	for (const [container, reason, definition] of cases) {
		const task = await rig.finished([container], definition, {});
		assert.equal(task.stopCode, 'TaskFailedToStart', JSON.stringify(container));
		assert.match(task.stoppedReason, reason);
		assert.equal(task.containers[0].exitCode, undefined);
		assert.equal(task.startedAt, undefined);
	}
});

test('dependencies: an initialiser that shares a volume, then the rest', async () => {
	const volumes = [{ name: 'v', host: {} }];
	const mountPoints = [{ sourceVolume: 'v', containerPath: '/v' }];
	const task = await rig.finished([
		{ name: 'init', sh: 'sleep 0.5; echo made > /v/file', essential: false, mountPoints },
		{ name: 'main', sh: 'cat /v/file', mountPoints,
			dependsOn: [{ containerName: 'init', condition: 'SUCCESS' }] },
	], { volumes });
	assert.deepEqual(await rig.lines(task.taskArn, 'main'), ['made']);
	const failed = await rig.finished([
		{ name: 'init', sh: 'exit 4', essential: false },
		{ name: 'main', sh: 'echo never', dependsOn: [{ containerName: 'init', condition: 'SUCCESS' }] },
	]);
	assert.equal(failed.stopCode, 'TaskFailedToStart');
	assert.match(failed.containers.find((c) => c.name === 'main').reason, /did not exit successfully/);
	assert.equal(failed.containers.find((c) => c.name === 'init').exitCode, 4);
});

test('health is what the check says, and a check that hangs is killed', async () => {
	const arn = await rig.run([{ sh: 'touch /tmp/ok; sleep 1000', healthCheck: { command:
		['CMD-SHELL', 'test -e /tmp/ok'], interval: 5, timeout: 2, retries: 1 } },
	{ sh: 'sleep 1000', essential: false, healthCheck: { command: ['CMD', 'sleep', '1000'],
		interval: 5, timeout: 2, retries: 1 } }]);
	await rig.status(arn, 'RUNNING');
	assert.equal((await rig.get(arn)).healthStatus, 'UNKNOWN');
	await rig.until('HEALTHY', async () => (await rig.get(arn)).healthStatus === 'HEALTHY');
	await rig.until('UNHEALTHY', async () =>
		(await rig.get(arn)).containers[1].healthStatus === 'UNHEALTHY');
	assert.equal((await rig.get(arn)).healthStatus, 'HEALTHY');
	await rig.halt(arn);
	await rig.status(arn, 'STOPPED');
});

test('awslogs: the group must be there or be asked for', async () => {
	const logConfiguration = (more) => ({ logDriver: 'awslogs', options: { 'awslogs-group': 'app',
		'awslogs-region': 'us-east-1', 'awslogs-stream-prefix': 'p', ...more } });
	const task = await rig.finished([{ sh: 'true', logConfiguration: logConfiguration() }]);
	assert.match(task.stoppedReason,
		/^ResourceInitializationError: .*ResourceNotFoundException: The specified log group does not exist/);
	const made = await rig.finished([{ sh: 'for i in 1 2 3; do echo line $i; done',
		logConfiguration: logConfiguration({ 'awslogs-create-group': 'true' }) }]);
	const id = made.taskArn.split('/').at(-1);
	assert.deepEqual(await rig.lines(made.taskArn, 'c0', 'app', `p/c0/${id}`),
		['line 1', 'line 2', 'line 3']);
	await rig.logs.send(new logs.DeleteLogGroupCommand({ logGroupName: 'app' }));
	// One container has it made, whose place in the definition does not matter.
	const two = await rig.finished([{ sh: 'echo one', logConfiguration: logConfiguration() },
		{ sh: 'sleep 1000', essential: false, logConfiguration: logConfiguration({ 'awslogs-create-group': 'true' }) }]);
	assert.deepEqual(await rig.lines(two.taskArn, 'c0', 'app', `p/c0/${two.taskArn.split('/').at(-1)}`), ['one']);
	await rig.logs.send(new logs.DeleteLogGroupCommand({ logGroupName: 'app' }));
});

test('awslogs: lines that are one event, by a pattern and by a format of times', async () => {
	const options = (more) => ({ logDriver: 'awslogs', options: { 'awslogs-group': 'events',
		'awslogs-region': 'us-east-1', 'awslogs-stream-prefix': 'p', 'awslogs-create-group': 'true',
		...more } });
	const lines = (arn, name) => rig.lines(arn, name, 'events', `p/${name}/${arn.split('/').at(-1)}`);
	const arn = await rig.run([
		{ sh: 'printf "ERROR a\\n  at 1\\n  at 2\\nINFO b\\n"; while :; do sleep 0.1; done',
			logConfiguration: options({ 'awslogs-multiline-pattern': '^(ERROR|INFO)' }) },
		{ sh: 'printf "[Dec 01, 2024 10:00:00] a\\nb\\n[Dec 01, 2024 10:00:01] c\\n"', essential: false,
			logConfiguration: options({ 'awslogs-datetime-format': '\\[%b %d, %Y %H:%M:%S\\]' }) },
	]);
	// The last one is complete when nothing comes any more.
	await rig.until('both events', async () => (await lines(arn, 'c0')).length === 2);
	assert.deepEqual(await lines(arn, 'c0'), ['ERROR a\n  at 1\n  at 2', 'INFO b']);
	await rig.until('both times', async () => (await lines(arn, 'c1')).length === 2);
	assert.deepEqual(await lines(arn, 'c1'),
		['[Dec 01, 2024 10:00:00] a\nb', '[Dec 01, 2024 10:00:01] c']);
	await rig.halt(arn);
	await rig.status(arn, 'STOPPED');
	await rig.logs.send(new logs.DeleteLogGroupCommand({ logGroupName: 'events' }));
});

test('many lines, long lines, no end of line', async () => {
	const { text } = await rig.output(
		'seq 1 20000; head -c 30000 /dev/zero | tr "\\0" x; echo; printf end');
	const lines = text.split('\n');
	assert.equal(lines.length, 20002);
	assert.equal(lines[19999], '20000');
	assert.equal(lines[20000].length, 30000);
	assert.equal(lines[20001], 'end');
});
