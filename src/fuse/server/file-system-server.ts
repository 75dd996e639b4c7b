/**
 * The main thread of a file system server: all that waits. It owns cache, network, the live revision and the views,
 * answers the requests that reader workers hand over, and speaks with keeper and service on its control socket.
 *
 * The process ends only by SIGKILL on itself, from every path: a worker blocked in read(2) cannot be stopped, and any
 * orderly exit would hang while workers go on taking requests that nobody answers.
 */
import * as fs from 'node:fs';
import * as os from 'node:os';
import { Failure } from '../../error';
import type { ObjectCache } from '../../cache/object-cache';
import { RepositoryFiles } from '../../cache/repository-files';
import type { RepositoryConfig } from '../../config/repository-config';
import { entryTotal } from '../../cvmfs/statistics';
import { formatHash } from '../../cvmfs/hash';
import type { Logger } from '../../log/logger';
import { LiveRevision } from '../../repository/live-revision';
import { Missing } from '../../repository/missing';
import type { ObjectNeed } from '../../repository/missing';
import type { NodeId } from '../../repository/node-id';
import { ObjectStore } from '../../repository/object-store';
import { RevisionSource } from '../../repository/revision-source';
import { PlaceList } from '../../repository/places';
import { monotonicMs, SharedState } from '../../repository/shared-state';
import { Views } from '../../repository/views';
import { Walker } from '../../repository/walker';
import { systemClock } from '../../transfer/clock';
import { backgroundSlots } from '../../transfer/slot-queue';
import { createTransfer } from '../../transfer/transfer';
import type { Transfer } from '../../transfer/transfer';
import type { Negotiated } from '../kernel/init';
import { Op, invalidateRootNotification, readHeader, readOffset, resendNotification, IN_HEADER_BYTES } from '../kernel/protocol';
import { BackingRequests } from './backing-requests';
import { CatalogRepair } from './catalog-repair';
import type { FileSystem } from '../file-system';
import { Engine } from './engine';
import type { Envelope, Progress } from './envelope';
import { serveShape } from './envelope';
import { MagicXattrs, statfsReply } from './magic-xattrs';
import { mountFacts } from './mount-facts';
import type { FactsWorld } from './mount-facts';
import { NeedsBacking, OpenFiles } from './open-files';
import type { Opener } from './open-files';
import { Prefetch } from './prefetch';
import type { ReaderPool } from './reader-pool';
import { writeReply } from './reader-worker';
import type { ReaderMessage } from './reader-worker';
import { RepositoryFileSystem } from './repository-file-system';
import type { FileSystemWorld } from './repository-file-system';
import { SeenFailures } from './seen-failures';
import { speculationLimits } from './speculation/limits';
import { Speculation } from './speculation/speculation';
import { openThreadTree } from './thread-tree';
import type { ThreadTree } from './thread-tree';
import { Upkeep } from './upkeep';
import { WaitingRequests } from './waiting-requests';

const EIO = os.constants.errno.EIO;
const EINTR = os.constants.errno.EINTR;
/** FUSE flag: the kernel takes ENOSYS for OPENDIR as "never ask again". */
const NO_OPENDIR_SUPPORT = 1n << 24n;
/** Upkeep: pins of newly attached catalogs, uses for the order of eviction. */
const UPKEEP_MS = 1_000;
const TRIM_MS = 10_000;
/** An object that is fetched and gone again this often for one request is being evicted under its reader. */
const REFETCH_MAX = 3;

export interface ServerWorld {
  readonly log: Logger;
  /** /dev/fuse of the mount. */
  readonly fuseFd: number;
  /** The mount's index list, locked. */
  readonly indexFd: number;
  /** Ends the process at once. */
  readonly die: (why: string) => never;
  /** Tells the keeper that the kernel has given the mount up. */
  readonly sayGone: () => void;
  readonly version: string;
  /** Gives memory that is free back to the host. */
  readonly trimMemory: () => void;
  readonly readers: Pick<ReaderPool, 'read' | 'progress' | 'taken'>;
  /** The descriptors to read the mount's requests from (request-devices.ts). */
  readonly devices: (negotiated: Negotiated) => readonly number[];
  /** Opens a cache, or answers one that this process has open already. */
  readonly openCache: (config: RepositoryConfig) => Promise<ObjectCache>;
}

