// Errors as Lambda shows them: {errorType, errorMessage, trace}, and the platform's own kinds.

class RuntimeError extends Error {
	constructor(kind, message) {
		super(message);
		this.name = `Runtime.${kind}`;
	}
}

function text(value) {
	try {
		return String(value);
	} catch {
		return 'Unknown error';
	}
}

// Errors may come from another realm (node:vm), so instanceof alone is not enough.
function isError(value) {
	return (
		value instanceof Error ||
		(value !== null && typeof value === 'object' && 'name' in value && 'message' in value && 'stack' in value)
	);
}

function describe(error) {
	try {
		if (isError(error)) {
			const stack = typeof error.stack === 'string' ? error.stack : '';
			return {
				errorType: text(error.name),
				errorMessage: text(error.message),
				trace: stack ? stack.split('\n') : [],
			};
		}
	} catch {
		// a getter of the thrown object threw: fall through
	}
	return { errorType: typeof error, errorMessage: text(error), trace: [] };
}

// What is printed: the description with `stack` and with whatever fields the error carries.
function printable(error) {
	const { errorType, errorMessage, trace } = describe(error);
	const all = { errorType, errorMessage };
	try {
		if (isError(error)) {
			if (error.code !== undefined) all.code = error.code;
			for (const key of Object.keys(error)) if (key !== 'name') all[key] ??= error[key];
		}
		all.stack = trace;
		return JSON.stringify(all);
	} catch {
		return JSON.stringify({ errorType, errorMessage, stack: trace });
	}
}

module.exports = { RuntimeError, describe, printable };
