'use strict';
/**
 * data-path.js OUT.jsonl: the two ways to serve a file's bytes (`data_path`), side by side and beside ext4, over the same
 * repository and the same warm cache: speed of one reader, and the page cache that twenty images with a common base, and
 * one after an update of a hundredth of its files, take up (fincore, over the mount's files and the cache's objects).
 *
 *     RUNS=3    rounds of the speeds
 */
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { recorder, Scene } = require('./scene.js');

const out = process.argv[2];
if (out === undefined) throw new Error('usage: data-path.js OUT.jsonl');
const runs = Number(process.env.RUNS ?? 3);
const IMAGES = 20;
const BASE_BYTES = 24 << 20;
const OWN_BYTES = 512 << 10;
const SOURCES = ['/usr/lib/python3', '/usr/share/perl', '/usr/lib/x86_64-linux-gnu', '/usr/share/doc'];

/** A base of this host's own files, small and large. */
function makeBase(base) {
  let left = BASE_BYTES;
  let n = 0;
  const take = (folder) => {
    for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
      const from = path.join(folder, entry.name);
      if (entry.isDirectory()) take(from);
      else if (entry.isFile() && fs.statSync(from).size <= left && fs.statSync(from).size > 0) {
        const to = path.join(base, String(n % 40), `${n++}-${entry.name}`);
        fs.mkdirSync(path.dirname(to), { recursive: true });
        fs.copyFileSync(from, to);
        left -= fs.statSync(to).size;
      }
    }
  };
  for (const source of SOURCES) if (fs.existsSync(source)) take(source);
}

function filesBelow(folder) {
  return execFileSync('find', [folder, '-type', 'f', '-size', '+0'], { maxBuffer: 1 << 28 }).toString().split('\n').filter(Boolean);
}

function cachedBytes(files) {
  let bytes = 0;
  for (let i = 0; i < files.length; i += 500) {
    const text = execFileSync('fincore', ['--bytes', '--noheadings', '--raw', '--output', 'RES', ...files.slice(i, i + 500)], { maxBuffer: 1 << 26 }).toString();
    for (const line of text.split('\n')) bytes += Number(line.trim() || 0);
  }
  return bytes;
}

function readAll(folder) {
  execFileSync('sh', ['-c', 'find "$1" -type f -exec cat {} + | cat > /dev/null', 'sh', folder]);
}

function drop() {
  execFileSync('sync');
  fs.writeFileSync('/proc/sys/vm/drop_caches', '3');
}

async function main() {
  const scene = new Scene('data-path');
  const record = recorder(out);
  try {
    const base = `${scene.dir}/tree`;
    makeBase(base);
    scene.create();
    for (let i = 0; i < IMAGES; i++) {
      fs.writeFileSync(`${base}/own`, Buffer.alloc(OWN_BYTES, `image ${i} `));
      scene.publish(`dir:${base}`, `/images/${i}`);
    }
    const all = filesBelow(base);
    for (let i = 0; i < all.length; i += 100) fs.appendFileSync(all[i], 'changed');
    scene.publish(`dir:${base}`, '/images/updated');
    const changedBytes = all.filter((_, i) => i % 100 === 0).reduce((sum, file) => sum + Math.ceil(fs.statSync(file).size / 4096) * 4096, 0);
    const distinctBytes = new Map(all.filter((file) => !file.endsWith('/own')).map((file) => [execFileSync('sha1sum', [file]).toString().slice(0, 40), Math.ceil(fs.statSync(file).size / 4096) * 4096]));
    const distinct = [...distinctBytes.values()].reduce((a, b) => a + b, 0) + IMAGES * OWN_BYTES;
    record('repository', { images: IMAGES, files: all.length, distinct_bytes: distinct, changed_bytes: changedBytes });
    const url = await scene.serveRepository();
    const mountpoints = new Map();
    for (const mode of ['server', 'passthrough']) {
      fs.writeFileSync(`${scene.dir}/${mode}.toml`, `[fuse]\ndata_path = "${mode}"\n`);
      const mountpoint = `${scene.dir}/${mode}`;
      fs.mkdirSync(mountpoint);
      scene.run('mount', scene.fqrn, mountpoint, '--config', `${scene.dir}/${mode}.toml`, '--server', url, '--public-key', `${scene.dir}/keys/${scene.fqrn}.pub`, '--cache-dir', `${scene.dir}/cache`, '--run-dir', `${scene.dir}/run`);
      mountpoints.set(mode, mountpoint);
    }
    readAll(`${mountpoints.get('server')}/images`);
    for (let run = 1; run <= runs; run++) {
      for (const [on, folder] of [['ext4', base], ...[...mountpoints].map(([mode, mountpoint]) => [mode, `${mountpoint}/images/${IMAGES - 1}`])]) {
        record('speed', { on, run, ...JSON.parse(execFileSync('python3', [path.join(__dirname, 'data-path.py'), folder]).toString()) });
      }
    }
    const objects = filesBelow(`${scene.dir}/cache/objects`);
    for (const [mode, mountpoint] of mountpoints) {
      drop();
      const images = filesBelow(`${mountpoint}/images`).filter((file) => !file.includes('/updated/'));
      for (let i = 0; i < IMAGES; i++) readAll(`${mountpoint}/images/${i}`);
      const mounted = cachedBytes(images);
      const cached = cachedBytes(objects);
      // Files that the kernel reads by itself have their pages in the object, which fincore shows for both names.
      const total = mode === 'passthrough' ? cached : mounted + cached;
      record('page_cache', { mode, bytes: total, over_distinct: Number((total / distinct).toFixed(2)) });
      const begin = performance.now();
      readAll(`${mountpoint}/images/updated`);
      const seconds = Number(((performance.now() - begin) / 1000).toFixed(3));
      const after = cachedBytes(objects) + (mode === 'passthrough' ? 0 : cachedBytes([...images, ...filesBelow(`${mountpoint}/images/updated`)]));
      record('updated_image', { mode, seconds, more_bytes: after - total, over_changed: Number(((after - total) / changedBytes).toFixed(1)) });
    }
  } finally {
    for (const mode of ['server', 'passthrough']) {
      try {
        scene.run('umount', `${scene.dir}/${mode}`, '--run-dir', `${scene.dir}/run`);
      } catch {
        // It was not mounted.
      }
    }
    await scene.end();
  }
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
