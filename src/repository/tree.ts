/**
 * The tree of one mounted repository, by node id: the synchronous heart that every thread of a file system server has.
 * It holds no inode table and counts no lookups. A node id leads to a place (places.ts) and a row; everything else is
 * derived from immutable catalogs, so another thread, or the successor of a dead process, gives the same answers.
 *
 * What is not in the local cache is thrown as `Missing`.
 */
import { LRUCache } from 'lru-cache';
import { Failure } from '../error';
import type { Catalog, CatalogEntry, ListedEntry } from '../cvmfs/catalog';
import { MAX_TARGET_BYTES } from '../cvmfs/catalog-entry';
import { isBind, isDirectory, isHidden, isNestedMountpoint, isSymlink } from '../cvmfs/flags';
import { pathKey } from '../cvmfs/path-key';
import type { PathKey } from '../cvmfs/path-key';
import type { CatalogSet } from './catalog-set';
import { filePlan } from './file-plan';
import type { FilePlan } from './file-plan';
import { linkTarget, nodeAttributes } from './node-attributes';
import type { Appearance, NodeAttributes } from './node-attributes';
import { isPrime, isRoot, isViews, nodeKey, PRIME, PRIME_NAME, ROOT, VIEWS, VIEWS_NAME } from './node-id';
import type { NodeId } from './node-id';
import type { Place, PlaceList, Space } from './places';
import type { SharedState } from './shared-state';

/** How long an answer holds: for ever, until the live revision's time to live ends, or not at all. */
export type Lifetime = 'forever' | 'live' | 'never';

export interface Found {
  readonly node: NodeId;
  readonly attributes: NodeAttributes;
  readonly lifetime: Lifetime;
}

/** A directory as its children are found: the catalog that holds them, and its path and key inside that catalog. */
export interface Directory {
  readonly place: Place;
  /** `''` for the repository's root, else `/a/b`; inside the catalog, which a bind mount point shows elsewhere. */
  readonly path: Buffer;
  readonly key: PathKey;
}

export interface Child {
  readonly node: NodeId;
  readonly entry: ListedEntry;
  /** Row that a listing continues after. */
  readonly rowid: number;
}

/** A page of a directory. */
interface Listing {
  readonly directory: Directory | null;
  readonly afterRowid: number;
  readonly children: readonly Child[];
  readonly lastRowid: number;
  readonly end: boolean;
}

/** Rows of one query of a listing; a page of the kernel's holds some 20 entries. */
const LISTING_ROWS = 128;
/** Deepest directory that is climbed from; a path of PATH_MAX bytes has fewer components. */
const DEPTH_MAX = 2_048;
const DIRECTORIES_KEPT = 1_024;
/** File plans kept: of what is being read. One takes a kilobyte, and it is made again faster than a file is opened. */
const PLANS_KEPT = 128;
/** Their parts: a 20 GB file has 2,500, and is read in 20,000 pieces. */
const PLAN_PARTS_KEPT = 16_384;
const SLASH = Buffer.from('/');

function join(path: Buffer, name: Buffer): Buffer {
  return Buffer.concat([path, SLASH, name]);
}

function noEntry(what: string): Failure {
  return new Failure('NOT_FOUND', what);
}

export class Tree {
  readonly #places: PlaceList;
  readonly #catalogs: CatalogSet;
  readonly #shared: SharedState;
  readonly #look: Appearance;
  #listing: Listing = { directory: null, afterRowid: 0, children: [], lastRowid: 0, end: false };
  /** By index; asked for with every entry of a listing. At most as many as there are places. */
  readonly #files = new Map<number, Place>();
  readonly #directories = new LRUCache<number, Directory>({ max: DIRECTORIES_KEPT });
  readonly #plans = new LRUCache<number, FilePlan>({ max: PLANS_KEPT, maxSize: PLAN_PARTS_KEPT, sizeCalculation: (plan) => plan.parts.length + 1 });

  constructor(places: PlaceList, catalogs: CatalogSet, shared: SharedState, look: Appearance) {
    this.#places = places;
    this.#catalogs = catalogs;
    this.#shared = shared;
    this.#look = look;
  }

  /** The place of the live tree's root. */
  livePlace(): Place {
    const place = this.#places.get(this.#shared.liveIndex);
    if (place === undefined) throw new Failure('INTERNAL', 'the mount has no revision yet');
    return place;
  }

