/**
 * FUSE_INIT, the one negotiation of a mount's life. The keeper answers it, stores what was agreed, and every later file
 * system server starts from that record (the kernel never asks again).
 *
 *     request body: u32 major  u32 minor  u32 max_readahead  u32 flags  u32 flags2 (7.36)  u32 unused[11]
 *     reply body:   u32 major  u32 minor  u32 max_readahead  u32 flags  u16 max_background  u16 congestion_threshold
 *                   u32 max_write  u32 time_gran  u16 max_pages  u16 map_alignment  u32 flags2  u32 max_stack_depth
 *                   u16 request_timeout  u16 unused[11]                                                        (64 bytes)
 */
import { Failure } from '../../error';
import { IN_HEADER_BYTES, MAX_READ_BYTES, Op, OUT_HEADER_BYTES, readHeader, writeReplyHeader } from './protocol';

const MAJOR = 7;
/** Newest minor whose structures this code knows; a newer kernel speaks down to it. */
const MINOR = 41;
/** 7.31 is Linux 5.4: the first with everything the design cannot do without. */
const MINOR_MIN = 28;
const INIT_OUT_BYTES = 64;

const Flag = {
  ASYNC_READ: 1n << 0n,
  BIG_WRITES: 1n << 5n,
  DO_READDIRPLUS: 1n << 13n,
  ASYNC_DIO: 1n << 15n,
  NO_OPEN_SUPPORT: 1n << 17n,
  PARALLEL_DIROPS: 1n << 18n,
  MAX_PAGES: 1n << 22n,
  CACHE_SYMLINKS: 1n << 23n,
  NO_OPENDIR_SUPPORT: 1n << 24n,
  EXPLICIT_INVAL_DATA: 1n << 25n,
  INIT_EXT: 1n << 30n,
  PASSTHROUGH: 1n << 37n,
  HAS_RESEND: 1n << 39n,
} as const;

/** What is wanted when the kernel offers it. READDIRPLUS_AUTO is left out on purpose: READDIRPLUS always. */
const WANTED =
  Flag.ASYNC_READ |
  Flag.BIG_WRITES |
  Flag.DO_READDIRPLUS |
  Flag.ASYNC_DIO |
  Flag.NO_OPEN_SUPPORT |
  Flag.PARALLEL_DIROPS |
  Flag.MAX_PAGES |
  Flag.CACHE_SYMLINKS |
  Flag.NO_OPENDIR_SUPPORT |
  Flag.EXPLICIT_INVAL_DATA |
  Flag.INIT_EXT |
  Flag.HAS_RESEND;

/** What a record of this program can have. */
const KNOWN = WANTED | Flag.PASSTHROUGH;

/** What both sides agreed on; kept in the keeper's record of the mount. */
export interface Negotiated {
  readonly minor: number;
  /** Flags as a decimal number, 64 bits wide. */
  readonly flags: string;
  /** Requests that a dead server had taken are repeated to its successor (kernel 6.9 and later). */
  readonly resend: boolean;
  /** Files may be opened with a backing id (kernel 6.9 and later, and only where it was asked for): OPEN is answered. */
  readonly passthrough: boolean;
}

/** FAILED_PRECONDITION when a newer program has agreed with the kernel on what this one does not know. `name`: the record's file. */
export function checkNegotiated({ minor, flags }: Negotiated, name: string): void {
  const unknown = BigInt(flags) & ~KNOWN;
  if (minor <= MINOR && unknown === 0n) return;
  throw new Failure('FAILED_PRECONDITION', `${name}: FUSE 7.${minor} with flags 0x${BigInt(flags).toString(16)} was agreed with the kernel, this program knows 7.${MINOR} with flags 0x${KNOWN.toString(16)}`, { next: 'use the newer mesos-cvmfs that mounted it' });
}

export interface InitOptions {
  /** Requests that may wait in the background (read-ahead, asynchronous reads). */
  readonly maxBackground: number;
  readonly maxReadaheadBytes: number;
  /** Behaves as a kernel before 6.9 would, for tests. */
  readonly withoutResend: boolean;
  /** `data_path = "passthrough"`. */
  readonly passthrough: boolean;
}

/** Answers the INIT request in `request`; throws FAILED_PRECONDITION when the kernel is too old. */
export function negotiate(request: Buffer, options: InitOptions): { reply: Buffer; negotiated: Negotiated } {
  const header = readHeader(request);
  if (header.opcode !== Op.INIT) throw new Failure('INTERNAL', `the first request of a mount is INIT, and opcode ${header.opcode} came`);
  const major = request.readUInt32LE(IN_HEADER_BYTES);
  const minor = request.readUInt32LE(IN_HEADER_BYTES + 4);
  if (major !== MAJOR || minor < MINOR_MIN) {
    throw new Failure('FAILED_PRECONDITION', `this kernel speaks FUSE ${major}.${minor}`, { next: `use a kernel with FUSE ${MAJOR}.${MINOR_MIN} or later (Linux 4.20)` });
  }
  const kernelReadahead = request.readUInt32LE(IN_HEADER_BYTES + 8);
  const offeredLow = BigInt(request.readUInt32LE(IN_HEADER_BYTES + 12));
  const extended = (offeredLow & Flag.INIT_EXT) !== 0n && request.length >= IN_HEADER_BYTES + 20;
  const offered = offeredLow | (extended ? BigInt(request.readUInt32LE(IN_HEADER_BYTES + 16)) << 32n : 0n);
  const wanted = WANTED | (options.passthrough ? Flag.PASSTHROUGH : 0n);
  const flags = offered & (options.withoutResend ? wanted & ~(Flag.HAS_RESEND | Flag.PASSTHROUGH) : wanted);
  const passthrough = (flags & Flag.PASSTHROUGH) !== 0n;
  const agreedMinor = Math.min(minor, MINOR);

  const reply = Buffer.alloc(OUT_HEADER_BYTES + INIT_OUT_BYTES);
  writeReplyHeader(reply, reply.length, 0, header.unique);
  const body = reply.subarray(OUT_HEADER_BYTES);
  body.writeUInt32LE(MAJOR, 0);
  body.writeUInt32LE(agreedMinor, 4);
  body.writeUInt32LE(Math.min(kernelReadahead, options.maxReadaheadBytes), 8);
  body.writeUInt32LE(Number(flags & 0xffffffffn), 12);
  body.writeUInt16LE(options.maxBackground, 16);
  // the kernel calls the device congested, and holds read-ahead back, above three quarters of its background requests
  body.writeUInt16LE(Math.floor((options.maxBackground * 3) / 4), 18);
  // max_write: nothing is ever written, and the kernel demands a read buffer at least this large
  body.writeUInt32LE(4096, 20);
  body.writeUInt32LE(1, 24);
  body.writeUInt16LE(MAX_READ_BYTES / 4096, 28);
  body.writeUInt32LE(Number(flags >> 32n), 32);
  // max_stack_depth: one overlay may lie on top, and backing files may not be stacked themselves
  body.writeUInt32LE(passthrough ? 1 : 0, 36);
  return { reply, negotiated: { minor: agreedMinor, flags: flags.toString(), resend: (flags & Flag.HAS_RESEND) !== 0n, passthrough } };
}
