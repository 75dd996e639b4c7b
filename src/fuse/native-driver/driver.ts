/**
 * The fuse-native driver: answers libfuse's calls, which name a path, from the same file system as the kernel driver
 * (file-system.ts). It resolves each path from the root in one revision, and waits where something has to be fetched.
 */
import { constants } from 'node:os';
import { LRUCache } from 'lru-cache';
import { Failure } from '../../error';
import type { NodeAttributes } from '../../repository/node-attributes';
import { ROOT, VIEWS_NAME } from '../../repository/node-id';
import type { NodeId } from '../../repository/node-id';
import type { FileSystem } from '../file-system';
import type { Attributes, Operations, Reply, Stat } from './binding';
import { isDamaged, passable } from './names';
import { OpenFiles } from './open-files';

const { ENOENT, ENAMETOOLONG, ENODATA, EBADF, EILSEQ, EISDIR } = constants.errno;

/** How long the kernel keeps names and attributes: one number for the whole tree, since libfuse has no other. */
export const KEPT_MS = 1_000;
const NAME_BYTES_MAX = 255;
const PATHS_KEPT = 16_384;
const CLOSED_KEPT = 4_096;
const HIDDEN_KEPT = 1_024;
const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const UINT32_MAX = 0xffff_ffff;
const VIEWS_PREFIX = `/${VIEWS_NAME.toString()}/`;

/** What the driver needs of the server around it. */
export interface DriverWorld {
  readonly files: FileSystem;
  /** Does `work` as often as something has to be fetched for it first. */
  readonly whenLocal: <T>(work: () => T) => Promise<T>;
  /** The errno of a failure, which is counted and logged when it is a fault. */
  readonly errnoOf: (failure: Failure, describe: () => string) => number;
  readonly nowMs: () => number;
  readonly sleep: (ms: number) => Promise<void>;
}

/** Ends a call with an errno that is no fault of anybody. */
class Refused extends Error {
  constructor(readonly errno: number) {
    super(`errno ${errno}`);
  }
}

export class NativeDriver {
  readonly #world: Promise<DriverWorld>;
  readonly #open = new OpenFiles();
  readonly #paths = new LRUCache<string, NodeId>({ max: PATHS_KEPT });
  /** When the last holder of a path closed a file of an earlier revision. */
  readonly #closed = new LRUCache<string, number>({ max: CLOSED_KEPT, ttl: KEPT_MS });
  /** What could not be shown: its bytes, and a text for people. */
  readonly #hidden = new LRUCache<string, string>({ max: HIDDEN_KEPT });
  #revision = 0;
  #switchedAtMs = -Infinity;

  /** `world`: calls that come before it is there wait for it, and fail with it. */
  constructor(world: Promise<DriverWorld>) {
    this.#world = world;
  }

