/**
 * The files of a tree in the order in which find, tar, cp and rsync read them: entries as readdir gives them, a directory's
 * own where it stands, and after a directory's last entry what comes after that directory. It begins behind a given row.
 *
 * Synchronous over local catalogs; a nested catalog that is not local is thrown as `Missing`, and the cursor stays where
 * it is.
 */
import { isDirectory, isHidden, isNestedMountpoint, isBind, isRegular } from '../../../cvmfs/flags';
import { formatHash } from '../../../cvmfs/hash';
import { pathKey } from '../../../cvmfs/path-key';
import type { CatalogEntry } from '../../../cvmfs/catalog';
import { catalogNeed } from '../../../repository/catalog-set';
import { filePlan } from '../../../repository/file-plan';
import type { ObjectNeed } from '../../../repository/missing';
import type { Folder, ImageTree } from './image-tree';
import type { Whereabouts } from './whereabouts';

/** Rows of the first page, enough to see whether a reader reads in order; and of the others. */
const FIRST_ROWS = 12;
const ROWS = 128;
const DEPTH_MAX = 256;
/** Rows without a file that one step passes over. */
const STEP_ROWS_MAX = 4_096;

/** A file's part that may be read next. */
export interface Ahead {
  /** Of the node and the part: `<catalog>:<rowid>:<part>`. */
  readonly key: string;
  readonly need: ObjectNeed;
  /** The directory that it is in, another number for each; that of the row where the cursor began is 0. */
  readonly folder: number;
  /** How often the walk had left the topmost directory that it knew, upward. */
  readonly ups: number;
}

/** `part` of a file's objects; a nested catalog has the part `c`. */
export function aheadKey(catalogText: string, rowid: number, part: number | 'c'): string {
  return `${catalogText}:${rowid}:${part}`;
}

interface Frame {
  readonly folder: Folder;
  readonly mountPath: Buffer;
  readonly number: number;
  rows: readonly CatalogEntry[];
  at: number;
  after: number;
  end: boolean;
}

export type Walked = 'files' | 'catalogs';

export class WalkCursor {
  readonly #stack: Frame[] = [];
  readonly #pending: Ahead[] = [];
  #numbers = 0;
  #ups = 0;
  #rows = FIRST_ROWS;

  /** Begins after the row `after` of `folder`. */
  constructor(
    private readonly images: ImageTree,
    private readonly whereabouts: Whereabouts,
    private readonly walked: Walked,
    folder: Folder,
    mountPath: Buffer,
    after: number,
  ) {
    this.#push(folder, mountPath, after);
  }

  /** The parts of a file that has been begun, from `part` on. */
  begin(folder: Folder, entry: CatalogEntry, part: number): void {
    this.#parts(folder, entry, 0, part);
  }

  /** Undefined at the end, or when nothing was found within a bounded number of rows (`more` tells which). */
  next(): Ahead | undefined {
    for (let steps = 0; steps < STEP_ROWS_MAX; steps++) {
      const pending = this.#pending.shift();
      if (pending !== undefined) return pending;
      const frame = this.#stack[this.#stack.length - 1];
      if (frame === undefined) return undefined;
      if (frame.at >= frame.rows.length) {
        if (!frame.end) this.#page(frame);
        else if (!this.#leave(frame)) return undefined;
        continue;
      }
      const entry = frame.rows[frame.at]!;
      this.#visit(frame, entry);
      frame.at += 1;
    }
    return undefined;
  }

  get more(): boolean {
    return this.#stack.length > 0 || this.#pending.length > 0;
  }

  #push(folder: Folder, mountPath: Buffer, after: number): void {
    this.#stack.push({ folder, mountPath, number: this.#numbers++, rows: [], at: 0, after, end: false });
  }

  #page(frame: Frame): void {
    const page = this.images.catalog(frame.folder).childrenPage(pathKey(frame.folder.path), frame.after, this.#rows);
    this.#rows = ROWS;
    frame.rows = page.entries;
    frame.at = 0;
    frame.after = page.lastRowid;
    frame.end = page.end;
  }

  #visit(frame: Frame, entry: CatalogEntry): void {
    if (isHidden(entry.flags)) return;
    if (isRegular(entry.flags)) {
      if (this.walked === 'files') this.#parts(frame.folder, entry, frame.number, 0);
      return;
    }
    if (!isDirectory(entry.flags) || this.#stack.length >= DEPTH_MAX) return;
    const nested = isNestedMountpoint(entry.flags) || isBind(entry.flags);
    if (nested && this.walked === 'catalogs') {
      const path = Buffer.concat([frame.folder.path, SLASH, entry.name]);
      const found = this.images.catalog(frame.folder).nestedAt(path);
      if (found !== undefined) this.#pending.push({ key: aheadKey(formatHash(found.hash), 0, 'c'), need: catalogNeed(found.hash, found.size || null, path), folder: frame.number, ups: this.#ups });
      return;
    }
    const below = this.images.below(frame.folder, entry);
    if (below === undefined) return;
    this.#push(below, nested ? Buffer.concat([frame.mountPath, frame.folder.path.subarray(this.images.catalog(frame.folder).rootPrefix.length), SLASH, entry.name]) : frame.mountPath, 0);
  }

  #parts(folder: Folder, entry: CatalogEntry, number: number, from: number): void {
    const catalog = this.images.catalog(folder);
    const { parts } = filePlan(catalog, folder.catalogText, entry);
    // The kernel knows the names of a group of hard links as one node.
    const rowid = entry.hardlinkGroup === 0 ? entry.rowid : (catalog.lowestRowidOfGroup(entry.hardlinkGroup, entry.parent) ?? entry.rowid);
    // Who reads a large file from its beginning to its end need not want the next file: it counts as a directory of its own.
    const own = parts.length > 1 ? this.#numbers++ : number;
    for (let i = from; i < parts.length; i++) this.#pending.push({ key: aheadKey(folder.catalogText, rowid, i), need: parts[i]!.need, folder: own, ups: this.#ups });
  }

  /** Goes on behind the directory that is finished; false at the end of everything. */
  #leave(frame: Frame): boolean {
    this.#stack.pop();
    if (this.#stack.length > 0) return true;
    this.#ups += 1;
    const catalog = this.images.catalog(frame.folder);
    const { rootPrefix } = catalog;
    if (!frame.folder.path.equals(rootPrefix)) {
      const row = catalog.byKey(pathKey(frame.folder.path));
      const slash = frame.folder.path.lastIndexOf(0x2f);
      if (row === undefined || slash < 0) return false;
      this.#push({ ...frame.folder, path: frame.folder.path.subarray(0, slash) }, frame.mountPath, row.rowid);
      return true;
    }
    const parent = this.whereabouts.parent(frame.folder, frame.mountPath);
    if (parent === undefined) return false;
    this.#push(parent.folder, parent.mountPath, parent.entry.rowid);
    return true;
  }
}

const SLASH = Buffer.from('/');
