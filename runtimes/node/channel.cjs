// The framed channel to core: descriptors 3 and 4, blocking reads and writes, no net.Socket (an event-loop
// round trip per message costs more than the message). Layout: ../README.md, src/runtime/frame.h.
const { readSync, write, writeSync } = require('node:fs');

const INIT = 1;
const INVOKE = 2;
const WARM = 16;
const READY = 17;
const INIT_ERROR = 18;
const RESULT = 19;
const ERROR = 20;
const PIECE = 21;
const PAYLOAD_MAX = 6 * 1024 * 1024 + 100;

const EVENTS = 3;
const ANSWERS = 4;
const HEADER = 160;
const FRAME_MAX = HEADER + 65535 + PAYLOAD_MAX;
const ROOM = 128 * 1024;
// So much is asked for at once: what is still in the socket can be taken back by core.
const STEP = 4096;
const LARGE = 1024 * 1024;
const PIECE_MAX = 256 * 1024;

let input = Buffer.allocUnsafeSlow(ROOM);
let start = 0;
let end = 0;
const output = Buffer.allocUnsafeSlow(ROOM);
const pause = new Int32Array(new SharedArrayBuffer(4));

// The frame that next() found last; its fields are overwritten by the following call.
const frame = {
	kind: 0,
	sequence: 0,
	timeout: 0,
	streams: false, // the answer may go out in pieces
	requestId: '',
	traceId: '',
	extra: '',
	payload: '',
};

function wait(error) {
	if (error.code === 'EAGAIN') Atomics.wait(pause, 0, 0, 1);
	else if (error.code !== 'EINTR') throw error;
}

function writeAll(fd, bytes, from, to) {
	while (from < to) {
		try {
			from += writeSync(fd, bytes, from, to - from);
		} catch (error) {
			wait(error);
		}
	}
}

function makeRoom(size) {
	if (size > input.length || (input.length > LARGE && end - start <= ROOM && size <= ROOM)) {
		const larger = Buffer.allocUnsafeSlow(Math.max(size, ROOM));
		input.copy(larger, 0, start, end);
		input = larger;
	} else {
		input.copyWithin(0, start, end);
	}
	end -= start;
	start = 0;
}

function fill(size) {
	if (start === end) start = end = 0;
	if (size > input.length - start || input.length > LARGE) makeRoom(size);
	while (end - start < size) {
		let got = 0;
		try {
			got = readSync(EVENTS, input, end, Math.min(Math.max(size - (end - start), STEP), input.length - end), null);
		} catch (error) {
			if (error.code === 'ECONNRESET') process.exit(0);
			wait(error);
			continue;
		}
		// Core has gone: there is nobody left to work for.
		if (got === 0) process.exit(0);
		end += got;
	}
}

// Block until a whole frame is there and take it apart. Several may wait in the buffer.
function next() {
	if (end - start < HEADER) fill(HEADER);
	const size = input.readUInt32LE(start);
	if (size < HEADER || size > FRAME_MAX) throw new Error(`broken channel: a frame of ${size} bytes`);
	if (end - start < size) fill(size);
	const extra = input.readUInt16LE(start + 6);
	const body = start + HEADER + extra;
	frame.kind = input[start + 4];
	frame.streams = input[start + 5] !== 0;
	frame.sequence = input.readUInt32LE(start + 8);
	frame.timeout = input.readUInt32LE(start + 12);
	frame.requestId = input.latin1Slice(start + 16, start + 52);
	let traceEnd = start + 52;
	if (input[traceEnd] !== 0) {
		traceEnd = input.indexOf(0, traceEnd);
		if (traceEnd < 0 || traceEnd > start + HEADER) traceEnd = start + HEADER;
	}
	frame.traceId = input.latin1Slice(start + 52, traceEnd);
	frame.extra = extra ? input.utf8Slice(start + HEADER, body) : '';
	frame.payload = input.utf8Slice(body, start + size);
	start += size;
	return frame;
}

// True if next() may find a frame without a system call.
function hasMore() {
	return end - start >= HEADER;
}

// payload: string or Buffer. errorType goes where an invoke has its trace id.
function send(kind, sequence, requestId, payload, errorType) {
	let out = output;
	let length;
	if (typeof payload !== 'string') {
		length = payload.length;
		if (HEADER + length > out.length) out = Buffer.allocUnsafe(HEADER + length);
		payload.copy(out, HEADER);
	} else if (payload.length * 3 + HEADER <= out.length) {
		length = out.utf8Write(payload, HEADER);
	} else {
		length = Buffer.byteLength(payload);
		if (HEADER + length > out.length) out = Buffer.allocUnsafe(HEADER + length);
		out.utf8Write(payload, HEADER);
	}
	out.writeUInt32LE(HEADER + length, 0);
	out.writeUInt32LE(kind, 4); // kind, flags 0, extra 0
	out.writeUInt32LE(sequence, 8);
	out.writeUInt32LE(0, 12);
	if (requestId) out.latin1Write(requestId, 16);
	else out.fill(0, 16, 52);
	out.fill(0, 52, HEADER);
	if (errorType) out.latin1Write(errorType.replace(/[^\x21-\x7e]/g, '?'), 52, 108);
	writeAll(ANSWERS, out, 0, HEADER + length);
}

// The writing end of an answer that streams. Pieces are written by libuv's threads, so that the
// program runs on while core, whose client may be slow, does not take them.
class PieceWriter {
	busy = false;
	onIdle = null;

	constructor(sequence, requestId) {
		this.sequence = sequence;
		this.requestId = requestId;
	}

	// buffers: what to send, in as few pieces as go; done() when all of it has been taken.
	send(buffers, contentType, done) {
		const body = buffers.length === 1 ? buffers[0] : Buffer.concat(buffers);
		const pieces = Math.max(1, Math.ceil(body.length / PIECE_MAX));
		const out = Buffer.allocUnsafe(body.length + pieces * HEADER);
		let at = 0;
		for (let i = 0; i < pieces; i++) {
			const piece = body.subarray(i * PIECE_MAX, (i + 1) * PIECE_MAX);
			out.fill(0, at, at + HEADER);
			out.writeUInt32LE(HEADER + piece.length, at);
			out[at + 4] = PIECE;
			out.writeUInt32LE(this.sequence, at + 8);
			out.latin1Write(this.requestId, at + 16);
			out.latin1Write(contentType.replace(/[^\x20-\x7e]/g, '?'), at + 52, 108);
			piece.copy(out, at + HEADER);
			at += HEADER + piece.length;
		}
		this.busy = true;
		this.#write(out, 0, done);
	}

	#write(out, from, done) {
		write(ANSWERS, out, from, out.length - from, null, (error, n) => {
			if (error?.code === 'EPIPE') process.exit(0);
			if (error && error.code !== 'EAGAIN' && error.code !== 'EINTR') throw error;
			if (error) setTimeout(() => this.#write(out, from, done), 1);
			else if (from + n < out.length) this.#write(out, from + n, done);
			else {
				this.busy = false;
				this.onIdle?.();
				done();
			}
		});
	}

	// When no piece is half written: the channel is free for another frame.
	async idle() {
		while (this.busy) await new Promise((done) => (this.onIdle = done));
	}
}

module.exports = {
	INIT,
	INVOKE,
	WARM,
	READY,
	INIT_ERROR,
	RESULT,
	ERROR,
	PIECE,
	PAYLOAD_MAX,
	frame,
	writeAll,
	next,
	hasMore,
	send,
	PieceWriter,
};
