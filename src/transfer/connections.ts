/**
 * Kept-alive connections, a bounded number per proxy or server, each group with its own queue of slots. The queue is here
 * and not in the HTTP library, whose own is first come, first served: a reader would wait behind a prefetch.
 *
 * An http URL through a proxy is a GET of the absolute URL sent to the proxy, so that it can cache; an https URL through a
 * proxy is tunnelled by CONNECT. What the environment says about proxies is ignored.
 */
import { LRUCache } from 'lru-cache';
import { Pool, ProxyAgent, type Dispatcher } from 'undici';
import type { Clock } from './clock';
import { cachedLookup } from './host-lookup';
import type { ProxyEndpoint } from './proxy-endpoint';
import { SlotQueue } from './slot-queue';
import type { TransferOptions } from './transfer-options';

/** Redirects may name any number of servers; the configured ones are far fewer. */
const MAX_ORIGINS = 256;
const MAX_HEADER_BYTES = 16 * 1024;
/** An idle connection is closed before a server's usual 5 s would close it under a request. */
const KEEP_ALIVE_MS = 4_000;

export interface Connection {
  readonly dispatcher: Dispatcher;
  readonly slots: SlotQueue;
  /** Request target and headers that this way needs for the URL. */
  target(url: URL): { origin: string; path: string; headers: Record<string, string> };
}

export class Connections {
  private readonly origins: LRUCache<string, Connection>;
  private readonly lookup;

  constructor(
    private readonly options: TransferOptions,
    clock: Clock,
  ) {
    this.lookup = cachedLookup(clock);
    this.origins = new LRUCache({ max: MAX_ORIGINS, dispose: (connection) => void connection.dispatcher.close().catch(() => undefined) });
  }

  to(url: URL, proxy: ProxyEndpoint): Connection {
    const tunnel = proxy.origin !== undefined && url.protocol === 'https:';
    const key = proxy.origin === undefined ? `direct ${url.origin}` : `${tunnel ? 'tunnel' : 'proxy'} ${proxy.origin} ${proxy.authorization ?? ''}`;
    let connection = this.origins.get(key);
    if (connection === undefined) {
      connection = this.open(url, proxy, tunnel);
      this.origins.set(key, connection);
    }
    return connection;
  }

  async close(): Promise<void> {
    const open = [...this.origins.values()];
    await Promise.all(open.map((connection) => connection.dispatcher.destroy()));
    this.origins.clear();
  }

  private open(url: URL, proxy: ProxyEndpoint, tunnel: boolean): Connection {
    const timeoutMs = proxy.origin === undefined ? this.options.timeoutDirectMs : this.options.timeoutMs;
    const settings = {
      connections: this.options.maxConnections,
      pipelining: 1,
      headersTimeout: timeoutMs,
      // The body is watched by its speed (body.ts), which a drip of one byte a second does not escape.
      bodyTimeout: 0,
      maxHeaderSize: MAX_HEADER_BYTES,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connect: { timeout: timeoutMs, lookup: this.lookup, autoSelectFamily: true, autoSelectFamilyAttemptTimeout: Math.max(10, Math.min(1_000, Math.floor(timeoutMs / 4))) },
    };
    // Every request holds a slot of `maxInFlight` already, so this second queue can not grow beyond that.
    const slots = new SlotQueue(this.options.maxConnections, this.options.maxInFlight);
    const { origin, authorization } = proxy;
    if (origin === undefined) {
      return { slots, dispatcher: new Pool(url.origin, settings), target: (at) => ({ origin: at.origin, path: `${at.pathname}${at.search}`, headers: {} }) };
    }
    if (tunnel) {
      const credentials = authorization === undefined ? {} : { token: authorization };
      return {
        slots,
        dispatcher: new ProxyAgent({ ...settings, uri: origin, requestTls: settings.connect, proxyTls: settings.connect, ...credentials }),
        target: (at) => ({ origin: at.origin, path: `${at.pathname}${at.search}`, headers: {} }),
      };
    }
    const credentials: Record<string, string> = authorization === undefined ? {} : { 'proxy-authorization': authorization };
    return {
      slots,
      dispatcher: new Pool(origin, settings),
      target: (at) => ({ origin, path: at.href, headers: { host: at.host, ...credentials } }),
    };
  }
}
