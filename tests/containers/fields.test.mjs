// Fields of task definitions that change what containers find or how they live, one by one. What is
// shown of them without a container is tested in tests/api.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';

import { Rig, ecs, makeImage, secrets, ssm, startRegistry } from './rig.mjs';

let rig;
before(async () => {
	rig = await Rig.start({ images: { busybox: makeImage(), volumes: makeImage({
		files: { 'data/from-image': 'image\n' },
		config: { Volumes: { '/data': {}, '/made/by/docker': {}, '/proc': {} } } }),
	content: makeImage({ files: { 'd/file': 'file\n', 'd/run': '#!/bin/sh\n', 'd/sub/below': 'below\n' },
		links: { 'd/out': '/etc/own', astray: '../../../d' },
		modes: { d: ['750', '1000:1001'], 'd/sub': ['2775', '0:7'] } }),
	astray: makeImage({ links: { out: '../../../../var' }, config: { Volumes: { '/out': {} } } }) } });
});
after(() => rig?.stop());
afterEach(() => rig.clean());

const after1 = (containerName, condition) => ({ dependsOn: [{ containerName, condition }] });

test('containers start when what they depend on has COMPLETEd or is HEALTHY', async () => {
	const volumes = [{ name: 'v' }];
	const mountPoints = [{ sourceVolume: 'v', containerPath: '/v' }];
	const arn = await rig.run([
		{ name: 'main', sh: 'cat /v/failed /v/healthy; sleep 1000', mountPoints, dependsOn: [
			{ containerName: 'fails', condition: 'COMPLETE' }, { containerName: 'db', condition: 'HEALTHY' }] },
		{ name: 'fails', sh: 'echo failed > /v/failed; exit 9', essential: false, mountPoints },
		{ name: 'db', sh: 'sleep 1; echo healthy > /v/healthy; sleep 1000', mountPoints, ...after1('fails', 'COMPLETE'),
			healthCheck: { command: ['CMD-SHELL', 'test -e /v/healthy'], interval: 5, timeout: 2, retries: 10 } },
	], { volumes });
	const task = await rig.status(arn, 'RUNNING', 60_000);
	assert.deepEqual(task.containers.map((c) => [c.name, c.lastStatus, c.exitCode]),
		[['main', 'RUNNING', undefined], ['fails', 'STOPPED', 9], ['db', 'RUNNING', undefined]]);
	assert.deepEqual(await rig.until('two lines', async () => {
		const lines = await rig.lines(arn, 'main');
		return lines.length === 2 && lines;
	}), ['failed', 'healthy']);
	await rig.halt(arn);
	await rig.status(arn, 'STOPPED');
});

test('they stop in the reverse order', async () => {
	const volumes = [{ name: 'v' }];
	const mountPoints = [{ sourceVolume: 'v', containerPath: '/v' }];
	const sh = (name) => `trap "echo ${name} >> /v/ends; cat /v/ends; exit 0" TERM; touch /v/${name}; while :; do sleep 0.1; done`;
	const arn = await rig.run([
		{ name: 'db', sh: sh('db'), mountPoints, stopTimeout: 60 },
		{ name: 'app', sh: sh('app'), mountPoints, stopTimeout: 60, ...after1('db', 'START') },
		{ name: 'proxy', sh: sh('proxy'), mountPoints, stopTimeout: 60, ...after1('app', 'START'),
			healthCheck: { command: ['CMD-SHELL', 'test -e /v/db -a -e /v/app -a -e /v/proxy'], interval: 5 } },
	], { volumes });
	await rig.until('traps', async () => (await rig.get(arn)).containers[2].healthStatus === 'HEALTHY', 60_000);
	await rig.halt(arn);
	await rig.status(arn, 'STOPPED', 90_000);
	assert.deepEqual(await rig.lines(arn, 'db'), ['proxy', 'app', 'db']);
});

test('startTimeout: who waits for too long does not start, and the task says so', async () => {
	const task = await rig.finished([
		{ name: 'slow', sh: 'sleep 1000', essential: false, startTimeout: 2 },
		{ name: 'main', sh: 'echo never', ...after1('slow', 'COMPLETE') },
	]);
	assert.equal(task.stopCode, 'TaskFailedToStart');
	assert.match(task.stoppedReason, /container ordering dependency \[slow\] \(COMPLETE\) for target \[main\] has timed out/);
	assert.deepEqual(await rig.lines(task.taskArn, 'main'), []);
});

