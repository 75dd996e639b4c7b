/**
 * One row of a catalog's main table (spec 4.1, 4.4), and which rows are fit to be seen. A row that no file system can
 * hold (a name with a slash, a size beyond 2^53, a mode that contradicts its flags) is left out of everything.
 */
import { compression, hashAlgorithm, isDirectory, isRegular, isSpecial, isSymlink } from './flags';
import { pathKey } from './path-key';
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

export const MAX_NAME_BYTES = 255;
export const MAX_TARGET_BYTES = 4095;
/** 255 attributes with names and values of 255 bytes. */
const MAX_XATTR_BYTES = 2 + 255 * (2 + 255 + 255);

/** What a query for rows selects, in this order. `has` says which of the columns that came late are there. */
export function entryColumns(has: { readonly xattr: boolean; readonly mtimens: boolean }): string {
  // 64-bit columns come as halves because the binding's BigInts are slow, and there would be one for every column.
  // Names and links come as text, which is four times faster than bytes; the few that are not UTF-8 are read again.
  const half = (column: string): string => `${column} >> 32, ${column} & 0xffffffff`;
  const bounded = (column: string, maxBytes: number): string => `CASE WHEN octet_length(${column}) <= ${maxBytes} THEN ${column} END`;
  return [
    'rowid',
    half('md5path_1'),
    half('md5path_2'),
    half('parent_1'),
    half('parent_2'),
    bounded('name', MAX_NAME_BYTES),
    'flags',
    'CASE WHEN hash IS NULL THEN NULL WHEN octet_length(hash) = 20 THEN hex(hash) WHEN octet_length(hash) = 0 THEN NULL ELSE 0 END',
    'size',
    'mode',
    'mtime',
    has.mtimens ? 'mtimens' : 'NULL',
    half('hardlinks'),
    'uid',
    'gid',
    bounded('symlink', MAX_TARGET_BYTES),
    has.xattr ? bounded('xattr', MAX_XATTR_BYTES) : 'NULL',
  ].join(', ');
}

/** One row as the query gives it. */
export type RawRow = readonly unknown[];

/** Reads name and link of a row as bytes. */
export type ReadBytes = (rowid: number) => { name: Buffer; symlink: Buffer };

const ROOT_KEY = pathKey(Buffer.alloc(0));
const EMPTY = Buffer.alloc(0);
const NULL_HEX = '0'.repeat(40);
const TYPE_BITS = 0o170000;
const [DIRECTORY, REGULAR, SYMLINK] = [0o040000, 0o100000, 0o120000];
const SPECIAL: readonly number[] = [0o010000, 0o020000, 0o060000, 0o140000];

/** The entry of a row, or undefined for one that is not fit to be seen. */
export function readEntry(row: RawRow, readBytes: ReadBytes): CatalogEntry | undefined {
  const [rowid, k0, k1, k2, k3, p0, p1, p2, p3, nameText, flags, hashHex, size, mode, mtime, mtimens, group, links, uid, gid, linkText, xattrs] = row;
  if (!isCount(flags) || !isCount(size) || !isCount(mode) || !Number.isSafeInteger(mtime) || !isInteger(uid) || !isInteger(gid)) return undefined;
  if (!isInteger(k0) || !isInteger(k1) || !isInteger(k2) || !isInteger(k3) || !isInteger(p0) || !isInteger(p1) || !isInteger(p2) || !isInteger(p3)) return undefined;
  if (hashHex !== null && typeof hashHex !== 'string') return undefined;
  if (!modeFits(flags, mode)) return undefined;
  if (isRegular(flags) && (hashAlgorithm(flags) === undefined || compression(flags) === undefined)) return undefined;

  let name = toBytes(nameText);
  let symlink = linkText === null ? EMPTY : toBytes(linkText);
  if (name === undefined || symlink === undefined) {
    if (typeof nameText !== 'string' || (linkText !== null && typeof linkText !== 'string')) return undefined;
    ({ name, symlink } = readBytes(rowid as number));
  }
  const directory = isDirectory(flags);
  if (isSymlink(flags) ? symlink.length === 0 || symlink.includes(0) : symlink.length !== 0) {
    if (isSymlink(flags)) return undefined;
    symlink = EMPTY;
  }
  const key = { hi: joinHalves(k0, k1), lo: joinHalves(k2, k3) };
  const isRoot = name.length === 0 && directory && key.hi === ROOT_KEY.hi && key.lo === ROOT_KEY.lo;
  if (!isRoot && !isFileName(name)) return undefined;
  return {
    rowid: rowid as number,
    key,
    parent: { hi: joinHalves(p0, p1), lo: joinHalves(p2, p3) },
    name,
    flags,
    hash: hashHex === null || hashHex === NULL_HEX ? null : Buffer.from(hashHex, 'hex'),
    size,
    mode,
    mtime: mtime as number,
    mtimeNs: isCount(mtimens) && mtimens < 1e9 ? mtimens : -1,
    linkCount: isCount(links) && links > 0 ? links : 1,
    // A directory under two names would be two parents of one inode, which the kernel answers with errors.
    hardlinkGroup: !directory && isCount(group) ? group : 0,
    uid: uid >>> 0,
    gid: gid >>> 0,
    symlink,
    xattrs: Buffer.isBuffer(xattrs) ? xattrs : null,
  };
}

/** True for what may be one component of a path. */
export function isFileName(name: Buffer): boolean {
  if (name.length === 0 || name.length > MAX_NAME_BYTES) return false;
  if (name[0] === 0x2e && (name.length === 1 || (name.length === 2 && name[1] === 0x2e))) return false;
  return !name.includes(0x2f) && !name.includes(0);
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

/** Upper and lower half of a signed 64-bit integer as SQL shifts and masks it. */
function joinHalves(upper: number, lower: number): bigint {
  return (BigInt(upper) << 32n) | BigInt(lower);
}

/** undefined for text that may not have been UTF-8: the binding puts U+FFFD in place of what it cannot decode. */
function toBytes(value: unknown): Buffer | undefined {
  if (typeof value === 'string') return value.includes('\ufffd') ? undefined : Buffer.from(value, 'utf8');
  return Buffer.isBuffer(value) ? value : undefined;
}

function modeFits(flags: number, mode: number): boolean {
  if (mode > 0xffff) return false;
  const type = mode & TYPE_BITS;
  if (isDirectory(flags)) return type === DIRECTORY;
  if (isSymlink(flags)) return type === SYMLINK;
  if (isSpecial(flags)) return SPECIAL.includes(type);
  return isRegular(flags) && type === REGULAR;
}

function isInteger(value: unknown): value is number {
  return Number.isSafeInteger(value);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
