import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
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
const arn = (rest) => `arn:aws:ecs:us-east-1:123456789012:${rest}`;
const ROLE = 'arn:aws:iam::123456789012:role/execution';
const box = (more) => ({ name: 'app', image: 'busybox', memory: 32, ...more });
const register = (family, more) => call('RegisterTaskDefinition', { family, containerDefinitions: [box()], ...more });
const fargate = (more, container) => ({ networkMode: 'awsvpc', requiresCompatibilities: ['FARGATE'], cpu: '256', memory: '512',
	containerDefinitions: [{ name: 'app', image: 'busybox', ...container }], ...more });

test('a definition comes back with what ECS adds to it', async () => {
	const { taskDefinition: d, tags } = await register('plain', { tags: [{ key: 'a', value: 'b' }],
		containerDefinitions: [box({ portMappings: [{ containerPort: 80 }], healthCheck: { command: ['CMD', 'true'] } })] });
	assert.equal(d.taskDefinitionArn, arn('task-definition/plain:1'));
	assert.deepEqual([d.family, d.revision, d.status, d.networkMode, d.registeredBy], ['plain', 1, 'ACTIVE', undefined, 'arn:aws:iam::123456789012:root']);
	assert.deepEqual(d.containerDefinitions, [{ name: 'app', image: 'busybox', memory: 32, cpu: 0, essential: true,
		portMappings: [{ containerPort: 80, hostPort: 0, protocol: 'tcp' }], environment: [], mountPoints: [], volumesFrom: [], systemControls: [],
		healthCheck: { command: ['CMD', 'true'], interval: 30, timeout: 5, retries: 3 } }]);
	assert.deepEqual([d.volumes, d.placementConstraints, d.compatibilities], [[], [], ['EXTERNAL', 'EC2']]);
	assert.deepEqual(d.requiresAttributes.map((a) => a.name), ['ecs.capability.container-health-check', 'com.amazonaws.ecs.capability.docker-remote-api.1.18']);
	assert.deepEqual(tags, [{ key: 'a', value: 'b' }]);
	assert.ok(Math.abs(d.registeredAt - Date.now()) < 60_000);
	const seen = await call('DescribeTaskDefinition', { taskDefinition: 'plain' });
	assert.deepEqual([seen.taskDefinition, seen.tags], [d, undefined]);
	assert.deepEqual((await call('DescribeTaskDefinition', { taskDefinition: 'plain:1', include: ['TAGS'] })).tags, tags);
});

test('a Fargate definition with all that ECS knows of', async () => {
	const secret = 'arn:aws:secretsmanager:us-east-1:123456789012:secret:db-AbCdEf';
	const { taskDefinition: d } = await register('full', fargate({ cpu: '1 vCPU', memory: '3 GB', executionRoleArn: ROLE, taskRoleArn: 'task',
		ephemeralStorage: { sizeInGiB: 30 }, pidMode: 'task', runtimePlatform: { cpuArchitecture: 'X86_64', operatingSystemFamily: 'LINUX' },
		volumes: [{ name: 'scratch' }] }, {
		environment: [{ name: 'A', value: '1' }], secrets: [{ name: 'DB', valueFrom: secret }, { name: 'P', valueFrom: '/p' }],
		environmentFiles: [{ type: 's3', value: 'arn:aws:s3:::b/x.env' }], portMappings: [{ containerPort: 80, name: 'web', appProtocol: 'http' }],
		logConfiguration: { logDriver: 'awslogs', options: { 'awslogs-group': 'g', 'awslogs-region': 'us-east-1', 'awslogs-stream-prefix': 'p' } },
		mountPoints: [{ sourceVolume: 'scratch', containerPath: '/s' }], ulimits: [{ name: 'nofile', softLimit: 1024, hardLimit: 4096 }],
		linuxParameters: { initProcessEnabled: true, capabilities: { drop: ['ALL'], add: ['SYS_PTRACE'] } },
		restartPolicy: { enabled: true, ignoredExitCodes: [0], restartAttemptPeriod: 60 }, dockerLabels: { a: 'b' }, stopTimeout: 120,
		systemControls: [{ namespace: 'net.core.somaxconn', value: '512' }], user: '1000:50', readonlyRootFilesystem: true, command: ['a', 'b'] }));
	assert.deepEqual([d.cpu, d.memory, d.taskRoleArn], ['1024', '3072', 'arn:aws:iam::123456789012:role/task']);
	assert.deepEqual(d.compatibilities, ['EC2', 'FARGATE']);
	assert.deepEqual(d.volumes, [{ name: 'scratch', host: {} }]);
	const [c] = d.containerDefinitions;
	assert.deepEqual(c.portMappings, [{ containerPort: 80, hostPort: 80, protocol: 'tcp', name: 'web', appProtocol: 'http' }]);
	assert.deepEqual(c.logConfiguration.secretOptions, []);
	assert.deepEqual([c.restartPolicy, c.dockerLabels, c.linuxParameters, c.systemControls, c.user],
		[{ enabled: true, ignoredExitCodes: [0], restartAttemptPeriod: 60 }, { a: 'b' }, { initProcessEnabled: true, capabilities: { drop: ['ALL'], add: ['SYS_PTRACE'] } },
			[{ namespace: 'net.core.somaxconn', value: '512' }], '1000:50']);
	const names = d.requiresAttributes.map((a) => a.name);
	for (const name of ['com.amazonaws.ecs.capability.logging-driver.awslogs', 'ecs.capability.execution-role-awslogs', 'ecs.capability.task-eni',
		'ecs.capability.secrets.asm.environment-variables', 'ecs.capability.secrets.ssm.environment-variables', 'ecs.capability.env-files.s3',
		'com.amazonaws.ecs.capability.task-iam-role', 'ecs.capability.pid-ipc-namespace-sharing', 'ecs.capability.container-restart-policy'])
		assert.ok(names.includes(name), name);
});

