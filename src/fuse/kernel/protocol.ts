/**
 * The kernel's FUSE protocol, as far as a read-only file system meets it (Linux: include/uapi/linux/fuse.h, protocol
 * 7.31 to 7.45). All numbers are in host order; every machine this runs on is little-endian, which `assertHost` checks.
 *
 *     request                                reply
 *     0  u32 len    4  u32 opcode            0  u32 len   4  i32 error (0 or -errno; a notification's code when unique is 0)
 *     8  u64 unique                          8  u64 unique, echoed untouched (its top bit marks a resent request)
 *     16 u64 nodeid                          16 …  body
 *     24 u32 uid    28 u32 gid   32 u32 pid  36 u16 extension length, u16 padding
 *     40 …  body
 *
 * A node id is two 32-bit halves, rowid (low) and index (high); it is never handled as one number, since a double does
 * not hold 64 bits.
 */
import * as os from 'node:os';
import { Failure } from '../../error';

export const IN_HEADER_BYTES = 40;
export const OUT_HEADER_BYTES = 16;

/** Largest READ that is negotiated; the kernel adds nothing to it in a request, only in our reply. */
export const MAX_READ_BYTES = 1024 * 1024;
/** The kernel refuses a read of its device into less than 8 KiB; names and small bodies never need more than this. */
export const REQUEST_BUFFER_BYTES = 64 * 1024;

export const Op = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  READLINK: 5,
  OPEN: 14,
  READ: 15,
  STATFS: 17,
  RELEASE: 18,
  GETXATTR: 22,
  LISTXATTR: 23,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  INTERRUPT: 36,
  DESTROY: 38,
  BATCH_FORGET: 42,
  READDIRPLUS: 44,
} as const;

/** Codes of notifications: what the server tells the kernel unasked. */
export const Notify = { INVAL_INODE: 2, RESEND: 7 } as const;

/** The header of one request; views into the buffer that it was read into, valid until the next read. */
export interface RequestHeader {
  readonly length: number;
  readonly opcode: number;
  /** Eight bytes, to be echoed. */
  readonly unique: Buffer;
  /** High half of the node id. */
  readonly index: number;
  /** Low half of the node id. */
  readonly rowid: number;
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
}

export function assertHost(): void {
  if (os.endianness() !== 'LE') throw new Failure('UNIMPLEMENTED', 'this machine is big-endian, which mesos-cvmfs does not support');
}

/** Reads the header of the request in `bytes`, which is exactly what one read(2) of the device returned. */
export function readHeader(bytes: Buffer): RequestHeader {
  if (bytes.length < IN_HEADER_BYTES || bytes.readUInt32LE(0) !== bytes.length) {
    throw new Failure('INTERNAL', `the kernel sent a request of ${bytes.length} bytes whose header does not fit`);
  }
  return {
    length: bytes.length,
    opcode: bytes.readUInt32LE(4),
    unique: bytes.subarray(8, 16),
    rowid: bytes.readUInt32LE(16),
    index: bytes.readUInt32LE(20),
    uid: bytes.readUInt32LE(24),
    gid: bytes.readUInt32LE(28),
    pid: bytes.readUInt32LE(32),
  };
}

/** Where a READ begins (`struct fuse_read_in`). Exact to 2^53. */
export function readOffset(request: Buffer): number {
  return request.readUInt32LE(IN_HEADER_BYTES + 8) + request.readUInt32LE(IN_HEADER_BYTES + 12) * 4294967296;
}

/** The NUL-terminated name at `at`; the kernel always ends it, so its absence is a fault of ours. */
export function readName(bytes: Buffer, at: number): Buffer {
  const end = bytes.indexOf(0, at);
  if (end < 0) throw new Failure('INTERNAL', 'the kernel sent a name without its end');
  return bytes.subarray(at, end);
}

/** Writes the header of a reply of `length` bytes in all. `error` is a positive errno, 0 for success. */
export function writeReplyHeader(reply: Buffer, length: number, error: number, unique: Buffer): void {
  reply.writeUInt32LE(length, 0);
  reply.writeInt32LE(-error, 4);
  unique.copy(reply, 8, 0, 8);
}

/** A whole reply that is only an error. */
export function errorReply(error: number, unique: Buffer): Buffer {
  const reply = Buffer.alloc(OUT_HEADER_BYTES);
  writeReplyHeader(reply, OUT_HEADER_BYTES, error, unique);
  return reply;
}

/** `FUSE_NOTIFY_RESEND`: the kernel repeats every request that was read and not answered (kernel 6.9 and later). */
export function resendNotification(): Buffer {
  const bytes = Buffer.alloc(OUT_HEADER_BYTES);
  bytes.writeUInt32LE(bytes.length, 0);
  bytes.writeInt32LE(Notify.RESEND, 4);
  return bytes;
}

/** `FUSE_NOTIFY_INVAL_INODE` of the root node: its attributes and its cached listing are dropped. */
export function invalidateRootNotification(): Buffer {
  const bytes = Buffer.alloc(OUT_HEADER_BYTES + 24);
  bytes.writeUInt32LE(bytes.length, 0);
  bytes.writeInt32LE(Notify.INVAL_INODE, 4);
  bytes.writeUInt32LE(1, OUT_HEADER_BYTES);
  // offset 0, length 0: from the first byte to the end of the cached listing
  return bytes;
}
