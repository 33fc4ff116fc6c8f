// Tasks by the SDK and the AWS CLI: started, waited for, described, listed, stopped. What containers
// do is tested beside this; here it is what clients of ECS see.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { aws } from '../api/cli.mjs';
import { rejects } from '../api/server.mjs';
import { Rig, ecs, makeImage } from './rig.mjs';

const VPC = { awsvpcConfiguration: { subnets: ['subnet-1'] } };
const WAIT = { maxWaitTime: 60, minDelay: 1, maxDelay: 1 };
const mayfly = process.env.MAYFLY ?? fileURLToPath(new URL('../../build/mayfly', import.meta.url));
let rig, image;

before(async () => {
	rig = await Rig.start({ images: { busybox: makeImage({ config: { Cmd: ['sh', '-c', 'trap "exit 143" TERM; while :; do sleep 0.1; done'] } }) } });
	image = rig.image();
});
after(() => rig?.stop());

const call = (name, input = {}) => rig.ecs.send(new ecs[`${name}Command`](input));
const box = (more) => ({ name: 'app', image, memory: 32, ...more });

async function register(family, more) {
	const { taskDefinition } = await call('RegisterTaskDefinition', { family, containerDefinitions: [box()], ...more });
	return taskDefinition.taskDefinitionArn;
}
async function run(input) {
	const { tasks, failures } = await call('RunTask', input);
	assert.deepEqual(failures, []);
	return tasks;
}
const describe = async (...tasks) => (await call('DescribeTasks', { tasks, include: ['TAGS'] })).tasks;
const running = (...tasks) => ecs.waitUntilTasksRunning({ client: rig.ecs, ...WAIT }, { tasks });
const stopped = (...tasks) => ecs.waitUntilTasksStopped({ client: rig.ecs, ...WAIT }, { tasks });
async function stop(...arns) {
	for (const task of arns) await call('StopTask', { task });
	await stopped(...arns);
}

test('a task from the first state to the last', async () => {
	await register('sleep', { tags: [{ key: 'of', value: 'definition' }] });
	const [made] = await run({ taskDefinition: 'sleep', startedBy: 'me', tags: [{ key: 'a', value: 'b' }], propagateTags: 'TASK_DEFINITION',
		enableECSManagedTags: true });
	assert.match(made.taskArn, /^arn:aws:ecs:us-east-1:123456789012:task\/default\/[0-9a-f]{32}$/);
	assert.deepEqual([made.desiredStatus, made.launchType, made.group, made.startedBy, made.cpu, made.memory], ['RUNNING', 'EC2', 'family:sleep', 'me', '0', '32']);
	assert.ok(['PROVISIONING', 'PENDING', 'ACTIVATING'].includes(made.lastStatus), made.lastStatus);
	assert.deepEqual(made.overrides.containerOverrides, [{ name: 'app' }]);
	await running(made.taskArn);
	const [now] = await describe(made.taskArn);
	assert.equal(now.lastStatus, 'RUNNING');
	assert.deepEqual(now.tags.map((t) => t.key).toSorted(), ['a', 'aws:ecs:clusterName', 'of']);
	const [container] = now.containers;
	assert.deepEqual([container.name, container.lastStatus, container.image], ['app', 'RUNNING', image]);
	assert.match(container.imageDigest, /^sha256:[0-9a-f]{64}$/);
	assert.match(container.containerArn, /:container\/default\/[0-9a-f]{32}\/[0-9a-f-]{36}$/);
	assert.ok(now.createdAt <= now.pullStartedAt && now.pullStartedAt <= now.pullStoppedAt && now.pullStoppedAt <= now.startedAt);
	assert.ok(now.version > made.version);
	const { clusters: [cluster] } = await call('DescribeClusters');
	assert.equal(cluster.runningTasksCount, 1);
	const { containerInstances: [host] } = await call('DescribeContainerInstances', { containerInstances: [now.containerInstanceArn] });
	const left = (list) => list.find((r) => r.name === 'MEMORY').integerValue;
	assert.deepEqual([host.runningTasksCount, left(host.registeredResources) - left(host.remainingResources)], [1, 32]);
	await rejects(call('DeleteCluster', { cluster: 'default' }), 'ClusterContainsTasksException');
	const answer = (await call('StopTask', { task: made.taskArn, reason: 'enough' })).task;
	assert.deepEqual([answer.desiredStatus, answer.stopCode, answer.stoppedReason], ['STOPPED', 'UserInitiated', 'enough']);
	await stopped(made.taskArn);
	const [end] = await describe(made.taskArn);
	assert.deepEqual([end.lastStatus, end.stopCode, end.stoppedReason, end.containers[0].exitCode], ['STOPPED', 'UserInitiated', 'enough', 143]);
	assert.ok(end.stoppingAt <= end.executionStoppedAt && end.executionStoppedAt <= end.stoppedAt);
	assert.equal((await call('StopTask', { task: made.taskArn })).task.lastStatus, 'STOPPED');
});

