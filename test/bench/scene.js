'use strict';
/**
 * What the benchmarks of the service share: a repository of our own served on loopback, `serve` with it mounted, a gRPC
 * client, and the figures of all our processes. Everything lies in one folder of its own below the temporary directory.
 */
const { execFile, execFileSync, spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { promisify } = require('node:util');
const top = path.resolve(__dirname, '../..');
const { createClient } = require(`${top}/dist/provisioner/grpc/client.js`);
const { loadContracts } = require(`${top}/dist/provisioner/grpc/protos.js`);

const cli = path.join(top, 'bin/mesos-cvmfs');
const CALL_MS = 60_000;
const END_MS = 5_000;

/** Milliseconds that `work` took. */
async function timed(work) {
  const from = performance.now();
  await work();
  return performance.now() - from;
}

function percentiles(times) {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (p) => Number(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))].toFixed(2));
  return { n: times.length, p50_ms: at(0.5), p90_ms: at(0.9), p99_ms: at(0.99), max_ms: at(1) };
}

/** Writes one JSON object a line to a file, and shows it. */
function recorder(file) {
  fs.writeFileSync(file, '');
  return (what, figures) => {
    const line = JSON.stringify({ what, load1: Number(os.loadavg()[0].toFixed(2)), ...figures });
    fs.appendFileSync(file, `${line}\n`);
    process.stdout.write(`${line}\n`);
  };
}

function childrenOf(pid) {
  return fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim().split(' ').filter(Boolean).map(Number);
}