test('what Fargate refuses', async () => {
	const bad = (more, text, container) => rejects(register('bad', fargate(more, container)), 'ClientException', text);
	await bad({ cpu: undefined }, "Fargate requires that 'cpu' be defined at the task level.");
	await bad({ memory: undefined }, /memory/);
	await bad({ cpu: '1024', memory: '1024' },
		'No Fargate configuration exists for given values: 1024 CPU, 1024 memory. See the Amazon ECS documentation for the valid values.');
	await bad({ networkMode: 'bridge' }, 'Fargate only supports network mode ‘awsvpc’.');
	await bad({ ipcMode: 'task' }, 'Tasks using the Fargate launch type do not support ipcMode.');
	await bad({ pidMode: 'host' }, "Tasks using the Fargate launch type do not support pidMode 'host'. The supported value for pidMode is 'task'.");
	await bad({}, /privileged/, { privileged: true });
	await bad({}, /SYS_PTRACE/, { linuxParameters: { capabilities: { add: ['NET_ADMIN'] } } });
	await bad({}, 'Fargate requires task definition to have execution role ARN to support log driver awslogs.',
		{ logConfiguration: { logDriver: 'awslogs', options: { 'awslogs-group': 'g', 'awslogs-region': 'r', 'awslogs-stream-prefix': 'p' } } });
	await bad({ volumes: [{ name: 'v', host: { sourcePath: '/x' } }] }, /sourcePath/);
	await bad({}, /120/, { stopTimeout: 121 });
	for (const [cpu, memory] of [['256', '512'], ['256', '1024'], ['256', '2 GB'], ['.25 vCPU', '1GB'], ['512', '4096'], ['2048', '16384'], ['4 vCPU', '30 GB'], ['8192', '20480'], ['16384', '122880']])
		assert.ok((await register('sizes', fargate({ cpu, memory }))).taskDefinition.compatibilities.includes('FARGATE'));
	for (const [cpu, memory] of [['256', '1536'], ['256', '3072'], ['4096', '31744'], ['8192', '17408'], ['300', '512']])
		await bad({ cpu, memory }, /No Fargate configuration exists/);
});

