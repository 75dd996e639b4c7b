'use strict';
/**
 * The lock file must install from whatever registry a user has: no download address in it, and none in .npmrc.
 * Usage: node test/lint/lock-file.js
 */
const fs = require('node:fs');
const path = require('node:path');

const top = path.resolve(__dirname, '../..');
const problems = [];

const { packages } = JSON.parse(fs.readFileSync(path.join(top, 'package-lock.json'), 'utf8'));
for (const [at, entry] of Object.entries(packages)) {
  if (at === '') continue;
  if (entry.resolved !== undefined) problems.push(`package-lock.json: ${at} names where it was downloaded (${entry.resolved})`);
  if (entry.integrity === undefined) problems.push(`package-lock.json: ${at} has no integrity`);
}
for (const line of fs.readFileSync(path.join(top, '.npmrc'), 'utf8').split('\n'))
  if (/registry\s*=|_auth|\/\//.test(line)) problems.push(`.npmrc names a registry: ${line}`);

for (const problem of problems) console.error(problem);
if (problems.length > 0) process.exitCode = 1;
