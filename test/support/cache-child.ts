/**
 * A process of its own that uses a cache, for tests of crashes and of several processes:
 *
 *     crash <dir> <step> <bytes>       stores the object of that many bytes and kills itself at the step
 *     churn <dir> <limit> <from> <to>  stores objects number from…to, verifies that each can be read
 */
import * as zlib from 'node:zlib';
import { ObjectCache } from '../../src/cache/object-cache';
import { InProcessExecutor } from '../../src/cache/unpack-executor';
import { hashBytes } from '../../src/cvmfs/hash';
import type { ObjectId } from '../../src/cvmfs/object';
import type { Logger } from '../../src/log/logger';

export interface NumberedObject {
  readonly id: ObjectId;
  readonly plain: Buffer;
  readonly stored: Buffer;
}

/** The same object for the same numbers, in every process. */
export function numberedObject(number: number, bytes: number): NumberedObject {
  const plain = Buffer.alloc(bytes);
  for (let at = 0, state = number * 2_654_435_761 + 1; at < bytes; at++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    plain[at] = state >> 16;
  }
  const stored = zlib.deflateSync(plain, { level: 1 });
  return { id: { hash: hashBytes('sha1', stored), kind: 'file', compression: 'zlib' }, plain, stored };
}

export function churnBytes(number: number): number {
  return number % 10 === 0 ? 150_000 : 1000 + number;
}

export async function* pieces(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += 16_384) yield bytes.subarray(at, at + 16_384);
}

const silent: Logger = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined, child: () => silent };

async function main(): Promise<void> {
  const [verb, dir, third, fourth, fifth] = process.argv.slice(2);
  if (verb === 'crash') {
    const cache = await ObjectCache.open(
      { dir: dir!, limitBytes: 100 << 20 },
      { log: silent, executor: (context) => new InProcessExecutor(context), step: (step) => void (step === third && process.kill(process.pid, 'SIGKILL')) },
    );
    const object = numberedObject(0, Number(fourth));
    await cache.insert(object.id, pieces(object.stored), { plainSize: object.plain.length, maxPlainBytes: 100 << 20 });
  } else {
    const cache = await ObjectCache.open({ dir: dir!, limitBytes: Number(third) }, { log: silent, executor: (context) => new InProcessExecutor(context) });
    for (let number = Number(fourth); number < Number(fifth); number++) {
      const object = numberedObject(number, churnBytes(number));
      await cache.insert(object.id, pieces(object.stored), { plainSize: object.plain.length, maxPlainBytes: 100 << 20 });
      const bytes = await cache.read(object.id, { plainSize: object.plain.length });
      // Null: the other process has evicted it already.
      if (bytes !== null && !bytes.equals(object.plain)) throw new Error(`object ${number} is wrong`);
    }
    await cache.close();
  }
}

if (require.main === module) void main().catch((error: unknown) => {
  process.stderr.write(`${(error as Error).stack}\n`);
  process.exit(1);
});
