/**
 * Which server is used now (spec 6.2, 6.6): one index shared by all requests, which moves to the next server, wrapping,
 * only when the one that failed is still current; so a burst of failures moves it once. The first server is tried again
 * some time after it was left.
 */
import type { Clock } from './clock';

export class HostChain {
  private index = 0;
  private leftFirstAt: number | undefined;

  constructor(
    readonly servers: readonly string[],
    private readonly resetAfterMs: number,
    private readonly clock: Clock,
  ) {}

  current(): number {
    if (this.leftFirstAt !== undefined && this.clock.now() - this.leftFirstAt >= this.resetAfterMs) {
      this.leftFirstAt = undefined;
      this.index = 0;
    }
    return this.index;
  }

  /** The server for a request that has used up some; undefined when it has used up all. */
  pick(used: ReadonlySet<number>): number | undefined {
    const from = this.current();
    for (let i = 0; i < this.servers.length; i++) {
      const host = (from + i) % this.servers.length;
      if (!used.has(host)) return host;
    }
    return undefined;
  }

  /** True when the shared choice moved. */
  failed(host: number): boolean {
    if (this.index !== host || this.servers.length < 2) return false;
    this.index = (host + 1) % this.servers.length;
    if (this.index === 0) this.leftFirstAt = undefined;
    else this.leftFirstAt ??= this.clock.now();
    return true;
  }
}
