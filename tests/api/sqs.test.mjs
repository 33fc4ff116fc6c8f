import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, test } from 'node:test';
import * as sqs from '@aws-sdk/client-sqs';
import { rejects, startServer } from './server.mjs';

let server, client;

before(async () => {
	server = await startServer();
	client = new sqs.SQSClient(server.client());
});
after(() => server?.stop());

const call = (name, input = {}) => client.send(new sqs[`${name}Command`](input));
const arn = (name) => `arn:aws:sqs:us-east-1:123456789012:${name}`;

async function make(QueueName, Attributes, tags) {
	return (await call('CreateQueue', { QueueName, Attributes, tags })).QueueUrl;
}
const send = (QueueUrl, MessageBody, more) => call('SendMessage', { QueueUrl, MessageBody, ...more });
const receive = async (QueueUrl, more) =>
	(await call('ReceiveMessage', { QueueUrl, MaxNumberOfMessages: 10, ...more })).Messages ?? [];

test('queues from create to delete', async () => {
	const QueueUrl = await make('one', { VisibilityTimeout: '45', DelaySeconds: '1' }, { team: 'a' });
	assert.equal(QueueUrl, `${server.url}/123456789012/one`);
	assert.equal(await make('one', { VisibilityTimeout: '45' }), QueueUrl);
	await rejects(make('one', { VisibilityTimeout: '46' }), 'QueueNameExists',
		'A queue already exists with the same name and a different value for attribute VisibilityTimeout');
	await rejects(make('a b'), 'InvalidParameterValue');
	await rejects(make('x', { DelaySeconds: '901' }), 'InvalidAttributeValue');
	await rejects(make('x', { Wrong: '1' }), 'InvalidAttributeName', 'Unknown Attribute Wrong.');
	await rejects(make('x', { FifoQueue: 'true' }), 'InvalidParameterValue');
	assert.equal((await call('GetQueueUrl', { QueueName: 'one' })).QueueUrl, QueueUrl);
	await rejects(call('GetQueueUrl', { QueueName: 'none' }), 'QueueDoesNotExist', 'The specified queue does not exist.');
	await call('SetQueueAttributes', { QueueUrl, Attributes: { MaximumMessageSize: '2048' } });
	const { Attributes } = await call('GetQueueAttributes', { QueueUrl, AttributeNames: ['All'] });
	assert.equal(Attributes.QueueArn, arn('one'));
	assert.equal(Attributes.VisibilityTimeout, '45');
	assert.equal(Attributes.MaximumMessageSize, '2048');
	assert.equal(Attributes.MessageRetentionPeriod, '345600');
	assert.equal(Attributes.ApproximateNumberOfMessages, '0');
	await call('TagQueue', { QueueUrl, Tags: { b: 'c' } });
	await call('UntagQueue', { QueueUrl, TagKeys: ['team'] });
	assert.deepEqual((await call('ListQueueTags', { QueueUrl })).Tags, { b: 'c' });
	await call('DeleteQueue', { QueueUrl });
	await rejects(send(QueueUrl, 'x'), 'QueueDoesNotExist');
});

test('queues are listed by pages', async () => {
	for (const name of ['list-a', 'list-b', 'list-c']) await make(name);
	const first = await call('ListQueues', { QueueNamePrefix: 'list-', MaxResults: 2 });
	assert.equal(first.QueueUrls.length, 2);
	const rest = await call('ListQueues', { QueueNamePrefix: 'list-', MaxResults: 2, NextToken: first.NextToken });
	assert.deepEqual(rest.QueueUrls.map((u) => u.split('/').pop()), ['list-c']);
	assert.equal(rest.NextToken, undefined);
});

