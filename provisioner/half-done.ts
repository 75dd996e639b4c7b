/**
 * What is found half-way: at the start, after a crash, and later, when something could not be removed at the first try.
 * A rootfs that was only intended is undone, since nobody got an answer for it; one on its way down is finished.
 */
import { Failure } from '../src/error';
import { eachOf } from './abort';
import type { World } from './context';
import type { Dismantler } from './dismantle';
import type { RwLock } from './rwlock';

export class HalfDone {
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #stopped = false;

  constructor(
    private readonly world: World,
    private readonly lock: RwLock,
    private readonly dismantler: Dismantler,
  ) {}

  /** At the start, before the first call is taken. Never throws for one of them: the next ones must get their turn. */
  async finish(): Promise<void> {
    const { state, logger, limits } = this.world;
    const { records, bad } = state.all();
    for (const row of bad) logger.error('a record makes no sense and is left as it is', { rootfs: row.uuid, container: row.container, reason: row.reason });
    const half = records.filter(({ state: { kind } }) => kind === 'intended' || kind === 'destroying');
    await eachOf(state.moveAll(half, { kind: 'destroying' }), limits.recoverParallel, async (record) => {
      logger.info(half.find(({ uuid }) => uuid === record.uuid)?.state.kind === 'intended' ? 'undoing a provision that was interrupted' : 'finishing a destroy that was interrupted', {
        container: record.container.join('/'),
        rootfs: record.uuid,
      });
      await this.#dismantle(record);
    });
  }

  /** Comes back to what is on its way down, again and again. */
  start(): void {
    this.#timer = setInterval(() => {
      this.#running ??= this.#retry().finally(() => (this.#running = undefined));
    }, this.world.limits.janitorMs).unref();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    await this.#running;
  }

  async #retry(): Promise<void> {
    const { records } = this.world.state.all();
    // The lock for each alone: with many that hang, a prune would wait for all of them, and destroys behind the prune.
    for (const record of records) if (record.state.kind === 'destroying' && !this.#stopped) await this.lock.read(() => this.#dismantle(record));
  }

  async #dismantle(record: Parameters<Dismantler['dismantle']>[0]): Promise<void> {
    try {
      await this.dismantler.dismantle(record);
    } catch (err) {
      this.world.metrics.removalFailures.inc();
      this.world.logger.warn('a rootfs could not be removed and is tried again', { container: record.container.join('/'), rootfs: record.uuid, err: Failure.from(err) });
    }
  }
}
