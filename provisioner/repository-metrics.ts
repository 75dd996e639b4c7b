/**
 * The file system servers' figures on /metrics. They are other processes: each is asked for its status when somebody
 * scrapes, within a deadline, and a server that was replaced begins its counters again, which Prometheus understands.
 */
import { z } from 'zod';
import type { Counter, Metrics } from '../src/metrics/metrics';
import type { Mounts } from './mounts';

const STATUS_TIMEOUT_MS = 1_000;

const shape = z.object({
  revision: z.number(),
  offline: z.boolean(),
  waiting: z.number(),
  ioErrors: z.number(),
  transfer: z.object({ counters: z.object({ requests: z.number(), bytes: z.number(), failures: z.number(), retries: z.number(), corrupt: z.number() }) }),
  objects: z.object({ fetched: z.number() }),
  cache: z.object({ usedBytes: z.number(), limitBytes: z.number(), pinnedBytes: z.number() }),
  /** Null where it is switched off. */
  speculation: z.object({ kinds: z.record(z.string(), z.object({ fetchedObjects: z.number(), fetchedBytes: z.number(), usedObjects: z.number(), usedBytes: z.number(), wastedObjects: z.number(), wastedBytes: z.number() })) }).nullish(),
  requests: z.record(z.string(), z.number()),
});
type Status = z.infer<typeof shape>;

interface StatusSource {
  raw(method: 'status', params: object, timeoutMs: number): Promise<unknown>;
}

function isStatusSource(repository: object): repository is StatusSource {
  return 'raw' in repository;
}

/** Adds what a counter of another process has grown by; after that process was replaced, all that the new one counts. */
class Followed<L extends string> {
  readonly #seen = new Map<string, number>();

  constructor(private readonly counter: Counter<L>) {}

  follow(value: number, ...args: Parameters<Counter<L>['inc']>): void {
    const key = JSON.stringify(args);
    const before = this.#seen.get(key) ?? 0;
    this.counter.add(value >= before ? value - before : value, ...args);
    this.#seen.set(key, value);
  }
}

/** Answers what to call before each scrape. */
export function repositoryMetrics(metrics: Metrics, mounts: Mounts): () => Promise<void> {
  const labels = ['repository'] as const;
  const gauge = (name: string, help: string) => metrics.gauge(name, { help, labels });
  const counter = (name: string, help: string) => new Followed(metrics.counter(name, { help, labels }));
  const mounted = gauge('repository_mounted', '1 when the repository is mounted and its server answers');
  const revision = gauge('repository_revision', 'Revision that new containers see');
  const offline = gauge('repository_offline', '1 while no server has confirmed the revision');
  const waiting = gauge('requests_waiting', "Kernel's requests that wait for the network");
  const cacheUsed = gauge('cache_used_bytes', 'Bytes charged to the cache');
  const cacheLimit = gauge('cache_limit_bytes', 'Limit of the cache');
  const cachePinned = gauge('cache_pinned_bytes', 'Bytes of the cache that are never evicted');
  const ioErrors = counter('io_errors_total', 'Requests of readers that ended with EIO');
  const fetched = counter('objects_fetched_total', 'Objects fetched from servers');
  const received = counter('received_bytes_total', 'Body bytes received from servers');
  const transfers = counter('transfers_total', 'Downloads asked for');
  const failures = counter('transfer_failures_total', 'Downloads that failed for good');
  const retries = counter('transfer_retries_total', 'Repetitions over the same path');
  const corrupt = counter('transfer_corrupt_total', 'Answers that did not hold the object');
  const requests = new Followed(metrics.counter('fuse_requests_total', { help: "Kernel's requests answered, by operation", labels: ['repository', 'operation'], maxSeries: 4_096 }));

  const ahead = (name: string, help: string) => new Followed(metrics.counter(`speculation_${name}_total`, { help: `${help}, by the reason for the guess`, labels: ['repository', 'kind'] }));
  const speculation = {
    fetchedObjects: ahead('fetched_objects', 'Objects fetched before they were asked for'),
    fetchedBytes: ahead('fetched_bytes', 'Their plain bytes'),
    usedObjects: ahead('used_objects', 'Those that a reader has read since'),
    usedBytes: ahead('used_bytes', 'Their plain bytes'),
    wastedObjects: ahead('wasted_objects', 'Those that nobody has read in time'),
    wastedBytes: ahead('wasted_bytes', 'Their plain bytes'),
  };

  const show = (repository: string, status: Status): void => {
    const label = { repository };
    revision.set(status.revision, label);
    offline.set(status.offline ? 1 : 0, label);
    waiting.set(status.waiting, label);
    cacheUsed.set(status.cache.usedBytes, label);
    cacheLimit.set(status.cache.limitBytes, label);
    cachePinned.set(status.cache.pinnedBytes, label);
    ioErrors.follow(status.ioErrors, label);
    fetched.follow(status.objects.fetched, label);
    const { counters } = status.transfer;
    received.follow(counters.bytes, label);
    transfers.follow(counters.requests, label);
    failures.follow(counters.failures, label);
    retries.follow(counters.retries, label);
    corrupt.follow(counters.corrupt, label);
    for (const [kind, tally] of Object.entries(status.speculation?.kinds ?? {})) {
      for (const [name, counter] of Object.entries(speculation)) counter.follow(tally[name as keyof typeof speculation], { repository, kind });
    }
    for (const [operation, count] of Object.entries(status.requests)) requests.follow(count, { repository, operation });
  };

  return async () => {
    await Promise.all(
      mounts.list().map(async ({ repository: fqrn }) => {
        const repository = mounts.peek(fqrn);
        const answer = repository !== undefined && isStatusSource(repository) ? await repository.raw('status', {}, STATUS_TIMEOUT_MS).catch(() => undefined) : undefined;
        const parsed = shape.safeParse(answer);
        mounted.set(parsed.success ? 1 : 0, { repository: fqrn });
        if (parsed.success) show(fqrn, parsed.data);
      }),
    );
  };
}
