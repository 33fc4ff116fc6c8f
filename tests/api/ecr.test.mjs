// ECR by its SDK, and the same repositories by the distribution API: skopeo and raw requests.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import * as E from '@aws-sdk/client-ecr';
import { makeImage, run } from './oci.mjs';
import { rejects, startServer } from './server.mjs';

const sha256 = (data) => `sha256:${createHash('sha256').update(data).digest('hex')}`;
let server, ecr, image, home, password;
const send = (Command, input = {}) => ecr.send(new Command(input));
const host = () => server.url.slice('http://'.length);
let made = 0;

before(async () => {
	server = await startServer();
	ecr = new E.ECRClient(server.client());
	image = await makeImage([{ 'bin/app': 'app', one: '1' }, { two: '2' }], { Cmd: ['/bin/app'] });
	home = await mkdtemp(join(tmpdir(), 'mayfly-ecr-'));
	const { authorizationData } = await send(E.GetAuthorizationTokenCommand);
	const [user, token] = Buffer.from(authorizationData[0].authorizationToken, 'base64').toString().split(':');
	assert.equal(user, 'AWS');
	assert.equal(authorizationData[0].proxyEndpoint, server.url);
	assert.ok(authorizationData[0].expiresAt - Date.now() > 11 * 3600_000);
	password = token;
});
after(async () => {
	await server?.stop();
	await image?.remove();
	await rm(home, { recursive: true, force: true });
});

const skopeo = (...args) => run('skopeo', ['--insecure-policy', ...args], { env: { PATH: process.env.PATH, HOME: home } });
const push = (name, what = image) =>
	skopeo('copy', '--dest-tls-verify=false', `--dest-creds=AWS:${password}`, `oci:${what.dir}`, `docker://${host()}/${name}`);
const authorization = () => `Basic ${Buffer.from(`AWS:${password}`).toString('base64')}`;
const v2 = (path, options = {}) =>
	fetch(`${server.url}/v2/${path}`, { redirect: 'manual', ...options, headers: { authorization: authorization(), ...options.headers } });

async function repository(more = {}) {
	const repositoryName = `team/app${made++}`;
	return (await send(E.CreateRepositoryCommand, { repositoryName, ...more })).repository;
}

describe('repositories', () => {
	test('are made, listed in pages, tagged and removed', async () => {
		const { repositoryName, repositoryArn, repositoryUri, registryId } = await repository({ tags: [{ Key: 'a', Value: '1' }] });
		assert.equal(repositoryUri, `${host()}/${repositoryName}`);
		assert.equal(registryId, '123456789012');
		await rejects(send(E.CreateRepositoryCommand, { repositoryName }), 'RepositoryAlreadyExistsException');
		await rejects(send(E.DescribeRepositoriesCommand, { repositoryNames: ['no/such'] }), 'RepositoryNotFoundException');
		await repository();
		const names = [];
		for await (const page of E.paginateDescribeRepositories({ client: ecr, pageSize: 1 }, {}))
			names.push(...page.repositories.map((r) => r.repositoryName));
		assert.ok(names.includes(repositoryName) && names.length >= 2);
		await send(E.TagResourceCommand, { resourceArn: repositoryArn, tags: [{ Key: 'b', Value: '2' }] });
		await send(E.UntagResourceCommand, { resourceArn: repositoryArn, tagKeys: ['a'] });
		assert.deepEqual((await send(E.ListTagsForResourceCommand, { resourceArn: repositoryArn })).tags, [{ Key: 'b', Value: '2' }]);
		await send(E.DeleteRepositoryCommand, { repositoryName });
		await rejects(send(E.DeleteRepositoryCommand, { repositoryName }), 'RepositoryNotFoundException');
	});

	test('are of a registry, and say whether they are scanned', async () => {
		const { registryId, replicationConfiguration } = await send(E.DescribeRegistryCommand);
		assert.deepEqual([registryId, replicationConfiguration], ['123456789012', { rules: [] }]);
		const { repositoryName } = await repository({ imageScanningConfiguration: { scanOnPush: true } });
		const scanned = async () => (await send(E.DescribeRepositoriesCommand, { repositoryNames: [repositoryName] }))
			.repositories[0].imageScanningConfiguration.scanOnPush;
		assert.equal(await scanned(), true);
		const put = await send(E.PutImageScanningConfigurationCommand, { repositoryName, imageScanningConfiguration: { scanOnPush: false } });
		assert.deepEqual([put.repositoryName, put.imageScanningConfiguration.scanOnPush, await scanned()], [repositoryName, false, false]);
		await rejects(send(E.PutImageScanningConfigurationCommand, { repositoryName: 'no/such', imageScanningConfiguration: {} }),
			'RepositoryNotFoundException');
	});

	test('of other regions are others', async () => {
		const { repositoryName } = await repository();
		const other = new E.ECRClient(server.client(server.credentials, 'eu-west-1'));
		await rejects(other.send(new E.DescribeRepositoriesCommand({ repositoryNames: [repositoryName] })), 'RepositoryNotFoundException');
		const { repository: r } = await other.send(new E.CreateRepositoryCommand({ repositoryName }));
		assert.equal(r.repositoryUri, `123456789012.dkr.ecr.eu-west-1.localhost:${host().split(':')[1]}/${repositoryName}`);
		other.destroy();
	});

	test('keep policies', async () => {
		const { repositoryName } = await repository();
		await rejects(send(E.GetRepositoryPolicyCommand, { repositoryName }), 'RepositoryPolicyNotFoundException');
		const policyText = JSON.stringify({ Version: '2012-10-17', Statement: [{ Effect: 'Allow', Principal: '*', Action: 'ecr:*' }] });
		await send(E.SetRepositoryPolicyCommand, { repositoryName, policyText });
		assert.equal((await send(E.GetRepositoryPolicyCommand, { repositoryName })).policyText, policyText);
		await rejects(send(E.SetRepositoryPolicyCommand, { repositoryName, policyText: 'x' }), 'InvalidParameterException');
		await send(E.DeleteRepositoryPolicyCommand, { repositoryName });
	});
});

