'use strict';
/**
 * What has to do with a folder on this host: mounts in it and processes that use it. Found in the kernel's tables, never
 * by a call on a path, which may hang when the server of a mount is gone.
 */
const fs = require('node:fs');

/** Mount points at or below a folder, the latest first. */
function mountsBelow(dir) {
  return fs
    .readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => (line.split(' ')[4] ?? '').replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(parseInt(octal, 8))))
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

/** Names of what a process has open; those of a process that has ended are none. */
function openFiles(pid) {
  let numbers = [];
  try {
    numbers = fs.readdirSync(`/proc/${pid}/fd`);
  } catch {
    return [];
  }
  return numbers.map((number) => {
    try {
      return fs.readlinkSync(`/proc/${pid}/fd/${number}`);
    } catch {
      return '';
    }
  });
}

/** Processes but this one with the folder in their arguments, in their environment or among their open files. */
function processesUsing(dir) {
  return fs
    .readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => [read(`/proc/${pid}/cmdline`), read(`/proc/${pid}/environ`), ...openFiles(pid)].some((text) => text.includes(dir)))
    .map((pid) => ({ pid: Number(pid), command: read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim() }))
    .filter(({ command }) => command !== '');
}

module.exports = { mountsBelow, processesUsing };
