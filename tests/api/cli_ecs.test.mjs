// `aws ecs` of Debian's CLI: every operation that needs no running container; those that do are in
// tests/containers/tasks.test.mjs.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { aws } from './cli.mjs';
import { startServer } from './server.mjs';

let server;
const ecs = (...words) => aws(server, ['ecs', ...words]);
const arn = (rest) => `arn:aws:ecs:us-east-1:123456789012:${rest}`;
const all = (...calls) => Promise.all(calls);
const fails = (call, error) => assert.rejects(call, error);

before(async () => {
	server = await startServer();
});
after(() => server?.stop());

test('clusters and their capacity providers', async () => {
	const cluster = ['--cluster', 'cli'], provider = ['--capacity-provider', 'own'];
	assert.equal((await ecs('create-cluster', '--cluster-name', 'cli', '--tags', 'key=a,value=b')).cluster.status, 'ACTIVE');
	const group = 'arn:aws:autoscaling:us-east-1:123456789012:autoScalingGroup:1:autoScalingGroupName/g';
	const made = await ecs('create-capacity-provider', '--name', 'own', '--auto-scaling-group-provider', `autoScalingGroupArn=${group}`);
	assert.equal(made.capacityProvider.capacityProviderArn, arn('capacity-provider/own'));
	const updated = await ecs('update-capacity-provider', '--name', 'own', '--auto-scaling-group-provider',
		'managedScaling={status=ENABLED,targetCapacity=50}');
	assert.equal(updated.capacityProvider.autoScalingGroupProvider.managedScaling.targetCapacity, 50);
	const put = await ecs('put-cluster-capacity-providers', ...cluster, '--capacity-providers', 'own', 'FARGATE',
		'--default-capacity-provider-strategy', 'capacityProvider=own,weight=1');
	assert.deepEqual(put.cluster.capacityProviders.toSorted(), ['FARGATE', 'own']);
	await fails(ecs('delete-capacity-provider', ...provider), /ClientException.*in use/s);
	await ecs('tag-resource', '--resource-arn', arn('cluster/cli'), '--tags', 'key=c,value=d');
	await ecs('untag-resource', '--resource-arn', arn('cluster/cli'), '--tag-keys', 'a');
	await ecs('update-cluster-settings', ...cluster, '--settings', 'name=containerInsights,value=enabled');
	const [listed, described, tags, providers] = await all(ecs('list-clusters'), ecs('describe-clusters', '--clusters', 'cli', 'none', '--include', 'SETTINGS'),
		ecs('list-tags-for-resource', '--resource-arn', arn('cluster/cli')), ecs('describe-capacity-providers'),
		fails(ecs('update-cluster', '--cluster', 'none'), /ClusterNotFoundException/));
	assert.deepEqual(listed.clusterArns, [arn('cluster/cli'), arn('cluster/default')]);
	assert.deepEqual(described.clusters.map((c) => [c.clusterName, c.settings]), [['cli', [{ name: 'containerInsights', value: 'enabled' }]]]);
	assert.deepEqual([described.failures[0].reason, tags.tags], ['MISSING', [{ key: 'c', value: 'd' }]]);
	assert.deepEqual(providers.capacityProviders.map((p) => p.name).toSorted(), ['FARGATE', 'FARGATE_SPOT', 'own']);
	assert.equal((await ecs('update-cluster', ...cluster, '--settings', 'name=containerInsights,value=disabled')).cluster.clusterName, 'cli');
	assert.equal((await ecs('delete-cluster', ...cluster)).cluster.status, 'INACTIVE');
	assert.equal((await ecs('delete-capacity-provider', ...provider)).capacityProvider.status, 'DEPROVISIONING');
	await fails(ecs('update-cluster', ...cluster), /ClusterNotFoundException.*inactive/s);
});

