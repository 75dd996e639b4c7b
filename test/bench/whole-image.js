'use strict';
/**
 * whole-image.js OUT.jsonl: a whole image through one mount whose cache is empty, with one reader (`tar`) and with four
 * (`cat` of a hundred files at a time), from loopback and from a server that is far away, with what is fetched ahead and
 * without; then the same image again from the disk cache with an empty page cache, beside the same tree on the disk.
 *
 *   IMAGE=FILE       tar of the image to publish; or STORAGE, KEY, FQRN and AT: a repository that exists, its key, its name, and
 *                    the directory in it, and IMAGE=DIR, the same tree on a disk
 *   RTT_MS=0,20      round trips
 *   READERS=1,4
 *   SPECULATION=on,off
 *   ROUNDS=1         repetitions of everything; loopback and far away take turns
 *   LIMIT_S=40       a reader is stopped after so long: `complete` is false then, and the bytes say how far it came
 *   WARM=3           rounds of the disk cache; 0 for none. Drops the kernel's caches
 *   CACHE=DIR        folder for the caches. On ext4 a file is made many times slower while hundreds of its neighbours were deleted
 *                    in the last minutes; a tmpfs (/dev/shm) leaves only what is ours. WARM needs a disk
 *
 * One JSON object a line: seconds, objects fetched ahead and those a reader waited for, CPU milliseconds of the server by thread.
 * nginx serves where there is one, else `mesos-cvmfs repo serve` does.
 */
