/**
 * Which proxy is used now (spec 6.1, 6.6). One choice is shared by all requests: a random member of the current group,
 * kept until it fails, then another member, then the next group, round robin. It moves only when the proxy that failed is
 * still the choice, so many requests failing together move it once. Each request brings the set of proxies that it has
 * burned, and never gets one of them again.
 */
import type { Clock } from './clock';
import { DIRECT_ENDPOINT, type ProxyEndpoint } from './proxy-endpoint';

export class ProxyChain {
  readonly groups: ReadonlyArray<readonly ProxyEndpoint[]>;
  private group = 0;
  private chosen: ProxyEndpoint;
  private failedOverAt: number | undefined;

  constructor(
    groups: ReadonlyArray<readonly ProxyEndpoint[]>,
    private readonly resetAfterMs: number,
    private readonly clock: Clock,
    private readonly random: () => number,
  ) {
    const filled = groups.filter((group) => group.length > 0);
    this.groups = filled.length === 0 ? [[DIRECT_ENDPOINT]] : filled;
    this.chosen = this.anyOf(this.groups[0]!);
  }

  current(): ProxyEndpoint {
    if (this.failedOverAt !== undefined && this.clock.now() - this.failedOverAt >= this.resetAfterMs) {
      this.failedOverAt = undefined;
      this.group = 0;
      this.chosen = this.anyOf(this.groups[0]!);
    }
    return this.chosen;
  }

  /** The proxy for a request that has burned some; undefined when it has burned all. */
  pick(burned: ReadonlySet<ProxyEndpoint>): ProxyEndpoint | undefined {
    const current = this.current();
    return burned.has(current) ? this.alternative(burned)?.proxy : current;
  }

  /** A request failed because of `proxy` and has burned `burned`, this one included. True when the shared choice moved. */
  failed(proxy: ProxyEndpoint, burned: ReadonlySet<ProxyEndpoint>): boolean {
    if (this.chosen !== proxy) return false;
    const next = this.alternative(burned);
    if (next === undefined) return false;
    this.chosen = next.proxy;
    this.group = next.group;
    this.failedOverAt ??= this.clock.now();
    return true;
  }

  private alternative(burned: ReadonlySet<ProxyEndpoint>): { proxy: ProxyEndpoint; group: number } | undefined {
    for (let i = 0; i < this.groups.length; i++) {
      const group = (this.group + i) % this.groups.length;
      const left = this.groups[group]!.filter((proxy) => !burned.has(proxy));
      if (left.length > 0) return { proxy: this.anyOf(left), group };
    }
    return undefined;
  }

  private anyOf(members: readonly ProxyEndpoint[]): ProxyEndpoint {
    return members[Math.min(members.length - 1, Math.floor(this.random() * members.length))]!;
  }
}