describe('a push', () => {
	test('by skopeo is what ECR shows and skopeo gets back', async () => {
		const { repositoryName } = await repository();
		await push(`${repositoryName}:v1`);
		const { imageDetails: [detail] } = await send(E.DescribeImagesCommand, { repositoryName });
		assert.equal(detail.imageDigest, image.digest);
		assert.deepEqual(detail.imageTags, ['v1']);
		assert.ok(detail.imageSizeInBytes > 0 && detail.imagePushedAt instanceof Date);
		const { images: [one], failures } = await send(E.BatchGetImageCommand, { repositoryName, imageIds: [{ imageTag: 'v1' }, { imageTag: 'no' }] });
		assert.equal(sha256(one.imageManifest), image.digest);
		assert.equal(failures[0].failureCode, 'ImageNotFound');
		const to = join(home, `back${made++}`);
		await skopeo('copy', '--src-tls-verify=false', `--src-creds=AWS:${password}`, `docker://${host()}/${repositoryName}:v1`, `oci:${to}:x`);
		assert.ok(await readFile(join(to, 'blobs/sha256', image.digest.slice(7))));
		const keys = `${server.credentials.accessKeyId}:${server.credentials.secretAccessKey}`;
		await skopeo('inspect', '--tls-verify=false', `--creds=${keys}`, `docker://${host()}/${repositoryName}:v1`);
	});

	test('without the right password is refused', async () => {
		for (const creds of ['AWS:wrong', `AWS:${'ab'.repeat(60)}`, `x:${password}`])
			await assert.rejects(skopeo('inspect', '--tls-verify=false', `--creds=${creds}`, `docker://${host()}/a:b`), /unauthorized/);
		const answer = await fetch(`${server.url}/v2/`);
		assert.equal(answer.status, 401);
		assert.match(answer.headers.get('www-authenticate'), /^Basic/);
		assert.equal((await v2('')).status, 200);
	});

	test('to a repository that is not there makes it', async () => {
		await push('fresh/one:v1');
		assert.equal((await send(E.DescribeRepositoriesCommand, { repositoryNames: ['fresh/one'] })).repositories.length, 1);
		const catalog = await (await v2('_catalog?n=1000')).json();
		assert.ok(catalog.repositories.includes('fresh/one'));
	});

	test('can be pulled and run by name: it is here', async () => {
		await push('here:v1');
		const names = [`${host()}/here:v1`, `localhost:${host().split(':')[1]}/here:v1`, '123456789012.dkr.ecr.us-east-1.amazonaws.com/here:v1'];
		const { stdout } = await run(process.env.MAYFLY ?? 'build/mayfly', ['pull', ...names], { env: { ...server.environment(), AWS_ENDPOINT_URL: server.url } });
		assert.deepEqual(stdout.trim().split('\n'), names.map((n) => `${n} ${image.digest}`));
	});
});

