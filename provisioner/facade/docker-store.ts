/**
 * Our links in the agent's docker store:
 *
 *     <docker_store_dir>/layers/<digest>/rootfs.overlay  →  <mount point>/.cvmfs-view/<hash>[/<path>]
 *
 * Everything else there is the agent's: it moves whole layer directories to `gc/` when it prunes, and deletes them without
 * following links. So what is here can be gone at any instant, and only links into our views are ever replaced or removed;
 * a directory is removed only when it is empty. A link is made under a temporary name beside `layers/` and renamed: the
 * agent, which takes whatever lstat(2) finds there for a layer, sees none or the right one.
 *
 * Who could write to a directory on the way could put another file system under every container of this host. Each one
 * must be root's and closed to others, or sticky and the next one root's; no component may be a symbolic link.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { randomBytes } from 'node:crypto';
import { Failure } from '../../src/error';

export const LAYER_DIGEST = /^sha256:[0-9a-f]{64}$/;
export const LINK_NAME = 'rootfs.overlay';
const TEMP = /^\.mesos-cvmfs-[0-9a-f]{16}$/;
/** How often the agent may take a layer directory away between our making it and our link in it. */
const ATTEMPTS = 5;

/** What is found where a link of ours should be. */
export type LinkState =
  | { readonly kind: 'link'; readonly target: Buffer }
  /** The layer's directory is there, and nothing in it under our name. */
  | { readonly kind: 'no-link' }
  | { readonly kind: 'no-directory' }
  /** Something else: a real directory, a file. */
  | { readonly kind: 'foreign'; readonly what: string };

function errnoOf(err: unknown): string | undefined {
  return (err as NodeJS.ErrnoException).code;
}

function refuse(what: string, next: string): Failure {
  return new Failure('FAILED_PRECONDITION', `facade.docker_store_dir: ${what}`, { next });
}

/** Throws FAILED_PRECONDITION for a directory that is a link, not a directory, or open to others. */
function checkDirectory(dir: string, uid: number, isLast: boolean): void {
  const stat = fs.lstatSync(dir);
  if (stat.isSymbolicLink()) throw refuse(`${dir} is a symbolic link`, 'set it, and the agent’s --docker_store_dir, to the directory that it points to');
  if (!stat.isDirectory()) throw refuse(`${dir} is not a directory`, 'move it away, or choose another directory for the agent and the facade');
  if (stat.uid !== uid && stat.uid !== 0) throw refuse(`${dir} belongs to user ${stat.uid}, who could put another file system under every container`, `run: chown root ${dir}, or choose another directory`);
  const open = (stat.mode & 0o002) !== 0 || ((stat.mode & 0o020) !== 0 && stat.gid !== 0);
  const sticky = (stat.mode & 0o1000) !== 0;
  if (open && (isLast || !sticky)) throw refuse(`${dir} can be written by others (mode 0${(stat.mode & 0o7777).toString(8)})`, `run: chmod go-w ${dir}, or choose another directory`);
}

/**
 * Refuses a store that others could reach into. What is missing is made, or with `look` alone left so: false when something
 * is missing.
 */
export function checkStore(store: string, how: 'make' | 'look', uid: number = process.geteuid!()): boolean {
  checkDirectory('/', uid, false);
  const names = path.join(store, 'layers').split('/').filter((name) => name !== '');
  let dir = '';
  for (const [at, name] of names.entries()) {
    dir = `${dir}/${name}`;
    if (how === 'make') make(dir);
    else if (fs.lstatSync(dir, { throwIfNoEntry: false }) === undefined) return false;
    checkDirectory(dir, uid, at >= names.length - 2);
  }
  return true;
}

function make(dir: string): void {
  try {
    fs.mkdirSync(dir, { mode: 0o755 });
    fs.chmodSync(dir, 0o755);
  } catch (err) {
    if (errnoOf(err) !== 'EEXIST') throw Failure.from(err, `facade.docker_store_dir: ${dir} cannot be made`);
  }
}

export class DockerStore {
  constructor(
    /** `docker_store_dir`. */
    readonly dir: string,
    private readonly randomName: () => string = () => `.mesos-cvmfs-${randomBytes(8).toString('hex')}`,
  ) {}

  get layers(): string {
    return path.join(this.dir, 'layers');
  }

  check(): void {
    checkStore(this.dir, 'make');
  }

