'use strict';
/**
 * flat-line.js OUT.jsonl: from the request of a root file system to the end of the first program in it, everything cold
 * (no object of ours on disk, catalog and files never seen by the kernel), over the bytes and over the entries of the
 * image. The used files are the same everywhere: /bin/true, the loader and its libraries.
 *
 *   BYTES=1e7,1e8,1e9,1e10      sizes, at a thousand entries
 *   ENTRIES=1e3,1e4,1e5,1e6     numbers of entries, a kilobyte each
 *   ROUNDS=5                    repetitions; each has images of its own
 *   RTT_MS=0,5,20,50,100        then the same start of the smallest image at these round trips
 */
const { execFile, spawn } = require('node:child_process');
const path = require('node:path');
const { promisify } = require('node:util');
const { FORGED, Images } = require('./forged');
const { Scene, recorder, timed } = require('./scene');

const numbers = (name, fallback) => (process.env[name] ?? fallback).split(',').filter(Boolean).map(Number);
const execute = promisify(execFile);

/** Puts a proxy before a port; answers its port and what changes its delay. */
async function delayProxy(port) {
  const child = spawn(process.execPath, [path.join(__dirname, '../support/delay-proxy.js'), '0', String(port), '0'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const line = await new Promise((resolve) => child.stdout.once('data', (text) => resolve(String(text))));
  return { port: Number(/listening (\d+)/.exec(line)[1]), delay: (oneWayMs) => child.stdin.write(`delay ${oneWayMs}\n`), end: () => child.kill('SIGKILL') };
}

async function main(out) {
  const rounds = numbers('ROUNDS', '5')[0];
  const scene = new Scene('flat-line', FORGED);
  const emit = recorder(out);
  let images;
  let proxy;
  try {
    images = await Images.start(scene.dir);
    const plan = [];
    const make = (what, facts, options) => {
      for (let round = 0; round < rounds; round++) plan.push({ what, round, ...facts, ...images.add(`${what}-${plan.length}`, options) });
    };
    for (const rtt of numbers('RTT_MS', '0,5,20,50,100')) make('start_over_round_trip', { rtt_ms: rtt }, { entries: 1000, bytes: 1e7 });
    for (const bytes of numbers('BYTES', '1e7,1e8,1e9,1e10')) make('start_over_bytes', { image_bytes: bytes, entries: 1000, rtt_ms: 0 }, { entries: 1000, bytes });
    for (const entries of numbers('ENTRIES', '1e3,1e4,1e5,1e6')) make('start_over_entries', { image_bytes: entries * 1000, entries, rtt_ms: 0 }, { entries, bytes: entries * 1000 });
    // One start that does not count: neither the service's nor the server's code is compiled before it.
    plan.unshift({ what: 'warm', round: 0, rtt_ms: 0, ...images.add('warm', { entries: 1000, bytes: 1e7 }) });
    images.publish();
    proxy = await delayProxy(new URL(images.url).port);
    scene.configure(`http://127.0.0.1:${proxy.port}`, { keys: [images.publicKey] });
    await scene.startService();
    for (const [n, { what, top, lowerBoundBytes, ...facts }] of plan.entries()) {
      proxy.delay(facts.rtt_ms / 2);
      images.taken();
      let rootfs;
      const provision = await timed(async () => ({ rootfs } = await scene.provision(`c-${n}`, top)));
      const run = await timed(() => execute('chroot', [rootfs, '/bin/true'], { timeout: 60_000 }));
      const { requests, bytes } = images.taken();
      await scene.destroy(`c-${n}`);
      if (what !== 'warm') emit(what, { ...facts, seconds: (provision + run) / 1000, provision_ms: Number(provision.toFixed(2)), first_program_ms: Number(run.toFixed(2)), requests, bytes, lower_bound_bytes: lowerBoundBytes });
    }
  } finally {
    await scene.end();
    proxy?.end();
    await images?.close();
  }
}

main(process.argv[2] ?? '/dev/stdout').catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
