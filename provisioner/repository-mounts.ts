/**
 * Keeps every configured repository mounted, in the background and each for itself: one that fails is tried again, with
 * pauses that double from `RETRY_MIN_MS` to `RETRY_MAX_MS`, and keeps neither the service nor the others from working. A
 * mount that is there already (the service was restarted) is used as it is. Nothing is ever unmounted here.
 */
import type { Code } from '../src/error';
import { Failure } from '../src/error';
import type { Logger } from '../src/log/logger';
import type { MountedRepository } from '../src/repository/reader';
import { abortFailure } from './abort';
import type { MountState, MountStatus, Mounts } from './mounts';

/** A mount as the keeper tells of it. */
export interface MountInfo {
  /** Of this mount and no later one; device numbers are used again at once. */
  readonly id: string;
  readonly repository: string;
  readonly mountpoint: string;
  /** `major:minor`. */
  readonly device: string;
}

/** What to mount where; the keeper's client has the configuration that belongs to the name. */
export interface MountSpec {
  readonly repository: string;
  readonly mountpoint: string;
}

/** The part of the keeper that is needed here. All calls end by themselves; what is there already is no error. */
export interface KeeperClient {
  list(): Promise<readonly MountInfo[]>;
  /** Mounts, or returns the mount that is at this place for this repository. */
  mount(spec: MountSpec): Promise<MountInfo>;
  /** A reader that lives as long as the mount does, whatever server process serves it. */
  connect(mount: MountInfo): Promise<MountedRepository>;
  /** Ends all connections. */
  close(): void;
}

export interface RepositoryMountsOptions {
  readonly keeper: KeeperClient;
  readonly specs: readonly MountSpec[];
  readonly logger: Logger;
  readonly nowMs?: () => number;
  /** Between two looks at whether all mounts are still there. A look starts a keeper where none lives, and readers may wait for one. */
  readonly checkMs?: number;
  readonly retryMinMs?: number;
  readonly retryMaxMs?: number;
}

/** Trying again does not help: somebody must change keys, configuration or the repository. A caller learns it at once. */
const LASTING: readonly Code[] = [
  'INVALID_ARGUMENT', 'CONFIG_INVALID', 'UNIMPLEMENTED', 'PERMISSION_DENIED', 'WHITELIST_INVALID', 'WHITELIST_EXPIRED', 'MANIFEST_INVALID', 'MANIFEST_OUTDATED', 'CERTIFICATE_INVALID',
  'BLACKLISTED', 'KEY_INVALID', 'CATALOG_INVALID', 'HISTORY_INVALID',
];

interface Entry {
  readonly spec: MountSpec;
  state: MountState;
  repository: MountedRepository | undefined;
  id: string;
  attempts: number;
  running: Promise<void> | undefined;
  retry: NodeJS.Timeout | undefined;
  readonly waiting: Set<() => void>;
}

export class RepositoryMounts implements Mounts {
  readonly #entries: Map<string, Entry>;
  readonly #listeners: Array<(repository: MountedRepository) => void> = [];
  readonly #options: Required<RepositoryMountsOptions>;
  #check: NodeJS.Timeout | undefined;
  #checking: Promise<void> | undefined;
  #stopped = false;

