/**
 * What is fetched before anybody asks for it, from what has been asked for so far:
 *
 *     demanded(node, need) ─┬─► Closure      a program's libraries, a script's interpreter, a module's imports
 *     reads in the ReadLog ─┤   Neighbours   the rest of a small directory
 *                           ├─► ReadAhead    the next files, chunks and nested catalogs of whoever reads in order
 *     a start profile ──────┤   StartReplay  what containers of the image read first, once before
 *                                   │
 *                            BackgroundFetcher ──► ObjectStore, behind everything that is demanded
 *                                   │
 *                                 Ledger           what became of it
 *
 * Nothing here may fail a reader or make it wait: every guess is bounded, and every error ends only the guessing.
 */
import { DiskAhead } from '../../../cache/disk-ahead';
import { objectName } from '../../../cache/object-name';
import { isBind, isNestedMountpoint } from '../../../cvmfs/flags';
import { formatHash } from '../../../cvmfs/hash';
import type { ContentHash } from '../../../cvmfs/hash';
import { Failure } from '../../../error';
import type { Logger } from '../../../log/logger';
import { catalogNeed } from '../../../repository/catalog-set';
import type { ObjectNeed } from '../../../repository/missing';
import type { NodeId } from '../../../repository/node-id';
import type { ObjectStore } from '../../../repository/object-store';
import type { ProfiledFile } from '../../../repository/start-profile';
import type { ThreadTree } from '../thread-tree';
import { BackgroundFetcher } from './background-fetcher';
import { Closure } from './closure';
import { ImageTree } from './image-tree';
import { KINDS, Ledger } from './ledger';
import type { Kind, Tally } from './ledger';
import type { SpeculationLimits } from './limits';
import { Neighbours } from './neighbours';
import { ReadAhead } from './read-ahead';
import type { Follow } from './read-ahead';
import { ReadLog } from './read-log';
import { aheadKey, WalkCursor } from './walk-cursor';
import { StartRecorder } from './start-recorder';
import { StartReplay } from './start-replay';
import { Whereabouts } from './whereabouts';
import type { FileAt } from './whereabouts';

/** Reads answered by workers are looked at so often: a stream's window is far longer than what is read meanwhile. */
const LOOK_MS = 2;
const FILE_EVIDENCE = 3;
const CATALOG_EVIDENCE = 2;
/** Of the bytes that readers asked for, how many may be neighbours that nobody has used. */
const CREDIT = 0.1;
/** Looks for catalogs that are entered without the network go on so long after the last one. */
const WATCH_MS = 1_000;
const EMPTY = Buffer.alloc(0);

export interface SpeculationWorld {
  readonly thread: ThreadTree;
  readonly store: ObjectStore;
  readonly limits: SpeculationLimits;
  readonly log: Logger;
  /** Views that containers use. */
  readonly usedViews: () => ReadonlySet<string>;
  /** Milliseconds of a clock that is never set. */
  readonly now: () => number;
}

export interface SpeculationStatus {
  readonly underWay: number;
  readonly streams: number;
  readonly kinds: Readonly<Record<Kind, Tally>>;
  /** By image: `<view>:<path in the view>`, `live:<path>`. */
  readonly images: Readonly<Record<string, Tally>>;
}

/** Plain bytes and objects of everything that was fetched ahead. */
export function total(tallies: Iterable<Tally>): Tally {
  const sum = { fetchedObjects: 0, fetchedBytes: 0, usedObjects: 0, usedBytes: 0, wastedObjects: 0, wastedBytes: 0 };
  for (const tally of tallies) for (const key of Object.keys(sum) as (keyof Tally)[]) sum[key] += tally[key];
  return sum;
}

export class Speculation {
  readonly readLog = new ReadLog();
  readonly ledger: Ledger;
  readonly fetcher: BackgroundFetcher;
  readonly #world: SpeculationWorld;
  readonly #images: ImageTree;
  readonly #whereabouts: Whereabouts;
  readonly #recorder: StartRecorder;
  readonly #replay: StartReplay;
  readonly #closure: Closure;
  readonly #neighbours: Neighbours;
  readonly #files: ReadAhead;
  readonly #catalogs: ReadAhead;
  #looking = false;
  #demandedBytes = 0;
  #placesSeen = 0;
  #watching = false;
  #watchUntilMs = 0;

