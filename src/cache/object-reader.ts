/**
 * The read side of the cache: from an object's name to an open file, with system calls only. No database, no clock, no
 * promise, so any worker thread that answers a kernel's requests can have one of its own.
 *
 * Whether a file may be trusted is written on the file: its modification time, in seconds, is the cache's generation in
 * which it was written or last verified (see generation.ts). One `fstat`, which is needed for the size anyway, answers
 * both; an object whose time differs was written before a crash of the host, after which a file may be short, empty or
 * hold other bytes, so the main side must verify it first.
 */
import * as fs from 'node:fs';
import { LRUCache } from 'lru-cache';
import { hasGeneration } from './generation';
import { objectFile, objectName } from './object-name';
import type { CacheKey } from './object-name';

export interface ObjectReaderOptions {
  /** Open files kept, default 512. The least recently used is closed first. */
  readonly maxOpenFiles?: number;
  /**
   * Bytes of the files kept open, default 64 MiB; one that is larger counts as that many. A thread that has nothing to do
   * does not learn that its files were evicted, and as long as it has them open the disk does not get their space back.
   */
  readonly maxOpenBytes?: number;
  /** Names remembered between two `drainTouched`, default 16384; what is read beyond them is not reported. */
  readonly maxTouched?: number;
}

interface OpenObject {
  readonly fd: number;
  readonly size: number;
}

/** O_NONBLOCK: a fifo in the place of an object must not hold the thread for ever. */
const FLAGS = fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK;

/** Opens objects of one cache directory. Not shared between threads: descriptors are closed without notice to others. */
export class ObjectReader {
  private readonly files: LRUCache<string, OpenObject>;
  private readonly touched = new Set<string>();
  private readonly maxTouched: number;

  /** `dir` and `generation` as `ObjectCache` has them; both survive the trip into a worker. */
  constructor(
    private readonly dir: string,
    private readonly generation: number,
    options: ObjectReaderOptions = {},
  ) {
    this.maxTouched = options.maxTouched ?? 16_384;
    const maxSize = options.maxOpenBytes ?? 64 << 20;
    this.files = new LRUCache<string, OpenObject>({
      max: options.maxOpenFiles ?? 512,
      maxSize,
      sizeCalculation: ({ size }) => Math.min(Math.max(size, 1), maxSize),
      dispose: (file) => fs.closeSync(file.fd),
    });
  }

  /**
   * A descriptor of the plain bytes, to be read at once: it belongs to the reader and stays open only until the next
   * call of any method of this reader, so it must not be kept, nor used across an `await`.
   *
   * `plainSize` is the size that the catalog row says, null where nobody knows it. Answers null when the object is not
   * there or has another size (both are cured by fetching it), and 'unverified' when `ObjectCache.verify` must look at it
   * first. Throws only what is no property of the object, such as EMFILE or EACCES.
   */
  open(id: CacheKey | string, plainSize: number | null): number | null | 'unverified' {
    const name = typeof id === 'string' ? id : objectName(id);
    const known = this.files.get(name);
    if (known !== undefined) {
      if (plainSize !== null && known.size !== plainSize) return null;
      this.touch(name);
      return known.fd;
    }
    let fd: number;
    try {
      fd = fs.openSync(objectFile(this.dir, name), FLAGS);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      // ELOOP is a symbolic link in the place of an object: nothing of ours made it, and it is not followed.
      if (code === 'ENOENT' || code === 'ELOOP' || code === 'ENOTDIR') return null;
      throw error;
    }
    const stat = fs.fstatSync(fd);
    if (!stat.isFile() || (plainSize !== null && stat.size !== plainSize)) {
      fs.closeSync(fd);
      return null;
    }
    if (!hasGeneration(stat, this.generation)) {
      fs.closeSync(fd);
      return 'unverified';
    }
    this.files.set(name, { fd, size: stat.size });
    this.touch(name);
    return fd;
  }

  /** Size in plain bytes of an object that `open` has just answered with a descriptor; null when it is not open. */
  sizeOf(id: CacheKey | string): number | null {
    return this.files.peek(typeof id === 'string' ? id : objectName(id))?.size ?? null;
  }

  /**
   * Names opened since the last call, for `ObjectCache.touch`. To be called now and then: it also closes the files that
   * have been evicted meanwhile, whose space the file system can not give back while somebody has them open.
   */
  drainTouched(): string[] {
    for (const [name, file] of this.files.entries()) if (fs.fstatSync(file.fd).nlink === 0) this.files.delete(name);
    const names = [...this.touched];
    this.touched.clear();
    return names;
  }

  /** Closes all descriptors; the reader may be used again. */
  close(): void {
    this.files.clear();
  }

  private touch(name: string): void {
    if (this.touched.size < this.maxTouched) this.touched.add(name);
  }
}
