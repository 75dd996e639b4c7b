/**
 * What a file needs to be of use, fetched as soon as the file is there: a program's interpreter and libraries, a script's
 * interpreter, the modules that a compiled Python module imports. Each of them is looked at in its turn, so a program is
 * complete after as many round trips as its libraries are deep, not as many as they are.
 *
 * Everything is resolved in the image's own tree. Whatever does not fit is left out: somebody may ask for it, and then
 * gets it as ever.
 */
import { LRUCache } from 'lru-cache';
import { objectName } from '../../../cache/object-name';
import { isRegular } from '../../../cvmfs/flags';
import { pathKey } from '../../../cvmfs/path-key';
import { filePlan } from '../../../repository/file-plan';
import type { FilePlan } from '../../../repository/file-plan';
import { Missing } from '../../../repository/missing';
import type { ObjectStore } from '../../../repository/object-store';
import type { BackgroundFetcher } from './background-fetcher';
import { elfNeeds, isElf } from './elf-needs';
import type { ElfNeeds } from './elf-needs';
import { components } from './image-tree';
import type { Folder, FoundFile, ImageTree } from './image-tree';
import type { Kind } from './ledger';
import { isPyc, PYC_BYTES_MAX, pythonImports } from './python-needs';
import type { PythonImport } from './python-needs';
import { isScript, scriptNeeds } from './script-needs';

/** From the file that a reader asked for. */
const DEPTH_MAX = 12;
/** Files of one closure; the libraries of a desktop program are some 150. */
const FILES_MAX = 256;
const FILE_BYTES_MAX = 64 << 20;
/** Catalogs and parts that one look at a file may have to wait for. */
const WAITS_MAX = 16;
const DONE_MAX = 8_192;
const HEAD_BYTES = 4_096;
const LISTED_MAX = 2_048;

const PROGRAM_FOLDERS = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];
/** Modules that a Python from 3.11 on has inside itself. */
const FROZEN = new Set(['abc', 'codecs', 'io', 'os', 'site', 'stat', 'posixpath', 'genericpath', 'ntpath', '_collections_abc', '_sitebuiltins', 'importlib', 'importlib._bootstrap', 'importlib._bootstrap_external', 'importlib.util', 'importlib.machinery', 'runpy', 'zipimport']);

/** A file of an image. */
export interface ImageFile extends FoundFile {
  readonly root: Folder;
  /** Of the image (whereabouts.ts). */
  readonly label: string;
}

interface Wanted {
  readonly file: FoundFile;
  readonly kind: Kind;
}

/** How much of one closure is left. */
interface Budget {
  files: number;
}

export interface ClosureWorld {
  readonly images: ImageTree;
  readonly store: Pick<ObjectStore, 'read' | 'isLocal'>;
  readonly fetcher: BackgroundFetcher;
}

export class Closure {
  readonly #world: ClosureWorld;
  readonly #done = new LRUCache<string, true>({ max: DONE_MAX });
  /** Names of extension modules, by the directory that holds them. */
  readonly #extensions = new LRUCache<string, ReadonlyMap<string, string>>({ max: 16 });

  constructor(world: ClosureWorld) {
    this.#world = world;
  }

  /** Follows a file that is local, and everything that it leads to. Never throws; resolves when nothing more is known to follow. */
  async follow(file: ImageFile): Promise<void> {
    await this.#follow(file, 0, { files: FILES_MAX }).catch(() => undefined);
  }

