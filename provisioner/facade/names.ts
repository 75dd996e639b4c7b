/**
 * What an agent's docker puller asks for, and which image that may mean. The agent has cut the registry off already:
 *
 *     GET /v2/<name>/manifests/<tag or digest>          GET /v2/<name>/blobs/<digest>
 *
 *     <name>                              image
 *     <fqrn>/<path…>                      the directory `<path>:<tag>` of that repository; with the tag `latest` also `<path>`
 *     <fqrn>/<docker name>                the docker name, looked up in that repository alone
 *     <docker name>                       looked up in `provisioner.image_repositories`
 *
 * A name whose first component is a configured repository is one of the first two, tried in this order. Everything else
 * is a docker name, its registry included where it has one (`ghcr.io/org/app`). Names arrive as bytes, percent-encoded or not.
 */
import { Failure } from '../../src/error';
import { imagePath, MAX_PATH_BYTES, pathToText } from '../../src/image/path-text';

export interface RegistryRequest {
  readonly kind: 'manifest' | 'blob';
  /** Bytes of the name, without a slash at either end. */
  readonly name: Buffer;
  /** Tag or digest. */
  readonly reference: string;
}

/** One image that a name may stand for. */
export interface Candidate {
  /** As `parseReference` takes it. */
  readonly image: string;
  /** The one repository in which a docker name is looked up; undefined: the configured ones. */
  readonly onlyIn?: string;
}

const REFERENCE_BYTES_MAX = 255;
const DIGEST = /^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-fA-F]{32,}$/;

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

export function isDigest(reference: string): boolean {
  return DIGEST.test(reference);
}

/** All images that the name may stand for, in the order in which they are tried. INVALID_ARGUMENT for a path that is none. */
export function candidatesOf({ name, reference }: Pick<RegistryRequest, 'name' | 'reference'>, configured: readonly string[]): Candidate[] {
  const slash = name.indexOf('/');
  const first = name.subarray(0, slash < 0 ? name.length : slash).toString('latin1');
  const separator = isDigest(reference) ? '@' : ':';
  if (!configured.includes(first)) return [{ image: `${pathToText(name)}${separator}${reference}` }];
  const rest = name.subarray(first.length);
  const directory = (path: Buffer): Candidate => ({ image: `cvmfs://${first}${pathToText(imagePath(path))}` });
  const inside = pathToText(rest.subarray(1));
  // Without a path it is the repository's root, which is no entry of anything.
  return [
    ...(inside === '' ? [] : [{ image: `cvmfs://${first}${pathToText(imagePath(rest))}${separator}${reference}` }]),
    ...(reference === 'latest' ? [directory(rest)] : []),
    ...(/^[a-z0-9]/.test(inside) ? [{ image: `${inside}${separator}${reference}`, onlyIn: first }] : []),
  ];
}
