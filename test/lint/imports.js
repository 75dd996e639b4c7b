'use strict';
/**
 * Checks that imports run downward only, and that the check itself works: the example in `fixture/` must fail it.
 * Usage: node test/lint/imports.js
 */
const fs = require('node:fs');
const path = require('node:path');
const { rules } = require('./rooms');

async function violations(baseDir, folders, root) {
  const { cruise } = await import('dependency-cruiser');
  const { output } = await cruise(
    folders,
    { baseDir, validate: true, ruleSet: { forbidden: rules(root) }, tsPreCompilationDeps: true, doNotFollow: { path: 'node_modules' }, exclude: { path: 'node_modules' } },
    { extensions: ['.ts', '.js'] },
  );
  return output.summary.violations;
}

async function main() {
  const top = path.resolve(__dirname, '../..');
  const folders = ['src', 'provisioner', 'isolator'].filter((folder) => fs.existsSync(path.join(top, folder)));
  const found = await violations(top, folders, '');
  for (const v of found) console.error(`${v.rule.name}: ${v.from} -> ${v.to}`);
  const example = await violations(path.join(__dirname, 'fixture'), ['src'], '');
  if (example.length === 0) {
    console.error('the import rule is blind: test/lint/fixture must fail it and did not');
    process.exitCode = 1;
  }
  if (found.length > 0) process.exitCode = 1;
}

main().catch((err) => {
  console.error(err);
  process.exitCode = 1;
});