test('what ECS refuses of a task', async () => {
	const bad = (more, text) => rejects(register('bad', more), 'ClientException', text);
	await rejects(register('a b'), 'ClientException', 'Family contains invalid characters.');
	await bad({ containerDefinitions: [] }, 'Container list cannot be empty.');
	await bad({ containerDefinitions: Array.from({ length: 11 }, (_, i) => box({ name: `c${i}` })) }, /at most 10/);
	await bad({ containerDefinitions: [box(), box()] }, /unique/);
	await bad({ containerDefinitions: [box({ essential: false })] }, /essential/);
	await bad({ cpu: '64' }, /Invalid 'cpu' setting for task\./);
	await bad({ cpu: '1 pint' }, /Invalid 'cpu' setting for task\./);
	await bad({ memory: 'much' }, /Invalid 'memory' setting for task\./);
	await bad({ cpu: '256', containerDefinitions: [box({ cpu: 200 }), box({ name: 'b', cpu: 57 })] },
		"The sum of all container 'cpu' values cannot be greater than the value of the task 'cpu'.");
	await bad({ memory: '16' }, /greater than for the task/);
	await bad({ memory: '48', containerDefinitions: [box(), box({ name: 'b' })] }, /sum of all container 'memoryReservation'/);
	await bad({ ephemeralStorage: { sizeInGiB: 20 } }, /between 21 and 200/);
	await bad({ taskRoleArn: 'arn:aws:s3:::x' }, 'Role is not valid');
	await bad({ volumes: [{ name: 'v' }, { name: 'v' }] }, /unique/);
	await bad({ volumes: [{ name: 'v', host: { sourcePath: 'relative' } }] }, /absolute/);
	await bad({ volumes: [{ name: 'v', dockerVolumeConfiguration: { autoprovision: true } }] }, /autoprovision/);
	await bad({ placementConstraints: [{ type: 'memberOf', expression: 'attribute:x =' }] }, /Invalid placement constraint expression/);
	await bad({ tags: [] }, 'Tags can not be empty.');
	await rejects(register('bad', { tags: [{ key: 'aws:x', value: '1' }] }), 'InvalidParameterException', /aws:/);
	await bad({ containerDefinitions: [box({ command: ['x'.repeat(70_000)] })] }, /^Actual length: '\d+'\. Max allowed length is '65536' bytes\.$/);
	await bad({ networkMode: 'awsvpc', requiresCompatibilities: ['EXTERNAL'] }, /awsvpc/);
	await bad({ requiresCompatibilities: ['MANAGED_INSTANCES'] }, /awsvpc and host/);
	await bad({ runtimePlatform: { operatingSystemFamily: 'WINDOWS_SERVER_2022_CORE' } }, /LINUX/);
});

