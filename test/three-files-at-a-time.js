'use strict';
/**
 * Jest's runner with three worker processes: for tests that mount, spawn and listen. Half of their time is waiting, for
 * timeouts that they are about and for processes to start, so three share two processors well.
 * Processes of their own, so that a crash of one file is told as such and does not end the run.
 */
const { default: TestRunner } = require('jest-runner');

module.exports = class ThreeFilesAtATime extends TestRunner {
  constructor(globalConfig, context) {
    super({ ...globalConfig, maxWorkers: 3 }, context);
  }

  // `serial` would have them in jest's own process, as it wants where there are few processors or few files.
  runTests(tests, watcher, options) {
    return super.runTests(tests, watcher, { ...options, serial: false });
  }
};