test('links name the other container, by name and by alias', async () => {
	const { text } = await rig.output('grep db /etc/hosts', { name: 'c0', links: ['back:db'] }, {}, {}, [
		{ name: 'back', sh: 'sleep 1000', essential: false }]);
	assert.match(text, /^\d+\.\d+\.\d+\.\d+\s+db back$/m);
});

test('volumesFrom has the volumes of another, and those that it has from a third', async () => {
	const task = await rig.finished([
		{ name: 'third', sh: 'echo third > /three/f; sleep 1000', essential: false, mountPoints: [{ sourceVolume: 'three', containerPath: '/three' }] },
		{ name: 'second', sh: 'echo second > /two/f; sleep 1000', essential: false, mountPoints: [{ sourceVolume: 'two', containerPath: '/two' }],
			volumesFrom: [{ sourceContainer: 'third' }] },
		{ name: 'first', sh: 'while ! cat /two/f /three/f 2>/dev/null; do sleep 0.1; done; touch /two/x 2>/dev/null || echo read-only',
			volumesFrom: [{ sourceContainer: 'second', readOnly: true }] },
	], { volumes: [{ name: 'two' }, { name: 'three', dockerVolumeConfiguration: { scope: 'task' } }] });
	const lines = await rig.lines(task.taskArn, 'first');
	assert.deepEqual(lines.slice(-3), ['second', 'third', 'read-only']);
});

test('containers that name each other in volumesFrom many times are refused, not walked for ever', async () => {
	const task = await rig.finished(Array.from({ length: 9 }, (_, i) => ({ name: `v${i}`, sh: 'sleep 1', essential: i === 8,
		volumesFrom: i ? Array(20).fill({ sourceContainer: `v${i - 1}` }) : [] })));
	assert.match(JSON.stringify(task.containers), /CannotCreateContainerError: volumesFrom leads to more than 256 containers/);
});

test('docker volumes: a shared one outlives tasks; what there is no driver for is refused in words', async () => {
	const shared = (more) => ({ volumes: [{ name: 'kept', dockerVolumeConfiguration: { scope: 'shared', autoprovision: true, ...more } }] });
	const mountPoints = [{ sourceVolume: 'kept', containerPath: '/k' }];
	await rig.output('echo one > /k/f', { mountPoints }, shared());
	assert.equal((await rig.output('cat /k/f', { mountPoints }, shared())).text, 'one');
	const { taskDefinition } = await rig.ecs.send(new ecs.RegisterTaskDefinitionCommand({ family: 'plugin',
		containerDefinitions: [{ name: 'a', image: rig.image(), memory: 16, mountPoints }], ...shared({ driver: 'rexray' }) }));
	const { failures } = await rig.ecs.send(new ecs.RunTaskCommand({ taskDefinition: taskDefinition.taskDefinitionArn }));
	assert.deepEqual([failures[0].reason, failures[0].detail], ['ATTRIBUTE', 'The attribute ecs.capability.docker-plugin.rexray is required.']);
	const task = await rig.finished([{ mountPoints }], shared({ driverOpts: { type: 'nfs' } }));
	assert.equal(task.stopCode, 'TaskFailedToStart');
	assert.match(task.stoppedReason, /^CannotCreateVolumeError: .*driver option type/);
});

test('VOLUMEs of an image can be written to, with what the image has there, when the root cannot', async () => {
	const { text } = await rig.output(`touch /x 2>/dev/null || echo read-only
cat /data/from-image; echo more > /data/own && cat /data/own; touch /made/by/docker/x && echo made
touch /inside/x && cat /inside/y; touch /etc/x 2>/dev/null || echo etc`, { image: rig.image('volumes'), readonlyRootFilesystem: true,
		mountPoints: [{ sourceVolume: 'inside', containerPath: '/inside' }] }, { volumes: [{ name: 'inside' }] });
	assert.deepEqual(text.split('\n').filter((l) => !l.startsWith('cat:')), ['read-only', 'image', 'more', 'made', 'etc']);
});