test('what ECS refuses of a container', async () => {
	const bad = (container, text, more) => rejects(register('bad', { containerDefinitions: [box(container)], ...more }), 'ClientException', text);
	await bad({ name: undefined }, 'Container.name should not be null or empty.');
	await bad({ name: 'a b' }, /Container.name/);
	await bad({ image: '' }, 'Container.image should not be null or empty.');
	await bad({ memory: undefined }, "Invalid setting for container 'app'. At least one of 'memory' or 'memoryReservation' must be specified.");
	await bad({ memory: 3 }, /at least 4 MiB/);
	await bad({ memoryReservation: 64 }, /must be greater than/);
	await bad({ cpu: -1 }, /negative/);
	await bad({ portMappings: [{ containerPort: 80, hostPort: 81 }] }, 'When networkMode=awsvpc, the host ports and container ports in port mappings must match.', { networkMode: 'awsvpc' });
	await bad({ portMappings: [{ containerPort: 80 }] }, /networkMode=none/, { networkMode: 'none' });
	await bad({ portMappings: [{ containerPort: 70_000 }] }, /between 1 and 65535/);
	await bad({ portMappings: [{ containerPort: 80, hostPort: 8080 }, { containerPort: 81, hostPort: 8080 }] }, /twice/);
	await bad({ portMappings: [{ containerPortRange: '90-80' }] }, /containerPortRange/);
	await bad({ hostname: 'h' }, 'hostname is not supported on container when networkMode=awsvpc.', { networkMode: 'awsvpc' });
	await bad({ links: ['other'] }, 'Links are not supported when networkMode=awsvpc.', { networkMode: 'awsvpc' });
	await bad({ links: ['other'] }, /does not exist/);
	await bad({ healthCheck: { command: ['true'] } }, /CMD/);
	await bad({ healthCheck: { command: ['CMD', 'true'], interval: 1 } }, /interval/);
	await bad({ ulimits: [{ name: 'nofile', softLimit: 2, hardLimit: 1 }] }, /soft limit/);
	await bad({ restartPolicy: { enabled: true, restartAttemptPeriod: 59 } }, /restartAttemptPeriod/);
	await bad({ mountPoints: [{ sourceVolume: 'v', containerPath: '/x' }] }, "Unknown volume 'v'.");
	for (const containerPath of ['/', '//', '/proc', '/x/../proc/self', '/./sys', '/dev/', '/dev/pts/0'])
		await bad({ linuxParameters: { tmpfs: [{ containerPath, size: 1 }] } }, /cannot be covered/);
	await bad({ volumesFrom: [{ sourceContainer: 'other' }] }, /volumesFrom/);
	await bad({ linuxParameters: { tmpfs: [{ containerPath: 'x', size: 1 }] } }, /tmpfs/);
	for (const option of ['bind', 'mode=', 'uid=root', 'size=1', 'noexec,suid'])
		await bad({ linuxParameters: { tmpfs: [{ containerPath: '/x', size: 1, mountOptions: ['ro', option] }] } }, new RegExp(`mountOption '${option}'`));
	await bad({ dockerSecurityOptions: ['no-new-privileges', 'seccomp=unconfined'] }, /dockerSecurityOption 'seccomp=unconfined'/);
	await bad({ disableNetworking: true }, /networkMode=host/, { networkMode: 'host' });
	await bad({ disableNetworking: true, portMappings: [{ containerPort: 80 }] }, /disableNetworking/);
	await bad({ linuxParameters: { capabilities: { add: ['FLY'] } } }, /unknown capability 'FLY'/);
	await bad({ environment: [{ name: 'A=B', value: '' }] }, /without '='/);
	await bad({ secrets: [{ name: 'S', valueFrom: 'p' }] }, "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.");
	await bad({ environmentFiles: [{ type: 's3', value: 'arn:aws:s3:::b/x.txt' }] }, /\.env/);
	await bad({ logConfiguration: { logDriver: 'awslogs', options: {} } }, 'Log driver awslogs requires options: awslogs-region, awslogs-group');
	const awslogs = (more) => ({ logConfiguration: { logDriver: 'awslogs', options: { 'awslogs-group': 'g', 'awslogs-region': 'us-east-1', ...more } } });
	await bad(awslogs({ 'awslogs-multiline-pattern': '^(' }), /awslogs-multiline-pattern '\^\(': it is no regular expression, see character 3/);
	await bad(awslogs({ 'awslogs-datetime-format': '%Q' }), /character 1 is none of %a/);
	await bad(awslogs({ 'awslogs-datetime-format': '%Y', 'awslogs-multiline-pattern': 'x' }), /exclude each other/);
	await bad(awslogs({ 'awslogs-endpoint': 'x' }), 'Log driver awslogs disallows options: awslogs-endpoint. Leave it out.');
	await bad(awslogs({ mode: 'blocking', 'max-buffer-size': '1m' }), /mode non-blocking only/);
	await bad({ logConfiguration: { logDriver: 'json-file', options: { 'max-size': '10m' } } }, /disallows options: max-size.*\/mayfly\/tasks/);
	await bad({ dependsOn: [{ containerName: 'none', condition: 'START' }] }, "Cannot depend on container + 'none' because it does not exist");
	const two = (a, b) => rejects(register('bad', { containerDefinitions: [box(a), box({ name: 'b', ...b })] }), 'ClientException', /circle|essential|health/);
	await two({ dependsOn: [{ containerName: 'b', condition: 'START' }] }, { dependsOn: [{ containerName: 'app', condition: 'START' }] });
	await two({ dependsOn: [{ containerName: 'b', condition: 'START' }] }, { links: ['app'] });
	await two({ dependsOn: [{ containerName: 'b', condition: 'SUCCESS' }] });
	await two({ dependsOn: [{ containerName: 'b', condition: 'HEALTHY' }] });
	await register('good', { containerDefinitions: [box({ dependsOn: [{ containerName: 'b', condition: 'SUCCESS' }, { containerName: 'c', condition: 'START' }] }),
		box({ name: 'b', essential: false, dependsOn: [{ containerName: 'c', condition: 'START' }] }), box({ name: 'c' })] });
});

