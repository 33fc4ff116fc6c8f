// The `mayfly` command: every verb, its output and its exit codes.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startServer } from './server.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const program = process.env.MAYFLY ?? path.join(root, 'build/mayfly');
const name = 'cli';
let surroundings = { PATH: process.env.PATH, HOME: '/nonexistent' };
const work = mkdtempSync(path.join(tmpdir(), 'mayfly-cli-'));

function mayfly(args, { env = {}, input = '' } = {}) {
	const r = spawnSync(program, args, {
		env: { ...surroundings, ...env },
		input,
		encoding: 'utf8',
		maxBuffer: 64 << 20,
		timeout: 120_000,
	});
	return { code: r.status, out: r.stdout, err: r.stderr };
}

function ok(args, options) {
	const r = mayfly(args, options);
	assert.equal(r.code, 0, `mayfly ${args.join(' ')}: ${r.err}`);
	return r.out;
}

function directory(files) {
	const dir = mkdtempSync(path.join(work, 'code-'));
	for (const [file, text] of Object.entries(files)) {
		mkdirSync(path.dirname(path.join(dir, file)), { recursive: true });
		writeFileSync(path.join(dir, file), text);
	}
	return dir;
}

// Wait for what is stored a moment after it happened.
async function eventually(check) {
	for (let i = 0; ; i++) {
		try {
			return check();
		} catch (error) {
			if (i === 50) throw error;
			await new Promise((done) => setTimeout(done, 100));
		}
	}
}

after(() => rmSync(work, { recursive: true, force: true }));