test('a new volume begins as what the image has at its path, a link is no way out of it', async () => {
	const image = rig.image('content');
	const look = 'cd /d; stat -c "%a %u:%g" . run sub; cat file sub/below; ls -l out | tail -c 12';
	const whole = ['750 1000:1001', '755 0:0', '2775 0:7', 'file', 'below', '-> /etc/own'];
	const lines = (text) => text.split('\n');
	const scratch = { mountPoints: [{ sourceVolume: 'v', containerPath: '/d' }] };
	assert.deepEqual(lines((await rig.output(look, { image, ...scratch }, { volumes: [{ name: 'v' }] })).text), whole);
	// Once made, a volume is as it was left, whatever the image has.
	const shared = { volumes: [{ name: 'v', dockerVolumeConfiguration: { scope: 'shared', autoprovision: true } }] };
	assert.deepEqual(lines((await rig.output(`${look}; echo new > file; rm run`, { image, ...scratch }, shared)).text), whole);
	assert.equal((await rig.output('cat /d/file; ls /d', { image, ...scratch }, shared)).text, 'new\nfile\nout\nsub');
	// Where the image has nothing everybody may write, and what leads out leads nowhere.
	assert.equal((await rig.output('stat -c %a /new; ls -A /new', { image, mountPoints: [{ sourceVolume: 'v', containerPath: '/new' }] },
		{ volumes: [{ name: 'v' }] })).text, '777');
	assert.equal((await rig.output('ls -A /astray', { image, mountPoints: [{ sourceVolume: 'v', containerPath: '/astray' }] },
		{ volumes: [{ name: 'v' }] })).text, 'file\nout\nrun\nsub');
});

test('what was left of a volume by who was killed while he made it goes with the next one', async () => {
	const { pid } = spawnSync('true');
	const left = join(rig.server.data, 'volumes', `.new-${pid}`);
	mkdirSync(join(left, 'sub'), { recursive: true });
	writeFileSync(join(left, 'sub', 'file'), 'half');
	await rig.output('true', { mountPoints: [{ sourceVolume: 'w', containerPath: '/d' }] },
		{ volumes: [{ name: 'w', dockerVolumeConfiguration: { scope: 'shared', autoprovision: true } }] });
	assert.equal(existsSync(left), false);
});

test('namespaces of processes and of shared memory for all containers of a task', async () => {
	const writer = { name: 'writer', sh: 'echo shared > /dev/shm/f; sleep 1000', essential: false };
	const reader = (sh) => ({ name: 'reader', sh });
	const shared = await rig.finished([writer, reader(`while ! cat /dev/shm/f 2>/dev/null; do sleep 0.1; done
df -k /dev/shm | tail -1; ps | grep -c '[s]leep 1000'`)].map((c) => ({ ...c, linuxParameters: { sharedMemorySize: c.name === 'writer' ? 96 : 8 } })),
	{ ipcMode: 'task', pidMode: 'task' });
	const lines = await rig.lines(shared.taskArn, 'reader');
	assert.equal(lines[0], 'shared');
	assert.match(lines[1], /^shm\s+98304\s/);
	assert.notEqual(lines[2], '0');
	const own = await rig.finished([writer, reader(`sleep 2; ls /dev/shm | wc -l; df -k /dev/shm | tail -1; ps | grep -c '[s]leep 1000'`)]
		.map((c) => ({ ...c, linuxParameters: { sharedMemorySize: 8 } })));
	assert.match((await rig.lines(own.taskArn, 'reader')).join('\n'), /^0\nshm\s+8192\s[^\n]*\n0$/);
});

test('ulimits, init, sysctls and a tmpfs with its options', async () => {
	const tmpfs = (mountOptions) => [{ containerPath: '/t', size: 3, mountOptions }];
	const script = `ulimit -Sn; ulimit -Hn; echo $$; df -k /t | tail -1; stat -c '%a %u' /t
printf '#!/bin/sh\\necho ran\\n' > /t/x; chmod +x /t/x 2>/dev/null; /t/x 2>/dev/null || echo noexec`;
	const { text } = await rig.output(script, { ulimits: [{ name: 'nofile', softLimit: 100, hardLimit: 200 }],
		linuxParameters: { initProcessEnabled: true, tmpfs: tmpfs(['exec', 'mode=0750', 'uid=7']) } });
	const [soft, hard, pid, size, mode, ran] = text.split('\n');
	assert.deepEqual([soft, hard, mode, ran], ['100', '200', '750 7', 'ran']);
	assert.notEqual(pid, '1');
	assert.match(size, /^tmpfs\s+3072\s/);
	const plain = (await rig.output(script, { linuxParameters: { tmpfs: tmpfs() } })).text.split('\n');
	assert.deepEqual([plain[2], plain[4], plain[5]], ['1', '1777 0', 'noexec']); // Docker's
});

