// Loaded before the box knows its function, so that the loader itself is warm: a CommonJS module.
require('node:fs');
exports.handler = async (event) => event;
