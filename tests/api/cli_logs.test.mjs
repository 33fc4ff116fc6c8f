// The AWS CLI against CloudWatch Logs, `aws logs tail --follow` above all.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { aws, awsStart } from './cli.mjs';
import { startServer } from './server.mjs';

let server;
before(async () => {
	server = await startServer();
	await aws(server, ['logs', 'create-log-group', '--log-group-name', '/app']);
	for (const name of ['one', 'two'])
		await aws(server, ['logs', 'create-log-stream', '--log-group-name', '/app', '--log-stream-name', name]);
});
after(() => server?.stop());

const put = (stream, message) => aws(server, ['logs', 'put-log-events', '--log-group-name', '/app',
	'--log-stream-name', stream, '--log-events', JSON.stringify([{ timestamp: Date.now(), message }])]);

test('groups and streams', async () => {
	await aws(server, ['logs', 'put-retention-policy', '--log-group-name', '/app', '--retention-in-days', '7']);
	const { logGroups } = await aws(server, ['logs', 'describe-log-groups', '--log-group-name-prefix', '/a']);
	assert.equal(logGroups[0].retentionInDays, 7);
	await put('one', 'first');
	const { logStreams } = await aws(server, ['logs', 'describe-log-streams', '--log-group-name', '/app',
		'--order-by', 'LastEventTime', '--descending', '--page-size', '1']);
	assert.deepEqual(logStreams.map((s) => s.logStreamName), ['one', 'two']);
	const { events } = await aws(server, ['logs', 'get-log-events', '--log-group-name', '/app', '--log-stream-name', 'one']);
	assert.equal(events[0].message, 'first');
	await assert.rejects(aws(server, ['logs', 'create-log-group', '--log-group-name', '/app']), /ResourceAlreadyExistsException/);
});

test('events are found, tags kept, all of it deleted', async () => {
	const logs = (...words) => aws(server, ['logs', ...words]);
	const group = ['--log-group-name', '/kept'], arn = 'arn:aws:logs:us-east-1:123456789012:log-group:/kept';
	await logs('create-log-group', ...group, '--tags', 'team=a');
	await logs('create-log-stream', ...group, '--log-stream-name', 's');
	const events = ['GET /a 200', 'GET /b 404', 'PUT /c 404'].map((message, i) => ({ timestamp: Date.now() + i, message }));
	await logs('put-log-events', ...group, '--log-stream-name', 's', '--log-events', JSON.stringify(events));
	const [found, paged] = await Promise.all([logs('filter-log-events', ...group, '--filter-pattern', '[verb=GET, path, status=404]'),
		logs('filter-log-events', ...group, '--max-items', '2', '--page-size', '1'), logs('put-retention-policy', ...group, '--retention-in-days', '3'),
		logs('tag-resource', '--resource-arn', arn, '--tags', 'stage=b'),
		assert.rejects(logs('filter-log-events', '--log-group-name', '/none'), /ResourceNotFoundException/),
		assert.rejects(logs('filter-log-events', ...group, '--filter-pattern', '['), /InvalidParameterException/)]);
	assert.deepEqual(found.events.map((e) => [e.message, e.logStreamName]), [['GET /b 404', 's']]);
	assert.deepEqual([paged.events.length, paged.NextToken !== undefined], [2, true]);
	await logs('tag-log-group', ...group, '--tags', 'old=way');
	assert.deepEqual((await logs('list-tags-for-resource', '--resource-arn', arn)).tags, { team: 'a', stage: 'b', old: 'way' });
	await Promise.all([logs('untag-resource', '--resource-arn', arn, '--tag-keys', 'team'), logs('untag-log-group', ...group, '--tags', 'old'),
		logs('delete-retention-policy', ...group)]);
	assert.deepEqual((await logs('list-tags-log-group', ...group)).tags, { stage: 'b' });
	assert.equal((await logs('describe-log-groups', '--log-group-name-prefix', '/kept')).logGroups[0].retentionInDays, undefined);
	await logs('delete-log-stream', ...group, '--log-stream-name', 's');
	assert.deepEqual((await logs('describe-log-streams', ...group)).logStreams, []);
	await logs('delete-log-group', ...group);
	await assert.rejects(logs('delete-log-group', ...group), /ResourceNotFoundException/);
});

test('tail', async () => {
	const text = await aws(server, ['logs', 'tail', '/app', '--format', 'short']);
	assert.match(text, /first/);
	const filtered = await aws(server, ['logs', 'tail', '/app', '--filter-pattern', 'absent']);
	assert.equal(filtered, '');
});

test('tail --follow prints each event once', { timeout: 60_000 }, async () => {
	const tail = awsStart(server, ['logs', 'tail', '/app', '--follow', '--since', '5m', '--format', 'short']);
	let text = '', errors = '';
	tail.stdout.on('data', (chunk) => { text += chunk; });
	tail.stderr.on('data', (chunk) => { errors += chunk; });
	const seen = async (what) => {
		while (!text.includes(what)) {
			assert.equal(tail.exitCode, null, errors);
			await new Promise((resolve) => setTimeout(resolve, 100));
		}
	};
	try {
		await seen('first');
		await put('two', 'second');
		await seen('second');
		await put('one', 'third');
		await seen('third');
		await new Promise((resolve) => setTimeout(resolve, 6000));
	} finally {
		const ended = new Promise((resolve) => tail.once('close', resolve));
		tail.kill('SIGINT');
		await ended;
	}
	for (const word of ['first', 'second', 'third'])
		assert.equal(text.split(word).length, 2, text);
});
