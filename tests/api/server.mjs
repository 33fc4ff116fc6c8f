// Starts a daemon for a test file: free port on loopback, its own data directory, both gone
// afterwards. MAYFLY names the command (default: the build directory's).
import { spawn } from 'node:child_process';
import { createHash, createHmac } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const command = process.env.MAYFLY ?? join(root, 'build/mayfly');
const READY_MS = 20_000;
const STOP_MS = 15_000;
const COMPLAINTS = /mayfly: bug:|core was killed|core exited with|Sanitizer|runtime error:/;

async function freePort() {
	const server = createServer();
	await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
	const { port } = server.address();
	await new Promise((resolve) => server.close(resolve));
	return port;
}

async function waitReady(url, child) {
	const deadline = Date.now() + READY_MS;
	while (Date.now() < deadline) {
		if (child.exitCode !== null || child.signalCode !== null)
			throw new Error('the daemon ended while starting: is it built, may it run here?');
		try {
			const answer = await fetch(`${url}/_mayfly/health`);
			if (answer.status === 200) return;
		} catch {
			// not listening yet
		}
		await new Promise((resolve) => setTimeout(resolve, 50));
	}
	throw new Error(`the daemon was not ready after ${READY_MS} ms`);
}

async function readCredentials(data) {
	const text = await readFile(join(data, 'credentials'), 'utf8');
	const value = (name) => text.match(new RegExp(`^${name}\\s*=\\s*(\\S+)`, 'm'))[1];
	return {
		accessKeyId: value('aws_access_key_id'),
		secretAccessKey: value('aws_secret_access_key'),
	};
}

// Core complains above 10 ms of CPU time. Others at work on the same CPUs take caches and
// hyperthreads away, so the bound grows with how crowded the machine is, to three times as much.
const SLOW_US = 10_000;
const crowd = () => Math.min(3, Math.max(1, loadavg()[0] / cpus().length));
const hasSlowCallback = (log) =>
	[...log.matchAll(/slow callback: (\d+) us/g)].some(([, us]) => us > SLOW_US * crowd());

// From the first look at its status on, core measures what its callbacks take, and complains.
async function beginMeasuring(url, { accessKeyId, secretAccessKey }) {
	const sha256 = (text) => createHash('sha256').update(text).digest('hex');
	const hmac = (key, text) => createHmac('sha256', key).update(text).digest();
	const path = '/_mayfly/status';
	const time = new Date().toISOString().replace(/[-:]|\.\d+/g, '');
	const scope = `${time.slice(0, 8)}/us-east-1/lambda/aws4_request`;
	const request = `GET\n${path}\n\nhost:${new URL(url).host}\nx-amz-date:${time}\n\n` +
		`host;x-amz-date\n${sha256('')}`;
	const key = scope.split('/').reduce(hmac, `AWS4${secretAccessKey}`);
	const signature = hmac(key, `AWS4-HMAC-SHA256\n${time}\n${scope}\n${sha256(request)}`);
	const answer = await fetch(url + path, { headers: {
		'X-Amz-Date': time,
		Authorization: `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, ` +
			`SignedHeaders=host;x-amz-date, Signature=${signature.toString('hex')}`,
	} });
	if (answer.status !== 200) throw new Error(`status page: ${await answer.text()}`);
}

class Server {
	constructor(data, port, args) {
		this.data = data;
		this.url = `http://127.0.0.1:${port}`;
		this.args = ['serve', '--data', data, '--listen', `127.0.0.1:${port}`, ...args];
	}

	async start() {
		this.log = '';
		this.slow = false;
		this.child = spawn(command, this.args, { stdio: ['ignore', 'pipe', 'pipe'] });
		const keep = (chunk) => {
			this.log = (this.log + chunk).slice(-64 * 1024);
			this.slow ||= hasSlowCallback(String(chunk));
		};
		this.child.stdout.on('data', keep);
		this.child.stderr.on('data', keep);
		this.child.on('error', keep);
		this.ended = new Promise((resolve) => this.child.once('close', resolve));
		try {
			await waitReady(this.url, this.child);
		} catch (error) {
			this.child.kill('SIGKILL');
			throw new Error(`${error.message}\n${this.log}`);
		}
		this.credentials = await readCredentials(this.data);
		await beginMeasuring(this.url, this.credentials);
	}

	// The process goes, the data stays.
	async halt(signal = 'SIGTERM') {
		if (!this.child || this.child.exitCode !== null) return;
		this.child.kill(signal);
		const timer = setTimeout(() => this.child.kill('SIGKILL'), STOP_MS);
		await this.ended;
		clearTimeout(timer);
		// A core that dies is started again, so clients may not have noticed.
		if (signal !== 'SIGKILL' && (COMPLAINTS.test(this.log) || this.slow))
			throw new Error(`the daemon complained:\n${this.log}`);
	}

	async restart(signal) {
		await this.halt(signal);
		await this.start();
	}

	async stop() {
		try {
			await this.halt();
		} finally {
			await rm(this.data, { recursive: true, force: true });
		}
	}

	// Options of an SDK client; credentials default to the root key pair.
	client(credentials = this.credentials, region = 'us-east-1') {
		return { endpoint: this.url, region, credentials, maxAttempts: 1 };
	}

	// Environment of the AWS CLI.
	environment(credentials = this.credentials, region = 'us-east-1') {
		const env = {
			PATH: process.env.PATH,
			HOME: this.data,
			AWS_ACCESS_KEY_ID: credentials.accessKeyId,
			AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
			AWS_DEFAULT_REGION: region,
			AWS_EC2_METADATA_DISABLED: 'true',
			AWS_PAGER: '',
		};
		if (credentials.sessionToken) env.AWS_SESSION_TOKEN = credentials.sessionToken;
		return env;
	}
}

export async function startServer(args = []) {
	const data = await mkdtemp(join(tmpdir(), 'mayfly-api-'));
	const server = new Server(data, await freePort(), args);
	await server.start();
	return server;
}

// The error a promise rejects with must have this name and, if given, this text.
export async function rejects(promise, name, message) {
	try {
		await promise;
	} catch (error) {
		if (error.name !== name) throw error;
		const text = error.message;
		const good = message instanceof RegExp ? message.test(text) : !message || message === text;
		if (!good) throw new Error(`${name} says "${text}", not "${message}"`);
		return error;
	}
	throw new Error(`no ${name} came`);
}
