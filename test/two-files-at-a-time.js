'use strict';
/**
 * Jest's runner with two worker processes: for tests that mount, spawn and listen. Much of their time is waiting, for
 * timeouts that they are about and for processes to start, so two share the processors well; more would only be slower.
 * Processes of their own, so that a crash of one file is told as such and does not end the run.
 */
const { default: TestRunner } = require('jest-runner');

module.exports = class TwoFilesAtATime extends TestRunner {
  constructor(globalConfig, context) {
    super({ ...globalConfig, maxWorkers: 2 }, context);
  }

  // `serial` would have them in jest's own process, as it wants where there are few processors or few files.
  runTests(tests, watcher, options) {
    return super.runTests(tests, watcher, { ...options, serial: false });
  }
};
