/**
 * The packed entries of READDIR and READDIRPLUS replies.
 *
 *     dirent: 0 u64 ino   8 u64 offset of the next entry   16 u32 name length   20 u32 type (mode >> 12)   24 name, padded to 8
 *     READDIRPLUS puts a 128-byte entry structure before each dirent.
 */
import { ENTRY_BYTES } from './attributes';

const DIRENT_HEADER_BYTES = 24;

export interface Cursor {
  /** High half of the offset that continues after this entry. */
  readonly high: number;
  readonly low: number;
}

export function direntBytes(nameLength: number, plus: boolean): number {
  return (plus ? ENTRY_BYTES : 0) + ((DIRENT_HEADER_BYTES + nameLength + 7) & ~7);
}

/** Writes a dirent (without the entry structure of READDIRPLUS) at `at`; the caller has checked that it fits. */
export function writeDirent(out: Buffer, at: number, inoIndex: number, inoRowid: number, next: Cursor, mode: number, name: Buffer): void {
  out.writeUInt32LE(inoRowid, at);
  out.writeUInt32LE(inoIndex, at + 4);
  out.writeUInt32LE(next.low, at + 8);
  out.writeUInt32LE(next.high, at + 12);
  out.writeUInt32LE(name.length, at + 16);
  out.writeUInt32LE((mode >>> 12) & 15, at + 20);
  name.copy(out, at + DIRENT_HEADER_BYTES);
  out.fill(0, at + DIRENT_HEADER_BYTES + name.length, at + direntBytes(name.length, false));
}
