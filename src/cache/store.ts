/**
 * How an object becomes visible. The order is the whole argument:
 *
 *   1. the plain bytes go to a temp file, checked against the hash while they arrive, and the file is marked with the
 *      generation;
 *   2. a record (length, sha256) is committed to the index;
 *   3. the temp file gets the object's name by `rename`.
 *
 * Died in 1: a temp file that nobody looks at, removed at the next opening. Between 2 and 3: a record without a file,
 * which counts a little too much until `check`, or until the object is fetched again. There is never a name whose bytes
 * were not checked, nor half of them. Step 3 holds the index's write lock: an eviction of the same name by another
 * process comes wholly before it (then the record is made again) or wholly after it, so no file stays without a record.
 *
 * Nothing is fsynced: after a crash of the host the generation tells that the bytes must be verified (generation.ts).
 */
import * as fs from 'node:fs';
import { Failure } from '../error';
import { markGeneration } from './generation';
import { chargedBytes } from './object-index';
import type { ObjectIndex, ObjectRecord } from './object-index';
import { objectFile } from './object-name';
import type { CacheKey } from './object-name';
import type { TempFiles } from './temp-file';
import { sha256, unpackSmall } from './unpack';
import type { UnpackLimits } from './unpack';

/** Where a crash may happen; tests throw or die there. */
export type StoreStep = 'temp made' | 'temp written' | 'recorded' | 'renamed';

export interface StoreContext {
  readonly dir: string;
  readonly generation: number;
  readonly index: ObjectIndex;
  readonly temps: TempFiles;
  readonly step?: (step: StoreStep) => void;
}

/** A temp file that is complete, and what its record will say. */
export interface PreparedObject extends ObjectRecord {
  readonly temp: string;
  /** Charged bytes that the whole cache may have with it. */
  readonly limitBytes: number;
}

export interface SmallObject extends CacheKey, UnpackLimits {
  readonly name: string;
  /** As the repository stores it; or, when `checked`, the plain bytes that these have been checked and unpacked to. */
  readonly stored: Uint8Array;
  readonly checked?: boolean;
  readonly limitBytes: number;
}

/** `needBytes`: refused for want of so many charged bytes below the limit, or, with `full`, on the file system. */
export type StoreResult = { readonly plainSize: number } | { readonly needBytes: number; readonly full: boolean } | { readonly failure: Failure };

/** Steps 2 and 3 for several objects with one transaction each. Answers the names stored; what did not fit is not. */
export function publishObjects(context: StoreContext, prepared: readonly PreparedObject[], now: number): Set<string> {
  const { index } = context;
  if (index.isReplaced()) throw new Failure('STATE_DAMAGED', `the cache's index ${index.file} was set aside by another process`, { next: 'open the cache again' });
  const recorded = index.record(prepared, now);
  try {
    context.step?.('recorded');
    index.exclusively(() => {
      for (const object of prepared) {
        if (!recorded.has(object.name)) continue;
        renameInto(context.dir, object);
        if (index.lookup(object.name) === null) index.record([{ name: object.name, length: object.length, digest: object.digest }], now);
      }
    });
    context.step?.('renamed');
  } catch (error) {
    // Records of what got no name would count as used bytes.
    index.forget([...recorded].filter((name) => !fs.existsSync(objectFile(context.dir, name))));
    throw error;
  }
  return recorded;
}

/**
 * Stores small objects that are in memory: unpacks, writes and publishes them, synchronously, in a thread that answers no
 * requests. One result per object, in order; a bad one does not touch the others.
 */
export function storeBatch(context: StoreContext, objects: readonly SmallObject[], now: number): StoreResult[] {
  const results = new Array<StoreResult>(objects.length);
  const prepared = new Map<number, PreparedObject>();
  let stored: ReadonlySet<string> = new Set();
  try {
    objects.forEach((object, at) => {
      try {
        prepared.set(at, writeTemp(context, object, object.checked === true ? object.stored : unpackSmall(object, object.stored, object)));
      } catch (error) {
        const failure = Failure.from(error, `object ${object.name}`);
        results[at] = failure.code === 'NO_SPACE' ? { needBytes: chargedBytes(object.plainSize ?? object.stored.length), full: true } : { failure };
      }
    });
    stored = publishObjects(context, [...prepared.values()], now);
    for (const [at, object] of prepared) {
      results[at] = stored.has(object.name) ? { plainSize: object.length } : { needBytes: chargedBytes(object.length), full: false };
    }
  } catch (error) {
    const failure = Failure.from(error, 'storing objects');
    for (const [at, object] of prepared) {
      results[at] ??= failure.code === 'NO_SPACE' ? { needBytes: chargedBytes(object.length), full: true } : { failure };
    }
  } finally {
    for (const object of prepared.values()) if (!stored.has(object.name)) fs.rmSync(object.temp, { force: true });
  }
  return results;
}

function writeTemp(context: StoreContext, object: SmallObject, plain: Uint8Array): PreparedObject {
  const temp = context.temps.create();
  try {
    context.step?.('temp made');
    for (let at = 0; at < plain.length; ) at += fs.writeSync(temp.fd, plain, at);
    markGeneration(temp.fd, context.generation);
    context.step?.('temp written');
  } catch (error) {
    fs.rmSync(temp.path, { force: true });
    throw error;
  } finally {
    fs.closeSync(temp.fd);
  }
  return { name: object.name, length: plain.length, digest: sha256(plain), temp: temp.path, limitBytes: object.limitBytes };
}

function renameInto(dir: string, object: PreparedObject): void {
  const file = objectFile(dir, object.name);
  try {
    fs.renameSync(object.temp, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    fs.mkdirSync(file.slice(0, file.lastIndexOf('/')), { recursive: true, mode: 0o700 });
    fs.renameSync(object.temp, file);
  }
}
