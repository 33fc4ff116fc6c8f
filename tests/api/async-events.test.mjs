// What becomes of asynchronous invocations: retries, age, destinations, dead letters, loops.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { CloudWatchLogsClient, FilterLogEventsCommand } from '@aws-sdk/client-cloudwatch-logs';
import * as L from '@aws-sdk/client-lambda';
import * as S from '@aws-sdk/client-s3';
import { rejects, startServer } from './server.mjs';
import { node, python } from './zip.mjs';

let server, lambda, logs;
const send = (Command, input) => lambda.send(new Command(input));
const create = (FunctionName, source) => send(L.CreateFunctionCommand, { FunctionName, ...source });
const put = (FunctionName, more) => send(L.PutFunctionEventInvokeConfigCommand, { FunctionName, ...more });
const get = (FunctionName, more) => send(L.GetFunctionEventInvokeConfigCommand, { FunctionName, ...more });
const invoke = (FunctionName, Payload, more) => send(L.InvokeCommand, { FunctionName, Payload, ...more });
const event = (FunctionName, Payload, more) => invoke(FunctionName, Payload, { InvocationType: 'Event', ...more });
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const arn = (name) => `arn:aws:lambda:us-east-1:123456789012:function:${name}`;
const bad = 'InvalidParameterValueException', gone = 'ResourceNotFoundException';

// Prints what it gets; what was printed is how the test sees records.
const prints = 'def handler(event, context):\n    import json\n    print("GOT " + json.dumps(event))\n    return event\n';
const fails = 'def handler(event, context):\n    print("TRIED")\n    raise ValueError("no good")\n';

async function lines(name, word) {
	try {
		const r = await logs.send(new FilterLogEventsCommand({ logGroupName: `/aws/lambda/${name}` }));
		return r.events.map((e) => e.message).filter((m) => m.startsWith(word)).map((m) => m.slice(word.length).trim());
	} catch (error) {
		if (error.name === gone) return [];
		throw error;
	}
}

async function wait(what, condition, seconds = 15) {
	for (let i = 0; i < seconds * 20; i++) {
		const value = await condition();
		if (value) return value;
		await sleep(50);
	}
	throw new Error(`waited in vain for ${what}`);
}

const records = async (name, requestId) =>
	(await lines(name, 'GOT ')).map((m) => JSON.parse(m)).filter((r) => r.requestContext?.requestId === requestId);
const record = (name, requestId) => wait(`a record of ${requestId}`, async () => (await records(name, requestId))[0]);

before(async () => {
	server = await startServer(['--retry-base-ms', '100']);
	lambda = new L.LambdaClient(server.client());
	logs = new CloudWatchLogsClient(server.client());
	await create('sink', python(prints));
	await create('echo', python(prints));
	await create('fails', python(fails));
});
after(() => server?.stop());

