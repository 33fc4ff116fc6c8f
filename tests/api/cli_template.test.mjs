// `mayfly deploy` of a template: buckets, queues, functions and what triggers them.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { CloudWatchLogsClient, FilterLogEventsCommand } from '@aws-sdk/client-cloudwatch-logs';
import { IAMClient, ListAttachedRolePoliciesCommand, ListRolePoliciesCommand } from '@aws-sdk/client-iam';
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { GetQueueAttributesCommand, GetQueueUrlCommand, SQSClient, SendMessageCommand } from '@aws-sdk/client-sqs';
import { startServer } from './server.mjs';

const mayfly = process.env.MAYFLY ?? fileURLToPath(new URL('../../build/mayfly', import.meta.url));
let server, dir;

before(async () => {
	server = await startServer();
	dir = await mkdtemp(join(tmpdir(), 'mayfly-template-'));
});
after(async () => {
	await rm(dir, { recursive: true, force: true });
	await server.stop();
});

async function deploy(template, ...options) {
	await writeFile(join(dir, 'template.yaml'), template);
	const env = { ...server.environment(), AWS_ENDPOINT_URL: server.url };
	try {
		const { stdout } = await promisify(execFile)(mayfly, ['deploy', dir, '--name', 'stack', ...options], { env });
		return { code: 0, stdout };
	} catch (error) {
		return { code: error.code, stderr: error.stderr };
	}
}

async function logged(group, pattern, count) {
	const logs = new CloudWatchLogsClient(server.client());
	for (let i = 0; i < 150; i++) {
		const { events = [] } = await logs.send(new FilterLogEventsCommand({ logGroupName: group,
			filterPattern: pattern })).catch(() => ({}));
		if (events.length >= count) return events.map((e) => e.message);
		await new Promise((resolve) => setTimeout(resolve, 100));
	}
	throw new Error(`${group} never said ${pattern} ${count} times`);
}

const TEMPLATE = `
Parameters: {Name: {Type: String, Default: inbox}}
Globals: {Function: {Runtime: nodejs20.x, Handler: index.handler, Timeout: 5}}
Resources:
  Dead: {Type: AWS::SQS::Queue}
  Jobs:
    Type: AWS::SQS::Queue
    Properties:
      VisibilityTimeout: 31
      RedrivePolicy: {deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 2}
  Inbox: {Type: AWS::S3::Bucket, Properties: {BucketName: !Ref Name}}
  Work:
    Type: AWS::Serverless::Function
    Properties:
      Environment: {Variables: {NUM: 7, QUEUE: !Ref Jobs}}
      Policies: [AmazonS3ReadOnlyAccess, {SQSSendMessagePolicy: {QueueName: !GetAtt Jobs.QueueName}}]
      EventInvokeConfig: {MaximumRetryAttempts: 0}
      FunctionUrlConfig: {AuthType: NONE}
      Events:
        Queue: {Type: SQS, Properties: {Queue: !GetAtt Jobs.Arn, BatchSize: 1}}
        Upload:
          Type: S3
          Properties: {Bucket: !Ref Inbox, Events: 's3:ObjectCreated:*'}
Outputs:
  Queue: {Value: !Ref Jobs}
  Text: {Value: !Sub '\${AWS::Region}/\${Work}/\${Name}'}
`;

test('a template makes everything, and what it names works', async () => {
	await writeFile(join(dir, 'index.mjs'), `export const handler = async (event) => {
		console.log('SEEN', process.env.NUM, event.Records[0].body ?? event.Records[0].s3.object.key);
	};`);
	const first = await deploy(TEMPLATE, '--json');
	assert.equal(first.code, 0, first.stderr);
	const { Resources, Outputs } = JSON.parse(first.stdout);
	assert.deepEqual(Resources.map((r) => [r.LogicalId, r.Name, r.Outcome]), [
		['Dead', 'stack-Dead', 'made'], ['Jobs', 'stack-Jobs', 'made'], ['Inbox', 'inbox', 'made'],
		['Work', 'stack-Work', 'made']]);
	assert.equal(Outputs.Text, 'us-east-1/stack-Work/inbox');
	assert.match(Resources[3].FunctionUrl, /^http:/);
	const sqs = new SQSClient(server.client());
	const { QueueUrl } = await sqs.send(new GetQueueUrlCommand({ QueueName: 'stack-Jobs' }));
	assert.equal(QueueUrl, Outputs.Queue);
	const { Attributes } = await sqs.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ['All'] }));
	assert.equal(Attributes.VisibilityTimeout, '31');
	assert.equal(JSON.parse(Attributes.RedrivePolicy).maxReceiveCount, 2);
	await sqs.send(new SendMessageCommand({ QueueUrl, MessageBody: 'by-queue' }));
	await new S3Client({ ...server.client(), forcePathStyle: true })
		.send(new PutObjectCommand({ Bucket: 'inbox', Key: 'by-upload', Body: 'x' }));
	const lines = (await logged('/aws/lambda/stack-Work', 'SEEN', 2)).join('');
	assert.match(lines, /SEEN 7 by-queue/);
	assert.match(lines, /SEEN 7 by-upload/);
	const iam = new IAMClient(server.client());
	const role = { RoleName: 'mayfly-stack-Work' };
	const { AttachedPolicies } = await iam.send(new ListAttachedRolePoliciesCommand(role));
	assert.deepEqual(AttachedPolicies.map((p) => p.PolicyName).sort(),
		['AWSLambdaBasicExecutionRole', 'AmazonS3ReadOnlyAccess']);
	assert.equal((await iam.send(new ListRolePoliciesCommand(role))).PolicyNames.length, 1);
});

test('deploying it again changes nothing; a change is made', async () => {
	const again = JSON.parse((await deploy(TEMPLATE, '--json')).stdout);
	assert.deepEqual(again.Resources.map((r) => r.Outcome), ['there', 'there', 'there', 'unchanged']);
	const changed = JSON.parse((await deploy(TEMPLATE.replace('NUM: 7', 'NUM: 8'), '--json')).stdout);
	assert.equal(changed.Resources[3].Outcome, 'configuration updated');
	const other = JSON.parse((await deploy(TEMPLATE, '--json', '-p', 'Name=elsewhere')).stdout);
	assert.equal(other.Resources[2].Name, 'elsewhere');
});

test('what it cannot do it says before it does anything', async () => {
	const refused = async (template, text, ...options) => {
		const { code, stderr } = await deploy(template, ...options);
		assert.equal(code, 2, stderr);
		assert.match(stderr, text);
	};
	await refused('Resources: {T: {Type: AWS::DynamoDB::Table}}', /type AWS::DynamoDB::Table is not understood/);
	await refused('Resources: {Q: {Type: AWS::SQS::Queue, Properties: {Colour: red}}}', /property Colour is not understood/);
	await refused('Resources: {B: {Type: AWS::S3::Bucket, Properties: {BucketName: !Ref Nope}}}', /no such resource or parameter/);
	await refused('Parameters: {P: {Type: String}}\nResources: {Q: {Type: AWS::SQS::Queue}}', /parameter P has no value/);
	await refused('Resources: [', /line \d/);
	await refused(TEMPLATE, /for a directory without a template/, '--memory', '512');
	await refused(TEMPLATE, /no parameter Nope/, '-p', 'Nope=1');
});
