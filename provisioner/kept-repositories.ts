/** The keeper of this host as `RepositoryMounts` wants it: finds, mounts and connects the configured repositories. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { Failure } from '../src/error';
import type { RepositoryConfig } from '../src/config/repository-config';
import { KeeperClient as Keeper } from '../src/fuse/control/keeper-client';
import { MountedClient } from '../src/fuse/control/mounted-client';
import type { KeeperList, MountInfo as KeptMount } from '../src/fuse/keeper/keeper';
import { mountRepository } from '../src/fuse/mount-repository';
import type { KeeperClient, MountInfo, MountSpec } from './repository-mounts';

export interface KeptRepositoriesOptions {
  readonly runDir: string;
  /** What a repository is mounted with, asked before each attempt: a key that was missing may be there by then. */
  readonly configOf: (fqrn: string) => RepositoryConfig;
  /** Who runs the file system servers. */
  readonly serverUid: number;
  readonly serverGid: number;
}

/** Where each repository belongs: `<mount_root>/<fqrn>`, with the links in `mount_root` resolved, as the keeper tells mounts. */
export function mountSpecs(mountRoot: string, repositories: Iterable<string>): MountSpec[] {
  fs.mkdirSync(mountRoot, { recursive: true, mode: 0o755 });
  const root = fs.realpathSync(mountRoot);
  return [...repositories].map((repository) => ({ repository, mountpoint: path.join(root, repository) }));
}

export class KeptRepositories implements KeeperClient {
  readonly #kept = new Map<string, KeptMount>();
  readonly #connected = new Map<string, MountedClient>();
  #closed = false;

  constructor(private readonly options: KeptRepositoriesOptions) {}

  async list(): Promise<MountInfo[]> {
    const { mounts } = await this.#ask((keeper) => keeper.list());
    this.#kept.clear();
    for (const mount of mounts) this.#kept.set(mount.id, mount);
    return [...mounts];
  }

  async mount({ repository, mountpoint }: MountSpec): Promise<MountInfo> {
    const { configOf, runDir, serverUid, serverGid } = this.options;
    const config = configOf(repository);
    await this.#ask(async (keeper) => {
      // Nobody answers for it any more and nobody ever will: containers on it are lost already, new ones need not be.
      if (isDead(await keeper.list(), mountpoint)) await keeper.unmount(mountpoint, true);
    });
    const mount = await mountRepository({ runDir, mountpoint, config, serverUid, serverGid });
    this.#kept.set(mount.id, mount);
    return mount;
  }

  async connect({ id, mountpoint }: MountInfo): Promise<MountedClient> {
    const kept = this.#kept.get(id);
    if (kept === undefined) throw new Failure('NETWORK', `the keeper does not know the mount at ${mountpoint} any more`);
    this.#connected.get(mountpoint)?.close();
    const repository = new MountedClient(kept);
    this.#connected.set(mountpoint, repository);
    // A mount whose server does not answer is not ready for anybody.
    await repository.snapshot();
    if (this.#closed) repository.close();
    return repository;
  }

  close(): void {
    this.#closed = true;
    for (const repository of this.#connected.values()) repository.close();
  }

  async #ask<T>(question: (keeper: Keeper) => Promise<T>): Promise<T> {
    const keeper = await Keeper.start(this.options.runDir);
    try {
      return await question(keeper);
    } finally {
      keeper.close();
    }
  }
}

function isDead(list: KeeperList, mountpoint: string): boolean {
  return list.dead.some((mount) => mount.mountpoint === mountpoint);
}
