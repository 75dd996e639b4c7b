/**
 * Long life: the image of a container that has run for `complete_after` is fetched completely, pinned, in the background
 * and not faster than `complete_rate`, so that neither the collection of its revision on the server nor a network that is
 * gone for good reaches it. One image at a time for each repository; what fails is tried again with pauses that double;
 * what is complete is looked at again when its repository was mounted anew, and now and then, since the cache may have
 * been wiped or damaged. When the last container of an image goes, so do its pins (state/completions.ts, releases.ts).
 */
import { Failure } from '../src/error';
import type { Gauge, Metrics } from '../src/metrics/metrics';
import type { MountedRepository } from '../src/repository/reader';
import type { World } from './context';
import { COMPLETION_HOLDER } from './state/completions';
import type { CompletionRecord } from './state/completions';
import { pinName } from './state/state';

export interface CompletionOptions {
  /** Age of a container from which on its image is completed. */
  readonly afterMs: number;
  /** For each repository; 0: no limit. */
  readonly bytesPerSecond: number;
}

/** Two looks at the state are not further apart, nor nearer. */
const LOOK_MAX_MS = 10_000;
const LOOK_MIN_MS = 250;
const RETRY_MIN_MS = 10_000;
const RETRY_MAX_MS = 3_600_000;
/** What is complete is looked at again after this. */
const RECHECK_MS = 6 * 3_600_000;
const NAMED_MAX = 5;

/** Gauges on /metrics; asked of the state at each scrape, but for what is under way. */
export function completionMetrics(metrics: Metrics, world: Pick<World, 'state'>): Gauge<never> {
  const all = (): CompletionRecord[] => world.state.completions.all();
  metrics.gauge('images_complete', { help: 'Images of running containers that are completely on this host and pinned', read: () => all().filter(({ doneMs, failure }) => doneMs !== null && failure === null).length });
  metrics.gauge('containers_at_risk', {
    help: 'Containers whose image could not be fetched completely: they need the network and their revision on the server',
    read: () => all().reduce((sum, record) => sum + (record.failure === null ? 0 : world.state.completions.containersOn(record, 0).count), 0),
  });
  return metrics.gauge('completions_in_flight', { help: 'Images that are being fetched completely' });
}

export class Completion {
  /** Repositories that are asked. */
  readonly #running = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(
    private readonly world: Pick<World, 'state' | 'mounts' | 'logger' | 'bootId' | 'nowMs' | 'newUuid'>,
    private readonly options: CompletionOptions,
    private readonly inFlight: Pick<Gauge<never>, 'add'>,
  ) {}

  start(): void {
    const lookMs = Math.min(LOOK_MAX_MS, Math.max(LOOK_MIN_MS, this.options.afterMs / 4));
    this.#timer = setInterval(() => this.look(), lookMs).unref();
  }

  /** Ends the looks. What a file system server is fetching goes on there, and is joined by the next service. */
  stop(): void {
    this.#stopped = true;
    clearInterval(this.#timer);
  }

  mounted(fqrn: string): void {
    this.world.state.completions.lookAgain(fqrn);
  }

  /** Begins what is due and can begin. */
  look(): void {
    if (this.#stopped) return;
    const { state, mounts, bootId, nowMs, newUuid, logger } = this.world;
    try {
      state.completions.want(bootId, nowMs() - this.options.afterMs, () => `${COMPLETION_HOLDER}${newUuid()}`);
      for (const record of state.completions.all()) {
        const repository = mounts.peek(record.repository);
        if (repository === undefined || record.nextMs > nowMs() || this.#running.has(record.repository)) continue;
        void this.#complete(repository, record);
      }
    } catch (err) {
      logger.error('the images of long-running containers could not be looked at', { err });
    }
  }

  /** A sentence for each image that is not complete although it should be. */
  warnings(): string[] {
    const { completions } = this.world.state;
    return completions.all().flatMap((record) => {
      if (record.failure === null) return [];
      const { names, count } = completions.containersOn(record, NAMED_MAX);
      if (count === 0) return [];
      const more = count > names.length ? ` and ${count - names.length} more` : '';
      return [`the image ${record.reference} of container ${names.join(', ')}${more} is not completely on this host, so that it needs the network and its revision on the server: ${record.failure}`];
    });
  }

  async #complete(repository: MountedRepository, record: CompletionRecord): Promise<void> {
    const { state, nowMs, logger } = this.world;
    const { holder, reference } = record;
    const pin = pinName(holder);
    let next = false;
    this.#running.add(record.repository);
    this.inFlight.add(1);
    try {
      // In the same turn in which the row was read: the word that lets the pin go, after the row is gone, comes later.
      const result = await repository.prefetch(record.view, record.pathInView, { pin, bytesPerSecond: this.options.bytesPerSecond, mustFit: true });
      if (this.#stopped) return;
      next = true;
      if (!state.completions.succeeded(holder, result, nowMs(), nowMs() + RECHECK_MS)) await repository.unpin(pin);
      else if (record.doneMs === null) logger.info('the image of a long-running container is completely on this host', { image: reference, objects: result.objects, bytes: result.bytes });
    } catch (err) {
      if (!this.#stopped) await this.#failed(repository, record, Failure.from(err)).catch((error: unknown) => logger.error('a failure could not be recorded', { image: reference, error }));
    } finally {
      this.inFlight.add(-1);
      this.#running.delete(record.repository);
      if (next) setImmediate(() => this.look());
    }
  }

  async #failed(repository: MountedRepository, { holder, reference, failures }: CompletionRecord, failure: Failure): Promise<void> {
    const { state, nowMs, logger } = this.world;
    const pauseMs = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** Math.min(failures, 16));
    if (state.completions.failed(holder, failure.message, nowMs() + pauseMs)) {
      logger.warn('the image of a long-running container could not be fetched completely and is tried again', { image: reference, pauseMs, err: failure });
    } else await repository.unpin(pinName(holder));
  }
}
