/**
 * Paths as a program in the container means them: from the image's root, which is some directory of the repository, with
 * absolute links leading to that root again. Synchronous over local catalogs, like the tree; what is not local is thrown as
 * `Missing`. Everything that it finds is only a guess of what will be asked for, so what is odd is simply not found.
 */
import type { Catalog, CatalogEntry } from '../../../cvmfs/catalog';
import { isBind, isDirectory, isNestedMountpoint, isRegular, isSymlink } from '../../../cvmfs/flags';
import { formatHash } from '../../../cvmfs/hash';
import type { ContentHash } from '../../../cvmfs/hash';
import { pathKey } from '../../../cvmfs/path-key';
import { hasVariables } from '../../../cvmfs/variant-link';
import type { CatalogSet } from '../../../repository/catalog-set';

const LINKS_MAX = 16;
const COMPONENTS_MAX = 256;
const SLASH = Buffer.from('/');
const EMPTY = Buffer.alloc(0);

/** A directory: the catalog that holds its children, and its path inside that catalog. */
export interface Folder {
  readonly catalog: ContentHash;
  readonly catalogText: string;
  readonly path: Buffer;
}

export interface FoundFile {
  /** The directory that the row is in. */
  readonly folder: Folder;
  readonly entry: CatalogEntry;
}

export function folderKey(folder: Folder): string {
  return `${folder.catalogText}${folder.path.toString('latin1')}`;
}

export function components(path: string): Buffer[] {
  return path
    .split('/')
    .filter((name) => name.length > 0)
    .map((name) => Buffer.from(name, 'latin1'));
}

export class ImageTree {
  readonly #catalogs: CatalogSet;

  constructor(catalogs: CatalogSet) {
    this.#catalogs = catalogs;
  }

  catalog(folder: Folder): Catalog {
    return this.#catalogs.get(folder.catalog, folder.path, null, folder.catalogText);
  }

  /** The root directory of a catalog. */
  top(catalog: ContentHash): Folder {
    const catalogText = formatHash(catalog);
    return { catalog, catalogText, path: this.#catalogs.get(catalog, EMPTY, null, catalogText).rootPrefix };
  }

  child(folder: Folder, name: Buffer): CatalogEntry | undefined {
    const entry = this.catalog(folder).byKey(pathKey(Buffer.concat([folder.path, SLASH, name])));
    if (entry === undefined || !entry.name.equals(name)) return undefined;
    const parent = pathKey(folder.path);
    return entry.parent.hi === parent.hi && entry.parent.lo === parent.lo ? entry : undefined;
  }

  /** The directory of a row of `folder`; undefined when the row is none, or its nested catalog is not what it should be. */
  below(folder: Folder, entry: CatalogEntry): Folder | undefined {
    if (!isDirectory(entry.flags)) return undefined;
    const path = Buffer.concat([folder.path, SLASH, entry.name]);
    if (!isNestedMountpoint(entry.flags) && !isBind(entry.flags)) return { ...folder, path };
    const nested = this.catalog(folder).nestedAt(path);
    if (nested === undefined) return undefined;
    const catalogText = formatHash(nested.hash);
    const inner = this.#catalogs.get(nested.hash, path, nested.size, catalogText);
    if (!inner.rootPrefix.equals(nested.bind ? EMPTY : path)) return undefined;
    return { catalog: nested.hash, catalogText, path: inner.rootPrefix };
  }

  /** Every directory from `top` down to the last of `names`, `top` first; shorter where the way ends. Follows no link. */
  descend(top: Folder, names: readonly Buffer[]): Folder[] {
    const way = [top];
    for (const name of names) {
      const entry = this.child(way[way.length - 1]!, name);
      const next = entry === undefined ? undefined : this.below(way[way.length - 1]!, entry);
      if (next === undefined) break;
      way.push(next);
    }
    return way;
  }

  /** The regular file at `path` of the image, links followed; undefined when there is none. */
  file(root: Folder, path: string): FoundFile | undefined {
    const stack: Folder[] = [root];
    const todo = components(path).reverse();
    for (let links = 0, steps = 0; todo.length > 0; ) {
      if (++steps > COMPONENTS_MAX || todo.length > COMPONENTS_MAX) return undefined;
      const name = todo.pop()!;
      if (name.equals(DOT)) continue;
      if (name.equals(DOT_DOT)) {
        if (stack.length > 1) stack.pop();
        continue;
      }
      const folder = stack[stack.length - 1]!;
      const entry = this.child(folder, name);
      if (entry === undefined) return undefined;
      if (isSymlink(entry.flags)) {
        if (++links > LINKS_MAX || hasVariables(entry.symlink)) return undefined;
        if (entry.symlink[0] === 0x2f) stack.length = 1;
        todo.push(...components(entry.symlink.toString('latin1')).reverse());
        continue;
      }
      if (todo.length === 0) return isRegular(entry.flags) ? { folder, entry } : undefined;
      const next = this.below(folder, entry);
      if (next === undefined) return undefined;
      stack.push(next);
    }
    return undefined;
  }
}

const DOT = Buffer.from('.');
const DOT_DOT = Buffer.from('..');
