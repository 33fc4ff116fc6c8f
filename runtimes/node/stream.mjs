// awslambda.streamifyResponse: handlers that write to a stream. What they write is gathered and
// becomes one answer. A stream with an HTTP prelude (HttpResponseStream.from) becomes the object
// {statusCode, headers, cookies, body, isBase64Encoded} that function URLs understand.
import { Writable } from 'node:stream';
import { PAYLOAD_MAX } from './channel.mjs';
import { RuntimeError } from './errors.mjs';

const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');
const HTTP = 'application/vnd.awslambda.http-integration-response';

export function isStreaming(handler) {
	return handler[STREAMING] === 'response';
}

class ResponseStream extends Writable {
	chunks = [];
	size = 0;
	contentType = 'application/octet-stream';
	prelude = null;

	setContentType(type) {
		this.contentType = type;
	}

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

export function tooLarge() {
	const error = new RuntimeError(
		'',
		`Response payload size exceeded maximum allowed payload size (${PAYLOAD_MAX} bytes).`,
	);
	error.name = 'Function.ResponseSizeTooLarge';
	return error;
}

// Run a streaming handler until its stream has ended; returns the bytes or text of the answer.
export async function runStreaming(handler, event, context) {
	const stream = new ResponseStream();
	const ended = new Promise((done, fail) => stream.once('finish', done).once('error', fail));
	ended.catch(() => {});
	await handler(event, stream, context);
	if (!stream.writableEnded && !stream.destroyed) stream.end();
	await ended;
	return stream.answer();
}

export function installStreaming() {
	globalThis.awslambda = {
		streamifyResponse(handler, options) {
			handler[STREAMING] = 'response';
			if (options?.highWaterMark) handler[Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark')] = options.highWaterMark;
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
