/**
 * Fetches what is only guessed: a bounded number of objects and bytes at a time, behind everything that is demanded, and
 * never an error for anybody. When guesses fail in a row (the network is away) it rests for a while.
 */
import { objectName } from '../../../cache/object-name';
import { Failure } from '../../../error';
import type { Logger } from '../../../log/logger';
import type { ObjectNeed } from '../../../repository/missing';
import type { ObjectStore } from '../../../repository/object-store';
import type { Kind, Ledger } from './ledger';
import type { SpeculationLimits } from './limits';

const DEADLINE_MS = 30_000;
/** Waiting for a place, closures for the most part: a read-ahead waits with its reader. */
const QUEUED_MAX = 512;
const FAILURES_MAX = 8;
const REST_MS = 10_000;
/** Of an object of unknown size, a catalog. */
const UNKNOWN_BYTES = 1 << 20;

export interface FetcherWorld {
  readonly store: Pick<ObjectStore, 'ensure' | 'isLocal'>;
  readonly ledger: Ledger;
  readonly limits: SpeculationLimits;
  readonly log: Logger;
  readonly now: () => number;
}

interface Queued {
  readonly need: ObjectNeed;
  readonly start: () => void;
}

export class BackgroundFetcher {
  readonly #world: FetcherWorld;
  readonly #underWay = new Map<string, Promise<boolean>>();
  /** Of those under way: what a reader asks for already. */
  readonly #wanted = new Set<string>();
  readonly #queue: Queued[] = [];
  #inFlight = 0;
  #bytes = 0;
  #failures = 0;
  #restUntilMs = 0;
  /** Called when there is room again. */
  hasRoom: () => void = () => undefined;

  constructor(world: FetcherWorld) {
    this.#world = world;
  }

  get underWay(): number {
    return this.#inFlight;
  }

  get queued(): number {
    return this.#queue.length;
  }

  /** True when an object of `bytes` could be fetched at once. */
  room(bytes: number): boolean {
    const { limits, now } = this.#world;
    if (this.#queue.length > 0 || now() < this.#restUntilMs) return false;
    return this.#fits(bytes, limits);
  }

  isUnderWay(need: ObjectNeed): boolean {
    return this.#underWay.has(objectName(need));
  }

  /** A reader asks for it, or has it. */
  demanded(name: string): void {
    if (this.#underWay.has(name)) this.#wanted.add(name);
    else this.#world.ledger.used(name);
  }

  /** Makes the object local when it can; true when it is. Never throws. */
  fetch(need: ObjectNeed, kind: Kind, image: string): Promise<boolean> {
    const name = objectName(need);
    const running = this.#underWay.get(name);
    if (running !== undefined) return running;
    if (this.#world.store.isLocal(need)) return Promise.resolve(true);
    if (this.#world.now() < this.#restUntilMs || this.#queue.length >= QUEUED_MAX) return Promise.resolve(false);
    const fetching = this.#admitted(need).then(() => this.#run(need, name, kind, image));
    this.#underWay.set(name, fetching);
    return fetching;
  }

  #fits(bytes: number, limits: SpeculationLimits): boolean {
    return this.#inFlight < limits.inFlightMax && (this.#inFlight === 0 || this.#bytes + bytes <= limits.inFlightBytesMax);
  }

  #admitted(need: ObjectNeed): Promise<void> {
    const bytes = need.plainSize ?? UNKNOWN_BYTES;
    const take = (): void => {
      this.#inFlight += 1;
      this.#bytes += bytes;
    };
    if (this.#queue.length === 0 && this.#fits(bytes, this.#world.limits)) return Promise.resolve(take());
    return new Promise((resolve) => this.#queue.push({ need, start: () => resolve(take()) }));
  }

  async #run(need: ObjectNeed, name: string, kind: Kind, image: string): Promise<boolean> {
    const { store, ledger, log, now } = this.#world;
    try {
      // While it waited, a reader may have had it fetched: that is no guess of ours any more.
      if (store.isLocal(need)) return true;
      await store.ensure(need, { background: true, deadlineMs: DEADLINE_MS });
      this.#failures = 0;
      ledger.fetched(name, need.plainSize ?? 0, kind, image);
      if (this.#wanted.has(name)) ledger.used(name);
      return true;
    } catch (error) {
      if (++this.#failures >= FAILURES_MAX) {
        this.#failures = 0;
        this.#restUntilMs = now() + REST_MS;
        log.debug('nothing is fetched ahead for a while', { error: Failure.from(error) });
      }
      return false;
    } finally {
      // In the step that tells the ledger: a reader who is noted between the two would be forgotten.
      this.#underWay.delete(name);
      this.#wanted.delete(name);
      this.#inFlight -= 1;
      this.#bytes -= need.plainSize ?? UNKNOWN_BYTES;
      this.#next();
    }
  }

  #next(): void {
    for (let next = this.#queue[0]; next !== undefined && this.#fits(next.need.plainSize ?? UNKNOWN_BYTES, this.#world.limits); next = this.#queue[0]) {
      this.#queue.shift();
      next.start();
    }
    if (this.#queue.length === 0) this.hasRoom();
  }
}
