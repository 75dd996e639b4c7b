'use strict';

const transform = { '^.+\\.ts$': ['@swc/jest', { jsc: { target: 'es2022', parser: { syntax: 'typescript' } }, module: { type: 'commonjs' } }] };
const base = { testEnvironment: '<rootDir>/test/limited-environment.js', transform };

/** Unit tests run side by side; what mounts, spawns or needs a port of its own runs after them, three files at a time. */
module.exports = {
  // Where all processors are busy a test of a tenth of a second takes several; this is against those that hang.
  testTimeout: 60_000,
  maxWorkers: '100%',
  projects: [
    { ...base, displayName: 'unit', testMatch: ['<rootDir>/test/unit/**/*.test.ts'] },
    { ...base, displayName: 'integration', runner: '<rootDir>/test/three-files-at-a-time.js', testMatch: ['<rootDir>/test/integration/**/*.test.ts', '<rootDir>/test/contract/**/*.test.ts', '<rootDir>/test/fault/**/*.test.ts'] },
  ],
};
