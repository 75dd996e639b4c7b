/**
 * From the bytes that a repository stores to the plain bytes of an object, checked:
 *
 *   1. the stored bytes have the hash that names the object (spec 2.3: it covers the compressed stream);
 *   2. when compressed, they are one whole zlib stream and nothing behind it;
 *   3. the plain bytes have the size that the catalog row says, where one does, and are within the caller's limit.
 *
 * Twice the same: for objects that are in memory, and as a stream. Failures: OBJECT_CORRUPT with `data.reason`
 * `hash` (the bytes are not the object: ask elsewhere), `content` (they are, and no place will have better ones: the
 * repository is wrong) or `stream` (it broke before the hash could be told: ask elsewhere); OBJECT_TOO_BIG.
 */
import { createHash } from 'node:crypto';
import { pipeline } from 'node:stream/promises';
import * as zlib from 'node:zlib';
import { createHasher, hashBytes } from '../cvmfs/hash';
import { Failure } from '../error';
import { objectName } from './object-name';
import type { CacheKey } from './object-name';

export interface UnpackLimits {
  /** Size that the catalog row says; null where none does. */
  readonly plainSize: number | null;
  /** Most plain bytes that are accepted: a kilobyte of zlib can unpack to a megabyte. */
  readonly maxPlainBytes: number;
}

/** With the whole size in one piece nothing is put together afterwards; a size that is only claimed costs no more than this. */
const INFLATE_CHUNK_BYTES_MAX = 1 << 20;

type Reason = 'hash' | 'content' | 'stream';

/** What a plain body turned out to be. */
export interface PlainSummary {
  readonly length: number;
  /** sha256, 32 bytes. */
  readonly digest: Buffer;
}

/** The most stored bytes that `plainBytes` can need: deflate adds 5 bytes per 16 KiB of what it can not compress, and a header. */
export function maxStoredBytes(plainBytes: number): number {
  return plainBytes + Math.ceil(plainBytes / 1000) + 65_536;
}

export function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}

/** Checks and unpacks an object that is in memory. Synchronous: for a worker, or for very small ones. */
export function unpackSmall(id: CacheKey, stored: Uint8Array, limits: UnpackLimits): Buffer {
  checkWanted(id, limits);
  if (!hashBytes(id.hash.algorithm, stored).digest.equals(id.hash.digest)) throw wrongHash(id, stored.length);
  const plain = id.compression === 'none' ? Buffer.from(stored.buffer, stored.byteOffset, stored.length) : inflate(id, stored, limits);
  checkSize(id, plain.length, limits, 'content', true);
  return plain;
}

/**
 * Checks and unpacks a body while it arrives; `write` gets the plain bytes, one call at a time. Nothing that was written
 * may be shown to anybody before this resolves. What `body` or `write` throw comes out as it is.
 */
export async function unpackStream(id: CacheKey, body: AsyncIterable<Uint8Array>, limits: UnpackLimits, write: (plain: Buffer) => Promise<void>, signal?: AbortSignal): Promise<PlainSummary> {
  checkWanted(id, limits);
  const hasher = createHasher(id.hash.algorithm);
  const plainHash = createHash('sha256');
  let stored = 0;
  let length = 0;
  const storedLimit = maxStoredBytes(limits.plainSize ?? limits.maxPlainBytes);

  async function* hashed(): AsyncGenerator<Uint8Array> {
    for await (const chunk of body) {
      stored += chunk.length;
      if (stored > storedLimit) throw tooBig(id, storedLimit, 'stored');
      hasher.update(chunk);
      yield chunk;
    }
  }
  async function sink(source: AsyncIterable<Uint8Array>): Promise<void> {
    for await (const chunk of source) {
      length += chunk.length;
      checkSize(id, length, limits, 'stream');
      plainHash.update(chunk);
      await write(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length));
    }
  }

  const options = signal === undefined ? {} : { signal };
  if (id.compression === 'none') {
    await pipeline(hashed(), sink, options);
  } else {
    const inflater = zlib.createInflate({ chunkSize: 65_536 });
    let inflated = false;
    inflater.once('end', () => (inflated = true));
    try {
      await pipeline(hashed(), inflater, sink, options);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code?.startsWith('Z_') === true) throw noZlib(id, 'stream', error);
      // The stream has ended and bytes go on: Node then aborts what feeds it.
      if (inflated && inflater.bytesWritten < stored && signal?.aborted !== true && !(error instanceof Failure)) throw trailing(id, 'stream');
      throw error;
    }
    if (inflater.bytesWritten !== stored) throw trailing(id, 'stream');
  }
  if (!hasher.digest().equals(id.hash.digest)) throw wrongHash(id, stored);
  checkSize(id, length, limits, 'content', true);
  return { length, digest: plainHash.digest() };
}

function inflate(id: CacheKey, stored: Uint8Array, limits: UnpackLimits): Buffer {
  const most = Math.min(limits.plainSize ?? Infinity, limits.maxPlainBytes);
  try {
    // One byte more than is allowed, so that a body which is too long shows itself; `info` tells where the stream ended.
    const chunkSize = Math.max(64, Math.min(most + 1, INFLATE_CHUNK_BYTES_MAX));
    const { buffer, engine } = zlib.inflateSync(stored, { maxOutputLength: most + 1, chunkSize, info: true }) as unknown as { buffer: Buffer; engine: zlib.Inflate };
    if (engine.bytesWritten !== stored.length) throw trailing(id, 'content');
    return buffer;
  } catch (error) {
    if (error instanceof Failure) throw error;
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') checkSize(id, most + 1, limits, 'content');
    throw noZlib(id, 'content', error);
  }
}

function checkWanted(id: CacheKey, limits: UnpackLimits): void {
  if (limits.plainSize !== null && limits.plainSize > limits.maxPlainBytes) throw tooBig(id, limits.maxPlainBytes, 'plain');
}

function checkSize(id: CacheKey, length: number, limits: UnpackLimits, reason: Reason, whole = false): void {
  if (limits.plainSize !== null && (length > limits.plainSize || (whole && length !== limits.plainSize))) {
    const size = whole ? String(length) : `more than ${limits.plainSize}`;
    throw corrupt(id, reason, `has ${size} bytes where the catalog says ${limits.plainSize}`);
  }
  if (length > limits.maxPlainBytes) throw tooBig(id, limits.maxPlainBytes, 'plain');
}

function corrupt(id: CacheKey, reason: Reason, what: string, cause?: unknown): Failure {
  const name = objectName(id);
  return new Failure('OBJECT_CORRUPT', `object ${name} ${what}`, { data: { object: name, reason }, ...(cause === undefined ? {} : { cause }) });
}

function wrongHash(id: CacheKey, length: number): Failure {
  return corrupt(id, 'hash', `does not have its hash (${length} bytes arrived)`);
}

function noZlib(id: CacheKey, reason: Reason, cause: unknown): Failure {
  return corrupt(id, reason, 'is not one whole zlib stream', cause);
}

function trailing(id: CacheKey, reason: Reason): Failure {
  return corrupt(id, reason, 'has bytes behind its zlib stream');
}

function tooBig(id: CacheKey, limitBytes: number, which: 'plain' | 'stored'): Failure {
  const name = objectName(id);
  return new Failure('OBJECT_TOO_BIG', `object ${name} has more than ${limitBytes} ${which} bytes`, { data: { object: name, limitBytes } });
}