  constructor(options: RepositoryMountsOptions) {
    this.#options = { nowMs: Date.now, checkMs: 1_000, retryMinMs: 1000, retryMaxMs: 60_000, ...options };
    this.#entries = new Map(
      options.specs.map((spec) => [spec.repository, { spec, state: { kind: 'mounting' }, repository: undefined, id: '', attempts: 0, running: undefined, retry: undefined, waiting: new Set() }]),
    );
  }

  start(): void {
    for (const entry of this.#entries.values()) this.#attempt(entry);
    this.#check = setInterval(() => this.#checkAll(), this.#options.checkMs).unref();
  }

  stop(): void {
    this.#stopped = true;
    clearInterval(this.#check);
    for (const entry of this.#entries.values()) {
      clearTimeout(entry.retry);
      this.#wake(entry);
    }
    this.#options.keeper.close();
  }

  list(): MountStatus[] {
    return [...this.#entries.values()].map(({ spec, state }) => ({ ...spec, state }));
  }

  peek(fqrn: string): MountedRepository | undefined {
    return this.#entries.get(fqrn)?.repository;
  }

  onReady(listener: (repository: MountedRepository) => void): void {
    this.#listeners.push(listener);
  }

  async get(fqrn: string, signal: AbortSignal): Promise<MountedRepository> {
    const entry = this.#entries.get(fqrn);
    if (entry === undefined) {
      throw new Failure('NOT_FOUND', `repository ${fqrn} is not configured; configured are: ${[...this.#entries.keys()].join(', ') || 'none'}`, {
        next: `add [repositories."${fqrn}"] to the configuration`,
      });
    }
    for (;;) {
      if (entry.repository !== undefined) return entry.repository;
      if (this.#stopped) throw new Failure('CANCELLED', 'the service is stopping');
      const { state } = entry;
      if (state.kind === 'failed' && LASTING.includes(state.failure.code)) throw this.#notMounted(fqrn, state.failure);
      if (signal.aborted) throw state.kind === 'failed' && abortFailure(signal).code === 'DEADLINE_EXCEEDED' ? this.#notMounted(fqrn, state.failure) : abortFailure(signal);
      await new Promise<void>((resolve) => {
        const woken = (): void => {
          signal.removeEventListener('abort', woken);
          entry.waiting.delete(woken);
          resolve();
        };
        entry.waiting.add(woken);
        signal.addEventListener('abort', woken, { once: true });
      });
    }
  }

  recheck(fqrn: string): void {
    if (this.#entries.get(fqrn)?.repository !== undefined) this.#checkAll();
  }

  #notMounted(fqrn: string, failure: Failure): Failure {
    return new Failure(failure.code, `repository ${fqrn} is not mounted: ${failure.what}`, { ...(failure.next === undefined ? {} : { next: failure.next }), data: failure.data, cause: failure });
  }

  #wake(entry: Entry): void {
    for (const woken of [...entry.waiting]) woken();
  }

  #attempt(entry: Entry): void {
    if (this.#stopped || entry.running !== undefined || entry.repository !== undefined) return;
    clearTimeout(entry.retry);
    entry.running = this.#mount(entry).finally(() => (entry.running = undefined));
  }

  async #mount(entry: Entry): Promise<void> {
    const { keeper, logger, nowMs, retryMinMs, retryMaxMs } = this.#options;
    const { spec } = entry;
    try {
      const info = (await keeper.list()).find((mount) => mount.mountpoint === spec.mountpoint && mount.repository === spec.repository) ?? (await keeper.mount(spec));
      const repository = await keeper.connect(info);
      if (this.#stopped) return;
      Object.assign(entry, { state: { kind: 'mounted' }, repository, id: info.id, attempts: 0 });
      logger.info('repository is mounted', { repository: spec.repository, mountpoint: spec.mountpoint });
      for (const listener of this.#listeners) listener(repository);
    } catch (err) {
      if (this.#stopped) return;
      const failure = Failure.from(err);
      const pauseMs = Math.min(retryMinMs * 2 ** Math.min(entry.attempts++, 16), retryMaxMs);
      entry.state = { kind: 'failed', failure, retryAtMs: nowMs() + pauseMs };
      logger.warn('repository cannot be mounted and is tried again', { repository: spec.repository, pauseMs, err: failure });
      entry.retry = setTimeout(() => this.#attempt(entry), pauseMs).unref();
    } finally {
      this.#wake(entry);
    }
  }

  #checkAll(): void {
    this.#checking ??= this.#look().finally(() => (this.#checking = undefined));
  }

  /** A mount that somebody took away (`umount -l`) is made anew; containers keep what they have. */
  async #look(): Promise<void> {
    const { keeper, logger } = this.#options;
    let mounts: readonly MountInfo[];
    try {
      mounts = await keeper.list();
    } catch (err) {
      logger.warn('the keeper does not say what is mounted', { err: Failure.from(err) });
      return;
    }
    for (const entry of this.#entries.values()) {
      const there = mounts.some(({ id }) => id === entry.id);
      if (entry.repository === undefined || there) continue;
      logger.warn('repository is not mounted any more and is mounted again', { repository: entry.spec.repository, mountpoint: entry.spec.mountpoint });
      entry.repository = undefined;
      entry.state = { kind: 'mounting' };
      this.#attempt(entry);
    }
  }
}
