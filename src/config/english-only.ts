/**
 * zod brings its messages in some fifty languages along, and loads them all: a third of the time that it takes to load and
 * a megabyte in each process, for texts that nobody here can ask for. A program that imports this file before everything
 * else goes without them; English is no part of that list.
 */
import Module, { createRequire } from 'node:module';

const { cache, resolve } = createRequire(__filename);
const file = resolve('zod/v4/locales');
const nothing = new Module(file);
nothing.loaded = true;
cache[file] ??= nothing;
