/**
 * What an agent's docker puller asks for. The agent has cut the registry off already; what the rest may mean is in
 * src/image/facade-name.ts. Names arrive as bytes, percent-encoded or not.
 *
 *     GET /v2/<name>/manifests/<tag or digest>          GET /v2/<name>/blobs/<digest>
 */
import { Failure } from '../../src/error';
import type { FacadeName } from '../../src/image/facade-name';
import { MAX_PATH_BYTES, pathToText } from '../../src/image/path-text';

export interface RegistryRequest extends FacadeName {
  readonly kind: 'manifest' | 'blob';
}

const REFERENCE_BYTES_MAX = 255;

function malformed(why: string): Failure {
  return new Failure('INVALID_ARGUMENT', `the name of the image ${why}`, { next: 'name it <repository>/<path>:<tag> or <docker name>:<tag>' });
}

/** Bytes of an URL's path as Node gives it (each character a byte), `%XX` undone. */
function decoded(text: string): Buffer {
  if (/%(?![0-9A-Fa-f]{2})/.test(text)) throw malformed('holds a % without two hex digits');
  return Buffer.from(text.replace(/%([0-9A-Fa-f]{2})/g, (_all, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))), 'latin1');
}

/** The request behind a path below `/v2/`; undefined when it is no manifest and no blob. INVALID_ARGUMENT for a bad name. */
export function parseRegistryPath(path: string): RegistryRequest | undefined {
  const match = /^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/.exec(path);
  if (match === null) return undefined;
  const name = decoded(match[1]!);
  if (name.length > MAX_PATH_BYTES) throw malformed(`has ${name.length} bytes, and ${MAX_PATH_BYTES} are allowed`);
  const reference = decoded(match[3]!);
  if (reference.length > REFERENCE_BYTES_MAX || reference.includes(0) || reference.includes('/')) throw malformed('has a tag that is none');
  return { kind: match[2] === 'manifests' ? 'manifest' : 'blob', name, reference: pathToText(reference) };
}
