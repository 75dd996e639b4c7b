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

/** A keeper ends 10 s after its last mount is gone. */
const GRACE_MS = 20_000;

/** Mount points at or below a folder, the latest first; read from the table, never from the path, which may hang. */
function mountsBelow(dir) {
  return fs
    .readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((point) => point === dir || point.startsWith(`${dir}/`))
    .reverse();
}

function read(file) {
  try {
    return fs.readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}

/** Names of what a process has open; those of other users and of processes that ended are unknown. */
function openFiles(pid) {
  try {
    return fs.readdirSync(`/proc/${pid}/fd`).map((fd) => {
      try {
        return fs.readlinkSync(`/proc/${pid}/fd/${fd}`);
      } catch {
        return '';
      }
    });
  } catch {
    return [];
  }
}

/** Processes with the folder in their arguments, in their environment or among their open files. */
function processesUsing(dir) {
  return fs
    .readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => [read(`/proc/${pid}/cmdline`), read(`/proc/${pid}/environ`), ...openFiles(pid)].some((text) => text.includes(dir)))
    .map((pid) => ({ pid: Number(pid), command: read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim() }))
    .filter(({ command }) => command !== '');
}

async function main([command, ...args]) {
  // Short: a unix socket's path has 107 bytes.
  const dir = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'mc-')));
  fs.chmodSync(dir, 0o755);
  const jest = path.basename(command) === 'jest' ? ['--cacheDirectory', path.resolve(__dirname, '../node_modules/.cache/jest')] : [];
  const child = spawn(command, [...args, ...jest], { stdio: 'inherit', env: { ...process.env, TMPDIR: dir } });
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
