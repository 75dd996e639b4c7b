/**
 * From what a client asks for to what it gets: a directory in one revision, what to run in it, and a digest that stays as
 * long as the image does (docs/architecture.md, resolving).
 */
import { createHash } from 'node:crypto';
import { Failure } from '../error';
import type { RepositoryReader } from '../repository/reader';
import type { ImageManifest } from './image-manifest';
import type { LocatedImage, RepositorySet } from './locate';
import { locateImage } from './locate';
import { pathToText } from './path-text';
import type { ImageReference } from './reference';
import { cvmfsReference, formatReference, parseReference } from './reference';
import type { RuntimeConfigOptions } from './runtime-config';
import { findRuntimeConfig } from './runtime-config';

/** An image as `mesos.Image` says it (proto/mesos/mesos.proto), as far as it is read. */
export interface ImageMessage {
  readonly type?: string;
  readonly docker?: { readonly name: string };
  readonly cvmfs?: { readonly repository: string; readonly path: string };
}

export interface ResolvedImage<R extends RepositoryReader = RepositoryReader> extends Omit<LocatedImage<R>, 'reference' | 'asked'> {
  /** Canonical text. */
  readonly reference: string;
  /** Fully qualified name. */
  readonly repository: string;
  readonly manifest: ImageManifest;
  /** `.metadata`, a source's name, `cache`, `.singularity.d` or `none`. */
  readonly configSource: string;
  /** `sha256:…`, see `imageDigest`. */
  readonly digest: string;
  /** What was passed over on the way, a sentence each. */
  readonly warnings: readonly string[];
}

/** The reference in a message. INVALID_ARGUMENT says what is missing; UNIMPLEMENTED for APPC. */
export function referenceOf(image: ImageMessage): ImageReference {
  if (image.type === 'APPC') throw new Failure('UNIMPLEMENTED', 'images of type APPC are not offered', { next: 'use DOCKER or CVMFS' });
  if (image.type === 'DOCKER') {
    if (image.docker === undefined) throw new Failure('INVALID_ARGUMENT', 'image.docker is absent, and image.type is DOCKER');
    return parseReference(image.docker.name);
  }
  if (image.type === 'CVMFS') {
    if (image.cvmfs === undefined) throw new Failure('INVALID_ARGUMENT', 'image.cvmfs is absent, and image.type is CVMFS');
    return cvmfsReference(image.cvmfs.repository, Buffer.from(image.cvmfs.path, 'utf8'));
  }
  throw new Failure('INVALID_ARGUMENT', `image.type ${JSON.stringify(image.type ?? null)} is not known`, { next: 'expected DOCKER or CVMFS' });
}

/** The path of a directory inside the tree of a catalog that holds it: `/` for the catalog's own root. */
export function pathInCatalog(path: Buffer, catalogPath: Buffer): Buffer {
  const root = Buffer.from('/');
  if (catalogPath.length === 0 || catalogPath.equals(root)) return path;
  if (path.equals(catalogPath)) return root;
  const inside = path.subarray(0, catalogPath.length).equals(catalogPath) && path[catalogPath.length] === root[0];
  if (!inside) throw new Failure('INTERNAL', `${pathToText(path)} is not below its catalog ${pathToText(catalogPath)}`);
  return path.subarray(catalogPath.length);
}

/** JSON with the members of every object in one order. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) =>
    typeof item === 'object' && item !== null && !Array.isArray(item) ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1))) : item,
  );
}

/**
 * `sha256:` over repository, catalog, path inside the catalog's tree, and configuration: whoever has the digest has all
 * that a container can see. Revisions that do not touch the image's catalog do not change it, whatever links led there.
 */
export function imageDigest(image: { readonly repository: string; readonly catalogHash: string; readonly pathInCatalog: Buffer; readonly manifest: ImageManifest }): string {
  const text = canonicalJson({
    version: 1,
    repository: image.repository,
    catalog: image.catalogHash,
    path: pathToText(image.pathInCatalog),
    manifest: image.manifest,
  });
  return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}

/**
 * Finds an image and its configuration. Errors: NOT_FOUND (names every place looked at), FAILED_PRECONDITION (not a
 * directory, contradicting metadata), UNIMPLEMENTED (layers alone), LINK_LOOP, NETWORK and DEADLINE_EXCEEDED (a source of
 * configurations), and what reading a repository may throw.
 */
export async function resolveImage<R extends RepositoryReader>(reference: ImageReference, repositories: RepositorySet<R>, options: RuntimeConfigOptions): Promise<ResolvedImage<R>> {
  const { reader, snapshot, path, catalog, ...located } = await locateImage(reference, repositories);
  const { manifest, source, warnings } = await findRuntimeConfig({ reader, snapshot, path, catalog, ...located }, options);
  const digest = imageDigest({ repository: reader.fqrn, catalogHash: catalog.hash, pathInCatalog: pathInCatalog(path, catalog.path), manifest });
  return { reference: formatReference(reference), repository: reader.fqrn, reader, snapshot, path, catalog, manifest, configSource: source, digest, warnings };
}
