/**
 * The magic extended attributes (spec 5.7): facts about the mount and about single files, as scripts that know the stock
 * client ask for them. Values are text. `<name>~N` is raw page N of a long value, `<name>@N` the same with a header for
 * people, `<name>~?` and `<name>@?` the number of pages.
 */
import { compression, hashAlgorithm, isChunked, isDirectIo, isDirectory, isExternal, isRegular, isSymlink } from '../../cvmfs/flags';
import type { CatalogEntry } from '../../cvmfs/catalog';
import { formatHash } from '../../cvmfs/hash';
import { COUNTERS, totals } from '../../cvmfs/statistics';
import { isPrime, isRoot, isViews } from '../../repository/node-id';
import type { NodeId } from '../../repository/node-id';
import type { Place } from '../../repository/places';
import type { Tree } from '../../repository/tree';

/** What is asked of the mount; all of it is at hand, nothing is fetched. */
export interface MountFacts {
  readonly fqrn: string;
  readonly revision: () => number;
  readonly rootHash: () => string;
  readonly tag: string;
  /** Minutes to the next look at the servers; null for a fixed revision. */
  readonly expiresMinutes: () => number | null;
  readonly host: () => string;
  readonly hostList: () => string;
  readonly externalHost: () => string;
  readonly externalUrl: (path: string) => string | null;
  readonly proxy: () => string;
  readonly proxyList: () => string;
  readonly externalProxyList: () => string;
  readonly timeoutSeconds: number;
  readonly timeoutDirectSeconds: number;
  readonly version: string;
  readonly uptimeMinutes: () => number;
  readonly maxFd: () => number;
  readonly usedFd: () => number;
  readonly largestInode: () => string;
  readonly openCatalogs: () => number;
  readonly downloads: () => number;
  readonly ioErrors: () => number;
  readonly lastIoErrorAt: () => number;
  readonly receivedBytes: () => number;
  readonly speedKilobytesPerSecond: () => number;
  readonly hitRatePercent: () => number;
  readonly publicKeys: string;
  readonly metainfo: () => string;
  readonly lastLogLines: () => string;
  /** True when the object of a file is in the cache. */
  readonly isCached: (node: NodeId) => boolean;
}

export type MagicVisibility = 'rootonly' | 'always' | 'never';

/** A value of this many bytes or less is a page; longer ones are cut (the kernel's limit for a value is 64 KiB). */
const PAGE_BYTES = 40_000;

type Value = string | null;
type Row = { readonly place: Place; readonly entry: CatalogEntry; readonly node: NodeId };

export class MagicXattrs {
  readonly #tree: Tree;
  readonly #visibility: MagicVisibility;
  readonly #ofMount: ReadonlyMap<string, (row: Row) => Value>;
  readonly #ofRegular: ReadonlyMap<string, (row: Row) => Value>;

