/**
 * One row of a catalog's main table (spec 4.1, 4.4), and which rows are fit to be seen. A row that no file system can
 * hold (a name with a slash, a size beyond 2^53, a mode that contradicts its flags) is left out of everything.
 */
import { bounded, bytes, integer } from './database';
import { compression, hashAlgorithm, isDirectory, isRegular, isSpecial, isSymlink } from './flags';
import { pathKey, samePathKey } from './path-key';
import type { PathKey } from './path-key';

export interface CatalogEntry {
  /** 1 to 2^32 − 1. */
  readonly rowid: number;
  readonly key: PathKey;
  readonly parent: PathKey;
  /** Raw bytes, not always UTF-8; empty only for the root of the repository. */
  readonly name: Buffer;
  /** See flags.ts. */
  readonly flags: number;
  /** Digest of the stored bytes; null for what has none. The algorithm is in the flags. */
  readonly hash: Buffer | null;
  /** Bytes; for a link those of the raw target; for a device its device number. */
  readonly size: number;
  /** All of st_mode, with the type bits. */
  readonly mode: number;
  /** Unix seconds. */
  readonly mtime: number;
  /** 0 to 999,999,999, or −1 where the publisher did not record them. */
  readonly mtimeNs: number;
  /** st_nlink, at least 1. */
  readonly linkCount: number;
  /** Names of one group in one directory are one file; 0 for none. Numbers are of this catalog alone. */
  readonly hardlinkGroup: number;
  readonly uid: number;
  readonly gid: number;
  /** Raw target, variables not expanded; empty for what is no link. */
  readonly symlink: Buffer;
  /** See xattr-blob.ts; null for none. */
  readonly xattrs: Buffer | null;
}

/** What a listing tells of an entry: without what costs more to read than all of it. */
export type ListedEntry = Omit<CatalogEntry, 'key' | 'parent' | 'hash' | 'xattrs'>;

export const MAX_NAME_BYTES = 255;
export const MAX_TARGET_BYTES = 4095;
/** 255 attributes with names and values of 255 bytes. */
export const MAX_XATTR_BYTES = 2 + 255 * (2 + 255 + 255);

/** What the asker of a row knows already, since it was the condition of the query: its columns are not selected. */
export interface KnownKeys {
  readonly key?: PathKey;
  readonly parent?: PathKey;
}

/** What a query for rows selects, in this order. `has` says which of the columns that came late are there. */
export function entryColumns(has: { readonly xattr: boolean; readonly mtimens: boolean }, known: 'nothing' | 'key' | 'parent'): string {
  // Numbers come as doubles: the binding's BigInts cost twice as much, and there would be one for every column. So keys
  // come as halves. Names and links come as text, which is four times faster than bytes; what is not exact this way is
  // read again (`ReadExact`). A listing of 5,000 entries: 0.4 M rows/s, against 0.25 M with bytes and BigInts.
  const halves = (column: string): string => `${column}_1 >> 32, ${column}_1 & 0xffffffff, ${column}_2 >> 32, ${column}_2 & 0xffffffff`;
  return [
    'rowid',
    bounded('name', MAX_NAME_BYTES),
    integer('flags'),
    'CASE WHEN octet_length(hash) = 20 THEN hex(hash) WHEN hash IS NULL OR octet_length(hash) = 0 THEN NULL ELSE 0 END',
    integer('size'),
    integer('mode'),
    integer('mtime'),
    has.mtimens ? integer('mtimens') : 'NULL',
    integer('hardlinks'),
    integer('uid'),
    integer('gid'),
    bounded('symlink', MAX_TARGET_BYTES),
    has.xattr ? bounded('xattr', MAX_XATTR_BYTES) : 'NULL',
    ...(known === 'key' ? [] : [halves('md5path')]),
    ...(known === 'parent' ? [] : [halves('parent')]),
  ].join(', ');
}

/** The columns that `ReadExact` answers. */
export const EXACT_COLUMNS = `${bytes('name', MAX_NAME_BYTES)}, ${bytes('symlink', MAX_TARGET_BYTES)}, hardlinks >> 32, hardlinks & 0xffffffff`;

/** One row as the query gives it. */
export type RawRow = readonly unknown[];

/** Reads again what may not have arrived exactly: text that is not UTF-8, an integer above 2^53. */
export type ReadExact = (rowid: number) => { name: Buffer; symlink: Buffer; group: number; links: number };

const ROOT_KEY = pathKey(Buffer.alloc(0));
const EMPTY = Buffer.alloc(0);
const NULL_HEX = '0'.repeat(40);
const TYPE_BITS = 0o170000;
const [DIRECTORY, REGULAR, SYMLINK] = [0o040000, 0o100000, 0o120000];
/** Column of `entryColumns` at which the keys begin. */
const FIRST_KEY_COLUMN = 13;
const SPECIAL: readonly number[] = [0o010000, 0o020000, 0o060000, 0o140000];

