// This machine as a container instance, attributes, and what RunTask refuses before anything runs.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import * as ecs from '@aws-sdk/client-ecs';
import { rejects, startServer } from './server.mjs';

let server, client;

function connect() {
	client = new ecs.ECSClient(server.client());
}
before(async () => {
	server = await startServer();
	connect();
});
after(() => server?.stop());

const call = (name, input = {}) => client.send(new ecs[`${name}Command`](input));
const instances = async (input) => (await call('ListContainerInstances', input)).containerInstanceArns;
const describe = async (arn, more) => (await call('DescribeContainerInstances', { containerInstances: [arn], ...more })).containerInstances[0];
const box = (more) => ({ name: 'app', image: 'busybox', memory: 32, ...more });
const register = (family, more) => call('RegisterTaskDefinition', { family, containerDefinitions: [box()], ...more });

test('this machine is an instance of every cluster, by an id that stays', async () => {
	const [arn, ...more] = await instances();
	assert.deepEqual(more, []);
	assert.match(arn, /^arn:aws:ecs:us-east-1:123456789012:container-instance\/default\/[0-9a-f]{32}$/);
	const i = await describe(arn.split('/')[2], { include: ['TAGS', 'CONTAINER_INSTANCE_HEALTH'] });
	assert.deepEqual([i.containerInstanceArn, i.status, i.agentConnected, i.runningTasksCount, i.pendingTasksCount], [arn, 'ACTIVE', true, 0, 0]);
	assert.equal(i.healthStatus.overallStatus, 'OK');
	const size = (list, name) => list.find((r) => r.name === name).integerValue;
	for (const name of ['CPU', 'MEMORY']) {
		assert.ok(size(i.registeredResources, name) > 0);
		assert.equal(size(i.remainingResources, name), size(i.registeredResources, name));
	}
	const attribute = (name) => i.attributes.find((a) => a.name === name);
	assert.deepEqual([attribute('ecs.os-type').value, attribute('ecs.availability-zone').value], ['linux', 'us-east-1a']);
	assert.ok(attribute('ecs.capability.task-eni'));
	await call('CreateCluster', { clusterName: 'other' });
	assert.notEqual((await instances({ cluster: 'other' }))[0].split('/')[2], arn.split('/')[2]);
	await server.restart('SIGKILL');
	connect();
	assert.deepEqual(await instances(), [arn]);
	const gone = await call('DescribeContainerInstances', { containerInstances: ['0123'] });
	assert.equal(gone.failures[0].reason, 'MISSING');
	await rejects(call('UpdateContainerAgent', { containerInstance: arn }), 'NoUpdateAvailableException');
	await rejects(call('UpdateContainerAgent', { containerInstance: 'none' }), 'InvalidParameterException', /not found/);
});

test('cluster queries', async () => {
	const found = async (filter) => (await instances({ filter })).length;
	for (const yes of ['attribute:ecs.os-type == linux', "attribute:ecs.os-type equals 'linux'", 'attribute:ecs.os-type in [windows, linux]',
		'attribute:ecs.os-type != windows and agentConnected == true', 'not(attribute:none exists)', 'attribute:none !exists',
		'attribute:ecs.availability-zone =~ us-east-1.*', 'attribute:none == x or attribute:ecs.capability.task-eni exists',
		'runningTasksCount < 1', 'runningTasksCount >= 0 && !(task:group == family:x)', '(((agentConnected == true)))', 'attribute:x not_in [a]'])
		assert.equal(await found(yes), 1, yes);
	for (const no of ['attribute:ecs.os-type == windows', 'attribute:ecs.os-type !in [linux]', 'not attribute:ecs.os-type == linux', 'agentConnected == false',
		'attribute:none =~ .*', 'attribute:ecs.os-type == linux and attribute:none exists'])
		assert.equal(await found(no), 0, no);
	for (const wrong of ['', 'x', 'attribute:x', 'attribute:x ==', 'attribute:x == a b', '(attribute:x exists', 'attribute:x in [a', 'attribute:x =~ [', 'attribute: == a',
		'attribute:x == "a', `${'('.repeat(40)}agentConnected == true${')'.repeat(40)}`, `attribute:x == ${'a'.repeat(3000)}`])
		await rejects(instances({ filter: wrong }), 'InvalidParameterException', /^Invalid filter: /);
});