  constructor(facts: MountFacts, tree: Tree, visibility: MagicVisibility) {
    this.#tree = tree;
    this.#visibility = visibility;
    this.#ofMount = new Map<string, (row: Row) => Value>([
      ['user.catalog_counters', (row) => this.#catalogCounters(row)],
      ['user.expires', () => expires(facts.expiresMinutes())],
      ['user.external_host', facts.externalHost],
      ['user.external_timeout', () => String(facts.timeoutDirectSeconds)],
      ['user.fqrn', () => facts.fqrn],
      ['user.hitrate', () => String(facts.hitRatePercent())],
      ['user.host', facts.host],
      ['user.host_list', facts.hostList],
      ['user.inode_max', facts.largestInode],
      ['user.logbuffer', facts.lastLogLines],
      ['user.maxfd', () => String(facts.maxFd())],
      ['user.ncleanup24', () => '-1'],
      ['user.nclg', () => String(facts.openCatalogs())],
      ['user.ndiropen', () => '0'],
      ['user.ndownload', () => String(facts.downloads())],
      ['user.nioerr', () => String(facts.ioErrors())],
      ['user.nopen', () => '0'],
      ['user.pid', () => String(process.pid)],
      ['user.proxy', facts.proxy],
      ['user.proxy_list', facts.proxyList],
      ['user.proxy_list_external', facts.externalProxyList],
      ['user.pubkeys', () => facts.publicKeys],
      ['user.repo_counters', () => counterLines(tree.catalogOf(tree.livePlace()).statistics())],
      ['user.repo_metainfo', facts.metainfo],
      ['user.revision', () => String(facts.revision())],
      ['user.root_hash', facts.rootHash],
      ['user.rx', () => String(Math.floor(facts.receivedBytes() / 1024))],
      ['user.speed', () => String(facts.speedKilobytesPerSecond())],
      ['user.tag', () => facts.tag],
      ['user.timeout', () => String(facts.timeoutSeconds)],
      ['user.timeout_direct', () => String(facts.timeoutDirectSeconds)],
      ['user.timestamp_last_ioerr', () => String(facts.lastIoErrorAt())],
      ['user.uptime', () => String(facts.uptimeMinutes())],
      ['user.useddirp', () => '0'],
      ['user.usedfd', () => String(facts.usedFd())],
      ['user.version', () => facts.version],
    ]);
    this.#ofRegular = new Map<string, (row: Row) => Value>([
      ['user.chunk_list', (row) => this.#chunkList(row)],
      ['user.chunks', ({ place, entry }) => String(isChunked(entry.flags) ? tree.catalogOf(place).chunks(entry).length : 1)],
      ['user.compression', ({ entry }) => compression(entry.flags) ?? null],
      ['user.direct_io', ({ entry }) => (isDirectIo(entry.flags) ? '1' : '0')],
      ['user.external_file', ({ entry }) => (isExternal(entry.flags) ? '1' : '0')],
      ['user.external_url', ({ place, entry }) => (isExternal(entry.flags) ? facts.externalUrl(tree.pathOf(place, entry).toString('latin1')) : null)],
      ['user.hash', ({ entry }) => hashText(entry)],
      ['user.lhash', ({ entry, node }) => (entry.hash === null ? null : facts.isCached(node) ? hashText(entry) : 'Not in cache')],
    ]);
  }

  /** Value of a magic attribute of a node; null when there is none of that name, or not here. */
  value(node: NodeId, fullName: string): Buffer | null {
    if (isViews(node) || isPrime(node)) return null;
    const paged = /^(.*)([~@])(\d{1,6}|\?)$/.exec(fullName);
    const name = paged === null ? fullName : paged[1]!;
    const { place, entry } = this.#tree.entry(node);
    const row = { place, entry, node };
    const read = this.#reader(name, row);
    const text = read === undefined ? null : read(row);
    if (text === null) return null;
    const bytes = Buffer.from(text);
    if (paged === null) return bytes.subarray(0, PAGE_BYTES);
    const pages = Math.max(1, Math.ceil(bytes.length / PAGE_BYTES));
    const human = paged[2] === '@';
    if (paged[3] === '?') return Buffer.from(human ? `${pages} pages for ${name}` : String(pages));
    const page = Number(paged[3]);
    if (page >= pages) return null;
    const part = bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
    return human ? Buffer.concat([Buffer.from(`# Access page at idx: ${page}\n`), part]) : part;
  }

  /** Names that a listing of the node shows. Asking by name works for all of them everywhere. */
  names(node: NodeId): readonly string[] {
    if (this.#visibility === 'never' || isViews(node) || isPrime(node)) return [];
    if (isRoot(node)) return [...this.#ofMount.keys()];
    if (this.#visibility === 'rootonly') return [];
    const { place, entry } = this.#tree.entry(node);
    if (isSymlink(entry.flags)) return ['xfsroot.rawlink'];
    if (!isRegular(entry.flags)) return isDirectory(entry.flags) ? [...this.#ofMount.keys()] : [];
    const row = { place, entry, node };
    return [...this.#ofMount.keys(), ...[...this.#ofRegular].filter(([, read]) => read(row) !== null).map(([name]) => name)];
  }

  #reader(name: string, row: Row): ((row: Row) => Value) | undefined {
    if (isSymlink(row.entry.flags) && (name === 'user.rawlink' || name === 'xfsroot.rawlink')) return ({ entry }) => entry.symlink.toString('latin1');
    const ofMount = this.#ofMount.get(name);
    if (ofMount !== undefined) return ofMount;
    return isRegular(row.entry.flags) ? this.#ofRegular.get(name) : undefined;
  }

  #catalogCounters({ place, entry, node }: Row): string {
    const inner = isDirectory(entry.flags) ? this.#tree.directory(node).place : place;
    const catalog = this.#tree.catalogOf(inner);
    return `catalog_hash: ${inner.catalogText}\ncatalog_mountpoint: ${catalog.rootPrefix.toString()}\n${counterLines(catalog.statistics())}`;
  }

  #chunkList({ place, entry }: Row): Value {
    const algorithm = hashAlgorithm(entry.flags);
    if (algorithm === undefined) return null;
    const line = (digest: Buffer, offset: number, size: number): string => `${formatHash({ algorithm, digest })},${offset},${size}\n`;
    const lines = isChunked(entry.flags)
      ? this.#tree.catalogOf(place).chunks(entry).map((chunk) => line(chunk.hash, chunk.offset, chunk.size))
      : entry.hash === null
        ? []
        : [line(entry.hash, 0, entry.size)];
    return `hash,offset,size\n${lines.join('')}`;
  }
}

function hashText(entry: CatalogEntry): Value {
  const algorithm = hashAlgorithm(entry.flags);
  return entry.hash === null || algorithm === undefined ? null : formatHash({ algorithm, digest: entry.hash });
}

function counterLines(statistics: ReadonlyMap<string, number>): string {
  const sums = totals(statistics);
  return [...COUNTERS].sort().map((name) => `${name},${sums[name]}\n`).join('');
}

function expires(minutes: number | null): string {
  return minutes === null ? 'never (fixed root catalog)' : String(minutes);
}

/** 80 bytes of kstatfs: the cache's limit as blocks of 512 bytes, the repository's entries as files (spec 5.6). */
export function statfsReply(limitBytes: number, usedBytes: number, entries: number): Buffer {
  const reply = Buffer.alloc(80);
  const blocks = Math.floor(limitBytes / 512);
  const free = Math.max(0, Math.floor((limitBytes - usedBytes) / 512));
  reply.writeBigUInt64LE(BigInt(blocks), 0);
  reply.writeBigUInt64LE(BigInt(free), 8);
  reply.writeBigUInt64LE(BigInt(free), 16);
  reply.writeBigUInt64LE(BigInt(entries), 24);
  reply.writeUInt32LE(512, 40);
  // The stock client says 0 here; programs that size a buffer by it need the truth.
  reply.writeUInt32LE(255, 44);
  reply.writeUInt32LE(512, 48);
  return reply;
}

