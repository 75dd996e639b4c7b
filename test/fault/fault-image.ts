/**
 * The image of the fault suite: some programs of this host with their libraries, its Python, many small files, some large
 * ones, a large folder, and one folder that each publish changes; and the list of all of it that readers compare with.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { seeded } from './random';

/** Size of the image. `small` publishes in some seconds. */
export type ImageSize = 'small' | 'large';

const PROGRAMS = ['sh', 'cat', 'ls', 'wc', 'true', 'sha256sum'];
/** What the reader imports, and what is imported to exec and read a real program. */
const PACKAGES = ['collections', 'importlib', 'encodings', 'json', 're', 'email', 'http', 'urllib', 'xml', 'logging', 'unittest', 'concurrent', 'asyncio', 'html'];
/** Names of `changing` in one revision; reader.py knows the rule too. */
const CHANGING = 20;
const SIZES = {
  small: { files: 150, large: [3_000_000, 900_000, 12_000_000], names: 1_500, node: false },
  large: { files: 600, large: [3_000_000, 900_000, 12_000_000, 40_000_000, 7_777_777], names: 6_000, node: true },
} as const;
const BLOCK = 4_096;

export interface FaultImage {
  /** The tree that is published. */
  readonly tree: string;
  /** Folder with `manifest`, and an empty `tree` where the container has the published tree. */
  readonly known: string;
  /** Path of Python in the image. */
  readonly python: string;
  readonly entries: number;
  readonly bytes: number;
}

export function makeImage(dir: string, size: ImageSize): FaultImage {
  const tree = path.join(dir, 'tree');
  const known = path.join(dir, 'known');
  for (const folder of ['proc', 'sys', 'dev', 'tmp', 'etc', 'root', 'known', 'changing', 'data/large', 'data/writable', 'data/many']) fs.mkdirSync(path.join(tree, folder), { recursive: true });
  fs.mkdirSync(path.join(known, 'tree'), { recursive: true });
  const copy = new UserLand(tree);
  for (const program of PROGRAMS) copy.program(program);
  if (SIZES[size].node) copy.as(process.execPath, '/usr/bin/node');
  const python = copy.python();
  fs.copyFileSync(path.join(__dirname, 'reader.py'), path.join(tree, 'reader.py'));
  makeData(path.join(tree, 'data'), SIZES[size]);
  for (const catalog of ['', 'changing', 'data/large', 'data/many', 'usr']) if (fs.existsSync(path.join(tree, catalog))) fs.writeFileSync(path.join(tree, catalog, '.cvmfscatalog'), '');
  const lines = list(tree, '/');
  fs.writeFileSync(path.join(known, 'manifest'), lines.map(({ line }) => `${line}\n`).join(''));
  writeRevision(tree, 1);
  return { tree, known, python, entries: lines.length, bytes: lines.reduce((sum, one) => sum + one.bytes, 0) };
}

/** The folder that changes, as it is in one revision. */
export function writeRevision(tree: string, revision: number): void {
  const dir = path.join(tree, 'changing');
  for (const name of fs.readdirSync(dir)) if (name !== '.cvmfscatalog') fs.rmSync(path.join(dir, name));
  fs.writeFileSync(path.join(dir, 'rev'), `${revision}\n`);
  for (let i = 0; i < CHANGING; i++) if ((revision + i) % 3 !== 0) fs.writeFileSync(path.join(dir, `f${i}`), `file ${i} of revision ${revision}\n`.repeat(50));
}

/** Content without a pattern that a shifted or swapped block could hide in. */
function content(bytes: number, seed: number): Buffer {
  const blocks = Array.from({ length: Math.ceil(bytes / BLOCK) }, (_, i) => createHash('shake128', { outputLength: BLOCK }).update(`${seed} ${i}`).digest());
  return Buffer.concat(blocks).subarray(0, bytes);
}

function makeData(dir: string, { files, large, names }: (typeof SIZES)[ImageSize]): void {
  const random = seeded(7);
  for (let i = 0; i < files; i++) {
    const folder = path.join(dir, `d${i % 9}`, `e${i % 4}`);
    fs.mkdirSync(folder, { recursive: true });
    fs.writeFileSync(path.join(folder, `file-${i}`), content(i % 25 === 0 ? 0 : random.whole(1, 9) ** 4 * random.whole(1, 30), i));
    if (i % 6 === 0) fs.symlinkSync(`file-${i}`, path.join(folder, `link-${i}`));
    if (i % 3 === 0) fs.writeFileSync(path.join(dir, 'writable', `w-${i}`), content(random.whole(1, 60_000), 10_000 + i));
  }
  large.forEach((bytes, i) => fs.writeFileSync(path.join(dir, 'large', `large-${i}`), content(bytes, 20_000 + i)));
  // Long names, so that the listing takes several requests; few contents, so that it does not take as many objects.
  for (let i = 0; i < names; i++) fs.writeFileSync(path.join(dir, 'many', `a-file-with-a-rather-long-name-of-its-own-${i}`), `${i % 10}\n`);
}

