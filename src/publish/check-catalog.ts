/**
 * Checks one catalog against its own rules (spec 4): every row reachable from the catalog's root under the key of its
 * path, flags and mode in agreement, hard links complete, chunks without a gap, mount points and their references in
 * pairs, counters equal to what is there. Objects and nested catalogs are handed on.
 */
import Sqlite from 'better-sqlite3';
import { Failure } from '../error';
import type { CatalogEntry } from '../cvmfs/catalog';
import {
  compression,
  FLAG,
  hashAlgorithm,
  isBind,
  isChunked,
  isDirectory,
  isExternal,
  isNestedMountpoint,
  isNestedRoot,
  isRegular,
  isSpecial,
  isSymlink,
} from '../cvmfs/flags';
import type { ContentHash } from '../cvmfs/hash';
import type { ObjectId } from '../cvmfs/object';
import { NO_PARENT, pathKey, samePathKey } from '../cvmfs/path-key';
import type { Counter } from '../cvmfs/statistics';
import { parseXattrs } from '../cvmfs/xattr-blob';
import { COUNTER_SQL } from './catalog-statistics';
import { joinPath, parentPath } from './catalog-writer';
import type { PublishedCatalog } from './published-catalog';

/** What the parent, or the manifest, says of a catalog. */
export interface CatalogExpectation {
  readonly hash: ContentHash;
  /** Bytes of the file; 0: not said. */
  readonly size: number;
  readonly path: Buffer;
  /** The row of the mount point in the parent; undefined for a root catalog. */
  readonly mountpoint: CatalogEntry | undefined;
}

export interface CatalogVisitor {
  fault(path: Buffer, what: string): void;
  object(path: Buffer, id: ObjectId, plainBytes: number): Promise<void>;
  nested(child: CatalogExpectation): void;
}

const PAGE_ROWS = 1000;
const MARKER = Buffer.from('.cvmfscatalog');

export async function checkCatalog(opened: PublishedCatalog, expected: CatalogExpectation, visitor: CatalogVisitor): Promise<{ entries: number }> {
  const { catalog } = opened;
  const top = catalog.rootPrefix;
  const fault = (what: string): void => visitor.fault(expected.path, what);
  if (!top.equals(expected.path)) throw new Failure('CATALOG_INVALID', `its root_prefix is ${JSON.stringify(top.toString())}`);
  if (expected.size !== 0 && expected.size !== opened.bytes) fault(`its catalog has ${opened.bytes} bytes, not ${expected.size}`);
  checkRoot(catalog.rootEntry(), expected, fault);
  const rows = checkCounters(opened, fault);

  const references = new Map(catalog.nested().map((nested) => [`${nested.bind} ${nested.path.toString('latin1')}`, nested]));
  let entries = 1;
  // Depth first, with the names still to come of a page at a time; the stack is as deep as the tree.
  const stack: Array<{
    path: Buffer;
    after: number;
    groups: Map<number, CatalogEntry[]>;
    subdirectories: number;
    marker: boolean;
    entry: CatalogEntry;
    page: CatalogEntry[];
  }> = [];
  const push = (path: Buffer, entry: CatalogEntry): void =>
    void stack.push({ path, after: 0, groups: new Map(), subdirectories: 0, marker: false, entry, page: [] });
  push(top, catalog.rootEntry());
  for (let level = stack[stack.length - 1]; level !== undefined; level = stack[stack.length - 1]) {
    if (level.page.length === 0) level.page = catalog.children(pathKey(level.path), level.after, PAGE_ROWS);
    const entry = level.page.shift();
    if (entry === undefined) {
      stack.pop();
      checkGroups(level.path, level.groups, visitor);
      if (level.path.equals(top) && top.length > 0 && !level.marker)
        visitor.fault(top, 'it is the root of a nested catalog and has no .cvmfscatalog');
      if (!level.path.equals(top) && level.marker) visitor.fault(level.path, 'it has a .cvmfscatalog and is not the root of a nested catalog');
      continue;
    }
    level.after = entry.rowid;
    entries += 1;
    const path = joinPath(level.path, entry.name);
    if (!samePathKey(pathKey(path), entry.key)) {
      visitor.fault(path, 'its key is not the MD5 of its path');
      continue;
    }
    if (entry.name.equals(MARKER) && isRegular(entry.flags)) level.marker = true;
    if (entry.hardlinkGroup !== 0) {
      const names = level.groups.get(entry.hardlinkGroup);
      if (names === undefined) level.groups.set(entry.hardlinkGroup, [entry]);
      else names.push(entry);
    }
    checkFlags(path, entry, visitor);
    if (!isDirectory(entry.flags)) {
      await checkContent(opened, path, entry, visitor);
      continue;
    }
    if (isNestedRoot(entry.flags)) visitor.fault(path, 'it is marked as the root of a nested catalog below the root of its catalog');
    const bind = isBind(entry.flags);
    if (!isNestedMountpoint(entry.flags) && !bind) {
      push(path, entry);
      continue;
    }
    const key = `${bind} ${path.toString('latin1')}`;
    const reference = references.get(key);
    references.delete(key);
    if (reference === undefined) visitor.fault(path, `it is a mount point without a reference to a ${bind ? 'revision' : 'nested catalog'}`);
    else if (!bind) visitor.nested({ hash: reference.hash, size: reference.size, path, mountpoint: entry });
    if (catalog.children(entry.key, 0, 1).length > 0) visitor.fault(path, 'it is a mount point, and entries below it are in the same catalog');
  }
  for (const { path } of references.values()) visitor.fault(path, 'a catalog refers to a nested catalog here, and there is no mount point');
  if (entries !== rows) fault(`${rows - entries} rows of its catalog are not reachable or not fit to be seen`);
  return { entries };
}