describe('tags', () => {
	test('move, are listed in pages, and are immutable where told so', async () => {
		const { repositoryName } = await repository();
		for (const tag of ['a', 'b', 'c']) await push(`${repositoryName}:${tag}`);
		const other = await makeImage([{ other: String(made) }]);
		await push(`${repositoryName}:b`, other);
		const first = await v2(`${repositoryName}/tags/list?n=2`);
		assert.deepEqual((await first.json()).tags, ['a', 'b']);
		const next = /<([^>]*)>/.exec(first.headers.get('link'))[1];
		assert.deepEqual((await (await v2(next.slice('/v2/'.length))).json()).tags, ['c']);
		const ids = [];
		for await (const page of E.paginateListImages({ client: ecr, pageSize: 1 }, { repositoryName })) ids.push(...page.imageIds);
		assert.deepEqual(ids.map((i) => i.imageTag).sort(), ['a', 'b', 'c']);
		assert.equal(ids.find((i) => i.imageTag === 'b').imageDigest, other.digest);
		await send(E.PutImageTagMutabilityCommand, { repositoryName, imageTagMutability: 'IMMUTABLE' });
		await assert.rejects(push(`${repositoryName}:b`), /immutable/i);
		await push(`${repositoryName}:b`, other);
		const { images: [b] } = await send(E.BatchGetImageCommand, { repositoryName, imageIds: [{ imageTag: 'b' }] });
		await rejects(send(E.PutImageCommand, { repositoryName, imageManifest: b.imageManifest, imageTag: 'b' }), 'ImageAlreadyExistsException');
		await rejects(send(E.PutImageCommand, { repositoryName, imageManifest: b.imageManifest, imageTag: 'a' }), 'ImageTagAlreadyExistsException');
		await send(E.PutImageCommand, { repositoryName, imageManifest: b.imageManifest, imageTag: 'd' });
		await other.remove();
	});

	test('that go last take the image with them', async () => {
		const { repositoryName } = await repository();
		await push(`${repositoryName}:a`);
		await push(`${repositoryName}:b`);
		await send(E.BatchDeleteImageCommand, { repositoryName, imageIds: [{ imageTag: 'a' }] });
		assert.equal((await send(E.DescribeImagesCommand, { repositoryName })).imageDetails.length, 1);
		const gone = await send(E.BatchDeleteImageCommand, { repositoryName, imageIds: [{ imageTag: 'b' }, { imageTag: 'c' }] });
		assert.equal(gone.failures[0].failureCode, 'ImageNotFound');
		assert.equal((await send(E.DescribeImagesCommand, { repositoryName })).imageDetails.length, 0);
		assert.equal((await v2(`${repositoryName}/manifests/b`)).status, 404);
		await push(`${repositoryName}:again`);
		await rejects(send(E.DeleteRepositoryCommand, { repositoryName }), 'RepositoryNotEmptyException');
		assert.equal((await v2(`${repositoryName}/manifests/${image.digest}`, { method: 'DELETE' })).status, 202);
		await send(E.DeleteRepositoryCommand, { repositoryName });
	});
});