describe('without a server', () => {
	test('help lists every verb, and each verb has its own', () => {
		const help = ok(['help']);
		for (const verb of ['serve', 'env', 'deploy', 'invoke', 'logs', 'ls', 'bill', 'rm', 'run', 'ps',
			'stop', 'exec', 'stats', 'version']) {
			assert.match(help, new RegExp(`^  ${verb} `, 'm'));
			assert.match(ok([verb, '--help']), new RegExp(`Usage: mayfly ${verb}`));
			assert.equal(ok([verb, '--help']), ok(['help', verb]));
		}
	});

	test('wrong usage is exit code 2 and says what is right', () => {
		for (const args of [[], ['nonsense'], ['ls', '--nonsense'], ['invoke'], ['deploy', 'a', 'b'],
			['bill', '--by', 'phase-of-moon'], ['logs', 'f', '--since', 'yesterday'],
			['invoke', 'f', '{broken'], ['deploy', work, '--memory', '1'],
			['serve', '--dev', '--listen', '0.0.0.0:4566']]) {
			const r = mayfly(args);
			assert.equal(r.code, 2, args.join(' '));
			assert.ok(r.err.length > 0 && r.out === '', args.join(' '));
		}
	});

	test('the verbs that are like docker\'s fail as docker does', () => {
		const env = { AWS_ENDPOINT_URL: 'http://127.0.0.1:1' };
		for (const [args, says] of [
			[['run'], /an argument is missing/],
			[['run', '--no-such', 'x'], /there is no option --no-such/],
			[['run', '-p', '127.0.0.1:1:2', 'x'], /takes no address/],
			[['run', '--memory', '1k', 'x'], /at least 6m/],
			[['run', '--pull', 'often', 'x'], /--pull cannot be/],
			[['run', '--name', 'a.b', 'x'], /letters, digits/],
			[['run', 'x'], /no server answers at/],
			[['exec', 'x'], /an argument is missing/],
			[['exec', 'x', 'ls', '--no-such'], /no server answers at/],
			[['exec', '-it', 'x', 'sh'], /stdin is no terminal/],
		]) {
			const r = mayfly(args, { env });
			assert.equal(r.code, 125, `${args.join(' ')}: ${r.err}`);
			assert.match(r.err, says);
		}
		assert.match(ok(['run', '-it', '--help', 'x']), /Usage: mayfly run/);
	});

	test('a server that cannot start says why and what to do', async () => {
		const other = createServer();
		await new Promise((resolve) => other.listen(0, '127.0.0.1', resolve));
		const file = path.join(directory({ file: '' }), 'file');
		const data = path.join(work, 'never');
		const taken = `127.0.0.1:${other.address().port}`;
		for (const [args, code, says] of [
			[['--listen', taken, '--data', data], 1, `another program listens on ${taken}; stop it or choose another --listen`],
			[['--listen', '192.0.2.1:80', '--data', data], 1, 'choose another --listen'],
			[['--listen', 'foo', '--data', data], 2, "'foo' is not ADDRESS:PORT"],
			[['--listen', '127.0.0.1:0', '--data', file], 1, 'choose another --data'],
			[['--listen', '127.0.0.1:0', '--data', '/proc/x'], 1, 'choose another --data'],
		]) {
			const r = mayfly(['serve', ...args]);
			assert.equal(r.code, code, r.err);
			assert.ok(r.err.includes(says), r.err);
		}
		other.close();
	});

	test('a server may listen on IPv6 alone', async (t) => {
		const data = path.join(work, 'six');
		const child = spawn(program, ['serve', '--listen', '[::1]:0', '--data', data], { stdio: ['ignore', 'ignore', 'pipe'] });
		let said = '';
		child.stderr.on('data', (text) => { said += text; });
		const ended = new Promise((resolve) => child.once('close', resolve));
		try {
			await eventually(() => assert.match(said, /ready at|[Cc]annot assign|not supported|no address/));
			if (!/ready at/.test(said)) return t.skip('no IPv6 here');
			const env = { ...JSON.parse(ok(['env', '--json', '--data', data])) };
			assert.match(env.AWS_ENDPOINT_URL, /^http:\/\/\[::1\]:\d+$/);
			assert.match(ok(['ls'], { env: { ...env, AWS_REGION: 'eu-west-1' } }), /^none in region eu-west-1; make one/m);
		} finally {
			child.kill();
			await ended;
		}
	});

	test('no server is exit code 4 and says how to start one', () => {
		const r = mayfly(['ls'], { env: { AWS_ENDPOINT_URL: 'http://127.0.0.1:1' } });
		assert.equal(r.code, 4);
		assert.match(r.err, /no server answers at http:\/\/127\.0\.0\.1:1\n.*mayfly serve/);
	});

	test('no keys is exit code 4', () => {
		const r = mayfly(['env', '--data', path.join(work, 'nothing')]);
		assert.equal(r.code, 4);
		assert.match(r.err, /no keys/);
	});

	test('keys of a data directory become variables', () => {
		const data = directory({
			credentials: "[default]\naws_access_key_id = AKID\naws_secret_access_key = it's\n",
			endpoint: 'http://127.0.0.1:4999\n',
		});
		const shell = spawnSync('sh', ['-c', `eval "$('${program}' env --data '${data}')"
			echo "$AWS_ENDPOINT_URL $AWS_ACCESS_KEY_ID $AWS_SECRET_ACCESS_KEY [$AWS_SESSION_TOKEN]"`],
		{ encoding: 'utf8', env: { ...surroundings, AWS_SESSION_TOKEN: 'left over' } });
		assert.equal(shell.stdout, "http://127.0.0.1:4999 AKID it's []\n");
		const json = JSON.parse(ok(['env', '--json', '--data', data]));
		assert.equal(json.AWS_SECRET_ACCESS_KEY, "it's");
	});
});

const skip = process.getuid() === 0 ? false : 'only root can start a server';

