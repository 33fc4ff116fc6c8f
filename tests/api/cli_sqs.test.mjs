import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { aws } from './cli.mjs';
import { startServer } from './server.mjs';

let server;

before(async () => {
	server = await startServer();
});
after(() => server?.stop());

test('the CLI sends, receives and deletes', async () => {
	const cli = (...words) => aws(server, ['sqs', ...words]);
	const { QueueUrl } = await cli('create-queue', '--queue-name', 'jobs', '--attributes', 'VisibilityTimeout=60');
	const url = ['--queue-url', QueueUrl];
	await cli('send-message', ...url, '--message-body', 'one', '--message-attributes',
		'{"n":{"DataType":"Number","StringValue":"7"},"b":{"DataType":"Binary","BinaryValue":"AAE="}}');
	const sent = await cli('send-message-batch', ...url, '--entries', '[{"Id":"a","MessageBody":"two"}]');
	assert.equal(sent.Successful[0].Id, 'a');
	const { Messages } = await cli('receive-message', ...url, '--max-number-of-messages', '10',
		'--attribute-names', 'All', '--message-attribute-names', 'All');
	assert.deepEqual(Messages.map((m) => m.Body), ['one', 'two']);
	assert.equal(Messages[0].MessageAttributes.n.StringValue, '7');
	assert.equal(Messages[0].MessageAttributes.b.BinaryValue, 'AAE=');
	assert.equal(Messages[0].Attributes.ApproximateReceiveCount, '1');
	await cli('delete-message', ...url, '--receipt-handle', Messages[0].ReceiptHandle);
	await cli('change-message-visibility', ...url, '--receipt-handle', Messages[1].ReceiptHandle, '--visibility-timeout', '0');
	const { Attributes } = await cli('get-queue-attributes', ...url, '--attribute-names', 'All');
	assert.equal(Attributes.ApproximateNumberOfMessages, '1');
	assert.equal(Attributes.VisibilityTimeout, '60');
	assert.equal((await cli('list-queues')).QueueUrls[0], QueueUrl);
	await assert.rejects(cli('get-queue-url', '--queue-name', 'none'), /AWS\.SimpleQueueService\.NonExistentQueue/);
	await cli('tag-queue', ...url, '--tags', 'team=a,stage=b');
	assert.deepEqual((await cli('list-queue-tags', ...url)).Tags, { team: 'a', stage: 'b' });
	await cli('untag-queue', ...url, '--tag-keys', 'team');
	assert.deepEqual((await cli('list-queue-tags', ...url)).Tags, { stage: 'b' });
	await cli('set-queue-attributes', ...url, '--attributes', 'DelaySeconds=1,ReceiveMessageWaitTimeSeconds=0');
	assert.equal((await cli('get-queue-attributes', ...url, '--attribute-names', 'DelaySeconds')).Attributes.DelaySeconds, '1');
	await cli('add-permission', ...url, '--label', 'l', '--aws-account-ids', '123456789012', '--actions', 'SendMessage');
	await cli('remove-permission', ...url, '--label', 'l');
	assert.equal(await cli('list-dead-letter-source-queues', ...url).then((r) => r?.queueUrls?.length ?? 0), 0);
	const again = (await cli('receive-message', ...url)).Messages[0].ReceiptHandle;
	const entry = (more) => JSON.stringify([{ Id: 'a', ReceiptHandle: again, ...more }]);
	assert.equal((await cli('change-message-visibility-batch', ...url, '--entries', entry({ VisibilityTimeout: 30 })))
		.Successful[0].Id, 'a');
	assert.equal((await cli('delete-message-batch', ...url, '--entries', entry())).Successful[0].Id, 'a');
	await cli('purge-queue', ...url);
	await assert.rejects(cli('purge-queue', ...url), /PurgeQueueInProgress/);
	await assert.rejects(cli('send-message', ...url, '--message-body', '\ufffe'), /#xFFFE/);
	await cli('delete-queue', ...url);
});
