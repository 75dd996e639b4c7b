/**
 * Finds servers that live and do not work: a main thread that does not answer, or a reader worker that is busy with one
 * request, which it answers from local state or hands over, for longer than anything local can take. Such a server keeps
 * swallowing requests, so it is killed, and its successor is asked them again.
 *
 * Time is counted in rounds that came on time. What the host does to everybody (suspend, overload, a keeper that was
 * stopped itself) makes rounds late, and a late round counts for nothing.
 */
import type { Logger } from '../../log/logger';
import { killProcess } from './kill-process';
import type { ServerProcess } from './server-process';

const ROUND_MS = 1_000;
/** A round that comes this late says something about the host, not about a server. */
const LATE_MS = 500;
const PING_TIMEOUT_MS = 900;
/** Rounds without an answer, or with the same request, until a server is killed. */
const WEDGED_ROUNDS = 10;
/** After each kill it takes so many times longer until the next one: a host that is too slow is not made slower. */
const PATIENCE_GROWTH = 2;
const WEDGED_ROUNDS_MAX = 600;
/** Rounds without a fault after which a mount's servers are trusted as at the beginning. */
const FORGIVEN_ROUNDS = 600;

/** One watched process, by the mount's id, or `spare`. */
interface Watched {
  readonly server: ServerProcess;
  asking: boolean;
  silentRounds: number;
  /** Of each worker: the requests it had taken when it was last seen to move, and rounds since. */
  workers: Array<{ taken: number; rounds: number }>;
}

interface Patience {
  wedgedRounds: number;
  goodRounds: number;
}

export interface PingsWorld {
  readonly log: Logger;
  readonly monotonicMs: () => number;
}

export class Pings {
  readonly #world: PingsWorld;
  readonly #watched = new Map<string, Watched>();
  readonly #patience = new Map<string, Patience>();
  #timer: NodeJS.Timeout | null = null;
  #lastMs = 0;

  constructor(world: PingsWorld) {
    this.#world = world;
  }

  /** Watches the process until it ends or another takes its name. */
  watch(name: string, server: ServerProcess): void {
    const watched: Watched = { server, asking: false, silentRounds: 0, workers: [] };
    this.#watched.set(name, watched);
    void server.ended.then(() => {
      if (this.#watched.get(name) === watched) this.#watched.delete(name);
    });
    if (this.#timer !== null) return;
    this.#lastMs = this.#world.monotonicMs();
    this.#timer = setInterval(() => this.#round(), ROUND_MS).unref();
  }

  /** The mount is gone. */
  forget(name: string): void {
    this.#watched.delete(name);
    this.#patience.delete(name);
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    this.#watched.clear();
  }

  #round(): void {
    const now = this.#world.monotonicMs();
    const late = now - this.#lastMs > ROUND_MS + LATE_MS;
    this.#lastMs = now;
    for (const [name, watched] of this.#watched) {
      if (watched.asking) {
        if (!late) watched.silentRounds += 1;
      } else void this.#ask(watched, late);
      this.#judge(name, watched);
    }
  }

  async #ask(watched: Watched, late: boolean): Promise<void> {
    watched.asking = true;
    try {
      const { workers } = await watched.server.ping(PING_TIMEOUT_MS);
      watched.silentRounds = 0;
      watched.workers = workers.map(([taken, done], i) => {
        const before = watched.workers[i];
        const stuck = taken !== done && before?.taken === taken;
        return { taken, rounds: stuck ? before.rounds + (late ? 0 : 1) : 0 };
      });
    } catch {
      if (!late) watched.silentRounds += 1;
    } finally {
      watched.asking = false;
    }
  }

  #judge(name: string, watched: Watched): void {
    const patience = this.#patience.get(name) ?? { wedgedRounds: WEDGED_ROUNDS, goodRounds: 0 };
    this.#patience.set(name, patience);
    const stuckRounds = Math.max(0, ...watched.workers.map((worker) => worker.rounds));
    if (watched.silentRounds < patience.wedgedRounds && stuckRounds < patience.wedgedRounds) {
      patience.goodRounds += 1;
      if (patience.goodRounds >= FORGIVEN_ROUNDS) patience.wedgedRounds = WEDGED_ROUNDS;
      return;
    }
    this.#world.log.error('a process does not work any more and is killed', { name, pid: watched.server.identity.pid, silentRounds: watched.silentRounds, stuckRounds });
    patience.wedgedRounds = Math.min(WEDGED_ROUNDS_MAX, patience.wedgedRounds * PATIENCE_GROWTH);
    patience.goodRounds = 0;
    this.#watched.delete(name);
    killProcess(watched.server.identity.pid);
  }
}
