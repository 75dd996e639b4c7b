/**
 * The docker or OCI manifest of an image, as far as it is read here: {"config": {"digest": …}, "layers": [{"digest": …}]}.
 * Member names are compared without case: DUCC writes the manifest anew from a Go structure, in some versions capitalised.
 */
import { Failure } from '../error';

/** Bytes of a manifest: what registries accept. */
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;
/** Layers of an image; overlayfs and docker both stop at less. */
const MAX_LAYERS = 1000;

export interface DockerManifest {
  /** sha256 of the configuration object, 64 hex digits. */
  readonly configDigest: string;
  /** sha256 of each compressed layer, base first, 64 hex digits. */
  readonly layers: readonly string[];
}

function member(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  return Object.entries(value).find(([key]) => key.toLowerCase() === name)?.[1];
}

function sha256Of(value: unknown, what: string): string {
  const digest = member(value, 'digest');
  const match = typeof digest === 'string' ? /^sha256:([0-9a-f]{64})$/.exec(digest) : null;
  if (match === null) throw new Failure('FAILED_PRECONDITION', `the digest of ${what} is not sha256: and 64 hex digits`);
  return match[1]!;
}

/** FAILED_PRECONDITION says what is wrong with it; the caller knows where it lies. */
export function parseDockerManifest(bytes: Buffer): DockerManifest {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch {
    throw new Failure('FAILED_PRECONDITION', 'it is not JSON');
  }
  const layers = member(value, 'layers');
  if (!Array.isArray(layers) || layers.length > MAX_LAYERS) throw new Failure('FAILED_PRECONDITION', `it has no list of at most ${MAX_LAYERS} layers`);
  return { configDigest: sha256Of(member(value, 'config'), 'its configuration'), layers: layers.map((layer, index) => sha256Of(layer, `layer ${index}`)) };
}
