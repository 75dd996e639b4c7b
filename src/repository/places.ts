/**
 * The index list: what the upper half of a node id stands for (docs/architecture.md, node ids). It is all that a file
 * system server must remember, and the only thing that its successor has to read.
 *
 *     one line a place:  <index> <space> <catalog hash> <inode base> <largest rowid> <mount path, percent-encoded>\n
 *
 *     0 index-list 1
 *     1 live@7a7436db… 7a7436db… 256 5348
 *     2 files 7a7436db… 5604 5348
 *     3 view@13fb… 13fb… 10952 5484 /.flat/13/13fba79597…
 *
 * A space is `files` (everything that is no directory: one for the repository, so that a file's page cache is shared by
 * every revision and view that holds the same catalog) or, for directories, the view that they are seen through. Indices
 * run from 1 without a gap: with index 0 the first row would be node 1, the kernel's root. Line 0 has the version of the
 * list; a list without it has version 1.
 *
 * Durability: a line is appended with one write before the first reply that uses its index, and never synced, since the
 * mount does not outlive its host. A torn last line was used by no reply; the successor cuts it off.
 */
import * as fs from 'node:fs';
import { Failure } from '../error';
import { formatHash, parseHash } from '../cvmfs/hash';
import type { ContentHash } from '../cvmfs/hash';
import type { SharedState } from './shared-state';

export type Space = 'files' | `live@${string}` | `view@${string}`;

export interface Place {
  readonly index: number;
  readonly space: Space;
  readonly catalog: ContentHash;
  /** Text of `catalog`, the key of everything that is kept per catalog. */
  readonly catalogText: string;
  /** Where the catalog is attached, as seen from the root of its space: `''` for the root, else `/a/b`. */
  readonly mountPath: Buffer;
  /** With 32-bit inode numbers, st_ino is this plus the rowid, modulo 2^32. Not used with 64-bit ones. */
  readonly inodeBase: number;
  readonly maxRowid: number;
}

/** A million attached catalogs; each is some 200 bytes of memory in every thread. */
export const MAX_PLACES = 1 << 20;
/** The list lies in memory (run_dir): a hostile repository's catalogs at paths of 4 kB each must not fill it. */
export const MAX_LIST_BYTES = 256 * 1024 * 1024;
const TWO_32 = 4294967296;
/** Small inode numbers mean something to programs (1 and 2: the root and our own directory). */
const INODE_BASE_MIN = 256;
const SPACE = /^(files|(live|view)@[0-9a-f]{40}(-rmd160|-shake128)?)$/;

/** Grows when a line changes its meaning; an older program refuses a newer list and leaves it as it is. */
const LIST_VERSION = 1;
const VERSION_LINE = /^0 index-list (\d{1,9})\n/;
/** As much of a list as holds its first line. */
export const LIST_HEAD_BYTES = 64;

/** FAILED_PRECONDITION for the list of a newer program. `head`: its first bytes. */
export function checkListVersion(head: Buffer, name = "the mount's index list"): void {
  const version = VERSION_LINE.exec(head.toString('latin1', 0, LIST_HEAD_BYTES))?.[1];
  if (version === undefined || Number(version) <= LIST_VERSION) return;
  throw new Failure('FAILED_PRECONDITION', `${name} has version ${version}, this program knows versions up to ${LIST_VERSION}`, { next: 'use the newer mesos-cvmfs that wrote it', data: { version: Number(version) } });
}

/** What `ensure` must know of a catalog to number its inodes. */
export interface InodeRange {
  /** Largest rowid of the catalog. */
  readonly maxRowid: number;
  /** 32-bit inode numbers of the directories above the place, which no directory in it may share. */
  readonly ancestors: readonly number[];
}

function encode(place: Place): string {
  const path = [...place.mountPath].map((byte) => (byte > 0x20 && byte < 0x7f && byte !== 0x25 ? String.fromCharCode(byte) : `%${byte.toString(16).padStart(2, '0')}`)).join('');
  return `${place.index} ${place.space} ${place.catalogText} ${place.inodeBase} ${place.maxRowid} ${path}\n`;
}

function decodePath(text: string): Buffer {
  return Buffer.from(text.replace(/%([0-9a-f]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16))), 'latin1');
}

function decode(line: string, expectedIndex: number): Place {
  const [index, space, catalogText, inodeBase, maxRowid, path] = line.split(' ');
  if (index !== String(expectedIndex) || space === undefined || !SPACE.test(space) || catalogText === undefined || !(Number(inodeBase) >= 0) || !(Number(maxRowid) >= 0) || path === undefined) {
    throw new Failure('STATE_DAMAGED', `line ${expectedIndex} of the mount's index list is damaged`, { next: 'unmount the repository and mount it again' });
  }
  return { index: expectedIndex, space: space as Space, catalog: parseHash(catalogText), catalogText, mountPath: decodePath(path), inodeBase: Number(inodeBase), maxRowid: Number(maxRowid) };
}

/** First inode number after `from` such that a range of `maxRowid` numbers holds none that is taken. */
function inodeBaseAfter(from: number, range: InodeRange): number {
  const taken = [0, 1, 2, ...range.ancestors];
  let base = from;
  for (let attempt = 0; attempt <= taken.length; attempt++) {
    const hit = taken.find((ino) => {
      const distance = (ino - base + TWO_32) % TWO_32;
      return distance >= 1 && distance <= range.maxRowid;
    });
    if (hit === undefined) return base;
    base = (hit + (hit < INODE_BASE_MIN ? INODE_BASE_MIN : 0)) % TWO_32;
  }
  throw new Failure('CATALOG_INVALID', `a catalog with row ${range.maxRowid} does not fit into 32-bit inode numbers`, { next: 'mount with inode_bits = 64' });
}

