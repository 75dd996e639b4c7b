'use strict';
/**
 * Ends the process of a test file that takes too long, told on its standard error. Jest's own limits stand on the event
 * loop, which a file call into a dead mount or an endless loop does not give back; this one runs on a thread of its own.
 */
const { Worker } = require('node:worker_threads');

const LIMIT_MINUTES = 12;

function limit() {
  const { workerData } = require('node:worker_threads');
  setTimeout(() => {
    require('node:fs').writeSync(2, workerData.text);
    process.kill(process.pid, 'SIGKILL');
  }, workerData.ms);
}

const text = `${expect.getState().testPath}: not done after ${LIMIT_MINUTES} minutes, its process is killed\n`;
const worker = new Worker(`(${limit.toString()})()`, { eval: true, workerData: { ms: LIMIT_MINUTES * 60_000, text }, env: {}, execArgv: [] });
worker.unref();
afterAll(() => worker.terminate());
