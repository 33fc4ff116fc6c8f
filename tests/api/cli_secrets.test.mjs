// `aws ssm` and `aws secretsmanager` of Debian's CLI: every operation that is answered.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { aws } from './cli.mjs';
import { startServer } from './server.mjs';

let server;
const ssm = (...words) => aws(server, ['ssm', ...words]);
const secrets = (...words) => aws(server, ['secretsmanager', ...words]);
const all = (...calls) => Promise.all(calls);
const fails = (call, error) => assert.rejects(call, error);

before(async () => {
	server = await startServer();
});
after(() => server?.stop());

test('parameters', async () => {
	const a = ['--name', '/cli/a'], resource = ['--resource-type', 'Parameter', '--resource-id', '/cli/a'];
	const put = await ssm('put-parameter', ...a, '--value', 'words', '--type', 'SecureString', '--tags', 'Key=a,Value=b');
	assert.deepEqual([put.Version, put.Tier], [1, 'Standard']);
	assert.equal((await ssm('put-parameter', ...a, '--value', 'more', '--overwrite')).Version, 2);
	await all(ssm('put-parameter', '--name', '/cli/list', '--value', 'x,y', '--type', 'StringList'),
		ssm('add-tags-to-resource', ...resource, '--tags', 'Key=c,Value=d'),
		fails(ssm('put-parameter', ...a, '--value', 'x', '--type', 'String'), /ParameterAlreadyExists/));
	const labelled = await ssm('label-parameter-version', ...a, '--parameter-version', '1', '--labels', 'old', '1bad');
	assert.deepEqual([labelled.ParameterVersion, labelled.InvalidLabels], [1, ['1bad']]);
	const [sealed, open, old, tags, some, path, described, history] = await all(ssm('get-parameter', ...a), ssm('get-parameter', ...a, '--with-decryption'),
		ssm('get-parameter', '--name', '/cli/a:old', '--with-decryption'), ssm('list-tags-for-resource', ...resource),
		ssm('get-parameters', '--names', '/cli/list', 'none'), ssm('get-parameters-by-path', '--path', '/cli', '--with-decryption'),
		ssm('describe-parameters', '--parameter-filters', 'Key=Type,Values=SecureString'), ssm('get-parameter-history', ...a, '--with-decryption'),
		fails(ssm('get-parameter', '--name', 'none'), /ParameterNotFound/));
	assert.notEqual(sealed.Parameter.Value, 'more');
	assert.deepEqual([open.Parameter.Value, open.Parameter.Version, old.Parameter.Value], ['more', 2, 'words']);
	assert.deepEqual(tags.TagList, [{ Key: 'a', Value: 'b' }, { Key: 'c', Value: 'd' }]);
	assert.deepEqual([some.Parameters.map((p) => p.Value), some.InvalidParameters], [['x,y'], ['none']]);
	assert.deepEqual(path.Parameters.map((p) => [p.Name, p.Value]), [['/cli/a', 'more'], ['/cli/list', 'x,y']]);
	assert.deepEqual(described.Parameters.map((p) => [p.Name, p.Version]), [['/cli/a', 2]]);
	assert.deepEqual(history.Parameters.map((p) => [p.Version, p.Value, p.Labels]), [[1, 'words', ['old']], [2, 'more', []]]);
	await all(ssm('remove-tags-from-resource', ...resource, '--tag-keys', 'a'), ssm('delete-parameter', '--name', '/cli/list'));
	assert.deepEqual((await ssm('list-tags-for-resource', ...resource)).TagList, [{ Key: 'c', Value: 'd' }]);
	const gone = await ssm('delete-parameters', '--names', '/cli/a', '/cli/list');
	assert.deepEqual([gone.DeletedParameters, gone.InvalidParameters], [['/cli/a'], ['/cli/list']]);
	await fails(ssm('delete-parameter', ...a), /ParameterNotFound/);
});

test('secrets: values and their stages', async () => {
	const id = ['--secret-id', 'cli'];
	const made = await secrets('create-secret', '--name', 'cli', '--secret-string', 'one', '--tags', 'Key=a,Value=b');
	const put = await secrets('put-secret-value', ...id, '--secret-string', 'two', '--version-stages', 'AWSPENDING');
	assert.deepEqual(put.VersionStages, ['AWSPENDING']);
	await secrets('update-secret-version-stage', ...id, '--version-stage', 'AWSCURRENT', '--move-to-version-id', put.VersionId,
		'--remove-from-version-id', made.VersionId);
	await all(secrets('tag-resource', ...id, '--tags', 'Key=c,Value=d'), fails(secrets('create-secret', '--name', 'cli'), /ResourceExistsException/));
	await all(secrets('untag-resource', ...id, '--tag-keys', 'a'), secrets('update-secret', ...id, '--description', 'told'));
	const [now, before_, described, versions, listed] = await all(secrets('get-secret-value', ...id),
		secrets('get-secret-value', ...id, '--version-stage', 'AWSPREVIOUS'), secrets('describe-secret', ...id),
		secrets('list-secret-version-ids', ...id), secrets('list-secrets', '--filters', 'Key=name,Values=cli'),
		fails(secrets('get-secret-value', '--secret-id', 'none'), /ResourceNotFoundException/));
	assert.deepEqual([now.SecretString, now.ARN, before_.SecretString], ['two', made.ARN, 'one']);
	assert.deepEqual([described.Description, described.Tags], ['told', [{ Key: 'c', Value: 'd' }]]);
	assert.deepEqual(versions.Versions.map((v) => v.VersionId).toSorted(), [made.VersionId, put.VersionId].toSorted());
	assert.deepEqual(listed.SecretList.map((s) => s.Name), ['cli']);
});

test('secrets: policies, deletion, passwords', async () => {
	const id = ['--secret-id', 'cli'];
	const policy = JSON.stringify({ Version: '2012-10-17', Statement: [{ Effect: 'Allow', Principal: { AWS: 'arn:aws:iam::123456789012:root' },
		Action: 'secretsmanager:GetSecretValue', Resource: '*' }] });
	await secrets('put-resource-policy', ...id, '--resource-policy', policy);
	const [got, checked, password] = await all(secrets('get-resource-policy', ...id), secrets('validate-resource-policy', '--resource-policy', policy),
		secrets('get-random-password', '--password-length', '40', '--exclude-punctuation'),
		fails(secrets('put-resource-policy', ...id, '--resource-policy', '{'), /MalformedPolicyDocumentException/));
	assert.deepEqual([JSON.parse(got.ResourcePolicy), checked.PolicyValidationPassed], [JSON.parse(policy), true]);
	assert.match(password.RandomPassword, /^[A-Za-z0-9]{40}$/);
	await secrets('delete-resource-policy', ...id);
	assert.equal((await secrets('get-resource-policy', ...id)).ResourcePolicy, undefined);
	assert.ok((await secrets('delete-secret', ...id, '--recovery-window-in-days', '7')).DeletionDate);
	await fails(secrets('get-secret-value', ...id), /InvalidRequestException/);
	await secrets('restore-secret', ...id);
	assert.equal((await secrets('get-secret-value', ...id)).SecretString, 'two');
	await secrets('delete-secret', ...id, '--force-delete-without-recovery');
	await fails(secrets('restore-secret', ...id), /ResourceNotFoundException/);
});