/** One thread's view of the index list. */
export class PlaceList {
  readonly #fd: number;
  readonly #shared: SharedState;
  readonly #inodeBits: 32 | 64;
  readonly #places: Place[] = [];
  readonly #byMeaning = new Map<string, Place>();
  readonly #views = new Map<string, Place>();
  #read = 0;
  #nextInode = INODE_BASE_MIN;

  /** `fd`: the list's file, open for reading and appending. Call `PlaceList.recover` once per process before. */
  constructor(fd: number, shared: SharedState, inodeBits: 32 | 64) {
    this.#fd = fd;
    this.#shared = shared;
    this.#inodeBits = inodeBits;
  }

  /**
   * Cuts off a torn last line, begins a list that is empty, and tells all threads how much of it there is. For the holder of
   * the file's lock. FAILED_PRECONDITION for the list of a newer program.
   */
  static recover(fd: number, shared: SharedState): void {
    const bytes = Buffer.alloc(fs.fstatSync(fd).size);
    for (let at = 0, got = -1; at < bytes.length && got !== 0; at += got) got = fs.readSync(fd, bytes, at, bytes.length - at, at);
    checkListVersion(bytes);
    const complete = bytes.lastIndexOf(0x0a) + 1;
    if (complete < bytes.length) fs.ftruncateSync(fd, complete);
    shared.placeBytes = complete === 0 ? fs.writeSync(fd, `0 index-list ${LIST_VERSION}\n`, 0) : complete;
  }

  get(index: number): Place | undefined {
    if (index > this.#places.length) this.#catchUp();
    return this.#places[index - 1];
  }

  /** The place with this meaning when somebody has made it. */
  find(space: Space, catalogText: string, mountPath: Buffer): Place | undefined {
    const key = this.#key(space, catalogText, mountPath);
    const known = this.#byMeaning.get(key);
    if (known !== undefined) return known;
    this.#catchUp();
    return this.#byMeaning.get(key);
  }

  /** The root of the pinned view of a catalog, when the view has been made. */
  view(catalogText: string): Place | undefined {
    this.#catchUp();
    return this.#views.get(catalogText);
  }

  /** The place with this meaning, made now if it is new. */
  ensure(space: Space, catalog: ContentHash, mountPath: Buffer, range: () => InodeRange): Place {
    const catalogText = formatHash(catalog);
    const key = this.#key(space, catalogText, mountPath);
    const known = this.#byMeaning.get(key);
    if (known !== undefined) return known;
    return this.#shared.locked(() => {
      this.#catchUp();
      const made = this.#byMeaning.get(key);
      if (made !== undefined) return made;
      if (this.#places.length >= MAX_PLACES) throw new Failure('RESOURCE_EXHAUSTED', `this mount has attached ${MAX_PLACES} catalogs`, { next: 'unmount the repository and mount it again' });
      const numbers = range();
      const inodeBase = this.#inodeBits === 32 ? inodeBaseAfter(this.#nextInode, numbers) : this.#nextInode;
      this.#append(encode({ index: this.#places.length + 1, space, catalog, catalogText, mountPath, inodeBase, maxRowid: numbers.maxRowid }));
      this.#catchUp();
      return this.#byMeaning.get(key)!;
    });
  }

  /** Every place, in order of index. */
  all(): readonly Place[] {
    this.#catchUp();
    return this.#places;
  }

  #key(space: Space, catalogText: string, mountPath: Buffer): string {
    return `${space} ${catalogText} ${mountPath.toString('latin1')}`;
  }

  #append(line: string): void {
    const end = this.#shared.placeBytes;
    const bytes = Buffer.from(line, 'latin1');
    if (end + bytes.length > MAX_LIST_BYTES) throw new Failure('RESOURCE_EXHAUSTED', `the index list of this mount has ${end} bytes, the limit is ${MAX_LIST_BYTES}`, { next: 'unmount the repository and mount it again' });
    let written = 0;
    try {
      while (written < bytes.length) written += fs.writeSync(this.#fd, bytes, written, bytes.length - written, end + written);
    } catch (error) {
      // A half line would be followed by a whole one, and both would be lost: take it back (the disk is full).
      fs.ftruncateSync(this.#fd, end);
      throw Failure.from(error, "the mount's index list");
    }
    this.#shared.placeBytes = end + bytes.length;
  }

  #catchUp(): void {
    const end = this.#shared.placeBytes;
    if (end === this.#read) return;
    const bytes = Buffer.alloc(end - this.#read);
    for (let at = 0; at < bytes.length; ) {
      const got = fs.readSync(this.#fd, bytes, at, bytes.length - at, this.#read + at);
      if (got === 0) throw new Failure('STATE_DAMAGED', "the mount's index list became shorter", { next: 'unmount the repository and mount it again' });
      at += got;
    }
    for (const line of bytes.toString('latin1').split('\n').slice(0, -1)) this.#add(line);
    this.#read = end;
  }

  #add(line: string): void {
    if (this.#places.length === 0 && VERSION_LINE.test(`${line}\n`)) return;
    const place = decode(line, this.#places.length + 1);
    this.#places.push(place);
    if (place.space === `view@${place.catalogText}` && !this.#views.has(place.catalogText)) this.#views.set(place.catalogText, place);
    this.#nextInode = (place.inodeBase + place.maxRowid) % TWO_32;
    this.#byMeaning.set(this.#key(place.space, place.catalogText, place.mountPath), place);
  }
}
