/**
 * Compression with exactly the bytes of stock zlib at its default level (spec 2.3). An object is named by the hash of its
 * compressed bytes, so another deflate is readable by every client, yet shares nothing with what other publishers wrote
 * and looks damaged to the stock cache checker. Node's own zlib is such another deflate (a fork), as is the zlib-ng that
 * some distributions install as libz. Hence, in this order:
 *
 *   libz   the system's libz.so.1, when it gives the bytes of `SELF_CHECK`
 *   pako   pako 2.1, a port that is equal to stock zlib byte for byte, about four times slower
 *
 * A stream looks like `78 9c`, deflate blocks, adler-32; the empty one is `78 9c 03 00 00 00 00 01`. The way in which the
 * input is cut into pieces does not change the output.
 */
import { createHash } from 'node:crypto';
import koffi from 'koffi';
import * as pako from 'pako';

/** One compressed stream after the other. What `push` and `finish` return is the caller's to keep. */
export interface Deflater {
  push(bytes: Buffer): Buffer[];
  /** Ends the stream and makes ready for the next one. */
  finish(): Buffer[];
}

export type DeflateEngine = 'libz' | 'pako';

/** SHA-1 of the compressed `selfCheckInput()`, computed with zlib 1.2.8, 1.2.13 and pako 2.1.0. */
const SELF_CHECK = 'f7c88cd248c4c82200e17f3fb1770eef52f2249b';

/** 96 KiB of words: three windows long, so that lazy matching, window sliding and block splitting all take part. */
export function selfCheckInput(): Buffer {
  const bytes = Buffer.alloc(96 * 1024);
  let state = 20170401;
  for (let at = 0; at < bytes.length;) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    const word = (state >>> 16) % 211;
    for (let i = 0; i < 2 + (word % 7) && at < bytes.length; i++) bytes[at++] = 97 + ((word * 7 + i * i) % 26);
    if (at < bytes.length) bytes[at++] = word % 13 === 0 ? 10 : 32;
  }
  return bytes;
}

/** Whether a deflater gives stock zlib's bytes. */
export function isStock(deflater: Deflater): boolean {
  const input = selfCheckInput();
  const hash = createHash('sha1');
  for (const piece of deflater.push(input.subarray(0, 40_000))) hash.update(piece);
  for (const piece of deflater.push(input.subarray(40_000))) hash.update(piece);
  for (const piece of deflater.finish()) hash.update(piece);
  return hash.digest('hex') === SELF_CHECK;
}

const Z_NO_FLUSH = 0;
const Z_FINISH = 4;
const Z_STREAM_END = 1;
/** Size of z_stream where pointers and longs have 64 bits, and the offsets in it that we set. */
const STREAM_BYTES = 112;
const NEXT_IN = 0;
const AVAIL_IN = 8;
const NEXT_OUT = 24;
const AVAIL_OUT = 32;
/** Pieces through native memory: small enough for a core's cache, large enough that calls cost nothing. */
const PIECE_BYTES = 64 * 1024;
/** Where z_stream has the layout above and numbers are little-endian. */
const LIBZ_ARCHITECTURES = ['x64', 'arm64', 'riscv64', 'loong64'];

/** The system's libz, or undefined where there is none or it is not stock zlib. */
export function createLibzDeflater(): Deflater | undefined {
  if (!LIBZ_ARCHITECTURES.includes(process.arch)) return undefined;
  let deflater: Deflater;
  try {
    deflater = bindLibz();
  } catch {
    return undefined; // no libz.so.1 on this system
  }
  return isStock(deflater) ? deflater : undefined;
}

function bindLibz(): Deflater {
  // `deep`: without it Node's own exported zlib symbols come first and give Node's bytes.
  const libz = koffi.load('libz.so.1', { deep: true });
  const malloc = koffi.load('libc.so.6').func('void *malloc(size_t size)');
  const deflateInit = libz.func('int deflateInit_(void *stream, int level, const char *version, int size)');
  const deflate = libz.func('int deflate(void *stream, int flush)');
  const deflateReset = libz.func('int deflateReset(void *stream)');

  // Native memory of a known address, kept as long as the thread lives: about 400 kB with zlib's own tables.
  const native = (size: number): { pointer: unknown; address: bigint; bytes: Buffer } => {
    const pointer: unknown = malloc(size);
    return { pointer, address: koffi.address(pointer), bytes: Buffer.from(koffi.view(pointer, size)) };
  };
  const stream = native(STREAM_BYTES);
  const input = native(PIECE_BYTES);
  const output = native(PIECE_BYTES);
  stream.bytes.fill(0);
  const status = deflateInit(stream.pointer, -1, '1.2.0', STREAM_BYTES) as number;
  if (status !== 0) throw new Error(`deflateInit answers ${status}`);

  function run(length: number, flush: number, out: Buffer[]): void {
    stream.bytes.writeBigUInt64LE(input.address, NEXT_IN);
    stream.bytes.writeUInt32LE(length, AVAIL_IN);
    for (;;) {
      stream.bytes.writeBigUInt64LE(output.address, NEXT_OUT);
      stream.bytes.writeUInt32LE(PIECE_BYTES, AVAIL_OUT);
      const result = deflate(stream.pointer, flush) as number;
      const room = stream.bytes.readUInt32LE(AVAIL_OUT);
      if (room < PIECE_BYTES) out.push(Buffer.from(output.bytes.subarray(0, PIECE_BYTES - room)));
      if (result < 0 && result !== -5) throw new Error(`deflate answers ${result}`); // -5: no progress possible, which is no error
      if (flush === Z_FINISH ? result === Z_STREAM_END : room > 0) return;
    }
  }

  return {
    push(bytes) {
      const out: Buffer[] = [];
      for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
        const piece = bytes.subarray(at, at + PIECE_BYTES);
        input.bytes.set(piece);
        run(piece.length, Z_NO_FLUSH, out);
      }
      return out;
    },
    finish() {
      const out: Buffer[] = [];
      run(0, Z_FINISH, out);
      deflateReset(stream.pointer);
      return out;
    },
  };
}

export function createPakoDeflater(): Deflater {
  let out: Buffer[] = [];
  const fresh = (): pako.Deflate => {
    const stream = new pako.Deflate({ level: -1, chunkSize: PIECE_BYTES });
    stream.onData = (chunk) => void out.push(Buffer.from(chunk as Uint8Array));
    return stream;
  };
  let stream = fresh();
  const take = (): Buffer[] => {
    const taken = out;
    out = [];
    return taken;
  };
  return {
    push(bytes) {
      if (bytes.length > 0) stream.push(bytes, false);
      return take();
    },
    finish() {
      stream.push(new Uint8Array(0), true);
      stream = fresh();
      return take();
    },
  };
}

/** Passes bytes through: compression `none`. */
export function createStore(): Deflater {
  return { push: (bytes) => [Buffer.from(bytes)], finish: () => [] };
}

let libz: Deflater | null | undefined;
let fallback: Deflater | undefined;

/** The best deflater of this thread; made and checked once, since the check costs some milliseconds. One stream at a time. */
export function deflater(): { readonly engine: DeflateEngine; readonly deflater: Deflater } {
  libz ??= createLibzDeflater() ?? null;
  if (libz !== null) return { engine: 'libz', deflater: libz };
  fallback ??= createPakoDeflater();
  return { engine: 'pako', deflater: fallback };
}

/** A whole buffer at once: certificates, histories, metainfo. */
export function deflateBytes(bytes: Buffer): Buffer {
  const { deflater: stream } = deflater();
  return Buffer.concat([...stream.push(bytes), ...stream.finish()]);
}
