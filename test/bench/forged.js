'use strict';
/**
 * Images for measuring that nobody has to write: files that are used are real, the rest are rows of catalogs whose objects
 * are on no server, since nobody reads them. So an image of 10 GB or of a million entries is made in seconds.
 */
const fs = require('node:fs');
const path = require('node:path');
const { randomBytes } = require('node:crypto');
const { execFileSync } = require('node:child_process');
require('../support/register-typescript.js');
const { ForgedRepository, FORGED, hashOf } = require('../support/forged-repository.ts');
const { addRows } = require('../support/many-rows.ts');
const { DIRECTORY, ROOT } = require('../unit/cvmfs/catalog-maker.ts');

/** Entries of one nested catalog, as publishers split them. */
const PER_CATALOG = 10_000;

/**
 * `/bin/true` of this host with all that the loader needs, as [path in the image, content]. A few bytes at the end, which
 * nobody looks at, make them objects of this image alone, that no cache has from another.
 */
function usedFiles() {
  const linked = execFileSync('ldd', ['/bin/true'], { encoding: 'utf8' }).match(/\/\S+/g);
  return ['/bin/true', ...linked].map((file) => [file, Buffer.concat([fs.readFileSync(file), randomBytes(16)])]);
}

/** Directories above some paths, outermost first. */
function foldersOf(paths) {
  const folders = new Set();
  for (const file of paths) for (let dir = path.dirname(file); dir !== '/'; dir = path.dirname(dir)) folders.add(dir);
  return [...folders].sort();
}

class Images {
  constructor(repository) {
    this.repository = repository;
    this.images = [];
  }

  static async start(dir) {
    return new Images(await ForgedRepository.start({ dir }));
  }

  get url() {
    return this.repository.server.url;
  }

  get publicKey() {
    return this.repository.publicKey;
  }

  /** An image with the used files, `entries` further ones and `bytes` in them. Answers what a cold start must transfer at least. */
  add(name, { entries = 0, bytes = 0, used = usedFiles() }) {
    const top = `/${name}`;
    const each = entries === 0 ? 0 : Math.floor(bytes / entries);
    const files = used.map(([file, content]) => ({ path: `${top}${file}`, content, stored: this.repository.put('file', content) }));
    const nested = [];
    for (let from = 0; from < entries; from += PER_CATALOG) {
      const at = `${top}/filler/c${from / PER_CATALOG}`;
      const count = Math.min(PER_CATALOG, entries - from);
      const rows = Array.from({ length: count }, (_, n) => ({ path: `${at}/f${n}`, hash: Buffer.alloc(20, 1), size: each }));
      nested.push({ at, stored: this.repository.catalog({ properties: { root_prefix: at }, rows: [{ path: at, ...DIRECTORY, flags: 33 }], after: (db) => addRows(db, rows) }) });
    }
    const dirs = ['/proc', '/sys', '/dev', '/tmp', '/etc', '/filler', ...foldersOf(used.map(([file]) => file))];
    const catalog = this.repository.catalog({
      properties: { root_prefix: top },
      rows: [{ path: top, ...DIRECTORY, flags: 33 }],
      nested: nested.map(({ at, stored }) => ({ path: at, sha1: hashOf(stored), size: stored.size })),
      after: (db) => {
        addRows(db, [...new Set(dirs)].map((dir) => ({ path: `${top}${dir}`, hash: null })));
        addRows(db, files.map(({ path: file, content, stored }) => ({ path: file, hash: stored.hash.digest, size: content.length, mode: 0o100755 })));
        addRows(db, nested.map(({ at }) => ({ path: at, hash: null, flags: 3 })));
      },
    });
    this.images.push({ top, catalog });
    const sizeOf = (stored) => this.repository.server.files.get(stored.url).length;
    return { top, lowerBoundBytes: sizeOf(catalog) + [...new Map(files.map(({ stored }) => [stored.url, sizeOf(stored)])).values()].reduce((sum, size) => sum + size, 0) };
  }

  /** Shows everything added so far as a new revision; answers the bytes of its root catalog as they are transferred. */
  publish() {
    const root = this.repository.catalog({
      rows: [ROOT],
      nested: this.images.map(({ top, catalog }) => ({ path: top, sha1: hashOf(catalog), size: catalog.size })),
      after: (db) => addRows(db, this.images.map(({ top }) => ({ path: top, hash: null, flags: 3 }))),
    });
    this.repository.publish(root);
    return this.repository.server.files.get(root.url).length;
  }

  /** Bytes and number of the answers since the last call. */
  taken() {
    const requests = this.repository.server.requests.splice(0);
    return { requests: requests.length, bytes: requests.reduce((sum, { url }) => sum + (this.repository.server.files.get(url)?.length ?? 0), 0) };
  }

  close() {
    return this.repository.close();
  }
}

module.exports = { FORGED, Images };
