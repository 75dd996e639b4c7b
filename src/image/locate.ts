/**
 * From a reference to a directory in one revision of a repository: our own walk over catalog rows, never the mount.
 *
 * Docker names are looked up in the image repositories in their order, and the first that has the image wins. A repository
 * that cannot be read ends the search: with it skipped, one name could mean two images, depending on the network.
 *
 * A digest is the sha256 of the manifest as the registry served it. DUCC keeps the manifest's members, not its bytes, so
 * for a link that is called `…@sha256:<digest>` the publisher's word is taken, unless what lies beside it contradicts: a
 * kept manifest that neither is the one with that digest nor belongs to the tree that the link leads to. Where there is no
 * such link, a tag of that repository counts when its kept manifest has exactly that digest.
 */
import { createHash } from 'node:crypto';
import { Failure } from '../error';
import type { EntryType, RepositoryReader, Snapshot, WalkedEntry } from '../repository/reader';
import type { DockerManifest } from './docker-manifest';
import { MAX_MANIFEST_BYTES, parseDockerManifest } from './docker-manifest';
import { flatId, layerPath, metadataPath, readableLinks, tagFolders } from './ducc-layout';
import { pathToText } from './path-text';
import { isAbsence, readPlainFile } from './plain-file';
import type { CvmfsReference, DockerReference, ImageReference } from './reference';
import { formatReference } from './reference';

/** The repositories that may be asked. */
export interface RepositorySet<R extends RepositoryReader = RepositoryReader> {
  /** Names of all configured repositories. */
  readonly configured: readonly string[];
  /** Names of those in which docker names are looked up, in order. */
  readonly imageRepositories: readonly string[];
  /** A configured one, readable; waits for its mount as long as the caller has time, else throws what mounting threw. */
  open(fqrn: string): Promise<R>;
}

/** A directory that an image was found at. */
export interface LocatedImage<R extends RepositoryReader = RepositoryReader> {
  readonly reference: ImageReference;
  readonly reader: R;
  readonly snapshot: Snapshot;
  /** The path that was walked: a readable link, or the path that was asked for. */
  readonly asked: Buffer;
  /** The directory that it led to, without any link. */
  readonly path: Buffer;
  readonly catalog: WalkedEntry['catalog'];
}

/** Tags of one repository that are compared with a digest. */
const MAX_TAGS = 500;
/** Entries of the folder that they lie in. */
const MAX_FOLDER_ENTRIES = 10_000;

const KINDS: Readonly<Record<EntryType, string>> = {
  directory: 'a directory',
  file: 'a file',
  symlink: 'a symbolic link',
  fifo: 'a fifo',
  socket: 'a socket',
  'character-device': 'a character device',
  'block-device': 'a block device',
};

export async function locateImage<R extends RepositoryReader>(reference: ImageReference, repositories: RepositorySet<R>): Promise<LocatedImage<R>> {
  return reference.kind === 'cvmfs' ? locateDirectory(reference, repositories) : locateDocker(reference, repositories);
}

async function locateDirectory<R extends RepositoryReader>(reference: CvmfsReference, repositories: RepositorySet<R>): Promise<LocatedImage<R>> {
  if (!repositories.configured.includes(reference.repository)) {
    throw new Failure('NOT_FOUND', `repository ${reference.repository} is not configured; configured are: ${repositories.configured.join(', ') || 'none'}`, {
      next: `add [repositories."${reference.repository}"] to the configuration`,
    });
  }
  const reader = await repositories.open(reference.repository);
  const place = await Place.of(reader);
  const found = await place.directory(reference, reference.path);
  if (found === undefined) throw new Failure('NOT_FOUND', `image ${formatReference(reference)} is not there; looked at: ${place.looked.join(', ')}`, { data: { looked: place.looked } });
  return found;
}

async function locateDocker<R extends RepositoryReader>(reference: DockerReference, repositories: RepositorySet<R>): Promise<LocatedImage<R>> {
  if (repositories.imageRepositories.length === 0) {
    throw new Failure('NOT_FOUND', `image ${formatReference(reference)}: there is no repository to look in`, { next: 'name one in provisioner.image_repositories' });
  }
  const looked: string[] = [];
  for (const name of repositories.imageRepositories) {
    const place = await Place.of(await repositories.open(name));
    for (const link of readableLinks(reference)) {
      const found = await place.directory(reference, link);
      if (found === undefined) continue;
      if (reference.digest !== undefined) await place.contradict(found, reference.digest);
      return found;
    }
    const tagged = reference.digest === undefined ? undefined : await place.taggedWith(reference, reference.digest);
    if (tagged !== undefined) return tagged;
    await place.refuseLayers(reference);
    looked.push(...place.looked);
  }
  throw new Failure('NOT_FOUND', `image ${formatReference(reference)} is in no image repository; looked at: ${looked.join(', ')}`, { data: { looked } });
}

/** One repository in one revision, and where it was looked at in vain. */
class Place<R extends RepositoryReader> {
  readonly looked: string[] = [];