  linkPath(digest: string): string {
    return path.join(this.#layer(digest), LINK_NAME);
  }

  look(digest: string): LinkState {
    try {
      const dir = fs.lstatSync(this.#layer(digest));
      if (!dir.isDirectory()) return { kind: 'foreign', what: dir.isSymbolicLink() ? 'a symbolic link in place of the layer’s directory' : 'a file in place of the layer’s directory' };
    } catch (err) {
      if (errnoOf(err) === 'ENOENT') return { kind: 'no-directory' };
      throw Failure.from(err);
    }
    try {
      return { kind: 'link', target: fs.readlinkSync(this.linkPath(digest), { encoding: 'buffer' }) };
    } catch (err) {
      if (errnoOf(err) === 'ENOENT') return { kind: 'no-link' };
      if (errnoOf(err) === 'EINVAL') return { kind: 'foreign', what: `a directory or file in place of the link ${LINK_NAME}` };
      throw Failure.from(err);
    }
  }

  /** Makes or mends the link. FAILED_PRECONDITION when something that is not ours is in its place; `isOurs` decides of a link. */
  ensure(digest: string, target: Buffer, isOurs: (target: Buffer) => boolean): 'there' | 'made' | 'repaired' {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const state = this.look(digest);
      if (state.kind === 'link' && state.target.equals(target)) return 'there';
      const what = state.kind === 'foreign' ? state.what : state.kind === 'link' && !isOurs(state.target) ? `a link to ${state.target.toString()}` : undefined;
      if (what !== undefined) {
        throw new Failure('FAILED_PRECONDITION', `${this.#layer(digest)} holds ${what}, which the facade did not make`, { next: 'look at what it is, move it away while no container of the image is started, and start the container again' });
      }
      if (this.#place(digest, target)) return state.kind === 'link' ? 'repaired' : 'made';
    }
    throw new Failure('RESOURCE_EXHAUSTED', `the agent prunes its store again and again while ${this.linkPath(digest)} is made`, { next: 'start the container again' });
  }

  /** Removes a link of ours, and its directory when nothing else is in it. True when there was one. */
  remove(digest: string, isOurs: (target: Buffer) => boolean): boolean {
    const state = this.look(digest);
    let removed = false;
    if (state.kind === 'link' && isOurs(state.target)) {
      fs.rmSync(this.linkPath(digest), { force: true });
      removed = true;
    }
    if (removed || state.kind === 'no-link') this.#removeEmpty(digest);
    return removed;
  }

  /** Digests of all layers whose link `isOurs`; at most `max`. */
  links(isOurs: (target: Buffer) => boolean, max: number): string[] {
    const found: string[] = [];
    for (const name of this.#layerNames()) {
      if (found.length >= max) break;
      const state = this.look(name);
      if (state.kind === 'link' && isOurs(state.target)) found.push(name);
    }
    return found;
  }

  /** Removes what a crash left half-made. */
  sweep(): void {
    for (const name of fs.readdirSync(this.dir)) if (TEMP.test(name)) fs.rmSync(path.join(this.dir, name), { force: true });
  }

  /** False when the agent took the directory away meanwhile. */
  #place(digest: string, target: Buffer): boolean {
    const temp = path.join(this.dir, this.randomName());
    fs.symlinkSync(target, temp);
    try {
      fs.mkdirSync(this.#layer(digest), { recursive: true, mode: 0o755 });
      fs.renameSync(temp, this.linkPath(digest));
      return true;
    } catch (err) {
      fs.rmSync(temp, { force: true });
      if (errnoOf(err) === 'ENOENT') return false;
      throw Failure.from(err, `the link of layer ${digest} cannot be made`);
    }
  }

  #removeEmpty(digest: string): void {
    try {
      fs.rmdirSync(this.#layer(digest));
    } catch {
      // Not empty: something of the agent's is in it. Gone: the agent pruned it.
    }
  }

  #layerNames(): string[] {
    try {
      return fs.readdirSync(this.layers).filter((name) => LAYER_DIGEST.test(name));
    } catch (err) {
      if (errnoOf(err) === 'ENOENT') return [];
      throw Failure.from(err);
    }
  }

  #layer(digest: string): string {
    // Paths are built from it: whatever asked, no other form gets here.
    if (!LAYER_DIGEST.test(digest)) throw new Failure('INTERNAL', `${JSON.stringify(digest)} is no digest of an image`);
    return path.join(this.layers, digest);
  }
}