describe('blobs', () => {
	const upload = async (name, data, digest = sha256(data), query = '') => {
		const begin = await v2(`${name}/blobs/uploads/${query}`, { method: 'POST' });
		assert.equal(begin.status, 202);
		return v2(`${begin.headers.get('location').slice('/v2/'.length)}?digest=${digest}`, { method: 'PUT', body: data });
	};

	test('that are only begun keep nobody out: those that rest give way', async () => {
		const { repositoryName } = await repository();
		const begin = () => v2(`${repositoryName}/blobs/uploads/`, { method: 'POST' });
		const path = (answer) => answer.headers.get('location').slice('/v2/'.length);
		const first = path(await begin());
		let answer, second;
		for (let n = 0; (answer = await begin()).status === 202 && n < 300; n++) second ??= path(answer);
		const full = answer.status === 429; // or the machine stood still, and some gave way already
		const end = Date.now() + 60_000;
		while ((answer = await begin()).status === 429 && Date.now() < end) {
			// Who goes on with his upload keeps it.
			if (full) assert.equal((await v2(second, { method: 'PATCH', body: 'x' })).status, 202);
			await new Promise((resolve) => setTimeout(resolve, 500));
		}
		assert.equal(answer.status, 202);
		assert.equal((await v2(first)).status, 404);
		if (full) assert.equal((await v2(second)).status, 204);
		await server.restart();
	});

	test('come whole, in chunks, or from another repository', async () => {
		const { repositoryName } = await repository();
		const data = randomBytes(300_000), digest = sha256(data);
		assert.equal((await v2(`${repositoryName}/blobs/${digest}`, { method: 'HEAD' })).status, 404);
		assert.equal((await upload(repositoryName, data)).status, 201);
		const back = await v2(`${repositoryName}/blobs/${digest}`);
		assert.equal(back.headers.get('docker-content-digest'), digest);
		assert.equal(sha256(Buffer.from(await back.arrayBuffer())), digest);
		const part = await v2(`${repositoryName}/blobs/${digest}`, { headers: { range: 'bytes=10-19' } });
		assert.equal(part.status, 206);
		assert.equal(part.headers.get('content-range'), 'bytes 10-19/300000');
		assert.deepEqual(Buffer.from(await part.arrayBuffer()), data.subarray(10, 20));
		assert.equal((await v2(`${repositoryName}/blobs/${digest}`, { headers: { range: 'bytes=300000-' } })).status, 416);
		const whole = randomBytes(1000);
		assert.equal((await v2(`${repositoryName}/blobs/uploads/?digest=${sha256(whole)}`, { method: 'POST', body: whole })).status, 201);

		const other = (await repository()).repositoryName, chunks = randomBytes(100_000);
		const begin = await v2(`${other}/blobs/uploads/`, { method: 'POST' });
		let at = begin.headers.get('location').slice('/v2/'.length);
		const patch = (from, to) => v2(at, { method: 'PATCH', body: chunks.subarray(from, to), headers: { 'content-range': `${from}-${to - 1}` } });
		assert.equal((await patch(0, 40_000)).headers.get('range'), '0-39999');
		assert.equal((await patch(50_000, 60_000)).status, 416);
		assert.equal((await v2(at)).headers.get('range'), '0-39999');
		at = (await patch(40_000, 100_000)).headers.get('location').slice('/v2/'.length);
		assert.equal((await v2(`${at}?digest=${sha256(chunks)}`, { method: 'PUT' })).status, 201);
		const mount = await v2(`${other}/blobs/uploads/?mount=${digest}&from=${repositoryName}`, { method: 'POST' });
		assert.equal(mount.status, 201);
		assert.equal((await v2(`${other}/blobs/${digest}`, { method: 'HEAD' })).status, 200);
		assert.equal((await v2(`${other}/blobs/uploads/?mount=${sha256('no')}&from=${repositoryName}`, { method: 'POST' })).status, 202);
	});

	test('are what they say, and belong to their repository', async () => {
		const { repositoryName } = await repository(), other = (await repository()).repositoryName;
		const data = randomBytes(1000);
		const wrong = await upload(repositoryName, data, sha256('else'));
		assert.equal(wrong.status, 400);
		assert.equal((await wrong.json()).errors[0].code, 'DIGEST_INVALID');
		assert.equal((await upload(repositoryName, data)).status, 201);
		assert.equal((await v2(`${other}/blobs/${sha256(data)}`)).status, 404);
		const manifest = JSON.stringify({ schemaVersion: 2, config: { mediaType: 'application/x', digest: sha256(data), size: 1000 }, layers: [] });
		const put = (name, body, type = 'application/vnd.oci.image.manifest.v1+json') =>
			v2(`${name}/manifests/v1`, { method: 'PUT', body, headers: { 'content-type': type } });
		const refused = await put(other, manifest);
		assert.equal((await refused.json()).errors[0].code, 'MANIFEST_BLOB_UNKNOWN');
		assert.equal((await (await put(repositoryName, '{}')).json()).errors[0].code, 'MANIFEST_INVALID');
		assert.equal((await put(repositoryName, manifest)).status, 201);
		const byOther = await v2(`${repositoryName}/manifests/${sha256('x')}`, { method: 'PUT', body: manifest });
		assert.equal(byOther.status, 400);
		for (const path of ['A/tags/list', `${repositoryName}/blobs/sha256:12`, `${repositoryName}/manifests/.bad`, `${repositoryName}/blobs/uploads/none`])
			assert.ok([400, 404].includes((await v2(path)).status), path);
		assert.equal((await upload(repositoryName, Buffer.alloc(0))).status, 201);
	});

	test('are there all the time that a manifest takes them over', async () => {
		const { repositoryName } = await repository();
		const type = 'application/vnd.oci.image.manifest.v1+json';
		for (let i = 0; i < 15; i++) {
			const data = randomBytes(100), digest = sha256(data);
			assert.equal((await upload(repositoryName, data)).status, 201);
			const manifest = JSON.stringify({ schemaVersion: 2, mediaType: type, layers: [],
				config: { mediaType: 'application/x', digest, size: data.length } });
			let putting = true;
			const put = v2(`${repositoryName}/manifests/v${i}`, { method: 'PUT', body: manifest, headers: { 'content-type': type } })
				.finally(() => { putting = false; });
			do assert.equal((await v2(`${repositoryName}/blobs/${digest}`, { method: 'HEAD' })).status, 200);
			while (putting);
			assert.equal((await put).status, 201);
		}
	});

	test('come by the calls of ECR, too', async () => {
		const { repositoryName } = await repository();
		const data = randomBytes(200_000), digest = sha256(data);
		const { uploadId, partSize } = await send(E.InitiateLayerUploadCommand, { repositoryName });
		assert.ok(partSize > 0);
		const part = (partFirstByte, end) => send(E.UploadLayerPartCommand, { repositoryName, uploadId, partFirstByte, partLastByte: end - 1, layerPartBlob: data.subarray(partFirstByte, end) });
		await part(0, 150_000);
		await rejects(part(160_000, 170_000), 'InvalidLayerPartException');
		assert.equal((await part(150_000, 200_000)).lastByteReceived, 199_999);
		assert.equal((await send(E.CompleteLayerUploadCommand, { repositoryName, uploadId, layerDigests: [digest] })).layerDigest, digest);
		await rejects(send(E.CompleteLayerUploadCommand, { repositoryName, uploadId, layerDigests: [digest] }), 'UploadNotFoundException');
		const { layers } = await send(E.BatchCheckLayerAvailabilityCommand, { repositoryName, layerDigests: [digest, sha256('no')] });
		assert.deepEqual(layers.map((l) => [l.layerAvailability, l.layerSize]), [['AVAILABLE', 200_000], ['UNAVAILABLE', undefined]]);
		const { downloadUrl } = await send(E.GetDownloadUrlForLayerCommand, { repositoryName, layerDigest: digest });
		assert.equal(sha256(Buffer.from(await (await fetch(downloadUrl)).arrayBuffer())), digest);
	});
});