test('capabilities: added and dropped, refused in words when they are not allowed', async () => {
	const cap = (line) => BigInt(`0x${line.split(/\s+/)[1]}`);
	const bits = async (capabilities) => cap((await rig.output('grep CapBnd /proc/self/status', { linuxParameters: { capabilities } })).text);
	const usual = await bits({});
	assert.equal(await bits({ add: ['SYS_PTRACE'], drop: ['CHOWN'] }), (usual | (1n << 19n)) & ~1n);
	assert.equal(await bits({ drop: ['ALL'], add: ['NET_BIND_SERVICE'] }), 1n << 10n);
	const task = await rig.finished([{ linuxParameters: { capabilities: { add: ['NET_ADMIN'] } } }]);
	assert.equal(task.stopCode, 'TaskFailedToStart');
	assert.match(task.stoppedReason, /NET_ADMIN is not allowed; start serve with --allow-privileged/);
	const all = await rig.finished([{ privileged: true }]);
	assert.match(all.stoppedReason, /privileged containers are not allowed; start serve with --allow-privileged/);
});

test('disableNetworking leaves loopback', async () => {
	const { text } = await rig.output("ls /sys/class/net | tr '\\n' ' '", { disableNetworking: true });
	assert.equal(text.trim(), 'lo');
	const { text: usual } = await rig.output("ls /sys/class/net | tr '\\n' ' '");
	assert.equal(usual.trim(), 'eth0 lo');
});

test('a range of ports is published port by port', async () => {
	const arn = await rig.run([{ sh: 'sleep 1000', portMappings: [{ containerPortRange: '9000-9002', protocol: 'udp' }] }]);
	const [{ networkBindings }] = (await rig.status(arn, 'RUNNING')).containers;
	assert.deepEqual(networkBindings.map((b) => [b.containerPort, b.protocol]), [[9000, 'udp'], [9001, 'udp'], [9002, 'udp']]);
	assert.equal(new Set(networkBindings.map((b) => b.hostPort)).size, 3);
	await rig.halt(arn);
	await rig.status(arn, 'STOPPED');
});

test('ephemeralStorage is the size of what can be written', async () => {
	const { text } = await rig.output('df -k / | tail -1', {}, { ephemeralStorage: { sizeInGiB: 30 } });
	const kib = Number(text.split(/\s+/)[1]);
	assert.ok(kib > 28 << 20 && kib <= 30 << 20, text);
});

test('all that RunTask can override', async () => {
	const definition = { cpu: '512', memory: '256', taskRoleArn: 'arn:aws:iam::123456789012:role/defined', ephemeralStorage: { sizeInGiB: 21 } };
	const { task, text } = await rig.output('echo defined', { environment: [{ name: 'A', value: 'defined' }, { name: 'B', value: 'defined' }] }, definition, {
		overrides: { cpu: '256', memory: '128', taskRoleArn: 'arn:aws:iam::123456789012:role/other', ephemeralStorage: { sizeInGiB: 25 },
			containerOverrides: [{ name: 'c0', command: ['sh', '-c', `echo $A $B; df -k / | tail -1
wget -q -O - http://169.254.170.2$AWS_CONTAINER_CREDENTIALS_RELATIVE_URI; echo; wget -q -O - $ECS_CONTAINER_METADATA_URI_V4`],
			environment: [{ name: 'A', value: 'other' }], cpu: 100, memory: 64, memoryReservation: 32 }] } });
	const [variables, disk, keys, container] = text.split('\n');
	assert.equal(variables, 'other defined');
	const kib = Number(disk.split(/\s+/)[1]);
	assert.ok(kib > 23 << 20 && kib <= 25 << 20, disk);
	assert.equal(JSON.parse(keys).RoleArn, 'arn:aws:iam::123456789012:role/other');
	assert.deepEqual(JSON.parse(container).Limits, { CPU: 100, Memory: 64 });
	assert.deepEqual([task.cpu, task.memory, task.containers[0].cpu, task.containers[0].memory, task.containers[0].memoryReservation],
		['256', '128', '100', '64', '32']);
});

