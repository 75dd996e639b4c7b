/**
 * What was fetched before anybody asked for it, and what became of it. Bytes are plain ones, as files have them: what the
 * network carried of them is not known apart. An object is used with its first read; it is wasted when that did not come
 * in time, or when there are too many to remember.
 */
import { LRUCache } from 'lru-cache';

/** Why an object was fetched. */
export type Kind = 'closure' | 'import' | 'neighbour' | 'walk' | 'chunk' | 'catalog' | 'profile';
export const KINDS: readonly Kind[] = ['closure', 'import', 'neighbour', 'walk', 'chunk', 'catalog', 'profile'];

/** Objects that may still be used. */
const OPEN_MAX = 65_536;
export const UNUSED_MS = 10 * 60_000;
const IMAGES_MAX = 1_024;

export interface Tally {
  readonly fetchedObjects: number;
  readonly fetchedBytes: number;
  readonly usedObjects: number;
  readonly usedBytes: number;
  readonly wastedObjects: number;
  readonly wastedBytes: number;
}

type Counts = { -readonly [K in keyof Tally]: Tally[K] };

interface Open {
  readonly bytes: number;
  readonly atMs: number;
  readonly counts: readonly Counts[];
}

const none = (): Counts => ({ fetchedObjects: 0, fetchedBytes: 0, usedObjects: 0, usedBytes: 0, wastedObjects: 0, wastedBytes: 0 });

export class Ledger {
  readonly #open = new Map<string, Open>();
  readonly #kinds: Readonly<Record<Kind, Counts>> = { closure: none(), import: none(), neighbour: none(), walk: none(), chunk: none(), catalog: none(), profile: none() };
  readonly #images = new LRUCache<string, Counts>({ max: IMAGES_MAX });
  readonly #now: () => number;

  /** `now`: milliseconds of a clock that is never set. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** `image`: see `Speculation`. */
  fetched(name: string, bytes: number, kind: Kind, image: string): void {
    if (this.#open.has(name)) return;
    let ofImage = this.#images.get(image);
    if (ofImage === undefined) this.#images.set(image, (ofImage = none()));
    const counts = [this.#kinds[kind], ofImage];
    for (const count of counts) {
      count.fetchedObjects += 1;
      count.fetchedBytes += bytes;
    }
    this.#open.set(name, { bytes, atMs: this.#now(), counts });
    this.sweep();
  }

  /** A reader has it now. False when it was not fetched ahead, or had been used before. */
  used(name: string): boolean {
    const open = this.#open.get(name);
    if (open === undefined) return false;
    this.#open.delete(name);
    for (const count of open.counts) {
      count.usedObjects += 1;
      count.usedBytes += open.bytes;
    }
    return true;
  }

  /** Gives up what nobody used in time. */
  sweep(): void {
    const before = this.#now() - UNUSED_MS;
    // In the order in which they came.
    for (const [name, open] of this.#open) {
      if (this.#open.size <= OPEN_MAX && open.atMs > before) return;
      this.#open.delete(name);
      for (const count of open.counts) {
        count.wastedObjects += 1;
        count.wastedBytes += open.bytes;
      }
    }
  }

  kinds(): Readonly<Record<Kind, Tally>> {
    this.sweep();
    return this.#kinds;
  }

  /** Zeros for an image that nothing was fetched for. */
  image(image: string): Tally {
    this.sweep();
    return this.#images.peek(image) ?? none();
  }

  images(): ReadonlyArray<readonly [string, Tally]> {
    return [...this.#images.entries()];
  }
}