test('attributes that are put, and taken away', async () => {
	const [targetId] = await instances();
	const put = (name, value) => call('PutAttributes', { attributes: [{ name, value, targetId }] });
	assert.deepEqual((await put('stack', 'production')).attributes, [{ name: 'stack', value: 'production', targetId, targetType: 'container-instance' }]);
	await put('stack', 'test');
	const list = async (input) => (await call('ListAttributes', { targetType: 'container-instance', ...input })).attributes;
	assert.deepEqual(await list({ attributeName: 'stack' }), [{ name: 'stack', value: 'test', targetId, targetType: 'container-instance' }]);
	assert.deepEqual(await list({ attributeName: 'stack', attributeValue: 'x' }), []);
	assert.equal((await instances({ filter: 'attribute:stack == test' })).length, 1);
	assert.ok((await list()).length > 20);
	await rejects(put('a b', 'x'), 'InvalidParameterException', /name/);
	await rejects(put('ecs.os-type', 'plan9'), 'InvalidParameterException', /belongs to the instance/);
	await rejects(call('PutAttributes', { attributes: [{ name: 'a', targetId: 'none' }] }), 'TargetNotFoundException');
	for (let i = 1; i < 10; i++) await put(`a${i}`);
	await rejects(put('a10'), 'AttributeLimitExceededException');
	await server.restart();
	connect();
	assert.equal((await list({ attributeName: 'stack' })).length, 1);
	await call('DeleteAttributes', { attributes: [{ name: 'stack', value: 'other', targetId }] });
	assert.equal((await list({ attributeName: 'stack' })).length, 1);
	await call('DeleteAttributes', { attributes: [{ name: 'stack', targetId }] });
	assert.deepEqual(await list({ attributeName: 'stack' }), []);
	await call('TagResource', { resourceArn: targetId, tags: [{ key: 'k', value: 'v' }] });
	assert.deepEqual((await call('ListTagsForResource', { resourceArn: targetId })).tags, [{ key: 'k', value: 'v' }]);
});

test('others can register, but nothing is sent to them yet', async () => {
	await call('CreateCluster', { clusterName: 'edge' });
	const { containerInstance: made } = await call('RegisterContainerInstance', { cluster: 'edge', attributes: [{ name: 'rack', value: '1' }],
		totalResources: [{ name: 'CPU', type: 'INTEGER', integerValue: 2048 }], versionInfo: { agentVersion: '1.2.3' } });
	assert.deepEqual([made.status, made.agentConnected, made.registeredResources[0].integerValue], ['ACTIVE', false, 2048]);
	assert.equal((await instances({ cluster: 'edge' })).length, 2);
	await register('run');
	const { tasks, failures } = await call('StartTask', { cluster: 'edge', taskDefinition: 'run', containerInstances: [made.containerInstanceArn, 'none'] });
	assert.deepEqual([tasks, failures.map((f) => f.reason).toSorted()], [[], ['AGENT', 'MISSING']]);
	await rejects(call('DeleteCluster', { cluster: 'edge' }), 'ClusterContainsContainerInstancesException');
	const off = (await call('DeregisterContainerInstance', { cluster: 'edge', containerInstance: made.containerInstanceArn })).containerInstance;
	assert.equal(off.status, 'INACTIVE');
	await call('DeleteCluster', { cluster: 'edge' });
});

test('a drained and a deregistered machine takes no tasks', async () => {
	await call('CreateCluster', { clusterName: 'drain' });
	const [arn] = await instances({ cluster: 'drain' });
	const state = (status) => call('UpdateContainerInstancesState', { cluster: 'drain', containerInstances: [arn, 'none'], status });
	const { containerInstances, failures } = await state('DRAINING');
	assert.deepEqual([containerInstances[0].status, failures[0].reason], ['DRAINING', 'MISSING']);
	assert.deepEqual(await instances({ cluster: 'drain', status: 'DRAINING' }), [arn]);
	await register('run');
	const none = ['InvalidParameterException', 'No Container Instances were found in your cluster.'];
	await rejects(call('RunTask', { cluster: 'drain', taskDefinition: 'run' }), ...none);
	assert.deepEqual((await call('StartTask', { cluster: 'drain', taskDefinition: 'run', containerInstances: [arn] })).failures, [{ arn, reason: 'INACTIVE' }]);
	await state('ACTIVE');
	await rejects(state('REGISTERING'), 'InvalidParameterException');
	assert.equal((await call('DeregisterContainerInstance', { cluster: 'drain', containerInstance: arn, force: true })).containerInstance.status, 'INACTIVE');
	assert.deepEqual(await instances({ cluster: 'drain' }), []);
	await rejects(call('RunTask', { cluster: 'drain', taskDefinition: 'run' }), ...none);
	await server.restart();
	connect();
	const [again] = await instances({ cluster: 'drain' });
	assert.ok(again);
	assert.notEqual(again, arn);
});