test('lists by every filter, and pages', async () => {
	await register('listed');
	await register('other');
	const tasks = (await run({ taskDefinition: 'listed', count: 3, startedBy: 'lister' })).map((t) => t.taskArn).toSorted();
	const [other] = (await run({ taskDefinition: 'other' })).map((t) => t.taskArn);
	const list = async (input) => (await call('ListTasks', input)).taskArns;
	assert.deepEqual(await list({ family: 'listed' }), tasks);
	assert.deepEqual(await list({ startedBy: 'lister' }), tasks);
	assert.deepEqual(await list({ family: 'other', launchType: 'EC2' }), [other]);
	assert.deepEqual(await list({ launchType: 'FARGATE' }), []);
	const { containerInstanceArns: [containerInstance] } = await call('ListContainerInstances');
	assert.deepEqual(await list({ containerInstance }), [...tasks, other].toSorted());
	const seen = [];
	for await (const page of ecs.paginateListTasks({ client: rig.ecs, pageSize: 2 }, { family: 'listed' })) seen.push(...page.taskArns);
	assert.deepEqual(seen, tasks);
	await stop(tasks[0]);
	assert.deepEqual(await list({ family: 'listed', desiredStatus: 'STOPPED' }), [tasks[0]]);
	assert.deepEqual(await list({ family: 'listed' }), tasks.slice(1));
	await stop(tasks[1], tasks[2], other);
});

test('a Fargate task has an address of its own', async () => {
	await register('vpc', { networkMode: 'awsvpc', requiresCompatibilities: ['FARGATE'], cpu: '256', memory: '512',
		containerDefinitions: [{ name: 'app', image }] });
	const [made] = await run({ taskDefinition: 'vpc', launchType: 'FARGATE', networkConfiguration: VPC });
	assert.deepEqual([made.cpu, made.memory, made.platformVersion, made.ephemeralStorage.sizeInGiB, made.containerInstanceArn], ['256', '512', '1.4.0', 20, undefined]);
	await running(made.taskArn);
	const [now] = await describe(made.taskArn);
	const details = Object.fromEntries(now.attachments[0].details.map((d) => [d.name, d.value]));
	assert.deepEqual([now.attachments[0].type, now.attachments[0].status, details.subnetId], ['ElasticNetworkInterface', 'ATTACHED', 'subnet-1']);
	assert.equal(now.containers[0].networkInterfaces[0].privateIpv4Address, details.privateIPv4Address);
	await stop(made.taskArn);
});

test('capacity providers share by base and weight', async () => {
	await call('CreateCluster', { clusterName: 'shared', capacityProviders: ['FARGATE', 'FARGATE_SPOT'],
		defaultCapacityProviderStrategy: [{ capacityProvider: 'FARGATE', base: 1, weight: 1 }, { capacityProvider: 'FARGATE_SPOT', weight: 3 }] });
	const { tasks } = await call('RunTask', { cluster: 'shared', taskDefinition: 'vpc', networkConfiguration: VPC, count: 2 });
	assert.deepEqual(tasks.map((t) => [t.capacityProviderName, t.launchType]), [['FARGATE', 'FARGATE'], ['FARGATE_SPOT', 'FARGATE']]);
	const keep = (capacityProviders) => call('PutClusterCapacityProviders', { cluster: 'shared', capacityProviders, defaultCapacityProviderStrategy: [] });
	await rejects(keep(['FARGATE']), 'ResourceInUseException', /FARGATE_SPOT/);
	for (const t of tasks) await call('StopTask', { cluster: 'shared', task: t.taskArn });
	await ecs.waitUntilTasksStopped({ client: rig.ecs, ...WAIT }, { cluster: 'shared', tasks: tasks.map((t) => t.taskArn) });
	assert.deepEqual((await keep(['FARGATE'])).cluster.capacityProviders, ['FARGATE']);
	await call('DeleteCluster', { cluster: 'shared' });
});