/** The entry of a row, or undefined for one that is not fit to be seen. */
export function readEntry(row: RawRow, known: KnownKeys, readExact: ReadExact): CatalogEntry | undefined {
  const [rowid, nameText, flags, hashHex, size, mode, mtime, mtimens, hardlinks, uid, gid, linkText, xattrs] = row;
  if (!isCount(flags) || !isCount(size) || !isCount(mode)) return undefined;
  if (!Number.isSafeInteger(mtime) || !Number.isSafeInteger(uid) || !Number.isSafeInteger(gid)) return undefined;
  if (hashHex !== null && typeof hashHex !== 'string') return undefined;
  if (!modeFits(flags, mode)) return undefined;
  if (isRegular(flags) && (hashAlgorithm(flags) === undefined || compression(flags) === undefined)) return undefined;
  const key = known.key ?? keyAt(row, FIRST_KEY_COLUMN);
  const parent = known.parent ?? keyAt(row, known.key === undefined ? FIRST_KEY_COLUMN + 4 : FIRST_KEY_COLUMN);
  if (key === undefined || parent === undefined) return undefined;

  let name = toBytes(nameText);
  let symlink = linkText === null ? EMPTY : toBytes(linkText);
  let group = 0;
  let links = 1;
  if (isCount(hardlinks)) {
    group = Math.floor(hardlinks / 2 ** 32);
    links = hardlinks % 2 ** 32;
  }
  if (name === undefined || symlink === undefined || (typeof hardlinks === 'number' && !Number.isSafeInteger(hardlinks))) {
    if (typeof nameText !== 'string' && !Buffer.isBuffer(nameText)) return undefined;
    ({ name, symlink, group, links } = readExact(rowid as number));
  }
  if (!isSymlink(flags)) symlink = EMPTY;
  else if (symlink.length === 0 || symlink.includes(0)) return undefined;
  const directory = isDirectory(flags);
  const isRoot = name.length === 0 && directory && samePathKey(key, ROOT_KEY);
  if (!isRoot && !isFileName(name)) return undefined;
  return {
    rowid: rowid as number,
    key,
    parent,
    name,
    flags,
    hash: hashHex === null || hashHex === NULL_HEX ? null : Buffer.from(hashHex, 'hex'),
    size,
    mode,
    mtime: mtime as number,
    mtimeNs: isCount(mtimens) && mtimens < 1e9 ? mtimens : -1,
    linkCount: Math.max(1, links),
    // A directory under two names would be two parents of one inode, which the kernel answers with errors.
    hardlinkGroup: directory ? 0 : Math.max(0, group),
    uid: (uid as number) >>> 0,
    gid: (gid as number) >>> 0,
    symlink,
    xattrs: Buffer.isBuffer(xattrs) ? xattrs : null,
  };
}

/** True for what may be one component of a path. */
export function isFileName(name: Buffer): boolean {
  return isFileNameAt(name, 0, name.length);
}

/** The same of a name that lies somewhere in `bytes`. */
export function isFileNameAt(bytes: Buffer, start: number, end: number): boolean {
  const length = end - start;
  if (length < 1 || length > MAX_NAME_BYTES) return false;
  if (bytes[start] === 0x2e && (length === 1 || (length === 2 && bytes[start + 1] === 0x2e))) return false;
  for (let i = start; i < end; i += 1) if (bytes[i] === 0x2f || bytes[i] === 0) return false;
  return true;
}

/** True for the empty path and for `/a/b` made of file names. */
export function isEntryPath(path: Buffer): boolean {
  if (path.length === 0) return true;
  if (path[0] !== 0x2f) return false;
  for (let start = 1; start <= path.length; ) {
    const slash = path.indexOf(0x2f, start);
    const end = slash === -1 ? path.length : slash;
    if (!isFileName(path.subarray(start, end))) return false;
    start = end + 1;
  }
  return path[path.length - 1] !== 0x2f;
}

/** A key from the halves of its two signed integers, as SQL shifts and masks them. */
function keyAt(row: RawRow, column: number): PathKey | undefined {
  const hi = joinHalves(row[column], row[column + 1]);
  const lo = joinHalves(row[column + 2], row[column + 3]);
  return hi === undefined || lo === undefined ? undefined : { hi, lo };
}

function joinHalves(upper: unknown, lower: unknown): bigint | undefined {
  return typeof upper === 'number' && typeof lower === 'number' ? (BigInt(upper) << 32n) | BigInt(lower) : undefined;
}

/** undefined for text that may not have been UTF-8: the binding puts U+FFFD in place of what it cannot decode. */
function toBytes(value: unknown): Buffer | undefined {
  if (typeof value === 'string') return value.includes('\ufffd') ? undefined : Buffer.from(value, 'utf8');
  return Buffer.isBuffer(value) ? value : undefined;
}

export function modeFits(flags: number, mode: number): boolean {
  if (mode > 0xffff) return false;
  const type = mode & TYPE_BITS;
  if (isDirectory(flags)) return type === DIRECTORY;
  if (isSymlink(flags)) return type === SYMLINK;
  if (isSpecial(flags)) return SPECIAL.includes(type);
  return isRegular(flags) && type === REGULAR;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
