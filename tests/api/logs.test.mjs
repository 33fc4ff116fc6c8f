import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import * as logs from '@aws-sdk/client-cloudwatch-logs';
import { rejects, startServer } from './server.mjs';

const DAY = 86_400_000, HOUR = 3_600_000;
let server, client;

before(async () => {
	server = await startServer();
	client = new logs.CloudWatchLogsClient(server.client());
});
after(() => server?.stop());

const call = (name, input = {}) => client.send(new logs[`${name}Command`](input));
const noGroup = 'The specified log group does not exist.';
const noStream = 'The specified log stream does not exist.';

async function makeGroup(name, streams = []) {
	await call('CreateLogGroup', { logGroupName: name });
	for (const logStreamName of streams) await call('CreateLogStream', { logGroupName: name, logStreamName });
	return { logGroupName: name };
}
const put = (group, logStreamName, ...messages) => call('PutLogEvents', { ...group, logStreamName,
	logEvents: messages.map((m) => (typeof m === 'string' ? { timestamp: Date.now(), message: m } : m)) });

test('groups from create to delete', async () => {
	const arn = 'arn:aws:logs:us-east-1:123456789012:log-group:/aws/lambda/one';
	const logGroupName = '/aws/lambda/one';
	await call('CreateLogGroup', { logGroupName, tags: { team: 'a' } });
	await rejects(call('CreateLogGroup', { logGroupName }), 'ResourceAlreadyExistsException',
		'The specified log group already exists');
	const { logGroups: [one] } = await call('DescribeLogGroups', { logGroupNamePrefix: '/aws/lambda/one' });
	assert.equal(one.arn, `${arn}:*`);
	assert.equal(one.logGroupArn, arn);
	assert.equal(one.logGroupClass, 'STANDARD');
	assert.equal(one.metricFilterCount, 0);
	assert.equal(one.retentionInDays, undefined);
	assert.ok(Math.abs(one.creationTime - Date.now()) < 10_000);
	await call('PutRetentionPolicy', { logGroupName, retentionInDays: 30 });
	await server.restart();
	const again = (await call('DescribeLogGroups', { logGroupIdentifiers: [arn, 'none'] })).logGroups;
	assert.equal(again.length, 1);
	assert.equal(again[0].retentionInDays, 30);
	assert.equal(again[0].creationTime, one.creationTime);
	await call('DeleteRetentionPolicy', { logGroupName });
	await rejects(call('PutRetentionPolicy', { logGroupName, retentionInDays: 2 }), 'InvalidParameterException', /'retentionInDays'/);
	await rejects(call('PutRetentionPolicy', { logGroupName: 'none', retentionInDays: 1 }), 'ResourceNotFoundException', noGroup);
	await rejects(call('CreateLogGroup', { logGroupName: 'aws/x' }), 'InvalidParameterException',
		'Log groups starting with AWS/ are reserved for AWS.');
	await call('DeleteLogGroup', { logGroupName });
	await rejects(call('DeleteLogGroup', { logGroupName }), 'ResourceNotFoundException', noGroup);
});

test('lists of groups', async () => {
	const names = ['a-1', 'a-2', 'b-Foo', 'c-foo', 'd'];
	for (const n of names) await makeGroup(n);
	const list = async (input) => (await call('DescribeLogGroups', input)).logGroups.map((g) => g.logGroupName);
	assert.deepEqual(await list({}), names);
	assert.deepEqual(await list({ logGroupNamePrefix: 'a-' }), ['a-1', 'a-2']);
	assert.deepEqual(await list({ logGroupNamePattern: 'foo' }), ['c-foo']);
	const seen = [];
	let nextToken;
	do {
		const page = await call('DescribeLogGroups', { limit: 2, nextToken });
		assert.ok(page.logGroups.length <= 2);
		seen.push(...page.logGroups.map((g) => g.logGroupName));
		nextToken = page.nextToken;
	} while (nextToken);
	assert.deepEqual(seen, names);
	await rejects(call('DescribeLogGroups', { logGroupNamePrefix: 'a', logGroupNamePattern: 'b' }), 'InvalidParameterException',
		'LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.');
	const matched = await call('ListLogGroups', { logGroupNamePattern: '^b-F|foo' });
	assert.deepEqual(matched.logGroups.map((g) => g.logGroupName), ['b-Foo', 'c-foo']);
	await call('CreateLogGroup', { logGroupName: 'rare', logGroupClass: 'INFREQUENT_ACCESS' });
	assert.deepEqual(await list({ logGroupClass: 'INFREQUENT_ACCESS' }), ['rare']);
	assert.equal((await call('ListLogGroups', { logGroupClass: 'INFREQUENT_ACCESS' })).logGroups[0].logGroupClass, 'INFREQUENT_ACCESS');
	assert.deepEqual((await call('ListTagsLogGroup', { logGroupName: 'rare' })).tags, {});
	// Regions are apart.
	const far = new logs.CloudWatchLogsClient(server.client(undefined, 'eu-west-1'));
	assert.deepEqual((await far.send(new logs.DescribeLogGroupsCommand({}))).logGroups, []);
	for (const logGroupName of [...names, 'rare']) await call('DeleteLogGroup', { logGroupName });
});