test('a client token gets the same tasks again', async () => {
	const input = { taskDefinition: 'sleep', count: 2, clientToken: 'once' };
	const arns = (answer) => answer.tasks.map((t) => t.taskArn).toSorted();
	const both = await Promise.all([call('RunTask', input), call('RunTask', input)]);
	assert.deepEqual(arns(both[0]), arns(both[1]));
	assert.deepEqual(arns(await call('RunTask', input)), arns(both[0]));
	const refused = await rejects(call('RunTask', { ...input, count: 1 }), 'ConflictException');
	assert.deepEqual(refused.resourceIds.toSorted(), arns(both[0]));
	await running(...arns(both[0]));
	await rig.killCore();
	rig.server.log = ''; // which complains of it
	rig.connect();
	assert.deepEqual(arns(await call('RunTask', input)), arns(both[0]));
	assert.equal((await call('ListTasks', { family: 'sleep' })).taskArns.length, 2);
	await stop(...arns(both[0]));
});

test('a log driver that is not here is a failure that says which are', async () => {
	for (const logDriver of ['syslog', 'journald', 'gelf', 'fluentd', 'splunk', 'awsfirelens']) {
		await register('elsewhere', { containerDefinitions: [box({ logConfiguration: { logDriver, options: { a: 'b' } } })] });
		const { tasks, failures } = await call('RunTask', { taskDefinition: 'elsewhere' });
		assert.deepEqual([tasks.length, failures[0].reason, failures[0].detail], [0, 'ATTRIBUTE',
			`The log driver ${logDriver} is not available here: use awslogs, or json-file.`]);
	}
	const arn = await rig.run([{ sh: 'echo kept', logConfiguration: { logDriver: 'json-file', options: { 'max-buffer-size': '2m' } } }]);
	await stopped(arn);
	assert.deepEqual(await rig.lines(arn), ['kept']);
});

test('overrides and exit codes', async () => {
	await register('exit', { containerDefinitions: [box({ command: ['true'], environment: [{ name: 'CODE', value: '1' }] })] });
	const [made] = await run({ taskDefinition: 'exit', overrides: { containerOverrides: [
		{ name: 'app', command: ['sh', '-c', 'exit $CODE'], environment: [{ name: 'CODE', value: '42' }], memory: 48 }] } });
	assert.equal(made.memory, '48');
	await stopped(made.taskArn);
	const [end] = await describe(made.taskArn);
	assert.deepEqual([end.stopCode, end.stoppedReason, end.containers[0].exitCode], ['EssentialContainerExited', 'Essential container in task exited', 42]);
});

test('tasks are adopted by a new core, tagged, and never protected', async () => {
	const [made] = await run({ taskDefinition: 'sleep' });
	await running(made.taskArn);
	await rig.server.restart();
	rig.connect();
	const [now] = await describe(made.taskArn);
	assert.deepEqual([now.lastStatus, now.containers[0].lastStatus], ['RUNNING', 'RUNNING']);
	await call('TagResource', { resourceArn: made.taskArn, tags: [{ key: 'late', value: '1' }] });
	assert.deepEqual((await describe(made.taskArn))[0].tags, [{ key: 'late', value: '1' }]);
	const { failures } = await call('UpdateTaskProtection', { cluster: 'default', tasks: [made.taskArn], protectionEnabled: true });
	assert.deepEqual(failures, [{ arn: made.taskArn, reason: 'TASK_NOT_VALID' }]);
	await stop(made.taskArn);
});

