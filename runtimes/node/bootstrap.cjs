// Runs inside a box: becomes a Node.js function when core says so, then one event after the other.
//
// The loop is: blocking read, await handler, write. While a promise is pending the event loop runs
// as in any Node.js program; between events the process sleeps in read(2), and may be frozen there.
// CommonJS, as the loader of ES modules took 5 of 32 ms until the first event could come.
const Module = require('node:module');
const { format } = require('node:util');
const channel = require('./channel.cjs');
const { installConsole, printError, setRequest } = require('./console.cjs');
const { describe, printable, RuntimeError } = require('./errors.cjs');
const { loadHandler } = require('./load.cjs');
const { installStreaming, isStreaming, runStreaming, tooLarge } = require('./stream.cjs');
const { installTrace, setTrace } = require('./trace.cjs');

// Without a turn of the event loop now and then, un-awaited work of fast handlers would starve.
const TURN_EVERY_MS = 2;
const WARM_FOLDER = `${__dirname}/warm`;
const UNSETTLED = 13; // as node itself exits then

let current = null; // the event being worked on
let loading = true;
let environment;
let arn = '';
let lastTurn = 0;

// Own properties, not a class: middleware copies contexts with {...context}.
function makeContext(invoke, frame) {
	const deadline = Date.now() + frame.timeout;
	return {
		callbackWaitsForEmptyEventLoop: true,
		functionVersion: environment.version,
		functionName: environment.name,
		memoryLimitInMB: environment.memory,
		logGroupName: environment.group,
		logStreamName: environment.stream,
		clientContext: undefined,
		identity: undefined,
		invokedFunctionArn: arn,
		awsRequestId: frame.requestId,
		getRemainingTimeInMillis: () => deadline - Date.now(),
		done: (error, result) => invoke.finish(error, result),
		succeed: (result) => invoke.finish(null, result),
		fail: (error) => invoke.finish(error ?? 'handled'),
	};
}

// One event and how it ends: by return value, promise, callback, context.done() or an empty loop.
class Invoke {
	constructor(frame) {
		this.sequence = frame.sequence;
		this.requestId = frame.requestId;
		this.writer = frame.streams ? new channel.PieceWriter(frame.sequence, frame.requestId) : null;
		this.settle = null;
		this.ended = false;
		this.failed = false;
		this.value = undefined;
		this.onIdle = null;
	}

	finish(error, value) {
		if (this.ended) return;
		this.ended = true;
		this.failed = error !== null && error !== undefined;
		this.value = this.failed ? error : value;
		if (this.settle) this.settle();
	}

	callback(context, error, value) {
		if (this.ended || this.onIdle) return;
		if (context.callbackWaitsForEmptyEventLoop) this.onIdle = () => this.finish(error, value);
		else this.finish(error, value);
	}

	// When it has ended, by whatever. An empty event loop means that nothing can end it any more.
	end() {
		return new Promise((done) => (this.settle = done));
	}
}

process.on('beforeExit', () => {
	if (loading) process.exitCode = UNSETTLED; // an ES module waits for what never comes
	if (!current) return;
	// From an immediate, so that the loop lives on and beforeExit comes again.
	setImmediate(() => {
		if (current?.onIdle) current.onIdle();
		else current?.finish(null, null);
	});
});

// A value that a plain function returned is its answer; timers, emitters and requests that arrow
// functions return by accident are not.
function isAnswer(value) {
	if (value === undefined || typeof value === 'function') return false;
	if (value === null || typeof value !== 'object') return true;
	const prototype = Object.getPrototypeOf(value);
	return Array.isArray(value) || prototype === null || Object.getPrototypeOf(prototype) === null;
}

function serialise(value) {
	let body;
	try {
		body = JSON.stringify(value);
	} catch (error) {
		const failure = new RuntimeError('MarshalError', 'Unable to stringify response body');
		failure.cause = error;
		throw failure;
	}
	return body === undefined ? 'null' : body;
}

function readExtra(context, text) {
	const extra = JSON.parse(text);
	if (extra.arn) context.invokedFunctionArn = arn = extra.arn;
	if (extra.clientContext) context.clientContext = JSON.parse(extra.clientContext);
	if (extra.identity) context.identity = JSON.parse(extra.identity);
	if (extra.tenantId) context.tenantId = extra.tenantId;
}

function start(handler, streaming, event, context, invoke) {
	const value = streaming
		? runStreaming(handler, event, context, invoke.writer)
		: handler(event, context, (error, result) => invoke.callback(context, error, result));
	if (typeof value?.then === 'function') {
		value.then(
			(result) => invoke.finish(null, result),
			(error) => invoke.finish(error ?? new Error(String(error))),
		);
	} else if (handler.length < 3 && isAnswer(value)) {
		invoke.finish(null, value);
	}
}

// Call the handler. A promise, if that has not ended it.
function begin(handler, streaming, frame, invoke) {
	const context = makeContext(invoke, frame);
	if (frame.extra) readExtra(context, frame.extra);
	start(handler, streaming, JSON.parse(frame.payload), context, invoke);
	return invoke.ended ? null : invoke.end();
}