  catalogOf(place: Place): Catalog {
    return this.#catalogs.get(place.catalog, place.mountPath, null, place.catalogText);
  }

  lookup(parent: NodeId, name: Buffer): Found | { readonly node: null; readonly lifetime: Lifetime } {
    if (isViews(parent)) return this.#lookupView(name);
    const root = isRoot(parent);
    if (root && name.equals(VIEWS_NAME)) return { node: VIEWS, attributes: this.attributes(VIEWS), lifetime: 'forever' };
    const lifetime = root ? 'live' : 'forever';
    const directory = this.directory(parent);
    if (directory.path.length === 0 && name.equals(VIEWS_NAME)) return { node: null, lifetime };
    const entry = this.child(directory, name);
    if (entry === undefined) return { node: null, lifetime };
    const node = this.nodeOf(directory.place, entry);
    return { node, attributes: this.attributes(node), lifetime };
  }

  #lookupView(name: Buffer): Found | { readonly node: null; readonly lifetime: Lifetime } {
    if (name.equals(PRIME_NAME)) return { node: PRIME, attributes: this.attributes(PRIME), lifetime: 'forever' };
    const text = name.toString('latin1');
    const place = /^[0-9a-f]{40}(-rmd160|-shake128)?$/.test(text) ? this.#places.view(text) : undefined;
    // Not kept by the kernel: the view may be made a moment later, and then it must be seen.
    if (place === undefined) return { node: null, lifetime: 'never' };
    const node = { index: place.index, rowid: this.catalogOf(place).rootEntry().rowid };
    return { node, attributes: this.attributes(node), lifetime: 'forever' };
  }

  attributes(node: NodeId): NodeAttributes {
    if (isViews(node)) return { inoIndex: 0, inoRowid: VIEWS.rowid, size: 4096, mtime: 0, mtimeNs: 0, mode: 0o040700, nlink: 2, uid: 0, gid: 0, rdev: 0 };
    if (isPrime(node)) return { inoIndex: 0, inoRowid: PRIME.rowid, size: 0, mtime: 0, mtimeNs: 0, mode: 0o100400, nlink: 1, uid: 0, gid: 0, rdev: 0 };
    if (isRoot(node)) return nodeAttributes(this.catalogOf(this.livePlace()).rootEntry(), 0, ROOT.rowid, this.#look);
    const place = this.#placeOf(node);
    const entry = this.#row(place, node.rowid);
    return this.attributesOf(place, entry, node);
  }

  /** The same when the row is at hand; `entry` must be the row of `node`. */
  attributesOf(place: Place, entry: ListedEntry, node: NodeId): NodeAttributes {
    if (this.#look.inodeBits === 64) return nodeAttributes(entry, node.index, node.rowid, this.#look);
    return nodeAttributes(entry, 0, (place.inodeBase + node.rowid) >>> 0, this.#look);
  }

  /** The row of a node that has one. */
  entry(node: NodeId): { readonly place: Place; readonly entry: CatalogEntry } {
    if (isRoot(node)) {
      const place = this.livePlace();
      return { place, entry: this.catalogOf(place).rootEntry() };
    }
    const place = this.#placeOf(node);
    return { place, entry: this.#row(place, node.rowid) };
  }

  /** Where a directory's children are. The first call below a nested catalog's mount point attaches that catalog. */
  directory(node: NodeId): Directory {
    if (isRoot(node)) return this.rootDirectory(this.#shared.liveIndex);
    const key = nodeKey(node);
    const known = this.#directories.get(key);
    if (known !== undefined) return known;
    const place = this.#placeOf(node);
    const entry = this.#row(place, node.rowid);
    if (!isDirectory(entry.flags)) throw new Failure('NOT_A_DIRECTORY', `row ${node.rowid} of catalog ${place.catalogText} is no directory`);
    const directory = this.#descend(place, entry, this.pathOf(place, entry));
    this.#directories.set(key, directory);
    return directory;
  }

  /** The root of a revision that is or was the live one, by the index of its place. */
  rootDirectory(index: number): Directory {
    const place = this.#places.get(index);
    // Of the root alone: whoever may list it gives any index as a cursor, and must not read names of closed directories so.
    if (place === undefined || !place.space.startsWith('live@') || place.mountPath.length > 0) throw noEntry(`index ${index} is no revision of the live tree`);
    const path = this.catalogOf(place).rootPrefix;
    return { place, path, key: pathKey(path) };
  }

  /** The directory of a row: in its own catalog, or in the nested one that is mounted there. */
  #descend(place: Place, entry: CatalogEntry, path: Buffer): Directory {
    if (!isNestedMountpoint(entry.flags) && !isBind(entry.flags)) return { place, path, key: entry.key };
    const catalog = this.catalogOf(place);
    const nested = catalog.nestedAt(path);
    if (nested === undefined) {
      throw new Failure('CATALOG_INVALID', `catalog ${place.catalogText} marks ${path.toString()} as a nested catalog and does not list it`, { next: 'tell the publisher of the repository' });
    }
    const mountPath = Buffer.concat([place.mountPath, path.subarray(catalog.rootPrefix.length)]);
    const inner = this.#catalogs.get(nested.hash, mountPath, nested.size);
    if (!inner.rootPrefix.equals(nested.bind ? Buffer.alloc(0) : path)) {
      throw new Failure('CATALOG_INVALID', `the nested catalog at ${path.toString()} was made for ${inner.rootPrefix.toString() || '/'}`, { next: 'tell the publisher of the repository' });
    }
    const innerPlace = this.#places.ensure(place.space, nested.hash, mountPath, () => ({ maxRowid: inner.maxRowid, ancestors: this.#ancestorInodes(place, entry) }));
    return { place: innerPlace, path: inner.rootPrefix, key: pathKey(inner.rootPrefix) };
  }

  /** 32-bit inode numbers of a directory and of those above it in the same catalog chain. */
  #ancestorInodes(place: Place, entry: CatalogEntry): number[] {
    if (this.#look.inodeBits === 64) return [];
    const inodes: number[] = [];
    let at: { place: Place; entry: CatalogEntry } | undefined = { place, entry };
    for (let depth = 0; at !== undefined && depth < DEPTH_MAX; depth++) {
      inodes.push((at.place.inodeBase + at.entry.rowid) >>> 0);
      at = this.#parent(at.place, at.entry);
    }
    return inodes;
  }

  /** The directory that holds a directory; undefined at the top of its space. */
  #parent(place: Place, entry: CatalogEntry): { place: Place; entry: CatalogEntry } | undefined {
    const catalog = this.catalogOf(place);
    const root = catalog.rootEntry();
    if (entry.rowid !== root.rowid) {
      const parent = catalog.byKey(entry.parent);
      return parent === undefined ? undefined : { place, entry: parent };
    }
    // The row above a nested catalog's root is its mount point's parent, which the catalog around it has.
    const outer = this.#places.all().filter((other) => other.space === place.space && other.mountPath.length < place.mountPath.length && startsWithPath(place.mountPath, other.mountPath));
    for (const candidate of outer.sort((a, b) => b.mountPath.length - a.mountPath.length)) {
      const around = this.catalogOf(candidate);
      const point = around.byKey(pathKey(Buffer.concat([around.rootPrefix, place.mountPath.subarray(candidate.mountPath.length)])));
      const parent = point === undefined ? undefined : around.byKey(point.parent);
      if (parent !== undefined) return { place: candidate, entry: parent };
    }
    return undefined;
  }

  /** The path of a row inside its catalog. */
  pathOf(place: Place, entry: CatalogEntry): Buffer {
    return this.catalogOf(place).pathOf(entry);
  }

  /** The path of a node for a log: as seen in the repository, not necessarily valid UTF-8. */
  describe(node: NodeId): string {
    if (isRoot(node)) return '/';
    if (isViews(node)) return '/.cvmfs-view';
    try {
      const { place, entry } = this.entry(node);
      return this.pathOf(place, entry).toString() || '/';
    } catch {
      return `node ${node.index}:${node.rowid}`;
    }
  }

  child(directory: Directory, name: Buffer): CatalogEntry | undefined {
    const entry = this.catalogOf(directory.place).byKey(pathKey(join(directory.path, name)));
    // A row whose name or parent does not fit its key was planted: it would be one node under two names.
    if (entry === undefined || !entry.name.equals(name) || entry.parent.hi !== directory.key.hi || entry.parent.lo !== directory.key.lo) return undefined;
    return entry;
  }

  /**
   * Children after row `afterRowid`, in row order, hidden ones and our own name left out. `lastRowid` is where to go on.
   * The kernel asks for a few entries at a time and once more for the end; the last page read is kept, so that a small
   * directory costs one query.
   */
  list(directory: Directory, afterRowid: number): Listing {
    const kept = this.#listing;
    if (kept.directory === directory && afterRowid >= kept.afterRowid && (afterRowid < kept.lastRowid || kept.end)) {
      return { ...kept, children: kept.children.slice(firstAfter(kept.children, afterRowid)) };
    }
    const page = this.catalogOf(directory.place).listPage(directory.key, afterRowid, LISTING_ROWS);
    const top = directory.path.length === 0;
    const children: Child[] = [];
    for (const entry of page.entries) {
      if (isHidden(entry.flags) || (top && entry.name.equals(VIEWS_NAME))) continue;
      children.push({ node: this.#nodeIn(directory.place, entry, directory.key), entry, rowid: entry.rowid });
    }
    this.#listing = { directory, afterRowid, children, lastRowid: page.lastRowid, end: page.end };
    return this.#listing;
  }

  /** Attributes of a child that `list` gave. A hard link's are those of its group's first row, whose node it is. */
  childAttributes(directory: Directory, child: Child): NodeAttributes {
    const entry = child.node.rowid === child.rowid ? child.entry : this.#row(directory.place, child.node.rowid);
    return this.attributesOf(isDirectory(entry.flags) ? directory.place : this.filesPlace(directory.place), entry, child.node);
  }

  /** The node of a row that was found through a directory's place. */
  nodeOf(place: Place, entry: CatalogEntry): NodeId {
    return this.#nodeIn(place, entry, entry.parent);
  }

  #nodeIn(place: Place, entry: ListedEntry, parent: PathKey): NodeId {
    if (isDirectory(entry.flags)) return { index: place.index, rowid: entry.rowid };
    const files = this.filesPlace(place);
    if (entry.hardlinkGroup === 0) return { index: files.index, rowid: entry.rowid };
    return { index: files.index, rowid: this.catalogOf(place).lowestRowidOfGroup(entry.hardlinkGroup, parent) ?? entry.rowid };
  }

  /** The place that everything but directories of this place's catalog is numbered in. */
  filesPlace(place: Place): Place {
    let files = this.#files.get(place.index);
    if (files === undefined) this.#files.set(place.index, (files = this.ensurePlace('files', place)));
    return files;
  }

  /** The place of the same catalog and mount path in another space. */
  ensurePlace(space: Space, like: Pick<Place, 'catalog' | 'mountPath'>): Place {
    return this.#places.ensure(space, like.catalog, like.mountPath, () => ({ maxRowid: this.#catalogs.get(like.catalog, like.mountPath).maxRowid, ancestors: [] }));
  }

  readlink(node: NodeId): Buffer {
    const { entry } = this.entry(node);
    if (!isSymlink(entry.flags)) throw new Failure('INVALID_ARGUMENT', 'no symbolic link');
    const target = linkTarget(entry, this.#look);
    // Values of variables are the host's, how often they are named is the publisher's.
    if (target.length > MAX_TARGET_BYTES) throw new Failure('INVALID_ARGUMENT', `a link's target with its variables is longer than ${MAX_TARGET_BYTES} bytes`);
    return target;
  }

  filePlan(node: NodeId): FilePlan {
    if (isPrime(node)) return { size: 0, parts: [] };
    const key = nodeKey(node);
    const known = this.#plans.get(key);
    if (known !== undefined) return known;
    const { place, entry } = this.entry(node);
    const plan = filePlan(this.catalogOf(place), place.catalogText, entry);
    this.#plans.set(key, plan);
    return plan;
  }

  #placeOf(node: NodeId): Place {
    const place = this.#places.get(node.index);
    if (place === undefined) throw noEntry(`node ${node.index}:${node.rowid} was never given out`);
    return place;
  }

  #row(place: Place, rowid: number): CatalogEntry {
    const entry = this.catalogOf(place).byRowid(rowid);
    if (entry === undefined) throw noEntry(`catalog ${place.catalogText} has no row ${rowid}`);
    return entry;
  }
}

/** Index of the first child after row `rowid`; children are in row order. */
function firstAfter(children: readonly Child[], rowid: number): number {
  let low = 0;
  let high = children.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (children[middle]!.rowid <= rowid) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** True when `path` is below `prefix`, on component boundaries. */
function startsWithPath(path: Buffer, prefix: Buffer): boolean {
  return prefix.length === 0 || (path.subarray(0, prefix.length).equals(prefix) && path[prefix.length] === 0x2f);
}
