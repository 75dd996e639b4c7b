/** What a file system server tells its cache from time to time: pins of newly attached catalogs, uses for the order of eviction. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { Failure } from '../../error';
import type { ObjectCache } from '../../cache/object-cache';
import { objectFile } from '../../cache/object-name';
import type { Logger } from '../../log/logger';
import type { LiveRevision } from '../../repository/live-revision';
import type { Views } from '../../repository/views';
import type { OpenFiles } from './open-files';
import type { ThreadTree } from './thread-tree';

export interface UpkeepWorld {
  readonly fqrn: string;
  /** The mount's own folder; others lie beside it. */
  readonly dir: string;
  readonly thread: ThreadTree;
  readonly cache: ObjectCache;
  readonly live: LiveRevision;
  readonly views: Views;
  readonly log: Logger;
  /** Null when the kernel opens nothing (`data_path = "server"`). */
  readonly openFiles: () => OpenFiles | null;
  /** Ends the process at once. */
  readonly die: (why: string) => never;
}

export class Upkeep {
  readonly #world: UpkeepWorld;
  readonly #touched = new Set<string>();
  /** Objects that the kernel has open, as the cache's index has them; null before the first look. */
  #open: ReadonlySet<string> | null = null;
  /** As the cache's index has it; null before the first look. */
  #reachable: boolean | null = null;

  constructor(world: UpkeepWorld) {
    this.#world = world;
  }

  /** Objects that a reader worker has read. */
  touched(names: readonly string[]): void {
    for (const name of names) this.#touched.add(name);
  }

  /** One round; never throws. */
  async run(): Promise<void> {
    const { thread, views, cache, log, die } = this.#world;
    // Those that calls on the control socket have pushed out; requests of the kernel that come here are rare.
    thread.catalogs.closeRetired();
    try {
      await views.pinAttached();
      this.touched(thread.objects.drainTouched());
      await this.#noteReachable();
      await this.#noteOpen();
      if (this.#touched.size === 0) return;
      const names = [...this.#touched];
      this.#touched.clear();
      cache.touch(names);
      // What containers read is evicted last; which of the mount's readers are containers cannot be told apart.
      if (views.holders().length > 0) await cache.use(this.#user, names);
    } catch (error) {
      const failure = Failure.from(error);
      log.warn('upkeep', { error: failure });
      // The cache's index was set aside: a new process opens it anew (cache/object-cache.ts).
      if (failure.code === 'STATE_DAMAGED') die(failure.message);
    }
  }

  /** Owner, in the cache's index, of what containers on this repository have read; by name, so that it outlives a mount. */
  get #user(): string {
    return `use/${this.#world.fqrn}`;
  }

  /** The space of an object that the kernel has open is in use whatever becomes of its name, so it is not evicted. */
  async #noteOpen(): Promise<void> {
    const { cache } = this.#world;
    const files = this.#world.openFiles();
    const owners = `open/${this.#world.fqrn}/`;
    if (this.#open === null) await this.#dropOwners((owner) => owner.startsWith(owners) && !fs.existsSync(path.join(this.#world.dir, '..', owner.slice(owners.length))));
    const before = this.#open;
    this.#open ??= new Set();
    if (files === null) return;
    files.tidy((object) => !fs.existsSync(objectFile(cache.dir, object)));
    const open = new Set(files.openObjects());
    if (before !== null && before.size === open.size && [...open].every((object) => before.has(object))) return;
    const own = `${owners}${path.basename(this.#world.dir)}`;
    await cache.dropOwner(own);
    if (open.size > 0) {
      await cache.use(own, [...open]);
      await cache.setReachable(own, false);
    }
    this.#open = open;
  }

  /** What mounts that are gone have left. */
  async #dropOwners(gone: (owner: string) => boolean): Promise<void> {
    for (const { owner } of this.#world.cache.usage().owners) if (gone(owner)) await this.#world.cache.dropOwner(owner);
  }

  /** While no server answers, nothing that containers read is evicted: a running program would lose its pages for good. */
  async #noteReachable(): Promise<void> {
    const reachable = this.#world.live.lastError === null;
    if (reachable === this.#reachable) return;
    await this.#world.cache.setReachable(this.#user, reachable);
    this.#reachable = reachable;
  }

  /** What no container needs any more goes from the cache. What was noted as used while there were some is used no longer. */
  async prune(): Promise<{ readonly freedBytes: number }> {
    if (this.#world.views.holders().length === 0) await this.#world.cache.dropOwner(this.#user);
    return this.#world.cache.prune();
  }
}