describe('configuration', () => {
	test('is put, read, changed, listed and deleted', async () => {
		await create('conf', python(prints, { Publish: true }));
		await send(L.CreateAliasCommand, { FunctionName: 'conf', Name: 'live', FunctionVersion: '1' });
		const r = await put('conf', { MaximumRetryAttempts: 0, MaximumEventAgeInSeconds: 60 });
		assert.equal(r.FunctionArn, arn('conf:$LATEST'));
		assert.equal(r.MaximumRetryAttempts, 0);
		assert.equal(r.MaximumEventAgeInSeconds, 60);
		assert.deepEqual(r.DestinationConfig, { OnSuccess: {}, OnFailure: {} });
		assert.ok(Math.abs(r.LastModified - Date.now()) < 60_000);
		const changed = await send(L.UpdateFunctionEventInvokeConfigCommand, {
			FunctionName: 'conf', DestinationConfig: { OnFailure: { Destination: arn('sink') } },
		});
		assert.equal(changed.MaximumEventAgeInSeconds, 60);
		assert.equal(changed.DestinationConfig.OnFailure.Destination, arn('sink'));
		await put('conf', { Qualifier: 'live', MaximumRetryAttempts: 1 });
		await put('conf:1', { MaximumRetryAttempts: 2 });
		assert.equal((await get('conf', { Qualifier: '1' })).MaximumRetryAttempts, 2);
		assert.equal((await get(arn('conf:live'))).MaximumRetryAttempts, 1);
		const page = await send(L.ListFunctionEventInvokeConfigsCommand, { FunctionName: 'conf', MaxItems: 2 });
		const rest = await send(L.ListFunctionEventInvokeConfigsCommand, { FunctionName: 'conf', Marker: page.NextMarker });
		assert.deepEqual([...page.FunctionEventInvokeConfigs, ...rest.FunctionEventInvokeConfigs].map((c) => c.FunctionArn),
			[arn('conf:$LATEST'), arn('conf:1'), arn('conf:live')]);
		assert.equal(rest.NextMarker, undefined);
		await send(L.DeleteFunctionEventInvokeConfigCommand, { FunctionName: 'conf' });
		await rejects(get('conf'), gone, `The function ${arn('conf:$LATEST')} doesn't have an EventInvokeConfig`);
		await send(L.DeleteAliasCommand, { FunctionName: 'conf', Name: 'live' });
		await send(L.CreateAliasCommand, { FunctionName: 'conf', Name: 'live', FunctionVersion: '1' });
		await rejects(get('conf', { Qualifier: 'live' }), gone);
	});

	test('is written anew by put', async () => {
		await create('anew', python(prints));
		await put('anew', { MaximumRetryAttempts: 0 });
		const r = await put('anew', { MaximumEventAgeInSeconds: 100 });
		assert.equal(r.MaximumRetryAttempts, undefined);
	});

	test('survives a restart', async () => {
		await create('stays', python(prints));
		await put('stays', { MaximumRetryAttempts: 0 });
		await send(L.PutFunctionRecursionConfigCommand, { FunctionName: 'stays', RecursiveLoop: 'Allow' });
		await server.restart();
		assert.equal((await get('stays')).MaximumRetryAttempts, 0);
		const r = await send(L.GetFunctionRecursionConfigCommand, { FunctionName: 'stays' });
		assert.equal(r.RecursiveLoop, 'Allow');
	});

	const to = (side, Destination) => ({ DestinationConfig: { [side]: { Destination } } });
	for (const [what, input, name, text] of [
		['nothing', {}, bad, 'You must specify at least one of error handling or destination setting.'],
		['itself', to('OnSuccess', arn('echo')), bad, "You can't specify the function as a destination for itself."],
		['its own alias', to('OnFailure', arn('echo:live')), bad, "You can't specify the function as a destination for itself."],
		['a function that is not there', to('OnSuccess', arn('none')), bad, /cannot be used: Function not found/],
		['a topic', to('OnSuccess', 'arn:aws:sns:us-east-1:123456789012:t'), bad, /Nothing can be delivered to sns by this server/],
		['a bus', to('OnFailure', 'arn:aws:events:us-east-1:123456789012:event-bus/b'), bad, /Nothing can be delivered to events/],
		['a bucket for success', to('OnSuccess', 'arn:aws:s3:::b'), bad, /give it as OnFailure/],
		['a FIFO queue', to('OnSuccess', 'arn:aws:sqs:us-east-1:123456789012:q.fifo'), bad, /FIFO/],
		['another account', to('OnSuccess', 'arn:aws:lambda:us-east-1:999999999999:function:f'), bad, /account/],
		['three retries', { MaximumRetryAttempts: 3 }, 'ValidationException'],
		['a short age', { MaximumEventAgeInSeconds: 59 }, 'ValidationException'],
		['a long age', { MaximumEventAgeInSeconds: 21601 }, 'ValidationException'],
	])
		test(`refuses ${what}`, () => rejects(put('echo', input), name, text));

	test('refuses functions and qualifiers that are not there', async () => {
		await rejects(put('none', { MaximumRetryAttempts: 0 }), gone, /doesn't exist/);
		await rejects(put('echo', { MaximumRetryAttempts: 0, Qualifier: '7' }), gone, /doesn't exist/);
		await rejects(send(L.UpdateFunctionEventInvokeConfigCommand, { FunctionName: 'echo', MaximumRetryAttempts: 0 }), gone);
		await rejects(send(L.DeleteFunctionEventInvokeConfigCommand, { FunctionName: 'echo' }), gone);
	});

	test('dead letters go to queues that are there', async () => {
		const dead = (TargetArn) => send(L.UpdateFunctionConfigurationCommand, { FunctionName: 'echo', DeadLetterConfig: { TargetArn } });
		await rejects(dead(arn('sink')), bad, /only queues and topics/);
		await rejects(dead('arn:aws:sqs:us-east-1:123456789012:none'), bad, /cannot be used/);
		await rejects(dead('arn:aws:sqs:us-east-1:123456789012:none.fifo'), bad, /FIFO/);
		await rejects(create('dead', python(prints, { DeadLetterConfig: { TargetArn: 'arn:aws:sqs:us-east-1:123456789012:none' } })), bad);
		assert.equal((await dead('')).DeadLetterConfig, undefined);
	});
});

describe('destinations', () => {
	test('hear of success', async () => {
		await create('works', node('export const handler = async (e) => ({ got: e });'));
		await put('works', { DestinationConfig: { OnSuccess: { Destination: arn('sink') }, OnFailure: { Destination: arn('echo') } } });
		const r = await event('works', '{"a":"ä"}');
		const id = r.$metadata.requestId, told = await record('sink', id);
		assert.match(told.timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
		delete told.timestamp;
		assert.deepEqual(told, {
			version: '1.0',
			requestContext: {
				requestId: id, functionArn: arn('works:$LATEST'), condition: 'Success', approximateInvokeCount: 1,
			},
			requestPayload: { a: 'ä' },
			responseContext: { statusCode: 200, executedVersion: '$LATEST' },
			responsePayload: { got: { a: 'ä' } },
		});
		assert.deepEqual(await records('echo', id), []);
	});

	test('hear of failure, after three attempts', async () => {
		await put('fails', { DestinationConfig: { OnFailure: { Destination: arn('sink') } } });
		const r = await event('fails', '{}');
		const told = await record('sink', r.$metadata.requestId);
		assert.equal(told.requestContext.condition, 'RetriesExhausted');
		assert.equal(told.requestContext.approximateInvokeCount, 3);
		assert.equal(told.responseContext.functionError, 'Unhandled');
		assert.equal(told.responsePayload.errorMessage, 'no good');
		assert.equal((await lines('fails', 'TRIED')).length, 3);
		await sleep(300);
		assert.equal((await records('sink', r.$metadata.requestId)).length, 1);
	});

	test('may be a bucket', async () => {
		const s3 = new S.S3Client({ ...server.client(), forcePathStyle: true });
		await rejects(put('fails', { DestinationConfig: { OnFailure: { Destination: 'arn:aws:s3:::records' } } }), bad, /bucket/);
		await s3.send(new S.CreateBucketCommand({ Bucket: 'records' }));
		await create('stores', python(fails));
		await put('stores', { MaximumRetryAttempts: 0, DestinationConfig: { OnFailure: { Destination: 'arn:aws:s3:::records' } } });
		const r = await event('stores', '{"a":1}');
		const object = await wait('an object', async () => (await s3.send(new S.ListObjectsV2Command({ Bucket: 'records' }))).Contents?.[0]);
		assert.match(object.Key, /^aws\/lambda\/async\/stores\/\d{4}\/\d\d\/\d\d\/\d{4}-\d\d-\d\dT\d\d\.\d\d\.\d\d-[0-9a-f-]{36}$/);
		const got = await s3.send(new S.GetObjectCommand({ Bucket: 'records', Key: object.Key }));
		assert.equal(got.ContentType, 'application/json');
		const told = JSON.parse(await got.Body.transformToString());
		assert.equal(told.requestContext.requestId, r.$metadata.requestId);
		assert.deepEqual(told.requestPayload, { a: 1 });
		assert.equal(told.responsePayload.errorMessage, 'no good');
	});

	test('as the alias has it that was invoked', async () => {
		await create('aliased', python(fails, { Publish: true }));
		await send(L.CreateAliasCommand, { FunctionName: 'aliased', Name: 'live', FunctionVersion: '1' });
		await put('aliased', {
			Qualifier: 'live', MaximumRetryAttempts: 0, DestinationConfig: { OnFailure: { Destination: arn('sink:$LATEST') } },
		});
		const r = await event('aliased', '{}', { Qualifier: 'live' });
		const told = await record('sink', r.$metadata.requestId);
		assert.equal(told.requestContext.functionArn, arn('aliased:live'));
		assert.equal(told.requestContext.approximateInvokeCount, 1);
		assert.equal(told.responseContext.executedVersion, '1');
	});

	test('hear at once when nothing is reserved', async () => {
		await create('stopped', python(prints));
		await put('stopped', { DestinationConfig: { OnFailure: { Destination: arn('sink') } } });
		await send(L.PutFunctionConcurrencyCommand, { FunctionName: 'stopped', ReservedConcurrentExecutions: 0 });
		const r = await event('stopped', '{}');
		const told = await record('sink', r.$metadata.requestId);
		assert.equal(told.requestContext.condition, 'ZeroReservedConcurrency');
		assert.deepEqual(await lines('stopped', 'GOT '), []);
	});

	test('hear of what became too old while throttled', async () => {
		await create('busy', python('import time\ndef handler(e, c):\n    time.sleep(e.get("s", 0))\n', { Timeout: 10 }));
		await put('busy', {
			MaximumEventAgeInSeconds: 60, // 100 ms here
			DestinationConfig: { OnFailure: { Destination: arn('sink') } },
		});
		await send(L.PutFunctionConcurrencyCommand, { FunctionName: 'busy', ReservedConcurrentExecutions: 1 });
		const first = invoke('busy', '{"s":2}');
		await wait('the first to run', async () => {
			try {
				await invoke('busy', '{}');
				return false;
			} catch (error) {
				return error.name === 'TooManyRequestsException';
			}
		});
		const r = await event('busy', '{"old":true}');
		const told = await record('sink', r.$metadata.requestId);
		assert.equal(told.requestContext.condition, 'EventAgeExceeded');
		assert.deepEqual(told.requestPayload, { old: true });
		assert.equal(told.responsePayload, undefined);
		await first;
	});

	test('take an event of a megabyte', async () => {
		const payload = JSON.stringify('x'.repeat(1048574));
		await create('large', python('def handler(e, c):\n    return len(e)\n'));
		await put('large', { DestinationConfig: { OnSuccess: { Destination: arn('sink') } } });
		const r = await event('large', payload);
		const told = await record('sink', r.$metadata.requestId);
		assert.equal(told.requestContext.condition, 'Success');
		await rejects(event('large', JSON.stringify('x'.repeat(1048575))), 'RequestTooLargeException');
	});
});

test('InvokeAsync, the old way', async () => {
	const r = await send(L.InvokeAsyncCommand, { FunctionName: 'echo', InvokeArgs: '{"old":"way"}' });
	assert.equal(r.Status, 202);
	await wait('it to run', async () => (await lines('echo', 'GOT ')).includes('{"old": "way"}'));
});

// boto3 in the box sends the trace on by itself.
const loops = `
import boto3, botocore, json, os
def handler(event, context):
    print("GOT " + json.dumps({"n": event["n"], "trace": os.environ["_X_AMZN_TRACE_ID"]}))
    client = boto3.client("lambda", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    try:
        r = client.invoke(FunctionName=event.get("to", context.function_name), InvocationType=event["type"],
                          Payload=json.dumps({**event, "n": event["n"] + 1}).encode())
        return json.loads(r["Payload"].read() or "null") if event["type"] == "RequestResponse" else None
    except botocore.exceptions.ClientError as e:
        return {"stopped": event["n"], "why": str(e), "status": e.response["ResponseMetadata"]["HTTPStatusCode"]}
`;

describe('loops', () => {
	const source = () => python(loops, { Timeout: 60, MemorySize: 512 });

	test('of events end in the failure destination', async () => {
		await create('looping', source());
		await put('looping', { DestinationConfig: { OnFailure: { Destination: arn('sink') } } });
		await event('looping', '{"n":1,"type":"Event"}');
		const told = await wait('the loop to be stopped', async () => (await lines('sink', 'GOT ')).map((m) => JSON.parse(m))
			.find((r) => r.requestContext?.condition === 'RecursiveInvocation'), 60);
		assert.equal(told.requestPayload.n, 17);
		assert.equal(told.requestContext.approximateInvokeCount, 0);
		const seen = (await lines('looping', 'GOT ')).map((m) => JSON.parse(m));
		assert.equal(seen.length, 16);
		const roots = new Set(seen.map((s) => s.trace.match(/^Root=[^;]+/)[0]));
		assert.equal(roots.size, 1);
		const last = seen.find((s) => s.n === 16).trace;
		assert.match(last, /;Parent=[0-9a-f]{16};Sampled=0;Lineage=16:[0-9a-f]{8}:15$/);
	});

	test('of requests are refused', async () => {
		await create('nested', source());
		const r = await invoke('nested', '{"n":1,"type":"RequestResponse"}');
		const value = JSON.parse(Buffer.from(r.Payload).toString());
		assert.equal(value.stopped, 16, JSON.stringify(value));
		assert.equal(value.status, 400);
		assert.match(value.why, /RecursiveInvocationException/);
		assert.match(value.why, /recursive loop/);
	});

	test('are allowed where they are wanted', async () => {
		assert.equal((await send(L.GetFunctionRecursionConfigCommand, { FunctionName: 'echo' })).RecursiveLoop, 'Terminate');
		const r = await send(L.PutFunctionRecursionConfigCommand, { FunctionName: 'echo', RecursiveLoop: 'Allow' });
		assert.equal(r.RecursiveLoop, 'Allow');
		const call = async (InvocationType) => {
			const client = new L.LambdaClient(server.client());
			client.middlewareStack.add((next) => (args) => {
				args.request.headers['x-amzn-trace-id'] = 'Root=1-00000000-000000000000000000000000;Lineage=32767:00000000:3';
				return next(args);
			}, { step: 'build' });
			return client.send(new L.InvokeCommand({ FunctionName: 'echo', InvocationType, Payload: '1' }));
		};
		assert.equal((await call('RequestResponse')).StatusCode, 200);
		await send(L.PutFunctionRecursionConfigCommand, { FunctionName: 'echo', RecursiveLoop: 'Terminate' });
		await rejects(call('RequestResponse'), 'RecursiveInvocationException');
		assert.equal((await call('Event')).StatusCode, 202);
		await rejects(send(L.PutFunctionRecursionConfigCommand, { FunctionName: 'echo', RecursiveLoop: 'Maybe' }), 'ValidationException');
		await rejects(send(L.GetFunctionRecursionConfigCommand, { FunctionName: 'none' }), gone);
	});
});
