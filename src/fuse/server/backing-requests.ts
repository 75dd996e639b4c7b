/**
 * How a server, which has no privilege, gets files registered with the kernel: it writes down what it wants, and the keeper
 * comes for it on the control socket and brings the ids (keeper/backing-desk.ts). So it works with every keeper, also
 * with one that came after this server. While no keeper comes, files are read through the server.
 */
import { z } from 'zod';
import type { Backing } from './open-files';

/** The keeper's call comes back after this long without anything to do. */
const PATIENCE_MS = 10_000;
/** A reader that opens a file waits this long for the keeper at most; the next one does not wait until the keeper comes again. */
const ANSWER_MS = 500;
/** In one answer; the rest waits for the next call. */
export const REQUESTS_MAX = 256;

export const OBJECT_NAME = /^[0-9a-f]{40}-[a-z0-9]{1,16}-[a-z]{1,8}$/;

/** What the keeper brings: ids by object; null where there is none to be had. */
export const broughtShape = z.strictObject({ opened: z.array(z.strictObject({ object: z.string().regex(OBJECT_NAME), id: z.number().int().min(1).nullable() })).max(REQUESTS_MAX) });
/** What the server wants. */
export const wantedShape = z.strictObject({ open: z.array(z.string().regex(OBJECT_NAME)).max(REQUESTS_MAX), close: z.array(z.number().int().min(1)).max(REQUESTS_MAX) });
export type Wanted = z.infer<typeof wantedShape>;

interface Asked {
  readonly resolve: (id: number | null) => void;
  readonly timer: NodeJS.Timeout;
}

export class BackingRequests implements Backing {
  /** Several inodes may have the same content; each gets an id of its own, one after another. */
  readonly #asked = new Map<string, Asked[]>();
  readonly #toOpen = new Set<string>();
  readonly #toClose = new Set<number>();
  #wake: (() => void) | null = null;
  /** Calls of the keeper that wait here, or have just been answered. */
  #keeperUntilMs = 0;
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  open(object: string): Promise<number | null> {
    if (this.#wake === null && this.#now() > this.#keeperUntilMs) return Promise.resolve(null);
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#wake = null;
        this.#keeperUntilMs = 0;
        this.#answer(object, null);
      }, ANSWER_MS);
      this.#asked.set(object, [...(this.#asked.get(object) ?? []), { resolve, timer }]);
      this.#toOpen.add(object);
      this.#wake?.();
    });
  }

  async close(id: number): Promise<void> {
    this.#toClose.add(id);
    this.#wake?.();
  }

  /** The keeper's call: takes what it brings, and answers what is wanted next, or nothing after a while. */
  async exchange(params: unknown): Promise<Wanted> {
    for (const { object, id } of broughtShape.parse(params).opened) if (!this.#answer(object, id) && id !== null) this.#toClose.add(id);
    if (this.#toOpen.size === 0 && this.#toClose.size === 0) await this.#something();
    this.#keeperUntilMs = this.#now() + ANSWER_MS;
    return { open: take(this.#toOpen), close: take(this.#toClose) };
  }

  #something(): Promise<void> {
    // A call that still waits is of a keeper that is gone.
    this.#wake?.();
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        if (this.#wake === wake) this.#wake = null;
        resolve();
      };
      const timer = setTimeout(wake, PATIENCE_MS);
      this.#wake = wake;
    });
  }

  /** False when nobody waits for it any more: the id is given back. */
  #answer(object: string, id: number | null): boolean {
    const [asked, ...others] = this.#asked.get(object) ?? [];
    if (asked === undefined) return false;
    if (others.length > 0) {
      this.#asked.set(object, others);
      this.#toOpen.add(object);
    } else {
      this.#asked.delete(object);
      this.#toOpen.delete(object);
    }
    clearTimeout(asked.timer);
    asked.resolve(id);
    return true;
  }
}

function take<T>(from: Set<T>): T[] {
  const taken = [...from].slice(0, REQUESTS_MAX);
  for (const one of taken) from.delete(one);
  return taken;
}
