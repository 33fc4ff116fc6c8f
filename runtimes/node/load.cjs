// Find and load the handler that a function names: "file.export", "src/app.handler",
// "file.a.b"; CommonJS or an ES module, by extension and package.json.
const { existsSync, readFileSync, statSync } = require('node:fs');
const { dirname, join, resolve } = require('node:path');
const { pathToFileURL } = require('node:url');
const { RuntimeError } = require('./errors.cjs');

function parse(handler) {
	if (handler.includes('..'))
		throw new RuntimeError(
			'MalformedHandlerName',
			`'${handler}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`,
		);
	const slash = handler.lastIndexOf('/') + 1;
	const dot = handler.indexOf('.', slash);
	if (dot <= slash || dot === handler.length - 1) throw new RuntimeError('MalformedHandlerName', 'Bad handler');
	return { folder: handler.slice(0, slash), file: handler.slice(slash, dot), path: handler.slice(dot + 1).split('.') };
}

// The nearest package.json upwards says what .js means.
function isModule(file) {
	for (let folder = dirname(file); ; folder = dirname(folder)) {
		const manifest = join(folder, 'package.json');
		if (existsSync(manifest)) {
			try {
				return JSON.parse(readFileSync(manifest, 'utf8')).type === 'module';
			} catch {
				return false;
			}
		}
		if (folder === dirname(folder)) return false;
	}
}

function isFile(path) {
	return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}

async function loadFile(root, { folder, file }) {
	const base = resolve(root, folder, file);
	if (isFile(base)) return require(base);
	if (isFile(`${base}.js`)) {
		if (isModule(`${base}.js`)) return import(pathToFileURL(`${base}.js`).href);
		return require(`${base}.js`);
	}
	if (isFile(`${base}.mjs`)) return import(pathToFileURL(`${base}.mjs`).href);
	if (isFile(`${base}.cjs`)) return require(`${base}.cjs`);
	// A folder with an index, or a package in a layer: node's own rules.
	return require(require.resolve(existsSync(base) ? base : file, { paths: [resolve(root, folder), root] }));
}

async function load(root, name) {
	try {
		return await loadFile(root, name);
	} catch (error) {
		if (error instanceof SyntaxError) throw new RuntimeError('UserCodeSyntaxError', String(error));
		if (error?.code === 'MODULE_NOT_FOUND') throw new RuntimeError('ImportModuleError', String(error));
		throw error;
	}
}

function dig(object, path) {
	return path.reduce((at, key) => (at === undefined || at === null ? undefined : at[key]), object);
}

async function loadHandler(root, handler) {
	const name = parse(handler);
	const exports = await load(root, name);
	const found = dig(exports, name.path);
	if (found === undefined || found === null)
		throw new RuntimeError('HandlerNotFound', `${handler} is undefined or not exported`);
	if (typeof found !== 'function') throw new RuntimeError('HandlerNotFound', `${handler} is not a function`);
	return found;
}

module.exports = { loadHandler };