describe('with a server', { skip }, () => {
	const files = {
		'index.mjs': `
			import { word } from './lib/word.mjs';
			export const handler = async (event, context) => {
				if (event.fail) throw new TypeError('as you wish');
				console.log('seen', event.n, process.env.COLOUR);
				return { word, n: event.n, colour: process.env.COLOUR, name: context.functionName,
					method: event.requestContext?.http?.method };
			};`,
		'lib/word.mjs': "export const word = 'first';",
		'mayfly.json': JSON.stringify({ FunctionName: name, MemorySize: 256, Timeout: 5,
			Environment: { COLOUR: 'green' } }),
	};
	let dir, server;

	before(async () => {
		server = await startServer();
		surroundings = { ...surroundings, ...JSON.parse(ok(['env', '--json', '--data', server.data])) };
		dir = directory(files);
		ok(['deploy', dir]);
	});
	after(async () => {
		await server.halt();
		await server.stop();
		assert.doesNotMatch(server.log, /core was killed|core exited/);
	});

	test('env knows where the server listens', () => {
		assert.equal(surroundings.AWS_ENDPOINT_URL, server.url);
	});

	test('deploy tells what it made, and makes nothing twice', () => {
		const again = JSON.parse(ok(['deploy', dir, '--json']));
		assert.equal(again.FunctionName, name);
		assert.equal(again.Created, false);
		assert.equal(again.CodeChanged, false);
		assert.equal(again.ConfigChanged, false);
		assert.match(again.FunctionArn, new RegExp(`:function:${name}$`));
	});

	test('changed code and configuration are there with the next invocation', () => {
		writeFileSync(path.join(dir, 'lib/word.mjs'), "export const word = 'second';");
		const r = JSON.parse(ok(['deploy', dir, '--json', '--env', 'COLOUR=blue', '--memory', '300']));
		assert.equal(r.CodeChanged, true);
		const answer = JSON.parse(ok(['invoke', name, '{"n":1}']));
		assert.deepEqual(answer, { word: 'second', n: 1, colour: 'blue', name });
		const listed = JSON.parse(ok(['ls', '--json'])).find((f) => f.FunctionName === name);
		assert.equal(listed.MemorySize, 300);
	});

	test('payloads come from the command line, a file or standard input', () => {
		const file = path.join(work, 'event.json');
		writeFileSync(file, '{"n":3}');
		assert.equal(JSON.parse(ok(['invoke', name, '{"n":2}'])).n, 2);
		assert.equal(JSON.parse(ok(['invoke', name, `@${file}`])).n, 3);
		assert.equal(JSON.parse(ok(['invoke', name, '-'], { input: '{"n":4}' })).n, 4);
		assert.equal(JSON.parse(ok(['invoke', name])).n, undefined);
	});

	test('a failing function is exit code 3, with nothing on stdout', () => {
		const r = mayfly(['invoke', name, '{"fail":true}']);
		assert.equal(r.code, 3);
		assert.equal(r.out, '');
		assert.match(r.err, /TypeError: as you wish/);
	});

	test('--tail has the log, --qualifier chooses, --event does not wait', () => {
		const r = mayfly(['invoke', name, '{"n":5}', '--tail']);
		assert.equal(r.code, 0);
		assert.match(r.err, /START RequestId[\s\S]*seen 5[\s\S]*REPORT RequestId/);
		assert.equal(JSON.parse(ok(['invoke', name, '{"n":6}', '--qualifier', '$LATEST'])).n, 6);
		assert.equal(mayfly(['invoke', name, '-q', 'nope']).code, 4);
		assert.equal(ok(['invoke', name, '{"n":"queued"}', '--event']), '');
	});

	test('logs has what was printed, filtered and as JSON too', async () => {
		ok(['invoke', name, '{"n":"needle"}']);
		await eventually(() => {
			const text = ok(['logs', name]);
			assert.match(text, /^\d{4}-\d\d-\d\dT[\d:.]+Z START RequestId/m);
			assert.match(text, /seen needle/);
			assert.match(text, /REPORT RequestId: .*Billed Duration/);
			assert.match(text, /seen queued/);
		});
		const lines = ok(['logs', name, '--json', '--filter', 'needle']).trim().split('\n');
		assert.ok(lines.length >= 1);
		for (const line of lines) assert.match(JSON.parse(line).message, /needle/);
		assert.equal(ok(['logs', name, '--since', '2999-01-01']), '');
		const all = ok(['logs', name]).split('\n');
		assert.deepEqual(ok(['logs', name, '--tail', '2']).split('\n'), all.slice(-3));
	});

	test('logs -f prints what comes, once', async () => {
		const follower = spawn(program, ['logs', '-f', name, '--since', '0s', '--filter', 'follow'], {
			env: surroundings,
		});
		let text = '';
		follower.stdout.on('data', (data) => {
			text += data;
		});
		await new Promise((done) => setTimeout(done, 300));
		ok(['invoke', name, '{"n":"follow-1"}']);
		ok(['invoke', name, '{"n":"follow-2"}']);
		await eventually(() => assert.match(text, /follow-1[\s\S]*follow-2/));
		await new Promise((done) => setTimeout(done, 1200));
		follower.kill();
		assert.equal(text.match(/follow-1/g).length, 1);
	});

	test('ls has a line for it and totals', () => {
		const text = ok(['ls']);
		assert.match(text, new RegExp(`^${name} .* nodejs\\S+ .* Active`, 'm'));
		assert.match(text, /\d+ functions?, .* of code/);
		assert.doesNotMatch(text, /\x1b/);
	});

	test('bill adds up, by function and by day', async () => {
		const row = await eventually(() => {
			const bill = JSON.parse(ok(['bill', '--json']));
			const found = bill.rows.find((r) => r.function === name);
			assert.ok(found && found.requests > 0);
			assert.ok(bill.total.requests >= found.requests);
			return found;
		});
		assert.ok(row.billed_ms >= row.requests);
		assert.match(row.total_usd, /^\d+\.\d{10}$/);
		const today = new Date().toISOString().slice(0, 10);
		const byDay = JSON.parse(ok(['bill', '--by', 'day', '--from', today, '--json']));
		assert.ok(byDay.rows.every((r) => r.day >= today));
		assert.match(ok(['bill']), new RegExp(`^${name} +\\d+`, 'm'));
		assert.equal(JSON.parse(ok(['bill', '--to', '2020-01-01', '--json'])).total.requests, 0);
	});

	test('a URL is made once and answers', async () => {
		const first = JSON.parse(ok(['deploy', dir, '--url', 'NONE', '--json'])).FunctionUrl;
		const second = JSON.parse(ok(['deploy', dir, '--url', 'NONE', '--json'])).FunctionUrl;
		assert.equal(first, second);
		const curl = spawnSync('curl', ['-sS', '--noproxy', '*', '-H', `Host: ${new URL(first).host}`,
			`${server.url}/`], { encoding: 'utf8' });
		assert.equal(JSON.parse(curl.stdout).method, 'GET', curl.stdout + curl.stderr);
	});

	test('a bootstrap is a function', () => {
		const own = directory({
			bootstrap: `#!/bin/sh
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while :; do
	id=$(curl -sS -D - -o /tmp/event "$api/next" | tr -d '\\r' |
		sed -n 's/^[Ll]ambda-[Rr]untime-[Aa]ws-[Rr]equest-[Ii]d: //p')
	curl -sS -o /dev/null --data-binary @/tmp/event "$api/$id/response"
done
`,
		});
		chmodSync(path.join(own, 'bootstrap'), 0o755);
		ok(['deploy', own, '--name', `${name}-sh`, '--timeout', '10']);
		assert.equal(ok(['invoke', `${name}-sh`, '{"echo":1}']), '{"echo":1}');
		ok(['rm', '-y', '--logs', `${name}-sh`]);
	});

	test('the examples run as they are', () => {
		for (const example of ['hello-node', 'hello-python']) {
			ok(['deploy', path.join(root, 'examples', example), '--name', `${name}-${example}`]);
			const answer = JSON.parse(ok(['invoke', `${name}-${example}`, '{"name":"Ada"}']));
			assert.equal(answer.message, 'Hello, Ada!');
			ok(['rm', '-y', '--logs', `${name}-${example}`]);
		}
	});

	test('what is not there is exit code 4', () => {
		for (const args of [['invoke', `${name}-none`], ['rm', '-y', `${name}-none`],
			['logs', `${name}-none`]]) {
			const r = mayfly(args);
			assert.equal(r.code, 4, `${args.join(' ')}: ${r.err}`);
		}
	});

	test('wrong keys are refused, with the way to the right ones', () => {
		const r = mayfly(['ls'], { env: { AWS_ACCESS_KEY_ID: 'AKIAWRONG', AWS_SECRET_ACCESS_KEY: 'x' } });
		assert.equal(r.code, 1);
		assert.match(r.err, /mayfly env/);
	});

	test('keys come from a profile of the credentials file', () => {
		const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret } = surroundings;
		const home = directory({
			'.aws/credentials': `[work]\naws_access_key_id=${id}\naws_secret_access_key=${secret}\n`,
		});
		const none = { AWS_ACCESS_KEY_ID: '', AWS_SECRET_ACCESS_KEY: '' };
		ok(['ls'], { env: { ...none, HOME: home, AWS_PROFILE: 'work' } });
		assert.notEqual(mayfly(['ls'], { env: { ...none, HOME: home } }).code, 0);
	});

	test('rm removes the function, its URL, its role and its log', () => {
		ok(['deploy', dir, '--name', `${name}-gone`, '--url', 'NONE']);
		ok(['invoke', `${name}-gone`]);
		ok(['rm', '-y', '--logs', `${name}-gone`]);
		assert.equal(mayfly(['invoke', `${name}-gone`]).code, 4);
		assert.equal(mayfly(['logs', `${name}-gone`]).code, 4);
		// Deploying again is a new start, not a conflict.
		assert.equal(JSON.parse(ok(['deploy', dir, '--name', `${name}-gone`, '--json'])).Created, true);
		ok(['rm', '-y', `${name}-gone`]);
	});
});
