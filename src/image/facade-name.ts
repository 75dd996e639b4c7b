/**
 * Names of images as apps of an agent with the registry facade have them, and which images they may mean:
 *
 *     127.0.0.1:61080/<name>[:<tag> | @<digest>]
 *
 *     <name>                              image
 *     <fqrn>/<path…>                      the directory `<path>:<tag>` of that repository; with the tag `latest` also `<path>`
 *     <fqrn>/<docker name>                the docker name, looked up in that repository alone
 *     <docker name>                       looked up in `provisioner.image_repositories`
 *
 * A name whose first component is a configured repository is one of the first two, tried in this order. Everything else
 * is a docker name, its registry included where it has one (`ghcr.io/org/app`). No tag and no digest means `latest`.
 */
import { Failure } from '../error';
import { imagePath, pathToText, textToPath } from './path-text';
import { MAX_REFERENCE_LENGTH } from './reference';

export interface FacadeName {
  /** Bytes, without a slash at either end. */
  readonly name: Buffer;
  /** Tag or digest, as text (path-text.ts). */
  readonly reference: string;
}

/** One image that a name may stand for. */
export interface Candidate {
  /** As `parseReference` takes it. */
  readonly image: string;
  /** The one repository in which a docker name is looked up; undefined: the configured ones. */
  readonly onlyIn?: string;
}

const DIGEST = /^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-fA-F]{32,}$/;

export function isDigest(reference: string): boolean {
  return DIGEST.test(reference);
}

/** Hosts that stand for a facade that listens there, in names of images. */
export function facadeHosts({ host, port }: { readonly host: string; readonly port: number }): string[] {
  const own = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  return [...new Set([own, `127.0.0.1:${port}`, `localhost:${port}`])];
}

/** What stands after one of the hosts; undefined when the text begins with none of them. INVALID_ARGUMENT for a bad name. */
export function parseFacadeName(text: string, hosts: readonly string[]): FacadeName | undefined {
  const host = hosts.find((one) => text.startsWith(`${one}/`));
  if (host === undefined) return undefined;
  if (text.length > MAX_REFERENCE_LENGTH) throw new Failure('INVALID_ARGUMENT', `the name of the image has ${text.length} characters, and ${MAX_REFERENCE_LENGTH} are allowed`);
  const rest = text.slice(host.length + 1);
  const at = rest.lastIndexOf('@');
  const digest = at < 0 || !isDigest(rest.slice(at + 1)) ? undefined : rest.slice(at + 1);
  const colon = rest.lastIndexOf(':');
  const tagged = digest === undefined && colon > rest.lastIndexOf('/');
  const name = digest !== undefined ? rest.slice(0, at) : tagged ? rest.slice(0, colon) : rest;
  return { name: textToPath(name), reference: digest ?? (tagged ? rest.slice(colon + 1) : 'latest') };
}

/** All images that the name may stand for, in the order in which they are tried. INVALID_ARGUMENT for a path that is none. */
export function candidatesOf({ name, reference }: FacadeName, configured: readonly string[]): Candidate[] {
  const slash = name.indexOf('/');
  const first = name.subarray(0, slash < 0 ? name.length : slash).toString('latin1');
  const separator = isDigest(reference) ? '@' : ':';
  if (!configured.includes(first)) return [{ image: `${pathToText(name)}${separator}${reference}` }];
  const rest = name.subarray(first.length);
  const directory = `cvmfs://${first}${pathToText(imagePath(rest))}`;
  const inside = pathToText(rest.subarray(1));
  // Without a path it is the repository's root, which is no entry of anything.
  return [
    ...(inside === '' ? [] : [{ image: `${directory}${separator}${reference}` }]),
    ...(reference === 'latest' ? [{ image: directory }] : []),
    ...(/^[a-z0-9]/.test(inside) ? [{ image: `${inside}${separator}${reference}`, onlyIn: first }] : []),
  ];
}

/** The first of them that is there. NOT_FOUND says where all were looked for; any other failure ends the search. */
export async function firstCandidate<T>(candidates: readonly Candidate[], resolve: (candidate: Candidate) => Promise<T>): Promise<T> {
  let absent: Failure | undefined;
  for (const candidate of candidates) {
    try {
      return await resolve(candidate);
    } catch (err) {
      const failure = Failure.from(err);
      // A path that is no docker name is not one more thing that is wrong with it.
      const other = failure.code === 'NOT_FOUND' || (failure.code === 'INVALID_ARGUMENT' && absent !== undefined);
      if (!other) throw failure;
      if (failure.code === 'NOT_FOUND') absent = absent === undefined ? failure : new Failure('NOT_FOUND', `${absent.what}; ${failure.what}`);
    }
  }
  throw absent ?? new Failure('NOT_FOUND', 'the name says a repository and no image in it', { next: 'add the path of the image, or the tag latest for the root of the repository' });
}
