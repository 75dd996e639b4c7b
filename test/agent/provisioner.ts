/**
 * The provisioner: gives a container root file systems, remembers in `layers` what they are made of, and after a restart
 * destroys what belongs to no container. Prune has it for itself; everything else goes side by side.
 *
 *     <work_dir>/provisioner/containers/<id>/layers                            ContainerLayers {paths = 1, config = 2}
 *     <work_dir>/provisioner/containers/<id>/backends/overlay/rootfses/<uuid>  a mount
 */
import { randomUUID } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { RwLock } from '../../provisioner/rwlock';
import { checkpoint, readCheckpoint } from './checkpoint';
import type { ContainerId } from './container-id';
import { containerDir, isBelow, listContainers } from './container-id';
import type { RuntimeConfig } from './manifest';
import { BACKEND, destroyOverlay, provisionOverlay } from './overlay';
import type { AtStep } from './steps';
import type { DockerStore, Image } from './store';

export interface Provisioned {
  readonly rootfs: string;
  readonly config: RuntimeConfig;
}

interface Info {
  readonly rootfses: Set<string>;
  /** Of the last image only, the path of its configuration among them. */
  layers: readonly string[];
  provisioning: Promise<unknown>;
  destroyed?: Promise<boolean>;
}

export class Provisioner {
  readonly #root: string;
  readonly #infos = new Map<ContainerId, Info>();
  readonly #lock = new RwLock();

  constructor(
    workDir: string,
    private readonly store: DockerStore,
    private readonly at: AtStep,
    private readonly warn: (text: string) => void,
  ) {
    fs.mkdirSync(path.join(workDir, 'provisioner'), { recursive: true });
    this.#root = fs.realpathSync(path.join(workDir, 'provisioner'));
  }

  /** Known containers are believed to be as they were; the others are destroyed, and a failure there keeps the agent down. */
  async recover(known: ReadonlySet<ContainerId>): Promise<void> {
    const ids = listContainers(this.#root);
    for (const id of ids) {
      const backends = path.join(this.#dir(id), 'backends');
      const found = fs.existsSync(backends) ? fs.readdirSync(backends) : [];
      for (const backend of found) if (backend !== BACKEND) throw new Error(`Failed to recover container ${id}: backend ${backend} is unknown`);
      const rootfses = path.join(backends, BACKEND, 'rootfses');
      const layers = readCheckpoint(path.join(this.#dir(id), 'layers'));
      const config = layers?.string(2);
      this.#infos.set(id, {
        rootfses: new Set(fs.existsSync(rootfses) ? fs.readdirSync(rootfses) : []),
        layers: layers === undefined ? [] : [...layers.strings(1), ...(config === undefined ? [] : [config])],
        provisioning: Promise.resolve(),
      });
    }
    this.store.recover();
    // A parent may be unknown only because its child is: it takes the child with it.
    await Promise.all(ids.filter((id) => !known.has(id)).map((id) => this.destroy(id)));
  }

  provision(id: ContainerId, image: Image, signal: AbortSignal): Promise<Provisioned> {
    return this.#lock.read(async () => {
      const { layers, configFile, config } = await this.store.get(image, signal);
      const uuid = randomUUID();
      const info = this.#infos.get(id) ?? { rootfses: new Set<string>(), layers: [], provisioning: Promise.resolve() };
      this.#infos.set(id, info);
      info.rootfses.add(uuid);
      info.layers = [...layers, configFile];
      const made = provisionOverlay(layers, this.#backendDir(id), uuid, this.at);
      info.provisioning = made.catch(() => undefined);
      const rootfs = await made;
      checkpoint(path.join(this.#dir(id), 'layers'), [...layers.map((layer) => [1, layer] as const), [2, configFile]]);
      await this.at('layers-checkpointed');
      return { rootfs, config };
    });
  }

  /** False for a container without a root file system; calls for one container share one end. */
  destroy(id: ContainerId): Promise<boolean> {
    const info = this.#infos.get(id);
    if (info === undefined) return Promise.resolve(false);
    return (info.destroyed ??= this.#lock.read(() => this.#destroy(id, info)));
  }

  /** `excluded`: names of images. */
  async prune(excluded: readonly string[]): Promise<void> {
    const moved = await this.#lock.write(() => this.store.prune(excluded, [...this.#infos.values()].flatMap(({ layers }) => layers)));
    await this.store.deletePruned(moved, this.warn);
  }

  async #destroy(id: ContainerId, info: Info): Promise<boolean> {
    // Its children end under its lock: a prune that waits in between would wait for it, and they for the prune.
    for (const [child, inner] of this.#infos) if (isBelow(child, id)) await (inner.destroyed ??= this.#destroy(child, inner));
    await info.provisioning;
    for (const uuid of info.rootfses) await destroyOverlay(this.#backendDir(id), uuid, this.at, this.warn);
    await this.at('rootfs-destroyed');
    try {
      fs.rmSync(this.#dir(id), { recursive: true });
    } catch (error) {
      // Tried again at the next start, when nobody knows it any more.
      if (fs.existsSync(this.#dir(id))) this.warn(`Failed to remove ${this.#dir(id)}: ${(error as Error).message}`);
    }
    this.#infos.delete(id);
    await this.at('directory-removed');
    return true;
  }

  #dir(id: ContainerId): string {
    return containerDir(this.#root, id);
  }

  #backendDir(id: ContainerId): string {
    return path.join(this.#dir(id), 'backends', BACKEND);
  }
}
