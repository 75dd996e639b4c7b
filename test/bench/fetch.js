'use strict';
/**
 * fetch.js OUT.jsonl: many small objects through the object store, from a web server on loopback, as it is and behind a
 * delay. Sizes are those of a container image: half of the objects below 3 KB, some of megabytes.
 *
 *   OBJECTS=10000           how many
 *   CONCURRENCY=1,16,64,128 how many are asked for at once
 *   DELAYS=0,10             one way, in milliseconds
 *   ROUNDS=1                repetitions of everything
 *   PINGS=300               objects fetched one after the other, for the time of a single one
 *   BACKGROUND=1            asks as read-ahead does
 *   CACHE=DIR               folder for the caches. On ext4 a file is made many times slower while the folder's group of inodes has
 *                           hundreds that were deleted in the last minutes; a tmpfs leaves only what is ours
 *   DIST=DIR                another build of the sources, to compare with
 *
 * One JSON object a line: seconds, objects a second, CPU milliseconds an object by thread, most memory used.
 * nginx serves where there is one, else `mesos-cvmfs repo serve` does.
 */
const { spawn, execFileSync } = require('node:child_process');
const crypto = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const zlib = require('node:zlib');
const top = path.resolve(__dirname, '../..');
const dist = process.env.DIST ?? path.join(top, 'dist/src');
const { createTransfer } = require(`${dist}/transfer/transfer.js`);
const { systemClock } = require(`${dist}/transfer/clock.js`);
const { ObjectCache } = require(`${dist}/cache/object-cache.js`);
const { ObjectReader } = require(`${dist}/cache/object-reader.js`);
const { ObjectStore } = require(`${dist}/repository/object-store.js`);
const { Spill } = require(`${dist}/repository/spill.js`);

const numbers = (name, fallback) => (process.env[name] ?? fallback).split(',').map(Number);
const OBJECTS = numbers('OBJECTS', '10000')[0];
const PINGS = numbers('PINGS', '300')[0];

