/**
 * Whether somebody still serves the file system under a root file system. The mount table does not tell: a mount whose
 * keeper, server and spare died at one instant stands in it as before, and answers ENOTCONN for ever.
 *
 * Asked from a helper process, since who asks may wait: a server that is being started answers when it runs. Only a clear
 * no counts. Of a repository that does not answer in time no second root file system is asked about: each question would
 * hold up one more helper, and no container is lost because its server is slow.
 */
import { Failure } from '../src/error';
import type { World } from './context';

export class Liveness {
  readonly #silent = new Set<string>();
  /** One question at a time for each repository. */
  readonly #last = new Map<string, Promise<unknown>>();

  constructor(private readonly world: Pick<World, 'helpers' | 'limits' | 'logger' | 'newUuid'>) {}

  /** False when nobody will ever answer for it again. */
  answers(rootfs: string, repository: string): Promise<boolean> {
    const next = (this.#last.get(repository) ?? Promise.resolve()).then(() => this.#ask(rootfs, repository));
    this.#last.set(repository, next);
    return next;
  }

  async #ask(rootfs: string, repository: string): Promise<boolean> {
    const { helpers, limits, logger, newUuid } = this.world;
    if (this.#silent.has(repository)) return true;
    try {
      // A new name each time: that an old one is not there is remembered by the kernel.
      return (await helpers.run({ kind: 'look', target: rootfs, name: `.mesos-cvmfs-${newUuid()}` }, limits.lookTimeoutMs)) === 1;
    } catch (err) {
      this.#silent.add(repository);
      logger.warn('it is not known whether root file systems are served', { repository, rootfs, err: Failure.from(err) });
      return true;
    }
  }
}
