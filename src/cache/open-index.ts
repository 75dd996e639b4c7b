/**
 * Opening the index: makes it, sets a damaged one aside, and decides whether a new generation begins.
 *
 * All of it happens under a lock on `<dir>/open.lock`, so that of two processes that find the same damaged file one sets
 * it aside and the other finds the new one.
 *
 * A new index means a new generation and no records, and the files of the old one must not stay uncounted, or the limit
 * would mean nothing: objects that were stored uncompressed prove themselves by their name and are adopted, all others
 * are removed and will be fetched again.
 */
import * as crypto from 'node:crypto';
import * as fs from 'node:fs';
import { Failure } from '../error';
import type { Logger } from '../log/logger';
import { LOCK_EX, libc } from '../native/libc';
import { currentBootId, newGeneration } from './generation';
import { ObjectIndex } from './object-index';
import { isAlive, selfIdentity } from './temp-file';

export interface OpenIndexWorld {
  readonly log: Logger;
  /** Boot id, default the kernel's. */
  readonly bootId?: string;
  readonly randomInt?: (min: number, max: number) => number;
}

export interface OpenedIndex {
  readonly index: ObjectIndex;
  readonly generation: number;
  readonly bootId: string;
  /** Of this opening, for `closeIndex`. */
  readonly token: string;
  /** The index is new although objects may be there. */
  readonly rebuilt: boolean;
}

export function openIndex(dir: string, world: OpenIndexWorld, busyTimeoutMs?: number): OpenedIndex {
  const options = busyTimeoutMs === undefined ? {} : { busyTimeoutMs };
  const lock = fs.openSync(`${dir}/open.lock`, fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_NOFOLLOW, 0o600);
  try {
    libc().flock(lock, LOCK_EX);
    const file = `${dir}/index.db`;
    let rebuilt = makeIndexFile(file);
    try {
      return begin(ObjectIndex.open(file, options), rebuilt, world);
    } catch (error) {
      if (!(error instanceof Failure) || error.code !== 'STATE_DAMAGED') throw error;
      world.log.warn('the index of the cache is damaged and was set aside; its objects will be fetched again', { file: `${file}.damaged`, error });
      setIndexAside(file);
      rebuilt = true;
      makeIndexFile(file);
      return begin(ObjectIndex.open(file, options), rebuilt, world);
    }
  } finally {
    fs.closeSync(lock);
  }
}

/**
 * Sets a damaged index aside when it is still the one that is open here, so that whoever opens the cache next begins a
 * new one. Those who have the old one open find that by `isReplaced`. SQLite does not delete the log of a database
 * that moved, so a late close of the old one does not harm the new one.
 */
export function setDamagedIndexAside(dir: string, index: ObjectIndex): void {
  const lock = fs.openSync(`${dir}/open.lock`, fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_NOFOLLOW, 0o600);
  try {
    libc().flock(lock, LOCK_EX);
    if (!index.isReplaced()) setIndexAside(index.file);
  } finally {
    fs.closeSync(lock);
  }
}

/**
 * Ends an opening. The caller has flushed the file system before (`flushed`) when the cache may count as closed cleanly,
 * and names the openings that were dead at that time: what they wrote was flushed too.
 */
export function closeIndex(opened: OpenedIndex, flushed: boolean, dead: readonly string[]): void {
  const { index } = opened;
  try {
    if (!flushed || index.isReplaced()) return;
    index.exclusively(() => {
      for (const token of [opened.token, ...dead]) index.removeOpener(token);
    }, { durable: true });
  } finally {
    index.close();
  }
}

/** Openings of processes that live no more. */
export function deadOpeners(opened: OpenedIndex): string[] {
  return opened.index.openers().filter((opener) => opener.boot !== opened.bootId || !isAlive(opener)).map((opener) => opener.token);
}

function begin(index: ObjectIndex, rebuilt: boolean, world: OpenIndexWorld): OpenedIndex {
  try {
    const bootId = world.bootId ?? currentBootId();
    const recorded = index.meta('generation');
    const previous = typeof recorded === 'number' ? recorded : null;
    const rebooted = index.meta('boot_id') !== bootId;
    const unclean = previous === null || (rebooted && index.openers().length > 0);
    if (unclean && previous !== null) {
      if (!index.isSound()) throw new Failure('STATE_DAMAGED', `the cache's index ${index.file} was damaged when the host went down`);
      world.log.info('the host went down with the cache open: objects are verified again on first use', { file: index.file });
    }
    const generation = unclean ? newGeneration(previous, world.randomInt) : previous;
    const { pid, start } = selfIdentity();
    const token = crypto.randomBytes(12).toString('hex');
    // Durable: were this lost in a crash, the next boot would take the cache for cleanly closed and trust files of this one.
    index.exclusively(() => {
      if (rebooted) for (const opener of index.openers()) index.removeOpener(opener.token);
      index.setMeta('generation', generation);
      index.setMeta('boot_id', bootId);
      index.addOpener({ token, pid, start, boot: bootId });
    }, { durable: true });
    return { index, generation, bootId, token, rebuilt };
  } catch (error) {
    index.close();
    throw error;
  }
}

/** The file with its mode, before SQLite makes it with another; true when it was not there. */
function makeIndexFile(file: string): boolean {
  try {
    fs.closeSync(fs.openSync(file, fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_EXCL | fs.constants.O_NOFOLLOW, 0o600));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw Failure.from(error, `the cache's index ${file}`);
  }
}

/** One damaged index is kept for the curious, with its log. */
function setIndexAside(file: string): void {
  fs.renameSync(file, `${file}.damaged`);
  if (fs.existsSync(`${file}-wal`)) fs.renameSync(`${file}-wal`, `${file}.damaged-wal`);
  fs.rmSync(`${file}-shm`, { force: true });
}
