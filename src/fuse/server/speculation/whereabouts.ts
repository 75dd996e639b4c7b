/**
 * From a node of the kernel to the image that it is in: the directory that holds it, and the directory that is `/` for the
 * programs of that image. Who makes a view for a container says where that is (`noteRoot`); elsewhere it is the nearest
 * directory above that has a `usr` in it.
 */
import { LRUCache } from 'lru-cache';
import type { CatalogEntry } from '../../../cvmfs/catalog';
import { isDirectory } from '../../../cvmfs/flags';
import { pathKey } from '../../../cvmfs/path-key';
import type { PathKey } from '../../../cvmfs/path-key';
import type { NodeId } from '../../../repository/node-id';
import type { Place, PlaceList } from '../../../repository/places';
import type { Tree } from '../../../repository/tree';
import { components, folderKey } from './image-tree';
import type { Folder, ImageTree } from './image-tree';

const FOLDERS_KEPT = 2_048;
const IMAGES_KEPT = 2_048;
const ROOTS_PER_VIEW_MAX = 1_024;
const USR = Buffer.from('usr');
const EMPTY = Buffer.alloc(0);

export interface Image {
  /** `<view>:<path in the view>`, or `live:<path>`. */
  readonly label: string;
  /** Null where no directory looks like the root of an image. */
  readonly root: Folder | null;
}

export interface FileAt {
  readonly folder: Folder;
  readonly entry: CatalogEntry;
  /** Where the catalog is attached, as seen from the top of every space that shows it. */
  readonly mountPath: Buffer;
}

/** The catalog around a folder that is a catalog's root: where its parent directory is. */
export interface Parent {
  readonly folder: Folder;
  readonly entry: CatalogEntry;
}

export class Whereabouts {
  readonly #tree: Tree;
  readonly #places: PlaceList;
  readonly #images: ImageTree;
  readonly #folders = new LRUCache<string, Folder>({ max: FOLDERS_KEPT });
  readonly #found = new LRUCache<string, Image>({ max: IMAGES_KEPT });
  /** Paths in their view of what containers have as their root, by view. */
  readonly #roots = new LRUCache<string, Set<string>>({ max: IMAGES_KEPT });
  /** Directory places by catalog and mount path; views before the live tree. */
  readonly #spaces = new Map<string, Place>();
  /** The first place of each space. */
  readonly #tops = new Map<string, Place>();
  #seen = 0;

  constructor(tree: Tree, places: PlaceList, images: ImageTree) {
    this.#tree = tree;
    this.#places = places;
    this.#images = images;
  }

  noteRoot(view: string, pathInView: Buffer): void {
    let roots = this.#roots.get(view);
    if (roots === undefined) this.#roots.set(view, (roots = new Set()));
    const path = pathInView.toString('latin1').replace(/\/+$/, '');
    if (roots.size < ROOTS_PER_VIEW_MAX && !roots.has(path)) {
      roots.add(path);
      this.#found.clear();
    }
  }

  /** Where a node's row is; undefined for what has none. */
  file(node: NodeId): FileAt | undefined {
    const place = node.index === 0 ? undefined : this.#places.get(node.index);
    const entry = place === undefined ? undefined : this.#tree.catalogOf(place).byRowid(node.rowid);
    if (place === undefined || entry === undefined) return undefined;
    return { folder: this.#folder(place, entry.parent), entry, mountPath: place.mountPath };
  }

  #folder(place: Pick<Place, 'catalog' | 'catalogText' | 'mountPath'> & Place, key: PathKey): Folder {
    const name = `${place.catalogText}${key.hi},${key.lo}`;
    let folder = this.#folders.get(name);
    if (folder === undefined) {
      const catalog = this.#tree.catalogOf(place);
      const row = catalog.byKey(key);
      // The parent of a catalog's own root is in another catalog: such a row is a directory's, and its folder is not asked for.
      folder = { catalog: place.catalog, catalogText: place.catalogText, path: row === undefined ? EMPTY : catalog.pathOf(row) };
      this.#folders.set(name, folder);
    }
    return folder;
  }

  image(at: FileAt): Image {
    const key = `${folderKey(at.folder)} ${at.mountPath.toString('latin1')}`;
    let image = this.#found.get(key);
    if (image === undefined) this.#found.set(key, (image = this.#find(at)));
    return image;
  }

