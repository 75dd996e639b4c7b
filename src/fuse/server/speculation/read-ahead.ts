/**
 * Read-ahead over files: sees that somebody reads one file after the other, and fetches the next ones.
 *
 *     a read that nobody expected ──► a track: which files come next? nothing is fetched
 *     `evidence` reads in that order ──► a stream: its window opens, and grows by one with each hit, up to limits.aheadMax
 *     most of the last files passed over ──► the window shrinks by a quarter; below WINDOW_MIN the stream ends
 *
 * A program that starts jumps about in large directories, and two neighbours are soon met by accident; so it takes several
 * in a row, and a stream that has never gone from one directory into the next looks only a little over its end. Streams
 * and tracks are bounded in number, the least recently used ends; one that meets the files of another ends too, so that
 * four readers of one tree are led by whoever is foremost.
 */
import { LRUCache } from 'lru-cache';
import { Missing } from '../../../repository/missing';
import type { ObjectNeed } from '../../../repository/missing';
import type { BackgroundFetcher } from './background-fetcher';
import type { Kind } from './ledger';
import type { SpeculationLimits } from './limits';
import type { Ahead, WalkCursor } from './walk-cursor';

const STREAMS_MAX = 32;
const TRACKS_MAX = 64;
const WINDOW_BEGIN = 4;
const WINDOW_MIN = 2;
/** Files that are known before they are fetched: reads of some are answered by the kernel itself, and never seen. */
const LOOK = 6;
/** What a read of something local counts: it may have been fetched for another reason. */
const LOCAL_EVIDENCE = 0.34;
/** Requests overtake each other: so many files may be read before those in front of them. */
const OVERTAKEN_MAX = 3;
/** Of the last so many files before a hit, this many fetched ones may be unread, or the window shrinks. */
const LATELY = 32;
const UNREAD_MAX = 16;
/** …once in so many hits. */
const SHRINK_EVERY = 16;
/** A reader side by side with others may be so far behind them; what is farther behind will not be read any more. */
const BEHIND_MAX = 1_024;
/** Files beyond the first directory's end, and beyond the second's; then no limit but the window. */
const OVERSHOOT = [4, 16];
/** Beyond the topmost directory that a reader has been in: that may be all that it walks. */
const OVERSHOOT_ABOVE = 16;
const SEEN_MAX = 4_096;

interface Upcoming {
  readonly ahead: Ahead;
  readonly order: number;
  readonly bytes: number;
  fetched: boolean;
}

/** A reader's way through the files, or what may become one. */
class Stream {
  readonly upcoming = new Map<string, Upcoming>();
  readonly unread = new Map<number, Upcoming>();
  /** Known and not yet fetched, in order. */
  waiting: Upcoming[] = [];
  evidence = 0;
  window = 0;
  crossings = 0;
  /** Directory of the newest hit, the number of that hit, and that of the last file known. */
  folder = 0;
  ups = 0;
  newest = 0;
  known = 0;
  bytes = 0;
  lastShrink = 0;
  hits = 0;
  /** The cursor's end is reached, or it met another stream. */
  ended = false;
  /** A nested catalog is being fetched. */
  waits = false;

  constructor(
    readonly cursor: WalkCursor,
    readonly kind: Kind,
    readonly image: string,
  ) {}

  get isTrack(): boolean {
    return this.window === 0;
  }
}

export interface ReadAheadWorld {
  readonly fetcher: Pick<BackgroundFetcher, 'fetch' | 'room' | 'isUnderWay'>;
  readonly limits: SpeculationLimits;
  /** Reads in order before anything is fetched. */
  readonly evidence: number;
  readonly isLocal: (need: ObjectNeed) => boolean;
  /** A local file that is about to be read. */
  readonly touch: (need: ObjectNeed) => void;
}

/** How a read that nobody expected is followed. */
export interface Follow {
  readonly cursor: WalkCursor;
  readonly kind: Kind;
  readonly image: string;
}

