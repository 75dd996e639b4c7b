/**
 * Fetches what a start profile names, in its order and many at once, while the container that will ask for it is still
 * being made. A profile may come from another host, from an earlier version of the image, or from somebody who lies: so
 * its paths are looked up row by row without following any link, what is not there is passed over, and its bytes are
 * bounded. Whatever goes wrong ends only this.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { isBind, isNestedMountpoint, isRegular } from '../../../cvmfs/flags';
import { filePlan } from '../../../repository/file-plan';
import { Missing } from '../../../repository/missing';
import type { ObjectNeed } from '../../../repository/missing';
import type { ProfiledFile } from '../../../repository/start-profile';
import type { BackgroundFetcher } from './background-fetcher';
import { components } from './image-tree';
import type { Folder, ImageTree } from './image-tree';

/** Plain bytes of one replay. */
const BYTES_MAX = 256 << 20;
/** Catalogs inside catalogs that one replay goes down into. */
const LEVELS_MAX = 16;
const AT_ONCE_MAX = 256;
/** Rows looked up before others on this thread get their turn. */
const ROWS_A_TURN = 32;
/** Fetches in a row that bring nothing: the network is away. */
const VAIN_MAX = 16;
/** The same image is not looked through again so soon: containers come by the hundred. */
const AGAIN_MS = 5_000;
const DONE_MAX = 1_024;

export interface ReplayWorld {
  readonly images: ImageTree;
  readonly fetcher: BackgroundFetcher;
  readonly isLocal: (need: ObjectNeed) => boolean;
  readonly now: () => number;
}

export class StartReplay {
  readonly #world: ReplayWorld;
  /** When each image's replay ended; Infinity while it runs. */
  readonly #ended = new Map<string, number>();

  constructor(world: ReplayWorld) {
    this.#world = world;
  }

  /** `label`: the image's in the ledger. Resolves when everything was tried. */
  async run(top: Folder, files: readonly ProfiledFile[], label: string): Promise<void> {
    const ended = this.#ended.get(label);
    if (ended !== undefined && this.#world.now() - ended < AGAIN_MS) return;
    this.#ended.delete(label);
    this.#ended.set(label, Infinity);
    if (this.#ended.size > DONE_MAX) this.#ended.delete(this.#ended.keys().next().value!);
    try {
      await this.#run(top, files, label);
    } finally {
      this.#ended.set(label, this.#world.now());
    }
  }

  async #run(top: Folder, files: readonly ProfiledFile[], label: string): Promise<void> {
    const { fetcher, isLocal } = this.#world;
    const flying = new Set<Promise<unknown>>();
    let left = BYTES_MAX;
    let vain = 0;
    let waiting = files;
    for (let level = 0; level < LEVELS_MAX && waiting.length > 0; level++) {
      const found: ObjectNeed[] = [];
      const later: ProfiledFile[] = [];
      const catalogs = new Map<string, Promise<boolean>>();
      for (const [at, file] of waiting.entries()) {
        if (at % ROWS_A_TURN === ROWS_A_TURN - 1) await nextTurn();
        try {
          found.push(...this.#needs(top, file));
        } catch (error) {
          if (!(error instanceof Missing)) continue;
          // On its way at once: what lies in it comes in the next round.
          if (!catalogs.has(error.need.what)) catalogs.set(error.need.what, fetcher.fetch(error.need, 'profile', label));
          later.push(file);
        }
      }
      for (const need of found) {
        if (vain >= VAIN_MAX || left <= 0) return;
        if (isLocal(need)) continue;
        left -= need.plainSize ?? 0;
        const one: Promise<unknown> = fetcher.fetch(need, 'profile', label).then((here) => {
          vain = here ? 0 : vain + 1;
          flying.delete(one);
        });
        flying.add(one);
        if (flying.size >= AT_ONCE_MAX) await Promise.race(flying);
      }
      const arrived = await Promise.all(catalogs.values());
      waiting = arrived.includes(true) ? later : [];
    }
    await Promise.all(flying);
  }

  #needs(top: Folder, { path, parts }: ProfiledFile): ObjectNeed[] {
    const { images } = this.#world;
    const names = components(path.toString('latin1'));
    let folder = top;
    for (const [at, name] of names.entries()) {
      const entry = images.child(folder, name);
      if (entry === undefined) return [];
      if (at < names.length - 1) {
        const below = images.below(folder, entry);
        if (below === undefined) return [];
        folder = below;
        continue;
      }
      // The catalog that begins here is what is wanted, and looking into it fetches it.
      if (isNestedMountpoint(entry.flags) || isBind(entry.flags)) images.below(folder, entry);
      if (!isRegular(entry.flags)) return [];
      const plan = filePlan(images.catalog(folder), folder.catalogText, entry).parts;
      return parts.flatMap((part) => plan[part]?.need ?? []);
    }
    return [];
  }
}