test('revisions are counted, listed, deregistered and deleted', async () => {
	for (let i = 0; i < 11; i++) await register('rev');
	await register('rev-other');
	const list = async (input) => (await call('ListTaskDefinitions', { familyPrefix: 'rev', ...input })).taskDefinitionArns.map((a) => a.split('/')[1]);
	const all = Array.from({ length: 11 }, (_, i) => `rev:${i + 1}`);
	assert.deepEqual(await list(), all);
	assert.deepEqual(await list({ sort: 'DESC' }), all.toReversed());
	const seen = [];
	for await (const page of ecs.paginateListTaskDefinitions({ client, pageSize: 4 }, { familyPrefix: 'rev', sort: 'DESC' }))
		seen.push(...page.taskDefinitionArns.map((a) => a.split('/')[1]));
	assert.deepEqual(seen, all.toReversed());
	const families = async (input) => (await call('ListTaskDefinitionFamilies', { familyPrefix: 'rev', ...input })).families;
	assert.deepEqual(await families(), ['rev', 'rev-other']);
	const off = (await call('DeregisterTaskDefinition', { taskDefinition: 'rev:11' })).taskDefinition;
	assert.equal(off.status, 'INACTIVE');
	assert.ok(off.deregisteredAt);
	assert.equal((await call('DescribeTaskDefinition', { taskDefinition: 'rev' })).taskDefinition.revision, 10);
	assert.equal((await call('DescribeTaskDefinition', { taskDefinition: 'rev:11' })).taskDefinition.status, 'INACTIVE');
	assert.deepEqual(await list({ status: 'INACTIVE' }), ['rev:11']);
	assert.equal((await register('rev')).taskDefinition.revision, 12);
	await rejects(call('DeregisterTaskDefinition', { taskDefinition: 'rev' }), 'ClientException', 'Revision is missing.');
	await rejects(call('DeregisterTaskDefinition', { taskDefinition: 'rev:99' }), 'ClientException', 'The specified task definition does not exist.');
	await rejects(call('DescribeTaskDefinition', { taskDefinition: 'none' }), 'ClientException', 'Unable to describe task definition.');
	const gone = await call('DeleteTaskDefinitions', { taskDefinitions: ['rev:11', 'rev:12', 'rev:99'] });
	assert.deepEqual(gone.taskDefinitions.map((d) => [d.revision, d.status]), [[11, 'DELETE_IN_PROGRESS']]);
	assert.deepEqual(gone.failures.map((f) => f.arn), [arn('task-definition/rev:12'), arn('task-definition/rev:99')]);
	assert.deepEqual(await list({ status: 'DELETE_IN_PROGRESS' }), ['rev:11']);
	await call('DeregisterTaskDefinition', { taskDefinition: 'rev-other:1' });
	assert.deepEqual(await families({ status: 'ACTIVE' }), ['rev']);
	assert.deepEqual(await families({ status: 'INACTIVE' }), ['rev-other']);
	const many = await Promise.all(Array.from({ length: 8 }, () => register('race')));
	assert.deepEqual(many.map((m) => m.taskDefinition.revision).toSorted(), [1, 2, 3, 4, 5, 6, 7, 8]);
});

test('definitions have tags, and stay after the server was killed', async () => {
	const { taskDefinition: { taskDefinitionArn: resourceArn } } = await register('kept', { tags: [{ key: 'a', value: '1' }] });
	await call('TagResource', { resourceArn, tags: [{ key: 'b', value: '2' }] });
	await call('UntagResource', { resourceArn, tagKeys: ['a'] });
	await server.restart('SIGKILL');
	connect();
	assert.deepEqual((await call('ListTagsForResource', { resourceArn })).tags, [{ key: 'b', value: '2' }]);
	assert.equal((await register('rev')).taskDefinition.revision, 13);
});

test('a family of which an hour after its deletion nothing is left is forgotten, but for its last number', async () => {
	const gone = [(await register('gone')).taskDefinition, (await register('gone')).taskDefinition].map((d) => d.taskDefinitionArn);
	await register('left');
	await call('DeregisterTaskDefinition', { taskDefinition: (await register('left')).taskDefinition.taskDefinitionArn });
	await call('DeleteTaskDefinitions', { taskDefinitions: ['left:2'] });
	for (const taskDefinition of gone) await call('DeregisterTaskDefinition', { taskDefinition });
	await call('DeleteTaskDefinitions', { taskDefinitions: gone });
	await server.halt();
	execFileSync('python3', ['-c', `import re, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
for space, key, value in db.execute("SELECT space, key, value FROM keys WHERE space = 'ecs-definitions'").fetchall():
    db.execute("UPDATE keys SET value = ? WHERE space = ? AND key = ?",
               (re.sub(rb'"deleteRequestedAt":[0-9.e+]+', b'"deleteRequestedAt":1700000000', bytes(value)), space, key))
db.commit()`, join(server.data, 'mayfly.db')]);
	await server.start();
	connect();
	const end = Date.now() + 30_000; // a moment after the start
	while ((await call('ListTaskDefinitionFamilies', { familyPrefix: 'gone', status: 'ALL' })).families.length) {
		assert.ok(Date.now() < end);
		await new Promise((resolve) => setTimeout(resolve, 50));
	}
	await assert.rejects(call('DescribeTaskDefinition', { taskDefinition: 'gone:2' }));
	assert.equal((await register('gone')).taskDefinition.revision, 3);
	assert.equal((await register('left')).taskDefinition.revision, 3);
});
