/**
 * The docker name under which an agent's facade has an image (docs/facade.md). What stock Marathon and the stock agent see is
 *
 *     127.0.0.1:61080/<fqrn>/<path>:<tag>       a directory of a repository; without a path, its root
 *     127.0.0.1:61080/<fqrn>/<name>:<tag>       a docker name, looked up in that repository
 *     127.0.0.1:61080/<name>:<tag>              a docker name, looked up in the repositories of the agent's host
 *
 * An agent finds the tag after the last colon behind the last slash, and a digest after `@`: both are percent-encoded where
 * they are part of a path, as is everything that an URL or `curl` would take for something else.
 */
import { Failure } from '../error';
import { isFqrn } from '../config/repository-config';
import { imagePath, MAX_PATH_BYTES, textToPath } from '../image/path-text';
import { cvmfsReference, parseReference } from '../image/reference';

/** Where the facade of every agent listens unless it is configured otherwise. */
export const DEFAULT_FACADE = '127.0.0.1:61080';

export type ImageRequest = { readonly repository: string; readonly path: string } | { readonly image: string; readonly repository?: string };

const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const PLAIN = /[A-Za-z0-9._~/+-]/;

/** `host:port` of a facade, checked. Agents speak plain http with 127.0.0.1 and localhost alone. */
export function checkFacade(facade: string): string {
  const port = /^(?:127\.0\.0\.1|localhost):([0-9]{1,5})$/.exec(facade)?.[1];
  if (port !== undefined && Number(port) >= 1 && Number(port) <= 65535) return facade;
  throw new Failure('INVALID_ARGUMENT', `${JSON.stringify(facade.slice(0, 100))} is not where an agent reaches its facade`, { next: `give 127.0.0.1 or localhost and a port, such as ${DEFAULT_FACADE}` });
}

/** The name without `host:port/`. INVALID_ARGUMENT for what names no image. */
export function facadePath(request: ImageRequest): string {
  const name = 'path' in request ? directoryName(request.repository, request.path) : dockerName(request.image, request.repository);
  if (name.length > MAX_PATH_BYTES) throw new Failure('INVALID_ARGUMENT', `the image has a name of ${name.length} characters for the agent, and ${MAX_PATH_BYTES} are allowed`, { next: 'give the image a shorter path in the repository' });
  return name;
}

function directoryName(repository: string, path: string): string {
  const { path: bytes } = cvmfsReference(repository, imagePath(textToPath(path)));
  // The repository itself is one image: the facade knows its root by this tag alone.
  if (bytes.toString('latin1') === '/') return `${repository}:latest`;
  const last = bytes.lastIndexOf(0x2f);
  const colon = bytes.lastIndexOf(0x3a);
  const tag = colon > last + 1 ? bytes.toString('latin1', colon + 1) : '';
  // The facade takes the name and its tag together first, so a colon in the last name is a tag again over there.
  if (TAG.test(tag)) return `${repository}${encoded(bytes.subarray(0, colon))}:${tag}`;
  return `${repository}${encoded(bytes)}:latest`;
}

function encoded(path: Buffer): string {
  return [...path].map((byte) => (PLAIN.test(String.fromCharCode(byte)) ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`)).join('');
}

function dockerName(image: string, repository: string | undefined): string {
  const reference = parseReference(image);
  if (reference.kind === 'cvmfs') {
    if (repository !== undefined) throw new Failure('INVALID_ARGUMENT', `${image.slice(0, 200)} names its repository itself`, { next: 'leave the member repository out' });
    return directoryName(reference.repository, image.slice(`cvmfs://${reference.repository}`.length));
  }
  if (repository !== undefined && !isFqrn(repository)) throw new Failure('INVALID_ARGUMENT', `${JSON.stringify(repository.slice(0, 100))} is not the name of a repository`, { next: 'expected a name such as images.example.org' });
  // As it was written, so that people recognise it; with a digest the tag is only a hint, which the agent does not take.
  const at = image.indexOf('@');
  const name = at < 0 ? image : image.slice(0, at);
  const colon = name.lastIndexOf(':');
  const hasTag = colon > name.lastIndexOf('/');
  const plain = hasTag ? name.slice(0, colon) : name;
  const which = at >= 0 ? image.slice(at) : hasTag ? name.slice(colon) : ':latest';
  return `${repository === undefined ? '' : `${repository}/`}${plain}${which}`;
}
