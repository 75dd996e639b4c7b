'use strict';
/**
 * provision.js OUT.jsonl [rounds]: Provision and Destroy of a mounted repository, over gRPC, overlay, through the real
 * keeper and file system server: one after the other, then a hundred of one image at once. One JSON object a line.
 */
const { execFileSync, spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const top = path.resolve(__dirname, '../..');
const { createClient } = require(`${top}/dist/provisioner/grpc/client.js`);
const { loadContracts } = require(`${top}/dist/provisioner/grpc/protos.js`);

const cli = path.join(top, 'bin/mesos-cvmfs');
const fqrn = 'bench.example.org';
const call = { timeoutMs: 60_000 };

/** Starts a command and resolves with its first line on standard output. */
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

async function main(out, rounds) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'mesos-cvmfs-provision.'));
  const children = [];
  const lines = [];
  const emit = (what, figures) => {
    const line = JSON.stringify({ what, load1: Number(os.loadavg()[0].toFixed(2)), ...figures });
    lines.push(line);
    console.log(line);
  };
  const run = (...args) => execFileSync(process.execPath, [cli, ...args], { stdio: ['ignore', 'pipe', 'inherit'] }).toString();
  const config = `${dir}/config.toml`;
  try {
    fs.mkdirSync(`${dir}/image/etc`, { recursive: true });
    fs.writeFileSync(`${dir}/image/.cvmfscatalog`, '');
    fs.writeFileSync(`${dir}/image/etc/hostname`, 'bench\n');
    run('repo', 'create', fqrn, '--storage', `${dir}/storage`, '--keys', `${dir}/keys`);
    run('publish', `dir:${dir}/image`, fqrn, '--storage', `${dir}/storage`, '--keys', `${dir}/keys`, '--to', '/image');
    const { url } = JSON.parse(await begin(children, ['repo', 'serve', fqrn, '--storage', `${dir}/storage`, '--listen', '127.0.0.1:0', '--json']));
    fs.writeFileSync(
      config,
      `state_dir = "${dir}/state"\nrun_dir = "${dir}/run"\nmount_root = "${dir}/cvmfs"\nhttp = "127.0.0.1:0"\n[cache]\ndir = "${dir}/cache"\n[repositories."${fqrn}"]\nservers = ["${url}"]\npublic_keys = ["${dir}/keys/${fqrn}.pub"]\n`,
    );
    await begin(children, ['serve', '--config', config, '--json']);
    const client = createClient(loadContracts(), 'mesos.cvmfs.v1.Provisioner', `unix://${dir}/run/provisioner.sock`);
    const image = { type: 'CVMFS', cvmfs: { repository: fqrn, path: '/image' } };
    const provision = (id) => timed(() => client.Provision({ container_id: { value: id }, image, idempotency_key: '', backend: 'overlay' }, call));
    const destroy = (id) => timed(() => client.Destroy({ container_id: { value: id } }, call));
    for (let n = 0; n < 20; n++) await provision(`warm-${n}`);
    const made = [];
    const gone = [];
    for (let n = 0; n < rounds; n++) {
      made.push(await provision(`one-${n}`));
      gone.push(await destroy(`one-${n}`));
    }
    emit('provision', percentiles(made));
    emit('destroy', percentiles(gone));
    const hundred = Array.from({ length: 100 }, (_, n) => `many-${n}`);
    let failed = 0;
    const whole = await timed(() => Promise.all(hundred.map((id) => provision(id).catch(() => failed++))));
    emit('hundred_at_once', { whole_ms: Number(whole.toFixed(1)), failed });
    await Promise.all([...hundred, ...Array.from({ length: 20 }, (_, n) => `warm-${n}`)].map(destroy));
    client.close();
  } finally {
    for (const child of children) child.removeAllListeners('exit').kill('SIGTERM');
    try {
      run('umount', `${dir}/cvmfs/${fqrn}`, '--lazy', '--config', config);
    } catch {
      // Never mounted.
    }
    await new Promise((resolve) => setTimeout(resolve, 300));
    fs.rmSync(dir, { recursive: true, force: true });
    fs.writeFileSync(out, lines.map((line) => `${line}\n`).join(''));
  }
}

main(process.argv[2] ?? '/dev/stdout', Number(process.argv[3] ?? 300)).catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
