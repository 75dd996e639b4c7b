'use strict';
/**
 * The demo's own little host: one temporary folder that holds everything (repository, configuration, state, cache, mount
 * points), the processes started in it, and an end that leaves nothing behind, whatever happened before.
 */
const { spawn, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { mountsBelow, processesUsing } = require('../../test/support/traces');

const MESOS_CVMFS = path.resolve(__dirname, '../../bin/mesos-cvmfs');
const NEEDED_BYTES = 1.2e9;
const OVERLAYFS_MAGIC = 0x794c7630;
const READY_MS = 60_000;
const STOP_MS = 10_000;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

class Host {
  #children = new Set();
  #commands = new Set();
  #log;

  constructor() {
    const dir = fs.mkdtempSync(path.join(fs.realpathSync(os.tmpdir()), 'mc-demo-'));
    this.dir = dir;
    // Servers may run as a user of their own, who has to get through.
    fs.chmodSync(dir, 0o711);
    const { bavail, bsize, type } = fs.statfsSync(dir);
    if (bavail * bsize < NEEDED_BYTES) {
      fs.rmSync(dir, { recursive: true });
      throw new Error(`${os.tmpdir()} has ${Math.floor((bavail * bsize) / 1e6)} MB left, and ${NEEDED_BYTES / 1e6} MB are needed; set TMPDIR to a folder with more`);
    }
    this.stateDir = path.join(dir, 'state');
    // An overlay's upper directory may not lie on an overlay, which /tmp is inside most containers.
    if (type === OVERLAYFS_MAGIC) {
      fs.mkdirSync(this.stateDir);
      this.#must('mount', ['-t', 'tmpfs', '-o', 'mode=0700', 'tmpfs', this.stateDir]);
    }
    this.storage = path.join(dir, 'storage');
    this.keys = path.join(dir, 'keys');
    this.runDir = path.join(dir, 'run');
    this.config = path.join(dir, 'config.toml');
    this.listen = `unix://${dir}/run/provisioner.sock`;
    this.accessLog = path.join(dir, 'access.log');
    this.#log = fs.openSync(path.join(dir, 'processes.log'), 'a');
  }

  #must(command, args) {
    const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? stderr.trim()}`);
  }

  /** Ends the commands that run now; `end` takes the rest away. */
  interrupt() {
    for (const child of this.#commands) child.kill('SIGTERM');
  }

  /** Runs a command to its end and answers what it printed; its progress is seen. */
  async run(...args) {
    const child = this.#spawn(args, ['ignore', 'pipe', 'inherit']);
    let printed = '';
    child.stdout.setEncoding('utf8').on('data', (chunk) => (printed += chunk));
    this.#commands.add(child);
    const code = await new Promise((resolve) => child.on('close', resolve));
    this.#commands.delete(child);
    if (code !== 0) throw new Error(`mesos-cvmfs ${args.join(' ')} ended with ${code}`);
    return printed.trim();
  }

  /** Starts a command that stays, and answers it with what its first line, JSON, said. */
  async start(...args) {
    const child = this.#spawn([...args, '--json'], ['ignore', 'pipe', this.#log]);
    let printed = '';
    child.stdout.setEncoding('utf8').on('data', (chunk) => (printed += chunk));
    const until = Date.now() + READY_MS;
    while (!printed.includes('\n')) {
      if (child.exitCode !== null || child.signalCode !== null) throw new Error(`mesos-cvmfs ${args.join(' ')} ended:\n${this.lastLog()}`);
      if (Date.now() > until) throw new Error(`mesos-cvmfs ${args.join(' ')} is not ready:\n${this.lastLog()}`);
      await sleep(5);
    }
    return { child, said: JSON.parse(printed.slice(0, printed.indexOf('\n'))) };
  }

  #spawn(args, stdio) {
    // A group of its own: Ctrl-C is for the demo, which then ends its processes in order.
    const child = spawn(process.execPath, [MESOS_CVMFS, ...args], { detached: true, stdio });
    this.#children.add(child);
    child.on('close', () => this.#children.delete(child));
    return child;
  }

  lastLog() {
    return fs.readFileSync(path.join(this.dir, 'processes.log'), 'utf8').split('\n').slice(-12).join('\n');
  }

  /** Ends a process, and waits until it has. */
  async stop(child, signal = 'SIGTERM') {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    await ended;
    clearTimeout(timer);
  }

  /** Bytes and answers that the web server has sent so far. */
  served() {
    const lines = fs.existsSync(this.accessLog) ? fs.readFileSync(this.accessLog, 'utf8').split('\n').filter(Boolean) : [];
    return { requests: lines.length, bytes: lines.reduce((sum, line) => sum + Number(line.split(' ')[3]), 0) };
  }

  /** Takes every mount, process and file of this host away, and answers what could not be. */
  async end() {
    for (const child of this.#children) await this.stop(child);
    for (const point of mountsBelow(this.dir)) spawnSync('umount', ['-l', point]);
    // With its last mount a keeper has nothing to do any more; it would end by itself after some seconds.
    for (const signal of ['SIGTERM', 'SIGKILL']) {
      for (const { pid } of processesUsing(this.dir)) {
        try {
          process.kill(pid, signal);
        } catch {
          // It has just ended.
        }
      }
      for (let waited = 0; waited < STOP_MS && processesUsing(this.dir).length > 0; waited += 50) await sleep(50);
    }
    fs.closeSync(this.#log);
    const mounts = mountsBelow(this.dir);
    // Never through a mount that stayed.
    if (mounts.length === 0) fs.rmSync(this.dir, { recursive: true, force: true });
    return { mounts, processes: processesUsing(this.dir), files: fs.existsSync(this.dir) ? [this.dir] : [] };
  }
}

module.exports = { Host, sleep };
