/** What the magic attributes of a mount say, taken from the living parts of its file system server. */
import * as fs from 'node:fs';
import type { RepositoryConfig } from '../../config/repository-config';
import { formatHash } from '../../cvmfs/hash';
import type { LiveRevision } from '../../repository/live-revision';
import type { ObjectStore } from '../../repository/object-store';
import { monotonicMs } from '../../repository/shared-state';
import type { Transfer } from '../../transfer/transfer';
import { Op } from '../kernel/protocol';
import type { MountFacts } from './magic-xattrs';
import type { SeenFailures } from './seen-failures';
import type { ThreadTree } from './thread-tree';

export interface FactsWorld {
  readonly config: RepositoryConfig;
  readonly version: string;
  readonly startedAt: number;
  readonly live: LiveRevision;
  readonly store: ObjectStore;
  readonly transfer: Transfer;
  readonly thread: ThreadTree;
  readonly seen: SeenFailures;
  /** Requests taken from the kernel, by opcode. */
  readonly taken: Uint32Array;
}

export function mountFacts(world: FactsWorld): MountFacts {
  const { config, live, store, transfer, thread, seen } = world;
  const groups = (list: readonly (readonly string[])[]): string => list.map((group) => group.join('|')).join(';');
  const minutes = (ms: number): number => Math.floor(ms / 60_000);
  return {
    fqrn: config.fqrn,
    revision: () => live.current.revision,
    rootHash: () => formatHash(live.current.rootHash),
    tag: config.fixed.kind === 'tag' ? config.fixed.name : '',
    expiresMinutes: () => (live.isFixed ? null : minutes(thread.shared.liveRemainingMs(monotonicMs()))),
    host: () => transfer.status().server,
    hostList: () => config.servers.join(';'),
    externalHost: () => config.externalServers[0] ?? '',
    externalUrl: (file) => (config.externalServers.length === 0 ? null : `${config.externalServers[0]}${file}`),
    proxy: () => transfer.status().proxy,
    proxyList: () => groups(transfer.status().proxies),
    externalProxyList: () => groups(config.externalProxyGroups.map((group) => group.map((proxy) => proxy.replace(/\/\/[^@/]*@/, '//')))),
    timeoutSeconds: Math.round(config.timeoutMs / 1000),
    timeoutDirectSeconds: Math.round(config.timeoutDirectMs / 1000),
    version: world.version,
    uptimeMinutes: () => minutes(Date.now() - world.startedAt),
    maxFd: () => openFileLimit(),
    usedFd: () => fs.readdirSync('/proc/self/fd').length,
    largestInode: () => String(thread.places.all().length),
    openCatalogs: () => thread.catalogs.openCount,
    downloads: () => store.counters.fetched,
    ioErrors: () => seen.count,
    lastIoErrorAt: () => Math.floor((seen.recent[seen.recent.length - 1]?.at ?? 0) / 1000),
    receivedBytes: () => transfer.status().counters.bytes,
    speedKilobytesPerSecond: () => Math.floor(transfer.status().counters.bytes / 1024 / Math.max(1, (Date.now() - world.startedAt) / 1000)),
    hitRatePercent: () => hitRate(world),
    publicKeys: config.publicKeys.join(''),
    metainfo: () => metainfo(world),
    lastLogLines: () => seen.recent.map((one) => `${new Date(one.at).toISOString()} ${one.path}: ${one.message}\n`).join(''),
    isCached: (node) => thread.tree.filePlan(node).parts.every((part) => store.isLocal(part.need)),
  };
}

/** Fetched when it is asked for the first time: throws `Missing` until it is there. */
function metainfo({ config, live, store }: FactsWorld): string {
  const { metainfo: hash } = live.current;
  if (hash === null) return 'metainfo not available';
  return store.text({ hash, kind: 'metainfo', compression: 'zlib', plainSize: null, what: `metainfo of ${config.fqrn}` });
}

function hitRate({ taken, store }: FactsWorld): number {
  const reads = taken[Op.READ]!;
  return reads === 0 ? 100 : Math.floor((Math.max(0, reads - store.counters.fetched) * 100) / reads);
}

function openFileLimit(): number {
  const line = fs.readFileSync('/proc/self/limits', 'latin1').split('\n').find((one) => one.startsWith('Max open files'));
  return Number(line?.split(/\s{2,}/)[1] ?? 0);
}
