'use strict';
/**
 * `node -r test/support/register-typescript.js file.ts`: runs TypeScript in a child process of a test the way jest runs it
 * here (swc, no type check), so that tests of processes need no build.
 */
const fs = require('node:fs');
const { transformSync } = require('@swc/core');

require.extensions['.ts'] = (module, filename) => {
  const { code } = transformSync(fs.readFileSync(filename, 'utf8'), {
    filename,
    jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
    module: { type: 'commonjs' },
    sourceMaps: 'inline',
  });
  module._compile(code, filename);
};
