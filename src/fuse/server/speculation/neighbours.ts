/**
 * Small directories: a program that has asked for two files of one (the locale's, a package's) will probably want the
 * rest, which costs little. How little is measured: guesses that nobody has used yet may be so much of what was asked for.
 */
import { LRUCache } from 'lru-cache';
import { isHidden, isRegular } from '../../../cvmfs/flags';
import { pathKey } from '../../../cvmfs/path-key';
import { filePlan } from '../../../repository/file-plan';
import type { ObjectNeed } from '../../../repository/missing';
import { folderKey } from './image-tree';
import type { Folder, ImageTree } from './image-tree';

const FOLDERS_MAX = 1_024;
/** Demanded files of a directory before the others are fetched. */
const ASKED = 2;
const ROWS_MAX = 48;
const FILE_BYTES_MAX = 64 << 10;
const FOLDER_BYTES_MAX = 256 << 10;

export class Neighbours {
  readonly #images: ImageTree;
  readonly #asked = new LRUCache<string, number>({ max: FOLDERS_MAX });

  constructor(images: ImageTree) {
    this.#images = images;
  }

  /** A reader waits for a file of `folder`: what else to fetch, of at most `creditBytes` in all. */
  asked(folder: Folder, creditBytes: number, isLocal: (need: ObjectNeed) => boolean): ObjectNeed[] {
    const key = folderKey(folder);
    const asked = (this.#asked.get(key) ?? 0) + 1;
    this.#asked.set(key, asked);
    if (asked !== ASKED) return [];
    const catalog = this.#images.catalog(folder);
    const page = catalog.childrenPage(pathKey(folder.path), 0, ROWS_MAX);
    if (!page.end) return [];
    const found: ObjectNeed[] = [];
    let bytes = 0;
    for (const entry of page.entries) {
      if (!isRegular(entry.flags) || isHidden(entry.flags) || entry.size === 0 || entry.size > FILE_BYTES_MAX) continue;
      const need = filePlan(catalog, folder.catalogText, entry).parts[0]?.need;
      if (need === undefined || isLocal(need)) continue;
      bytes += entry.size;
      found.push(need);
    }
    return bytes > Math.min(FOLDER_BYTES_MAX, creditBytes) ? [] : found;
  }
}