test('a deregistered instance takes its tasks along', async () => {
	await call('CreateCluster', { clusterName: 'leaving' });
	const { containerInstanceArns: [containerInstance] } = await call('ListContainerInstances', { cluster: 'leaving' });
	const { tasks: [made] } = await call('StartTask', { cluster: 'leaving', taskDefinition: 'sleep', containerInstances: [containerInstance] });
	assert.equal(made.containerInstanceArn, containerInstance);
	await rejects(call('DeregisterContainerInstance', { cluster: 'leaving', containerInstance }), 'InvalidParameterException', 'Found running tasks on the instance.');
	await call('DeregisterContainerInstance', { cluster: 'leaving', containerInstance, force: true });
	await ecs.waitUntilTasksStopped({ client: rig.ecs, ...WAIT }, { cluster: 'leaving', tasks: [made.taskArn] });
	await call('DeleteCluster', { cluster: 'leaving' });
});

test('constraints by group and by instance', async () => {
	const { tasks, failures } = await call('RunTask', { taskDefinition: 'sleep', count: 2, placementConstraints: [{ type: 'distinctInstance' }] });
	assert.deepEqual([tasks.length, failures.map((f) => f.reason)], [1, ['DistinctInstance placement constraint unsatisfied.']]);
	const none = await call('RunTask', { taskDefinition: 'listed', placementConstraints: [{ type: 'memberOf', expression: 'not(task:group == family:sleep)' }] });
	assert.deepEqual(none.failures.map((f) => f.reason), ['MemberOf placement constraint unsatisfied.']);
	const some = await call('RunTask', { taskDefinition: 'listed', placementConstraints: [{ type: 'memberOf', expression: 'task:group == family:sleep' }] });
	assert.equal(some.tasks.length, 1);
	await stop(tasks[0].taskArn, some.tasks[0].taskArn);
});

test('what tasks cost is in the bill', async () => {
	const { rows, total } = JSON.parse(execFileSync(mayfly, ['bill', '--json'],
		{ env: { ...rig.server.environment(), AWS_ENDPOINT_URL: rig.server.url } }));
	const row = rows.find((r) => r.task === 'default/vpc');
	assert.deepEqual([row.tasks, row.task_seconds >= 60, row.vcpu_seconds, row.task_gb_seconds],
		[1, true, row.task_seconds / 4, row.task_seconds / 2]);
	assert.ok(Number(row.total_usd) > 0 && Number(total.tasks_usd) >= Number(row.total_usd));
});

test('the AWS CLI', async () => {
	const cli = (...words) => aws(rig.server, ['ecs', ...words]);
	const { tasks: [made] } = await cli('run-task', '--task-definition', 'sleep', '--count', '1');
	await cli('wait', 'tasks-running', '--tasks', made.taskArn);
	assert.deepEqual((await cli('list-tasks', '--family', 'sleep')).taskArns, [made.taskArn]);
	assert.equal((await cli('describe-tasks', '--tasks', made.taskArn)).tasks[0].lastStatus, 'RUNNING');
	await assert.rejects(cli('run-task', '--task-definition', 'absent'), /ClientException.*TaskDefinition not found/s);
	const { containerInstanceArns: [host] } = await cli('list-container-instances');
	const { tasks: [other] } = await cli('start-task', '--task-definition', 'sleep', '--container-instances', host, '--started-by', 'hand');
	assert.deepEqual([other.startedBy, other.containerInstanceArn], ['hand', host]);
	// Protection is for tasks of services.
	const [protection, put] = await Promise.all([cli('get-task-protection', '--cluster', 'default', '--tasks', made.taskArn),
		cli('update-task-protection', '--cluster', 'default', '--tasks', made.taskArn, '--protection-enabled')]);
	assert.deepEqual([protection.failures, put.failures], Array(2).fill([{ arn: made.taskArn, reason: 'TASK_NOT_VALID' }]));
	assert.equal((await cli('stop-task', '--task', made.taskArn)).task.desiredStatus, 'STOPPED');
	await cli('stop-task', '--task', other.taskArn, '--reason', 'enough');
	await cli('wait', 'tasks-stopped', '--tasks', made.taskArn, other.taskArn);
	const { tasks: [end] } = await cli('describe-tasks', '--tasks', other.taskArn);
	assert.deepEqual([end.stopCode, end.stoppedReason], ['UserInitiated', 'enough']);
	await assert.rejects(cli('stop-task', '--task', '0123'), /InvalidParameterException.*The referenced task was not found/s);
});
