/**
 * What one request does after each failed attempt (spec 6.6); the only place that decides it.
 *
 *   resolve, http               the proxy's fault: next proxy;   the server's: next server
 *   connection, too-slow, short the same URL again after a wait, `maxRetries` times; then as above
 *   missing                     once more with no-cache, since a proxy may have kept a 404 from before the publication;
 *                               then next server
 *   corrupt                     once more with no-cache; then the other proxies, for this request only; then next server
 *
 * "Next proxy" when all have been used is next server with all proxies again; "next server" when all have been used is
 * the end. So a request makes at most servers × proxies + maxRetries + 2 attempts.
 */
import type { AttemptFailure, FailureKind } from './attempt-failure';
import type { HostChain } from './host-chain';
import type { ProxyChain } from './proxy-chain';
import type { ProxyEndpoint } from './proxy-endpoint';

export interface Place {
  readonly server: string;
  readonly proxy: ProxyEndpoint;
  readonly noCache: boolean;
}

/** A chain of servers with the proxies that lead to them: one for the repository, one for its external files. */
export interface Route {
  readonly hosts: HostChain;
  readonly proxies: ProxyChain;
}

export interface RetryLimits {
  readonly maxRetries: number;
  readonly backoffInitMs: number;
  readonly backoffMaxMs: number;
}

export type Step = { readonly kind: 'retry' | 'proxy' | 'server'; readonly waitMs: number; readonly moved: boolean } | { readonly kind: 'give-up' };

const SAME_URL_AGAIN: readonly FailureKind[] = ['connection', 'too-slow', 'short'];

export class RetryPlan {
  private readonly used = new Set<number>();
  private readonly burned = new Set<ProxyEndpoint>();
  private host: number;
  private proxy: ProxyEndpoint;
  private retries = 0;
  private fresh = true;
  private noCache: boolean;
  private staleRetryLeft = true;
  /** All ways brought bad bytes from one server, so they come from the server: no second walk for the next one. */
  private proxiesProvedInnocent = false;

  constructor(
    private readonly route: Route,
    private readonly limits: RetryLimits,
    private readonly random: () => number,
    /** The request asked for no-cache by itself: asking again that way would be no other question. */
    private readonly askedNoCache: boolean,
  ) {
    this.noCache = askedNoCache;
    this.host = route.hosts.current();
    this.proxy = route.proxies.current();
  }

  /** Where the next attempt goes. Until the first one begins this follows the shared choice, which may move while the request waits in a queue. */
  place(): Place {
    if (this.fresh) {
      this.host = this.route.hosts.current();
      this.proxy = this.route.proxies.current();
    }
    return { server: this.route.hosts.servers[this.host]!, proxy: this.proxy, noCache: this.noCache };
  }

  /** An attempt has begun at `place()`: what it does from now on is held against that place. */
  began(): void {
    this.fresh = false;
  }

  afterFailure(failure: AttemptFailure): Step {
    if (failure.staleConnection && this.staleRetryLeft) {
      this.staleRetryLeft = false;
      return { kind: 'retry', waitMs: 0, moved: false };
    }
    const escalated = this.noCache && !this.askedNoCache;
    if (SAME_URL_AGAIN.includes(failure.kind) && !escalated && this.retries < this.limits.maxRetries) {
      return { kind: 'retry', waitMs: this.backoffMs(failure), moved: false };
    }
    const doubtful = failure.kind === 'missing' || failure.kind === 'corrupt' || failure.kind === 'too-big';
    if (doubtful && !this.noCache) {
      this.noCache = true;
      return { kind: 'retry', waitMs: 0, moved: false };
    }
    if (failure.blame === 'proxy') return this.nextProxy(true);
    if (failure.kind === 'corrupt' || failure.kind === 'too-big') {
      if (this.proxy.origin !== undefined && !this.proxiesProvedInnocent) return this.nextProxy(false);
      this.proxiesProvedInnocent = true;
    }
    return this.nextServer();
  }

  /** `shared`: the proxy is bad for everybody. A corrupt object in its cache is not: it may serve all others well. */
  private nextProxy(shared: boolean): Step {
    this.burned.add(this.proxy);
    const moved = shared && this.route.proxies.failed(this.proxy, this.burned);
    const next = this.route.proxies.pick(this.burned);
    if (next === undefined) {
      if (!shared) this.proxiesProvedInnocent = true;
      return this.nextServer();
    }
    this.proxy = next;
    return { kind: 'proxy', waitMs: 0, moved };
  }

  private nextServer(): Step {
    this.used.add(this.host);
    if (this.route.hosts.pick(this.used) === undefined) return { kind: 'give-up' };
    const moved = this.route.hosts.failed(this.host);
    this.host = this.route.hosts.pick(this.used)!;
    this.burned.clear();
    this.proxy = this.route.proxies.current();
    return { kind: 'server', waitMs: 0, moved };
  }

  private backoffMs(failure: AttemptFailure): number {
    const { backoffInitMs, backoffMaxMs } = this.limits;
    const ceiling = Math.min(backoffMaxMs, backoffInitMs * 2 ** this.retries);
    this.retries += 1;
    const waitMs = this.random() * ceiling;
    // Longer than backoffMaxMs nobody is waited for: there may be other servers.
    return Math.min(backoffMaxMs, Math.max(waitMs, failure.retryAfterMs ?? 0));
  }
}
