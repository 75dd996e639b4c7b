/**
 * Kept-alive connections, a bounded number per proxy or server, each group with its own queue of slots. The queue is here
 * and not in the HTTP library, whose own is first come, first served: a reader would wait behind a prefetch.
 *
 * An http URL through a proxy is a GET of the absolute URL sent to the proxy, so that it can cache; an https URL through a
 * proxy is tunnelled by CONNECT. What the environment says about proxies is ignored.
 */
import * as http from 'node:http';
import * as https from 'node:https';
import { isIP } from 'node:net';
import { LRUCache } from 'lru-cache';
import type { Clock } from './clock';
import { cachedLookup } from './host-lookup';
import type { GetOptions } from './http-get';
import type { ProxyEndpoint } from './proxy-endpoint';
import { Pace } from './pace';
import { SlotQueue } from './slot-queue';
import type { TransferOptions } from './transfer-options';
import { TunnelAgent } from './tunnel-agent';

/** Redirects may name any number of servers; the configured ones are far fewer. */
const MAX_ORIGINS = 256;
/** An idle connection is closed before a server's usual 5 s would close it under a request. */
const KEEP_ALIVE_MS = 4_000;

export interface Connection {
  readonly slots: SlotQueue;
  readonly pace: Pace;
  /** Destination, request target and headers that this way needs for the URL. */
  target(url: URL): GetOptions & { readonly headers: Record<string, string> };
}

interface Origin extends Connection {
  readonly agent: http.Agent;
}

export class Connections {
  private readonly origins: LRUCache<string, Origin>;
  private readonly lookup;

  constructor(
    private readonly options: TransferOptions,
    private readonly clock: Clock,
  ) {
    this.lookup = cachedLookup(clock);
    this.origins = new LRUCache({ max: MAX_ORIGINS, dispose: ({ agent }, _key, reason) => (reason === 'evict' ? closeIdle(agent) : agent.destroy()) });
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

  /** Closes all connections, those in use too. */
  close(): void {
    this.origins.clear();
  }

  private open(url: URL, proxy: ProxyEndpoint, tunnel: boolean): Origin {
    const timeoutMs = proxy.origin === undefined ? this.options.timeoutDirectMs : this.options.timeoutMs;
    const toHost = { lookup: this.lookup, autoSelectFamily: true, autoSelectFamilyAttemptTimeout: Math.max(10, Math.min(1_000, Math.floor(timeoutMs / 4))) };
    const pool = { keepAlive: true, timeout: KEEP_ALIVE_MS, maxSockets: this.options.maxConnections, maxFreeSockets: this.options.maxConnections };
    // Every request holds a slot of `maxInFlight` already, so this second queue can not grow beyond that.
    const pace = new Pace(this.clock);
    const slots = new SlotQueue(this.options.maxConnections, this.options.maxInFlight, () => pace.requests());
    const { origin, authorization } = proxy;
    if (origin === undefined) {
      const agent = agentFor(url, { ...pool, ...toHost });
      return { slots, pace, agent, target: (at) => ({ agent, ...destination(at), path: `${at.pathname}${at.search}`, headers: { host: at.host } }) };
    }
    const endpoint = new URL(origin);
    if (tunnel) {
      const agent = new TunnelAgent({ ...destination(endpoint), ...toHost }, authorization, pool);
      return { slots, pace, agent, target: (at) => ({ agent, ...destination(at), path: `${at.pathname}${at.search}`, headers: { host: at.host } }) };
    }
    const credentials: Record<string, string> = authorization === undefined ? {} : { 'proxy-authorization': authorization };
    const agent = agentFor(endpoint, { ...pool, ...toHost });
    return { slots, pace, agent, target: (at) => ({ agent, ...destination(endpoint), path: at.href, headers: { host: at.host, ...credentials } }) };
  }
}

function agentFor({ protocol }: URL, options: https.AgentOptions): http.Agent {
  return protocol === 'https:' ? new https.Agent(options) : new http.Agent(options);
}

/** Where to connect, and whom a certificate must be for: Node would take that from the Host header, which to a proxy names another. */
function destination({ protocol, hostname, port }: URL): GetOptions & https.RequestOptions {
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  const secure = protocol === 'https:';
  return { protocol, host, port: port === '' ? (secure ? 443 : 80) : Number(port), ...(secure ? { servername: isIP(host) === 0 ? host : '' } : {}) };
}

/** For an agent that nobody will ask again: what is under way ends by itself, and its connections then time out. */
function closeIdle(agent: http.Agent): void {
  for (const sockets of Object.values(agent.freeSockets)) for (const socket of sockets ?? []) socket.destroy();
}
