/**
 * Containers that cannot go on: all processes that held the mount under their image ended at one instant, and every call
 * answers ENOTCONN for ever. Nothing heals such a container, so the agent is told, and its framework starts it anew.
 *
 * Looked at every now and then, one root file system for each mount: a mount is dead for all or for none. The question is
 * asked by a helper process; only a clear no counts (provisioner/liveness.ts).
 */
import type { World } from '../../provisioner/context';
import { Liveness } from '../../provisioner/liveness';
import { Failure } from '../../src/error';

/** Between two looks. */
const LOOK_MS = 30_000;
/** A Watch without news is answered after this. */
const WATCH_MS = 20_000;

export interface DeadContainer {
  readonly container: string;
  /** For the framework's user. */
  readonly message: string;
}

export class DeadContainers {
  #dead: readonly DeadContainer[] = [];
  readonly #waiting = new Set<() => void>();
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  #looking = false;

  constructor(
    private readonly world: Pick<World, 'state' | 'helpers' | 'limits' | 'logger' | 'newUuid' | 'bootId'>,
    private readonly lookMs: number = LOOK_MS,
    private readonly watchMs: number = WATCH_MS,
  ) {}

  start(): void {
    this.#timer = setInterval(() => void this.look(), this.lookMs).unref();
  }

  /** Answers who waits, and every later question at once. */
  stop(): void {
    this.#stopped = true;
    clearInterval(this.#timer);
    this.#wake();
  }

  /** Those that are not in `known`, as soon as there are any; none after a while. */
  async watch(known: ReadonlySet<string>, signal: AbortSignal): Promise<DeadContainer[]> {
    const news = (): DeadContainer[] => this.#dead.filter(({ container }) => !known.has(container));
    if (news().length === 0 && !this.#stopped && !signal.aborted) {
      await new Promise<void>((resolve) => {
        const end = (): void => {
          clearTimeout(timer);
          this.#waiting.delete(end);
          signal.removeEventListener('abort', end);
          resolve();
        };
        const timer = setTimeout(end, this.watchMs);
        signal.addEventListener('abort', end, { once: true });
        this.#waiting.add(end);
      });
    }
    return news();
  }

  /** One look at every mount; those under way are not joined by another. */
  async look(): Promise<void> {
    if (this.#looking || this.#stopped) return;
    this.#looking = true;
    try {
      this.#dead = await this.#find();
      if (this.#dead.length > 0) this.#wake();
    } catch (err) {
      this.world.logger.error('it could not be looked at which containers are dead', { err: Failure.from(err) });
    } finally {
      this.#looking = false;
    }
  }

  async #find(): Promise<DeadContainer[]> {
    const { state, bootId } = this.world;
    const rootfses = new Map(state.isolated.all().filter((row) => row.bootId === bootId).map(({ container, rootfs }) => [container, rootfs]));
    const mounts = new Map<string, Array<{ container: string; repository: string; rootfs: string }>>();
    for (const { container, repository, view, device } of state.isolated.uses()) {
      const rootfs = rootfses.get(container);
      if (view === '' || rootfs === undefined || rootfs === null) continue;
      const mount = `${repository} ${device}`;
      mounts.set(mount, [...(mounts.get(mount) ?? []), { container, repository, rootfs }]);
    }
    const liveness = new Liveness(this.world);
    const dead: DeadContainer[] = [];
    for (const users of mounts.values()) {
      // More than one is asked: what a look finds dead may be a root file system that is being taken down.
      const answers = await Promise.all(users.slice(0, 2).map(({ rootfs, repository }) => liveness.answers(rootfs, repository)));
      if (answers.some((alive) => alive)) continue;
      for (const { container, repository } of users) {
        dead.push({ container, message: `the file system under the image of this container (repository ${repository}) is dead: all processes that held it had ended at once` });
      }
    }
    return dead;
  }

  #wake(): void {
    for (const end of [...this.#waiting]) end();
  }
}