test('streams', async () => {
	const group = await makeGroup('streams', ['s/[1]', 's/[2]', 't']);
	await rejects(call('CreateLogStream', { ...group, logStreamName: 't' }), 'ResourceAlreadyExistsException',
		'The specified log stream already exists');
	await rejects(call('CreateLogStream', { logGroupName: 'none', logStreamName: 't' }), 'ResourceNotFoundException', noGroup);
	const now = Date.now();
	await put(group, 's/[2]', { timestamp: now - 2000, message: 'x' }, { timestamp: now - 1000, message: 'y' });
	await put(group, 't', { timestamp: now - 500, message: 'z' });
	const all = (await call('DescribeLogStreams', group)).logStreams;
	assert.deepEqual(all.map((s) => s.logStreamName), ['s/[1]', 's/[2]', 't']);
	assert.equal(all[1].arn, 'arn:aws:logs:us-east-1:123456789012:log-group:streams:log-stream:s/[2]');
	assert.equal(all[1].firstEventTimestamp, now - 2000);
	assert.equal(all[1].lastEventTimestamp, now - 1000);
	assert.ok(all[1].lastIngestionTime >= now);
	assert.equal(all[0].firstEventTimestamp, undefined);
	const recent = await call('DescribeLogStreams', { ...group, orderBy: 'LastEventTime', descending: true, limit: 2 });
	assert.deepEqual(recent.logStreams.map((s) => s.logStreamName), ['t', 's/[2]']);
	const rest = await call('DescribeLogStreams', { ...group, orderBy: 'LastEventTime', descending: true, nextToken: recent.nextToken });
	assert.deepEqual(rest.logStreams.map((s) => s.logStreamName), ['s/[1]']);
	assert.equal(rest.nextToken, undefined);
	const arn = 'arn:aws:logs:us-east-1:123456789012:log-group:streams';
	const some = await call('DescribeLogStreams', { logGroupIdentifier: arn, logStreamNamePrefix: 's/', descending: true });
	assert.deepEqual(some.logStreams.map((s) => s.logStreamName), ['s/[2]', 's/[1]']);
	await rejects(call('DescribeLogStreams', { ...group, orderBy: 'LastEventTime', logStreamNamePrefix: 's' }), 'InvalidParameterException',
		'Cannot order by LastEventTime with a logStreamNamePrefix.');
	await rejects(call('DescribeLogStreams', {}), 'InvalidParameterException');
	await rejects(call('DescribeLogStreams', { ...group, logGroupIdentifier: arn }), 'InvalidParameterException');
	await rejects(call('DescribeLogStreams', { logGroupName: 'none' }), 'ResourceNotFoundException', noGroup);
	await call('DeleteLogStream', { ...group, logStreamName: 't' });
	await rejects(call('DeleteLogStream', { ...group, logStreamName: 't' }), 'ResourceNotFoundException', noStream);
	await call('DeleteLogGroup', group);
});

test('what PutLogEvents refuses', async () => {
	const group = await makeGroup('put', ['s']);
	const now = Date.now();
	const bad = (text, ...events) => rejects(put(group, 's', ...events), 'InvalidParameterException', text);
	await bad('Log events in a single PutLogEvents request must be in chronological order.',
		{ timestamp: now, message: 'a' }, { timestamp: now - 1, message: 'b' });
	await bad('The batch of log events in a single PutLogEvents request cannot span more than 24 hours.',
		{ timestamp: now - DAY - 1, message: 'a' }, { timestamp: now, message: 'b' });
	await bad('Upload too large: 1048577 bytes exceeds limit of 1048576',
		'x'.repeat(524288 - 26), 'x'.repeat(524289 - 26));
	await rejects(put({ logGroupName: 'none' }, 's', 'x'), 'ResourceNotFoundException', noGroup);
	await rejects(put(group, 'none', 'x'), 'ResourceNotFoundException', noStream);

	const old = await put(group, 's', { timestamp: now - 14 * DAY - HOUR, message: 'old' }, { timestamp: now - 14 * DAY - 1000, message: 'old' },
		{ timestamp: now - 14 * DAY + HOUR, message: 'kept' });
	assert.deepEqual(old.rejectedLogEventsInfo, { tooOldLogEventEndIndex: 2 });
	const fresh = await put(group, 's', 'kept too', { timestamp: now + 3 * HOUR, message: 'future' });
	assert.deepEqual(fresh.rejectedLogEventsInfo, { tooNewLogEventStartIndex: 1 });
	assert.ok(fresh.nextSequenceToken);
	const token = await call('PutLogEvents', { ...group, logStreamName: 's', sequenceToken: '1', logEvents: [{ timestamp: now + 1000, message: 'third' }] });
	assert.equal(token.rejectedLogEventsInfo, undefined);
	await call('PutRetentionPolicy', { ...group, retentionInDays: 1 });
	const expired = await put(group, 's', { timestamp: now - 2 * DAY, message: 'expired' });
	assert.deepEqual(expired.rejectedLogEventsInfo, { expiredLogEventEndIndex: 1 });
	await call('DeleteRetentionPolicy', group);
	const { events } = await call('GetLogEvents', { ...group, logStreamName: 's', startFromHead: true });
	assert.deepEqual(events.map((e) => e.message).sort(), ['kept', 'kept too', 'third']);
	await call('DeleteLogGroup', group);
});

