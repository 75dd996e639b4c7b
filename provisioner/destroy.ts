/**
 * Destroy: all root file systems of a container, nested containers first (spec 1.4). False when there is nothing.
 *
 * It waits for provisions in flight before it takes the lock, not while it holds it: a prune that queues in between would
 * wait for the destroy, the provision for the prune and the destroy for the provision.
 */
import * as fs from 'node:fs';
import { Failure } from '../src/error';
import type { ContainerId } from './container-id';
import { containerKey, isWithin } from './container-id';
import type { World } from './context';
import type { Dismantler } from './dismantle';
import type { Flights } from './flights';
import type { RwLock } from './rwlock';
import type { RootfsRecord } from './state/rootfs-record';

export class Destroy {
  readonly #running = new Map<string, Promise<boolean>>();

  constructor(
    private readonly world: World,
    private readonly lock: RwLock,
    private readonly flights: Flights<unknown>,
    private readonly dismantler: Dismantler,
  ) {}

  /** The container, or one that it is nested in, is being destroyed. */
  isUnderWay(key: string): boolean {
    return [...this.#running.keys()].some((ancestor) => isWithin(key, ancestor));
  }

  /** Concurrent calls join. Throws what kept a rootfs from being removed; it stays known and can be destroyed again. */
  run(id: ContainerId): Promise<boolean> {
    const key = containerKey(id);
    const ancestor = [...this.#running].find(([running]) => isWithin(key, running));
    if (ancestor !== undefined) {
      const [running, result] = ancestor;
      if (running === key) return result;
      const had = this.#exists(id, key);
      return result.then(() => had);
    }
    const nested = [...this.#running].filter(([running]) => isWithin(running, key)).map(([, result]) => result);
    const result = this.#destroy(id, key, nested).finally(() => this.#running.delete(key));
    this.#running.set(key, result);
    return result;
  }

  #exists(id: ContainerId, key: string): boolean {
    const { records, bad } = this.world.state.within(key);
    return records.length + bad.length + this.flights.within(key).length > 0 || fs.existsSync(this.world.layout.container(id));
  }

  async #destroy(id: ContainerId, key: string, nested: readonly Promise<boolean>[]): Promise<boolean> {
    this.world.step('destroy-accepted');
    await Promise.allSettled(nested);
    const ended = await this.flights.end(key, new Failure('CANCELLED', `container ${key} is being destroyed`));
    return this.lock.read(async () => {
      if (!this.#exists(id, key)) return ended > 0;
      await this.#takeDown(id, key);
      return true;
    });
  }

  async #takeDown(id: ContainerId, key: string): Promise<void> {
    const { state, layout, logger, metrics, step } = this.world;
    const { found, records } = await state.together(() => {
      const all = state.within(key);
      return { found: all, records: state.moveAll(all.records, { kind: 'destroying' }) };
    });
    step('destroy-intent-recorded');
    const depths = [...new Set(records.map(({ container }) => container.length))].sort((a, b) => b - a);
    for (const depth of depths) await this.#takeDownLevel(records.filter(({ container }) => container.length === depth));
    if (found.bad.length > 0) state.removeBad(found.bad);
    try {
      await this.dismantler.sweep(layout.container(id));
    } catch (err) {
      // As in Mesos: the root file systems are gone, what is left of the directory is tried again at the next recovery.
      metrics.removalFailures.inc();
      logger.warn('the directory of a destroyed container could not be removed', { container: key, err });
    }
    step('destroy-container-directory-removed');
  }

  async #takeDownLevel(records: readonly RootfsRecord[]): Promise<void> {
    const results = await Promise.allSettled(records.map((record) => this.dismantler.dismantle(record)));
    const failures = results.flatMap((result) => (result.status === 'rejected' ? [Failure.from(result.reason)] : []));
    if (failures.length === 0) return;
    this.world.metrics.removalFailures.add(failures.length);
    if (failures.length === 1) throw failures[0]!;
    throw new Failure(failures[0]!.code, failures.map((failure) => failure.message).join('\n'), { data: failures[0]!.data, cause: failures[0] });
  }
}