  readonly operations: Operations = {
    getattr: (path, reply) => this.#answer(path, reply, (world) => stat(world.files.attributes(this.#resolve(world, path)))),
    readdir: (path, reply) =>
      void this.#guarded(path, (world) => world.whenLocal(() => this.#list(world, path))).then((listed) => {
        if (listed instanceof Refused) reply(-listed.errno);
        else reply(0, listed.names, listed.stats);
      }),
    readlink: (path, reply) =>
      this.#answer(path, reply, (world) => {
        const text = passable(world.files.readlink(this.#resolve(world, path)));
        if (text !== undefined) return text;
        this.#hide(path);
        throw new Refused(EILSEQ);
      }),
    open: (path, _flags, reply) => void this.#openFile(path, reply),
    read: (path, handle, buffer, length, offset, reply) =>
      void this.#guarded(path, async (world) => {
        const file = this.#open.get(handle);
        if (file === undefined) throw new Refused(EBADF);
        return world.whenLocal(() => world.files.read(file.node, buffer, 0, offset, Math.min(length, buffer.length)));
      }).then((got) => (got instanceof Refused ? reply(-got.errno, 0) : reply(got, got))),
    release: (_path, handle, reply) => {
      const last = this.#open.release(handle);
      if (last !== undefined) void this.#world.then(({ files, nowMs }) => last.revision !== files.revision() && this.#closed.set(last.path, nowMs()), () => undefined);
      reply(0);
    },
    statfs: (path, reply) =>
      this.#answer(path, reply, (world) => {
        const bytes = world.files.statfs();
        const wide = (at: number): number => Math.min(UINT32_MAX, Number(bytes.readBigUInt64LE(at)));
        return { bsize: bytes.readUInt32LE(40), frsize: bytes.readUInt32LE(48), namemax: bytes.readUInt32LE(44), blocks: wide(0), bfree: wide(8), bavail: wide(16), files: wide(24) };
      }),
  };

  readonly attributes: Attributes = {
    getxattr: (path, name) =>
      this.#bytes(path, (world) => {
        const value = isDamaged(name) ? undefined : world.files.xattr(this.#resolve(world, path), Buffer.from(name));
        if (value === undefined) throw new Refused(ENODATA);
        return value;
      }),
    // Who asks is not passed on, so names of magic attributes are those that everybody sees.
    listxattr: (path) => this.#bytes(path, (world) => Buffer.concat(world.files.xattrNames(this.#resolve(world, path), UINT32_MAX).flatMap((name) => [name, Buffer.from([0])]))),
  };

  /** What an operator should know of this mount, beyond what any mount has. */
  warnings(): string[] {
    const always = `this mount has the fuse-native driver: it ends when its process (${process.pid}) ends, and whatever uses it with it`;
    if (this.#hidden.size === 0) return [always];
    const some = [...this.#hidden.values()].slice(-3).map((name) => JSON.stringify(name));
    return [always, `${this.#hidden.size}${this.#hidden.size === HIDDEN_KEPT ? ' or more' : ''} names or link targets are not UTF-8, which the fuse-native driver cannot show: ${some.join(', ')}`];
  }

  #hide(path: string, name: Buffer = Buffer.alloc(0)): void {
    this.#hidden.set(`${path}\0${name.toString('latin1')}`, name.length === 0 ? path : `${path === '/' ? '' : path}/${name.toString()}`);
  }

  /** The node of a path, in the revision of this moment. */
  #resolve(world: DriverWorld, path: string): NodeId {
    const { files } = world;
    if (files.revision() !== this.#revision) {
      this.#paths.clear();
      if (this.#revision !== 0) this.#switchedAtMs = world.nowMs();
      this.#revision = files.revision();
    }
    const held = this.#open.held(path);
    if (held !== undefined) return held;
    if (isDamaged(path)) throw new Refused(ENOENT);
    const names = path.split('/').filter((name) => name !== '');
    // The deepest directory that is known already; then name by name.
    let depth = names.length;
    let node = this.#paths.get(path);
    while (node === undefined && depth > 0) node = (depth -= 1) === 0 ? ROOT : this.#paths.get(`/${names.slice(0, depth).join('/')}`);
    node ??= ROOT;
    for (; depth < names.length; depth++) {
      const name = Buffer.from(names[depth]!);
      if (name.length > NAME_BYTES_MAX) throw new Refused(ENAMETOOLONG);
      const found = files.lookup(node, name);
      if (found.node === null) throw new Refused(ENOENT);
      node = found.node;
      this.#paths.set(`/${names.slice(0, depth + 1).join('/')}`, node);
    }
    return node;
  }

  async #openFile(path: string, reply: Reply<number>): Promise<void> {
    const opened = await this.#guarded(path, async (world) => {
      for (;;) {
        const { node, mode } = await world.whenLocal(() => {
          const at = this.#resolve(world, path);
          return { node: at, mode: world.files.attributes(at).mode };
        });
        if ((mode & S_IFMT) === S_IFDIR) throw new Refused(EISDIR);
        const waitMs = this.#open.held(path) === undefined ? this.#settledAtMs(path) - world.nowMs() : 0;
        if (waitMs <= 0) return this.#open.open({ path, node: this.#open.held(path) ?? node, revision: this.#revision });
        await world.sleep(waitMs);
      }
    });
    if (opened instanceof Refused) reply(-opened.errno);
    else reply(0, opened);
  }

  /** When the kernel has nothing any more of what this path was in an earlier revision. In a view nothing ever changes. */
  #settledAtMs(path: string): number {
    if (path.startsWith(VIEWS_PREFIX)) return 0;
    return Math.max(this.#switchedAtMs, this.#closed.get(path) ?? -Infinity) + KEPT_MS;
  }

  #list(world: DriverWorld, path: string): { readonly names: string[]; readonly stats: Stat[] } {
    const node = this.#resolve(world, path);
    const own = stat(world.files.attributes(node));
    const names = ['.', '..'];
    const stats = [own, own];
    for (const entry of world.files.list(node)) {
      const name = passable(entry.name);
      if (name === undefined) {
        this.#hide(path, entry.name);
        continue;
      }
      names.push(name);
      stats.push(stat(entry.attributes));
    }
    return { names, stats };
  }

  #answer<T>(path: string, reply: Reply<T>, work: (world: DriverWorld) => T): void {
    void this.#guarded(path, (world) => world.whenLocal(() => work(world))).then((given) => {
      if (given instanceof Refused) reply(-given.errno);
      else reply(0, given);
    });
  }

  async #bytes(path: string, work: (world: DriverWorld) => Buffer): Promise<Buffer | number> {
    const given = await this.#guarded(path, (world) => world.whenLocal(() => work(world)));
    return given instanceof Refused ? given.errno : given;
  }

  /** Does `work`; what stops it is an errno. */
  async #guarded<T>(path: string, work: (world: DriverWorld) => Promise<T>): Promise<T | Refused> {
    const world = await this.#world;
    try {
      return await work(world);
    } catch (error) {
      if (error instanceof Refused) return error;
      return new Refused(world.errnoOf(Failure.from(error), () => path));
    }
  }
}

/**
 * The package has 32 bits for an inode number, and milliseconds since 1970 without a sign for times: what is more exact is
 * cut, what is earlier is 1970. `blocks` as the kernel driver has it.
 */
function stat(a: NodeAttributes): Stat {
  const time = Math.max(0, a.mtime * 1000 + Math.floor(a.mtimeNs / 1_000_000));
  return { mode: a.mode, uid: a.uid, gid: a.gid, size: a.size, nlink: a.nlink, ino: a.inoRowid, rdev: a.rdev, blksize: 4096, blocks: 1 + Math.floor(a.size / 512), atime: time, mtime: time, ctime: time };
}
