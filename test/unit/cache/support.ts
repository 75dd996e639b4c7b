/** A cache in a directory of its own, and objects to put into it. */
import * as crypto from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import * as zlib from 'node:zlib';
import { chargedBytes } from '../../../src/cache/object-index';
import { ObjectCache } from '../../../src/cache/object-cache';
import type { ObjectCacheOptions, ObjectCacheWorld } from '../../../src/cache/object-cache';
import { ObjectReader } from '../../../src/cache/object-reader';
import type { CacheKey } from '../../../src/cache/object-name';
import { InProcessExecutor } from '../../../src/cache/unpack-executor';
import type { Algorithm } from '../../../src/cvmfs/hash';
import { hashBytes } from '../../../src/cvmfs/hash';
import type { Compression, ObjectId } from '../../../src/cvmfs/object';
import type { Code, Failure } from '../../../src/error';
import type { LogFields, Logger } from '../../../src/log/logger';

export const MIB = 1 << 20;

export interface Sample {
  readonly id: ObjectId;
  readonly plain: Buffer;
  readonly stored: Buffer;
}

export function sample(plain: Buffer | string, options: { compression?: Compression; algorithm?: Algorithm } = {}): Sample {
  const bytes = Buffer.from(plain);
  const compression = options.compression ?? 'zlib';
  const stored = compression === 'zlib' ? zlib.deflateSync(bytes) : bytes;
  return { id: { hash: hashBytes(options.algorithm ?? 'sha1', stored), kind: 'file', compression }, plain: bytes, stored };
}

export function randomSample(bytes: number, options: { compression?: Compression } = {}): Sample {
  return sample(crypto.randomBytes(bytes), options);
}

/** A body in pieces, as a connection delivers it. */
export async function* body(bytes: Uint8Array, pieceBytes = 16_384): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
}

export interface RecordingLogger extends Logger {
  readonly lines: Array<{ level: string; message: string; fields: LogFields | undefined }>;
}

export function recordingLogger(): RecordingLogger {
  const lines: RecordingLogger['lines'] = [];
  const at = (level: string) => (message: string, fields?: LogFields) => void lines.push({ level, message, fields });
  const logger: RecordingLogger = { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error'), child: () => logger };
  return logger;
}

export class TestCaches {
  readonly dir = fs.mkdtempSync(path.join(os.tmpdir(), 'object-cache-'));
  readonly log = recordingLogger();
  now = 1_000_000_000_000;
  private readonly opened: ObjectCache[] = [];

  async open(options: Partial<ObjectCacheOptions> = {}, world: Partial<ObjectCacheWorld> = {}): Promise<ObjectCache> {
    const cache = await ObjectCache.open(
      { dir: path.join(this.dir, 'cache'), limitBytes: 100 * MIB, ...options },
      { log: this.log, now: () => (this.now += 120_000), freeBytes: () => 1e12, executor: (context) => new InProcessExecutor(context), ...world },
    );
    this.opened.push(cache);
    return cache;
  }

  async end(): Promise<void> {
    for (const cache of this.opened) await cache.close();
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}

export function insert(cache: ObjectCache, object: Sample, options: Partial<Parameters<ObjectCache['insert']>[2]> = {}): ReturnType<ObjectCache['insert']> {
  return cache.insert(object.id, body(object.stored), { plainSize: object.plain.length, maxPlainBytes: 1 << 30, ...options });
}

/** What a reader of the cache's generation gets. */
export function readBack(cache: ObjectCache, id: CacheKey, plainSize: number | null = null): Buffer | null | 'unverified' {
  const reader = new ObjectReader(cache.dir, cache.generation);
  try {
    const fd = reader.open(id, plainSize);
    return typeof fd === 'number' ? fs.readFileSync(fd) : fd;
  } finally {
    reader.close();
  }
}

export function charged(...objects: Sample[]): number {
  return objects.reduce((sum, object) => sum + chargedBytes(object.plain.length), 0);
}

/** The failure of a promise, with its code checked. */
export async function failure(promise: Promise<unknown>, code: Code): Promise<Failure> {
  const caught = await promise.then(
    () => undefined,
    (reason: unknown) => reason as Failure,
  );
  expect(caught).toMatchObject({ code });
  return caught!;
}

/** Files below the cache's objects and txn folders. */
export function filesIn(cache: ObjectCache): { objects: string[]; temps: string[] } {
  const objects = fs.readdirSync(`${cache.dir}/objects`).flatMap((folder) => fs.readdirSync(`${cache.dir}/objects/${folder}`));
  return { objects, temps: fs.readdirSync(`${cache.dir}/txn`) };
}
