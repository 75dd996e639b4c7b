'use strict';
/**
 * upgrade.js OUT.json [upgrades] [mounts]: what readers of mounts notice while another version takes over, again and again,
 * back and forth between two copies of the built program that differ in their version. One process for each mount looks up
 * names that are not there, and reads a file past the page cache, without a pause. Reports the calls over a millisecond and
 * the longest stall of each reader in each upgrade, which is the takeover of its mount, and how long upgrades took.
 */
const { execFile, execFileSync, spawn } = require('node:child_process');
const crypto = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const top = path.resolve(__dirname, '../..');

const fqrn = 'upgrade.example.org';
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
    time.sleep(0.002)
print('calls', calls)
`;

function percentiles(times) {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (p) => Number((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))] ?? NaN).toFixed(2));
  return { n: times.length, p50_ms: at(0.5), p90_ms: at(0.9), p99_ms: at(0.99), max_ms: at(1) };
}

/** A copy of the built program with another version. */
function copyOf(dir, version) {
  for (const name of ['bin', 'dist', 'package.json', 'proto']) fs.cpSync(path.join(top, name), path.join(dir, name), { recursive: true });
  fs.symlinkSync(path.join(top, 'node_modules'), path.join(dir, 'node_modules'));
  const file = path.join(dir, 'dist/src/version.js');
  fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replace(/exports\.VERSION = '[^']*'/, `exports.VERSION = '${version}'`));
  return path.join(dir, 'bin/mesos-cvmfs');
}

function begin(children, cli, args) {
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

function upgradeBy(cli, runDir) {
  return new Promise((resolve, reject) =>
    execFile(process.execPath, [cli, 'upgrade', '--json', '--run-dir', runDir], (error, stdout, stderr) => (error === null ? resolve(JSON.parse(stdout)) : reject(new Error(stderr)))),
  );
}

async function main(out, upgrades, count) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'mesos-cvmfs-upgrade.'));
  fs.chmodSync(dir, 0o755);
  const children = [];
  const mounted = [];
  const runDir = `${dir}/run`;
  const clis = ['90.0.0', '90.0.1'].map((version) => copyOf(`${dir}/${version}`, version));
  const run = (...args) => execFileSync(process.execPath, [clis[0], ...args], { stdio: ['ignore', 'pipe', 'ignore'] }).toString();
  try {
    const content = crypto.randomBytes(300_000);
    fs.mkdirSync(`${dir}/tree/image`, { recursive: true });
    fs.writeFileSync(`${dir}/tree/image/file`, content);
    run('repo', 'create', fqrn, '--storage', `${dir}/storage`, '--keys', `${dir}/keys`);
    run('publish', `dir:${dir}/tree`, fqrn, '--storage', `${dir}/storage`, '--keys', `${dir}/keys`);
    const { url } = JSON.parse(await begin(children, clis[0], ['repo', 'serve', fqrn, '--storage', `${dir}/storage`, '--listen', '127.0.0.1:0', '--json']));
    for (let i = 0; i < count; i++) {
      mounted.push(`${dir}/m${i}`);
      run('mount', fqrn, `${dir}/m${i}`, '--server', url, '--public-key', `${dir}/keys/${fqrn}.pub`, '--cache-dir', `${dir}/cache`, '--run-dir', runDir, '--json');
    }
    await sleep(3_000);
    const stop = `${dir}/stop`;
    const digest = crypto.createHash('sha256').update(content).digest('hex');
    const readers = mounted.map((target) => {
      const child = spawn('python3', ['-c', READER, `${target}/image`, stop, digest], { stdio: ['ignore', 'pipe', 'inherit'] });
      children.push(child);
      const reader = { said: '', code: new Promise((resolve) => child.once('close', resolve)) };
      child.stdout.on('data', (chunk) => (reader.said += chunk));
      return reader;
    });
    const nowMs = () => Number(process.hrtime.bigint()) / 1e6;
    await sleep(2_000);
    const windows = [];
    const tookMs = [];
    for (let i = 0; i < upgrades; i++) {
      const from = nowMs();
      const { changed, up_to_date: done } = await upgradeBy(clis[(i + 1) % 2], runDir);
      if (!changed || !done) throw new Error('an upgrade did nothing');
      windows.push([from, nowMs()]);
      tookMs.push(nowMs() - from);
      await sleep(500);
    }
    const quietFrom = nowMs();
    await sleep(10_000);
    fs.writeFileSync(stop, '');
    const codes = await Promise.all(readers.map(({ code }) => code));
    const slow = readers.map(({ said }) => said.trim().split('\n').slice(0, -1).map((line) => line.split(' ').map(Number)));
    const longest = (calls, [from, to]) => Math.max(0, ...calls.filter(([begun, took]) => begun + took >= from && begun < to).map(([, took]) => took));
    const stalls = slow.flatMap((calls) => windows.map((window) => longest(calls, window)));
    const during = slow.flatMap((calls) => calls.filter(([begun]) => windows.some(([from, to]) => begun >= from && begun < to)).map(([, took]) => took));
    const result = {
      upgrades,
      mounts: count,
      reader_exit_codes: codes,
      reader_calls: readers.map(({ said }) => Number(/calls (\d+)/.exec(said)?.[1] ?? 0)).reduce((a, b) => a + b, 0),
      longest_stall_of_a_reader_in_an_upgrade: percentiles(stalls),
      calls_over_250_ms: during.filter((took) => took > 250).length,
      calls_over_1_ms: percentiles(during),
      longest_without_upgrade_in_10_s_ms: Number(Math.max(0, ...slow.map((calls) => longest(calls, [quietFrom, quietFrom + 10_000]))).toFixed(2)),
      upgrade_ms: percentiles(tookMs),
      stalls_ms: stalls,
      host: { cpus: os.cpus().length, kernel: os.release(), load1: os.loadavg()[0], node: process.version },
    };
    fs.writeFileSync(out, `${JSON.stringify(result, null, 1)}\n`);
    console.log(JSON.stringify({ ...result, stalls_ms: undefined }));
    if (codes.some((code) => code !== 0)) process.exitCode = 1;
  } finally {
    let keeper = 0;
    try {
      keeper = JSON.parse(run('status', '--json', '--run-dir', runDir)).mounts[0].keeper_pid;
    } catch {
      // There is none.
    }
    for (const target of mounted) {
      try {
        execFileSync('umount', ['-l', target], { stdio: 'ignore' });
      } catch {
        // It was never mounted.
      }
    }
    for (const child of children) child.removeAllListeners('exit').kill('SIGKILL');
    await sleep(1_000);
    if (keeper !== 0) process.kill(keeper, 'SIGTERM');
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

const [out, upgrades = '6', mounts = '3'] = process.argv.slice(2);
if (out === undefined) {
  console.error('usage: upgrade.js OUT.json [upgrades] [mounts]');
  process.exit(2);
}
main(out, Number(upgrades), Number(mounts)).catch((error) => {
  console.error(error);
  process.exit(1);
});
