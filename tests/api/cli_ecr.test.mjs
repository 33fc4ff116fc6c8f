// `aws ecr` of Debian's CLI: every operation that is answered, and the password for docker and skopeo.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { aws } from './cli.mjs';
import { makeImage, run } from './oci.mjs';
import { startServer } from './server.mjs';

let server, dir, image;
const ecr = (...words) => aws(server, ['ecr', ...words]);
const named = (name) => ['--repository-name', name];
const app = named('team/app');
const sha256 = (data) => `sha256:${createHash('sha256').update(data).digest('hex')}`;
const all = (...calls) => Promise.all(calls);
const fails = (call, error) => assert.rejects(call, error);

before(async () => {
	server = await startServer();
	dir = await mkdtemp(join(tmpdir(), 'mayfly-cli-ecr-'));
	image = await makeImage([{ one: '1' }], { Cmd: ['/one'] });
});
after(async () => {
	await server?.stop();
	await image?.remove();
	await rm(dir, { recursive: true, force: true });
});

test('repositories: made, tagged, configured', async () => {
	const { repository } = await ecr('create-repository', ...app, '--tags', 'Key=a,Value=b');
	const arn = ['--resource-arn', repository.repositoryArn];
	assert.equal(repository.repositoryArn, 'arn:aws:ecr:us-east-1:123456789012:repository/team/app');
	const policy = JSON.stringify({ Version: '2012-10-17', Statement: [{ Effect: 'Allow', Principal: '*', Action: 'ecr:*' }] });
	const rules = JSON.stringify({ rules: [{ rulePriority: 1, selection: { tagStatus: 'untagged', countType: 'imageCountMoreThan', countNumber: 9 },
		action: { type: 'expire' } }] });
	const [scanned, set, lifecycle] = await all(ecr('put-image-scanning-configuration', ...app, '--image-scanning-configuration', 'scanOnPush=true'),
		ecr('set-repository-policy', ...app, '--policy-text', policy), ecr('put-lifecycle-policy', ...app, '--lifecycle-policy-text', rules),
		ecr('tag-resource', ...arn, '--tags', 'Key=c,Value=d'), fails(ecr('create-repository', ...app), /RepositoryAlreadyExistsException/));
	assert.deepEqual([scanned.imageScanningConfiguration, JSON.parse(set.policyText), JSON.parse(lifecycle.lifecyclePolicyText)],
		[{ scanOnPush: true }, JSON.parse(policy), JSON.parse(rules)]);
	await ecr('untag-resource', ...arn, '--tag-keys', 'a');
	const [registry, listed, tags, gotPolicy, gotRules] = await all(ecr('describe-registry'), ecr('describe-repositories'),
		ecr('list-tags-for-resource', ...arn), ecr('get-repository-policy', ...app), ecr('get-lifecycle-policy', ...app),
		fails(ecr('describe-repositories', '--repository-names', 'none'), /RepositoryNotFoundException/));
	assert.deepEqual([registry.registryId, listed.repositories.map((r) => r.repositoryName)], ['123456789012', ['team/app']]);
	assert.equal(listed.repositories[0].imageScanningConfiguration.scanOnPush, true);
	assert.deepEqual([tags.tags, JSON.parse(gotPolicy.policyText), JSON.parse(gotRules.lifecyclePolicyText)],
		[[{ Key: 'c', Value: 'd' }], JSON.parse(policy), JSON.parse(rules)]);
	await all(ecr('delete-repository-policy', ...app), ecr('delete-lifecycle-policy', ...app));
	await all(fails(ecr('get-repository-policy', ...app), /RepositoryPolicyNotFoundException/),
		fails(ecr('get-lifecycle-policy', ...app), /LifecyclePolicyNotFoundException/));
});

