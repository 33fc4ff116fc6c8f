// The trace id of the event at hand, as process.env shows it. The C library keeps every value that a
// variable ever had: set once an event, this one would fill the memory of the box in time. So the
// real variable is set once, and what JavaScript sees, and hands to child processes, is the id kept here.
const NAME = '_X_AMZN_TRACE_ID';

let current; // undefined: there is none
let shown = null;

const traps = {
	get: (env, key) => (key === NAME ? current : env[key]),
	has: (env, key) => (key === NAME ? current !== undefined : key in env),
	ownKeys: (env) => Reflect.ownKeys(env).filter((key) => key !== NAME || current !== undefined),
	set(env, key, value) {
		if (key === NAME) current = String(value);
		else env[key] = value;
		return true;
	},
	deleteProperty(env, key) {
		if (key === NAME) current = undefined;
		else delete env[key];
		return true;
	},
	getOwnPropertyDescriptor(env, key) {
		if (key !== NAME) return Reflect.getOwnPropertyDescriptor(env, key);
		return current === undefined ? undefined : { value: current, writable: true, enumerable: true, configurable: true };
	},
	defineProperty(env, key, descriptor) {
		if (key === NAME) current = String(descriptor.value);
		else Object.defineProperty(env, key, descriptor);
		return true;
	},
};

function installTrace() {
	process.env[NAME] = '';
	shown = process.env = new Proxy(process.env, traps);
}

function setTrace(id) {
	if (process.env === shown) current = id || undefined;
	else if (id) process.env[NAME] = id;
	else delete process.env[NAME];
}

module.exports = { installTrace, setTrace };
