/**
 * What the rooms above need of a repository: a walk over its catalog rows and small reads, in one fixed revision at a
 * time. Two things implement it: the repository itself (in the process that has the catalogs) and the client of a file
 * system server's control socket, so that resolving an image is the same code on both sides.
 *
 * Paths are bytes, absolute from the repository's root, `/` for the root itself.
 */

import type { ProfiledFile } from './start-profile';

/** What a row is (spec 4.3). */
export type EntryType = 'directory' | 'file' | 'symlink' | 'fifo' | 'socket' | 'character-device' | 'block-device';

/** One revision of the tree, which all calls that carry it are answered from. */
export interface Snapshot {
  /** Root catalog hash, hex with algorithm suffix. */
  readonly rootHash: string;
  readonly revision: number;
}

/** The row that a walk ended at. */
export interface WalkedEntry {
  /** The path with no symbolic link, `.` or `..` left in it. */
  readonly path: Buffer;
  readonly type: EntryType;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of a file, or of a link's raw target. */
  readonly size: number;
  /** Unix seconds. */
  readonly mtime: number;
  /** Raw target of a symbolic link (only met with `followLast: false`). */
  readonly target?: Buffer;
  /** The deepest catalog that holds the entry (for the mount point of a nested catalog: that nested catalog). */
  readonly catalog: { readonly hash: string; readonly path: Buffer };
}

export interface WalkOptions {
  /** Follow a link that is the last component; default true. */
  readonly followLast?: boolean;
}

export interface RepositoryReader {
  readonly fqrn: string;
  /** The newest revision that this client has accepted. */
  snapshot(): Promise<Snapshot>;
  /**
   * Resolves a path inside the repository by our own walk: absolute link targets are relative to the repository root,
   * `..` is clamped there, at most 40 links are followed, variant links (`$(…)`) are refused.
   * Errors: NOT_FOUND (names the first missing component), NOT_A_DIRECTORY, LINK_LOOP, FAILED_PRECONDITION (variant
   * link), and what fetching a catalog may throw.
   */
  walk(snapshot: Snapshot, path: Buffer, options?: WalkOptions): Promise<WalkedEntry>;
  /** Children of a directory in row order, hidden ones left out; RESOURCE_EXHAUSTED beyond `maxEntries`. */
  list(snapshot: Snapshot, path: Buffer, maxEntries: number): Promise<Array<{ name: Buffer; type: EntryType }>>;
  /** A whole regular file; RESOURCE_EXHAUSTED when it is larger than `maxBytes`. Links are followed as in `walk`. */
  readFile(snapshot: Snapshot, path: Buffer, maxBytes: number): Promise<Buffer>;
}

/** Where a pinned view shows a directory (docs/architecture.md, pinned views). */
export interface ViewPath {
  /** Hash of the view's catalog, hex with algorithm suffix. */
  readonly view: string;
  /** Path of the directory inside the view, absolute, `/` when the catalog is the image's own. */
  readonly pathInView: Buffer;
  /** Path below the mount point, without a leading slash: `.cvmfs-view/<hash>[/<path>]`. */
  readonly pathInMount: Buffer;
}

/** How an image is fetched. */
export interface PrefetchOrder {
  /** Pin everything under this name, `image/…`. */
  readonly pin?: string;
  /** Plain bytes; default no limit. */
  readonly bytesPerSecond?: number;
  /** Do not begin when the cache cannot hold it beside what is pinned (NO_SPACE). */
  readonly mustFit?: boolean;
}

/** A mounted repository: the reader, and the views that only its file system server can make. */
export interface MountedRepository extends RepositoryReader {
  readonly mountpoint: string;
  /** Device number of the mount as mountinfo prints it, `major:minor`. */
  readonly device: string;
  /**
   * Makes a directory reachable for ever through a pinned view. All catalogs from the view's root to the directory are
   * local and pinned when this returns. `path` must be a directory and hold no symbolic link.
   */
  makeView(snapshot: Snapshot, path: Buffer): Promise<ViewPath>;
  /** Makes a view again from its catalog hash, after a reboot or on a new mount; the same checks and effects. */
  restoreView(view: string, pathInView: Buffer): Promise<ViewPath>;
  /** Says that `holder` (a rootfs) uses the view; its pins stay while anybody holds it. Idempotent. */
  holdView(view: string, holder: string): Promise<void>;
  /** The opposite; the view itself stays as long as the mount lives. Idempotent. */
  releaseView(view: string, holder: string): Promise<void>;
  /** Fetches every object below the directory into the cache; with `pin` (`image/…`) they stay until `unpin`. Resolves to objects and bytes. */
  prefetch(view: string, pathInView: Buffer, options?: PrefetchOrder): Promise<{ objects: number; bytes: number }>;
  /** Lets go what `prefetch` pinned under this name, and ends it when it is under way. Idempotent. */
  unpin(pin: string): Promise<void>;
  /**
   * Resolves after `forMs` to what containers on this directory have read since, in order; null where nothing is recorded
   * (speculation is off, or too much is recorded already). Lost when the file system server is replaced meanwhile.
   */
  recordStart(view: string, pathInView: Buffer, forMs: number): Promise<ProfiledFile[] | null>;
  /** Begins to fetch what containers on this directory will read; resolves at once. */
  replayStart(view: string, pathInView: Buffer, files: readonly ProfiledFile[]): Promise<void>;
}