test('an image by layers and a manifest', async () => {
	const entry = JSON.parse(await readFile(join(image.dir, 'blobs/sha256', image.digest.slice(7)), 'utf8'));
	for (const { digest, size } of [entry.config, ...entry.layers]) {
		const { uploadId } = await ecr('initiate-layer-upload', ...app);
		const upload = [...app, '--upload-id', uploadId];
		const part = await ecr('upload-layer-part', ...upload, '--part-first-byte', '0', '--part-last-byte', String(size - 1),
			'--layer-part-blob', `fileb://${join(image.dir, 'blobs/sha256', digest.slice(7))}`);
		assert.equal(part.lastByteReceived, size - 1);
		assert.equal((await ecr('complete-layer-upload', ...upload, '--layer-digests', digest)).layerDigest, digest);
	}
	const [layer] = entry.layers, manifest = ['--image-manifest', `file://${join(image.dir, 'blobs/sha256', image.digest.slice(7))}`];
	const [available, link] = await all(ecr('batch-check-layer-availability', ...app, '--layer-digests', layer.digest, sha256('none')),
		ecr('get-download-url-for-layer', ...app, '--layer-digest', layer.digest), ecr('put-image', ...app, ...manifest, '--image-tag', 'v1'),
		fails(ecr('get-download-url-for-layer', ...app, '--layer-digest', sha256('none')), /LayersNotFoundException/));
	assert.deepEqual(available.layers.map((l) => l.layerAvailability), ['AVAILABLE', 'UNAVAILABLE']);
	assert.equal(sha256(Buffer.from(await (await fetch(link.downloadUrl)).arrayBuffer())), layer.digest);
	const [put, listed, details, got] = await all(ecr('put-image', ...app, ...manifest, '--image-tag', 'v2'), ecr('list-images', ...app),
		ecr('describe-images', ...app, '--image-ids', 'imageTag=v1'), ecr('batch-get-image', ...app, '--image-ids', 'imageTag=v1', 'imageTag=none'),
		fails(ecr('put-image', ...app, ...manifest, '--image-tag', 'v1'), /ImageAlreadyExistsException/));
	assert.equal(put.image.imageId.imageDigest, image.digest);
	assert.ok(listed.imageIds.some((i) => i.imageTag === 'v1' && i.imageDigest === image.digest));
	assert.deepEqual(details.imageDetails.map((d) => d.imageDigest), [image.digest]);
	assert.deepEqual([got.images.map((i) => sha256(i.imageManifest)), got.failures[0].failureCode], [[image.digest], 'ImageNotFound']);
	assert.equal((await ecr('put-image-tag-mutability', ...app, '--image-tag-mutability', 'IMMUTABLE')).imageTagMutability, 'IMMUTABLE');
});

test('the password lets skopeo pull and push', async () => {
	const host = server.url.slice('http://'.length);
	const password = (await ecr('get-login-password')).trim();
	const { authorizationData: [token] } = await ecr('get-authorization-token');
	assert.equal(token.proxyEndpoint, server.url);
	assert.match(Buffer.from(token.authorizationToken, 'base64').toString(), /^AWS:.+/);
	const auth = join(dir, 'auth.json');
	await writeFile(auth, JSON.stringify({ auths: { [host]: { auth: Buffer.from(`AWS:${password}`).toString('base64') } } }));
	const skopeo = (...args) => run('skopeo', ['--insecure-policy', ...args], { env: { PATH: process.env.PATH, HOME: dir, REGISTRY_AUTH_FILE: auth } });
	await skopeo('copy', '--src-tls-verify=false', `docker://${host}/team/app:v1`, `oci:${join(dir, 'back')}:x`);
	await skopeo('copy', '--dest-tls-verify=false', `oci:${join(dir, 'back')}:x`, `docker://${host}/team/other:v1`);
	assert.equal((await ecr('describe-images', ...named('team/other'))).imageDetails[0].imageDigest, image.digest);
});

test('images and repositories go', async () => {
	const gone = await ecr('batch-delete-image', ...named('team/other'), '--image-ids', 'imageTag=v1', 'imageTag=none');
	assert.deepEqual([gone.imageIds[0].imageTag, gone.failures[0].failureCode], ['v1', 'ImageNotFound']);
	await all(fails(ecr('delete-repository', ...app), /RepositoryNotEmptyException/),
		ecr('delete-repository', ...named('team/other')).then((r) => assert.equal(r.repository.repositoryName, 'team/other')));
	await ecr('delete-repository', ...app, '--force');
	assert.deepEqual((await ecr('describe-repositories')).repositories, []);
});