  private constructor(
    private readonly reader: R,
    private readonly snapshot: Snapshot,
  ) {}

  static async of<R extends RepositoryReader>(reader: R): Promise<Place<R>> {
    return new Place(reader, await reader.snapshot());
  }

  /** The directory at the path; undefined, and noted, when there is nothing. FAILED_PRECONDITION when it is something else. */
  async directory(reference: ImageReference, asked: Buffer): Promise<LocatedImage<R> | undefined> {
    let entry: WalkedEntry;
    try {
      entry = await this.reader.walk(this.snapshot, asked);
    } catch (reason) {
      if (!isAbsence(reason)) throw reason;
      this.looked.push(`${this.name(asked)}${await this.dangling(asked)}`);
      return undefined;
    }
    if (entry.type !== 'directory') {
      throw new Failure('FAILED_PRECONDITION', `image ${formatReference(reference)}: ${this.name(entry.path)} is ${KINDS[entry.type]}, and an image is a directory`);
    }
    return { reference, reader: this.reader, snapshot: this.snapshot, asked, path: entry.path, catalog: entry.catalog };
  }

  /** Refuses a link by digest whose kept manifest belongs to something else. */
  async contradict(found: LocatedImage<R>, digest: string): Promise<void> {
    const kept = await this.manifest(found.asked);
    const id = flatId(found.path);
    if (kept === undefined || kept.digest === digest || id === undefined || id === kept.configDigest) return;
    throw new Failure('FAILED_PRECONDITION', `${this.name(found.asked)} leads to ${pathToText(found.path)}, but its manifest belongs to the configuration ${kept.configDigest}`, {
      next: 'the repository has to be repaired by its publisher',
    });
  }

  /** A tag of the same repository whose kept manifest has the digest. */
  async taggedWith(reference: DockerReference, digest: string): Promise<LocatedImage<R> | undefined> {
    for (const { folder, name } of tagFolders(reference)) {
      const wanted = Buffer.from(`${name}:`);
      const tags = (await this.list(metadataFolder(folder))).filter((entry) => entry.subarray(0, wanted.length).equals(wanted));
      if (tags.length > 0) this.looked.push(`${Math.min(tags.length, MAX_TAGS)} tags at ${this.name(Buffer.concat([folder, Buffer.from('/'), wanted]))}*`);
      for (const tag of tags.slice(0, MAX_TAGS)) {
        const link = Buffer.concat([folder, Buffer.from('/'), tag]);
        const kept = await this.manifest(link);
        if (kept?.digest !== digest) continue;
        const found = await this.directory(reference, link);
        // A tag that moved on keeps its old manifest for a while; then the tree must still be the manifest's.
        if (found !== undefined && flatId(found.path) === kept.configDigest) return found;
      }
    }
    return undefined;
  }

  /** UNIMPLEMENTED when the image is there as layers alone. */
  async refuseLayers(reference: DockerReference): Promise<void> {
    for (const link of readableLinks(reference)) {
      const base = (await this.manifest(link))?.layers[0];
      if (base === undefined || !(await this.exists(layerPath(base)))) continue;
      throw new Failure('UNIMPLEMENTED', `image ${formatReference(reference)}: ${this.reader.fqrn} has its layers, but no flat root file system`, {
        next: 'have it converted with flat images, which is the default of cvmfs_ducc',
      });
    }
  }

  /** The manifest that is kept for a link, with its own sha256; undefined when there is none, or nothing usable. */
  private async manifest(link: Buffer): Promise<(DockerManifest & { readonly digest: string }) | undefined> {
    try {
      const bytes = await readPlainFile(this.reader, this.snapshot, metadataPath(link, 'manifest.json'), MAX_MANIFEST_BYTES);
      return bytes === undefined ? undefined : { ...parseDockerManifest(bytes), digest: createHash('sha256').update(bytes).digest('hex') };
    } catch (reason) {
      if (reason instanceof Failure && reason.code === 'FAILED_PRECONDITION') return undefined;
      throw reason;
    }
  }

  private name(path: Buffer): string {
    return `${this.reader.fqrn}:${pathToText(path)}`;
  }

  private async exists(path: Buffer): Promise<boolean> {
    return this.reader.walk(this.snapshot, path).then(
      () => true,
      (reason: unknown) => {
        if (isAbsence(reason)) return false;
        throw reason;
      },
    );
  }

  private async dangling(path: Buffer): Promise<string> {
    const entry = await this.reader.walk(this.snapshot, path, { followLast: false }).catch(() => undefined);
    return entry?.target === undefined ? '' : ` (a link to ${pathToText(entry.target)}, which is missing)`;
  }

  private async list(folder: Buffer): Promise<Buffer[]> {
    try {
      return (await this.reader.list(this.snapshot, folder, MAX_FOLDER_ENTRIES)).map((entry) => entry.name);
    } catch (reason) {
      if (isAbsence(reason)) return [];
      throw reason;
    }
  }
}

const metadataFolder = (folder: Buffer): Buffer => Buffer.concat([Buffer.from('/.metadata'), folder]);