test('messages with attributes', async () => {
	const QueueUrl = await make('messages');
	const sent = await send(QueueUrl, 'héllo', {
		MessageAttributes: {
			'a.one': { DataType: 'String', StringValue: 'x' },
			'a.two': { DataType: 'Number.int', StringValue: '7' },
			bin: { DataType: 'Binary', BinaryValue: Buffer.from([0, 255]) },
		},
		MessageSystemAttributes: { AWSTraceHeader: { DataType: 'String', StringValue: 'Root=1-5759e988-bd862e3fe1be46a994272793' } },
	});
	assert.equal(sent.MD5OfMessageBody, createHash('md5').update('héllo').digest('hex'));
	const [m] = await receive(QueueUrl, { MessageAttributeNames: ['a.*'], MessageSystemAttributeNames: ['All'], VisibilityTimeout: 0 });
	assert.equal(m.Body, 'héllo');
	assert.deepEqual(Object.keys(m.MessageAttributes).sort(), ['a.one', 'a.two']);
	assert.equal(m.Attributes.ApproximateReceiveCount, '1');
	assert.match(m.Attributes.AWSTraceHeader, /^Root=/);
	const visible = (ReceiptHandle, VisibilityTimeout) => call('ChangeMessageVisibility', { QueueUrl, ReceiptHandle, VisibilityTimeout });
	const [hidden] = await receive(QueueUrl, { WaitTimeSeconds: 2 });
	assert.deepEqual(await receive(QueueUrl), []);
	await visible(hidden.ReceiptHandle, 0);
	await rejects(visible(hidden.ReceiptHandle, 43201), 'InvalidParameterValue');
	await rejects(visible('no', 0), 'ReceiptHandleIsInvalid');
	const [all] = await receive(QueueUrl, { MessageAttributeNames: ['All'] , WaitTimeSeconds: 2 });
	assert.equal(all.MessageId, m.MessageId);
	assert.equal(all.MD5OfMessageAttributes, sent.MD5OfMessageAttributes);
	assert.deepEqual([...all.MessageAttributes.bin.BinaryValue], [0, 255]);
	await call('DeleteMessage', { QueueUrl, ReceiptHandle: all.ReceiptHandle });
	await rejects(call('DeleteMessage', { QueueUrl, ReceiptHandle: 'no' }), 'ReceiptHandleIsInvalid');
	await rejects(send(QueueUrl, 'a\u0001'), 'InvalidMessageContents');
	await rejects(send(QueueUrl, 'x', { DelaySeconds: 901 }), 'InvalidParameterValue');
	await rejects(send(QueueUrl, 'x', { MessageAttributes: { 'AWS.x': { DataType: 'String', StringValue: 'y' } } }), 'InvalidParameterValue');
	await rejects(receive(QueueUrl, { WaitTimeSeconds: 21 }), 'InvalidParameterValue');
});

test('batches say what failed', async () => {
	const QueueUrl = await make('batches');
	const entries = (n) => Array.from({ length: n }, (_, i) => ({ Id: `m${i}`, MessageBody: `body ${i}` }));
	const sent = await call('SendMessageBatch', { QueueUrl, Entries: [...entries(3), { Id: 'bad', MessageBody: 'x', DelaySeconds: 1000 }] });
	assert.equal(sent.Successful.length, 3);
	assert.equal(sent.Failed[0].Code, 'InvalidParameterValue');
	await rejects(call('SendMessageBatch', { QueueUrl, Entries: entries(11) }), 'TooManyEntriesInBatchRequest');
	await rejects(call('SendMessageBatch', { QueueUrl, Entries: [] }), 'EmptyBatchRequest');
	await rejects(call('SendMessageBatch', { QueueUrl, Entries: [...entries(1), ...entries(1)] }), 'BatchEntryIdsNotDistinct');
	const got = await receive(QueueUrl);
	assert.equal(got.length, 3);
	const Entries = got.map((m, i) => ({ Id: `${i}`, ReceiptHandle: m.ReceiptHandle }));
	const changed = await call('ChangeMessageVisibilityBatch', { QueueUrl,
		Entries: Entries.map((e) => ({ ...e, VisibilityTimeout: 60 })) });
	assert.equal(changed.Successful.length, 3);
	const gone = await call('DeleteMessageBatch', { QueueUrl, Entries: [...Entries, { Id: 'x', ReceiptHandle: 'no' }] });
	assert.equal(gone.Successful.length, 3);
	assert.equal(gone.Failed[0].Code, 'ReceiptHandleIsInvalid');
});

test('a receiver waits for a message', async () => {
	const QueueUrl = await make('waiting');
	const waiting = receive(QueueUrl, { WaitTimeSeconds: 10 });
	await new Promise((resolve) => setTimeout(resolve, 200));
	await send(QueueUrl, 'come');
	assert.equal((await waiting)[0].Body, 'come');
	const began = Date.now();
	assert.equal((await receive(QueueUrl, { WaitTimeSeconds: 1 })).length, 0);
	assert.ok(Date.now() - began >= 990);
});

