'use strict';
/**
 * The npm packages that the program needs when it runs: what package.json depends on and what that depends on, as Node
 * resolves it, without what is only needed to compile, to test or to read.
 */
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

/**
 * What nothing loads in Node.js: a downloader of binaries, types, the Bare runtime's file system. And the second driver: its
 * binaries are for hosts with libfuse 2, which the package would then have to depend on.
 */
const NOT_LOADED = /^(prebuild-install|fuse-native|@types\/.*|undici-types|bare-.*)$/;
/** Folders that are there for developers of the package. */
const DROPPED_FOLDERS = new Set(['test', 'tests', '__tests__', 'doc', 'docs', 'example', 'examples', 'bench', 'benchmark', 'benchmarks', 'coverage', '.github', '.nyc_output']);
const DROPPED_FILES = /\.(map|ts|mts|cts|md|markdown|flow|gyp|gypi|html|yml|c|cc|cpp|h|hh|hpp|inc|def|asm|S|tgz)$|^(\.|tsconfig|Makefile|bower|component\.json|karma|rollup|CHANGELOG|CHANGES|HISTORY|AUTHORS|README)/i;
/** Per package: what else is dropped (sources that were compiled, tables for tests). Paths are relative to the package. */
const ALSO_DROPPED = {
  'better-sqlite3': /^(deps|src|build\/(?!Release(\/better_sqlite3\.node)?$).*)$/,
  koffi: /^(vendor|build|lib|cnoke\.cjs|src\/koffi\/src\/trampolines\.cjs)$/,
  '@grpc/proto-loader': /^build\/bin$/,
  // For a libc that no Debian has.
  '@koromix/koffi-linux-x64': /^musl/,
  '@koromix/koffi-linux-arm64': /^musl/,
  zod: /^src$/,
  bintrees: /^(sites|dist)$/,
};

function readJson(file) {
  return JSON.parse(fs.readFileSync(file, 'utf8'));
}

/** The folder of a package that `from` depends on, as Node looks for it; undefined when it is not installed. */
function locate(tree, from, name) {
  for (let at = from; ; at = path.dirname(at)) {
    const dir = path.join(at, 'node_modules', name);
    if (fs.existsSync(path.join(dir, 'package.json'))) return dir;
    if (at === tree || at === path.dirname(at)) return undefined;
  }
}

/** `[{name, version, license, dir}]`, `dir` relative to node_modules; fails when something that is needed is not installed. */
function runtimeModules(tree) {
  const found = new Map();
  const add = (from, pack) => {
    const optional = pack.optionalDependencies ?? {};
    for (const name of Object.keys({ ...pack.dependencies, ...optional })) {
      if (NOT_LOADED.test(name)) continue;
      const dir = locate(tree, from, name);
      if (dir === undefined) {
        if (name in optional) continue;
        throw new Error(`${name}, which ${pack.name} needs, is not installed: run make`);
      }
      if (found.has(dir)) continue;
      const own = readJson(path.join(dir, 'package.json'));
      found.set(dir, { name, version: own.version, license: licenceOf(own), dir: path.relative(path.join(tree, 'node_modules'), dir) });
      add(dir, own);
    }
  };
  add(tree, readJson(path.join(tree, 'package.json')));
  return [...found.values()].sort((a, b) => (a.dir < b.dir ? -1 : 1));
}

function licenceOf({ license, licenses }) {
  if (typeof license === 'string') return license.replace(/^\((.*)\)$/, '$1');
  return license?.type ?? licenses?.map(({ type }) => type).join(' OR ') ?? 'unknown';
}

function copyModules(tree, to) {
  const modules = runtimeModules(tree);
  for (const { name, dir } of modules) {
    const from = path.join(tree, 'node_modules', dir);
    fs.cpSync(from, path.join(to, dir), {
      recursive: true,
      filter: (file) => {
        const relative = path.relative(from, file);
        if (relative === '') return true;
        const base = path.basename(file);
        if (base === 'node_modules') return false;
        if (ALSO_DROPPED[name]?.test(relative)) return false;
        const directory = fs.lstatSync(file).isDirectory();
        return directory ? !DROPPED_FOLDERS.has(base) : !DROPPED_FILES.test(base) || /^licen[cs]e/i.test(base);
      },
    });
  }
  for (const file of nativeModules(to)) execFileSync('strip', ['--strip-unneeded', file]);
  return modules;
}

/** Files `*.node` below a folder. */
function nativeModules(dir) {
  return fs
    .readdirSync(dir, { withFileTypes: true })
    .flatMap((entry) => (entry.isDirectory() ? nativeModules(path.join(dir, entry.name)) : entry.name.endsWith('.node') ? [path.join(dir, entry.name)] : []));
}

module.exports = { copyModules, nativeModules, runtimeModules };
