/**
 * Whether anybody waits for a request: background work until somebody does, demanded from then on. Shared by who makes
 * the request and the queues that it passes, so that a promotion reaches it wherever it is.
 */
export class Urgency {
  /** Nobody waits for it. */
  background: boolean;
  /** Set by the queue in which it waits. */
  #moveUp: (() => void) | null = null;

  constructor(background: boolean) {
    this.background = background;
  }

  /** True while it waits in a queue, so that giving it up costs nothing. */
  get queued(): boolean {
    return this.#moveUp !== null;
  }

  /** Somebody waits for it now: it goes before all background work, at once. */
  promote(): void {
    if (!this.background) return;
    this.background = false;
    this.#moveUp?.();
  }

  /** A queue says that it waits there, and how it is promoted there. */
  waits(moveUp: () => void): void {
    this.#moveUp = moveUp;
  }

  /** It has left the queue. */
  goes(): void {
    this.#moveUp = null;
  }
}