  #find(at: FileAt): Image {
    this.#catchUp();
    const space = this.#spaces.get(`${at.folder.catalogText} ${at.mountPath.toString('latin1')}`)?.space;
    const top = space === undefined ? undefined : this.#tops.get(space);
    if (space === undefined || top === undefined) return { label: 'other:', root: null };
    const topFolder = this.#images.top(top.catalog);
    const prefix = this.#tree.catalogOf({ ...top, catalog: at.folder.catalog, catalogText: at.folder.catalogText }).rootPrefix;
    const full = Buffer.concat([at.mountPath, at.folder.path.subarray(prefix.length)]).toString('latin1');
    const inTop = full.slice(top.mountPath.length);
    const name = space.startsWith('view@') ? space.slice(5) : 'live';
    const noted = [...(this.#roots.get(name) ?? [])].filter((root) => inTop === root || inTop.startsWith(`${root}/`)).sort((a, b) => b.length - a.length)[0];
    if (noted !== undefined) {
      const names = components(noted);
      const way = this.#images.descend(topFolder, names);
      return { label: `${name}:${noted || '/'}`, root: way.length === names.length + 1 ? way[way.length - 1]! : null };
    }
    const names = components(inTop);
    const way = this.#images.descend(topFolder, names);
    for (let depth = way.length - 1; depth >= 0; depth--) {
      const usr = this.#images.child(way[depth]!, USR);
      if (usr !== undefined && isDirectory(usr.flags)) return { label: `${name}:/${names.slice(0, depth).map((one) => one.toString('latin1')).join('/')}`, root: way[depth]! };
    }
    return { label: `${name}:/`, root: null };
  }

  /** Where a view's own catalog is attached; undefined when there is no such view. */
  topMountPath(view: string): Buffer | undefined {
    this.#catchUp();
    return this.#tops.get(`view@${view}`)?.mountPath;
  }

  /** Path in a view of a name in a folder, absolute, as latin1. */
  pathInView(view: string, folder: Folder, mountPath: Buffer, name: Buffer): string | undefined {
    const top = this.topMountPath(view);
    if (top === undefined) return undefined;
    const prefix = this.#images.catalog(folder).rootPrefix;
    const full = Buffer.concat([mountPath, folder.path.subarray(prefix.length), Buffer.from('/'), name]);
    return full.subarray(top.length).toString('latin1');
  }

  /** The root that a path in a view belongs to, of those that containers have; undefined when it is below none. */
  nearestRoot(view: string, pathInView: string): string | undefined {
    let nearest: string | undefined;
    for (const root of this.#roots.get(view) ?? []) if (pathInView.startsWith(`${root}/`) && root.length >= (nearest?.length ?? 0)) nearest = root;
    return nearest;
  }

  /** The directory around one that is a catalog's root, with the row of its mount point; undefined at the top of its space. */
  parent(folder: Folder, mountPath: Buffer): { readonly folder: Folder; readonly entry: CatalogEntry; readonly mountPath: Buffer } | undefined {
    this.#catchUp();
    const space = this.#spaces.get(`${folder.catalogText} ${mountPath.toString('latin1')}`)?.space;
    const slash = mountPath.lastIndexOf(0x2f);
    if (space === undefined || slash < 0) return undefined;
    // The catalog around it is the one of the same space that is attached nearest above.
    const text = mountPath.toString('latin1');
    let around: Place | undefined;
    for (const place of this.#places.all()) {
      if (place.space !== space || place.mountPath.length >= mountPath.length) continue;
      const other = place.mountPath.toString('latin1');
      if ((other === '' || text.startsWith(`${other}/`)) && (around === undefined || place.mountPath.length > around.mountPath.length)) around = place;
    }
    if (around === undefined) return undefined;
    const catalog = this.#tree.catalogOf(around);
    const point = Buffer.concat([catalog.rootPrefix, mountPath.subarray(around.mountPath.length)]);
    const entry = catalog.byKey(pathKey(point));
    if (entry === undefined) return undefined;
    return { folder: { catalog: around.catalog, catalogText: around.catalogText, path: point.subarray(0, point.lastIndexOf(0x2f)) }, entry, mountPath: around.mountPath };
  }

  /** Number of places that the mount has attached: it grows when somebody enters a nested catalog. */
  places(): readonly Place[] {
    return this.#places.all();
  }

  #catchUp(): void {
    const all = this.#places.all();
    for (; this.#seen < all.length; this.#seen++) {
      const place = all[this.#seen]!;
      if (place.space === 'files') continue;
      if (!this.#tops.has(place.space)) this.#tops.set(place.space, place);
      const key = `${place.catalogText} ${place.mountPath.toString('latin1')}`;
      if (place.space.startsWith('view@') || !this.#spaces.get(key)?.space.startsWith('view@')) this.#spaces.set(key, place);
      this.#found.clear();
    }
  }
}