const { execFileSync, spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const net = require('node:net');
const path = require('node:path');
const { startDelayProxy } = require('../support/delay-proxy');
const { recorder } = require('./scene');

const top = path.resolve(__dirname, '../..');
const cli = path.join(top, 'bin/mesos-cvmfs');
const list = (name, fallback) => (process.env[name] ?? fallback).split(',').filter(Boolean);
const number = (name, fallback) => Number(process.env[name] ?? fallback);
const LIMIT_S = number('LIMIT_S', '40');
const START_MS = 10_000;
const TICK_MS = 10;

const run = (...args) => execFileSync(process.execPath, [cli, ...args], { stdio: ['ignore', 'pipe', 'inherit'], maxBuffer: 1 << 26, timeout: 600_000 }).toString();

function hasNginx() {
  try {
    execFileSync('nginx', ['-v'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

async function answers(port) {
  for (const until = performance.now() + START_MS; performance.now() < until; ) {
    const open = await new Promise((resolve) => {
      const socket = net.connect(port, '127.0.0.1', () => resolve(true)).on('error', () => resolve(false));
      socket.once('connect', () => socket.destroy());
    });
    if (open) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('the web server does not start');
}

function freePort() {
  const server = net.createServer();
  return new Promise((resolve) =>
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    }),
  );
}

/** Starts a web server for the storage; its port and its process. */
async function serve(dir, { storage, fqrn }) {
  const port = await freePort();
  let child;
  if (hasNginx()) {
    const file = `${dir}/nginx.conf`;
    fs.writeFileSync(file, `daemon off; worker_processes 1; pid ${dir}/nginx.pid; error_log ${dir}/nginx.log; events { worker_connections 1024; }\nhttp { access_log off; sendfile on; keepalive_requests 1000000; server { listen 127.0.0.1:${port}; location /cvmfs/${fqrn}/ { alias ${storage}/; } } }\n`);
    child = spawn('nginx', ['-c', file], { stdio: 'ignore' });
  } else child = spawn(process.execPath, [cli, 'repo', 'serve', fqrn, '--storage', storage, '--listen', `127.0.0.1:${port}`], { stdio: 'ignore' });
  await answers(port);
  return { port, child };
}

function published(dir) {
  const { STORAGE: storage, KEY: key, FQRN: fqrn, AT: at } = process.env;
  if (storage !== undefined) return { storage, key, fqrn, at: at ?? '', source: process.env.IMAGE };
  const { IMAGE: image } = process.env;
  if (image === undefined) throw new Error('IMAGE=FILE is needed, the tar of an image');
  const made = { storage: `${dir}/storage`, key: `${dir}/keys/whole.example.org.pub`, fqrn: 'whole.example.org', at: 'image', source: `${dir}/tree` };
  fs.mkdirSync(made.source);
  execFileSync('tar', ['-C', made.source, '-xpf', image]);
  run('repo', 'create', made.fqrn, '--storage', made.storage, '--keys', `${dir}/keys`);
  run('publish', `tar:${image}`, made.fqrn, '--storage', made.storage, '--keys', `${dir}/keys`, '--to', `/${made.at}`);
  return made;
}

/** CPU milliseconds so far by thread: `main`, the others by the distance of their ids, which a process of Node gives in order. */
function cpu(pid) {
  const times = {};
  for (const tid of fs.readdirSync(`/proc/${pid}/task`)) {
    const stat = fs.readFileSync(`/proc/${pid}/task/${tid}/stat`, 'latin1');
    const name = tid === String(pid) ? 'main' : `t${tid - pid}`;
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    times[name] = (times[name] ?? 0) + (Number(fields[11]) + Number(fields[12])) * TICK_MS;
  }
  return times;
}

/** Runs a shell line in its own group; its seconds, the bytes it counted, and whether it came to its end. */
function reads(line, cwd) {
  const from = performance.now();
  return new Promise((resolve, reject) => {
    const child = spawn('bash', ['-c', `set -o pipefail; ${line} | wc -c`], { cwd, detached: true, stdio: ['ignore', 'pipe', 'ignore'] });
    let text = '';
    let complete = true;
    // The readers, not wc: what has come until then is still told.
    const timer = setTimeout(() => {
      complete = false;
      for (const pid of fs.readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'latin1').trim().split(' ')) {
        try {
          if (fs.readFileSync(`/proc/${pid}/comm`, 'latin1').trim() !== 'wc') process.kill(Number(pid), 'SIGTERM');
        } catch {
          // It has just ended.
        }
      }
    }, LIMIT_S * 1000);
    child.stdout.on('data', (piece) => (text += piece));
    child.once('error', reject);
    child.once('close', () => {
      clearTimeout(timer);
      resolve({ seconds: Number(((performance.now() - from) / 1000).toFixed(2)), bytes: Number(text), complete });
    });
  });
}

const LINES = { 1: 'tar -cf - .', 4: 'find . -type f -print0 | xargs -0 -n 100 -P 4 cat' };
const dropCaches = () => {
  execFileSync('sync');
  fs.writeFileSync('/proc/sys/vm/drop_caches', '3');
};

class Mount {
  constructor(dir, repository, port, { speculation, cacheDir }) {
    this.dir = dir;
    this.runDir = `${dir}/run`;
    this.mountpoint = `${dir}/mnt`;
    fs.mkdirSync(this.mountpoint, { recursive: true });
    fs.writeFileSync(`${dir}/config.toml`, `run_dir = "${this.runDir}"\n[repositories."${repository.fqrn}"]\nspeculation = "${speculation}"\nservers = ["http://127.0.0.1:${port}/cvmfs/@fqrn@"]\npublic_keys = ["${repository.key}"]\n`, { mode: 0o600 });
    this.repository = repository;
    this.cacheDir = cacheDir;
  }

  async begin() {
    const child = spawn(process.execPath, [cli, 'mount', this.repository.fqrn, this.mountpoint, '--config', `${this.dir}/config.toml`, '--cache-dir', this.cacheDir, '--json'], { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    child.stdout.on('data', (piece) => (text += piece));
    const code = await new Promise((resolve) => child.once('close', resolve));
    if (code !== 0) throw new Error(`mount exited with ${code}`);
    this.info = JSON.parse(text);
    const { MountedClient } = require(`${top}/dist/src/fuse/control/mounted-client.js`);
    this.client = new MountedClient(this.info);
    const { mounts } = JSON.parse(run('status', '--json', '--run-dir', this.runDir));
    this.pid = mounts[0].server_pid;
    // A standby takes its place, whose start is not to be measured with the readers.
    await new Promise((resolve) => setTimeout(resolve, number('SETTLE_MS', '3000')));
  }

  /** Objects fetched from the network, and by whom they were wanted first. */
  async counters() {
    const status = await this.client.raw('status');
    return { ahead: Object.fromEntries(Object.entries(status.speculation?.kinds ?? {}).map(([kind, tally]) => [kind, tally.fetchedObjects])), transfer: status.transfer?.counters ?? status.counters, streams: status.speculation?.streams };
  }

  async read(line) {
    const before = cpu(this.pid);
    const read = await reads(line, path.join(this.mountpoint, this.repository.at));
    const after = cpu(this.pid);
    return { ...read, cpu_ms: Object.fromEntries(Object.entries(after).map(([name, ms]) => [name, ms - (before[name] ?? 0)]).filter(([, ms]) => ms > 0)) };
  }

  end() {
    try {
      run('umount', this.mountpoint, '--lazy', '--run-dir', this.runDir);
    } catch {
      // Not mounted, or nobody is there to be asked.
      if (fs.readFileSync('/proc/self/mountinfo', 'latin1').includes(` ${this.mountpoint} `)) execFileSync('umount', ['-l', this.mountpoint]);
    }
  }
}

async function main(out) {
  const dir = fs.mkdtempSync(path.join(process.env.CACHE ?? os.tmpdir(), 'mesos-cvmfs-whole.'));
  // The web server's worker is another user.
  fs.chmodSync(dir, 0o711);
  const emit = recorder(out);
  let web;
  let proxy;
  let mount;
  let mounts = 0;
  const mounted = async (port, options) => {
    const at = `${dir}/${mounts++}`;
    fs.mkdirSync(at);
    mount = new Mount(at, repository, port, { cacheDir: `${at}/cache`, ...options });
    await mount.begin();
    return mount;
  };
  const ended = () => {
    mount?.end();
    mount = undefined;
  };
  let repository;
  const clean = async () => {
    ended();
    await proxy?.close();
    web?.child.kill('SIGTERM');
    await new Promise((resolve) => setTimeout(resolve, 1000));
    fs.rmSync(dir, { recursive: true, force: true, maxRetries: 3 });
  };
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void clean().finally(() => process.exit(1)));
  try {
    repository = published(dir);
    web = await serve(dir, repository);
    proxy = await startDelayProxy({ target: web.port });
    for (let round = 0; round < number('ROUNDS', '1'); round++) {
      for (const speculation of list('SPECULATION', 'on,off')) {
        for (const readers of list('READERS', '1,4')) {
          for (const rtt of list('RTT_MS', '0,20').map(Number)) {
            proxy.set(`delay ${rtt / 2}`);
            // Loopback means no proxy either.
            await mounted(rtt === 0 ? web.port : proxy.port, { speculation });
            const read = await mount.read(LINES[readers]);
            emit('whole_image', { round, rtt_ms: rtt, readers: Number(readers), speculation, ...read, ...(await mount.counters()) });
            ended();
          }
        }
      }
    }
    const warm = number('WARM', '3');
    if (warm > 0 && repository.source !== undefined) {
      await mounted(web.port, { speculation: 'on' });
      await reads(LINES[1], path.join(mount.mountpoint, repository.at));
      for (let round = 0; round < warm; round++) {
        dropCaches();
        const local = await reads(LINES[1], repository.source);
        dropCaches();
        const ours = await mount.read(LINES[1]);
        emit('warm_disk_cache', { round, disk_seconds: local.seconds, ratio: Number((ours.seconds / local.seconds).toFixed(2)), ...ours });
      }
      ended();
    }
  } finally {
    await clean();
  }
}

main(process.argv[2] ?? '/dev/stdout').catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
