/**
 * What the agent gets for an image: a docker manifest (schema 2) of one layer, and the configuration object that it names.
 *
 *     {"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
 *      "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": N, "digest": "sha256:<of these N bytes>"},
 *      "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": 1, "digest": "sha256:<image digest>"}]}
 *
 * The layer's digest is that of the image (src/image/resolve.ts): a function of repository, view, path in it and
 * configuration. No bytes have it: the agent uses it as the name of a directory in its store and never compares it with a
 * content. An agent keeps a configuration for ever under its digest, so each configuration has its own.
 *
 * An agent aborts, all of it, when the configuration has no `config` object, and refuses sizes that are no uint32.
 */
import { createHash } from 'node:crypto';
import type { ImageManifest } from '../../src/image/image-manifest';

export const MANIFEST_TYPE = 'application/vnd.docker.distribution.manifest.v2+json';
export const CONFIG_TYPE = 'application/vnd.docker.container.image.v1+json';
const LAYER_TYPE = 'application/vnd.docker.image.rootfs.diff.tar.gzip';

/** Go's names of what Node calls otherwise. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386', ppc64: 'ppc64le' };

/** This host's architecture as images name it. */
export function goArchitecture(): string {
  return ARCHITECTURES[process.arch] ?? process.arch;
}

export function sha256Digest(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** The configuration object, always the same bytes for the same manifest and layer. */
export function configObject(manifest: Omit<ImageManifest, 'config'> & { readonly config?: Partial<ImageManifest['config']> | undefined }, layer: string): Buffer {
  const { Hostname, Entrypoint = [], Env = [], User = '', Cmd = [], WorkingDir = '', Labels = {} } = manifest.config ?? {};
  return Buffer.from(
    JSON.stringify({
      ...(manifest.created === undefined ? {} : { created: manifest.created }),
      ...(manifest.author === undefined ? {} : { author: manifest.author }),
      architecture: manifest.architecture ?? goArchitecture(),
      os: manifest.os ?? 'linux',
      config: { ...(Hostname === undefined ? {} : { Hostname }), User, Env, Entrypoint, Cmd, WorkingDir, Labels },
      rootfs: { type: 'layers', diff_ids: [layer] },
    }),
  );
}

/** @param layer digest of the image. */
export function manifestObject(config: { readonly digest: string; readonly size: number }, layer: string): Buffer {
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST_TYPE,
      config: { mediaType: CONFIG_TYPE, size: config.size, digest: config.digest },
      layers: [{ mediaType: LAYER_TYPE, size: 1, digest: layer }],
    }),
  );
}
