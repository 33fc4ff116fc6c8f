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
const arn = (rest) => `arn:aws:ecs:us-east-1:123456789012:${rest}`;
const NOT_FOUND = ['ClusterNotFoundException', 'Cluster not found.'];

test('default is there from the start, in every region', async () => {
	assert.deepEqual((await call('ListClusters')).clusterArns, [arn('cluster/default')]);
	const { clusters, failures } = await call('DescribeClusters');
	assert.deepEqual(failures, []);
	assert.equal(clusters[0].clusterName, 'default');
	assert.equal(clusters[0].status, 'ACTIVE');
	assert.deepEqual([clusters[0].runningTasksCount, clusters[0].pendingTasksCount, clusters[0].activeServicesCount,
		clusters[0].registeredContainerInstancesCount], [0, 0, 0, 1]);
	const west = new ecs.ECSClient(server.client(server.credentials, 'eu-west-1'));
	const { clusterArns } = await west.send(new ecs.ListClustersCommand({}));
	assert.deepEqual(clusterArns, ['arn:aws:ecs:eu-west-1:123456789012:cluster/default']);
});

test('a cluster: made, made again, described, updated', async () => {
	const tags = [{ key: 'team', value: 'a' }];
	const made = (await call('CreateCluster', { clusterName: 'web', tags, settings: [{ name: 'containerInsights', value: 'enabled' }],
		capacityProviders: ['FARGATE', 'FARGATE_SPOT'],
		defaultCapacityProviderStrategy: [{ capacityProvider: 'FARGATE', weight: 1, base: 2 }],
		configuration: { executeCommandConfiguration: { logging: 'DEFAULT' } } })).cluster;
	assert.equal(made.clusterArn, arn('cluster/web'));
	assert.deepEqual(made.tags, tags);
	assert.deepEqual((await call('CreateCluster', { clusterName: 'web' })).cluster.settings, made.settings);
	await rejects(call('CreateCluster', { clusterName: 'web', tags: [{ key: 'team', value: 'b' }] }), 'InvalidParameterException',
		'Arguments on this idempotent request are inconsistent with arguments used in previous request(s).');
	const bare = (await call('DescribeClusters', { clusters: ['web', arn('cluster/none'), 'default'] }));
	assert.deepEqual(bare.failures, [{ arn: arn('cluster/none'), reason: 'MISSING' }]);
	assert.deepEqual(bare.clusters.map((c) => c.clusterName), ['web', 'default']);
	assert.deepEqual([bare.clusters[0].tags, bare.clusters[0].settings, bare.clusters[0].configuration], [[], [], undefined]);
	const [full] = (await call('DescribeClusters', { clusters: [made.clusterArn], include: ['TAGS', 'SETTINGS', 'CONFIGURATIONS', 'STATISTICS'] })).clusters;
	assert.deepEqual([full.tags, full.settings, full.configuration], [tags, [{ name: 'containerInsights', value: 'enabled' }],
		{ executeCommandConfiguration: { logging: 'DEFAULT' } }]);
	assert.deepEqual(full.capacityProviders, ['FARGATE', 'FARGATE_SPOT']);
	assert.deepEqual(full.defaultCapacityProviderStrategy, [{ capacityProvider: 'FARGATE', weight: 1, base: 2 }]);
	const changed = (await call('UpdateClusterSettings', { cluster: 'web', settings: [{ name: 'containerInsights', value: 'disabled' }] })).cluster;
	assert.deepEqual(changed.settings, [{ name: 'containerInsights', value: 'disabled' }]);
	await call('UpdateCluster', { cluster: 'web', settings: [{ name: 'containerInsights', value: 'enhanced' }] });
	const put = (await call('PutClusterCapacityProviders', { cluster: 'web', capacityProviders: ['FARGATE'], defaultCapacityProviderStrategy: [] })).cluster;
	assert.deepEqual([put.capacityProviders, put.defaultCapacityProviderStrategy], [['FARGATE'], []]);
	assert.deepEqual(put.settings, [{ name: 'containerInsights', value: 'enhanced' }]);
});

