/**
 * Records what the containers of an image read first (src/repository/start-profile.ts). Only what readers ask for comes
 * here, so nothing that was fetched ahead, completed or walked for somebody else is in it.
 *
 * The kernel asks for a file of a catalog, not for one of an image: several views that show the same catalog share its
 * files and their pages. Such a read counts for the one of these views that containers use; where they use more than one
 * it counts for none, and is left to the profile of the image's earlier version.
 */
import type { NodeId } from '../../../repository/node-id';
import type { Place } from '../../../repository/places';
import { PROFILE_FILES_MAX, PROFILE_PARTS_MAX } from '../../../repository/start-profile';
import type { ProfiledFile } from '../../../repository/start-profile';
import type { Whereabouts } from './whereabouts';

/** At the same time; beyond, an image goes without. */
const RECORDINGS_MAX = 64;
/** Plain bytes of one recording. */
const BYTES_MAX = 256 << 20;
/** Who uses which view is asked so often at most. */
const USED_MS = 500;

export interface RecorderWorld {
  readonly whereabouts: Whereabouts;
  /** Views that containers use. */
  readonly usedViews: () => ReadonlySet<string>;
  /** Milliseconds of a clock that is never set. */
  readonly now: () => number;
}

interface Recording {
  readonly view: string;
  /** With a slash at the end: below it is the image. */
  readonly prefix: string;
  readonly beganMs: number;
  readonly files: Map<string, { readonly atMs: number; readonly parts: Set<number> }>;
  bytes: number;
  readonly done: Promise<ProfiledFile[]>;
  end(): void;
}

export class StartRecorder {
  readonly #world: RecorderWorld;
  readonly #recordings = new Map<string, Recording>();
  /** Views by catalog and mount path, of the places up to `#seen`; kept only while something is recorded. */
  readonly #shownBy = new Map<string, Set<string>>();
  #seen = 0;
  #used: ReadonlySet<string> = new Set();
  #usedAtMs = -Infinity;

  constructor(world: RecorderWorld) {
    this.#world = world;
  }

  get busy(): boolean {
    return this.#recordings.size > 0;
  }

  /** Records for so long. A second recording of the same image is the first; null when there are too many. */
  record(view: string, pathInView: Buffer, forMs: number): Promise<ProfiledFile[]> | null {
    const prefix = `${pathInView.toString('latin1').replace(/\/+$/, '')}/`;
    const key = `${view}:${prefix}`;
    const running = this.#recordings.get(key);
    if (running !== undefined) return running.done;
    if (this.#recordings.size >= RECORDINGS_MAX) return null;
    let timer: NodeJS.Timeout | undefined;
    let end: () => void = () => undefined;
    const ended = new Promise<void>((resolve) => {
      end = resolve;
      timer = setTimeout(resolve, forMs);
    });
    const files: Recording['files'] = new Map();
    const done = ended.then(() => {
      clearTimeout(timer);
      this.#recordings.delete(key);
      if (this.#recordings.size === 0) this.#forget();
      return [...files].map(([path, { atMs, parts }]) => ({ path: Buffer.from(path, 'latin1'), atMs, parts: [...parts].sort((a, b) => a - b), unmet: 0 }));
    });
    // The places that are there already are attached for others.
    this.look();
    this.#recordings.set(key, { view, prefix, beganMs: this.#world.now(), files, bytes: 0, done, end });
    return done;
  }

  /** A reader has asked for a part of a file. */
  read(node: NodeId, part: number, bytes: number): void {
    if (!this.busy) return;
    this.look();
    const at = this.#world.whereabouts.file(node);
    if (at === undefined) return;
    const view = this.#viewOf(this.#shownBy.get(`${at.folder.catalogText} ${at.mountPath.toString('latin1')}`));
    if (view === undefined) return;
    this.#note(view, this.#world.whereabouts.pathInView(view, at.folder, at.mountPath, at.entry.name), part, bytes);
  }

  /** Catalogs that readers have entered since the last call; they are attached in the order in which that happened. */
  look(): void {
    const places = this.#world.whereabouts.places();
    for (; this.#seen < places.length; this.#seen++) {
      const place = places[this.#seen]!;
      if (!place.space.startsWith('view@')) continue;
      const key = `${place.catalogText} ${place.mountPath.toString('latin1')}`;
      const views = this.#shownBy.get(key);
      const view = place.space.slice('view@'.length);
      if (views === undefined) this.#shownBy.set(key, new Set([view]));
      else views.add(view);
      if (this.busy) this.#entered(view, place);
    }
  }

  #entered(view: string, place: Place): void {
    const top = this.#world.whereabouts.topMountPath(view);
    if (top !== undefined && place.mountPath.length > top.length) this.#note(view, place.mountPath.subarray(top.length).toString('latin1'), null, 0);
  }

  #viewOf(views: ReadonlySet<string> | undefined): string | undefined {
    if (views === undefined || views.size <= 1) return views?.values().next().value;
    const { now, usedViews } = this.#world;
    if (now() - this.#usedAtMs > USED_MS) {
      this.#used = usedViews();
      this.#usedAtMs = now();
    }
    const used = [...views].filter((view) => this.#used.has(view));
    return used.length === 1 ? used[0] : undefined;
  }

  #note(view: string, pathInView: string | undefined, part: number | null, bytes: number): void {
    if (pathInView === undefined) return;
    // An image inside of another one's directory is not the other's.
    const root = this.#world.whereabouts.nearestRoot(view, pathInView);
    for (const recording of this.#recordings.values()) {
      const { prefix, files } = recording;
      if (recording.view !== view || !pathInView.startsWith(prefix) || (root !== undefined && root.length > prefix.length - 1)) continue;
      const path = pathInView.slice(prefix.length);
      let file = files.get(path);
      if (file === undefined) files.set(path, (file = { atMs: Math.round(this.#world.now() - recording.beganMs), parts: new Set() }));
      if (part === null || file.parts.has(part) || file.parts.size >= PROFILE_PARTS_MAX) continue;
      file.parts.add(part);
      recording.bytes += bytes;
      if (files.size >= PROFILE_FILES_MAX || recording.bytes >= BYTES_MAX) recording.end();
    }
  }

  #forget(): void {
    this.#shownBy.clear();
    this.#seen = 0;
  }
}
