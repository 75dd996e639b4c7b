'use strict';
/**
 * Jest's runner with a single worker process: for tests that mount, spawn and listen, which are slower and not surer
 * beside each other. A process of their own, so that a crash of one file is told as such and does not end the run.
 */
const { default: TestRunner } = require('jest-runner');

module.exports = class OneFileAtATime extends TestRunner {
  constructor(globalConfig, context) {
    super({ ...globalConfig, maxWorkers: 1 }, context);
  }
};