  constructor(world: SpeculationWorld) {
    this.#world = world;
    const { thread, store, limits, log, now } = world;
    this.ledger = new Ledger(now);
    this.fetcher = new BackgroundFetcher({ store, ledger: this.ledger, limits, log, now });
    this.#images = new ImageTree(thread.catalogs);
    this.#whereabouts = new Whereabouts(thread.tree, thread.places, this.#images);
    this.#recorder = new StartRecorder({ whereabouts: this.#whereabouts, usedViews: world.usedViews, now });
    this.#replay = new StartReplay({ images: this.#images, fetcher: this.fetcher, isLocal: (need) => store.isLocal(need), now });
    this.#closure = new Closure({ images: this.#images, store, fetcher: this.fetcher });
    this.#neighbours = new Neighbours(this.#images);
    const isLocal = (need: ObjectNeed): boolean => store.isLocal(need);
    const diskAhead = new DiskAhead();
    const readAhead = { fetcher: this.fetcher, limits, isLocal, touch: (need: ObjectNeed) => diskAhead.touch(store.file(need)) };
    this.#files = new ReadAhead({ ...readAhead, evidence: FILE_EVIDENCE });
    this.#catalogs = new ReadAhead({ ...readAhead, evidence: CATALOG_EVIDENCE });
    this.fetcher.hasRoom = () => {
      this.#guess(() => {
        this.#files.pump();
        this.#catalogs.pump();
      });
    };
  }

  /** Where a container's root is; what lies below is resolved as its programs do. */
  noteRoot(view: string, pathInView: Buffer): void {
    this.#whereabouts.noteRoot(view, pathInView);
  }

  /** What containers of an image read from now on, for so long; null when too much is recorded already. */
  async record(view: string, pathInView: Buffer, forMs: number): Promise<ProfiledFile[] | null> {
    // What has been read before is not part of it.
    this.look();
    return this.#recorder.record(view, pathInView, forMs);
  }

  /** Fetches what a start profile names, below the directory where the image begins. Never throws. */
  async replay(view: string, pathInView: Buffer, top: () => Promise<{ readonly catalog: ContentHash; readonly path: Buffer }>, files: readonly ProfiledFile[]): Promise<void> {
    try {
      const { catalog, path } = await top();
      await this.#replay.run({ catalog, catalogText: formatHash(catalog), path }, files, `${view}:${pathInView.toString('latin1')}`);
    } catch (error) {
      this.#world.log.debug('a start profile could not be replayed', { view, error: Failure.from(error) });
    } finally {
      this.#world.thread.catalogs.closeRetired();
    }
  }

  /** A reader waits for `need` of `node`, which `arrival` brings. */
  demanded(node: NodeId, need: ObjectNeed, arrival: Promise<void>): void {
    this.look();
    this.fetcher.demanded(objectName(need));
    this.#demandedBytes += need.plainSize ?? 0;
    this.#guess(() => {
      if (need.kind === 'catalog') return this.#catalogDemanded(node, need);
      const part = this.#partOf(node, need);
      if (part === undefined) return;
      const expected = this.#readPart(node, part, need.plainSize ?? 0, true);
      // Who reads everything there is reads programs too, and does not start them.
      if (expected) return;
      this.#neighboursOf(node);
      arrival.then(
        () => this.#guess(() => this.#arrived(node)),
        () => undefined,
      );
    });
  }

  /** The main thread has answered a read, perhaps of what came while the request was on its way to it. */
  answered(node: NodeId, offset: number): void {
    this.look();
    this.#guess(() => this.#readLocally(node, offset));
  }

  /** A worker has written into the read log. */
  woken(): void {
    if (this.#looking) return;
    this.#looking = true;
    setTimeout(() => {
      this.#looking = false;
      this.look();
    }, LOOK_MS).unref();
  }

  /** Takes what workers have answered by themselves. */
  look(): void {
    for (const { index, rowid, offset } of this.readLog.take()) this.#guess(() => this.#readLocally({ index, rowid }, offset));
    this.#guess(() => this.#lookAtPlaces());
    if (this.#recorder.busy) this.#guess(() => this.#recorder.look());
  }

  status(): SpeculationStatus {
    this.look();
    return { underWay: this.fetcher.underWay, streams: this.#files.streams + this.#catalogs.streams, kinds: this.ledger.kinds(), images: Object.fromEntries(this.ledger.images()) };
  }

  /** No guess may hurt: a hostile catalog, a full table, a file that vanished. */
  #guess(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#world.log.debug('a guess went wrong', { error: Failure.from(error) });
    }
  }

  #partOf(node: NodeId, need: ObjectNeed): number | undefined {
    const { parts } = this.#world.thread.tree.filePlan(node);
    const at = parts.findIndex((part) => part.need === need);
    return at >= 0 ? at : undefined;
  }

  #readLocally(node: NodeId, offset: number): void {
    const { parts } = this.#world.thread.tree.filePlan(node);
    let at = 0;
    // A part is long: what a worker answers begins in one and ends in the next at most.
    for (let low = 0, high = parts.length - 1; low <= high; ) {
      const middle = (low + high) >>> 1;
      if (parts[middle]!.offset <= offset) {
        at = middle;
        low = middle + 1;
      } else high = middle - 1;
    }
    const part = parts[at];
    if (part === undefined) return;
    // It may have been seen on the disk before this thread knows that it has arrived.
    this.fetcher.demanded(objectName(part.need));
    const expected = this.#readPart(node, at, part.size, false);
    if (!expected && at === 0) this.#arrived(node);
  }

  #readPart(node: NodeId, part: number, bytes: number, waits: boolean): boolean {
    this.#recorder.read(node, part, bytes);
    const place = this.#world.thread.places.get(node.index);
    if (place === undefined) return false;
    return this.#files.read(aheadKey(place.catalogText, node.rowid, part), waits, () => this.#follow(node, part));
  }

  #follow(node: NodeId, part: number): Follow | undefined {
    const at = this.#whereabouts.file(node);
    if (at === undefined) return undefined;
    const cursor = new WalkCursor(this.#images, this.#whereabouts, 'files', at.folder, at.mountPath, at.entry.rowid);
    cursor.begin(at.folder, at.entry, part + 1);
    return { cursor, kind: 'walk', image: this.#labelOf(at) };
  }

  #labelOf(at: FileAt): string {
    try {
      return this.#whereabouts.image(at).label;
    } catch {
      // Whatever is not local there is no reason to fetch it.
      return 'other:';
    }
  }

  #arrived(node: NodeId): void {
    const at = this.#whereabouts.file(node);
    if (at === undefined) return;
    const { root, label } = this.#whereabouts.image(at);
    if (root !== null) void this.#closure.follow({ folder: at.folder, entry: at.entry, root, label });
  }

  #neighboursOf(node: NodeId): void {
    const at = this.#whereabouts.file(node);
    if (at === undefined) return;
    const sum = total(KINDS.map((kind) => this.ledger.kinds()[kind]));
    const credit = this.#demandedBytes * CREDIT - (sum.fetchedBytes - sum.usedBytes);
    const image = this.#labelOf(at);
    for (const need of this.#neighbours.asked(at.folder, credit, (one) => this.#world.store.isLocal(one))) void this.fetcher.fetch(need, 'neighbour', image);
  }

  /** A nested catalog is entered; `node` is its mount point. */
  #catalogDemanded(node: NodeId, need: ObjectNeed): void {
    this.#placesSeen = this.#whereabouts.places().length;
    this.#catalogs.read(aheadKey(formatHash(need.hash), 0, 'c'), true, () => {
      const at = this.#whereabouts.file(node);
      if (at === undefined || !(isNestedMountpoint(at.entry.flags) || isBind(at.entry.flags))) return undefined;
      return { cursor: new WalkCursor(this.#images, this.#whereabouts, 'catalogs', at.folder, at.mountPath, at.entry.rowid), kind: 'catalog', image: this.#labelOf(at) };
    });
    this.#watchPlaces();
  }

  /** Who enters a nested catalog that is local attaches it, and nobody is told: so while some are fetched ahead, look. */
  #watchPlaces(): void {
    this.#watchUntilMs = this.#world.now() + WATCH_MS;
    if (this.#watching || this.#catalogs.streams === 0) return;
    this.#watching = true;
    const again = (): void => {
      this.#guess(() => this.#lookAtPlaces());
      if (this.#world.now() < this.#watchUntilMs) setTimeout(again, LOOK_MS).unref();
      else this.#watching = false;
    };
    again();
  }

  #lookAtPlaces(): void {
    const places = this.#whereabouts.places();
    for (; this.#placesSeen < places.length; this.#placesSeen++) {
      const { space, catalog, catalogText } = places[this.#placesSeen]!;
      if (space === 'files') continue;
      this.fetcher.demanded(objectName(catalogNeed(catalog, null, EMPTY)));
      if (this.#catalogs.read(aheadKey(catalogText, 0, 'c'), false, () => undefined)) this.#watchUntilMs = this.#world.now() + WATCH_MS;
    }
  }
}