  async #follow(file: ImageFile, depth: number, budget: Budget): Promise<void> {
    const plan = await this.#local(file, () => this.#plan(file));
    const part = plan?.parts[0];
    if (plan === undefined || part === undefined) return;
    const done = `${file.label} ${objectName(part.need)}`;
    if (depth > DEPTH_MAX || this.#done.get(done) === true) return;
    this.#done.set(done, true);
    const wanted = (await this.#local(file, () => this.#needs(file, plan))) ?? [];
    await Promise.all(wanted.map((one) => this.#fetch({ ...one.file, root: file.root, label: file.label }, one.kind, depth + 1, budget)));
  }

  async #fetch(file: ImageFile, kind: Kind, depth: number, budget: Budget): Promise<void> {
    const plan = await this.#local(file, () => this.#plan(file));
    // Of a file in chunks the first: its header says which others a start needs.
    const part = plan?.parts[0];
    if (part === undefined || part.size > FILE_BYTES_MAX) return;
    if (!this.#world.store.isLocal(part.need)) {
      if (--budget.files < 0 || !(await this.#world.fetcher.fetch(part.need, kind, file.label))) return;
    }
    await this.#follow(file, depth, budget);
  }

  #plan(file: FoundFile): FilePlan {
    return filePlan(this.#world.images.catalog(file.folder), file.folder.catalogText, file.entry);
  }

  /** Does synchronous work, and fetches what it lacks. Undefined when that cannot be had. */
  async #local<T>(file: ImageFile, work: () => T): Promise<T | undefined> {
    for (let waits = 0; waits < WAITS_MAX; waits++) {
      try {
        return work();
      } catch (error) {
        if (!(error instanceof Missing)) return undefined;
        if (!(await this.#world.fetcher.fetch(error.need, error.need.kind === 'catalog' ? 'catalog' : 'closure', file.label))) return undefined;
      }
    }
    return undefined;
  }

  #needs(file: ImageFile, plan: FilePlan): Wanted[] {
    const head = this.#bytes(plan, 0, HEAD_BYTES);
    if (isElf(head)) {
      const needs = elfNeeds((offset, length) => this.#bytes(plan, offset, length));
      return needs === null ? [] : this.#elf(file, needs);
    }
    if (isScript(head)) {
      const needs = scriptNeeds(head);
      if (needs === null) return [];
      const program = needs.program;
      const paths = program === null ? [] : program.startsWith('/') ? [program] : PROGRAM_FOLDERS.map((folder) => `${folder}/${program}`);
      return [...this.#first(file.root, [needs.interpreter], 'closure'), ...this.#first(file.root, paths, 'closure')];
    }
    if (isPyc(head) && plan.size <= PYC_BYTES_MAX) return this.#python(file, pythonImports(this.#bytes(plan, 0, plan.size)));
    return [];
  }

  #bytes(plan: FilePlan, offset: number, length: number): Buffer {
    const end = Math.min(plan.size, offset + length);
    if (!(offset >= 0 && offset < end)) return Buffer.alloc(0);
    const bytes = Buffer.alloc(end - offset);
    for (const part of plan.parts) {
      const from = Math.max(offset, part.offset);
      const to = Math.min(end, part.offset + part.size);
      if (from < to) this.#world.store.read(part.need, bytes, from - offset, from - part.offset, to - from);
    }
    return bytes;
  }

  /** The first of several paths that there is. */
  #first(root: Folder, paths: Iterable<string>, kind: Kind): Wanted[] {
    for (const path of paths) {
      const file = this.#world.images.file(root, path);
      if (file !== undefined) return [{ file, kind }];
    }
    return [];
  }

  #elf(file: ImageFile, needs: ElfNeeds): Wanted[] {
    const origin = this.#pathInImage(file);
    const expanded = needs.runPath.map((folder) => folder.replace(/\$ORIGIN|\$\{ORIGIN\}/g, origin)).filter((folder) => folder.startsWith('/'));
    const { triplet } = needs;
    const usual = [...(triplet === null ? [] : [`/lib/${triplet}`, `/usr/lib/${triplet}`]), '/lib64', '/usr/lib64', '/lib', '/usr/lib', '/usr/local/lib', ...(triplet === null ? [] : [`/usr/local/lib/${triplet}`])];
    const folders = [...new Set([...expanded, ...usual])];
    const libraries = needs.libraries.flatMap((name) => this.#first(file.root, name.startsWith('/') ? [name] : name.includes('/') ? [] : folders.map((folder) => `${folder}/${name}`), 'closure'));
    if (needs.interpreter === null) return libraries;
    // The loader of glibc reads its list of libraries first.
    return [...this.#first(file.root, [needs.interpreter], 'closure'), ...this.#first(file.root, ['/etc/ld.so.cache'], 'closure'), ...libraries];
  }

  /** Path of a file's directory, as programs in the image see it. */
  #pathInImage(file: ImageFile): string {
    const path = file.folder.path.toString('latin1');
    const root = file.root.path.toString('latin1');
    return path.startsWith(`${root}/`) ? path.slice(root.length) : path === root ? '' : path;
  }

  /** `…/json/__pycache__/decoder.cpython-311.pyc` imports `re`, which is `…/re/__pycache__/__init__.cpython-311.pyc`. */
  #python(file: ImageFile, imports: readonly PythonImport[]): Wanted[] {
    const suffix = /^.+?(\.[A-Za-z0-9_-]+\.pyc)$/.exec(file.entry.name.toString('latin1'))?.[1];
    const folder = this.#pathInImage(file);
    if (suffix === undefined || !folder.endsWith('/__pycache__')) return [];
    const own = folder.slice(0, -'/__pycache__'.length);
    // Packages of Debian's Pythons lie in a directory without the minor version, their libraries in one with it.
    const library = /^.*\/python3\.[0-9]+(?=\/|$)/.exec(own)?.[0];
    const around = /^.*\/(site|dist)-packages(?=\/|$)/.exec(own)?.[0];
    const extensions = library === undefined ? new Map<string, string>() : this.#extensionModules(file.root, `${library}/lib-dynload`);
    const wanted = new Map<string, () => Wanted[]>();
    const module = (top: string, path: string): string[] => {
      const slash = path.lastIndexOf('/');
      return [`${top}/${slash < 0 ? '' : path.slice(0, slash + 1)}__pycache__/${path.slice(slash + 1)}${suffix}`, `${top}/${path}/__pycache__/__init__${suffix}`];
    };
    for (const { level, module: name, names } of imports) {
      if (level === 0 && FROZEN.has(name)) continue;
      const tops = level === 0 ? [library, around].filter((top) => top !== undefined) : [own.split('/').slice(0, level === 1 ? undefined : 1 - level).join('/')];
      const parts = name.split('.').filter((part) => part.length > 0);
      // Whoever imports `a.b` imports `a` first; what is taken from a module may be a module of its own.
      const modules = [...parts.map((_, i) => parts.slice(0, i + 1).join('/')), ...names.map((one) => [...parts, one].join('/'))];
      for (const path of modules) {
        const extension = level === 0 ? extensions.get(path) : undefined;
        wanted.set(`${level} ${path}`, () => this.#first(file.root, [...tops.flatMap((top) => module(top, path)), ...(extension === undefined ? [] : [extension])], 'import'));
      }
    }
    return [...wanted.values()].flatMap((find) => find());
  }

  #extensionModules(root: Folder, path: string): ReadonlyMap<string, string> {
    const { images } = this.#world;
    const names = components(path);
    const way = images.descend(root, names);
    const folder = way.length === names.length + 1 ? way[way.length - 1]! : undefined;
    const key = `${root.catalogText}${root.path.toString('latin1')} ${path}`;
    const known = this.#extensions.get(key);
    if (known !== undefined) return known;
    const found = new Map<string, string>();
    if (folder !== undefined) {
      for (const entry of images.catalog(folder).children(pathKey(folder.path), 0, LISTED_MAX)) {
        const name = entry.name.toString('latin1');
        if (isRegular(entry.flags) && name.endsWith('.so')) found.set(name.split('.')[0]!, `${path}/${name}`);
      }
    }
    this.#extensions.set(key, found);
    return found;
  }
}
