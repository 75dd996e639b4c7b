/**
 * Generations: the answer to "may I believe the bytes of this file?" without a database or a clock.
 *
 * Objects are written without fsync (it costs more than the download), so after a crash of the host a file may be empty,
 * short, or hold stale blocks under a perfect name. A *generation* is the time between two such crashes: a number from 1
 * to 2^30 − 1, made new when the index finds another boot id than the one it recorded and the cache was not closed
 * cleanly. Each file's modification time is set to the generation, in seconds, before the file gets its name, and again
 * when it was verified: equal → every byte was seen in this boot and is what the page cache still has.
 *
 * The number is random rather than the last one plus one: an index that lost its last transactions, or was set aside as
 * damaged, can then not come to a number that old files carry already. It stays below 2^30 seconds (January 2004), so no
 * file written by something else, with the time of a clock, has it by accident.
 */
import * as crypto from 'node:crypto';
import * as fs from 'node:fs';

export const GENERATION_LIMIT = 2 ** 30;

/** A new generation, other than `previous`. */
export function newGeneration(previous: number | null, randomInt: (min: number, max: number) => number = crypto.randomInt): number {
  for (;;) {
    const generation = randomInt(1, GENERATION_LIMIT);
    if (generation !== previous) return generation;
  }
}

/** The kernel's name for this boot. */
export function currentBootId(): string {
  return fs.readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
}

/** Writes the generation on an open file; nothing else may change the file afterwards. */
export function markGeneration(fd: number, generation: number): void {
  fs.futimesSync(fd, generation, generation);
}

export function hasGeneration(stat: fs.Stats, generation: number): boolean {
  return stat.mtimeMs === generation * 1000;
}
