'use strict';
/**
 * takeover.js OUT.json [kills] [interval ms] [paced]: what a reader of a mount notices when its file system server is killed.
 * One process looks up names that are not there, and reads a file past the page cache, without a pause, while servers are
 * killed; the stall of a kill is the longest of its calls until the next kill. Also: how long mounting takes with and
 * without a warm spare, and the memory (PSS) of keeper, server and spare.
 */
const { execFileSync, spawn } = require('node:child_process');
const crypto = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const top = path.resolve(__dirname, '../..');

const cli = path.join(top, 'bin/mesos-cvmfs');
const fqrn = 'takeover.example.org';
const MOUNTS = 5;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Prints one line for each call that took over a millisecond, and how many there were in all. Exits with 1 at any error. */
const READER = `
import hashlib, os, sys, time
root, stop, digest = sys.argv[1], sys.argv[2], sys.argv[3]
calls, n = 0, 0
def timed(work):
    global calls
    begin = time.monotonic()
    result = work()
    took = time.monotonic() - begin
    calls += 1
    if took > 0.001: print(f'{begin * 1000:.3f} {took * 1000:.3f}', flush=True)
    return result
def content():
    fd = os.open(os.path.join(root, 'file'), os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        return os.pread(fd, 1 << 20, 0)
    finally: os.close(fd)
while not os.path.exists(stop):
    for _ in range(20):
        n += 1
        assert not timed(lambda: os.path.lexists(os.path.join(root, f'absent-{n}')))
    assert hashlib.sha256(timed(content)).hexdigest() == digest, 'wrong content'
print('calls', calls)
`;

function percentiles(times) {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (p) => Number((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))] ?? NaN).toFixed(2));
  return { n: times.length, p50_ms: at(0.5), p90_ms: at(0.9), p99_ms: at(0.99), max_ms: at(1) };
}

function begin(children, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [cli, ...args], { stdio: ['ignore', 'pipe', 'ignore'] });
    children.push(child);
    let text = '';
    child.stdout.on('data', (chunk) => {
      text += chunk;
      if (text.includes('\n')) resolve(text.split('\n')[0]);
    });
    child.once('exit', () => reject(new Error(`mesos-cvmfs ${args.join(' ')} ended`)));
  });
}

function pssKib(pid) {
  const rollup = fs.readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1');
  return Number(/^Pss:\s+(\d+)/m.exec(rollup)[1]);
}

