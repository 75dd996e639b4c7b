/** Decompressing what strangers compressed: never more than asked for. */
import { inflateSync } from 'node:zlib';
import { Failure } from '../error';

/**
 * Inflates one zlib stream (spec 2.3). OBJECT_TOO_BIG when it holds more than `maxBytes`, OBJECT_CORRUPT when it is
 * cut short or no zlib stream. Synchronous: for small objects, or for a thread that has nothing else to do.
 */
export function inflateBounded(bytes: Uint8Array, maxBytes: number): Buffer {
  try {
    return inflateSync(bytes, { maxOutputLength: Math.max(1, maxBytes) });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') {
      throw new Failure('OBJECT_TOO_BIG', `compressed data holds more than ${maxBytes} bytes`, { cause: error });
    }
    throw new Failure('OBJECT_CORRUPT', `not a whole zlib stream: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}