test('what a cluster cannot be', async () => {
	const create = (more) => call('CreateCluster', { clusterName: 'bad', ...more });
	await rejects(create({ clusterName: 'a b' }), 'InvalidParameterException', /name/);
	await rejects(create({ clusterName: 'x'.repeat(256) }), 'InvalidParameterException', /name/);
	await rejects(create({ settings: [{ name: 'containerInsights', value: 'perhaps' }] }), 'InvalidParameterException', /containerInsights/);
	await rejects(create({ capacityProviders: ['none'] }), 'InvalidParameterException',
		'The specified capacity provider does not exist. Specify a valid name or ARN and try again.');
	await rejects(create({ serviceConnectDefaults: { namespace: 'ns' } }), 'NamespaceNotFoundException');
	const strategy = (...defaultCapacityProviderStrategy) => create({ capacityProviders: ['FARGATE', 'FARGATE_SPOT'], defaultCapacityProviderStrategy });
	await rejects(strategy({ capacityProvider: 'other', weight: 1 }), 'InvalidParameterException', /not associated with the cluster/);
	await rejects(strategy({ capacityProvider: 'FARGATE' }), 'InvalidParameterException', /weight value greater than zero/);
	await rejects(strategy({ capacityProvider: 'FARGATE', weight: 1, base: 1 }, { capacityProvider: 'FARGATE_SPOT', weight: 1, base: 1 }),
		'InvalidParameterException', /Only one capacity provider/);
	await rejects(call('UpdateCluster', { cluster: 'none' }), ...NOT_FOUND);
	await rejects(call('DeleteCluster', { cluster: 'none' }), ...NOT_FOUND);
	await rejects(call('DeleteCluster', { cluster: 'arn:aws:ecs:us-west-2:123456789012:cluster/web' }), 'InvalidParameterException', /region/);
	await rejects(call('DeleteCluster', { cluster: 'arn:aws:ecs:us-east-1:999999999999:cluster/web' }), 'InvalidParameterException',
		'Identifier is for 999999999999. Your accountId is 123456789012');
	await rejects(call('DeleteCluster', { cluster: 'arn:aws:s3:::bucket' }), 'InvalidParameterException');
	await rejects(call('UpdateCluster', { cluster: 'arn:aws:ecs:us-east-1:123456789012:task/default/1' }), 'InvalidParameterException');
});

test('deleted clusters are inactive, and can be made again', async () => {
	await call('CreateCluster', { clusterName: 'gone' });
	const before = (await call('ListContainerInstances', { cluster: 'gone' })).containerInstanceArns;
	assert.equal((await call('DeleteCluster', { cluster: 'gone' })).cluster.status, 'INACTIVE');
	assert.ok(!(await call('ListClusters')).clusterArns.includes(arn('cluster/gone')));
	const { clusters: [gone] } = await call('DescribeClusters', { clusters: ['gone'] });
	assert.deepEqual([gone.status, gone.registeredContainerInstancesCount], ['INACTIVE', 0]);
	await rejects(call('ListTasks', { cluster: 'gone' }), 'ClusterNotFoundException', 'The referenced cluster was inactive.');
	assert.equal((await call('CreateCluster', { clusterName: 'gone' })).cluster.status, 'ACTIVE');
	assert.notDeepEqual((await call('ListContainerInstances', { cluster: 'gone' })).containerInstanceArns, before);
	await call('DeleteCluster', { cluster: 'default' });
	await rejects(call('ListTasks'), 'ClusterNotFoundException', 'The referenced cluster was inactive.');
	await call('CreateCluster');
	await call('ListTasks');
});

test('pages of clusters', async () => {
	for (const n of [1, 2, 3]) await call('CreateCluster', { clusterName: `page-${n}` });
	const all = (await call('ListClusters')).clusterArns;
	const seen = [];
	for await (const page of ecs.paginateListClusters({ client, pageSize: 2 }, {})) seen.push(...page.clusterArns);
	assert.deepEqual(seen, all);
	assert.deepEqual(seen, seen.toSorted());
	await rejects(call('ListClusters', { maxResults: 101 }), 'InvalidParameterException');
	await rejects(call('ListClusters', { nextToken: '!' }), 'InvalidParameterException', /token/);
});

