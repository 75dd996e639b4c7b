/**
 * The docker store: a cache of images in front of the puller. An image is there when its name is in the index and an lstat
 * finds each of its layers and its configuration; pulls of one name are shared by all who wait for it.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { check } from './check';
import type { RuntimeConfig } from './manifest';
import { parseImageConfig } from './manifest';
import type { PullerFlags } from './puller';
import { RegistryPuller } from './puller';
import { parseReference, showReference } from './reference';
import { ROOTFS, exists } from './store-paths';
import type { StoredImage } from './stored-images';
import { StoredImages } from './stored-images';
import type { AtStep } from './steps';
import { convertWhiteouts } from './whiteouts';

/** `cached` is false with `forcePullImage`: the registry is asked at each launch. */
export interface Image {
  readonly name: string;
  readonly cached?: boolean;
}

export interface ImageInfo {
  /** Root directories of the layers, base first. */
  readonly layers: readonly string[];
  readonly configFile: string;
  readonly config: RuntimeConfig;
}

interface Pull {
  readonly done: Promise<StoredImage>;
  readonly discard: AbortController;
  users: number;
}

export class DockerStore {
  readonly images: StoredImages;
  readonly #puller: RegistryPuller;
  readonly #pulls = new Map<string, Pull>();
  readonly #layersDir: string;

  constructor(
    private readonly dir: string,
    flags: PullerFlags,
    private readonly at: AtStep,
  ) {
    for (const folder of ['', 'staging', 'gc']) fs.mkdirSync(path.join(dir, folder), { recursive: true });
    this.#layersDir = path.join(dir, 'layers');
    this.images = new StoredImages(dir);
    this.#puller = new RegistryPuller(flags, this.#layersDir, at);
  }

  recover(): void {
    this.images.recover();
  }

  async get(image: Image, signal: AbortSignal): Promise<ImageInfo> {
    const stored = this.images.get(showReference(parseReference(image.name)));
    const hit = stored !== undefined && image.cached !== false && this.#paths(stored).every(exists);
    return this.#info(hit ? stored : await this.#pulled(image.name, signal));
  }

  /**
   * Forgets the images that are not excluded and moves what neither they nor `active` layers need out of the way; what was
   * moved is returned, for `deletePruned`.
   */
  async prune(excluded: readonly string[], active: readonly string[]): Promise<string[]> {
    if (this.#pulls.size > 0) throw new Error('Cannot prune while an image is pulled');
    const retained = this.images.retain(new Set(excluded.map((name) => showReference(parseReference(name)))));
    await this.at('index-stored');
    const needed = new Set(retained.flatMap(({ layerIds, configDigest }) => [...layerIds, configDigest]));
    // Of an active path its parent counts, so this keeps layers, and configurations only with their image.
    const inUse = new Set(active.map((layer) => path.dirname(layer)));
    const moved: string[] = [];
    for (const entry of fs.readdirSync(this.#layersDir)) {
      const at = path.join(this.#layersDir, entry);
      if (needed.has(entry) || inUse.has(at)) continue;
      const to = path.join(this.dir, 'gc', `${entry}.${process.hrtime.bigint()}`);
      fs.renameSync(at, to);
      moved.push(to);
      await this.at('one-moved');
    }
    await this.at('all-moved');
    return moved;
  }

  /** Walks without following links; what cannot be deleted is only said. */
  async deletePruned(moved: readonly string[], warn: (text: string) => void): Promise<void> {
    for (const dir of moved) await fs.promises.rm(dir, { recursive: true }).catch((error: Error) => warn(`Failed to delete ${dir}: ${error.message}`));
    await this.at('deleted');
  }

  #pulled(name: string, signal: AbortSignal): Promise<StoredImage> {
    const key = showReference(parseReference(name));
    let pull = this.#pulls.get(key);
    if (pull === undefined) {
      const discard = new AbortController();
      pull = { users: 0, discard, done: this.#pull(name, discard.signal).finally(() => this.#pulls.delete(key)) };
      this.#pulls.set(key, pull);
    }
    const shared = pull;
    shared.users++;
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        if (--shared.users === 0) shared.discard.abort();
        reject(new Error('the pull was discarded'));
      };
      signal.addEventListener('abort', leave, { once: true });
      shared.done.then(resolve, reject).finally(() => signal.removeEventListener('abort', leave));
    });
  }

  async #pull(name: string, signal: AbortSignal): Promise<StoredImage> {
    const reference = parseReference(name);
    const staging = fs.mkdtempSync(path.join(this.dir, 'staging', '/'));
    try {
      await this.at('staging-made');
      const { layerIds, configDigest } = await this.#puller.pull(reference, staging, signal);
      fs.mkdirSync(this.#layersDir, { recursive: true });
      for (const id of layerIds) this.#moveLayer(staging, id);
      await this.at('layers-moved');
      const config = path.join(staging, configDigest);
      if (exists(config) && !exists(path.join(this.#layersDir, configDigest))) fs.renameSync(config, path.join(this.#layersDir, configDigest));
      await this.at('config-moved');
      const stored = { reference, layerIds, configDigest };
      this.images.put(stored);
      await this.at('images-stored');
      return stored;
    } finally {
      fs.rmSync(staging, { recursive: true, force: true });
    }
  }

  #moveLayer(staging: string, id: string): void {
    const source = path.join(staging, id);
    const target = path.join(this.#layersDir, id);
    if (!exists(source) || exists(path.join(target, ROOTFS))) return;
    convertWhiteouts(path.join(source, ROOTFS));
    if (!exists(target)) fs.renameSync(source, target);
    else fs.renameSync(path.join(source, ROOTFS), path.join(target, ROOTFS));
  }

  #paths({ layerIds, configDigest }: StoredImage): string[] {
    return [...layerIds.map((id) => path.join(this.#layersDir, id, ROOTFS)), path.join(this.#layersDir, configDigest)];
  }

  #info(stored: StoredImage): ImageInfo {
    check(stored.layerIds.length > 0, 'a stored image has layers');
    const paths = this.#paths(stored);
    const configFile = paths.pop()!;
    return { layers: paths, configFile, config: parseImageConfig(fs.readFileSync(configFile)) };
  }
}
