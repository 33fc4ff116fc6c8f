// Core and the spawner are killed while tasks start, run and stop: tasks go on, logs are whole,
// nothing is left.
import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';

import { Rig } from './rig.mjs';

let rig;
before(async () => {
	rig = await Rig.start();
});
after(() => rig?.stop());
afterEach(() => rig.clean());

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

test('a task runs on while core is killed, each line is kept once', async () => {
	const arn = await rig.run([{ sh: 'i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo $i; sleep 0.05; done; exit 7' }],
		{ networkMode: 'awsvpc' });
	await rig.status(arn, 'RUNNING');
	const before = await rig.get(arn);
	for (let i = 0; i < 3; i++) {
		await rig.killCore();
		await pause(300);
	}
	const task = await rig.status(arn, 'STOPPED');
	assert.equal(task.containers[0].exitCode, 7);
	assert.equal(task.containers[0].runtimeId, before.containers[0].runtimeId);
	assert.deepEqual((await rig.lines(arn)).map(Number), Array.from({ length: 60 }, (_, i) => i + 1));
});

test('an event that waits for more lines is there after core was killed, once', async () => {
	const arn = await rig.run([{ sh: `for i in 1 2 3 4 5 6; do echo "E $i"; echo "  of $i"; sleep 0.3; echo "  last of $i"; done`,
		logConfiguration: { logDriver: 'awslogs', options: { 'awslogs-group': 'waiting',
			'awslogs-region': 'us-east-1', 'awslogs-stream-prefix': 'p', 'awslogs-create-group': 'true',
			'awslogs-multiline-pattern': '^E' } } }]);
	await rig.status(arn, 'RUNNING');
	await rig.killCore();
	await rig.killCore();
	await rig.status(arn, 'STOPPED');
	// A kill may part what is one event, never lose or repeat a line.
	const events = await rig.lines(arn, 'c0', 'waiting', `p/c0/${arn.split('/').at(-1)}`);
	assert.deepEqual(events.join('\n').split('\n'),
		[1, 2, 3, 4, 5, 6].flatMap((i) => [`E ${i}`, `  of ${i}`, `  last of ${i}`]));
	assert.ok(events.length < 18, `${events}`);
});

test('metadata is served again after core was killed', async () => {
	const arn = await rig.run([{ sh: `while ! test -e /tmp/go; do
wget -q -O /tmp/m $ECS_CONTAINER_METADATA_URI_V4/task && echo ok || echo no; sleep 0.2; done` }],
	{ networkMode: 'awsvpc' });
	await rig.status(arn, 'RUNNING');
	await rig.killCore();
	const had = (await rig.lines(arn)).filter((l) => l === 'ok').length;
	await rig.until('answers', async () =>
		(await rig.lines(arn)).filter((l) => l === 'ok').length > had + 2);
	await rig.halt(arn);
	await rig.status(arn, 'STOPPED', 60_000);
});

test('killed again and again while sandboxes are made, core is always greeted anew', async () => {
	const arns = [];
	for (let i = 0; i < 10; i++) {
		arns.push(await rig.run([{ sh: 'trap "exit 0" TERM; while :; do sleep 0.1; done' }]));
		await rig.killCore();
	}
	for (const arn of arns) await rig.halt(arn);
	for (const arn of arns) await rig.status(arn, 'STOPPED', 60_000);
});

test('killed at any moment of a start, it runs or never was', async () => {
	for (let ms = 0; ms < 200; ms += 25) {
		const arn = await rig.run([{ sh: 'echo once; sleep 1000' }, { sh: 'sleep 1000' }],
			{ networkMode: ms % 50 ? 'awsvpc' : 'bridge' });
		await pause(ms);
		await rig.killCore();
		await rig.status(arn, 'RUNNING', 60_000);
		await rig.until('its line', async () => (await rig.lines(arn)).length > 0);
		await rig.halt(arn);
		await pause(ms);
		await rig.killCore();
		const task = await rig.status(arn, 'STOPPED', 60_000);
		assert.equal(task.stopCode, 'UserInitiated');
		assert.deepEqual(await rig.lines(arn), ['once']);
		await rig.clean();
	}
});

test('the spawner is killed: tasks go on and are found again', async () => {
	const arn = await rig.run([{ sh: 'i=0; while [ $i -lt 100 ]; do i=$((i+1)); echo $i; sleep 0.05; done; exit 9' }],
		{ networkMode: 'awsvpc' });
	await rig.status(arn, 'RUNNING');
	await rig.server.restart('SIGKILL');
	rig.connect();
	await rig.status(arn, 'RUNNING');
	const task = await rig.status(arn, 'STOPPED');
	assert.equal(task.containers[0].exitCode, 9);
	assert.deepEqual((await rig.lines(arn)).map(Number), Array.from({ length: 100 }, (_, i) => i + 1));
});