test('capacity providers', async () => {
	const { capacityProviders: fixed } = await call('DescribeCapacityProviders');
	assert.deepEqual(fixed.map((p) => [p.name, p.status, p.type]), [['FARGATE', 'ACTIVE', 'FARGATE'], ['FARGATE_SPOT', 'ACTIVE', 'FARGATE_SPOT']]);
	const group = { autoScalingGroupArn: 'arn:aws:autoscaling:us-east-1:123456789012:autoScalingGroup:1:autoScalingGroupName/g' };
	const create = (name, more) => call('CreateCapacityProvider', { name, autoScalingGroupProvider: group, ...more });
	const { capacityProvider: made } = await create('own', { tags: [{ key: 'a', value: 'b' }] });
	assert.deepEqual([made.capacityProviderArn, made.status, made.type], [arn('capacity-provider/own'), 'ACTIVE', 'EC2_AUTOSCALING']);
	assert.equal(made.autoScalingGroupProvider.managedScaling.instanceWarmupPeriod, 300);
	await rejects(create('own'), 'ClientException', /already exists/);
	for (const name of ['FARGATE', 'aws-x', 'fargate-x', 'a b']) await rejects(create(name), 'InvalidParameterException', /name is invalid/);
	await rejects(create('none', { autoScalingGroupProvider: undefined }), 'ClientException');
	await rejects(create('bad', { autoScalingGroupProvider: { ...group, managedTerminationProtection: 'ENABLED' } }), 'ClientException', /managed scaling must be enabled/);
	const updated = (await call('UpdateCapacityProvider', { name: 'own', autoScalingGroupProvider: { managedScaling: { status: 'ENABLED', targetCapacity: 50 } } })).capacityProvider;
	assert.deepEqual([updated.autoScalingGroupProvider.managedScaling.targetCapacity, updated.updateStatus], [50, 'UPDATE_COMPLETE']);
	await call('CreateCluster', { clusterName: 'pool', capacityProviders: ['own'], defaultCapacityProviderStrategy: [{ capacityProvider: arn('capacity-provider/own'), weight: 1 }] });
	await rejects(call('DeleteCapacityProvider', { capacityProvider: 'own' }), 'ClientException', 'The specified capacity provider is in use and cannot be removed.');
	await call('DeleteCluster', { cluster: 'pool' });
	const got = await call('DescribeCapacityProviders', { capacityProviders: [made.capacityProviderArn, 'none'], include: ['TAGS'] });
	assert.deepEqual(got.capacityProviders[0].tags, [{ key: 'a', value: 'b' }]);
	assert.deepEqual(got.failures, [{ arn: arn('capacity-provider/none'), reason: 'MISSING' }]);
	assert.equal((await call('DeleteCapacityProvider', { capacityProvider: 'own' })).capacityProvider.status, 'DEPROVISIONING');
	await rejects(call('DeleteCapacityProvider', { capacityProvider: 'own' }), 'InvalidParameterException', /does not exist/);
	await rejects(call('DeleteCapacityProvider', { capacityProvider: 'FARGATE' }), 'InvalidParameterException');
	const managed = { infrastructureRoleArn: 'arn:aws:iam::123456789012:role/r', instanceLaunchTemplate: { ec2InstanceProfileArn: 'arn:aws:iam::123456789012:instance-profile/p', networkConfiguration: { subnets: ['s'] } } };
	await rejects(call('CreateCapacityProvider', { name: 'mi', managedInstancesProvider: managed }), 'ClientException', /cluster/);
	await call('CreateCluster', { clusterName: 'managed' });
	const mi = (await call('CreateCapacityProvider', { name: 'mi', cluster: 'managed', managedInstancesProvider: managed })).capacityProvider;
	assert.deepEqual([mi.type, mi.cluster], ['MANAGED_INSTANCES', 'managed']);
	await call('TagResource', { resourceArn: mi.capacityProviderArn, tags: [{ key: 'm', value: 'i' }] });
	assert.deepEqual((await call('ListTagsForResource', { resourceArn: mi.capacityProviderArn })).tags, [{ key: 'm', value: 'i' }]);
	await rejects(call('DeleteCluster', { cluster: 'managed' }), 'ClusterContainsCapacityProviderException');
});

