// The same as an ES module.
import 'node:fs';

export const handler = async (event) => event;
