/**
 * Manifests of real registries, made into what an agent understands: docker's schema 2, one image, sizes in 32 bits.
 *
 *     docker manifest v2, OCI manifest     →  docker manifest v2; the digests of configuration and layers stay
 *     manifest list, OCI index             →  the entry for Linux on this host's architecture
 *     schema 1, layers of zstd or foreign  →  refused: an agent could not unpack them
 */
import { z } from 'zod';
import { Failure } from '../../src/error';
import { CONFIG_TYPE, goArchitecture, MANIFEST_TYPE } from './image-answer';

const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const LISTS = ['application/vnd.docker.distribution.manifest.list.v2+json', 'application/vnd.oci.image.index.v1+json'];
/** What a registry is asked for. */
export const ACCEPTED = [MANIFEST_TYPE, OCI_MANIFEST, ...LISTS].join(', ');

const LAYERS: Readonly<Record<string, string>> = {
  'application/vnd.docker.image.rootfs.diff.tar.gzip': 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  'application/vnd.docker.image.rootfs.diff.tar': 'application/vnd.docker.image.rootfs.diff.tar',
  'application/vnd.oci.image.layer.v1.tar+gzip': 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  'application/vnd.oci.image.layer.v1.tar': 'application/vnd.docker.image.rootfs.diff.tar',
};
/** An agent reads sizes as uint32 and never compares them. */
const SIZE_MAX = 2 ** 32 - 1;

const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/);
const descriptor = z.object({ mediaType: z.string().max(256), size: z.number().int().min(0), digest });
const manifestShape = z.object({ schemaVersion: z.literal(2), config: descriptor, layers: z.array(descriptor).min(1).max(1000) });
const listShape = z.object({
  manifests: z.array(z.object({ digest, platform: z.object({ os: z.string(), architecture: z.string() }).optional() })).max(1000),
});

export type Translated = { readonly kind: 'image'; readonly body: Buffer; readonly config: string; readonly layers: readonly string[] } | { readonly kind: 'entry'; readonly digest: string };

function parsed<T>(shape: z.ZodType<T>, bytes: Buffer, where: string): T {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch {
    throw new Failure('FAILED_PRECONDITION', `${where}: the manifest is not JSON`);
  }
  const result = shape.safeParse(value);
  if (result.success) return result.data;
  throw new Failure('FAILED_PRECONDITION', `${where}: the manifest's field ${result.error.issues[0]!.path.join('.')}: ${result.error.issues[0]!.message}`);
}

/** @param where registry and image, for messages. FAILED_PRECONDITION, NOT_FOUND (no entry for this architecture), UNIMPLEMENTED. */
export function translateManifest(contentType: string, bytes: Buffer, where: string): Translated {
  const type = contentType.split(';', 1)[0]!.trim().toLowerCase();
  if (LISTS.includes(type)) {
    const architecture = goArchitecture();
    const entry = parsed(listShape, bytes, where).manifests.find(({ platform }) => platform?.os === 'linux' && platform.architecture === architecture);
    if (entry === undefined) throw new Failure('NOT_FOUND', `${where} has no image for linux on ${architecture}`);
    return { kind: 'entry', digest: entry.digest };
  }
  if (type !== MANIFEST_TYPE && type !== OCI_MANIFEST) throw new Failure('UNIMPLEMENTED', `${where}: manifests of type ${JSON.stringify(type.slice(0, 100))} are not handed on`, { next: 'have the image pushed again with a docker of today' });
  const { config, layers } = parsed(manifestShape, bytes, where);
  const translated = layers.map(({ mediaType, size, digest: name }) => {
    const known = LAYERS[mediaType];
    if (known === undefined) throw new Failure('UNIMPLEMENTED', `${where}: an agent cannot unpack layers of type ${JSON.stringify(mediaType.slice(0, 100))}`, { next: 'have the image pushed with layers of gzip' });
    return { mediaType: known, size: Math.min(size, SIZE_MAX), digest: name };
  });
  const body = JSON.stringify({ schemaVersion: 2, mediaType: MANIFEST_TYPE, config: { mediaType: CONFIG_TYPE, size: Math.min(config.size, SIZE_MAX), digest: config.digest }, layers: translated });
  return { kind: 'image', body: Buffer.from(body), config: config.digest, layers: layers.map((layer) => layer.digest) };
}

/** An agent ends, all of it, when a configuration has no `config` object: it is given an empty one. FAILED_PRECONDITION for what is no JSON object. */
export function safeConfig(bytes: Buffer, where: string): Buffer {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch {
    value = undefined;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Failure('FAILED_PRECONDITION', `${where}: the configuration is no JSON object`);
  const { config } = value as { config?: unknown };
  const there = typeof config === 'object' && config !== null && !Array.isArray(config);
  return there ? bytes : Buffer.from(JSON.stringify({ ...value, config: {} }));
}
