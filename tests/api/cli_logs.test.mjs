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
