/** The errors that readers of the mount have seen: all are counted, the last ones kept. */
const RECENT_KEPT = 20;

export interface SeenFailure {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly path: string;
  readonly message: string;
}

export class SeenFailures {
  #count = 0;
  #recent: readonly SeenFailure[] = [];

  add(path: string, message: string): void {
    this.#count += 1;
    this.#recent = [...this.#recent.slice(1 - RECENT_KEPT), { at: Date.now(), path, message }];
  }

  get count(): number {
    return this.#count;
  }

  /** The oldest first. */
  get recent(): readonly SeenFailure[] {
    return this.#recent;
  }
}
