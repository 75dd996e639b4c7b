/**
 * Downloads from CVMFS servers through proxies (spec 6): one object per call, whichever server or proxy is up, within a
 * deadline. What arrives is judged by the caller's `consume`, normally by its hash; this room only knows how to ask again.
 *
 * Errors: OBJECT_MISSING (every server was reached and does not have it), OBJECT_CORRUPT (no server sent the right bytes),
 * OBJECT_TOO_BIG, NETWORK (nobody could deliver it; later may help), DEADLINE_EXCEEDED (of the caller), CANCELLED,
 * RESOURCE_EXHAUSTED (the queue is full), and whatever `consume` throws.
 */
import { setMaxListeners } from 'node:events';
import { Failure } from '../error';
import { attempt, type AttemptWorld, type Consume } from './attempt';
import { AttemptFailure } from './attempt-failure';
import { AttemptTrail } from './attempt-trail';
import type { Clock } from './clock';
import { Connections } from './connections';
import { FailureThrottle } from './failure-throttle';
import { HostChain } from './host-chain';
import { serverUrl } from './object-url';
import { ProxyChain } from './proxy-chain';
import { proxyEndpoint } from './proxy-endpoint';
import { RetryPlan, type Place, type Route } from './retry-plan';
import { SlotQueue } from './slot-queue';
import { printable, type TransferLog } from './transfer-log';
import { checkRequest, type TransferInfo, type TransferRequest } from './transfer-request';
import { transferOptions, type ProxyGroup, type TransferOptions, type TransferSettings } from './transfer-options';
import { Urgency } from './urgency';

export type { Received } from './attempt';
export type { TransferInfo, TransferRequest } from './transfer-request';

export interface TransferCounters {
  /** Calls of `fetch` and `fetchBytes`. */
  readonly requests: number;
  /** GETs sent, repetitions included, hops of redirects not. */
  readonly attempts: number;
  /** Body bytes received. */
  readonly bytes: number;
  /** Calls that failed for good. */
  readonly failures: number;
  /** Repetitions over the same path. */
  readonly retries: number;
  /** Repetitions over another proxy, or from another server. */
  readonly proxyFailovers: number;
  readonly serverFailovers: number;
  /** Answers that did not hold the object. */
  readonly corrupt: number;
  /** Now. */
  readonly inFlight: number;
  readonly queued: number;
}

/** Never holds a password. */
export interface TransferStatus {
  readonly server: string;
  readonly servers: readonly string[];
  readonly proxy: string;
  readonly proxies: readonly (readonly string[])[];
  readonly counters: TransferCounters;
}

export interface Transfer {
  /**
   * `consume` is called once per attempt and must begin afresh each time. When it throws OBJECT_CORRUPT the transfer
   * repeats with no-cache, then through the other proxies, then from the next server; anything else that it throws is the
   * caller's own failure and ends the transfer. It may rethrow, wrap or drop what the body throws.
   */
  fetch<T>(request: TransferRequest, consume: Consume<T>): Promise<T>;
  /** For small things: the whole body in memory. */
  fetchBytes(request: TransferRequest): Promise<{ bytes: Buffer; info: TransferInfo }>;
  status(): TransferStatus;
  /** Cancels what is under way and closes all connections. */
  close(): Promise<void>;
}

export interface TransferWorld {
  readonly clock: Clock;
  /** Uniform in [0, 1): choice of proxies, jitter of waits. */
  readonly random: () => number;
  readonly log: TransferLog;
}

/** Throws CONFIG_INVALID for servers and proxies that can not be used. Opens no connection yet. */
export function createTransfer(settings: TransferSettings, world: TransferWorld): Transfer {
  const options = transferOptions(settings);
  if (options.servers.length === 0) throw new Failure('CONFIG_INVALID', 'a repository has no server', { next: 'name at least one in servers' });
  return new HttpTransfer(options, world);
}

class HttpTransfer implements Transfer {
  private readonly main: Route;
  private readonly external: Route | undefined;
  private readonly connections: Connections;
  private readonly admission: SlotQueue;
  private readonly throttle: FailureThrottle;
  private readonly attemptWorld: AttemptWorld;
  private readonly live = new Map<AbortController, Promise<unknown>>();
  private readonly counts = { requests: 0, attempts: 0, bytes: 0, failures: 0, retries: 0, proxyFailovers: 0, serverFailovers: 0, corrupt: 0 };
  private closed = false;

  constructor(
    private readonly options: TransferOptions,
    private readonly world: TransferWorld,
  ) {
    this.main = this.route(options.servers, options.proxies);
    this.external = options.externalServers.length === 0 ? undefined : this.route(options.externalServers, options.externalProxies);
    this.connections = new Connections(options, world.clock);
    this.admission = new SlotQueue(options.maxInFlight, options.maxQueued);
    this.throttle = new FailureThrottle(world.clock);
    this.attemptWorld = { options, connections: this.connections, clock: world.clock, log: world.log, count: (bytes) => void (this.counts.bytes += bytes) };
  }

  async fetch<T>(request: TransferRequest, consume: Consume<T>): Promise<T> {
    if (this.closed) throw new Failure('CANCELLED', `${printable(request.path)}: downloads are closed`);
    checkRequest(request);
    const route = request.external === true ? this.external : this.main;
    if (route === undefined) throw new Failure('CONFIG_INVALID', `${printable(request.path)} is an external file, and no server of external files is configured`, { next: 'set CVMFS_EXTERNAL_URL' });
    this.counts.requests += 1;
    const controller = new AbortController();
    const running = this.budgeted(request, route, consume, controller);
    this.live.set(controller, running);
    try {
      return await running;
    } finally {
      this.live.delete(controller);
    }
  }

