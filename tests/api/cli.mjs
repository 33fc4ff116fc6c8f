// Debian's AWS CLI as a second client.
import { execFile, spawn } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);
export const AWS = process.env.AWS_CLI ?? '/usr/bin/aws';

// Runs `aws ...words`; returns what it prints, parsed when it is JSON.
export async function aws(server, words, credentials) {
	const { stdout } = await run(AWS, ['--endpoint-url', server.url, '--output', 'json', ...words], {
		env: server.environment(credentials),
		maxBuffer: 16 * 1024 * 1024,
	});
	return /^[[{]/.test(stdout) ? JSON.parse(stdout) : stdout;
}

export function awsStart(server, words) {
	return spawn(AWS, ['--endpoint-url', server.url, ...words], {
		env: { ...server.environment(), PYTHONUNBUFFERED: '1' },
		stdio: ['ignore', 'pipe', 'pipe'],
	});
}