test('account settings', async () => {
	const list = async (input) => Object.fromEntries((await call('ListAccountSettings', input)).settings.map((s) => [s.name, s.value]));
	assert.deepEqual(await list(), {});
	assert.equal((await list({ effectiveSettings: true })).taskLongArnFormat, 'enabled');
	assert.equal(Object.keys(await list({ effectiveSettings: true })).length, 11);
	const { setting } = await call('PutAccountSetting', { name: 'awsvpcTrunking', value: 'enabled' });
	assert.deepEqual(setting, { name: 'awsvpcTrunking', value: 'enabled', principalArn: 'arn:aws:iam::123456789012:root', type: 'user' });
	assert.deepEqual(await list(), { awsvpcTrunking: 'enabled' });
	await call('PutAccountSettingDefault', { name: 'containerInsights', value: 'enhanced' });
	assert.deepEqual(await list(), { awsvpcTrunking: 'enabled' });
	assert.equal((await list({ effectiveSettings: true, name: 'containerInsights' })).containerInsights, 'enhanced');
	const { cluster } = await call('CreateCluster', { clusterName: 'insights' });
	assert.deepEqual(cluster.settings, [{ name: 'containerInsights', value: 'enhanced' }]);
	await rejects(call('PutAccountSetting', { name: 'awsvpcTrunking', value: 'maybe' }), 'InvalidParameterException');
	await rejects(call('PutAccountSetting', { name: 'guardDutyActivate', value: 'on' }), 'InvalidParameterException');
	await rejects(call('PutAccountSetting', { name: 'awsvpcTrunking', value: 'enabled', principalArn: 'arn:aws:iam::999999999999:root' }), 'InvalidParameterException', /Principal/);
	assert.equal((await call('DeleteAccountSetting', { name: 'awsvpcTrunking' })).setting.value, 'disabled');
	assert.deepEqual(await list(), {});
});

test('tags of clusters and providers', async () => {
	const { cluster } = await call('CreateCluster', { clusterName: 'tagged', tags: [{ key: 'a', value: '1' }] });
	const tags = async () => (await call('ListTagsForResource', { resourceArn: cluster.clusterArn })).tags;
	await call('TagResource', { resourceArn: cluster.clusterArn, tags: [{ key: 'a', value: '2' }, { key: 'b' }] });
	assert.deepEqual((await tags()).map((t) => [t.key, t.value]), [['a', '2'], ['b', undefined]]);
	await call('UntagResource', { resourceArn: cluster.clusterArn, tagKeys: ['a', 'none'] });
	assert.deepEqual((await tags()).map((t) => t.key), ['b']);
	await rejects(call('TagResource', { resourceArn: cluster.clusterArn, tags: [{ key: 'aws:x', value: '1' }] }), 'InvalidParameterException', /aws:/);
	await rejects(call('TagResource', { resourceArn: cluster.clusterArn, tags: Array.from({ length: 50 }, (_, i) => ({ key: `k${i}`, value: '' })) }), 'LimitExceededException');
	await rejects(call('TagResource', { resourceArn: 'web', tags: [] }), 'InvalidParameterException', /ARN/);
	await rejects(call('ListTagsForResource', { resourceArn: arn('cluster/none') }), ...NOT_FOUND);
	await rejects(call('ListTagsForResource', { resourceArn: arn('task/default/0123') }), 'InvalidParameterException', /not found/);
	await rejects(call('ListTagsForResource', { resourceArn: arn('service/default/x') }), 'InvalidParameterException');
});

test('all is there after the server was killed; what there is not is unknown', async () => {
	await server.restart('SIGKILL');
	connect();
	const { clusters: [web] } = await call('DescribeClusters', { clusters: ['web'], include: ['TAGS', 'SETTINGS'] });
	assert.deepEqual([web.tags, web.settings], [[{ key: 'team', value: 'a' }], [{ name: 'containerInsights', value: 'enhanced' }]]);
	await rejects(call('CreateService', { serviceName: 's', taskDefinition: 'x' }), 'UnknownOperationException');
	await rejects(call('DiscoverPollEndpoint'), 'UnknownOperationException');
	await rejects(call('SubmitTaskStateChange', {}), 'UnknownOperationException');
});
