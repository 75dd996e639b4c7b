/**
 * A made-up mount that a standby's workers read while nobody needs them: one catalog of ordinary rows (directories, files,
 * links, attributes) and one object, in a folder that `run_dir` has for it. What is rehearsed is the code itself: the same
 * classes, over real files, with nothing pretended but the content.
 */
import * as crypto from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import Sqlite from 'better-sqlite3';
import { objectFile, objectName } from '../../cache/object-name';
import { checkRepositoryConfig } from '../../config/repository-config';
import type { RepositoryConfig } from '../../config/repository-config';
import { contentFlags, FLAG } from '../../cvmfs/flags';
import { formatHash } from '../../cvmfs/hash';
import type { ContentHash } from '../../cvmfs/hash';
import { NO_PARENT, pathKey } from '../../cvmfs/path-key';
import { catalogNeed } from '../../repository/catalog-set';
import { PlaceList } from '../../repository/places';
import { monotonicMs, SharedState } from '../../repository/shared-state';
import type { ThreadSetup } from './thread-tree';

/** Grows when the made-up content changes: another version may have left its own. */
const CONTENT_VERSION = 2;
const FOLDERS = 12;
/** Some are longer than a page of the kernel's listing, some are not. */
const FILES = [5, 40, 150];
const OBJECT_BYTES = 24 * 1024;
const LIFETIME_MS = 3_600_000;
const EMPTY = Buffer.alloc(0);

const SCHEMA = `
CREATE TABLE properties (key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE catalog (md5path_1 INTEGER, md5path_2 INTEGER, parent_1 INTEGER, parent_2 INTEGER, hardlinks INTEGER, hash BLOB, size INTEGER, mode INTEGER, mtime INTEGER, mtimens INTEGER, flags INTEGER, name TEXT, symlink TEXT, uid INTEGER, gid INTEGER, xattr BLOB, CONSTRAINT pk_catalog PRIMARY KEY (md5path_1, md5path_2));
CREATE INDEX idx_catalog_parent ON catalog (parent_1, parent_2);
CREATE TABLE chunks (md5path_1 INTEGER, md5path_2 INTEGER, offset INTEGER, size INTEGER, hash BLOB, CONSTRAINT pk_chunks PRIMARY KEY (md5path_1, md5path_2, offset, size));
CREATE TABLE nested_catalogs (path TEXT PRIMARY KEY, sha1 TEXT, size INTEGER);
CREATE TABLE statistics (counter TEXT PRIMARY KEY, value INTEGER);
`;

function madeCatalog(object: ContentHash): Buffer {
  const database = new Sqlite(':memory:');
  try {
    database.exec(SCHEMA);
    const property = database.prepare('INSERT INTO properties VALUES (?, ?)');
    for (const [key, value] of [['schema', '2.5'], ['schema_revision', '7'], ['revision', '1'], ['TTL', '3600'], ['last_modified', '0']]) property.run(key, value);
    const row = database.prepare('INSERT INTO catalog VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, NULL, ?, ?, ?, 0, 0, NULL)');
    const add = (at: string, kind: 'folder' | 'file' | 'link'): void => {
      const own = pathKey(Buffer.from(at));
      const parent = at === '' ? NO_PARENT : pathKey(Buffer.from(path.posix.dirname(at) === '/' ? '' : path.posix.dirname(at)));
      const [mode, flags, hash, size, target] = {
        folder: [0o040755, FLAG.directory, null, 4096, ''],
        file: [0o100644, FLAG.regular | contentFlags(object.algorithm, 'none'), object.digest, OBJECT_BYTES, ''],
        link: [0o120777, FLAG.regular | FLAG.symlink, null, 9, '../target'],
      }[kind] as [number, number, Buffer | null, number, string];
      row.run(own.hi, own.lo, parent.hi, parent.lo, 1, hash, size, mode, flags, path.posix.basename(at), target);
    };
    add('', 'folder');
    for (let folder = 0; folder < FOLDERS; folder++) {
      add(`/folder-${folder}`, 'folder');
      for (let i = 0; i < FILES[folder % FILES.length]!; i++) add(`/folder-${folder}/name-${i}`, i % 5 === 0 ? 'link' : 'file');
    }
    return database.serialize();
  } finally {
    database.close();
  }
}

const sha1 = (bytes: Buffer): ContentHash => ({ algorithm: 'sha1', digest: crypto.createHash('sha1').update(bytes).digest() });

/** Puts an object where readers look for it; complete under its name, or not there. */
function store(dir: string, generation: number, name: string, bytes: Buffer): void {
  const file = objectFile(dir, name);
  fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  const temp = `${file}.${process.pid}`;
  fs.writeFileSync(temp, bytes, { mode: 0o600 });
  fs.utimesSync(temp, generation, generation);
  fs.renameSync(temp, file);
}

function madeConfig(dir: string): RepositoryConfig {
  return checkRepositoryConfig({
    version: 1, fqrn: 'rehearsal.invalid', servers: ['http://rehearsal.invalid'], proxyGroups: [['DIRECT']], externalServers: [], externalProxyGroups: [],
    publicKeys: ['none'], blacklists: [], fixed: { kind: 'trunk' }, autoUpdate: false, maxTtlMs: null, timeoutMs: 1, timeoutDirectMs: 1,
    lowSpeedLimitBytesPerSecond: 0, maxRetries: 0, backoffInitMs: 0, backoffMaxMs: 0, proxyResetAfterMs: 0, hostResetAfterMs: 0, followRedirects: false,
    infoHeader: false, requestDeadlineMs: 1, claimOwnership: false, uidMap: '', gidMap: '', worldReadable: false, magicXattrs: 'rootonly', variables: {},
    inodeBits: 64, cacheDir: dir, cacheLimitBytes: 1 << 20, driver: 'kernel', dataPath: 'server', readers: 1, maxBackground: 1,
  });
}

/**
 * Makes the mount in `dir`, which is this process' user's, and where a cache of this generation is open; throws when that
 * cannot be written. The list of places has no name.
 */
export function makeRehearsal(dir: string, generation: number): ThreadSetup {
  const marker = path.join(dir, `catalog-${CONTENT_VERSION}-${generation}`);
  const content = Buffer.alloc(OBJECT_BYTES, 'rehearsal\n');
  const object = sha1(content);
  let catalog: ContentHash;
  if (fs.existsSync(marker)) catalog = { algorithm: 'sha1', digest: Buffer.from(fs.readFileSync(marker, 'latin1'), 'hex') };
  else {
    const bytes = madeCatalog(object);
    catalog = sha1(bytes);
    store(dir, generation, objectName({ hash: object, compression: 'none' }), content);
    store(dir, generation, objectName(catalogNeed(catalog, null, EMPTY)), bytes);
    fs.writeFileSync(marker, catalog.digest.toString('hex'), { mode: 0o600 });
  }
  const list = path.join(dir, `index.${process.pid}`);
  const indexFd = fs.openSync(list, fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_TRUNC | fs.constants.O_NOFOLLOW, 0o600);
  fs.rmSync(list);
  const shared = new SharedState();
  const root = new PlaceList(indexFd, shared, 64).ensure(`live@${formatHash(catalog)}`, catalog, EMPTY, () => ({ maxRowid: 10_000, ancestors: [] }));
  shared.setLive(root.index, monotonicMs() + LIFETIME_MS);
  return { config: madeConfig(dir), generation, indexFd, shared: shared.buffer, dir };
}