/** Not compared: what a container mounts something on, and what each publish changes. */
const LEFT_OUT = ['/proc', '/dev', '/tmp', '/known', '/changing', '/sys'];

/** One line for each entry: reader.py reads them. */
function list(tree: string, at: string): Array<{ line: string; bytes: number }> {
  const stat = fs.lstatSync(path.join(tree, at));
  const kind = stat.isDirectory() ? 'd' : stat.isSymbolicLink() ? 'l' : 'f';
  const extra = kind === 'l' ? fs.readlinkSync(path.join(tree, at)) : kind === 'f' ? createHash('sha256').update(fs.readFileSync(path.join(tree, at))).digest('hex') : '-';
  const line = [at, kind, stat.mode & 0o7777, stat.size, Math.floor(stat.mtimeMs / 1000), extra].join('\t');
  if (LEFT_OUT.includes(at)) return [];
  const inner = kind === 'd' ? fs.readdirSync(path.join(tree, at)).sort() : [];
  return [{ line, bytes: kind === 'f' ? stat.size : 0 }, ...inner.flatMap((name) => list(tree, path.join(at, name)))];
}

/** Copies programs of this host with all they need to the same places in another tree. */
class UserLand {
  readonly #done = new Set<string>();

  constructor(private readonly top: string) {
    // Where /bin is a link to /usr/bin it is one here too, before anything is put below it.
    for (const name of ['bin', 'sbin', 'lib', 'lib64']) {
      const link = fs.lstatSync(`/${name}`, { throwIfNoEntry: false })?.isSymbolicLink() === true ? fs.readlinkSync(`/${name}`) : null;
      if (link === null) continue;
      fs.mkdirSync(path.join(top, path.resolve('/', link)), { recursive: true });
      fs.symlinkSync(link, path.join(top, name));
    }
  }

  /** A command of the host, wherever it lies; its name must be found below /bin or /usr/bin in the image. */
  program(name: string): void {
    const found = ['/bin', '/usr/bin'].map((dir) => path.join(dir, name)).find((file) => fs.existsSync(file));
    if (found === undefined) throw new Error(`this host has no ${name}`);
    this.withLibraries(found);
  }

  python(): string {
    const said = execFileSync('python3', ['-c', 'import os, sys, sysconfig; print(os.path.realpath(sys.executable)); print(sysconfig.get_path("stdlib"))'], { encoding: 'utf8' });
    const [executable, library] = said.trim().split('\n') as [string, string];
    this.withLibraries(executable);
    for (const name of fs.readdirSync(library)) {
      if (name.endsWith('.py')) this.file(path.join(library, name));
      else if (PACKAGES.includes(name)) for (const inner of fs.readdirSync(path.join(library, name), { recursive: true }) as string[]) if (inner.endsWith('.py')) this.file(path.join(library, name, inner));
    }
    const modules = path.join(library, 'lib-dynload');
    if (fs.existsSync(modules)) for (const name of fs.readdirSync(modules)) if (!/test|tkinter|dbm|curses|readline/.test(name)) this.withLibraries(path.join(modules, name));
    return executable;
  }

  withLibraries(file: string): void {
    this.file(file);
    for (const [, library] of listed(file).matchAll(/(\/\S+) \(0x/g)) this.file(library!);
  }

  /** Copies a file to another place, with its libraries to theirs. */
  as(file: string, to: string): void {
    for (const [, library] of listed(file).matchAll(/(\/\S+) \(0x/g)) this.file(library!);
    fs.mkdirSync(path.dirname(path.join(this.top, to)), { recursive: true });
    fs.copyFileSync(file, path.join(this.top, to));
    fs.chmodSync(path.join(this.top, to), 0o755);
  }

  file(file: string): void {
    const at = path.join(fs.realpathSync(path.dirname(file)), path.basename(file));
    if (this.#done.has(at)) return;
    this.#done.add(at);
    const to = path.join(this.top, at);
    fs.mkdirSync(path.dirname(to), { recursive: true });
    const stat = fs.lstatSync(at);
    if (stat.isSymbolicLink()) {
      const target = fs.readlinkSync(at);
      fs.symlinkSync(target, to);
      this.file(path.resolve(path.dirname(at), target));
    } else {
      fs.copyFileSync(at, to);
      fs.chmodSync(to, stat.mode & 0o755);
    }
  }
}

function listed(file: string): string {
  try {
    return execFileSync('ldd', [file], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  } catch {
    // A static program, or a module that needs nothing.
    return '';
  }
}
