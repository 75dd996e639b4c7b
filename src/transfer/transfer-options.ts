/** How a repository's data is reached; what each value means on the wire is spec 6. */
import { Failure } from '../error';

/** Members are proxy URLs or `DIRECT`; the load is spread within a group, groups are tried in order (spec 6.1). */
export type ProxyGroup = readonly string[];

export interface TransferOptions {
  /** Base URLs in order of preference, http or https, without credentials; a slash at the end does not matter. */
  readonly servers: readonly string[];
  /** Empty: no proxy. `DIRECT` is used only where it is listed. */
  readonly proxies: readonly ProxyGroup[];
  /** Servers of external files (spec 2.4); empty: requests for them fail. */
  readonly externalServers: readonly string[];
  readonly externalProxies: readonly ProxyGroup[];

  /** To connect through a proxy, then to its first byte, then without reaching the low speed limit. */
  readonly timeoutMs: number;
  /** The same without a proxy. */
  readonly timeoutDirectMs: number;
  /** A transfer slower than this for the whole timeout is given up. */
  readonly lowSpeedLimitBytesPerSecond: number;
  /** Repetitions of the same URL over the same path, for one request. */
  readonly maxRetries: number;
  /** The first wait is random between 0 and this; later ones double. */
  readonly backoffInitMs: number;
  readonly backoffMaxMs: number;
  /** Budget of one request over queue, attempts and waits, where the request brings no deadline of its own. */
  readonly totalTimeoutMs: number;
  /** After a fail-over, the first proxy group and a new random member of it are tried again after this long. */
  readonly proxyResetAfterMs: number;
  /** The same for the first server. */
  readonly hostResetAfterMs: number;

  /** Off as in the stock client: a redirect in the path is more often a captive portal than a wish of the server. */
  readonly followRedirects: boolean;
  /** Hops of one attempt. */
  readonly maxRedirects: number;
  /** Connections to one proxy or server: opened as they are needed, which is for many requests at once over a long way (pace.ts). */
  readonly maxConnections: number;
  /** Requests under way at once, over all servers. */
  readonly maxInFlight: number;
  /** Requests waiting for that, of demanded and of background ones each; beyond: RESOURCE_EXHAUSTED. */
  readonly maxQueued: number;
  readonly userAgent: string;
  /** Send `cvmfs-info: <path in the repository>` where the request names one (CVMFS_SEND_INFO_HEADER). */
  readonly infoHeader: boolean;
}

export const TRANSFER_DEFAULTS: Omit<TransferOptions, 'servers'> = {
  proxies: [],
  externalServers: [],
  externalProxies: [],
  timeoutMs: 5_000,
  timeoutDirectMs: 10_000,
  lowSpeedLimitBytesPerSecond: 1_024,
  maxRetries: 1,
  backoffInitMs: 2_000,
  backoffMaxMs: 10_000,
  totalTimeoutMs: 300_000,
  proxyResetAfterMs: 300_000,
  hostResetAfterMs: 1_800_000,
  followRedirects: false,
  maxRedirects: 4,
  maxConnections: 64,
  maxInFlight: 128,
  // A waiting request is a few hundred bytes; a reader turned away is an error in somebody's container.
  maxQueued: 16_384,
  // Some replicas and site proxies let through only what begins like the stock client.
  userAgent: 'cvmfs Fuse mesos-cvmfs',
  infoHeader: false,
};

const MUST_BE_POSITIVE = ['timeoutMs', 'timeoutDirectMs', 'totalTimeoutMs', 'maxConnections', 'maxInFlight'];

/** The least that must be said is where the servers are. */
export type TransferSettings = Pick<TransferOptions, 'servers'> & Partial<TransferOptions>;

/** Fills in the defaults; a setting that is present but undefined counts as absent. Throws CONFIG_INVALID for a number that would hang or never end. */
export function transferOptions(settings: TransferSettings): TransferOptions {
  const given = Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined)) as TransferSettings;
  const options = { ...TRANSFER_DEFAULTS, ...given };
  for (const [name, value] of Object.entries(options)) {
    const least = MUST_BE_POSITIVE.includes(name) ? 1 : 0;
    if (typeof value === 'number' && !(Number.isSafeInteger(value) && value >= least)) throw new Failure('CONFIG_INVALID', `${name} is ${value}`, { next: `give a whole number from ${least} on` });
  }
  return options;
}
