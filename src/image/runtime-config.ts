/**
 * Finds what an image says about running it. The first of these that has it:
 *
 *   1. `/.metadata/<link or directory>/config.json` in the repository: our publisher's (ducc-layout.ts)
 *   2. the sources in `image_config_sources`
 *   3. `.singularity.d` inside the image: DUCC's, incomplete
 *   4. nothing: an empty configuration
 *
 * The sha256 of the configuration is known for a flat tree, whose id it is, and otherwise from a kept manifest.json. Where
 * it is known, 1 and 2 count only when they have it, and the same bytes are taken from the cache; where it is not, 2 can
 * not be asked.
 *
 * A file or an answer that is unusable is passed over with a warning. A source that may have the configuration, and can
 * not be asked now, is a failure when no other has it: a container that started without its Entrypoint and Env because a
 * registry was slow would be the worse outcome, and the image's digest would flip.
 */
import { createHash } from 'node:crypto';
import { Failure } from '../error';
import type { ConfigCache } from './config-cache';
import type { ConfigSource } from './config-source';
import { MAX_MANIFEST_BYTES, parseDockerManifest } from './docker-manifest';
import { flatId, metadataPath } from './ducc-layout';
import type { ImageManifest } from './image-manifest';
import { EMPTY_MANIFEST, MAX_CONFIG_BYTES, parseImageConfig } from './image-manifest';
import type { LocatedImage } from './locate';
import { pathToText } from './path-text';
import { readPlainFile } from './plain-file';
import { readSingularity } from './singularity';

export interface RuntimeConfigOptions {
  readonly sources: readonly ConfigSource[];
  readonly cache: ConfigCache;
  readonly signal?: AbortSignal;
}

export interface RuntimeConfig {
  readonly manifest: ImageManifest;
  /** Where it came from: `cache`, `.metadata`, a source's name, `.singularity.d` or `none`. */
  readonly source: string;
  /** What was passed over, a sentence each. */
  readonly warnings: readonly string[];
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

const TRANSIENT: readonly string[] = ['NETWORK', 'DEADLINE_EXCEEDED'];

export async function findRuntimeConfig(image: LocatedImage, options: RuntimeConfigOptions): Promise<RuntimeConfig> {
  const search = new Search(image, options);
  const digest = await search.digest();
  return (
    (digest === undefined ? undefined : await search.cached(digest)) ??
    (await search.metadata(digest)) ??
    (digest === undefined ? undefined : await search.sources(digest)) ??
    (await search.singularity()) ?? { manifest: EMPTY_MANIFEST, source: 'none', warnings: search.warnings }
  );
}

class Search {
  readonly warnings: string[] = [];
  /** Paths whose metadata speak of the image: the link that was asked for, then the directory itself. */
  private readonly names: readonly Buffer[];

  constructor(
    private readonly image: LocatedImage,
    private readonly options: RuntimeConfigOptions,
  ) {
    this.names = image.asked.equals(image.path) ? [image.path] : [image.asked, image.path];
  }

  /** The sha256 that the configuration must have, if it is known. */
  async digest(): Promise<string | undefined> {
    const id = flatId(this.image.path);
    if (id !== undefined) return id;
    for (const name of this.names) {
      const path = metadataPath(name, 'manifest.json');
      const kept = await this.usable(pathToText(path), async () => {
        const bytes = await this.read(path, MAX_MANIFEST_BYTES);
        return bytes === undefined ? undefined : parseDockerManifest(bytes).configDigest;
      });
      if (kept !== undefined) return kept;
    }
    return undefined;
  }

  async cached(digest: string): Promise<RuntimeConfig | undefined> {
    const manifest = await this.usable('the cache of configurations', async () => {
      const bytes = await this.options.cache.get(digest);
      return bytes === undefined ? undefined : accept(bytes, digest);
    });
    return manifest === undefined ? undefined : this.found(manifest, 'cache');
  }

  async metadata(digest: string | undefined): Promise<RuntimeConfig | undefined> {
    for (const name of this.names) {
      const path = metadataPath(name, 'config.json');
      const manifest = await this.usable(pathToText(path), async () => {
        const bytes = await this.read(path, MAX_CONFIG_BYTES);
        return bytes === undefined ? undefined : this.keep(bytes, digest ?? sha256(bytes));
      });
      if (manifest !== undefined) return this.found(manifest, '.metadata');
    }
    return undefined;
  }

  async sources(digest: string): Promise<RuntimeConfig | undefined> {
    const { reference } = this.image;
    let unreachable: Failure | undefined;
    for (const source of this.options.sources) {
      try {
        const manifest = await this.usable(source.name, async () => {
          const bytes = await source.fetch(digest, reference.kind === 'docker' ? reference.repository : undefined, this.options.signal);
          return bytes === undefined ? undefined : this.keep(bytes, digest);
        });
        if (manifest !== undefined) return this.found(manifest, source.name);
      } catch (reason) {
        if (!(reason instanceof Failure) || !TRANSIENT.includes(reason.code)) throw reason;
        unreachable ??= reason;
      }
    }
    if (unreachable === undefined) return undefined;
    throw new Failure(unreachable.code, `the configuration sha256:${digest} of the image can not be had now: ${unreachable.message}`, {
      next: 'try again, or put a copy into another of image_config_sources',
      cause: unreachable,
    });
  }

  async singularity(): Promise<RuntimeConfig | undefined> {
    const { reader, snapshot, path } = this.image;
    const manifest = await this.usable('.singularity.d', () => readSingularity(reader, snapshot, path, (text) => this.warnings.push(text)));
    return manifest === undefined ? undefined : this.found(manifest, '.singularity.d');
  }

  /** Only what has its sha256 and can be read is kept. */
  private async keep(bytes: Buffer, digest: string): Promise<ImageManifest> {
    const manifest = accept(bytes, digest);
    await this.options.cache.set(digest, bytes);
    return manifest;
  }

  private found(manifest: ImageManifest, source: string): RuntimeConfig {
    return { manifest, source, warnings: this.warnings };
  }

  private read(path: Buffer, maxBytes: number): Promise<Buffer | undefined> {
    return readPlainFile(this.image.reader, this.image.snapshot, path, maxBytes);
  }

  /** Passes over what is unusable; what may be better next time is thrown on. */
  private async usable<T>(what: string, work: () => Promise<T | undefined>): Promise<T | undefined> {
    try {
      return await work();
    } catch (reason) {
      if (!(reason instanceof Failure) || reason.code !== 'FAILED_PRECONDITION') throw reason;
      this.warnings.push(`${what} is not used: ${reason.message}`);
      return undefined;
    }
  }
}

function accept(bytes: Buffer, digest: string): ImageManifest {
  const actual = sha256(bytes);
  if (actual !== digest) throw new Failure('FAILED_PRECONDITION', `its sha256 is ${actual}, and the image's configuration has ${digest}`);
  return parseImageConfig(bytes, digest);
}
