// Code and layers that are given by the name of an S3 object.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import * as L from '@aws-sdk/client-lambda';
import * as S from '@aws-sdk/client-s3';
import { rejects, startServer } from './server.mjs';
import { python, zip } from './zip.mjs';

let server, lambda, s3;
const invalid = 'InvalidParameterValueException';
const says = (what) => zip({ 'app.py': `def handler(event, context):\n    return ${JSON.stringify(what)}\n` });
const send = (Command, input) => lambda.send(new Command({ FunctionName: 'f', ...input }));
const put = (Key, Body) => s3.send(new S.PutObjectCommand({ Bucket: 'code', Key, Body }));
const run = async () => JSON.parse(Buffer.from((await send(L.InvokeCommand)).Payload).toString());

before(async () => {
	server = await startServer();
	lambda = new L.LambdaClient(server.client());
	s3 = new S.S3Client({ ...server.client(), forcePathStyle: true });
	await s3.send(new S.CreateBucketCommand({ Bucket: 'code' }));
	await s3.send(new S.PutBucketVersioningCommand({ Bucket: 'code', VersioningConfiguration: { Status: 'Enabled' } }));
});
after(() => server?.stop());

test('CreateFunction and UpdateFunctionCode read objects and versions of them', async () => {
	const one = await put('f.zip', says('one'));
	await put('f.zip', says('two'));
	const made = await send(L.CreateFunctionCommand, python('', { Code: { S3Bucket: 'code', S3Key: 'f.zip' } }));
	assert.equal(made.CodeSize, says('two').length);
	assert.equal(await run(), 'two');
	await send(L.UpdateFunctionCodeCommand, { S3Bucket: 'code', S3Key: 'f.zip', S3ObjectVersion: one.VersionId });
	assert.equal(await run(), 'one');
});

test('PublishLayerVersion reads objects', async () => {
	await put('layer.zip', zip({ 'python/lay.py': 'X = 5\n' }));
	await lambda.send(new L.PublishLayerVersionCommand({ LayerName: 'y', Content: { S3Bucket: 'code', S3Key: 'layer.zip' } }));
	await send(L.UpdateFunctionCodeCommand, { ZipFile: zip({ 'app.py': 'import lay\ndef handler(event, context):\n    return lay.X\n' }) });
	await send(L.UpdateFunctionConfigurationCommand, { Layers: ['arn:aws:lambda:us-east-1:123456789012:layer:y:1'] });
	assert.equal(await run(), 5);
});

test('what is not there, or no zip, is refused and changes nothing', async () => {
	const update = (input) => send(L.UpdateFunctionCodeCommand, { S3Bucket: 'code', S3Key: 'f.zip', ...input });
	await rejects(update({ S3Key: 'none' }), invalid, 'Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The specified key does not exist.');
	await rejects(update({ S3Bucket: 'nowhere' }), invalid, /^Error occurred while GetObject. S3 Error Code: NoSuchBucket. S3 Error Message: The specified bucket does not exist/);
	await rejects(update({ S3ObjectVersion: 'none' }), invalid, /^Error occurred while GetObject. S3 Error Code: NoSuchVersion/);
	await rejects(update({ ZipFile: says('x') }), invalid, /^Please do not provide other FunctionCode parameters/);
	await put('text', 'this is a text, not a zip, and long enough');
	await rejects(update({ S3Key: 'text' }), invalid, /^Could not unzip uploaded file/);
	assert.equal(await run(), 5);
});
