/**
 * One row of a catalog's main table, where it lies: numbers decoded, names and hashes left in the page until somebody
 * wants them. The rules of what is fit to be seen are those of catalog-entry.ts, which reads rows that SQLite gives.
 */
import type { CatalogEntry, ListedEntry } from './catalog-entry';
import { isFileNameAt, MAX_NAME_BYTES, MAX_TARGET_BYTES, MAX_XATTR_BYTES, modeFits } from './catalog-entry';
import { compression, hashAlgorithm, isDirectory, isRegular, isSymlink } from './flags';
import { DIGEST_BYTES } from './hash';
import { pathKey } from './path-key';
import type { PathKey } from './path-key';
import type { PageFile } from './sqlite/page-file';
import type { Payload } from './sqlite/payload';
import { RecordReader } from './sqlite/record';

/** In the order of the slots below; the last two came late and may be absent. */
export const ROW_COLUMNS = ['md5path_1', 'md5path_2', 'parent_1', 'parent_2', 'hardlinks', 'hash', 'size', 'mode', 'mtime', 'flags', 'name', 'symlink', 'uid', 'gid', 'xattr', 'mtimens'] as const;
const [KEY_1, KEY_2, PARENT_1, PARENT_2, HARDLINKS, HASH, SIZE, MODE, MTIME, FLAGS, NAME, SYMLINK, UID, GID, XATTR, MTIMENS] = ROW_COLUMNS.keys();

const EMPTY = Buffer.alloc(0);
const ROOT_KEY = pathKey(EMPTY);

export class CatalogRow {
  rowid = 0;
  /** False for a row that no file system can hold; nothing else of it is meaningful then. */
  fit = false;
  /** See CatalogEntry for these. */
  flags = 0;
  size = 0;
  mode = 0;
  mtime = 0;
  mtimeNs = -1;
  linkCount = 1;
  hardlinkGroup = 0;
  uid = 0;
  gid = 0;
  nameLength = 0;
  readonly #record: RecordReader;

  /** `columns[i]` is where the table has ROW_COLUMNS[i]; −1 for a column that it lacks. */
  constructor(file: PageFile, columns: readonly number[]) {
    this.#record = new RecordReader(file, columns);
  }

  /** Reads the row that a search has found. */
  read(payload: Payload, rowid: number): void {
    this.#record.read(payload);
    this.rowid = rowid;
    this.fit = this.#decode();
  }

  #decode(): boolean {
    const record = this.#record;
    const flags = record.integer(FLAGS!);
    const size = record.integer(SIZE!);
    const mode = record.integer(MODE!);
    const mtime = record.integer(MTIME!);
    const uid = record.integer(UID!);
    const gid = record.integer(GID!);
    // NaN is what is no integer.
    if (!(Number.isSafeInteger(flags) && flags >= 0 && Number.isSafeInteger(size) && size >= 0 && mode >= 0 && modeFits(flags, mode))) return false;
    if (!(Number.isSafeInteger(mtime) && Number.isSafeInteger(uid) && Number.isSafeInteger(gid))) return false;
    if (isRegular(flags) && (hashAlgorithm(flags) === undefined || compression(flags) === undefined)) return false;
    const hashLength = record.length(HASH!);
    if (!record.isNull(HASH!) && (record.serial[HASH!]! < 12 || (hashLength !== DIGEST_BYTES && hashLength !== 0) || record.at[HASH!]! < 0)) return false;
    if (!(record.isInteger(KEY_1!) && record.isInteger(KEY_2!) && record.isInteger(PARENT_1!) && record.isInteger(PARENT_2!))) return false;

    this.nameLength = record.length(NAME!);
    const nameAt = record.at[NAME!]!;
    if (record.serial[NAME!]! < 12 || this.nameLength > MAX_NAME_BYTES || nameAt < 0) return false;
    if (this.nameLength === 0) {
      if (!isDirectory(flags) || !this.hasKey(ROOT_KEY)) return false;
    } else if (!isFileNameAt(record.bytes, nameAt, nameAt + this.nameLength)) return false;
    if (isSymlink(flags)) {
      const targetAt = record.at[SYMLINK!]!;
      const targetLength = record.length(SYMLINK!);
      if (record.serial[SYMLINK!]! < 12 || targetLength === 0 || targetLength > MAX_TARGET_BYTES || targetAt < 0) return false;
      for (let i = targetAt; i < targetAt + targetLength; i += 1) if (record.bytes[i] === 0) return false;
    }

    this.flags = flags;
    this.size = size;
    this.mode = mode;
    this.mtime = mtime;
    this.uid = uid >>> 0;
    this.gid = gid >>> 0;
    const mtimeNs = record.integer(MTIMENS!);
    this.mtimeNs = mtimeNs >= 0 && mtimeNs < 1e9 ? mtimeNs : -1;
    this.linkCount = 1;
    this.hardlinkGroup = 0;
    if (record.halves(HARDLINKS!) && record.high >= 0) {
      this.linkCount = record.low > 1 ? record.low : 1;
      // A directory under two names would be two parents of one inode, which the kernel answers with errors.
      if (!isDirectory(flags)) this.hardlinkGroup = record.high;
    }
    return true;
  }

  /** True when the row's own key is this. */
  hasKey(key: PathKey): boolean {
    return this.#is(KEY_1!, key.hi) && this.#is(KEY_2!, key.lo);
  }

  #is(slot: number, value: bigint): boolean {
    return this.#record.halves(slot) && this.#record.low === Number(value & 0xffffffffn) && this.#record.high === Number(value >> 32n);
  }

  #value(slot: number): bigint {
    this.#record.halves(slot);
    return (BigInt(this.#record.high) << 32n) | BigInt(this.#record.low);
  }

  /** Raw target; empty for what is no link. */
  get symlink(): Buffer {
    return isSymlink(this.flags) ? this.#record.copy(SYMLINK!, MAX_TARGET_BYTES)! : EMPTY;
  }

  /** A copy of what a listing shows. */
  listed(): ListedEntry {
    return {
      rowid: this.rowid,
      name: this.#record.copy(NAME!, MAX_NAME_BYTES)!,
      flags: this.flags,
      size: this.size,
      mode: this.mode,
      mtime: this.mtime,
      mtimeNs: this.mtimeNs,
      linkCount: this.linkCount,
      hardlinkGroup: this.hardlinkGroup,
      uid: this.uid,
      gid: this.gid,
      symlink: this.symlink,
    };
  }

  /** A copy that stays good. What the asker knows already is not read: it was the condition of the search. */
  entry(known: { readonly key?: PathKey; readonly parent?: PathKey } = {}): CatalogEntry {
    const record = this.#record;
    const digest = record.copy(HASH!, DIGEST_BYTES);
    return {
      rowid: this.rowid,
      key: known.key ?? { hi: this.#value(KEY_1!), lo: this.#value(KEY_2!) },
      parent: known.parent ?? { hi: this.#value(PARENT_1!), lo: this.#value(PARENT_2!) },
      name: record.copy(NAME!, MAX_NAME_BYTES)!,
      flags: this.flags,
      hash: digest === null || digest.length === 0 || digest.every((byte) => byte === 0) ? null : digest,
      size: this.size,
      mode: this.mode,
      mtime: this.mtime,
      mtimeNs: this.mtimeNs,
      linkCount: this.linkCount,
      hardlinkGroup: this.hardlinkGroup,
      uid: this.uid,
      gid: this.gid,
      symlink: this.symlink,
      xattrs: record.isBlob(XATTR!) ? record.copy(XATTR!, MAX_XATTR_BYTES) : null,
    };
  }
}