function checkRoot(root: CatalogEntry, { path, mountpoint }: CatalogExpectation, fault: (what: string) => void): void {
  if (path.length === 0) {
    if (!samePathKey(root.parent, NO_PARENT)) fault('the root directory has a parent');
    if (isNestedRoot(root.flags)) fault('the root directory is marked as the root of a nested catalog');
    return;
  }
  if (!isNestedRoot(root.flags)) fault('the root directory of its nested catalog is not marked as one');
  if (!samePathKey(root.parent, pathKey(parentPath(path)))) fault('the root directory of its nested catalog has the wrong parent');
  if (mountpoint === undefined) return;
  const kind = FLAG.nestedMountpoint | FLAG.nestedRoot;
  const same =
    root.name.equals(mountpoint.name) &&
    (root.flags & ~kind) === (mountpoint.flags & ~kind) &&
    (['mode', 'uid', 'gid', 'size', 'mtime', 'mtimeNs', 'linkCount'] as const).every((field) => root[field] === mountpoint[field]) &&
    Buffer.compare(root.xattrs ?? Buffer.alloc(0), mountpoint.xattrs ?? Buffer.alloc(0)) === 0;
  if (!same) fault('the rows of the directory in the nested catalog and in its parent differ');
}

/** Compares the `self_` counters with the rows; returns the number of rows. */
function checkCounters(opened: PublishedCatalog, fault: (what: string) => void): number {
  // The file passed Catalog.open, so its schema is one of plain tables.
  const db = new Sqlite(opened.file, { readonly: true });
  try {
    db.pragma('trusted_schema = OFF');
    const sound = db.pragma('integrity_check(1)', { simple: true });
    if (sound !== 'ok') fault(`its catalog is damaged: ${String(sound)}`);
    for (const [counter, sql] of Object.entries(COUNTER_SQL) as Array<[Counter, string]>) {
      const counted = db.prepare(sql).pluck().get() as number;
      const stated = opened.statistics.self[counter];
      if (counted !== stated) fault(`its catalog's counter self_${counter} is ${stated}, and its rows make ${counted}`);
    }
    return db.prepare('SELECT count(*) FROM catalog').pluck().get() as number;
  } finally {
    db.close();
  }
}

function checkFlags(path: Buffer, entry: CatalogEntry, visitor: CatalogVisitor): void {
  const { flags } = entry;
  if ((isSymlink(flags) || isSpecial(flags)) && entry.hash !== null) visitor.fault(path, 'it is no file and has an object');
  if (isDirectory(flags) && (entry.hash !== null || (flags & (FLAG.regular | FLAG.symlink | FLAG.special)) !== 0))
    visitor.fault(path, 'it is a directory and something else too');
  // The stock publisher writes 0 for links that come from archives, and clients show the target's length.
  if (isSymlink(flags) && entry.size !== 0 && entry.size !== entry.symlink.length)
    visitor.fault(path, `its size is ${entry.size}, and its target has ${entry.symlink.length} bytes`);
  if (entry.xattrs !== null && parseXattrs(entry.xattrs).length !== entry.xattrs[1]) visitor.fault(path, 'its extended attributes are damaged');
}

async function checkContent(opened: PublishedCatalog, path: Buffer, entry: CatalogEntry, visitor: CatalogVisitor): Promise<void> {
  const { flags } = entry;
  if (!isRegular(flags) || isExternal(flags)) return;
  const algorithm = hashAlgorithm(flags);
  const how = compression(flags);
  if (algorithm === undefined || how === undefined) return visitor.fault(path, 'its hash algorithm or compression is of no known kind');
  if (entry.hash === null && !isChunked(flags)) return visitor.fault(path, 'it is a file without an object');
  if (entry.hash !== null) await visitor.object(path, { hash: { algorithm, digest: entry.hash }, kind: 'file', compression: how }, entry.size);
  if (!isChunked(flags)) return;
  let chunks;
  try {
    chunks = opened.catalog.chunks(entry);
  } catch (err) {
    return visitor.fault(path, Failure.from(err).message);
  }
  if (chunks.length < 2) visitor.fault(path, 'it is marked as chunked and has one chunk');
  for (const chunk of chunks) await visitor.object(path, { hash: { algorithm, digest: chunk.hash }, kind: 'chunk', compression: how }, chunk.size);
}

/** All names of a group are in one directory, and are one file. */
function checkGroups(path: Buffer, groups: Map<number, CatalogEntry[]>, visitor: CatalogVisitor): void {
  for (const [group, names] of groups) {
    const first = names[0]!;
    const at = joinPath(path, first.name);
    if (names.some((name) => name.linkCount !== names.length))
      visitor.fault(at, `its group of hard links, ${group}, has ${names.length} names and says ${first.linkCount}`);
    const same = (name: CatalogEntry): boolean =>
      (['flags', 'mode', 'uid', 'gid', 'size', 'mtime', 'mtimeNs'] as const).every((field) => name[field] === first[field]) &&
      (name.hash?.equals(first.hash ?? Buffer.alloc(0)) ?? first.hash === null);
    if (!names.every(same)) visitor.fault(at, `the names of its group of hard links, ${group}, are not one file`);
  }
}
