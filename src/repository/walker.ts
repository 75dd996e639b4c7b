/**
 * The repository's own walk (docs/architecture.md, resolving): over catalog rows of one revision, never over a mounted
 * path. A symbolic link cannot lead out of the repository, and a publish cannot swap anything in mid-walk.
 */
import { Failure } from '../error';
import type { Catalog, CatalogEntry } from '../cvmfs/catalog';
import { isBind, isDirectory, isHidden, isNestedMountpoint, isRegular, isSymlink } from '../cvmfs/flags';
import { formatHash, parseHash } from '../cvmfs/hash';
import type { ContentHash } from '../cvmfs/hash';
import { pathKey } from '../cvmfs/path-key';
import { hasVariables } from '../cvmfs/variant-link';
import type { CatalogSet } from './catalog-set';
import { filePlan } from './file-plan';
import { Missing } from './missing';
import type { ObjectStore } from './object-store';
import type { EntryType, Snapshot, WalkedEntry, WalkOptions } from './reader';

const LINKS_MAX = 40;
const PATH_BYTES_MAX = 4_096;
const LISTING_ROWS = 512;
const SLASH = Buffer.from('/');
const EMPTY = Buffer.alloc(0);

const TYPES: Readonly<Record<number, EntryType>> = { 0o010000: 'fifo', 0o020000: 'character-device', 0o040000: 'directory', 0o060000: 'block-device', 0o100000: 'file', 0o120000: 'symlink', 0o140000: 'socket' };

/** A row, and the catalog that its children would be in. */
interface At {
  readonly entry: CatalogEntry;
  /** Catalog of the row itself. */
  readonly outer: { readonly catalog: Catalog; readonly hash: ContentHash };
  /** Catalog of its children; the same unless it is a nested catalog's mount point. */
  readonly inner: { readonly catalog: Catalog; readonly hash: ContentHash };
  /** Path inside `inner`. */
  readonly innerPath: Buffer;
  /** As seen from the root. */
  readonly path: Buffer;
}

/** A step that a path asks for, with its links resolved as they are met. */
function components(path: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  let from = 0;
  for (let i = 0; i <= path.length; i++) {
    if (i < path.length && path[i] !== 0x2f) continue;
    if (i > from) parts.push(path.subarray(from, i));
    from = i + 1;
  }
  return parts;
}

const isDot = (name: Buffer): boolean => name.length === 1 && name[0] === 0x2e;
const isDotDot = (name: Buffer): boolean => name.length === 2 && name[0] === 0x2e && name[1] === 0x2e;
const shown = (path: Buffer): string => path.toString() || '/';

export class Walker {
  readonly #catalogs: CatalogSet;
  readonly #store: ObjectStore;
  readonly #fqrn: string;

  constructor(world: { readonly catalogs: CatalogSet; readonly store: ObjectStore; readonly fqrn: string }) {
    this.#catalogs = world.catalogs;
    this.#store = world.store;
    this.#fqrn = world.fqrn;
  }

  async walk(snapshot: Snapshot, path: Buffer, options: WalkOptions = {}): Promise<WalkedEntry> {
    return this.#describe(await this.#local(() => this.#walk(snapshot, path, options.followLast ?? true)));
  }

  /** A walk that begins at a catalog's own root directory, as in a pinned view; links lead at most to that root. */
  async walkFrom(catalog: ContentHash, rootPrefix: Buffer, path: Buffer): Promise<WalkedEntry> {
    return this.#describe(await this.#local(() => this.#follow(this.#enter(catalog, rootPrefix, EMPTY), path, true)));
  }