test('account settings', async () => {
	const trunking = ['--name', 'awsvpcTrunking'];
	const { setting } = await ecs('put-account-setting', ...trunking, '--value', 'enabled');
	assert.deepEqual([setting.value, setting.principalArn], ['enabled', 'arn:aws:iam::123456789012:root']);
	await ecs('put-account-setting-default', '--name', 'containerInsights', '--value', 'enabled');
	const [own, effective] = await all(ecs('list-account-settings'), ecs('list-account-settings', '--effective-settings', '--name', 'containerInsights'),
		fails(ecs('put-account-setting', ...trunking, '--value', 'perhaps'), /InvalidParameterException/));
	assert.deepEqual([own, effective].map(({ settings }) => settings.map((s) => [s.name, s.value])),
		[[['awsvpcTrunking', 'enabled']], [['containerInsights', 'enabled']]]);
	await ecs('delete-account-setting', ...trunking);
	assert.deepEqual((await ecs('list-account-settings')).settings, []);
});

test('task definitions', async () => {
	const definition = arn('task-definition/sleep360:1'), one = ['--task-definition', 'sleep360:1'];
	const made = await ecs('register-task-definition', '--family', 'sleep360', '--container-definitions',
		JSON.stringify([{ name: 'sleep', image: 'busybox', cpu: 10, command: ['sleep', '360'], memory: 10, essential: true }]));
	assert.deepEqual([made.taskDefinition.revision, made.taskDefinition.taskDefinitionArn], [1, definition]);
	const [listed, families, described] = await all(ecs('list-task-definitions', '--family-prefix', 'sleep360'), ecs('list-task-definition-families'),
		ecs('describe-task-definition', ...one),
		fails(ecs('register-task-definition', '--family', 'bad', '--container-definitions', '[{"name":"x"}]'), /ClientException/));
	assert.deepEqual([listed.taskDefinitionArns, families.families], [[definition], ['sleep360']]);
	assert.deepEqual(described.taskDefinition.containerDefinitions[0].command, ['sleep', '360']);
	assert.equal((await ecs('deregister-task-definition', ...one)).taskDefinition.status, 'INACTIVE');
	await fails(ecs('describe-task-definition', '--task-definition', 'sleep360'), /\(ClientException\).*Unable to describe task definition\./s);
});

test('container instances and their attributes', async () => {
	await ecs('create-cluster', '--cluster-name', 'edge');
	const cluster = ['--cluster', 'edge'];
	const { containerInstance: made } = await ecs('register-container-instance', ...cluster,
		'--total-resources', 'name=CPU,type=INTEGER,integerValue=2048', '--attributes', 'name=rack,value=1');
	assert.deepEqual([made.status, made.agentConnected], ['ACTIVE', false]);
	const { containerInstanceArns } = await ecs('list-container-instances', ...cluster);
	assert.equal(containerInstanceArns.length, 2); // this machine, too
	const own = containerInstanceArns.find((a) => a !== made.containerInstanceArn);
	const drained = await ecs('update-container-instances-state', ...cluster, '--container-instances', own, '--status', 'DRAINING');
	assert.equal(drained.containerInstances[0].status, 'DRAINING');
	await ecs('put-attributes', ...cluster, '--attributes', `name=cli,value=yes,targetId=${own}`);
	const attributes = [...cluster, '--target-type', 'container-instance', '--attribute-name', 'cli'];
	const [found, described, filtered] = await all(ecs('list-attributes', ...attributes), ecs('describe-container-instances', ...cluster, '--container-instances', own, 'none'),
		ecs('list-container-instances', ...cluster, '--filter', 'attribute:rack == 1'),
		fails(ecs('update-container-agent', ...cluster, '--container-instance', own), /NoUpdateAvailableException/),
		fails(ecs('put-attributes', ...cluster, '--attributes', 'name=a b,value=x,targetId=x'), /InvalidParameterException|TargetNotFoundException/));
	assert.deepEqual(found.attributes.map((a) => [a.value, a.targetId]), [['yes', own]]);
	assert.deepEqual([described.containerInstances.map((i) => i.status), described.failures[0].reason], [['DRAINING'], 'MISSING']);
	assert.deepEqual(filtered.containerInstanceArns, [made.containerInstanceArn]);
	await ecs('delete-attributes', ...cluster, '--attributes', `name=cli,targetId=${own}`);
	assert.deepEqual((await ecs('list-attributes', ...attributes)).attributes, []);
	const gone = await ecs('deregister-container-instance', ...cluster, '--container-instance', made.containerInstanceArn);
	assert.equal(gone.containerInstance.status, 'INACTIVE');
	assert.deepEqual((await ecs('list-container-instances', ...cluster)).containerInstanceArns, [own]);
});
