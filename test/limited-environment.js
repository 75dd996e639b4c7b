'use strict';
/**
 * Node's test environment, in which a file that takes too long has its process killed, told on standard error. Jest's own
 * limits stand on the event loop, which a file call into a dead mount or an endless loop does not give back; this one runs
 * on a thread of its own.
 */
const { TestEnvironment } = require('jest-environment-node');
const { Worker } = require('node:worker_threads');

const LIMIT_MINUTES = 20;

function limit() {
  const { workerData } = require('node:worker_threads');
  setTimeout(() => {
    require('node:fs').writeSync(2, workerData.text);
    process.kill(process.pid, 'SIGKILL');
  }, workerData.ms);
}

module.exports = class LimitedEnvironment extends TestEnvironment {
  constructor(config, context) {
    super(config, context);
    this.file = context.testPath;
  }

  async setup() {
    await super.setup();
    const workerData = { ms: LIMIT_MINUTES * 60_000, text: `${this.file}: not done after ${LIMIT_MINUTES} minutes, its process is killed\n` };
    this.watchdog = new Worker(`(${limit.toString()})()`, { eval: true, workerData, env: {}, execArgv: [] });
    this.watchdog.unref();
  }

  async teardown() {
    await this.watchdog.terminate();
    await super.teardown();
  }
};
