/**
 * Gives up holds on views, behind the back of whoever is done with them: a destroy must not wait for a file system
 * server. What is owed stands in the state database from the instant in which the rootfs or image was forgotten, so it
 * is paid after a crash too.
 */
import type { MountedRepository } from '../src/repository/reader';
import { eachOf, within } from './abort';
import type { World } from './context';
import { COMPLETION_HOLDER } from './state/completions';
import type { PendingRelease } from './state/state';
import { IMAGE_HOLDER, pinName } from './state/state';

const RETRY_MS = 10_000;
/** Words with file system servers at a time. */
const PARALLEL = 8;
/** Releases that are crossed off together. */
const BATCH = 64;

async function giveUp(repository: MountedRepository, { view, holder }: PendingRelease): Promise<void> {
  await repository.releaseView(view, holder);
  if (holder.startsWith(IMAGE_HOLDER) || holder.startsWith(COMPLETION_HOLDER)) await repository.unpin(pinName(holder));
}

export class Releases {
  #running: Promise<void> | undefined;
  #again = false;
  #retry: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(private readonly world: Pick<World, 'state' | 'mounts' | 'limits' | 'logger' | 'step'>) {}

  /** Begins to pay what is owed; returns at once. */
  kick(): void {
    void this.drain();
  }

  /** Resolves when everything was tried once. */
  drain(): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    this.#again = true;
    this.#running ??= this.#work().finally(() => (this.#running = undefined));
    return this.#running;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#retry);
    await this.#running;
  }

  async #work(): Promise<void> {
    while (this.#again && !this.#stopped) {
      this.#again = false;
      await this.#payAll();
    }
  }

  async #payAll(): Promise<void> {
    const { state, mounts, step } = this.world;
    const silent = new Set<string>();
    const configured = new Set(mounts.list().map(({ repository }) => repository));
    const owed = state.releases();
    for (let at = 0; at < owed.length && !this.#stopped; at += BATCH) {
      const paid: PendingRelease[] = [];
      await eachOf(owed.slice(at, at + BATCH), PARALLEL, async (release) => {
        // When it is not configured any more, nobody is left to be told.
        if (!configured.has(release.repository) || (await this.#pay(release, silent))) paid.push(release);
      });
      if (paid.length === 0) continue;
      state.released(paid);
      step('destroy-view-released');
    }
    if (silent.size > 0) this.#retry ??= setTimeout(() => ((this.#retry = undefined), this.kick()), RETRY_MS).unref();
  }

  async #pay(release: PendingRelease, silent: Set<string>): Promise<boolean> {
    const { mounts, limits, logger } = this.world;
    const repository = mounts.peek(release.repository);
    if (repository === undefined || silent.has(release.repository) || this.#stopped) return false;
    try {
      await within(giveUp(repository, release), limits.holdTimeoutMs, `releasing a view of ${release.repository}`);
      return true;
    } catch (err) {
      // One that does not answer is not asked for each of its views in turn.
      if (!silent.has(release.repository)) logger.warn('a view could not be released and is tried again', { repository: release.repository, view: release.view, err });
      silent.add(release.repository);
      return false;
    }
  }
}
