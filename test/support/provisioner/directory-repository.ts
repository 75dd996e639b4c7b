/**
 * A mounted repository for tests of the provisioner: its mount is a tmpfs with real directories, so that overlay and bind
 * mounts are real ones; its "images" are directories `/images/<name>`, each a view of its own.
 *
 *     <mountpoint>/.cvmfs-view/<sha1 of the image's path>/…
 *
 * A process of its own can use it again at the same place: it keeps nothing but those directories.
 */
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { Failure } from '../../../src/error';
import { MNT_DETACH, libc } from '../../../src/native/libc';
import type { MountedRepository, Snapshot, ViewPath, WalkedEntry } from '../../../src/repository/reader';
import { readMountinfo } from '../../../src/native/mountinfo';
import type { MountState, MountStatus, Mounts } from '../../../provisioner/mounts';

export const IMAGE_DIRECTORIES = ['proc', 'sys', 'dev', 'tmp', 'etc', 'bin'];

export function viewOf(imagePath: string): string {
  return createHash('sha1').update(imagePath).digest('hex');
}

/** Mounts a tmpfs as the repository. */
export function makeRepositoryMount(mountpoint: string): void {
  fs.mkdirSync(mountpoint, { recursive: true });
  libc().mount('tmpfs', mountpoint, 'tmpfs', 0, 'size=16m');
  fs.mkdirSync(path.join(mountpoint, '.cvmfs-view'), { mode: 0o700 });
}

export function makeImage(mountpoint: string, name: string, directories: readonly string[] = IMAGE_DIRECTORIES): void {
  const root = path.join(mountpoint, '.cvmfs-view', viewOf(`/images/${name}`));
  for (const dir of directories) fs.mkdirSync(path.join(root, dir), { recursive: true });
  fs.mkdirSync(path.join(root, 'etc'), { recursive: true });
  fs.writeFileSync(path.join(root, 'etc/image'), `${name}\n`);
  fs.writeFileSync(path.join(root, 'bin-su'), '', { mode: 0o755 });
  fs.chmodSync(path.join(root, 'bin-su'), 0o4755);
  fs.chmodSync(root, 0o751);
  fs.chownSync(root, 7, 8);
}

export class DirectoryRepository implements MountedRepository {
  readonly device: string;
  /** view → holders */
  readonly holds = new Map<string, Set<string>>();
  readonly madeViews: string[] = [];
  /** Set by tests: every call that may need the network waits for it. */
  network: Promise<void> = Promise.resolve();
  failRestore = false;

  constructor(
    readonly fqrn: string,
    readonly mountpoint: string,
  ) {
    const entry = readMountinfo().find((mount) => mount.mountpoint.toString() === mountpoint);
    if (entry === undefined) throw new Error(`${mountpoint} is not mounted`);
    this.device = entry.device;
  }

  snapshot(): Promise<Snapshot> {
    return Promise.resolve({ rootHash: '1'.repeat(40), revision: 1 });
  }

  async walk(_snapshot: Snapshot, asked: Buffer): Promise<WalkedEntry> {
    await this.network;
    const view = viewOf(asked.toString());
    if (!fs.existsSync(path.join(this.mountpoint, '.cvmfs-view', view))) throw new Failure('NOT_FOUND', `${asked.toString()} is not in ${this.fqrn}`);
    return { path: asked, type: 'directory', mode: 0o755, uid: 0, gid: 0, size: 0, mtime: 0, catalog: { hash: view, path: asked } };
  }

  list(_snapshot: Snapshot, asked: Buffer): Promise<Array<{ name: Buffer; type: 'directory' | 'file' }>> {
    const entries = fs.readdirSync(path.join(this.mountpoint, '.cvmfs-view', viewOf(asked.toString())), { withFileTypes: true });
    return Promise.resolve(entries.map((entry) => ({ name: Buffer.from(entry.name), type: entry.isDirectory() ? 'directory' : 'file' })));
  }

  readFile(_snapshot: Snapshot, asked: Buffer): Promise<Buffer> {
    return Promise.reject(new Failure('NOT_FOUND', `${asked.toString()} is not there`));
  }

  async makeView(_snapshot: Snapshot, asked: Buffer): Promise<ViewPath> {
    await this.network;
    const view = viewOf(asked.toString());
    this.madeViews.push(view);
    return this.#viewPath(view);
  }

  async restoreView(view: string): Promise<ViewPath> {
    await this.network;
    if (this.failRestore || !fs.existsSync(path.join(this.mountpoint, '.cvmfs-view', view))) throw new Failure('OBJECT_MISSING', `catalog ${view} is on no server`);
    return this.#viewPath(view);
  }

  holdView(view: string, holder: string): Promise<void> {
    this.holds.set(view, (this.holds.get(view) ?? new Set()).add(holder));
    return Promise.resolve();
  }

  releaseView(view: string, holder: string): Promise<void> {
    this.holds.get(view)?.delete(holder);
    return Promise.resolve();
  }

  readonly pins = new Set<string>();

  unpin(pin: string): Promise<void> {
    this.pins.delete(pin);
    return Promise.resolve();
  }

  prefetch(_view: string, _pathInView: Buffer, options: { pin?: string } = {}): Promise<{ objects: number; bytes: number }> {
    if (options.pin !== undefined) this.pins.add(options.pin);
    return Promise.resolve({ objects: 3, bytes: 300 });
  }

  recordStart(): Promise<null> {
    return Promise.resolve(null);
  }

  replayStart(): Promise<void> {
    return Promise.resolve();
  }

  #viewPath(view: string): ViewPath {
    return { view, pathInView: Buffer.from('/'), pathInMount: Buffer.from(`.cvmfs-view/${view}`) };
  }
}

/** `Mounts` over repositories that are there, or become so when a test says it. */
export class FixedMounts implements Mounts {
  readonly #states = new Map<string, MountState>();
  readonly #listeners: Array<(repository: MountedRepository) => void> = [];
  rechecks = 0;

  constructor(readonly repositories: readonly DirectoryRepository[]) {
    for (const { fqrn } of repositories) this.#states.set(fqrn, { kind: 'mounted' });
  }

  start(): void {
    for (const repository of this.repositories) for (const listener of this.#listeners) listener(repository);
  }

  stop(): void {}

  async get(fqrn: string): Promise<MountedRepository> {
    const repository = this.peek(fqrn);
    if (repository === undefined) throw new Failure('NOT_FOUND', `repository ${fqrn} is not configured`);
    return repository;
  }

  peek(fqrn: string): MountedRepository | undefined {
    return this.repositories.find((repository) => repository.fqrn === fqrn);
  }

  list(): MountStatus[] {
    return this.repositories.map(({ fqrn, mountpoint }) => ({ repository: fqrn, mountpoint, state: this.#states.get(fqrn)! }));
  }

  setState(fqrn: string, state: MountState): void {
    this.#states.set(fqrn, state);
  }

  recheck(): void {
    this.rechecks++;
  }

  onReady(listener: (repository: MountedRepository) => void): void {
    this.#listeners.push(listener);
  }
}

/** Unmounts everything at or below a directory, deepest first. */
export function unmountAllBelow(dir: string): void {
  const below = readMountinfo().filter(({ mountpoint }) => mountpoint.toString() === dir || mountpoint.toString().startsWith(`${dir}/`));
  for (const { mountpoint } of below.reverse()) {
    try {
      libc().umount2(mountpoint, MNT_DETACH);
    } catch {
      // Gone with the one above it.
    }
  }
}