test('GetLogEvents goes both ways and waits at the end', async () => {
	const group = await makeGroup('get', ['s']);
	const start = Date.now() - 10_000;
	await put(group, 's', ...Array.from({ length: 10 }, (_, i) => ({ timestamp: start + i, message: `m${i}` })));
	const get = (input) => call('GetLogEvents', { ...group, logStreamName: 's', ...input });
	const texts = (page) => page.events.map((e) => e.message);
	const head = await get({ startFromHead: true, limit: 4 });
	assert.deepEqual(texts(head), ['m0', 'm1', 'm2', 'm3']);
	assert.ok(head.events[0].ingestionTime >= start);
	const next = await get({ nextToken: head.nextForwardToken, limit: 4 });
	assert.deepEqual(texts(next), ['m4', 'm5', 'm6', 'm7']);
	const back = await get({ nextToken: next.nextBackwardToken, limit: 4 });
	assert.deepEqual(texts(back), ['m0', 'm1', 'm2', 'm3']);
	const last = await get({ nextToken: next.nextForwardToken });
	assert.deepEqual(texts(last), ['m8', 'm9']);
	const end = await get({ nextToken: last.nextForwardToken });
	assert.deepEqual(texts(end), []);
	assert.equal(end.nextForwardToken, last.nextForwardToken);
	await put(group, 's', 'late');
	assert.deepEqual(texts(await get({ nextToken: end.nextForwardToken })), ['late']);
	assert.deepEqual(texts(await get({ limit: 2 })), ['m9', 'late']);
	assert.deepEqual(texts(await get({ startTime: start + 2, endTime: start + 4, startFromHead: true })), ['m2', 'm3']);
	await rejects(get({ nextToken: 'nonsense' }), 'InvalidParameterException', 'The specified nextToken is invalid.');
	await rejects(get({ logStreamName: 'none' }), 'ResourceNotFoundException', noStream);
	await rejects(get({ logGroupName: 'none' }), 'ResourceNotFoundException', noGroup);
	await server.restart('SIGKILL');
	assert.equal(texts(await get({ startFromHead: true })).length, 11);
	await call('DeleteLogGroup', group);
});

test('FilterLogEvents', async () => {
	const group = await makeGroup('filter', ['a1', 'a2', 'b']);
	const start = Date.now() - 60_000;
	const streams = ['a1', 'a2', 'b'];
	for (let i = 0; i < 3; i++)
		await put(group, streams[i], { timestamp: start + i, message: `ERROR ${i} disk` }, { timestamp: start + 10 + i, message: JSON.stringify({ level: 'info', n: i }) });
	const filter = async (input) => {
		const found = [];
		let nextToken;
		do {
			const page = await call('FilterLogEvents', { ...group, ...input, nextToken });
			found.push(...page.events);
			assert.deepEqual(page.searchedLogStreams, []);
			nextToken = page.nextToken;
		} while (nextToken);
		return found;
	};
	const all = await filter({ interleaved: true });
	assert.equal(all.length, 6);
	assert.equal(new Set(all.map((e) => e.eventId)).size, 6);
	assert.equal((await filter({ limit: 1 })).length, 6);
	assert.deepEqual((await filter({ filterPattern: 'ERROR' })).map((e) => e.message), ['ERROR 0 disk', 'ERROR 1 disk', 'ERROR 2 disk']);
	assert.deepEqual((await filter({ filterPattern: '{ $.n = 2 }' })).map((e) => e.logStreamName), ['b']);
	assert.equal((await filter({ logStreamNamePrefix: 'a' })).length, 4);
	assert.equal((await filter({ logStreamNames: ['a1', 'b'], filterPattern: '"disk"' })).length, 2);
	assert.equal((await filter({ startTime: start + 1, endTime: start + 3 })).length, 2);
	await rejects(filter({ logStreamNames: ['none'] }), 'ResourceNotFoundException', noStream);
	await rejects(filter({ logStreamNames: ['a1'], logStreamNamePrefix: 'a' }), 'InvalidParameterException');
	await rejects(filter({ filterPattern: '{ $.n = ' }), 'InvalidParameterException', /^Invalid filter pattern: (?!Invalid)/);
	await rejects(filter({ logGroupName: 'none' }), 'ResourceNotFoundException', noGroup);
	const arn = 'arn:aws:logs:us-east-1:123456789012:log-group:filter';
	const byArn = await call('FilterLogEvents', { logGroupIdentifier: arn, filterPattern: 'ERROR' });
	assert.equal(byArn.events.length, 3);
	await call('DeleteLogGroup', group);
});