/** Repeatable numbers in [0, 1). */
function generator(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Lognormal around 2.7 KB, cut at 4 MB: as the files of a Debian image lie, without the few largest. */
function sizeOf(random) {
  const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return Math.min(4 << 20, Math.max(1, Math.round(2700 * Math.exp(1.75 * normal))));
}

function makeObjects(dir) {
  const random = generator(7);
  const words = Array.from({ length: 4096 }, () => crypto.randomBytes(2 + Math.floor(random() * 8)).toString('hex'));
  const needs = [];
  for (let at = 0; at < OBJECTS; at++) {
    const size = sizeOf(random);
    const parts = [];
    for (let length = 0; length < size; ) {
      const word = `${words[Math.floor(random() * words.length)]} `;
      parts.push(word);
      length += word.length;
    }
    const plain = Buffer.from(`${at}:${parts.join('')}`).subarray(0, Math.max(size, 8));
    const stored = zlib.deflateSync(plain);
    const digest = crypto.createHash('sha1').update(stored).digest();
    const hex = digest.toString('hex');
    fs.mkdirSync(`${dir}/data/${hex.slice(0, 2)}`, { recursive: true });
    fs.writeFileSync(`${dir}/data/${hex.slice(0, 2)}/${hex.slice(2)}`, stored);
    needs.push({ hash: { algorithm: 'sha1', digest }, kind: 'file', compression: 'zlib', plainSize: plain.length, what: `/file ${at}` });
  }
  return needs;
}

/** CPU milliseconds so far of each thread, by its name. */
function threadTimes() {
  const times = new Map();
  for (const tid of fs.readdirSync('/proc/self/task')) {
    const stat = fs.readFileSync(`/proc/self/task/${tid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const name = tid === String(process.pid) ? 'main' : stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'));
    times.set(`${name} ${tid}`, (Number(fields[11]) + Number(fields[12])) * 10);
  }
  return times;
}

function lineOf(child) {
  return new Promise((resolve, reject) => {
    child.stdout.once('data', (text) => resolve(String(text).split('\n')[0]));
    child.once('exit', () => reject(new Error(`${child.spawnfile} ended`)));
  });
}

async function startNginx(children, dir, storage) {
  const port = 20_000 + (process.pid % 20_000);
  const conf = `daemon off; pid ${dir}/nginx.pid; worker_processes 1; error_log ${dir}/nginx.log;
    events { worker_connections 1024; }
    http { access_log off; sendfile on; tcp_nodelay on; keepalive_requests 100000; client_body_temp_path ${dir}/t1; proxy_temp_path ${dir}/t2; fastcgi_temp_path ${dir}/t3; uwsgi_temp_path ${dir}/t4; scgi_temp_path ${dir}/t5;
      server { listen 127.0.0.1:${port} backlog=1024; root ${storage}; } }\n`;
  fs.writeFileSync(`${dir}/nginx.conf`, conf);
  children.push(spawn('nginx', ['-c', `${dir}/nginx.conf`, '-e', `${dir}/nginx.log`], { stdio: 'inherit' }));
  for (let at = 0; at < 100 && !fs.existsSync(`${dir}/nginx.pid`); at++) await new Promise((resolve) => setTimeout(resolve, 50));
  return port;
}

async function measure(dir, url, needs, body) {
  const cacheDir = fs.mkdtempSync(path.join(process.env.CACHE ?? dir, 'mesos-cvmfs-cache-'));
  const spillDir = fs.mkdtempSync(`${dir}/spill-`);
  const log = { debug() {}, info() {}, warn: (...text) => console.error(...text), error: (...text) => console.error(...text), child: () => log };
  const cache = await ObjectCache.open({ dir: cacheDir, limitBytes: 10e9 }, { log });
  const transfer = createTransfer({ servers: [url] }, { clock: systemClock(), random: Math.random, log: (level, message, fields) => log[level](message, fields) });
  const store = new ObjectStore(cache, new ObjectReader(cacheDir, cache.generation), transfer, { deadlineMs: 60_000, spill: new Spill(spillDir) });
  // The unpacking thread starts with its first object.
  await store.ensure(needs[0]);
  const before = threadTimes();
  const began = performance.now();
  const extra = await body(store, cache);
  const seconds = (performance.now() - began) / 1000;
  const cpu = {};
  let total = 0;
  for (const [thread, ms] of threadTimes()) {
    const used = ms - (before.get(thread) ?? 0);
    if (used === 0) continue;
    const name = thread.replace(/ \d+$/, '');
    cpu[name] = (cpu[name] ?? 0) + used;
    total += used;
  }
  const counters = transfer.status().counters;
  await transfer.close();
  await cache.close();
  for (const folder of [cacheDir, spillDir]) fs.rmSync(folder, { recursive: true });
  return { seconds, cpuMs: cpu, cpuTotalMs: total, attempts: counters.attempts, bytes: counters.bytes, ...extra };
}

async function all(store, needs, concurrency, background) {
  let next = 1;
  let mostRss = 0;
  const one = async () => {
    while (next < needs.length) {
      if (next % 500 === 0) mostRss = Math.max(mostRss, process.memoryUsage.rss());
      await store.ensure(needs[next++], background ? { background: true } : {});
    }
  };
  await Promise.all(Array.from({ length: concurrency }, one));
  return { rssMb: Math.round(mostRss / 1e6) };
}

async function pings(store, needs) {
  const times = [];
  for (const need of needs.filter(({ plainSize }) => plainSize < 16_384).slice(1, PINGS + 1)) {
    const began = performance.now();
    await store.ensure(need);
    times.push(performance.now() - began);
    if (!store.isLocal(need)) throw new Error('an object is not where it should be');
  }
  times.sort((a, b) => a - b);
  const at = (part) => Math.round(times[Math.floor(times.length * part)] * 1000);
  return { p50us: at(0.5), p90us: at(0.9), p99us: at(0.99) };
}

async function main(out) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'mesos-cvmfs-fetch-'));
  fs.chmodSync(dir, 0o755);
  const children = [];
  try {
    const needs = makeObjects(`${dir}/storage`);
    const sizes = needs.map(({ plainSize }) => plainSize).sort((a, b) => a - b);
    const port = await startNginx(children, dir, `${dir}/storage`);
    const emit = (result) => {
      const line = JSON.stringify({ ...result, load1: os.loadavg()[0] });
      console.log(line);
      if (out !== undefined) fs.appendFileSync(out, `${line}\n`);
    };
    emit({ what: 'objects', objects: OBJECTS, medianBytes: sizes[OBJECTS >> 1], largestBytes: sizes[OBJECTS - 1], bytes: sizes.reduce((sum, size) => sum + size, 0) });
    for (let round = 1; round <= numbers('ROUNDS', '1')[0]; round++) {
      for (const delay of numbers('DELAYS', '0,10')) {
        const proxy = spawn(process.execPath, [path.join(top, 'test/support/delay-proxy.js'), '0', String(port), String(delay)], { stdio: ['pipe', 'pipe', 'inherit'] });
        children.push(proxy);
        const url = `http://127.0.0.1:${delay === 0 ? port : (await lineOf(proxy)).split(' ')[1]}`;
        if (PINGS > 0) emit({ what: 'one object', round, oneWayMs: delay, ...(await measure(dir, url, needs, (store) => pings(store, needs))) });
        for (const concurrency of numbers('CONCURRENCY', '1,16,64,128')) {
          // One after the other, far away, says nothing that fewer objects would not.
          const some = delay > 0 && concurrency === 1 ? needs.slice(0, 300) : needs;
          const result = await measure(dir, url, some, (store) => all(store, some, concurrency, process.env.BACKGROUND === '1'));
          emit({ what: 'all', round, oneWayMs: delay, concurrency, objectsPerSecond: Math.round(some.length / result.seconds), cpuMsPerObject: Number((result.cpuTotalMs / some.length).toFixed(3)), ...result });
        }
        proxy.kill();
      }
    }
  } finally {
    for (const child of children) child.kill();
    execFileSync('rm', ['-rf', dir]);
  }
}

main(process.argv[2]).then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