  async list(snapshot: Snapshot, path: Buffer, maxEntries: number): Promise<Array<{ name: Buffer; type: EntryType }>> {
    return this.#local(() => {
      const at = this.#walk(snapshot, path, true);
      if (!isDirectory(at.entry.flags)) throw this.#notDirectory(at.path);
      const found: Array<{ name: Buffer; type: EntryType }> = [];
      for (let after = 0; ; ) {
        const rows = at.inner.catalog.children(pathKey(at.innerPath), after, LISTING_ROWS);
        if (rows.length === 0) return found;
        for (const row of rows) if (!isHidden(row.flags)) found.push({ name: row.name, type: typeOf(row) });
        if (found.length > maxEntries) throw new Failure('RESOURCE_EXHAUSTED', `${shown(at.path)} in ${this.#fqrn} has more than ${maxEntries} entries`);
        after = rows[rows.length - 1]!.rowid;
      }
    });
  }

  async readFile(snapshot: Snapshot, path: Buffer, maxBytes: number): Promise<Buffer> {
    // In one go: across a wait the catalog of the row may be closed for others.
    const plan = await this.#local(() => {
      const at = this.#walk(snapshot, path, true);
      if (!isRegular(at.entry.flags)) throw new Failure('FAILED_PRECONDITION', `${shown(at.path)} in ${this.#fqrn} is no regular file`);
      if (at.entry.size > maxBytes) throw new Failure('RESOURCE_EXHAUSTED', `${shown(at.path)} in ${this.#fqrn} has ${at.entry.size} bytes, more than ${maxBytes}`);
      return filePlan(at.outer.catalog, formatHash(at.outer.hash), at.entry);
    });
    const parts: Buffer[] = [];
    for (const part of plan.parts) parts.push(await this.#store.bytes(part.need));
    return Buffer.concat(parts);
  }

  /** Runs synchronous work until nothing is missing any more. */
  async #local<T>(work: () => T): Promise<T> {
    let last = '';
    for (let again = 0; ; ) {
      try {
        return work();
      } catch (error) {
        if (!(error instanceof Missing)) throw error;
        again = error.need.what === last ? again + 1 : 0;
        last = error.need.what;
        if (again > 3) throw new Failure('NO_SPACE', `${error.need.what} is evicted from the cache faster than it can be read`, { next: 'raise cache.limit' });
        await this.#store.ensure(error.need);
      }
    }
  }

  #walk(snapshot: Snapshot, path: Buffer, followLast: boolean): At {
    return this.#follow(this.#enter(parseHash(snapshot.rootHash), EMPTY, EMPTY), path, followLast);
  }

  #follow(root: At, path: Buffer, followLast: boolean): At {
    if (path.length > PATH_BYTES_MAX || path.includes(0)) throw new Failure('INVALID_ARGUMENT', `a path of ${path.length} bytes${path.includes(0) ? ' with a NUL' : ''} cannot be in a repository`);
    const stack: At[] = [root];
    const todo = components(path).reverse();
    let links = 0;
    while (todo.length > 0) {
      const name = todo.pop()!;
      const at = stack[stack.length - 1]!;
      if (isDot(name)) continue;
      if (isDotDot(name)) {
        if (stack.length > 1) stack.pop();
        continue;
      }
      if (!isDirectory(at.entry.flags)) throw this.#notDirectory(at.path);
      const next = this.#child(at, name);
      if (!isSymlink(next.entry.flags) || (todo.length === 0 && !followLast)) {
        stack.push(next);
        continue;
      }
      if (++links > LINKS_MAX) throw new Failure('LINK_LOOP', `${shown(path)} in ${this.#fqrn} leads through more than ${LINKS_MAX} symbolic links`, { next: 'tell the publisher of the repository' });
      const target = next.entry.symlink;
      if (hasVariables(target)) throw new Failure('FAILED_PRECONDITION', `${shown(next.path)} in ${this.#fqrn} is a variant link, whose target depends on each host`, { next: 'name the target itself' });
      if (target[0] === 0x2f) stack.length = 1;
      todo.push(...components(target).reverse());
      if (todo.length > PATH_BYTES_MAX) throw new Failure('LINK_LOOP', `${shown(path)} in ${this.#fqrn} grows without end through symbolic links`);
    }
    return stack[stack.length - 1]!;
  }

  /** The root of a catalog. */
  #enter(hash: ContentHash, expectedPrefix: Buffer, path: Buffer): At {
    const catalog = this.#catalogs.get(hash, path);
    if (!catalog.rootPrefix.equals(expectedPrefix)) {
      throw new Failure('CATALOG_INVALID', `the catalog ${formatHash(hash)} at ${shown(path)} was made for ${shown(catalog.rootPrefix)}`, { next: 'tell the publisher of the repository' });
    }
    const here = { catalog, hash };
    return { entry: catalog.rootEntry(), outer: here, inner: here, innerPath: catalog.rootPrefix, path };
  }

  #child(at: At, name: Buffer): At {
    const innerPath = Buffer.concat([at.innerPath, SLASH, name]);
    const path = Buffer.concat([at.path, SLASH, name]);
    const entry = at.inner.catalog.byKey(pathKey(innerPath));
    const parent = pathKey(at.innerPath);
    if (entry === undefined || !entry.name.equals(name) || entry.parent.hi !== parent.hi || entry.parent.lo !== parent.lo) {
      throw new Failure('NOT_FOUND', `${shown(path)} does not exist in ${this.#fqrn}`);
    }
    if (!isNestedMountpoint(entry.flags) && !isBind(entry.flags)) return { entry, outer: at.inner, inner: at.inner, innerPath, path };
    const nested = at.inner.catalog.nestedAt(innerPath);
    if (nested === undefined) throw new Failure('CATALOG_INVALID', `catalog ${formatHash(at.inner.hash)} marks ${shown(path)} as a nested catalog and does not list it`, { next: 'tell the publisher of the repository' });
    const inside = this.#enter(nested.hash, nested.bind ? EMPTY : innerPath, path);
    return { ...inside, entry, outer: at.inner };
  }

  #describe(at: At): WalkedEntry {
    const { entry } = at;
    return {
      path: at.path.length === 0 ? SLASH : at.path,
      type: typeOf(entry),
      mode: entry.mode,
      uid: entry.uid,
      gid: entry.gid,
      size: isSymlink(entry.flags) ? entry.symlink.length : entry.size,
      mtime: entry.mtime,
      ...(isSymlink(entry.flags) ? { target: entry.symlink } : {}),
      catalog: { hash: formatHash(at.inner.hash), path: at.inner.catalog.rootPrefix.length === 0 ? SLASH : at.inner.catalog.rootPrefix },
    };
  }

  #notDirectory(path: Buffer): Failure {
    return new Failure('NOT_A_DIRECTORY', `${shown(path)} in ${this.#fqrn} is no directory`);
  }
}

function typeOf(entry: CatalogEntry): EntryType {
  return TYPES[entry.mode & 0o170000] ?? 'file';
}