test('the image is taken by digest, and the command by Docker\'s rules', async () => {
	const digest = (await rig.output('true')).task.containers[0].imageDigest;
	const image = rig.image().replace(/:latest$/, `@${digest}`);
	const { task, text } = await rig.output(undefined, { image, entryPoint: ['echo', 'a'], command: ['b'] });
	assert.deepEqual([text, task.containers[0].imageDigest, task.containers[0].image], ['a b', digest, image]);
});

test('an interactive container with a terminal', async () => {
	const { text } = await rig.output('test -t 0 && test -t 1 && tty', { interactive: true, pseudoTerminal: true });
	assert.match(text, /^\/dev\//);
});

test('repositoryCredentials open a private registry, wrong ones do not', async (t) => {
	const registry = await startRegistry({ hidden: makeImage() }, 'ada:secret');
	t.after(() => registry.close());
	const client = new secrets.SecretsManagerClient(rig.server.client());
	const secret = async (Name, password) => (await client.send(new secrets.CreateSecretCommand({ Name,
		SecretString: JSON.stringify({ username: 'ada', password }) }))).ARN;
	const container = (credentialsParameter) => ({ sh: 'echo in', image: registry.name('hidden'), ...(credentialsParameter && { repositoryCredentials: { credentialsParameter } }) });
	for (const [credentials, code] of [[undefined, /^CannotPull\w*Error: /], [await secret('wrong', 'guess'), /^CannotPull\w*Error: /],
		['arn:aws:secretsmanager:us-east-1:123456789012:secret:none-AbCdEf', /^ResourceInitializationError: unable to pull secrets or registry auth: /]]) {
		const task = await rig.finished([container(credentials)]);
		assert.equal(task.stopCode, 'TaskFailedToStart');
		assert.match(task.stoppedReason, code);
	}
	const task = await rig.finished([container(await secret('right', 'secret'))]);
	assert.deepEqual(await rig.lines(task.taskArn), ['in'], task.stoppedReason);
});

test('sizes are what the kernel limits by', async () => {
	const { text } = await rig.output(`cd /sys/fs/cgroup
if [ -e memory/memory.limit_in_bytes ]; then
	cat memory/memory.limit_in_bytes memory/memory.soft_limit_in_bytes cpu/cpu.shares memory/memory.swappiness
else
	cat memory.max memory.low; echo 512; echo 30
fi`, { memory: 48, memoryReservation: 24, cpu: 512, linuxParameters: { maxSwap: 0, swappiness: 30 } });
	assert.deepEqual(text.split('\n').map(Number), [48 << 20, 24 << 20, 512, 30]);
});

test('every launch type is this machine', async () => {
	for (const launchType of ['EC2', 'EXTERNAL']) {
		const { task } = await rig.output('true', {}, {}, { launchType });
		assert.equal(task.launchType, launchType);
		assert.match(task.containerInstanceArn, /:container-instance\/default\//);
	}
});

test('users by name and number, and their groups', async () => {
	for (const [user, words] of [['app', 'uid=1000(app) gid=1001(app) groups=1001(app),1002(extra)'], ['app:extra', 'uid=1000(app) gid=1002(extra) groups=1002(extra)'],
		['7', 'uid=7 gid=0(root) groups=0(root)'], ['7:9', 'uid=7 gid=9 groups=9'], ['1000:root', 'uid=1000(app) gid=0(root) groups=0(root)']])
		assert.equal((await rig.output('id', { user })).text, words);
});

test('a link leads out of no VOLUME', async () => {
	const { text } = await rig.output('ls -A /out; touch /out/x && echo writable; ls -A /var; touch /etc/x 2>/dev/null || echo read-only',
		{ image: rig.image('astray'), readonlyRootFilesystem: true });
	assert.equal(text, 'writable\nx\nread-only');
});

test('secrets: a key of the JSON, a stage or a version of it; what is not there is named', async () => {
	const client = new secrets.SecretsManagerClient(rig.server.client());
	const { ARN, VersionId } = await client.send(new secrets.CreateSecretCommand({ Name: 'db', SecretString: '{"user":"old","port":5432}' }));
	await client.send(new secrets.PutSecretValueCommand({ SecretId: ARN, SecretString: '{"user":"new","port":5433}' }));
	await new ssm.SSMClient(rig.server.client()).send(new ssm.PutParameterCommand({ Name: '/db/p', Value: 'v', Type: 'String' }));
	const { text } = await rig.output('echo $NOW $BEFORE $FIRST $PORT $PARAMETER $WHOLE', { secrets: [
		{ name: 'NOW', valueFrom: `${ARN}:user::` }, { name: 'BEFORE', valueFrom: `${ARN}:user:AWSPREVIOUS:` },
		{ name: 'FIRST', valueFrom: `${ARN}:user::${VersionId}` }, { name: 'PORT', valueFrom: `${ARN}:port:AWSCURRENT:` },
		{ name: 'PARAMETER', valueFrom: 'arn:aws:ssm:us-east-1:123456789012:parameter/db/p' }, { name: 'WHOLE', valueFrom: `${ARN}::AWSPREVIOUS:` }] });
	assert.equal(text, 'new old old 5433 v {"user":"old","port":5432}');
	for (const [valueFrom, words] of [[`${ARN}:none::`, /none/], [`${ARN}:user:AWSPENDING:`, /AWSPENDING/], ['/db/none', /\/db\/none/]]) {
		const task = await rig.finished([{ secrets: [{ name: 'S', valueFrom }] }]);
		assert.match(task.stoppedReason, /^ResourceInitializationError: unable to pull secrets or registry auth: /);
		assert.match(task.stoppedReason, words);
	}
});

test('devices are the container\'s, for what is permitted', async () => {
	const devices = [{ hostPath: '/dev/zero', containerPath: '/dev/own', permissions: ['read'] },
		{ hostPath: '/dev/zero', containerPath: '/other' }, { hostPath: '/dev/full' }];
	const { text } = await rig.output(`stat -c '%u:%g %a %t:%T' /dev/own /other; head -c 4 /dev/own | wc -c; head -c 4 /other | wc -c
echo x 2>/dev/null > /other && echo wrote; echo x 2>/dev/null > /dev/full || echo full`, { linuxParameters: { devices } });
	assert.deepEqual(text.split('\n'), ['65534:65534 666 1:5', '65534:65534 666 1:5', '4', '4', 'wrote', 'full']);
	const closed = await rig.finished([{ linuxParameters: { devices: [{ hostPath: '/dev/loop-control' }] } }]);
	assert.match(closed.stoppedReason, /the device \/dev\/loop-control is not open to all users of this machine; start serve with --allow-privileged/);
	for (const [hostPath, words] of [['/dev/absent', /looking for the device \/dev\/absent/], ['/dev/shm', /is not a device/], ['/etc/passwd', /outside of \/dev/]]) {
		const task = await rig.finished([{ linuxParameters: { devices: [{ hostPath }] } }]);
		assert.match(task.stoppedReason, /^CannotCreateContainerError: /);
		assert.match(task.stoppedReason, words);
	}
});

test('with --allow-privileged a container has the rights that it asks for', async () => {
	const free = await Rig.start({ args: ['--allow-privileged'] });
	try {
		const { text } = await free.output(`grep CapBnd /proc/self/status; stat -c '%u:%g' /dev/loop-control; true < /dev/loop-control && echo open`,
			{ linuxParameters: { devices: [{ hostPath: '/dev/loop-control' }], capabilities: { drop: ['ALL'], add: ['NET_ADMIN', 'DAC_OVERRIDE'] } } });
		assert.deepEqual(text.split('\n'), [`CapBnd:\t${((1 << 12) | 2).toString(16).padStart(16, '0')}`, '0:0', 'open']);
		const all = await free.output('grep -E "CapBnd|Seccomp:" /proc/self/status', { privileged: true });
		assert.match(all.text, /^CapBnd:\s+000001ffffffffff\nSeccomp:\s+0$/);
	} finally {
		await free.stop();
	}
});