export class ReadAhead {
  readonly #world: ReadAheadWorld;
  readonly #owner = new Map<string, Stream>();
  /** In order of use. */
  readonly #streams = new Set<Stream>();
  readonly #tracks = new Set<Stream>();
  readonly #seen = new LRUCache<string, true>({ max: SEEN_MAX });

  constructor(world: ReadAheadWorld) {
    this.#world = world;
  }

  /** Streams that something is fetched for. */
  get streams(): number {
    return this.#streams.size;
  }

  /** A reader reads the part that `key` names, and `waits` for it to arrive. True when files are fetched ahead of this reader. */
  read(key: string, waits: boolean, follow: () => Follow | undefined): boolean {
    if (this.#seen.get(key) === true) return true;
    this.#seen.set(key, true);
    const stream = this.#owner.get(key);
    if (stream !== undefined && this.#hit(stream, key, waits)) return !stream.isTrack;
    const followed = follow();
    if (followed === undefined) return false;
    const track = new Stream(followed.cursor, followed.kind, followed.image);
    this.#tracks.add(track);
    if (this.#tracks.size > TRACKS_MAX) this.#end(first(this.#tracks)!);
    this.#look(track);
    return false;
  }

  /** There is room to fetch. */
  pump(): void {
    for (const stream of [...this.#streams].reverse()) {
      if (!this.#world.fetcher.room(0)) return;
      this.#fill(stream);
    }
  }

  /** False: no order is in this, and the track has ended. */
  #hit(stream: Stream, key: string, waits: boolean): boolean {
    const hit = stream.upcoming.get(key)!;
    if (stream.isTrack && !this.#isOrder(stream, hit, waits)) {
      this.#end(stream);
      return false;
    }
    this.#read(stream, hit);
    stream.hits += 1;
    stream.newest = Math.max(stream.newest, hit.order);
    stream.ups = Math.max(stream.ups, hit.ahead.ups);
    if (hit.ahead.folder !== stream.folder) {
      stream.folder = hit.ahead.folder;
      stream.crossings += 1;
    }
    if (stream.isTrack && stream.evidence >= this.#world.evidence) {
      stream.window = WINDOW_BEGIN;
      this.#tracks.delete(stream);
    } else if (!stream.isTrack) this.#resize(stream, hit);
    const all = stream.isTrack ? this.#tracks : this.#streams;
    all.delete(stream);
    if (stream.window === 0 || stream.window >= WINDOW_MIN) all.add(stream);
    else this.#end(stream);
    if (this.#streams.size > STREAMS_MAX) this.#end(first(this.#streams)!);
    this.#forget(stream);
    this.#look(stream);
    this.#fill(stream);
    return true;
  }

  /** Whether what lies before a hit has been read, or need not have been seen. */
  #isOrder(stream: Stream, hit: Upcoming, waits: boolean): boolean {
    let overtaken = 0;
    for (const one of stream.upcoming.values()) {
      if (one.order >= hit.order) break;
      if (!this.#world.isLocal(one.ahead.need)) overtaken += 1;
    }
    if (overtaken === 0) stream.evidence += waits ? 1 : LOCAL_EVIDENCE;
    return overtaken <= OVERTAKEN_MAX;
  }

  #resize(stream: Stream, hit: Upcoming): void {
    let unread = 0;
    for (let order = hit.order - LATELY; order < hit.order; order++) if (stream.unread.has(order)) unread += 1;
    if (unread <= UNREAD_MAX / 2) stream.window = Math.min(this.#world.limits.aheadMax, stream.window + 1);
    else if (unread > UNREAD_MAX && stream.hits - stream.lastShrink >= SHRINK_EVERY) {
      stream.lastShrink = stream.hits;
      stream.window = Math.floor(stream.window * 0.75);
    }
  }

  #read(stream: Stream, one: Upcoming): void {
    stream.upcoming.delete(one.ahead.key);
    stream.unread.delete(one.order);
    if (one.fetched) stream.bytes -= one.bytes;
    if (this.#owner.get(one.ahead.key) === stream) this.#owner.delete(one.ahead.key);
  }

  #forget(stream: Stream): void {
    for (const one of stream.upcoming.values()) {
      if (one.order >= stream.newest - BEHIND_MAX) return;
      this.#read(stream, one);
    }
  }

  /** Finds out what comes next, as far as the window and a little farther. */
  #look(stream: Stream): void {
    if (stream.ended || stream.waits) return;
    const upTo = stream.newest + stream.window + LOOK;
    while (stream.known < upTo) {
      let ahead: Ahead | undefined;
      try {
        ahead = stream.cursor.next();
      } catch (error) {
        // An odd catalog ends the guessing, never more.
        if (error instanceof Missing && !stream.isTrack) this.#await(stream, error.need);
        else stream.ended = true;
        return;
      }
      if (ahead === undefined) {
        stream.ended = true;
        return;
      }
      const other = this.#owner.get(ahead.key);
      if (other !== undefined && other !== stream) {
        if (!other.isTrack) {
          stream.ended = true;
          return;
        }
        this.#end(other);
      }
      const one: Upcoming = { ahead, order: ++stream.known, bytes: ahead.need.plainSize ?? 0, fetched: false };
      // Read a moment ago, by another reader.
      if (this.#seen.has(ahead.key)) continue;
      stream.upcoming.set(ahead.key, one);
      this.#owner.set(ahead.key, stream);
      stream.waiting.push(one);
    }
  }

  #fill(stream: Stream): void {
    if (stream.isTrack) return;
    const { fetcher, limits } = this.#world;
    let at = 0;
    for (; at < stream.waiting.length; at++) {
      const one = stream.waiting[at]!;
      if (one.order > stream.newest + stream.window) break;
      if (!stream.upcoming.has(one.ahead.key)) continue;
      if (this.#beyond(stream, one)) break;
      if (stream.bytes > 0 && stream.bytes + one.bytes > limits.aheadBytesMax) break;
      const underWay = fetcher.isUnderWay(one.ahead.need);
      // Before the disk is asked: who waits for room comes by at every read.
      if (!underWay && !fetcher.room(one.bytes)) break;
      if (this.#world.isLocal(one.ahead.need)) {
        this.#world.touch(one.ahead.need);
        continue;
      }
      if (!underWay) void fetcher.fetch(one.ahead.need, stream.kind, stream.image);
      one.fetched = true;
      stream.bytes += one.bytes;
      stream.unread.set(one.order, one);
    }
    stream.waiting = stream.waiting.slice(at);
  }

  /** Whether a file lies too far beyond the directory that is being read, for what is known of this reader. */
  #beyond(stream: Stream, one: Upcoming): boolean {
    const overshoot = one.ahead.folder === stream.folder ? undefined : OVERSHOOT[stream.crossings];
    if (overshoot === undefined && one.ahead.ups <= stream.ups) return false;
    let beyond = 0;
    for (const other of stream.unread.values()) if (overshoot === undefined ? other.ahead.ups > stream.ups : other.ahead.folder !== stream.folder) beyond += 1;
    return beyond >= (overshoot ?? OVERSHOOT_ABOVE);
  }

  /** A nested catalog on the way, which the reader will need as well. */
  #await(stream: Stream, need: ObjectNeed): void {
    stream.waits = true;
    void this.#world.fetcher.fetch(need, 'catalog', stream.image).then((arrived) => {
      stream.waits = false;
      if (!arrived) stream.ended = true;
      if (!this.#streams.has(stream)) return;
      this.#look(stream);
      this.#fill(stream);
    });
  }

  #end(stream: Stream): void {
    stream.ended = true;
    this.#tracks.delete(stream);
    this.#streams.delete(stream);
    for (const key of stream.upcoming.keys()) if (this.#owner.get(key) === stream) this.#owner.delete(key);
    stream.upcoming.clear();
    stream.unread.clear();
    stream.waiting = [];
  }
}

function first<T>(all: Iterable<T>): T | undefined {
  for (const one of all) return one;
  return undefined;
}