function field(pid, file, name) {
  try {
    return Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(fs.readFileSync(`/proc/${pid}/${file}`, 'latin1'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

/** Ends a process, with force after some seconds. */
async function ended(child) {
  child.removeAllListeners('exit');
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const force = setTimeout(() => child.kill('SIGKILL'), END_MS);
  await exited;
  clearTimeout(force);
}

class Scene {
  constructor(name, fqrn = 'bench.example.org') {
    this.dir = fs.mkdtempSync(path.join(os.tmpdir(), `mesos-cvmfs-${name}.`));
    this.fqrn = fqrn;
    this.config = `${this.dir}/config.toml`;
    this.mountpoint = `${this.dir}/cvmfs/${fqrn}`;
    this.children = [];
    this.clients = new Map();
    // Who is told to stop, or takes too long, leaves neither mounts nor processes behind.
    this.stopped = () => void this.end().finally(() => process.exit(1));
    for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, this.stopped);
  }

  /** Runs a command to its end; its standard output. */
  run(...args) {
    return execFileSync(process.execPath, [cli, ...args], { stdio: ['ignore', 'pipe', 'inherit'], maxBuffer: 1 << 26 }).toString();
  }

  /** The same while this process goes on, because it is the web server that the command asks. */
  async ran(...args) {
    return (await promisify(execFile)(process.execPath, [cli, ...args], { maxBuffer: 1 << 26 })).stdout;
  }

  /** Starts a command; its process and the first line of its standard output. */
  begin(...args) {
    return new Promise((resolve, reject) => {
      const child = spawn(process.execPath, [cli, ...args], { stdio: ['ignore', 'pipe', fs.openSync(`${this.dir}/log`, 'a')] });
      this.children.push(child);
      let text = '';
      child.stdout.on('data', (chunk) => {
        text += chunk;
        if (text.includes('\n')) resolve({ child, line: text.split('\n')[0] });
      });
      child.once('exit', () => reject(new Error(`mesos-cvmfs ${args.join(' ')} ended`)));
    });
  }

  create() {
    this.run('repo', 'create', this.fqrn, '--storage', `${this.dir}/storage`, '--keys', `${this.dir}/keys`);
  }

  publish(source, to) {
    this.run('publish', source, this.fqrn, '--storage', `${this.dir}/storage`, '--keys', `${this.dir}/keys`, '--to', to);
  }

  /** Serves the repository; its URL. */
  async serveRepository() {
    const { line } = await this.begin('repo', 'serve', this.fqrn, '--storage', `${this.dir}/storage`, '--listen', '127.0.0.1:0', '--json');
    this.url = JSON.parse(line).url;
    return this.url;
  }

  /** `tables`: lines before the table of the cache. */
  configure(url, { keys = [`${this.dir}/keys/${this.fqrn}.pub`], tables = '' } = {}) {
    fs.writeFileSync(
      this.config,
      `state_dir = "${this.dir}/state"\nrun_dir = "${this.dir}/run"\nmount_root = "${this.dir}/cvmfs"\nhttp = "127.0.0.1:0"\n${tables}\n[cache]\ndir = "${this.dir}/cache"\n[repositories."${this.fqrn}"]\nservers = ["${url}"]\npublic_keys = ${JSON.stringify(keys)}\n`,
    );
  }

  async startService() {
    const { child } = await this.begin('serve', '--config', this.config, '--json');
    this.service = child;
    for (const client of this.clients.values()) client.close();
    this.clients.clear();
  }

  async stopService(signal = 'SIGTERM') {
    const gone = new Promise((resolve) => this.service.once('close', resolve));
    this.service.removeAllListeners('exit').kill(signal);
    await gone;
  }

  client(name = 'Provisioner') {
    if (!this.clients.has(name)) this.clients.set(name, createClient(loadContracts(), `mesos.cvmfs.v1.${name}`, `unix://${this.dir}/run/provisioner.sock`));
    return this.clients.get(name);
  }

  provision(id, imagePath, backend = 'overlay') {
    const image = { type: 'CVMFS', cvmfs: { repository: this.fqrn, path: imagePath } };
    return this.client().Provision({ container_id: { value: id }, image, idempotency_key: '', backend }, { timeoutMs: CALL_MS });
  }

  destroy(id) {
    return this.client().Destroy({ container_id: { value: id } }, { timeoutMs: CALL_MS });
  }

  recover(ids) {
    return this.client().Recover({ known_container_ids: ids.map((value) => ({ value })) }, { timeoutMs: CALL_MS });
  }

  mounts() {
    return JSON.parse(this.run('status', '--config', this.config, '--json')).mounts;
  }

  /** Process ids by what they are. */
  processes() {
    const service = this.service?.pid;
    const pids = { serve: service === undefined ? [] : [service], helper: service === undefined ? [] : childrenOf(service), keeper: [], server: [], spare: [] };
    for (const mount of this.mounts()) {
      pids.keeper = [mount.keeper_pid];
      pids.server.push(mount.server_pid);
      if (mount.spare_pid) pids.spare = [mount.spare_pid];
    }
    return pids;
  }

  /** Kilobytes of each kind of process: proportional set size, and what is its own (anonymous). */
  memory() {
    const out = {};
    for (const [kind, pids] of Object.entries(this.processes())) {
      out[`${kind}_pss_kb`] = pids.reduce((sum, pid) => sum + field(pid, 'smaps_rollup', 'Pss'), 0);
      out[`${kind}_anon_kb`] = pids.reduce((sum, pid) => sum + field(pid, 'smaps_rollup', 'Anonymous'), 0);
    }
    const total = (key) => Object.entries(out).reduce((sum, [name, kb]) => sum + (name.endsWith(key) ? kb : 0), 0);
    return { ...out, total_pss_kb: total('_pss_kb'), total_anon_kb: total('_anon_kb') };
  }

  async end() {
    for (const signal of ['SIGINT', 'SIGTERM']) process.off(signal, this.stopped);
    for (const client of this.clients.values()) client.close();
    // A service that is only about to end may mount again what was just unmounted.
    await Promise.all(this.children.map((child) => ended(child)));
    const below = fs.readFileSync('/proc/self/mountinfo', 'latin1').split('\n').map((line) => line.split(' ')[4]).filter((at) => at?.startsWith(`${this.dir}/state`));
    for (const at of below) execFileSync('umount', ['-l', at]);
    if (fs.readFileSync('/proc/self/mountinfo', 'latin1').includes(` ${this.mountpoint} `)) {
      try {
        this.run('umount', this.mountpoint, '--lazy', '--config', this.config);
      } catch {
        execFileSync('umount', ['-l', this.mountpoint]);
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
    fs.rmSync(this.dir, { recursive: true, force: true, maxRetries: 3 });
  }
}

module.exports = { Scene, percentiles, recorder, timed, top };