function answer(invoke, streaming) {
	if (invoke.failed) throw invoke.value;
	const body = streaming ? (invoke.value ?? '') : serialise(invoke.value);
	if (body.length * 3 > channel.PAYLOAD_MAX && Buffer.byteLength(body) > channel.PAYLOAD_MAX) throw tooLarge();
	current = null;
	channel.send(channel.RESULT, invoke.sequence, invoke.requestId, body, '');
}

function answerError(error, title) {
	const invoke = current;
	if (!invoke) return;
	current = null;
	const description = describe(error);
	printError(title, error, printable(error));
	channel.send(channel.ERROR, invoke.sequence, invoke.requestId, JSON.stringify(description), description.errorType);
}

// Asking what is active costs as much as an event, so it is done only before sleeping.
function needsTurn() {
	const now = performance.now();
	if (now - lastTurn <= TURN_EVERY_MS && (channel.hasMore() || process.getActiveResourcesInfo().length === 0)) return false;
	lastTurn = now;
	return true;
}

async function serve(handler, streaming) {
	for (;;) {
		const frame = channel.next();
		if (frame.kind !== channel.INVOKE) throw new Error(`broken channel: kind ${frame.kind} after init`);
		const invoke = (current = new Invoke(frame));
		setRequest(frame.requestId);
		setTrace(frame.traceId);
		try {
			const pending = begin(handler, streaming, frame, invoke);
			if (pending) await pending;
			answer(invoke, streaming);
		} catch (error) {
			answerError(error, 'Invoke Error');
		}
		if (needsTurn()) await new Promise(setImmediate);
	}
}

// Something escaped from user code: told as the answer of the event in progress, then the end.
function die(error, title, code) {
	if (loading) {
		failInit(error, title, code);
	} else if (current?.writer?.busy) {
		current.writer.idle().then(() => die(error, title, code));
	} else {
		if (current) answerError(error, title);
		else printError(title, error, printable(error));
		process.exit(code);
	}
}

function failInit(error, title, code) {
	const description = describe(error);
	printError(title, error, printable(error));
	channel.send(channel.INIT_ERROR, 0, '', JSON.stringify(description), description.errorType);
	process.exit(code);
}

function becomeFunction({ env, cwd }) {
	for (const name of Object.keys(process.env)) if (!(name in env)) delete process.env[name];
	for (const name of Object.keys(env)) process.env[name] = env[name];
	process.env.NODE_PATH ??= `/opt/nodejs/node${process.versions.node.split('.')[0]}/node_modules:/opt/nodejs/node_modules:/var/runtime/node_modules`;
	Module._initPaths();
	// What is ours is neither the function's main module nor one that it has loaded.
	process.mainModule = undefined;
	for (const file of Object.keys(require.cache))
		if (file.startsWith(__dirname) && !file.startsWith(WARM_FOLDER)) delete require.cache[file];
	process.chdir(cwd);
	environment = {
		name: env.AWS_LAMBDA_FUNCTION_NAME,
		version: env.AWS_LAMBDA_FUNCTION_VERSION,
		memory: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
		group: env.AWS_LAMBDA_LOG_GROUP_NAME,
		stream: env.AWS_LAMBDA_LOG_STREAM_NAME,
	};
	installTrace();
	installConsole(env);
	installStreaming();
}

// In the pool: what is slow the first time is done before there is a function: both module loaders,
// the way of an event through this file, formatting.
async function warmUp() {
	const frame = { ...channel.frame, payload: '{}' };
	environment = {};
	for (const name of ['common.handler', 'module.handler'])
		await begin(await loadHandler(WARM_FOLDER, name), false, frame, new Invoke(frame));
	serialise({});
	process.getActiveResourcesInfo();
	await new Promise(setImmediate);
	format('%s %o', 1, { warm: [true] });
	new Date().toISOString();
}

async function main() {
	// Started with a function's variables: somebody waits for it, and needs less than all of that.
	if (!process.env.AWS_LAMBDA_FUNCTION_NAME) await warmUp();
	channel.send(channel.WARM, 0, '', '', '');
	const frame = channel.next();
	if (frame.kind !== channel.INIT) throw new Error(`broken channel: kind ${frame.kind} before init`);
	const init = JSON.parse(frame.payload);
	becomeFunction(init);
	process.on('uncaughtException', (error) => die(error, 'Uncaught Exception', 129));
	process.on('unhandledRejection', (reason) => {
		const error = new RuntimeError('UnhandledPromiseRejection', String(reason));
		error.reason = reason;
		die(error, 'Unhandled Promise Rejection', 128);
	});
	let handler;
	try {
		handler = await loadHandler(init.cwd, init.handler);
	} catch (error) {
		failInit(error, 'Uncaught Exception', 1);
	}
	loading = false;
	channel.send(channel.READY, 0, '', '', '');
	await serve(handler, isStreaming(handler));
}

main().catch((error) => process.nextTick(() => { throw error; }));
