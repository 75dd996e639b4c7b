'use strict';
/**
 * The lock file must install from whatever registry a user has, and with `npm ci`: no download address in it, none in
 * .npmrc, and no optional package named that has no entry. npm leaves such names behind when the registry at hand does not
 * have the package of another platform, and then refuses its own lock file.
 * Usage: node test/lint/lock-file.js [--fix]
 */
const fs = require('node:fs');
const path = require('node:path');

const top = path.resolve(__dirname, '../..');
const file = path.join(top, 'package-lock.json');
const problems = [];

const lock = JSON.parse(fs.readFileSync(file, 'utf8'));
const locked = new Set(Object.keys(lock.packages).map((at) => at.slice(at.lastIndexOf('node_modules/') + 'node_modules/'.length)));
for (const [at, entry] of Object.entries(lock.packages)) {
  if (at === '') continue;
  if (entry.resolved !== undefined) problems.push(`package-lock.json: ${at} names where it was downloaded (${entry.resolved})`);
  if (entry.integrity === undefined) problems.push(`package-lock.json: ${at} has no integrity`);
  for (const name of Object.keys(entry.optionalDependencies ?? {})) {
    if (locked.has(name)) continue;
    problems.push(`package-lock.json: ${at} names ${name}, which has no entry; run: node test/lint/lock-file.js --fix`);
    delete entry.optionalDependencies[name];
  }
}
for (const line of fs.readFileSync(path.join(top, '.npmrc'), 'utf8').split('\n'))
  if (/registry\s*=|_auth|\/\//.test(line)) problems.push(`.npmrc names a registry: ${line}`);

if (process.argv[2] === '--fix') fs.writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
else {
  for (const problem of problems) console.error(problem);
  if (problems.length > 0) process.exitCode = 1;
}
