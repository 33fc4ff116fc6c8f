// Event source mappings over SQS with the SDK: the five operations and what real functions see.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import * as L from '@aws-sdk/client-lambda';
import * as Q from '@aws-sdk/client-sqs';
import { rejects, startServer } from './server.mjs';
import { python } from './zip.mjs';

let server, lambda, sqs, made = 0;
const invalid = 'InvalidParameterValueException', missing = 'ResourceNotFoundException';
const send = (Command, input) => lambda.send(new Command(input));
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

before(async () => {
	server = await startServer();
	lambda = new L.LambdaClient(server.client());
	sqs = new Q.SQSClient(server.client());
});
after(() => server?.stop());

async function queue(Attributes = {}, suffix = '') {
	const QueueName = `q${made++}${suffix}`;
	const { QueueUrl } = await sqs.send(new Q.CreateQueueCommand({ QueueName, Attributes }));
	return { QueueUrl, arn: `arn:aws:sqs:us-east-1:123456789012:${QueueName}` };
}
const put = (q, MessageBody, more = {}) => sqs.send(new Q.SendMessageCommand({ QueueUrl: q.QueueUrl, MessageBody, ...more }));
async function counts(q) {
	const { Attributes: a } = await sqs.send(new Q.GetQueueAttributesCommand({ QueueUrl: q.QueueUrl, AttributeNames: ['All'] }));
	return Number(a.ApproximateNumberOfMessages) + Number(a.ApproximateNumberOfMessagesNotVisible);
}
async function create(text, more = {}) {
	const FunctionName = `f${made++}`;
	await send(L.CreateFunctionCommand, { FunctionName, Timeout: 5, ...python(text), ...more });
	return FunctionName;
}
async function until(what, ok, ms = 15_000) {
	const end = Date.now() + ms;
	for (let seen; ; await sleep(50)) {
		seen = await what();
		if (ok(seen)) return seen;
		if (Date.now() > end) assert.fail(`still ${JSON.stringify(seen)}`);
	}
}
const state = (UUID, wanted) => until(() => send(L.GetEventSourceMappingCommand, { UUID }), (m) => m.State === wanted);
async function map(FunctionName, q, more = {}) {
	const m = await send(L.CreateEventSourceMappingCommand, { FunctionName, EventSourceArn: q.arn, ...more });
	await state(m.UUID, 'Enabled');
	return m.UUID;
}
// What a function saw goes to a queue, so that a test can look at it.
const reporter = (out, rest = 'return None') => `import boto3, json
sqs = boto3.client("sqs")
def handler(event, context):
    sqs.send_message(QueueUrl=${JSON.stringify(out.QueueUrl.replace(/:\d+\//, ':4566/'))}, MessageBody=json.dumps(event))
    ${rest}
`;
async function seen(out, n, ms = 20_000) {
	const got = [], end = Date.now() + ms;
	while (got.length < n && Date.now() < end) {
		const r = await sqs.send(new Q.ReceiveMessageCommand({ QueueUrl: out.QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 1 }));
		got.push(...(r.Messages ?? []).map((m) => JSON.parse(m.Body)));
	}
	assert.equal(got.length, n);
	return got;
}

