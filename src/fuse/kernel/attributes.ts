/**
 * The structures that describe one node to the kernel.
 *
 *     attr (88 bytes)                                     entry (128 bytes)
 *     0 u64 ino    8 u64 size    16 u64 blocks            0  u64 nodeid        8  u64 generation
 *     24 u64 atime 32 u64 mtime  40 u64 ctime             16 u64 entry valid   24 u64 attribute valid (seconds)
 *     48 u32 atime ns  52 u32 mtime ns  56 u32 ctime ns   32 u32 … nanoseconds 36 u32 … nanoseconds
 *     60 u32 mode  64 u32 nlink  68 u32 uid  72 u32 gid   40 attr
 *     76 u32 rdev  80 u32 blksize  84 u32 flags
 */
import type { NodeAttributes } from '../../repository/node-attributes';

export const ATTR_BYTES = 88;
export const ENTRY_BYTES = 128;
export const ATTR_REPLY_BYTES = 16 + ATTR_BYTES;

const BLOCK_BYTES = 4096;
const TWO_32 = 4294967296;

function writeUInt64(out: Buffer, value: number, at: number): void {
  out.writeUInt32LE(value % TWO_32, at);
  out.writeUInt32LE(Math.floor(value / TWO_32), at + 4);
}

function writeTime(out: Buffer, seconds: number, at: number): void {
  if (seconds >= 0) writeUInt64(out, seconds, at);
  else out.writeBigInt64LE(BigInt(seconds), at);
}

/** Writes an attr structure. `st_blocks` as the stock client reports it: 1 + size / 512 (spec 4.4). */
export function writeAttributes(out: Buffer, at: number, a: NodeAttributes): void {
  out.writeUInt32LE(a.inoRowid, at);
  out.writeUInt32LE(a.inoIndex, at + 4);
  writeUInt64(out, a.size, at + 8);
  writeUInt64(out, 1 + Math.floor(a.size / 512), at + 16);
  writeTime(out, a.mtime, at + 24);
  writeTime(out, a.mtime, at + 32);
  writeTime(out, a.mtime, at + 40);
  out.writeUInt32LE(a.mtimeNs, at + 48);
  out.writeUInt32LE(a.mtimeNs, at + 52);
  out.writeUInt32LE(a.mtimeNs, at + 56);
  out.writeUInt32LE(a.mode, at + 60);
  out.writeUInt32LE(a.nlink, at + 64);
  out.writeUInt32LE(a.uid, at + 68);
  out.writeUInt32LE(a.gid, at + 72);
  out.writeUInt32LE(a.rdev, at + 76);
  out.writeUInt32LE(BLOCK_BYTES, at + 80);
  out.writeUInt32LE(0, at + 84);
}

/** How long the kernel may keep something, in milliseconds. */
export interface Validity {
  readonly entryMs: number;
  readonly attributesMs: number;
}

function writeValidity(out: Buffer, secondsAt: number, nanosecondsAt: number, ms: number): void {
  writeUInt64(out, Math.floor(ms / 1000), secondsAt);
  out.writeUInt32LE(Math.floor(ms % 1000) * 1_000_000, nanosecondsAt);
}

/** Writes an entry structure: node id, validity, attributes. Generation stays 0: a node id never changes its meaning. */
export function writeEntry(out: Buffer, at: number, index: number, rowid: number, validity: Validity, a: NodeAttributes): void {
  out.fill(0, at, at + 40);
  out.writeUInt32LE(rowid, at);
  out.writeUInt32LE(index, at + 4);
  writeValidity(out, at + 16, at + 32, validity.entryMs);
  writeValidity(out, at + 24, at + 36, validity.attributesMs);
  writeAttributes(out, at + 40, a);
}

/** An entry with node id 0: “there is nothing of that name”, which the kernel keeps for `entryMs`. */
export function writeNegativeEntry(out: Buffer, at: number, entryMs: number): void {
  out.fill(0, at, at + ENTRY_BYTES);
  writeValidity(out, at + 16, at + 32, entryMs);
}

/** Writes the body of a GETATTR reply. */
export function writeAttrReply(out: Buffer, at: number, attributesMs: number, a: NodeAttributes): void {
  out.fill(0, at, at + 16);
  writeValidity(out, at, at + 8, attributesMs);
  writeAttributes(out, at + 16, a);
}