test('what RunTask refuses', async () => {
	await register('run');
	await register('vpc', { networkMode: 'awsvpc', cpu: '256', memory: '512', containerDefinitions: [{ name: 'app', image: 'busybox' }] });
	await register('old');
	await call('DeregisterTaskDefinition', { taskDefinition: 'old:1' });
	const bad = (more, name, text) => rejects(call('RunTask', { taskDefinition: 'run', ...more }), name, text);
	const invalid = (more, text) => bad(more, 'InvalidParameterException', text);
	await bad({ cluster: 'none' }, 'ClusterNotFoundException', 'Cluster not found.');
	await bad({ taskDefinition: 'none' }, 'ClientException', 'TaskDefinition not found.');
	await invalid({ taskDefinition: 'old:1' }, 'TaskDefinition is inactive');
	await invalid({ count: 0 }, /count/);
	await invalid({ count: 11 }, /count/);
	await invalid({ launchType: 'EC2', capacityProviderStrategy: [{ capacityProvider: 'FARGATE', weight: 1 }] },
		'Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again.');
	await invalid({ launchType: 'FARGATE' }, 'Task definition does not support launch_type FARGATE.');
	await invalid({ taskDefinition: 'vpc' }, "Network Configuration must be provided when networkMode 'awsvpc' is specified.");
	const networkConfiguration = { awsvpcConfiguration: { subnets: ['subnet-1'] } };
	await invalid({ networkConfiguration }, 'Network Configuration is not valid for the given networkMode of this task definition.');
	await invalid({ taskDefinition: 'vpc', networkConfiguration: { awsvpcConfiguration: { subnets: [] } } }, 'subnets can not be empty.');
	const vpc = { taskDefinition: 'vpc', networkConfiguration, launchType: 'FARGATE' };
	await invalid({ ...vpc, placementConstraints: [{ type: 'distinctInstance' }] }, 'Placement constraints are not supported with FARGATE launch type.');
	await invalid({ ...vpc, placementStrategy: [{ type: 'random' }] }, 'Placement strategies are not supported with FARGATE launch type.');
	await bad({ ...vpc, platformVersion: '9.9' }, 'PlatformUnknownException');
	await invalid({ platformVersion: 'LATEST' }, 'The platform version must be null when specifying an EC2 launch type.');
	await invalid({ ...vpc, overrides: { cpu: '256', memory: '8192' } }, /No Fargate configuration exists/);
	await invalid({ overrides: { containerOverrides: [{ name: 'other' }] } }, 'Override for container named other is not a container in the TaskDefinition.');
	await invalid({ overrides: { containerOverrides: [{ name: 'app', command: ['x'.repeat(9000)] }] } }, 'Container Overrides length must be at most 8192');
	await invalid({ placementConstraints: [{ type: 'memberOf', expression: 'nonsense' }] }, /Invalid constraint expression/);
	await invalid({ placementStrategy: [{ type: 'binpack', field: 'colour' }] }, /Invalid placement strategy/);
	await invalid({ capacityProviderStrategy: [{ capacityProvider: 'none', weight: 1 }] }, /not associated/);
	await invalid({ startedBy: 'x'.repeat(129) }, /startedBy/);
	await invalid({ clientToken: 'x'.repeat(65) }, /clientToken/);
	await invalid({ group: 'service:x' }, /group/);
	await invalid({ propagateTags: 'SERVICE' }, /propagateTags/);
	await invalid({ tags: [{ key: 'aws:x', value: '' }] }, /aws:/);
	const failed = async (more, definition) => {
		if (definition) await register('failing', definition);
		const { tasks, failures } = await call('RunTask', { taskDefinition: definition ? 'failing' : 'run', ...more });
		assert.deepEqual(tasks, []);
		return failures.map((f) => f.reason);
	};
	// What lacks is named; asked for by an override it lacks as well.
	for (const [container, more, reason, name] of [
		[{ dockerSecurityOptions: ['apparmor:strict'] }, {}, 'ATTRIBUTE', 'com.amazonaws.ecs.capability.apparmor'],
		[{ dockerSecurityOptions: ['label:type:x'] }, {}, 'ATTRIBUTE', 'com.amazonaws.ecs.capability.selinux'],
		[{ firelensConfiguration: { type: 'fluentbit' } }, {}, 'ATTRIBUTE', 'ecs.capability.firelens.fluentbit'],
		[{}, { overrides: { containerOverrides: [{ name: 'app', resourceRequirements: [{ type: 'GPU', value: '1' }] }] } }, 'RESOURCE:GPU', 'ecs.capability.gpu'],
		[{}, { overrides: { inferenceAcceleratorOverrides: [{ deviceName: 'd', deviceType: 'eia1' }] } }, 'ATTRIBUTE', 'ecs.capability.task-eia'],
	]) {
		await register('lacking', { containerDefinitions: [box(container)] });
		const { tasks, failures: [failure] } = await call('RunTask', { taskDefinition: 'lacking', ...more });
		assert.deepEqual([tasks, failure.reason, failure.detail], [[], reason, `The attribute ${name} is required.`]);
	}
	const efs = { volumes: [{ name: 'v', efsVolumeConfiguration: { fileSystemId: 'fs-1' } }] };
	const fargate = { networkMode: 'awsvpc', requiresCompatibilities: ['FARGATE'], cpu: '256', memory: '512' };
	await register('efs', { ...efs, ...fargate, containerDefinitions: [{ name: 'app', image: 'busybox', mountPoints: [{ sourceVolume: 'v', containerPath: '/v' }] }] });
	const { failures: [failure] } = await call('RunTask', { ...vpc, taskDefinition: 'efs' });
	assert.deepEqual([failure.reason, failure.detail], ['ATTRIBUTE', 'The attribute ecs.capability.efs is required.']);
	assert.deepEqual(await failed({ placementConstraints: [{ type: 'memberOf', expression: 'attribute:rack == 9' }] }), ['MemberOf placement constraint unsatisfied.']);
	assert.deepEqual(await failed({ count: 2 }, { containerDefinitions: [box({ memory: 100_000_000 })] }), ['RESOURCE:MEMORY', 'RESOURCE:MEMORY']);
	assert.deepEqual(await failed({}, { containerDefinitions: [box({ resourceRequirements: [{ type: 'GPU', value: '1' }] })] }), ['RESOURCE:GPU']);
	assert.deepEqual(await failed({}, { containerDefinitions: [box({ logConfiguration: { logDriver: 'splunk' } })] }), ['ATTRIBUTE']);
	const other = process.arch === 'arm64' ? 'X86_64' : 'ARM64';
	assert.deepEqual(await failed({}, { runtimePlatform: { cpuArchitecture: other } }), ['ATTRIBUTE']);
});