describe('operations', () => {
	test('create, get, list, update, delete', async () => {
		const q = await queue(), f = await create('def handler(e, c): return None\n');
		const m = await send(L.CreateEventSourceMappingCommand, { FunctionName: f, EventSourceArn: q.arn, Tags: { a: 'b' } });
		assert.equal(m.$metadata.httpStatusCode, 202);
		assert.equal(m.State, 'Creating');
		assert.equal(m.StateTransitionReason, 'USER_INITIATED');
		assert.equal(m.BatchSize, 10);
		assert.equal(m.MaximumBatchingWindowInSeconds, 0);
		assert.deepEqual(m.FunctionResponseTypes, []);
		assert.equal(m.FunctionArn, `arn:aws:lambda:us-east-1:123456789012:function:${f}`);
		assert.equal(m.EventSourceMappingArn, `arn:aws:lambda:us-east-1:123456789012:event-source-mapping:${m.UUID}`);
		assert.ok(Math.abs(m.LastModified - Date.now()) < 60_000);
		await state(m.UUID, 'Enabled');
		await rejects(send(L.CreateEventSourceMappingCommand, { FunctionName: f, EventSourceArn: q.arn }), 'ResourceConflictException',
			`The event source arn (" ${q.arn} ") and function (" ${f} ") provided mapping already exists. Please update or delete the existing mapping with UUID ${m.UUID}`);
		const Resource = m.EventSourceMappingArn;
		await send(L.TagResourceCommand, { Resource, Tags: { c: 'd' } });
		assert.deepEqual((await send(L.ListTagsCommand, { Resource })).Tags, { a: 'b', c: 'd' });
		await send(L.UntagResourceCommand, { Resource, TagKeys: ['a'] });
		assert.deepEqual((await send(L.ListTagsCommand, { Resource })).Tags, { c: 'd' });
		const list = await send(L.ListEventSourceMappingsCommand, { FunctionName: f });
		assert.deepEqual(list.EventSourceMappings.map((x) => x.UUID), [m.UUID]);
		assert.equal((await send(L.ListEventSourceMappingsCommand, { EventSourceArn: q.arn })).EventSourceMappings.length, 1);
		const changed = await send(L.UpdateEventSourceMappingCommand, { UUID: m.UUID, BatchSize: 5, ScalingConfig: { MaximumConcurrency: 3 },
			FilterCriteria: { Filters: [{ Pattern: '{"body":{"a":[1]}}' }] } });
		assert.equal(changed.State, 'Updating');
		const now = await state(m.UUID, 'Enabled');
		assert.deepEqual([now.BatchSize, now.ScalingConfig, now.FilterCriteria], [5, { MaximumConcurrency: 3 }, { Filters: [{ Pattern: '{"body":{"a":[1]}}' }] }]);
		await send(L.UpdateEventSourceMappingCommand, { UUID: m.UUID, ScalingConfig: {}, FilterCriteria: {} });
		const cleared = await state(m.UUID, 'Enabled');
		assert.deepEqual([cleared.BatchSize, cleared.ScalingConfig, cleared.FilterCriteria], [5, undefined, undefined]);
		assert.equal((await send(L.UpdateEventSourceMappingCommand, { UUID: m.UUID, Enabled: false })).State, 'Disabling');
		await state(m.UUID, 'Disabled');
		await server.restart();
		assert.equal((await send(L.GetEventSourceMappingCommand, { UUID: m.UUID })).State, 'Disabled');
		// A mapping outlives its function.
		await send(L.DeleteFunctionCommand, { FunctionName: f });
		await send(L.GetEventSourceMappingCommand, { UUID: m.UUID });
		assert.equal((await send(L.DeleteEventSourceMappingCommand, { UUID: m.UUID })).State, 'Deleting');
		await until(() => send(L.GetEventSourceMappingCommand, { UUID: m.UUID }).catch((e) => e.name), (r) => r === missing);
		await rejects(send(L.DeleteEventSourceMappingCommand, { UUID: m.UUID }), missing, 'The resource you requested does not exist.');
	});

	test('what is wrong is refused', async () => {
		const q = await queue({ VisibilityTimeout: '4' }), fifo = await queue({ FifoQueue: 'true' }, '.fifo'), good = await queue();
		const f = await create('def handler(e, c): return None\n');
		const bad = (input) => send(L.CreateEventSourceMappingCommand, { FunctionName: f, EventSourceArn: good.arn, ...input });
		const cases = [
			[{ EventSourceArn: q.arn }, 'Queue visibility timeout: 4 seconds is less than Function timeout: 5 seconds'],
			[{ EventSourceArn: `${q.arn}x` }, /NonExistentQueue/],
			[{ FunctionName: 'nobody' }, /^Function does not exist/],
			[{ EventSourceArn: undefined }, 'Unrecognized event source.'],
			[{ EventSourceArn: 'arn:aws:kinesis:us-east-1:123456789012:stream/s' }, /service kinesis are not supported/],
			[{ BatchSize: 11 }, 'Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10'],
			[{ EventSourceArn: fifo.arn, BatchSize: 11, }, /Maximum batch size for FIFO queues is 10/],
			[{ EventSourceArn: fifo.arn, MaximumBatchingWindowInSeconds: 1 }, 'Batching window is not supported for FIFO queues'],
			[{ StartingPosition: 'LATEST' }, /^Unsupported StartingPosition parameter/],
			[{ BisectBatchOnFunctionError: true }, 'Unsupported BisectBatchOnFunctionError parameter for given event source mapping type.'],
			[{ FilterCriteria: { Filters: [{ Pattern: '{"body":1}' }] } }, /^Invalid filter pattern definition\. /],
			[{ FilterCriteria: { Filters: Array(11).fill({ Pattern: '{}' }) } }, /^Filters exceed/],
			[{ EventSourceArn: good.arn.replace('us-east-1', 'eu-west-1') }, /region/],
		];
		for (const [input, text] of cases) await rejects(bad(input), invalid, text);
		await rejects(bad({ BatchSize: 10001 }), 'ValidationException');
		await rejects(bad({ ScalingConfig: { MaximumConcurrency: 1 } }), 'ValidationException');
	});
});

