/**
 * Requests that the main thread holds because they wait for the network, and the interrupts that may end their wait.
 *
 * The kernel sends an interrupt for any signal, also for one that the process handles and goes on after (a timer, a child's
 * end). On a local disk those never cut a `stat` short, and programs do not expect EINTR from it; so an interrupt ends the
 * wait only of a process that is being killed. It is sent once: a process that survives the first signal and is killed
 * later is known by looking at it again and again. An interrupt can overtake its request, since the two may come from
 * different workers; so early ones are remembered briefly.
 */
import * as fs from 'node:fs';
import { LRUCache } from 'lru-cache';

const EARLY_INTERRUPTS_MAX = 1_024;
const EARLY_INTERRUPT_MS = 2_000;
const LOOK_AGAIN_MS = 250;
/** SIGKILL in a mask of pending signals; every signal that ends a process puts it there, for each of its threads. */
const SIGKILL_BIT = 1n << 8n;

interface Waiting {
  readonly pid: number;
  readonly controller: AbortController;
  look: NodeJS.Timeout | undefined;
}

export class WaitingRequests {
  readonly #waiting = new Map<string, Waiting>();
  readonly #early: LRUCache<string, true>;
  readonly #isDying: (pid: number) => boolean;

  constructor(isDying: (pid: number) => boolean = isBeingKilled) {
    this.#early = new LRUCache({ max: EARLY_INTERRUPTS_MAX, ttl: EARLY_INTERRUPT_MS });
    this.#isDying = isDying;
  }

  get size(): number {
    return this.#waiting.size;
  }

  /** Runs `work` for a thread with a signal that fires when that thread was interrupted and is being killed. */
  async during<T>(unique: string, pid: number, work: (interrupted: AbortSignal) => Promise<T>): Promise<T> {
    const waiting: Waiting = { pid, controller: new AbortController(), look: undefined };
    this.#waiting.set(unique, waiting);
    if (this.#early.delete(unique)) this.#interrupted(waiting);
    try {
      return await work(waiting.controller.signal);
    } finally {
      clearTimeout(waiting.look);
      this.#waiting.delete(unique);
    }
  }

  interrupt(unique: string): void {
    const waiting = this.#waiting.get(unique);
    if (waiting === undefined) this.#early.set(unique, true);
    else this.#interrupted(waiting);
  }

  #interrupted(waiting: Waiting): void {
    clearTimeout(waiting.look);
    if (this.#isDying(waiting.pid)) waiting.controller.abort();
    else waiting.look = setTimeout(() => this.#interrupted(waiting), LOOK_AGAIN_MS).unref();
  }
}

/** Whether a thread has a signal pending that ends it, or is gone. False where it cannot be told (pid 0, a hidden /proc). */
export function isBeingKilled(pid: number): boolean {
  if (pid === 0) return false;
  let status: string;
  try {
    status = fs.readFileSync(`/proc/${pid}/status`, 'latin1');
  } catch {
    return !exists(pid);
  }
  const pending = /^SigPnd:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  return pending !== undefined && (BigInt(`0x${pending}`) & SIGKILL_BIT) !== 0n;
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
