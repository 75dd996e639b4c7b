'use strict';
/**
 * Runs a command with a temporary folder of its own, and fails when it leaves a mount or a process behind that has to do
 * with that folder. Everything a test makes lies in it (os.tmpdir()), so what others do on the host does not disturb.
 * Usage: node test/nothing-left.js <command> [argument…]
 *
 * What is found is named, and then taken away: a forgotten mount must not break the next run.
 */
const { spawn, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { mountsBelow, processesUsing } = require('./support/traces');

/** A keeper ends 10 s after its last mount is gone. */
const GRACE_MS = 20_000;

async function main([command, ...args]) {
  // Short: a unix socket's path has 107 bytes.
  const dir = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'mc-')));
  fs.chmodSync(dir, 0o755);
  // Jest keeps what it has compiled in the temporary folder, and this one does not last.
  const cache = path.basename(command) === 'jest' ? ['--cacheDirectory', path.resolve(__dirname, '../node_modules/.cache/jest')] : [];
  const child = spawn(command, [...args, ...cache], { stdio: 'inherit', env: { ...process.env, TMPDIR: dir } });
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
  const code = await new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (status, signal) => resolve(status ?? 128 + os.constants.signals[signal]));
  });

  const until = Date.now() + GRACE_MS;
  while (processesUsing(dir).length > 0 && Date.now() < until) await new Promise((resolve) => setTimeout(resolve, 200));
  const processes = processesUsing(dir);
  const mounts = mountsBelow(dir);
  for (const { pid, command: text } of processes) {
    console.error(`left behind: process ${pid} (${text})`);
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has just ended.
    }
  }
  for (const point of mounts) {
    console.error(`left behind: mount ${point}`);
    spawnSync('umount', ['-l', point]);
  }
  if (mountsBelow(dir).length === 0) fs.rmSync(dir, { recursive: true, force: true });
  process.exitCode = code !== 0 ? code : processes.length + mounts.length > 0 ? 1 : 0;
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