test('tasks that are not there', async () => {
	assert.deepEqual((await call('ListTasks')).taskArns, []);
	assert.equal((await call('DescribeTasks', { tasks: ['0123'] })).failures[0].reason, 'MISSING');
	await rejects(call('DescribeTasks', { tasks: [] }), 'InvalidParameterException', 'Tasks cannot be empty.');
	await rejects(call('DescribeTasks', { tasks: Array(101).fill('x') }), 'InvalidParameterException');
	await rejects(call('StopTask', { task: '0123' }), 'InvalidParameterException', 'The referenced task was not found.');
	await rejects(call('ListTasks', { startedBy: 'me', family: 'x' }), 'InvalidParameterException', /startedBy/);
	await rejects(call('ListTasks', { serviceName: 'x' }), 'ServiceNotFoundException', 'Service not found.');
	await rejects(call('ListTasks', { containerInstance: 'x' }), 'InvalidParameterException', /not found/);
	const { failures } = await call('UpdateTaskProtection', { cluster: 'default', tasks: ['x'], protectionEnabled: true });
	assert.equal(failures[0].reason, 'MISSING');
	await rejects(call('UpdateTaskProtection', { cluster: 'default', tasks: ['x'], protectionEnabled: true, expiresInMinutes: 2881 }), 'InvalidParameterException');
	assert.deepEqual((await call('GetTaskProtection', { cluster: 'default' })).protectedTasks, []);
});
