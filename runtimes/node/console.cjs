// console.* as Lambda prints it: one write per call to descriptor 1, so that an event stays whole.
// Text: "<time>\t<request id>\t<LEVEL>\t<message>\n", line breaks inside become \r.
// JSON (AWS_LAMBDA_LOG_FORMAT=JSON): one object a line, filtered by AWS_LAMBDA_LOG_LEVEL.
const { format } = require('node:util');
const { writeAll } = require('./channel.cjs');

const LEVELS = ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'];
const METHODS = {
	log: 'INFO',
	info: 'INFO',
	debug: 'DEBUG',
	trace: 'TRACE',
	warn: 'WARN',
	error: 'ERROR',
	fatal: 'FATAL',
};

let requestId;

function setRequest(id) {
	requestId = id;
}

function writeLine(line) {
	const bytes = Buffer.from(line);
	writeAll(1, bytes, 0, bytes.length);
}

function printText(level, args) {
	const message = format(...args).replaceAll('\n', '\r');
	writeLine(`${new Date().toISOString()}\t${requestId}\t${level}\t${message}\n`);
}

function errorsToo(key, value) {
	if (!(value instanceof Error)) return value;
	return {
		errorType: value.constructor?.name ?? 'UnknownError',
		errorMessage: value.message,
		stackTrace: typeof value.stack === 'string' ? value.stack.split('\n') : [],
	};
}

function printJson(level, args) {
	const entry = { timestamp: new Date().toISOString(), level, requestId };
	if (args.length === 1) {
		entry.message = args[0];
		try {
			writeLine(`${JSON.stringify(entry, errorsToo)}\n`);
			return;
		} catch {
			// circular or BigInt: print it the way the text format does
		}
	}
	entry.message = format(...args);
	const error = args.find((arg) => arg instanceof Error);
	if (error) Object.assign(entry, errorsToo('', error));
	writeLine(`${JSON.stringify(entry)}\n`);
}

function installConsole(env) {
	const json = env.AWS_LAMBDA_LOG_FORMAT?.toUpperCase() === 'JSON';
	const print = json ? printJson : printText;
	const lowest = json ? Math.max(0, LEVELS.indexOf(env.AWS_LAMBDA_LOG_LEVEL?.toUpperCase())) : 0;
	for (const [method, level] of Object.entries(METHODS)) {
		const silent = LEVELS.indexOf(level) < lowest;
		console[method] = silent ? () => {} : (...args) => print(level, args);
	}
}

// What the runtime itself says about a failure.
function printError(title, error, printable) {
	if (process.env.AWS_LAMBDA_LOG_FORMAT?.toUpperCase() === 'JSON') printJson('ERROR', [error]);
	else printText('ERROR', [`${title} \t${printable}`]);
}

module.exports = { setRequest, writeLine, installConsole, printError };
