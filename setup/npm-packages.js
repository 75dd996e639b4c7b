'use strict';
/**
 * Installs the npm packages of package-lock.json, unless exactly those are there and work: then nothing is fetched, so
 * that a build needs no network a second time, and a checkout that only changed its time stamps is not installed again.
 * Usage: node setup/npm-packages.js
 *
 * Native modules are compiled from their sources against the headers beside this Node, never fetched as binaries.
 */
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const top = path.resolve(__dirname, '..');

function readJson(file) {
  try {
    return JSON.parse(fs.readFileSync(path.join(top, file), 'utf8'));
  } catch {
    return undefined;
  }
}

/** Why what lies in node_modules is not what package-lock.json asks for; undefined when it is. */
function whyInstall() {
  const wanted = readJson('package-lock.json').packages;
  // npm's own record of what it installed.
  const have = readJson('node_modules/.package-lock.json')?.packages;
  if (have === undefined) return 'no packages are installed yet';
  for (const [at, { version, optional, peer }] of Object.entries(wanted)) {
    if (at === '' || (have[at] === undefined && (optional || peer))) continue;
    if (have[at]?.version !== version) return `${at} should be ${version} and is ${have[at]?.version ?? 'missing'}`;
  }
  return whyBroken();
}

/** Loads the native modules in a process of its own: one for another Node version fails, or ends it. */
function whyBroken() {
  const probe = "new (require('better-sqlite3'))(':memory:').close(); require('koffi').load(null).func('int getpid()')();";
  const { status, stderr } = spawnSync(process.execPath, ['-e', probe], { cwd: top, encoding: 'utf8' });
  if (status === 0) return undefined;
  return `native modules do not load: ${stderr.split('\n').find((line) => /Error/.test(line)) ?? `status ${status}`}`;
}

function run(command, args, env = process.env) {
  const { status, error } = spawnSync(command, args, { cwd: top, env, stdio: ['ignore', 'inherit', 'inherit'] });
  if (error) throw error;
  if (status !== 0) {
    console.error(`${command} ${args.join(' ')} failed with status ${status}`);
    process.exit(1);
  }
}

const reason = whyInstall();
if (reason !== undefined) {
  console.log(`Installing npm packages: ${reason}`);
  run('sh', ['setup/debian.sh', 'compile better-sqlite3', 'g++:g++', 'make:make', 'python3:python3']);
  const prefix = path.resolve(process.execPath, '../..');
  run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    ...process.env,
    npm_config_nodedir: prefix,
    npm_config_build_from_source: 'true',
    // Which dependencies are installed is not for the caller's environment to say: tests and compiler are among them.
    NODE_ENV: 'development',
  });
  const broken = whyBroken();
  if (broken !== undefined) {
    console.error(broken);
    process.exit(1);
  }
}
