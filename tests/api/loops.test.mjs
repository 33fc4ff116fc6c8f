// Functions that come back to themselves by way of a queue or a bucket are stopped.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { CloudWatchLogsClient, FilterLogEventsCommand } from '@aws-sdk/client-cloudwatch-logs';
import * as L from '@aws-sdk/client-lambda';
import * as Q from '@aws-sdk/client-sqs';
import * as S from '@aws-sdk/client-s3';
import { startServer } from './server.mjs';
import { python } from './zip.mjs';

let server, lambda, logs, sqs, s3;
const HOPS = 16;
const send = (Command, input) => lambda.send(new Command(input));
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const arn = (name) => `arn:aws:lambda:us-east-1:123456789012:function:${name}`;

before(async () => {
	server = await startServer();
	lambda = new L.LambdaClient(server.client());
	logs = new CloudWatchLogsClient(server.client());
	sqs = new Q.SQSClient(server.client());
	s3 = new S.S3Client({ ...server.client(), forcePathStyle: true });
});
after(() => server?.stop());

async function hops(name) {
	try {
		const r = await logs.send(new FilterLogEventsCommand({ logGroupName: `/aws/lambda/${name}`, filterPattern: '"HOP "' }));
		return r.events.length;
	} catch (error) {
		if (error.name !== 'ResourceNotFoundException') throw error;
		return 0;
	}
}

// It gets so far, and no further.
async function stops(name) {
	const end = Date.now() + 60_000;
	while ((await hops(name)) < HOPS && Date.now() < end) await sleep(200);
	await sleep(1500);
	assert.equal(await hops(name), HOPS);
}

// boto3 in the box sends the trace on by itself.
test('through a queue', async () => {
	const { QueueUrl } = await sqs.send(new Q.CreateQueueCommand({ QueueName: 'round' }));
	await send(L.CreateFunctionCommand, { FunctionName: 'queued', ...python(`
import boto3
sqs = boto3.client("sqs")
url = sqs.get_queue_url(QueueName="round")["QueueUrl"]
def handler(event, context):
    print("HOP " + event["Records"][0]["attributes"].get("AWSTraceHeader", "-"))
    sqs.send_message(QueueUrl=url, MessageBody="again")
`, { Timeout: 30, MemorySize: 512 }) });
	await send(L.CreateEventSourceMappingCommand, {
		FunctionName: 'queued', EventSourceArn: 'arn:aws:sqs:us-east-1:123456789012:round', BatchSize: 1,
	});
	await sqs.send(new Q.SendMessageCommand({ QueueUrl, MessageBody: 'first' }));
	await stops('queued');
	assert.match(server.log, /went round in a loop and is stopped: see PutFunctionRecursionConfig/);
	const { Attributes: a } = await sqs.send(new Q.GetQueueAttributesCommand({ QueueUrl, AttributeNames: ['All'] }));
	assert.equal(Number(a.ApproximateNumberOfMessages) + Number(a.ApproximateNumberOfMessagesNotVisible), 0);
});

test('through a bucket', async () => {
	await s3.send(new S.CreateBucketCommand({ Bucket: 'round' }));
	await send(L.CreateFunctionCommand, { FunctionName: 'stored', ...python(`
import boto3
s3 = boto3.client("s3")
def handler(event, context):
    print("HOP " + event["Records"][0]["s3"]["object"]["key"])
    s3.put_object(Bucket="round", Key=event["Records"][0]["s3"]["object"]["key"] + "x", Body=b"again")
`, { Timeout: 30, MemorySize: 512 }) });
	await send(L.AddPermissionCommand, {
		FunctionName: 'stored', StatementId: 's', Action: 'lambda:InvokeFunction', Principal: 's3.amazonaws.com',
		SourceArn: 'arn:aws:s3:::round', SourceAccount: '123456789012',
	});
	await s3.send(new S.PutBucketNotificationConfigurationCommand({ Bucket: 'round', NotificationConfiguration: {
		LambdaFunctionConfigurations: [{ LambdaFunctionArn: arn('stored'), Events: ['s3:ObjectCreated:*'] }],
	} }));
	await s3.send(new S.PutObjectCommand({ Bucket: 'round', Key: 'k', Body: 'first' }));
	await stops('stored');
});