test('FIFO: order, groups, duplicates', async () => {
	const QueueUrl = await make('order.fifo', { FifoQueue: 'true', ContentBasedDeduplication: 'true' });
	const [a, again] = [await send(QueueUrl, '1', { MessageGroupId: 'g' }), await send(QueueUrl, '1', { MessageGroupId: 'g' })];
	assert.equal(a.MessageId, again.MessageId);
	assert.match(a.SequenceNumber, /^\d{20}$/);
	await send(QueueUrl, '2', { MessageGroupId: 'g' });
	const got = await receive(QueueUrl, { AttributeNames: ['All'] });
	assert.deepEqual(got.map((m) => m.Body), ['1', '2']);
	assert.equal(got[0].Attributes.MessageGroupId, 'g');
	await rejects(send(QueueUrl, 'x'), 'MissingParameter', 'The request must contain the parameter MessageGroupId.');
});

test('dead letters go and come back', async () => {
	const dead = await make('dead');
	const QueueUrl = await make('alive', { RedrivePolicy: JSON.stringify({ deadLetterTargetArn: arn('dead'), maxReceiveCount: 1 }) });
	await rejects(make('lost', { RedrivePolicy: JSON.stringify({ deadLetterTargetArn: arn('nowhere'), maxReceiveCount: 1 }) }), 'InvalidParameterValue');
	assert.deepEqual((await call('ListDeadLetterSourceQueues', { QueueUrl: dead })).queueUrls, [QueueUrl]);
	await send(QueueUrl, 'poison');
	await receive(QueueUrl, { VisibilityTimeout: 0 });
	const [m] = await receive(dead, { WaitTimeSeconds: 5, VisibilityTimeout: 0, MessageSystemAttributeNames: ['DeadLetterQueueSourceArn'] });
	assert.equal(m.Attributes.DeadLetterQueueSourceArn, arn('alive'));
	await new Promise((resolve) => setTimeout(resolve, 100));
	const { TaskHandle } = await call('StartMessageMoveTask', { SourceArn: arn('dead') });
	assert.ok(TaskHandle);
	assert.equal((await receive(QueueUrl, { WaitTimeSeconds: 5 }))[0].Body, 'poison');
	const { Results } = await call('ListMessageMoveTasks', { SourceArn: arn('dead') });
	assert.equal(Results[0].ApproximateNumberOfMessagesMoved, 1);
	await rejects(call('CancelMessageMoveTask', { TaskHandle: 'none' }), 'ResourceNotFoundException');
	await rejects(call('StartMessageMoveTask', { SourceArn: arn('alive') }), 'InvalidParameterValue');
});

test('purging once a minute', async () => {
	const QueueUrl = await make('purged');
	await send(QueueUrl, 'x');
	await call('PurgeQueue', { QueueUrl });
	assert.equal((await receive(QueueUrl)).length, 0);
	await rejects(call('PurgeQueue', { QueueUrl }), 'PurgeQueueInProgress');
});

test('nobody without a signature, unless the policy says so', async () => {
	const QueueUrl = await make('open');
	const body = new URLSearchParams({ Action: 'SendMessage', Version: '2012-11-05', MessageBody: 'anonymous', QueueUrl });
	const post = () => fetch(QueueUrl, { method: 'POST', body });
	assert.equal((await post()).status, 403);
	await call('SetQueueAttributes', { QueueUrl, Attributes: { Policy: JSON.stringify({ Version: '2012-10-17', Statement: [
		{ Effect: 'Allow', Principal: '*', Action: 'sqs:SendMessage', Resource: arn('open') }] }) } });
	const answer = await post();
	assert.equal(answer.status, 200, await answer.text());
	assert.equal((await receive(QueueUrl))[0].Body, 'anonymous');
	await call('AddPermission', { QueueUrl, Label: 'two', AWSAccountIds: ['111122223333'], Actions: ['ReceiveMessage'] });
	await rejects(call('AddPermission', { QueueUrl, Label: 'two', AWSAccountIds: ['111122223333'], Actions: ['*'] }), 'InvalidParameterValue');
	const policy = async () => JSON.parse((await call('GetQueueAttributes', { QueueUrl, AttributeNames: ['Policy'] })).Attributes.Policy);
	assert.equal((await policy()).Statement.length, 2);
	await call('RemovePermission', { QueueUrl, Label: 'two' });
	assert.equal((await policy()).Statement.length, 1);
});