test('tags by name and by ARN', async () => {
	const group = await makeGroup('tagged');
	const resourceArn = 'arn:aws:logs:us-east-1:123456789012:log-group:tagged';
	await call('TagLogGroup', { ...group, tags: { a: '1', b: '2' } });
	await call('TagResource', { resourceArn, tags: { b: '3' } });
	assert.deepEqual((await call('ListTagsForResource', { resourceArn })).tags, { a: '1', b: '3' });
	await call('UntagLogGroup', { ...group, tags: ['a'] });
	await call('UntagResource', { resourceArn, tagKeys: ['none'] });
	await server.restart();
	assert.deepEqual((await call('ListTagsLogGroup', group)).tags, { b: '3' });
	const many = Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`k${i}`, '']));
	await rejects(call('TagResource', { resourceArn, tags: many }), 'TooManyTagsException');
	await rejects(call('TagResource', { resourceArn, tags: { 'aws:x': '' } }), 'InvalidParameterException');
	await rejects(call('TagResource', { resourceArn: `${resourceArn}x`, tags: { a: '' } }), 'ResourceNotFoundException', noGroup);
	await rejects(call('ListTagsForResource', { resourceArn: 'arn:aws:sqs:us-east-1:123456789012:x' }), 'InvalidParameterException');
	await call('DeleteLogGroup', group);
});

test('what is changed about a group at once, as deployment tools do, is all changed', async () => {
	const group = await makeGroup('at-once');
	const resourceArn = 'arn:aws:logs:us-east-1:123456789012:log-group:at-once';
	const keys = Array.from({ length: 10 }, (_, i) => `k${i}`);
	await Promise.all([...keys.map((k) => call('TagResource', { resourceArn, tags: { [k]: k } })),
		call('PutRetentionPolicy', { ...group, retentionInDays: 7 }),
		call('PutLogGroupDeletionProtection', { logGroupIdentifier: 'at-once', deletionProtectionEnabled: true })]);
	assert.deepEqual((await call('ListTagsForResource', { resourceArn })).tags, Object.fromEntries(keys.map((k) => [k, k])));
	await rejects(call('DeleteLogGroup', group), 'ValidationException');
	await Promise.all([call('PutLogGroupDeletionProtection', { logGroupIdentifier: 'at-once', deletionProtectionEnabled: false }),
		...keys.slice(1).map((k) => call('UntagResource', { resourceArn, tagKeys: [k] }))]);
	await server.restart();
	assert.deepEqual((await call('ListTagsForResource', { resourceArn })).tags, { k0: 'k0' });
	const { logGroups: [g] } = await call('DescribeLogGroups', { logGroupNamePrefix: 'at-once' });
	assert.equal(g.retentionInDays, 7);
	await call('DeleteLogGroup', group);
});

test('deletion protection', async () => {
	await call('CreateLogGroup', { logGroupName: 'kept', deletionProtectionEnabled: true });
	await rejects(call('DeleteLogGroup', { logGroupName: 'kept' }), 'ValidationException');
	await call('PutLogGroupDeletionProtection', { logGroupIdentifier: 'kept', deletionProtectionEnabled: false });
	await call('DeleteLogGroup', { logGroupName: 'kept' });
});

test('a big batch', async () => {
	const group = await makeGroup('big', ['s']);
	const now = Date.now();
	// As much as AWS allows: more than 1 MiB of JSON.
	await put(group, 's', ...Array.from({ length: 10_000 }, (_, i) => ({ timestamp: now + i, message: `"${i}"`.padEnd(78, '\t') })));
	let nextToken, count = 0;
	for (;;) {
		const page = await call('GetLogEvents', { ...group, logStreamName: 's', startFromHead: true, nextToken });
		if (page.nextForwardToken === nextToken) break;
		nextToken = page.nextForwardToken;
		count += page.events.length;
	}
	assert.equal(count, 10_000);
	const { logGroups: [g] } = await call('DescribeLogGroups', { logGroupNamePrefix: 'big' });
	assert.ok(g.storedBytes > 0);
	await call('DeleteLogGroup', group);
});