async function main(out, kills, intervalMs, paced) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'mesos-cvmfs-takeover.'));
  const children = [];
  const runDir = `${dir}/run`;
  const run = (...args) => execFileSync(process.execPath, [cli, ...args], { stdio: ['ignore', 'pipe', 'ignore'] }).toString();
  const status = () => JSON.parse(run('status', '--json', '--run-dir', runDir)).mounts;
  const mounted = [];
  const end = () => {
    for (const target of mounted.splice(0)) execFileSync('umount', ['-l', target]);
    for (const child of children.splice(0)) child.removeAllListeners('exit').kill('SIGKILL');
    fs.rmSync(dir, { recursive: true, force: true, maxRetries: 10 });
  };
  // Who is told to stop, or takes too long, leaves neither mounts nor processes behind.
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.once(signal, () => {
      end();
      process.exit(1);
    });
  }
  try {
    const content = crypto.randomBytes(300_000);
    fs.mkdirSync(`${dir}/tree/image`, { recursive: true });
    fs.writeFileSync(`${dir}/tree/image/file`, content);
    run('repo', 'create', fqrn, '--storage', `${dir}/storage`, '--keys', `${dir}/keys`);
    run('publish', `dir:${dir}/tree`, fqrn, '--storage', `${dir}/storage`, '--keys', `${dir}/keys`);
    const { url } = JSON.parse(await begin(children, ['repo', 'serve', fqrn, '--storage', `${dir}/storage`, '--listen', '127.0.0.1:0', '--json']));
    const mount = (name) => {
      const from = performance.now();
      run('mount', fqrn, `${dir}/${name}`, '--server', url, '--public-key', `${dir}/keys/${fqrn}.pub`, '--cache-dir', `${dir}/cache`, '--run-dir', runDir, '--json');
      mounted.push(`${dir}/${name}`);
      return performance.now() - from;
    };
    const warm = async () => {
      for (let i = 0; i < 300; i++) {
        if (status()[0].spare_pid !== null) return;
        await sleep(100);
      }
      throw new Error('no spare becomes ready');
    };
    const firstMs = mount('m0');
    const warmMs = [];
    for (let i = 1; i <= MOUNTS; i++) {
      await warm();
      warmMs.push(mount(`m${i}`));
    }
    for (const target of mounted.splice(1)) run('umount', target, '--run-dir', runDir);
    await warm();
    const before = status()[0];
    const pss = { keeper: pssKib(before.keeper_pid), server: pssKib(before.server_pid), spare: pssKib(before.spare_pid) };

    const record = () => JSON.parse(fs.readFileSync(`${runDir}/keeper/${fs.readdirSync(`${runDir}/keeper`).find((name) => name.endsWith('.json'))}`)).server.pid;
    const stop = `${dir}/stop`;
    const reader = spawn('python3', ['-c', READER, `${dir}/m0/image`, stop, crypto.createHash('sha256').update(content).digest('hex')], { stdio: ['ignore', 'pipe', 'inherit'] });
    children.push(reader);
    let said = '';
    reader.stdout.on('data', (chunk) => (said += chunk));
    const ended = new Promise((resolve) => reader.once('close', resolve));
    await sleep(500);
    const at = [];
    let last = 0;
    for (let i = 0; i < kills; i++) {
      if (paced) await warm();
      let pid = record();
      for (let waited = 0; pid === last && waited < 5_000; waited += 5) {
        await sleep(5);
        pid = record();
      }
      last = pid;
      at.push(Number(process.hrtime.bigint()) / 1e6);
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // Dead already, of the last kill.
      }
      // A server that is killed before it served is another test's subject: here every kill is a takeover that a reader sees.
      const seen = said.length;
      for (let waited = 0; said.length === seen && waited < 30_000; waited += 5) await sleep(5);
      await sleep(intervalMs);
    }
    fs.writeFileSync(stop, '');
    const code = await ended;
    const lines = said.trim().split('\n');
    const slow = lines.slice(0, -1).map((line) => line.split(' ').map(Number));
    const stalls = at.map((from, i) => Math.max(0, ...slow.filter(([begun, took]) => begun + took >= from && begun < (at[i + 1] ?? Infinity)).map(([, took]) => took)));
    const result = {
      kills,
      interval_ms: intervalMs,
      // Each kill waits until the spare is warm again; else the next one may come before that.
      paced,
      reader_exit_code: code,
      reader_calls: Number(lines[lines.length - 1].split(' ')[1]),
      stall: percentiles(stalls),
      stalls_ms: stalls,
      mount_ms: { first_without_keeper: Math.round(firstMs), with_warm_spare: warmMs.map(Math.round) },
      pss_kib: { ...pss, sum: pss.keeper + pss.server + pss.spare },
      host: { cpus: os.cpus().length, kernel: os.release(), load1: os.loadavg()[0], node: process.version },
    };
    fs.writeFileSync(out, `${JSON.stringify(result, null, 1)}\n`);
    const shown = { ...result, stalls_ms: undefined };
    console.log(JSON.stringify(shown));
    if (code !== 0) process.exitCode = 1;
  } finally {
    end();
  }
}

const [out, kills = '100', intervalMs = '300', pace = ''] = process.argv.slice(2);
if (out === undefined) {
  console.error('usage: takeover.js OUT.json [kills] [interval ms]');
  process.exit(2);
}
main(out, Number(kills), Number(intervalMs), pace === 'paced').catch((error) => {
  console.error(error);
  process.exit(1);
});
