'use strict';
/**
 * scale.js OUT.jsonl: what size costs a mounted tree: entries of one directory, nested catalogs, entries in all, readers at
 * once, a file of 20 GB. Every tree is made of catalogs alone, but for the files that are read. All cold: no walk or read
 * meets what an earlier one left in the kernel.
 *
 *   DIRECTORY=1e3,1e4,1e5       entries of one directory
 *   CATALOGS=10,100,1000        nested catalogs of 20 entries
 *   ENTRIES=1e4,1e5,5e5         entries in all, in catalogs of 10,000
 *   READERS=1,4,16,64           processes, each reads files of its own, 20 MB in all
 *   LARGE=2e10                  bytes of one file in chunks of 16 MiB, a thousand reads of 128 KiB at random places
 */
const { execFile } = require('node:child_process');
const { randomBytes } = require('node:crypto');
const fs = require('node:fs');
const { promisify } = require('node:util');
const { FORGED, Images } = require('./forged');
const { hashOf } = require('../support/forged-repository.ts');
const { addRows } = require('../support/many-rows.ts');
const { DIRECTORY, ROOT } = require('../unit/cvmfs/catalog-maker.ts');
const { Scene, recorder, timed } = require('./scene');

const numbers = (name, fallback) => (process.env[name] ?? fallback).split(',').filter(Boolean).map(Number);
const execute = promisify(execFile);
const CHUNK_BYTES = 16 << 20;
const READ_FILES = 400;
const READ_BYTES = 50_000;
const READS = 1000;

const filler = (at, count) => Array.from({ length: count }, (_, n) => ({ path: `${at}/f${n}`, hash: Buffer.alloc(20, 1), size: n }));

class Tree {
  constructor(repository) {
    this.repository = repository;
    this.rows = [];
    this.nested = [];
    this.chunked = [];
  }

  directory(at, count) {
    this.rows.push({ path: at, hash: null }, ...filler(at, count));
  }

  catalogs(at, count, entries) {
    this.rows.push({ path: at, hash: null });
    for (let n = 0; n < count; n++) {
      const top = `${at}/c${n}`;
      const stored = this.repository.catalog({ properties: { root_prefix: top }, rows: [{ path: top, ...DIRECTORY, flags: 33 }], after: (db) => addRows(db, filler(top, entries)) });
      this.nested.push({ path: top, sha1: hashOf(stored), size: stored.size });
      this.rows.push({ path: top, hash: null, flags: 3 });
    }
  }

  files(at, count) {
    this.rows.push({ path: at, hash: null });
    for (let n = 0; n < count; n++) this.rows.push({ path: `${at}/f${n}`, hash: this.repository.put('file', randomBytes(READ_BYTES)).hash.digest, size: READ_BYTES });
  }

  large(at, bytes) {
    const chunk = this.repository.put('chunk', Buffer.alloc(CHUNK_BYTES, randomBytes(4096)));
    const count = Math.ceil(bytes / CHUNK_BYTES);
    this.rows.push({ path: at, hash: null, size: count * CHUNK_BYTES, flags: 4 | 64, mode: 0o100644 });
    for (let n = 0; n < count; n++) this.chunked.push({ path: at, offset: n * CHUNK_BYTES, size: CHUNK_BYTES, hash: chunk.hash.digest });
    return count * CHUNK_BYTES;
  }

  publish() {
    this.repository.publish(this.repository.catalog({ rows: [ROOT], nested: this.nested, chunks: this.chunked, after: (db) => addRows(db, this.rows) }));
  }
}

async function main(out) {
  const scene = new Scene('scale', FORGED);
  const emit = recorder(out);
  let images;
  try {
    images = await Images.start(scene.dir);
    const tree = new Tree(images.repository);
    const [directories, catalogs, entries, readers, large] = [numbers('DIRECTORY', '1e3,1e4,1e5'), numbers('CATALOGS', '10,100,1000'), numbers('ENTRIES', '1e4,1e5,5e5'), numbers('READERS', '1,4,16,64'), numbers('LARGE', '2e10')];
    for (const count of directories) tree.directory(`/directory-${count}`, count);
    for (const count of catalogs) tree.catalogs(`/catalogs-${count}`, count, 20);
    for (const count of entries) tree.catalogs(`/entries-${count}`, Math.ceil(count / 10_000), Math.min(count, 10_000));
    for (const count of readers) tree.files(`/readers-${count}`, READ_FILES);
    const largeBytes = large.map((bytes) => tree.large(`/large-${bytes}`, bytes));
    tree.publish();
    scene.configure(images.url, { keys: [images.publicKey] });
    fs.mkdirSync(`${scene.dir}/cvmfs`);
    await scene.ran('mount', FORGED, scene.mountpoint, '--config', scene.config);
    const rssKb = () => Number(/^VmRSS:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${scene.mounts()[0].server_pid}/status`, 'latin1'))[1]);
    const shell = (script, ...args) => execute('sh', ['-c', script, 'sh', ...args], { timeout: 300_000, maxBuffer: 1 << 20 });
    const walk = async (what, name, count, expected) => {
      let seen = 0;
      const before = rssKb();
      const ms = await timed(async () => (seen = Number((await shell('find "$1" -printf "%s\\n" | wc -l', `${scene.mountpoint}/${name}`)).stdout)));
      if (seen !== expected) throw new Error(`${name}: ${seen} entries, not ${expected}`);
      emit(what, { count, seconds: ms / 1000, microseconds_each: Number(((ms * 1000) / expected).toFixed(1)), server_rss_kb: rssKb(), server_rss_grown_kb: rssKb() - before });
    };
    await walk('warm', `directory-${directories[0]}`, directories[0], directories[0] + 1);
    await shell('echo 2 > /proc/sys/vm/drop_caches');
    for (const count of directories) await walk('directory', `directory-${count}`, count, count + 1);
    for (const count of catalogs) await walk('catalogs', `catalogs-${count}`, count, count * 21 + 1);
    for (const count of entries) await walk('entries', `entries-${count}`, count, Math.ceil(count / 10_000) * (Math.min(count, 10_000) + 1) + 1);
    for (const count of readers) {
      const ms = await timed(() => shell('cd "$1" && ls -f | grep ^f | xargs -P "$2" -n "$3" cat > /dev/null', `${scene.mountpoint}/readers-${count}`, String(count), String(Math.ceil(READ_FILES / count))));
      emit('readers', { count, seconds: ms / 1000, files: READ_FILES, bytes: READ_FILES * READ_BYTES, server_rss_kb: rssKb() });
    }
    for (const [n, bytes] of large.entries()) {
      const script = 'import os, random, sys\nrandom.seed(7)\nfile = os.open(sys.argv[1], os.O_RDONLY)\nsize = int(sys.argv[2])\nfor _ in range(int(sys.argv[3])):\n    assert len(os.pread(file, 131072, random.randrange(size - 131072))) == 131072\n';
      const ms = await timed(() => execute('python3', ['-c', script, `${scene.mountpoint}/large-${bytes}`, String(largeBytes[n]), String(READS)], { timeout: 300_000 }));
      emit('large_file', { bytes: largeBytes[n], reads: READS, seconds: ms / 1000, milliseconds_each: Number((ms / READS).toFixed(3)), server_rss_kb: rssKb() });
    }
  } finally {
    await scene.end();
    await images?.close();
  }
}

main(process.argv[2] ?? '/dev/stdout').catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
