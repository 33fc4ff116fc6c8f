// awslambda.streamifyResponse: handlers that write to a stream. If the caller takes the answer as it
// comes, it leaves in pieces; otherwise it is gathered, and a stream with an HTTP prelude
// (HttpResponseStream.from) becomes the object {statusCode, headers, cookies, body,
// isBase64Encoded} that function URLs understand.
const { Writable } = require('node:stream');
const { PAYLOAD_MAX } = require('./channel.cjs');
const { RuntimeError } = require('./errors.cjs');

const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');
const HIGH_WATER_MARK = Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark');
const HTTP = 'application/vnd.awslambda.http-integration-response';

function isStreaming(handler) {
	return handler[STREAMING] === 'response';
}

class ResponseStream extends Writable {
	contentType = 'application/octet-stream';
	prelude = null;

	setContentType(type) {
		this.contentType = String(type);
	}
}

class GatheredStream extends ResponseStream {
	chunks = [];
	size = 0;

	_write(chunk, encoding, done) {
		this.size += chunk.length;
		if (this.size > PAYLOAD_MAX) {
			this.chunks = [];
			done(tooLarge());
			return;
		}
		this.chunks.push(chunk);
		done();
	}

	answer() {
		const body = Buffer.concat(this.chunks);
		if (!this.prelude) return body;
		return JSON.stringify({ ...this.prelude, body: body.toString('base64'), isBase64Encoded: true });
	}
}

class LiveStream extends ResponseStream {
	constructor(writer, options) {
		super(options);
		this.writer = writer;
	}

	#send(chunks, done) {
		if (this.prelude) chunks = [Buffer.from(JSON.stringify(this.prelude)), Buffer.alloc(8), ...chunks];
		this.prelude = null;
		this.writer.send(chunks, this.contentType, done);
	}

	_write(chunk, encoding, done) {
		this.#send([chunk], done);
	}

	_writev(chunks, done) {
		this.#send(chunks.map(({ chunk }) => chunk), done);
	}

	_final(done) {
		if (this.prelude) this.#send([], done);
		else done();
	}

	answer() {
		return '';
	}
}

function tooLarge() {
	const error = new RuntimeError(
		'',
		`Response payload size exceeded maximum allowed payload size (${PAYLOAD_MAX} bytes).`,
	);
	error.name = 'Function.ResponseSizeTooLarge';
	return error;
}

// Run a streaming handler until its stream has ended; returns what is left to answer: nothing if it
// has left by the writer.
async function runStreaming(handler, event, context, writer) {
	const options = { highWaterMark: handler[HIGH_WATER_MARK] };
	const stream = writer ? new LiveStream(writer, options) : new GatheredStream(options);
	const ended = new Promise((done, fail) => stream.once('finish', done).once('error', fail));
	ended.catch(() => {});
	try {
		await handler(event, stream, context);
		if (!stream.writableEnded && !stream.destroyed) stream.end();
		await ended;
	} catch (error) {
		await writer?.idle();
		throw error;
	}
	return stream.answer();
}

function installStreaming() {
	globalThis.awslambda = {
		streamifyResponse(handler, options) {
			handler[STREAMING] = 'response';
			if (options?.highWaterMark) handler[HIGH_WATER_MARK] = options.highWaterMark;
			return handler;
		},
		HttpResponseStream: {
			from(stream, prelude) {
				stream.setContentType(HTTP);
				stream.prelude = prelude ?? {};
				return stream;
			},
		},
	};
}

module.exports = { isStreaming, tooLarge, runStreaming, installStreaming };
