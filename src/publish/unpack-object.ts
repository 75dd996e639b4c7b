/** Reads an object of a storage back: checked against its name, decompressed, limited, in bounded memory. */
import * as fs from 'node:fs';
import { pipeline } from 'node:stream/promises';
import * as zlib from 'node:zlib';
import { Failure } from '../error';
import { createHasher } from '../cvmfs/hash';
import { objectPath } from '../cvmfs/object';
import type { ObjectId } from '../cvmfs/object';
import type { Storage } from './storage';

/** A catalog of ten million entries has about 3 GB. */
export const MAX_DATABASE_BYTES = 8 * 2 ** 30;

/** OBJECT_MISSING, OBJECT_CORRUPT or OBJECT_TOO_BIG when the object is not what its name says. */
export async function unpackObject(
  storage: Storage,
  id: ObjectId,
  maxBytes: number,
  consume: (plain: AsyncIterable<Buffer>) => Promise<void>,
): Promise<void> {
  const name = objectPath(id);
  const hasher = createHasher(id.hash.algorithm);
  let plainBytes = 0;
  const hashed = async function* (): AsyncGenerator<Buffer> {
    try {
      for await (const piece of storage.stream(name)) {
        hasher.update(piece);
        yield piece;
      }
    } catch (err) {
      const failure = Failure.from(err);
      throw failure.code === 'NOT_FOUND' ? new Failure('OBJECT_MISSING', `the object ${name} is not in ${storage.place}`, { cause: err }) : failure;
    }
  };
  const limited = async (pieces: AsyncIterable<Buffer>): Promise<void> => {
    await consume(
      (async function* () {
        for await (const piece of pieces) {
          plainBytes += piece.length;
          if (plainBytes > maxBytes) throw new Failure('OBJECT_TOO_BIG', `the object ${name} has more than ${maxBytes} bytes`);
          yield piece;
        }
      })(),
    );
  };
  try {
    if (id.compression === 'zlib') await pipeline(hashed(), zlib.createInflate(), limited);
    else await limited(hashed());
  } catch (err) {
    if (err instanceof Failure) throw err;
    if (/^Z_/.test(String((err as { code?: unknown }).code)))
      throw new Failure('OBJECT_CORRUPT', `the object ${name} does not inflate: ${(err as Error).message}`, { cause: err });
    throw Failure.from(err, `cannot read the object ${name}`);
  }
  const digest = hasher.digest();
  if (!digest.equals(id.hash.digest)) throw new Failure('OBJECT_CORRUPT', `the object ${name} has the hash ${digest.toString('hex')}`);
}

/** Into a file; resolves to its size. Nothing is left of it after a failure. */
export async function unpackToFile(storage: Storage, id: ObjectId, file: string, maxBytes = MAX_DATABASE_BYTES): Promise<number> {
  const out = await fs.promises.open(file, 'wx');
  let size = 0;
  let done = false;
  try {
    await unpackObject(storage, id, maxBytes, async (pieces) => {
      for await (const piece of pieces) {
        await out.writeFile(piece);
        size += piece.length;
      }
    });
    done = true;
  } finally {
    await out.close();
    if (!done) await fs.promises.rm(file, { force: true });
  }
  return size;
}

/** Into memory: certificates, metainfo. */
export async function unpackToBuffer(storage: Storage, id: ObjectId, maxBytes: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  await unpackObject(storage, id, maxBytes, async (plain) => {
    for await (const piece of plain) pieces.push(piece);
  });
  return Buffer.concat(pieces);
}
