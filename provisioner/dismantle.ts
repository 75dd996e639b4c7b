/** Takes one rootfs down: the mount, its directories, its row. The same way for destroy, undo and recovery. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { World } from './context';
import type { Layout } from './layout';
import { isBelow } from '../src/native/mountinfo';
import type { Releases } from './releases';
import { removeTree } from './remove-tree';
import type { RootfsRecord } from './state/rootfs-record';

/** Whether the directory is gone, because it was not there or was empty; nothing behind a mount is touched. */
function removedEmpty(dir: string): boolean {
  try {
    fs.rmdirSync(dir);
    return true;
  } catch (err) {
    return (err as NodeJS.ErrnoException).code === 'ENOENT';
  }
}

/** Removes the directories above `dir` that are empty now, up to `<root>/containers`; synchronous, so that no mkdir comes in between. */
export function removeEmptyParents(layout: Layout, dir: string): void {
  for (let at = path.dirname(dir); at.startsWith(`${layout.containers}/`); at = path.dirname(at)) {
    if (!removedEmpty(at)) return;
  }
}

export class Dismantler {
  readonly #running = new Map<string, Promise<void>>();

  constructor(
    private readonly world: World,
    private readonly releases: Releases,
  ) {}

  /** `record` must be in the state `destroying`. A second call for the same rootfs joins the first. */
  dismantle(record: RootfsRecord): Promise<void> {
    let running = this.#running.get(record.uuid);
    if (running === undefined) {
      running = this.#dismantle(record).finally(() => this.#running.delete(record.uuid));
      this.#running.set(record.uuid, running);
    }
    return running;
  }

  async #dismantle(record: RootfsRecord): Promise<void> {
    const { helpers, backends, layout, state, limits, step } = this.world;
    const target = layout.rootfs(record.container, record.backend, record.uuid);
    await helpers.run({ kind: 'unmount', target }, limits.mountTimeoutMs);
    step('destroy-unmounted');
    const directories = backends[record.backend].directories(record);
    for (const dir of directories) await removeTree(dir);
    for (const dir of directories) removeEmptyParents(layout, dir);
    step('destroy-directories-removed');
    // Last, since until now a crash must find the row that says what to finish.
    await state.together(() => state.remove(record));
    step('destroy-record-removed');
    this.releases.kick();
  }

  /** Unmounts and removes whatever lies in a directory below `<root>/containers` although no row speaks of it. */
  async sweep(dir: string): Promise<void> {
    const { helpers, readMountinfo, limits, layout } = this.world;
    // Mostly nothing is left. The mount table of a busy host has thousands of lines: it is read only when something is.
    if (removedEmpty(dir)) return removeEmptyParents(layout, dir);
    const below = readMountinfo()
      .filter((entry) => isBelow(entry.mountpoint, dir))
      .sort((a, b) => b.mountpoint.length - a.mountpoint.length);
    for (const { mountpoint } of below) await helpers.run({ kind: 'unmount', target: mountpoint }, limits.mountTimeoutMs);
    await removeTree(dir);
    removeEmptyParents(layout, dir);
  }
}