describe('batches', () => {
	test('records have AWS\'s shape, and are deleted', async () => {
		const q = await queue(), out = await queue(), f = await create(reporter(out));
		await map(f, q);
		const { MessageId } = await put(q, 'hello "you"', { MessageAttributes: {
			text: { DataType: 'String', StringValue: 'v' }, raw: { DataType: 'Binary', BinaryValue: Buffer.from([1, 2]) } } });
		const [{ Records: [r] }] = await seen(out, 1);
		assert.equal(r.messageId, MessageId);
		assert.equal(r.body, 'hello "you"');
		assert.equal(r.eventSource, 'aws:sqs');
		assert.equal(r.eventSourceARN, q.arn);
		assert.equal(r.awsRegion, 'us-east-1');
		assert.equal(r.attributes.ApproximateReceiveCount, '1');
		assert.match(r.attributes.SentTimestamp, /^\d{13}$/);
		assert.deepEqual(r.messageAttributes, {
			text: { stringValue: 'v', stringListValues: [], binaryListValues: [], dataType: 'String' },
			raw: { binaryValue: 'AQI=', stringListValues: [], binaryListValues: [], dataType: 'Binary' } });
		assert.match(r.md5OfBody, /^[0-9a-f]{32}$/);
		await until(() => counts(q), (n) => n === 0);
	});

	test('filtered messages are deleted, others run', async () => {
		const q = await queue(), out = await queue(), f = await create(reporter(out));
		await map(f, q, { FilterCriteria: { Filters: [{ Pattern: '{"body":{"kind":["yes"]}}' }] } });
		await put(q, '{"kind":"no"}');
		await put(q, 'plain');
		await put(q, '{"kind":"yes"}');
		const [event] = await seen(out, 1);
		assert.deepEqual(event.Records.map((r) => r.body), ['{"kind":"yes"}']);
		await until(() => counts(q), (n) => n === 0);
	});

	test('failures come again: of all, or of those that are reported', async () => {
		const q = await queue({ VisibilityTimeout: '5' }), out = await queue();
		const f = await create(reporter(out, 'return {"batchItemFailures": [{"itemIdentifier": r["messageId"]} for r in event["Records"] if r["body"] == "bad" and r["attributes"]["ApproximateReceiveCount"] == "1"]}'), { Timeout: 5 });
		const UUID = await map(f, q, { FunctionResponseTypes: ['ReportBatchItemFailures'], BatchSize: 10, MaximumBatchingWindowInSeconds: 1 });
		await put(q, 'good');
		await put(q, 'bad');
		const events = await seen(out, 2);
		assert.deepEqual(events[0].Records.map((r) => r.body).sort(), ['bad', 'good']);
		assert.deepEqual(events[1].Records.map((r) => [r.body, r.attributes.ApproximateReceiveCount]), [['bad', '2']]);
		await until(() => counts(q), (n) => n === 0);
		assert.equal((await send(L.GetEventSourceMappingCommand, { UUID })).LastProcessingResult, 'OK');
		const failing = await create('def handler(e, c): raise Exception("no")\n'), dlq = await queue();
		const p = await queue({ VisibilityTimeout: '5', RedrivePolicy: JSON.stringify({ deadLetterTargetArn: dlq.arn, maxReceiveCount: 1 }) });
		const other = await map(failing, p);
		await put(p, 'poison');
		await until(() => counts(dlq), (n) => n === 1);
		assert.equal((await send(L.GetEventSourceMappingCommand, { UUID: other })).LastProcessingResult, 'PROBLEM: Function call failed');
	});

	test('FIFO: in the order of each group', async () => {
		const q = await queue({ FifoQueue: 'true', ContentBasedDeduplication: 'true' }, '.fifo'), out = await queue();
		await map(await create(reporter(out)), q, { BatchSize: 3 });
		for (let i = 0; i < 12; i++) await put(q, `${i % 2}-${i}`, { MessageGroupId: `g${i % 2}` });
		await until(() => counts(q), (n) => n === 0);
		const all = [];
		await until(async () => {
			const r = await sqs.send(new Q.ReceiveMessageCommand({ QueueUrl: out.QueueUrl, MaxNumberOfMessages: 10 }));
			for (const m of r.Messages ?? []) all.push(...JSON.parse(m.Body).Records);
			return all.length;
		}, (n) => n >= 12);
		for (const g of ['0', '1']) {
			const order = all.filter((r) => r.body[0] === g).sort((a, b) => (a.attributes.SequenceNumber < b.attributes.SequenceNumber ? -1 : 1));
			assert.deepEqual(order.map((r) => r.body), Array.from({ length: 6 }, (_, i) => `${g}-${i * 2 + Number(g)}`));
			assert.ok(order.every((r) => r.attributes.MessageGroupId === `g${g}` && r.attributes.ApproximateReceiveCount === '1'));
		}
	});

	test('a function or a queue that goes away and comes back', async () => {
		const q = await queue(), out = await queue(), f = await create(reporter(out));
		const UUID = await map(f, q);
		await send(L.DeleteFunctionCommand, { FunctionName: f });
		await put(q, 'waits');
		await until(() => send(L.GetEventSourceMappingCommand, { UUID }), (m) => /^PROBLEM: The function/.test(m.LastProcessingResult ?? ''));
		await send(L.CreateFunctionCommand, { FunctionName: f, Timeout: 5, ...python(reporter(out)) });
		assert.equal((await seen(out, 1))[0].Records[0].body, 'waits');
		await sqs.send(new Q.DeleteQueueCommand({ QueueUrl: q.QueueUrl }));
		await until(() => send(L.GetEventSourceMappingCommand, { UUID }), (m) => /^PROBLEM: The queue/.test(m.LastProcessingResult ?? ''));
		await sqs.send(new Q.CreateQueueCommand({ QueueName: q.arn.split(':').pop() }));
		await put(q, 'back');
		assert.equal((await seen(out, 1))[0].Records[0].body, 'back');
	});

	test('throttled batches wait, and nothing is lost', async () => {
		const q = await queue(), out = await queue(), f = await create(reporter(out));
		await send(L.PutFunctionConcurrencyCommand, { FunctionName: f, ReservedConcurrentExecutions: 0 });
		const UUID = await map(f, q);
		await put(q, 'patient');
		await until(() => send(L.GetEventSourceMappingCommand, { UUID }), (m) => /throttled/.test(m.LastProcessingResult ?? ''));
		await send(L.DeleteFunctionConcurrencyCommand, { FunctionName: f });
		const [event] = await seen(out, 1);
		assert.deepEqual([event.Records[0].body, event.Records[0].attributes.ApproximateReceiveCount], ['patient', '1']);
	});
});