describe('lifecycle policies', () => {
	const rule = (selection, rulePriority = 1) => ({ rulePriority, selection, action: { type: 'expire' } });
	const put = (repositoryName, ...rules) => send(E.PutLifecyclePolicyCommand, { repositoryName, lifecyclePolicyText: JSON.stringify({ rules }) });

	test('keep the newest images', async () => {
		const { repositoryName } = await repository();
		const images = [];
		for (let i = 0; i < 4; i++) {
			images.push(await makeImage([{ n: `${i}${made}` }]));
			await push(`${repositoryName}:t${i}`, images[i]);
		}
		await rejects(send(E.GetLifecyclePolicyCommand, { repositoryName }), 'LifecyclePolicyNotFoundException');
		await rejects(put(repositoryName, rule({ tagStatus: 'tagged', countType: 'imageCountMoreThan', countNumber: 2 })), 'InvalidParameterException', /tagPrefixList/);
		await put(repositoryName, rule({ tagStatus: 'tagged', tagPrefixList: ['t'], countType: 'imageCountMoreThan', countNumber: 2 }));
		for (const end = Date.now() + 15_000; ;) {
			const { imageDetails } = await send(E.DescribeImagesCommand, { repositoryName });
			if (imageDetails.length === 2) {
				assert.deepEqual(imageDetails.map((d) => d.imageTags[0]).sort(), ['t2', 't3']);
				break;
			}
			assert.ok(Date.now() < end, 'the policy was carried out');
			await new Promise((resolve) => setTimeout(resolve, 200));
		}
		await send(E.DeleteLifecyclePolicyCommand, { repositoryName });
		for (const i of images) await i.remove();
	});
});

describe('what was pushed', () => {
	test('is there after kill -9', async () => {
		const { repositoryName } = await repository();
		await push(`${repositoryName}:v1`);
		await server.restart('SIGKILL');
		const { imageDetails: [detail] } = await send(E.DescribeImagesCommand, { repositoryName });
		assert.equal(detail.imageDigest, image.digest);
		await skopeo('copy', '--src-tls-verify=false', `--src-creds=AWS:${password}`, `docker://${host()}/${repositoryName}:v1`, `dir:${join(home, `d${made++}`)}`);
	});
});
