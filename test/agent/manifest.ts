/**
 * The two documents of an image that the agent reads: the manifest (schema 2) and, in its configuration blob, the runtime
 * configuration. Manifest lists, OCI manifests and OCI indexes are refused; schema 1 is left out here.
 */
import { check } from './check';
import type { Shape } from './json-message';
import { fromJson } from './json-message';

export const MANIFEST_TYPE = 'application/vnd.docker.distribution.manifest.v2+json';
export const ACCEPTED = `${MANIFEST_TYPE},application/vnd.docker.distribution.manifest.v1+json,application/vnd.docker.distribution.manifest.v1+prettyjws`;

interface Blob {
  readonly mediaType: string;
  readonly size: number;
  readonly digest: string;
}

export interface Manifest {
  readonly schemaVersion: number;
  readonly mediaType: string;
  readonly config: Blob;
  readonly layers: readonly Blob[];
}

/** Members are capitalised as docker writes them. */
export interface RuntimeConfig {
  readonly Entrypoint: readonly string[];
  readonly Cmd: readonly string[];
  readonly Env: readonly string[];
  readonly WorkingDir?: string;
  readonly User?: string;
}

const BLOB: Shape = { mediaType: { type: 'string', required: true }, size: { type: 'uint32', required: true }, digest: { type: 'string', required: true } };
const MANIFEST: Shape = {
  schemaVersion: { type: 'uint32', required: true },
  mediaType: { type: 'string', required: true },
  config: { type: BLOB, required: true },
  layers: { type: { ...BLOB, urls: { type: 'string', repeated: true } }, repeated: true },
};
const CONFIG: Shape = {
  Hostname: { type: 'string' },
  Entrypoint: { type: 'string', repeated: true },
  Env: { type: 'string', repeated: true },
  User: { type: 'string' },
  Cmd: { type: 'string', repeated: true },
  WorkingDir: { type: 'string' },
  Image: { type: 'string' },
  Labels: { type: 'map' },
};
const IMAGE: Shape = {
  ...Object.fromEntries(['id', 'parent', 'comment', 'created', 'container', 'docker_version', 'author', 'architecture', 'os'].map((name) => [name, { type: 'string' as const }])),
  config: { type: CONFIG },
  container_config: { type: CONFIG },
  Size: { type: 'uint32' },
};

/** The body of a manifest answer; `contentType` is the header as it stands, since the agent compares all of it. */
export function parseManifest(contentType: string | undefined, body: Buffer): Manifest {
  if (contentType !== MANIFEST_TYPE) throw new Error(`Unsupported manifest MIME type: ${contentType}`);
  const manifest = fromJson(JSON.parse(body.toString()), MANIFEST, 'manifest') as unknown as Manifest;
  if (manifest.schemaVersion !== 2) throw new Error(`manifest.schemaVersion: ${manifest.schemaVersion} is not 2`);
  if (manifest.mediaType !== MANIFEST_TYPE) throw new Error(`manifest.mediaType: ${manifest.mediaType}`);
  if (manifest.layers.length === 0) throw new Error('manifest.layers: at least one is needed');
  for (const { digest } of [manifest.config, ...manifest.layers]) {
    // It becomes the name of a directory, or of a file.
    if (!digest.includes(':') || digest.includes('/')) throw new Error(`manifest: ${digest} is no digest`);
  }
  return manifest;
}

/** The configuration blob. The agent's docker/runtime isolator counts on its `config` member and aborts without. */
export function parseImageConfig(bytes: Buffer): RuntimeConfig {
  const { config } = fromJson(JSON.parse(bytes.toString()), IMAGE, 'image');
  check(config !== undefined, "the image's configuration has a `config` object");
  return config as RuntimeConfig;
}
