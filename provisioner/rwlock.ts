/**
 * A fair read/write lock: waiters are served in the order they came, neighbouring readers together. So a stream of
 * readers cannot starve a writer, as in Mesos (spec 1.7).
 *
 * Never take it again while holding it: a writer queued in between would wait for the first hold and the second hold
 * for the writer (spec 1.4, the nested destroy). Every operation here takes it once, at its door.
 */
interface Waiter {
  readonly write: boolean;
  readonly start: () => void;
}

export class RwLock {
  #readers = 0;
  #writing = false;
  readonly #queue: Waiter[] = [];

  /** Runs `work` beside other readers. */
  read<T>(work: () => Promise<T>): Promise<T> {
    return this.#run(false, work);
  }

  /** Runs `work` alone. */
  write<T>(work: () => Promise<T>): Promise<T> {
    return this.#run(true, work);
  }

  async #run<T>(write: boolean, work: () => Promise<T>): Promise<T> {
    if (this.#queue.length > 0 || !this.#free(write)) await new Promise<void>((start) => this.#queue.push({ write, start }));
    else this.#enter(write);
    try {
      return await work();
    } finally {
      if (write) this.#writing = false;
      else this.#readers--;
      this.#serve();
    }
  }

  #free(write: boolean): boolean {
    return !this.#writing && (!write || this.#readers === 0);
  }

  #enter(write: boolean): void {
    if (write) this.#writing = true;
    else this.#readers++;
  }

  #serve(): void {
    for (let next = this.#queue[0]; next !== undefined && this.#free(next.write); next = this.#queue[0]) {
      this.#queue.shift();
      this.#enter(next.write);
      next.start();
    }
  }
}