export class FileSystemServer {
  readonly #envelope: Envelope;
  readonly #config: RepositoryConfig;
  readonly #world: ServerWorld;
  readonly #thread: ThreadTree;
  readonly #cache: ObjectCache;
  readonly #transfer: Transfer;
  readonly #waiting = new WaitingRequests();
  readonly #startedAt = Date.now();
  readonly #seen = new SeenFailures();
  readonly #repair: CatalogRepair;
  readonly #upkeep: Upkeep;
  readonly store: ObjectStore;
  readonly live: LiveRevision;
  readonly views: Views;
  readonly walker: Walker;
  readonly prefetch: Prefetch;
  /** Null where it is switched off. */
  readonly speculation: Speculation | null;
  readonly backing = new BackingRequests(monotonicMs);
  #engine: Engine | null = null;
  #openFiles: OpenFiles | null = null;
  #serving = false;
  readonly #timers: NodeJS.Timeout[] = [];
  #driverWarnings: () => readonly string[] = () => [];

  private constructor(envelope: Envelope, world: ServerWorld, cache: ObjectCache, transfer: Transfer, thread: ThreadTree) {
    this.#envelope = envelope;
    this.#config = envelope.config;
    this.#world = world;
    this.#cache = cache;
    this.#transfer = transfer;
    this.#thread = thread;
    const { config } = envelope;
    const { log } = world;
    const { catalogs, objects, places, shared } = thread;
    this.store = new ObjectStore(cache, objects, transfer, { deadlineMs: config.requestDeadlineMs, spill: thread.spill });
    const source = new RevisionSource({ config, transfer, store: this.store, files: new RepositoryFiles(config.cacheDir, config.fqrn), now: () => new Date(), log, objectFile: (need) => this.store.file(need) });
    this.live = new LiveRevision({
      config,
      source,
      store: this.store,
      catalogs,
      places,
      shared,
      monotonicMs,
      now: () => new Date(),
      log,
      switched: () => this.#invalidateRoot(),
      // A write to the cache's index, for which no reader should wait.
      pin: (need) => void setImmediate(() => void this.#pinRoot(need)),
    });
    this.walker = new Walker({ catalogs, store: this.store, fqrn: config.fqrn });
    this.views = new Views({ fqrn: config.fqrn, walker: this.walker, store: this.store, catalogs, places, cache, log });
    this.prefetch = new Prefetch({ catalogs, store: this.store, cache, log, inFlightMax: backgroundSlots(config.maxConnections) });
    this.speculation =
      config.speculation === 'off'
        ? null
        : new Speculation({ thread, store: this.store, limits: speculationLimits(config), log, now: monotonicMs, usedViews: () => this.views.usedByContainers() });
    this.#repair = new CatalogRepair(config.fqrn, thread, this.store, cache, log);
    this.#upkeep = new Upkeep({ fqrn: config.fqrn, thread, cache, live: this.live, views: this.views, log, dir: envelope.dir, openFiles: () => this.#openFiles, die: world.die });
  }

  /** Opens everything and has a revision to show; serves nothing yet. The caller holds the lock on the index list. */
  static async open(envelope: Envelope, world: ServerWorld): Promise<FileSystemServer> {
    const { config } = envelope;
    const cache = await world.openCache(config);
    const transfer = createTransfer(
      {
        servers: config.servers,
        proxies: config.proxyGroups,
        externalServers: config.externalServers,
        externalProxies: config.externalProxyGroups,
        timeoutMs: config.timeoutMs,
        timeoutDirectMs: config.timeoutDirectMs,
        lowSpeedLimitBytesPerSecond: config.lowSpeedLimitBytesPerSecond,
        maxRetries: config.maxRetries,
        maxConnections: config.maxConnections,
        maxInFlight: 2 * config.maxConnections,
        backoffInitMs: config.backoffInitMs,
        backoffMaxMs: config.backoffMaxMs,
        proxyResetAfterMs: config.proxyResetAfterMs,
        hostResetAfterMs: config.hostResetAfterMs,
        followRedirects: config.followRedirects,
        infoHeader: config.infoHeader,
        totalTimeoutMs: config.requestDeadlineMs,
      },
      { clock: systemClock(), random: Math.random, log: (level, message, fields) => world.log[level](message, fields) },
    );
    const shared = new SharedState();
    PlaceList.recover(world.indexFd, shared);
    const thread = openThreadTree({ config, generation: cache.generation, indexFd: world.indexFd, shared: shared.buffer, dir: envelope.dir }, (what, why) => warnUnfamiliar(world.log, what, why));
    thread.spill.clear();
    const server = new FileSystemServer(envelope, world, cache, transfer, thread);
    await server.live.start(thread.places.all().filter((place) => place.space.startsWith('live@') && place.mountPath.length === 0).pop());
    return server;
  }

  /** Begins to answer the kernel. `resend` first, so that the requests a predecessor had taken come again. */
  serve(params: unknown): { readonly readers: number } {
    const { negotiated, resend } = serveShape.parse(params);
    if (this.#serving) throw new Failure('FAILED_PRECONDITION', 'this file system server serves already');
    this.#serving = true;
    const noOpendir = (BigInt((negotiated as Negotiated).flags) & NO_OPENDIR_SUPPORT) !== 0n;
    const devices = this.#world.devices(negotiated as Negotiated);
    if (negotiated.passthrough) this.#openFiles = new OpenFiles(this.#envelope.dir, this.#thread.shared, this.backing, this.#world.log);
    const openTable = this.#openFiles?.table ?? null;
    const opener: Opener = { open: (node, unique) => this.#open(node, unique), release: (node, unique) => this.#openFiles?.release(node, unique) };
    this.#engine = new Engine({ ...this.#files(), now: monotonicMs, noOpendir, openTable, opener });
    const { fuseFd, indexFd } = this.#world;
    if (resend) fs.writeSync(fuseFd, resendNotification());
    const { readers } = this.#config;
    this.#world.readers.read(
      readers,
      {
        config: this.#config,
        generation: this.#cache.generation,
        indexFd,
        shared: this.#thread.shared.buffer,
        dir: this.#envelope.dir,
        noOpendir,
        opens: openTable?.buffer ?? null,
        readLog: this.speculation?.readLog.buffer ?? null,
      },
      devices,
      (message) => this.#fromReader(message),
    );
    this.#beginUpkeep();
    return { readers };
  }

  /** Serves through a driver that is given the kernel's requests by somebody else; no thread of this server reads any. */
  serveDriver(driver: { readonly warnings: () => readonly string[] }): FileSystem {
    this.#driverWarnings = driver.warnings;
    this.#beginUpkeep();
    return new RepositoryFileSystem(this.#files());
  }

  #beginUpkeep(): void {
    this.#timers.push(setInterval(() => void this.#upkeep.run(), UPKEEP_MS).unref());
    // malloc keeps what start-up and bursts needed: some 20 MiB a server.
    this.#timers.push(setInterval(() => this.#world.trimMemory(), TRIM_MS).unref());
  }

  /** For a rehearsal alone, which has no readers: gives everything back but the cache. */
  async close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    this.live.stop();
    this.#thread.objects.close();
    this.#thread.catalogs.close();
    await this.#transfer.close();
  }

  /** The file system as the main thread sees it. */
  #files(): FileSystemWorld {
    const { tree, shared } = this.#thread;
    const magic = new MagicXattrs(mountFacts(this.#factsWorld()), tree, this.#config.magicXattrs);
    return {
      tree,
      shared,
      magicEverywhere: this.#config.magicXattrs === 'always',
      objects: this.store,
      main: {
        magicXattr: (node, name) => magic.value(node, name),
        magicNames: (node) => magic.names(node),
        statfs: () => {
          const usage = this.#cache.usage();
          return statfsReply(usage.limitBytes, usage.bytes, entryTotal(tree.catalogOf(tree.livePlace()).statistics()));
        },
      },
    };
  }

  /** How far the reader workers are. */
  progress(): Progress {
    return this.#world.readers.progress();
  }

  #fromReader(message: ReaderMessage): void {
    switch (message.kind) {
      case 'request':
        void this.answer(Buffer.from(message.request.buffer, message.request.byteOffset, message.request.byteLength), message.device);
        return;
      case 'touched':
        this.#upkeep.touched(message.names);
        return;
      case 'unfamiliar':
        warnUnfamiliar(this.#world.log, message.what, message.why);
        return;
      case 'read':
        this.speculation?.woken();
        return;
      case 'broken':
        this.#world.log.error('a reader worker met a fault of ours', { error: Failure.fromJSON(message.failure) });
        return;
      case 'rehearsed':
        return;
      case 'gone':
        this.#world.sayGone();
        this.#world.die('the kernel has given the mount up');
    }
  }

  /** Answers one request that needs waiting, or only this thread's knowledge, where it was read. Never throws. */
  async answer(request: Buffer, device: number): Promise<void> {
    const engine = this.#engine;
    if (engine === null) return;
    const header = readHeader(request);
    if (header.opcode === Op.INTERRUPT) {
      this.#waiting.interrupt(request.subarray(IN_HEADER_BYTES, IN_HEADER_BYTES + 8).toString('hex'));
      return;
    }
    const node: NodeId = { index: header.index, rowid: header.rowid };
    try {
      // Answers and writes in one go: the engine has one reply buffer, and after any wait another request's answer is in it.
      const answer = (): void => {
        const length = engine.answer(request);
        if (length > 0) writeReply(device, engine.reply, length);
        if (header.opcode === Op.READ) this.speculation?.answered(node, readOffset(request));
      };
      await this.#waiting.during(header.unique.toString('hex'), header.pid, (interrupted) => this.whenLocal(answer, interrupted, node));
    } catch (error) {
      const failure = Failure.from(error);
      const errno = this.errnoOf(failure, () => this.#thread.tree.describe(node));
      try {
        writeReply(device, engine.reply, engine.fail(request, errno));
      } catch (writeError) {
        this.#world.log.error('a reply was refused', { opcode: header.opcode, error: writeError });
      }
    } finally {
      this.#thread.catalogs.closeRetired();
    }
  }

  /**
   * Does `work`, which asks a file system (file-system.ts), as often as something has to be fetched for it first. What it
   * throws at last is the reader's answer.
   */
  async whenLocal<T>(work: () => T, interrupted: AbortSignal = new AbortController().signal, node?: NodeId): Promise<T> {
    const fetched = new Map<string, number>();
    const giveUpAtMs = monotonicMs() + this.#config.requestDeadlineMs;
    let reverified = false;
    for (;;) {
      try {
        return work();
      } catch (error) {
        if (error instanceof Missing) {
          const times = (fetched.get(error.need.what) ?? 0) + 1;
          if (times > REFETCH_MAX) throw new Failure('NO_SPACE', `${error.need.what} is evicted from the cache faster than it can be read`, { next: 'raise cache.limit' });
          fetched.set(error.need.what, times);
          // One deadline for the whole request, however many objects it needs and whoever began to fetch them.
          const arrival = this.store.ensure(error.need);
          if (node !== undefined) this.speculation?.demanded(node, error.need, arrival);
          await unlessInterrupted(arrival, interrupted, giveUpAtMs - monotonicMs(), error.need.what);
          continue;
        }
        if (error instanceof NeedsBacking && this.#openFiles !== null) {
          await unlessInterrupted(this.#acquire(this.#openFiles, error), interrupted, giveUpAtMs - monotonicMs(), error.need.what);
          continue;
        }
        // A catalog that cannot be read may be damaged on the disk: then it is fetched again while the request waits.
        if (error instanceof Failure && error.code === 'CATALOG_INVALID' && !reverified) {
          reverified = true;
          if (await this.#repair.run()) continue;
        }
        throw error;
      }
    }
  }

  /** OPEN, with `data_path = "passthrough"`: a file that is one object in the cache is read by the kernel alone. */
  #open(node: NodeId, unique: bigint): number {
    const { parts } = this.#thread.tree.filePlan(node);
    const need = parts.length === 1 ? parts[0]!.need : null;
    if (need !== null && !this.store.isLocal(need)) throw new Missing(need);
    return this.#openFiles!.open(node, need, unique);
  }

  /** A file that the disk has no room for gets no backing id, and is read through this server. */
  async #acquire(files: OpenFiles, wanted: NeedsBacking): Promise<void> {
    await this.store.ensure(wanted.need, { onDisk: true });
    await files.acquire(wanted);
  }

  /** What a reader is told of a failure; of a fault, EIO, and then it is counted and logged with where it was met. */
  errnoOf(failure: Failure, describe: () => string): number {
    if (failure.code === 'CANCELLED') return EINTR;
    if (failure.code === 'NOT_FOUND' || failure.code === 'NOT_A_DIRECTORY' || failure.code === 'INVALID_ARGUMENT') return failure.errno;
    this.#note(describe(), failure);
    return EIO;
  }

  #note(where: string, failure: Failure): void {
    this.#seen.add(where, failure.message);
    this.#world.log.error('a reader got EIO', { repository: this.#config.fqrn, path: where, error: failure });
  }

  #invalidateRoot(): void {
    if (!this.#serving) return;
    try {
      fs.writeSync(this.#world.fuseFd, invalidateRootNotification());
    } catch (error) {
      // ENOENT: the kernel has nothing of the root to drop.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') this.#world.log.warn('the kernel did not take a notification', { error });
    }
  }

  /**
   * Keeps the newest root catalog, also after the mount has gone, so that the next mount can begin without any server.
   * Of a fixed revision nothing is kept in this way: each would stay pinned for ever.
   */
  async #pinRoot(need: ObjectNeed): Promise<void> {
    if (this.#config.fixed.kind !== 'trunk') return;
    const owner = `root/${this.#config.fqrn}`;
    try {
      await this.#cache.unpin(owner);
      await this.#cache.pin(owner, [need]);
    } catch (error) {
      this.#world.log.warn('the root catalog is not pinned', { error });
    }
  }

  /** What no container needs any more goes from the cache. */
  prune(): Promise<{ readonly freedBytes: number }> {
    return this.#upkeep.prune();
  }

  get cache(): ObjectCache {
    return this.#cache;
  }

  rootHash(): string {
    return formatHash(this.live.current.rootHash);
  }

  /** What `status` shows of this mount. */
  status(): object {
    const transfer = this.#transfer.status();
    const usage = this.#cache.usage();
    return {
      repository: this.#config.fqrn,
      mountpoint: this.#envelope.mountpoint,
      pid: process.pid,
      revision: this.live.current.revision,
      rootHash: this.rootHash(),
      offline: this.live.current.offline,
      uptimeSeconds: Math.floor((Date.now() - this.#startedAt) / 1000),
      serving: this.#serving,
      waiting: this.#waiting.size,
      transfer,
      objects: this.store.counters,
      cache: { usedBytes: usage.bytes, limitBytes: usage.limitBytes, pinnedBytes: usage.pinnedBytes },
      views: this.views.holders().map(({ view, holder }) => ({ view, holder })),
      ioErrors: this.#seen.count,
      recentErrors: this.#seen.recent,
      speculation: this.speculation?.status() ?? null,
      requests: this.#requestCounts(),
      warnings: [...this.live.warnings(), ...this.#driverWarnings()],
    };
  }

  #requestCounts(): Record<string, number> {
    const counts = new Uint32Array(this.#world.readers.taken);
    return Object.fromEntries(Object.entries(Op).flatMap(([name, opcode]) => (counts[opcode]! > 0 ? [[name, counts[opcode]!]] : [])));
  }

  #factsWorld(): FactsWorld {
    return { config: this.#config, version: this.#world.version, startedAt: this.#startedAt, live: this.live, store: this.store, transfer: this.#transfer, thread: this.#thread, seen: this.#seen, taken: new Uint32Array(this.#world.readers.taken) };
  }
}

/** Waits for `work` until an interrupt or the deadline; the work itself goes on, others may wait for it. */
async function unlessInterrupted(work: Promise<void>, interrupted: AbortSignal, leftMs: number, what: string): Promise<void> {
  work.catch(() => undefined);
  if (interrupted.aborted) throw new Failure('CANCELLED', 'interrupted');
  let stop: () => void = () => undefined;
  let timer: NodeJS.Timeout | undefined;
  const cut = new Promise<never>((_, reject) => {
    stop = () => reject(new Failure('CANCELLED', 'interrupted'));
    interrupted.addEventListener('abort', stop, { once: true });
    timer = setTimeout(() => reject(new Failure('NETWORK', `${what} did not arrive within the request's deadline`)), Math.max(0, leftMs));
  });
  try {
    await Promise.race([work, cut]);
  } finally {
    clearTimeout(timer);
    interrupted.removeEventListener('abort', stop);
  }
}

function warnUnfamiliar(log: Logger, what: string, why: string): void {
  log.warn('a catalog was not made as the CernVM-FS tools make them: it is read through SQLite, which is slow', { catalog: what, why });
}
