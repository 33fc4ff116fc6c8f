// Makes zip archives of a few small files, uncompressed: { name: text or Buffer }.
import { crc32 } from 'node:zlib';

function header(signature, name, data, extra, modes) {
	const b = Buffer.alloc(signature === 0x04034b50 ? 30 : 46);
	const shift = signature === 0x04034b50 ? 0 : 2;
	b.writeUInt32LE(signature, 0);
	if (shift) b.writeUInt16LE(0x0314, 4); // made on Unix
	b.writeUInt16LE(20, 4 + shift);
	b.writeUInt16LE(0x5821, 12 + shift);
	b.writeUInt32LE(crc32(data) >>> 0, 14 + shift);
	b.writeUInt32LE(data.length, 18 + shift);
	b.writeUInt32LE(data.length, 22 + shift);
	b.writeUInt16LE(name.length, 26 + shift);
	if (shift) {
		b.writeUInt32LE((modes << 16) >>> 0, 38);
		b.writeUInt32LE(extra, 42);
	}
	return b;
}

export function zip(files, mode = 0o100755) {
	const parts = [], directory = [];
	let offset = 0;
	for (const [file, content] of Object.entries(files)) {
		const name = Buffer.from(file), data = Buffer.from(content);
		const local = header(0x04034b50, name, data);
		parts.push(local, name, data);
		directory.push(header(0x02014b50, name, data, offset, mode), name);
		offset += local.length + name.length + data.length;
	}
	const central = Buffer.concat(directory), end = Buffer.alloc(22);
	end.writeUInt32LE(0x06054b50, 0);
	end.writeUInt16LE(Object.keys(files).length, 8);
	end.writeUInt16LE(Object.keys(files).length, 10);
	end.writeUInt32LE(central.length, 12);
	end.writeUInt32LE(offset, 16);
	return Buffer.concat([...parts, central, end]);
}

export const role = 'arn:aws:iam::123456789012:role/worker';

// What most tests create; more members win.
export const python = (text, more = {}) => ({
	Runtime: 'python3.11', Handler: 'app.handler', Role: role,
	Code: { ZipFile: zip({ 'app.py': text }) }, ...more,
});
export const node = (text, more = {}) => ({
	Runtime: 'nodejs20.x', Handler: 'index.handler', Role: role,
	Code: { ZipFile: zip({ 'index.mjs': text }) }, ...more,
});
export const echo = 'def handler(event, context):\n    return event\n';
