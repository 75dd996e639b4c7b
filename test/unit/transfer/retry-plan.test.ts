import { AttemptFailure, statusFailure, type Blame, type FailureKind } from '../../../src/transfer/attempt-failure';
import { HostChain } from '../../../src/transfer/host-chain';
import { ProxyChain } from '../../../src/transfer/proxy-chain';
import { proxyEndpoint } from '../../../src/transfer/proxy-endpoint';
import { RetryPlan } from '../../../src/transfer/retry-plan';
import { fakeClock } from '../../support/fake-clock';

const limits = { maxRetries: 1, backoffInitMs: 2_000, backoffMaxMs: 10_000 };

function route(servers: string[], groups: string[][]) {
  const clock = fakeClock();
  return { hosts: new HostChain(servers, 1e6, clock), proxies: new ProxyChain(groups.map((group) => group.map(proxyEndpoint)), 1e6, clock, () => 0) };
}

/** The places that a request visits when every attempt fails the same way. */
function visits(plan: RetryPlan, kind: FailureKind, blame: Blame): string[] {
  const seen: string[] = [];
  for (;;) {
    const place = plan.place();
    seen.push(`${place.server} ${place.proxy.label}${place.noCache ? ' no-cache' : ''}`);
    plan.began();
    if (plan.afterFailure(new AttemptFailure(kind, blame, kind)).kind === 'give-up') return seen;
  }
}

describe('retry plan', () => {
  it('repeats a broken connection once, then walks all servers', () => {
    expect(visits(new RetryPlan(route(['s1', 's2', 's3'], []), limits, () => 0, false), 'connection', 'host')).toEqual(['s1 DIRECT', 's1 DIRECT', 's2 DIRECT', 's3 DIRECT']);
  });

  it('walks all proxies for each server when the proxies are to blame', () => {
    expect(visits(new RetryPlan(route(['s1', 's2'], [['http://p1:1'], ['http://p2:1']]), limits, () => 0, false), 'resolve', 'proxy')).toEqual([
      's1 http://p1:1',
      's1 http://p2:1',
      's2 http://p2:1',
      's2 http://p1:1',
    ]);
  });

  it('asks once more with no-cache for a missing object, then the other servers', () => {
    expect(visits(new RetryPlan(route(['s1', 's2'], [['http://p1:1']]), limits, () => 0, false), 'missing', 'host')).toEqual([
      's1 http://p1:1',
      's1 http://p1:1 no-cache',
      's2 http://p1:1 no-cache',
    ]);
  });

  it('does not ask the same question twice when the request was no-cache from the beginning', () => {
    expect(visits(new RetryPlan(route(['s1', 's2'], []), limits, () => 0, true), 'corrupt', 'host')).toEqual(['s1 DIRECT no-cache', 's2 DIRECT no-cache']);
  });

  it('takes a corrupt object to the other proxies of this request, moving nobody else, and walks them once only', () => {
    const way = route(['s1', 's2', 's3'], [['http://p1:1'], ['http://p2:1']]);
    expect(visits(new RetryPlan(way, limits, () => 0, false), 'corrupt', 'host')).toEqual([
      's1 http://p1:1',
      's1 http://p1:1 no-cache',
      's1 http://p2:1 no-cache',
      's2 http://p1:1 no-cache',
      's3 http://p1:1 no-cache',
    ]);
    expect(way.proxies.current().label).toBe('http://p1:1');
  });

  it('follows the shared choice until its first attempt begins, and keeps to its own place after that', () => {
    const way = route(['s1', 's2', 's3'], []);
    const plan = new RetryPlan(way, limits, () => 0, false);
    way.hosts.failed(0);
    expect(plan.place().server).toBe('s2');
    plan.began();
    way.hosts.failed(1);
    expect(plan.place().server).toBe('s2');
  });

  it('repeats a request at once whose kept-alive connection had just been closed, and only once', () => {
    const plan = new RetryPlan(route(['s1'], []), { ...limits, maxRetries: 0 }, () => 0.5, false);
    const stale = new AttemptFailure('connection', 'host', 'closed', undefined, true);
    expect(plan.afterFailure(stale)).toEqual({ kind: 'retry', waitMs: 0, moved: false });
    expect(plan.afterFailure(stale).kind).toBe('give-up');
  });

  it('doubles the ceiling of the waits, chooses below it by chance, and honours Retry-After up to the maximum', () => {
    const waits = (random: number, retryAfterMs?: number) => {
      const plan = new RetryPlan(route(['s1'], []), { ...limits, maxRetries: 4 }, () => random, false);
      return [1, 2, 3, 4].map(() => {
        const step = plan.afterFailure(new AttemptFailure('connection', 'host', 'x', retryAfterMs));
        return step.kind === 'retry' ? step.waitMs : -1;
      });
    };
    expect(waits(1)).toEqual([2_000, 4_000, 8_000, 10_000]);
    expect(waits(0.25)).toEqual([500, 1_000, 2_000, 2_500]);
    expect(waits(0, 7_000)).toEqual([7_000, 7_000, 7_000, 7_000]);
    expect(waits(0, 86_400_000)).toEqual([10_000, 10_000, 10_000, 10_000]);
  });
});

describe('what a status stands for', () => {
  const row = (status: number, proxied: boolean, headers: Record<string, string> = {}) => {
    const { kind, blame, retryAfterMs } = statusFailure(status, headers, proxied, Date.UTC(2026, 0, 1));
    return retryAfterMs === undefined ? `${kind} ${blame}` : `${kind} ${blame} ${retryAfterMs}`;
  };

  it.each([
    [404, true, {}, 'missing host'],
    [404, true, { 'x-squid-error': 'ERR_DNS_FAIL 0' }, 'http proxy'],
    [500, true, {}, 'http host'],
    [503, true, { 'x-squid-error': 'ERR_CONNECT_FAIL 111' }, 'http proxy'],
    [503, false, { 'x-squid-error': 'ERR_CONNECT_FAIL 111' }, 'http host'],
    [502, true, { 'proxy-status': 'squid; error=connection_refused' }, 'http proxy'],
    [502, true, { 'proxy-status': 'squid; received-status=502' }, 'http host'],
    [403, true, {}, 'http proxy'],
    [403, false, {}, 'http host'],
    [407, true, {}, 'http proxy'],
    [301, true, {}, 'http host'],
    [429, false, {}, 'connection host'],
    [429, false, { 'retry-after': '3' }, 'connection host 3000'],
    [503, true, { 'retry-after': 'Thu, 01 Jan 2026 00:00:05 GMT' }, 'connection host 5000'],
    [503, true, { 'retry-after': 'soon' }, 'http host'],
  ] as const)('%s (through a proxy: %s) %j: %s', (status, proxied, headers, expected) => {
    expect(row(status, proxied, headers)).toBe(expected);
  });
});
