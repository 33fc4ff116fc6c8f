// What a container finds inside: environment, secrets, files, user, limits, metadata, credentials.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, afterEach, before, test } from 'node:test';

import { Rig, makeImage, s3, secrets, ssm } from './rig.mjs';

const require = createRequire(new URL('../api/server.mjs', import.meta.url));
let rig;
before(async () => {
	rig = await Rig.start({ images: { busybox: makeImage(), own: makeImage({ config: {
		Entrypoint: ['/bin/sh', '-c'], Cmd: ['echo image; pwd; id; env'], WorkingDir: '/var',
		User: 'app', Env: ['PATH=/bin', 'FROM=image', 'BOTH=image'] } }) } });
});
after(() => rig?.stop());
afterEach(() => rig.clean());

test('an image runs as it says', async () => {
	const task = await rig.finished([{ image: rig.image('own'), environment: [{ name: 'BOTH', value: 'task' }] }]);
	const text = (await rig.lines(task.taskArn)).join('\n');
	assert.match(text, /^image\n\/var\nuid=1000\(app\) gid=1001\(app\) groups=.*1002/);
	assert.match(text, /^FROM=image$/m);
	assert.match(text, /^BOTH=task$/m);
	assert.match(text, /^AWS_REGION=us-east-1$/m);
	assert.match(text, /^ECS_CONTAINER_METADATA_URI_V4=http:\/\/169\.254\.170\.2\/v4\//m);
});

test('secrets and environment files are resolved before the start', async () => {
	const client = (c) => new c(rig.server.client());
	await client(ssm.SSMClient).send(new ssm.PutParameterCommand({ Name: '/app/p',
		Value: 'parameter', Type: 'SecureString' }));
	const { ARN } = await client(secrets.SecretsManagerClient).send(new secrets.CreateSecretCommand({
		Name: 'app', SecretString: '{"user":"u","password":"pw"}' }));
	const store = new s3.S3Client({ ...rig.server.client(), forcePathStyle: true });
	await store.send(new s3.CreateBucketCommand({ Bucket: 'env' }));
	await store.send(new s3.PutObjectCommand({ Bucket: 'env', Key: 'a.env', Body: '# x\nFILE=a\nTWICE=first\n' }));
	await store.send(new s3.PutObjectCommand({ Bucket: 'env', Key: 'b.env', Body: 'TWICE=second\nB=b\n' }));
	const { text } = await rig.output('env | sort', {
		secrets: [{ name: 'P', valueFrom: '/app/p' }, { name: 'W', valueFrom: ARN },
			{ name: 'PW', valueFrom: `${ARN}:password::` }],
		environmentFiles: [{ type: 's3', value: 'arn:aws:s3:::env/a.env' },
			{ type: 's3', value: 'arn:aws:s3:::env/b.env' }] });
	for (const line of ['P=parameter', 'W={"user":"u","password":"pw"}', 'PW=pw', 'FILE=a',
		'TWICE=first', 'B=b'])
		assert.ok(text.split('\n').includes(line), `${line} in\n${text}`);
});

for (const networkMode of ['awsvpc', 'bridge', 'none'])
	test(`metadata, credentials and the endpoint are served with ${networkMode}`, async () => {
		const sh = `wget -q -O - $ECS_CONTAINER_METADATA_URI_V4; echo
wget -q -O - $ECS_CONTAINER_METADATA_URI_V4/task; echo
wget -q -O - http://169.254.170.2$AWS_CONTAINER_CREDENTIALS_RELATIVE_URI; echo
wget -q -O - $ECS_CONTAINER_METADATA_URI_V4/stats; echo
wget -q -O - $AWS_ENDPOINT_URL/_mayfly/health >/dev/null && echo healthy
wget -q -O - http://169.254.170.2/v4/other 2>/dev/null || echo refused`;
		const { text } = await rig.output(sh, {}, { networkMode,
			taskRoleArn: 'arn:aws:iam::123456789012:role/task' });
		const [container, task, keys, , healthy, refused] = text.split('\n');
		assert.equal(JSON.parse(container).Name, 'c0');
		assert.equal(JSON.parse(task).Containers.length, 1);
		assert.match(JSON.parse(keys).AccessKeyId, /^ASIA/);
		assert.equal(JSON.parse(keys).RoleArn, 'arn:aws:iam::123456789012:role/task');
		assert.equal(healthy, 'healthy');
		assert.equal(refused, 'refused');
	});

// Other users of the host reach the same addresses: without the keys in the paths there is nothing.
test('tasks in the network of the host find metadata and keys at paths that only they know', async () => {
	const arn = await rig.run([{ sh: 'env; while :; do sleep 0.1; done' }],
		{ networkMode: 'host', taskRoleArn: 'arn:aws:iam::123456789012:role/task' });
	const lines = await rig.until('the environment', async () => {
		const all = await rig.lines(arn);
		return all.some((l) => l.startsWith('AWS_CONTAINER_CREDENTIALS_FULL_URI=')) &&
			all.some((l) => l.startsWith('ECS_AGENT_URI=')) &&
			all.some((l) => l.startsWith('ECS_CONTAINER_METADATA_URI_V4=')) && all;
	});
	const env = Object.fromEntries(lines.map((l) => l.split(/=(.*)/s).slice(0, 2)));
	const { ECS_CONTAINER_METADATA_URI_V4: uri, AWS_CONTAINER_CREDENTIALS_FULL_URI: keys } = env;
	assert.equal(env.AWS_CONTAINER_CREDENTIALS_RELATIVE_URI, undefined);
	const get = async (url) => {
		const response = await fetch(url);
		return { status: response.status, body: await response.json() };
	};
	assert.equal((await get(uri)).body.Name, 'c0');
	assert.equal((await get(`${uri}/task`)).body.TaskARN, arn);
	// As the SDK takes them, by its own rules for such addresses.
	const provider = require('@aws-sdk/credential-provider-http');
	const got = await provider.fromHttp({ awsContainerCredentialsFullUri: keys })();
	assert.match(got.accessKeyId, /^ASIA/);
	assert.ok(got.sessionToken && got.expiration > new Date());
	const key = new URL(uri).pathname.split('/')[3], id = keys.split('/').at(-1);
	assert.notEqual(key, id);
	const other = '00000000-0000-4000-8000-000000000000';
	for (const url of [uri.replace(key, other), keys.replace(key, other), keys.replace(key, ''),
		keys.replace(key, `${key}0`), `${rig.server.url}/_mayfly/metadata/`, uri.slice(0, -1)])
		assert.equal((await get(url)).status, 404, url);
	assert.equal((await get(keys.replace(id, other))).body.code, 'InvalidIdInRequest');
	// It is the same task for another core.
	await rig.killCore();
	assert.equal((await get(uri)).body.Name, 'c0');
	assert.deepEqual((await get(`${env.ECS_AGENT_URI}/task-protection/v1/state`)).body,
		{ failure: { Arn: arn, Detail: null, Reason: 'TASK_NOT_VALID' } });
	await rig.halt(arn);
	await rig.status(arn, 'STOPPED');
	assert.equal((await get(uri)).status, 404);
});

test('the agent answers for the protection of its own task', async () => {
	const state = '$ECS_AGENT_URI/task-protection/v1/state';
	const put = (body) => `printf 'PUT /%s/task-protection/v1/state HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n%s' ` +
		`"\${ECS_AGENT_URI#http://*/}" ${body.length} '${body}' | nc 169.254.170.2 80 | tail -n 1; echo`;
	const { task, text } = await rig.output([`wget -q -O - ${state}; echo`, put('{"ProtectionEnabled":true,"ExpiresInMinutes":60}'),
		put('{"ProtectionEnabled":true,"ExpiresInMinutes":2881}'), put('{"ExpiresInMinutes":1}'), put('{"ProtectionEnabled":1}'),
		put('{"ProtectionEnabled":true,"Other":1}'), put('[')].join('\n'), {}, { networkMode: 'awsvpc' });
	const answers = text.split('\n').map((l) => JSON.parse(l));
	const failure = { Arn: task.taskArn, Detail: null, Reason: 'TASK_NOT_VALID' };
	assert.deepEqual(answers.slice(0, 2), [{ failure }, { failure }]);
	for (const { error } of answers.slice(2)) {
		assert.deepEqual([error.Arn, error.Code], [task.taskArn, 'InvalidParameterException']);
		assert.ok(error.Message);
	}
	assert.equal(answers.length, 7);
	assert.match(answers[2].error.Message, /expiresInMinutes must be between 1 and 2880/);
	assert.match(answers[3].error.Message, /does not contain 'ProtectionEnabled'/);
});

test('limits, mounts and rights are what the definition says', async () => {
	const { text } = await rig.output(`hostname; cat /etc/hosts; cat /etc/resolv.conf
touch /x 2>&1; touch /t/y && echo tmpfs; grep -c . /proc/self/mounts >/dev/null
grep CapEff /proc/self/status; cat /proc/sys/net/core/somaxconn; id -u`, { hostname: 'box',
		readonlyRootFilesystem: true, user: '1234', dnsServers: ['9.9.9.9'],
		extraHosts: [{ hostname: 'friend', ipAddress: '10.9.8.7' }],
		systemControls: [{ namespace: 'net.core.somaxconn', value: '77' }],
		linuxParameters: { tmpfs: [{ containerPath: '/t', size: 4, mountOptions: ['mode=1777'] }],
			capabilities: { drop: ['ALL'] } } });
	assert.match(text, /^box$/m);
	assert.match(text, /10\.9\.8\.7\s+friend/);
	assert.match(text, /nameserver 9\.9\.9\.9/);
	assert.match(text, /Read-only file system/);
	assert.match(text, /^tmpfs$/m);
	assert.match(text, /CapEff:\s+0000000000000000/);
	assert.match(text, /^77$/m);
	assert.match(text, /^1234$/m);
});
