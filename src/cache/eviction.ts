/**
 * The limit: one number, over all processes that share the directory, in charged bytes of recorded objects. It is lower
 * when the file system can not hold that much (spec 11.1 row 16).
 *
 * What goes, least recently used first:
 *   1. objects that are neither pinned nor used by a living rootfs, down to 90 % of the limit, so that eviction comes in
 *      batches;
 *   2. when that was not enough, objects used by rootfses whose server can be reached, only as many as must go: it can
 *      fetch them again.
 * What stays, and if it must, makes the write fail: pinned objects, and objects of rootfses whose server can not be
 * reached, where a running executable would lose its pages (SIGBUS) for good.
 *
 * Records and files of 64 objects go in one transaction, so that a writer waits for milliseconds and not for the whole;
 * each transaction looks at the total anew, so two processes that evict at once do not evict twice as much.
 */
import * as fs from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Failure } from '../error';
import type { Logger } from '../log/logger';
import { chargedBytes } from './object-index';
import type { EvictionCursor, ObjectIndex, VictimClass } from './object-index';
import { objectFile } from './object-name';

const SLICE_OBJECTS = 64;
const TARGET_FRACTION = 0.9;
/** For how long an answer of the file system is believed. */
const FREE_SPACE_TTL_MS = 1000;

export interface EvictorOptions {
  readonly dir: string;
  readonly limitBytes: number;
  readonly index: ObjectIndex;
  readonly log: Logger;
  readonly now: () => number;
  /** Bytes that this user may still write on the cache's file system. */
  readonly freeBytes: () => number;
}

/** A promise of space to an object that is being written. */
export interface Reservation {
  /**
   * Makes sure of so many charged bytes in all; NO_SPACE when they can not be had. Waits while it is other objects being
   * written that have the space.
   */
  grow(bytes: number): Promise<void>;
  release(): void;
}

export class Evictor {
  /** Objects removed by this process, and their charged bytes. */
  readonly evicted = { objects: 0, bytes: 0 };
  private reserved = 0;
  private readonly waiting: Array<() => void> = [];
  private capacity = { bytes: 0, at: -Infinity };

  constructor(private readonly options: EvictorOptions) {}

  /** The configured limit, or what the file system can hold if that is less. */
  limit(): number {
    const now = this.options.now();
    if (Math.abs(now - this.capacity.at) >= FREE_SPACE_TTL_MS) this.capacity = { bytes: this.options.freeBytes() + this.options.index.totals().bytes, at: now };
    return Math.min(this.options.limitBytes, this.capacity.bytes);
  }

  /** What objects without a reservation may fill up to: promised space is not given away. */
  unreservedLimit(): number {
    return this.limit() - this.reserved;
  }

  reserve(): Reservation {
    let held = 0;
    return {
      grow: async (bytes) => {
        const more = bytes - held;
        if (more <= 0) return;
        // Who holds nothing yet waits for others to finish; who holds something fails instead, so that nobody waits in a circle.
        while (!(await this.claim(more, more))) {
          if (held > 0 || this.reserved === 0 || more > this.limit()) throw this.noSpace(more, this.limit());
          await new Promise<void>((resolve) => this.waiting.push(resolve));
        }
        held = bytes;
      },
      release: () => {
        this.reserved -= held;
        held = 0;
        for (const wake of this.waiting.splice(0)) wake();
      },
    };
  }

  /** Evicts until so many charged bytes fit below the limit; NO_SPACE when what stays leaves no room for them. */
  async makeRoom(bytes: number): Promise<void> {
    if (!(await this.claim(bytes, 0))) throw this.noSpace(bytes, this.limit());
  }

  /** Makes room for `bytes` and reserves `keep` in the same turn of the loop in which the room was seen. */
  private async claim(bytes: number, keep: number): Promise<boolean> {
    const fits = (): boolean => {
      if (this.options.index.totals().bytes + this.reserved + bytes > this.limit()) return false;
      this.reserved += keep;
      return true;
    };
    if (fits()) return true;
    // Not even an empty cache would have the room: evicting would only cost.
    if (this.reserved + bytes > this.limit()) return false;
    await this.evictTo(this.limit() * TARGET_FRACTION - this.reserved - bytes, 'unused');
    if (fits()) return true;
    await this.evictTo(this.limit() - this.reserved - bytes, 'used by reachable owners');
    return fits();
  }

  /** The file system is full although the limit is not reached: frees so many bytes and a little more, if that can be. */
  async relieve(bytes: number): Promise<boolean> {
    this.capacity = { bytes: 0, at: -Infinity };
    const before = this.options.index.totals().bytes;
    const target = Math.min(before * 0.95, before - bytes);
    let freed = await this.evictTo(target, 'unused');
    if (freed < bytes) freed += await this.evictTo(before - bytes, 'used by reachable owners');
    return freed > 0;
  }

  /** Removes objects of a class until the total is at most that; answers the charged bytes removed. */
  async evictTo(totalBytes: number, victimClass: VictimClass): Promise<number> {
    let cursor: EvictionCursor | null = null;
    let freed = 0;
    for (;;) {
      const slice = this.evictSlice(Math.max(0, totalBytes), victimClass, cursor);
      freed += slice.freed;
      if (slice.cursor === null) break;
      cursor = slice.cursor;
      await nextTurn();
    }
    if (freed > 0) this.options.log.debug('evicted objects from the cache', { bytes: freed, which: victimClass });
    return freed;
  }

  private evictSlice(totalBytes: number, victimClass: VictimClass, after: EvictionCursor | null): { freed: number; cursor: EvictionCursor | null } {
    const { index, dir } = this.options;
    return index.exclusively(() => {
      let total = index.totals().bytes;
      if (total <= totalBytes) return { freed: 0, cursor: null };
      const names: string[] = [];
      let cursor: EvictionCursor | null = null;
      for (const victim of index.victims(victimClass, after, SLICE_OBJECTS)) {
        if (total <= totalBytes) break;
        cursor = victim;
        names.push(victim.name);
        total -= chargedBytes(victim.length);
      }
      const freed = index.forget(names);
      // Before the commit: on a full disk it is these bytes that give the index room to write.
      for (const name of names) fs.rmSync(objectFile(dir, name), { recursive: true, force: true });
      this.evicted.objects += names.length;
      this.evicted.bytes += freed;
      return { freed, cursor };
    });
  }

  private noSpace(bytes: number, limit: number): Failure {
    const { dir, index, limitBytes } = this.options;
    const { pinned, unreachable } = index.heldBytes();
    const why = limit < limitBytes ? `its file system holds no more than ${Math.floor(limit)} of the configured ${limitBytes} bytes` : `its limit is ${limitBytes} bytes`;
    return new Failure('NO_SPACE', `no room for ${bytes} bytes in the cache ${dir}: ${why}, ${pinned} are pinned and ${unreachable} used by root file systems whose server is away`, {
      next: pinned + unreachable + bytes > limit ? 'raise cache.limit, or unpin images' : 'raise cache.limit or free space on the disk',
      data: { limitBytes: Math.floor(limit), pinnedBytes: pinned, unreachableBytes: unreachable },
    });
  }
}