  async fetchBytes(request: TransferRequest): Promise<{ bytes: Buffer; info: TransferInfo }> {
    return this.fetch(request, async (body, info) => {
      if (body.whole !== undefined) return { bytes: body.whole, info };
      const chunks: Buffer[] = [];
      for await (const chunk of body) chunks.push(chunk);
      return { bytes: Buffer.concat(chunks), info };
    });
  }

  status(): TransferStatus {
    const { hosts, proxies } = this.main;
    return {
      server: hosts.servers[hosts.current()]!,
      servers: hosts.servers,
      proxy: proxies.current().label,
      proxies: proxies.groups.map((group) => group.map((proxy) => proxy.label)),
      counters: { ...this.counts, inFlight: this.admission.inFlight, queued: this.admission.queued },
    };
  }

  async close(): Promise<void> {
    this.closed = true;
    const running = [...this.live.values()];
    for (const controller of this.live.keys()) controller.abort(new Failure('CANCELLED', 'downloads are closed'));
    await Promise.allSettled(running);
    this.connections.close();
  }

  private route(servers: readonly string[], groups: readonly ProxyGroup[]): Route {
    const { hostResetAfterMs, proxyResetAfterMs } = this.options;
    const { clock, random } = this.world;
    return {
      // A server named twice would be asked twice for what it does not have.
      hosts: new HostChain([...new Set(servers.map(serverUrl))], hostResetAfterMs, clock),
      proxies: new ProxyChain(groups.map((group) => group.map(proxyEndpoint)), proxyResetAfterMs, clock, random),
    };
  }

  /** Puts the caller's signal and the deadline into one signal for everything below. */
  private async budgeted<T>(request: TransferRequest, route: Route, consume: Consume<T>, controller: AbortController): Promise<T> {
    const trail = new AttemptTrail(printable(request.path));
    const budgetMs = request.deadlineMs ?? this.options.totalTimeoutMs;
    const timer = setTimeout(() => controller.abort(trail.overdue(budgetMs, request.deadlineMs === undefined)), Math.min(budgetMs, 2 ** 31 - 1));
    const cancel = (): void => controller.abort(new Failure('CANCELLED', `${printable(request.path)}: the download was cancelled`));
    if (request.signal?.aborted === true) cancel();
    else if (request.signal !== undefined) {
      // One signal often stands for hundreds of downloads; each listener leaves with its download, so this is no leak.
      setMaxListeners(0, request.signal);
      request.signal.addEventListener('abort', cancel, { once: true });
    }
    try {
      return await this.admitted(request, route, trail, consume, controller.signal);
    } catch (error) {
      this.counts.failures += 1;
      throw error;
    } finally {
      clearTimeout(timer);
      request.signal?.removeEventListener('abort', cancel);
    }
  }

  private async admitted<T>(request: TransferRequest, route: Route, trail: AttemptTrail, consume: Consume<T>, signal: AbortSignal): Promise<T> {
    const urgency = request.urgency ?? new Urgency(request.background === true);
    const release = await this.admission.acquire(urgency, signal);
    let exhausted: Failure;
    try {
      const outcome = await this.untilExhausted(request, urgency, route, trail, consume, signal);
      if (!('exhausted' in outcome)) return outcome.result;
      exhausted = outcome.exhausted;
    } finally {
      release();
    }
    this.world.log('error', exhausted.what, exhausted.data);
    // The slot is free meanwhile: only who failed waits. A deadline or a cancellation cuts the wait, not the answer.
    await this.world.clock.sleep(this.throttle.failed(), signal).catch(() => undefined);
    throw exhausted;
  }

  private async untilExhausted<T>(request: TransferRequest, urgency: Urgency, route: Route, trail: AttemptTrail, consume: Consume<T>, signal: AbortSignal): Promise<{ result: T } | { exhausted: Failure }> {
    const plan = new RetryPlan(route, this.options, this.world.random, request.noCache === true);
    for (;;) {
      try {
        const began = (place: Place): void => {
          this.counts.attempts += 1;
          plan.began();
          trail.began(place);
        };
        return { result: await attempt(this.attemptWorld, request, urgency, () => plan.place(), began, consume, signal) };
      } catch (error) {
        if (!(error instanceof AttemptFailure)) throw error;
        const place = plan.place();
        trail.failed(place, error);
        if (error.kind === 'corrupt' || error.kind === 'too-big') this.counts.corrupt += 1;
        const step = plan.afterFailure(error);
        if (step.kind === 'give-up') return { exhausted: trail.exhausted() };
        this.counts[step.kind === 'retry' ? 'retries' : step.kind === 'proxy' ? 'proxyFailovers' : 'serverFailovers'] += 1;
        const fields = { object: printable(request.path), server: place.server, proxy: place.proxy.label, reason: error.message };
        if (step.moved) this.world.log('warn', `changing the ${step.kind} for all downloads`, { ...fields, to: step.kind === 'proxy' ? plan.place().proxy.label : plan.place().server });
        else this.world.log('debug', 'a download is tried again', { ...fields, waitMs: Math.round(step.waitMs) });
        if (step.waitMs > 0) await this.world.clock.sleep(step.waitMs, signal);
      }
    }
  }
}
