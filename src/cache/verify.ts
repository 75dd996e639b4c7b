/**
 * Verification of an object that lies on the disk, by what was recorded when it was checked (length and sha256 of the
 * plain bytes). Never by compressing again: deflate differs between implementations (spec 2.3).
 *
 * An object without a record proves itself only when it was stored uncompressed, for then its name is its hash.
 */
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { open } from 'node:fs/promises';
import { createHasher } from '../cvmfs/hash';
import { Failure } from '../error';
import { hasGeneration } from './generation';
import type { ObjectIndex, ObjectRecord } from './object-index';
import { objectFile, parseObjectName } from './object-name';

const READ_BYTES = 1 << 20;
/** O_NONBLOCK: a fifo in the place of an object must not hold the opener for ever. */
const FLAGS = fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK;

export interface VerifyContext {
  readonly dir: string;
  readonly generation: number;
  readonly index: ObjectIndex;
}

/** `unrecorded`: sound by its name, with the record that it should have. `unprovable`: nothing is known about it. */
export type Inspection =
  | { readonly state: 'sound' }
  | { readonly state: 'unrecorded'; readonly record: ObjectRecord }
  | { readonly state: 'damaged' | 'unprovable' }
  | { readonly state: 'absent' };

interface Inspected {
  readonly inspection: Inspection;
  /** Null for a symbolic link. */
  readonly handle: FileHandle | null;
  readonly stat: fs.Stats;
}

/** Reads the whole object and compares; changes nothing. */
export async function inspectObject(context: VerifyContext, name: string): Promise<Inspection> {
  const inspected = await inspect(context, name);
  if (inspected === null) return { state: 'absent' };
  await inspected.handle?.close();
  return inspected.inspection;
}

/**
 * Makes an object of an earlier generation readable again, or removes it: true when readers may open it now. One that is
 * of this generation already is not read again, unless `always`.
 */
export async function verifyObject(context: VerifyContext, name: string, options: { readonly now: number; readonly always?: boolean }): Promise<boolean> {
  const { index } = context;
  if (options.always !== true) {
    const stat = fs.lstatSync(objectFile(context.dir, name), { throwIfNoEntry: false });
    if (stat?.isFile() === true && hasGeneration(stat, context.generation)) return true;
  }
  const inspected = await inspect(context, name);
  if (inspected === null) return false;
  const { inspection, handle, stat } = inspected;
  try {
    if (inspection.state === 'unprovable' && index.isReplaced()) {
      // The record may be in the new index: not ours to remove, nor to believe.
      throw new Failure('STATE_DAMAGED', `the cache's index ${index.file} was set aside by another process`, { next: 'open the cache again' });
    }
    if (inspection.state === 'sound' || inspection.state === 'unrecorded') {
      if (inspection.state === 'unrecorded') index.record([inspection.record], options.now);
      // On the open file: whatever has its name by now, these are the bytes that were read.
      await handle?.utimes(context.generation, context.generation);
      return true;
    }
    removeIfSame(context, name, stat);
    return false;
  } finally {
    await handle?.close();
  }
}

/** Removes what is at the name if it is still the file that was judged; somebody may have stored a sound one meanwhile. */
function removeIfSame(context: VerifyContext, name: string, judged: fs.Stats): void {
  const file = objectFile(context.dir, name);
  context.index.exclusively(() => {
    const now = fs.lstatSync(file, { throwIfNoEntry: false });
    if (now === undefined || now.ino !== judged.ino || now.dev !== judged.dev) return;
    fs.rmSync(file, { recursive: true, force: true });
    context.index.forget([name]);
  });
}

async function inspect(context: VerifyContext, name: string): Promise<Inspected | null> {
  const key = parseObjectName(name);
  if (key === null) throw new Failure('INVALID_ARGUMENT', `not the name of an object: ${JSON.stringify(name.slice(0, 100))}`);
  const file = objectFile(context.dir, name);
  let handle: FileHandle;
  try {
    handle = await open(file, FLAGS);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const link = code === 'ELOOP' ? fs.lstatSync(file, { throwIfNoEntry: false }) : undefined;
    if (link !== undefined) return { inspection: { state: 'damaged' }, handle: null, stat: link };
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ELOOP') return null;
    throw Failure.from(error, `object ${name}`);
  }
  const stat = await handle.stat();
  try {
    const record = context.index.lookup(name);
    if (!stat.isFile() || (record !== null && record.length !== stat.size)) return { inspection: { state: 'damaged' }, handle, stat };
    if (record === null && key.compression !== 'none') return { inspection: { state: 'unprovable' }, handle, stat };
    const plainHash = createHash('sha256');
    const content = record === null ? createHasher(key.hash.algorithm) : null;
    const length = await readWhole(handle, (chunk) => {
      plainHash.update(chunk);
      content?.update(chunk);
    });
    const digest = plainHash.digest();
    if (content === null) return { inspection: { state: record!.digest.equals(digest) && record!.length === length ? 'sound' : 'damaged' }, handle, stat };
    const sound = content.digest().equals(key.hash.digest);
    return { inspection: sound ? { state: 'unrecorded', record: { name, length, digest } } : { state: 'damaged' }, handle, stat };
  } catch (error) {
    // The disk can not read it any more.
    if ((error as NodeJS.ErrnoException).code === 'EIO') return { inspection: { state: 'damaged' }, handle, stat };
    await handle.close();
    throw Failure.from(error, `object ${name}`);
  }
}

async function readWhole(handle: FileHandle, each: (chunk: Buffer) => void): Promise<number> {
  const buffer = Buffer.allocUnsafe(READ_BYTES);
  let length = 0;
  for (;;) {
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, length);
    if (bytesRead === 0) return length;
    each(buffer.subarray(0, bytesRead));
    length += bytesRead;
  }
}
