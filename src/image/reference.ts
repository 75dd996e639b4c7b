/**
 * References to images, as people write them.
 *
 *   reference  := docker | "cvmfs://" repository-name "/" path          path: see path-text.ts
 *   docker     := [registry "/"] repository [":" tag] ["@sha256:" 64 hex digits]
 *   registry   := host [":" port]                 the first component, when it has a "." or ":" or is "localhost"
 *   repository := component ("/" component)*      component: a-z 0-9, separated by "." "_" "__" or dashes
 *   tag        := [A-Za-z0-9_] [A-Za-z0-9_.-]{0,127}
 *
 * One image has one normal form, whatever spelling it came in: Docker Hub is `docker.io` by any of its names, images
 * without a user are in `library/`, no tag and no digest means `latest`, and with a digest the tag is only a hint.
 *
 *   debian:12 · docker.io/library/debian:12 · registry.hub.docker.com/library/debian:12   →   docker.io/library/debian:12
 */
import { isFqrn } from '../config/repository-config';
import { Failure } from '../error';
import { imagePath, pathToText, textToPath } from './path-text';

export interface DockerReference {
  readonly kind: 'docker';
  /** Host and port; `docker.io` for Docker Hub. */
  readonly registry: string;
  readonly repository: string;
  /** Always there when `digest` is not. */
  readonly tag?: string;
  /** 64 hex digits: sha256 of the image's manifest as its registry serves it. */
  readonly digest?: string;
}

export interface CvmfsReference {
  readonly kind: 'cvmfs';
  /** Fully qualified name of the repository. */
  readonly repository: string;
  /** Absolute, in the form of `imagePath`. */
  readonly path: Buffer;
}

export type ImageReference = DockerReference | CvmfsReference;

export const HUB = 'docker.io';
/** All names of Docker Hub, in the order in which repositories are likely to use them (DUCC's wish lists say the first). */
export const HUB_NAMES: readonly string[] = ['registry.hub.docker.com', 'docker.io', 'index.docker.io', 'registry-1.docker.io'];

/** Longest reference, characters: a whole path, percent-encoded. */
export const MAX_REFERENCE_LENGTH = 3 * 4096 + 100;
/** Longest registry and repository together, characters, as registries limit it. */
export const MAX_NAME_LENGTH = 255;

const HOST = /^(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?$/;
const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const DIGEST = /^sha256:([0-9a-f]{64})$/;
const SCHEME = 'cvmfs://';

function malformed(text: string, why: string, next = 'expected [registry/]repository[:tag][@sha256:digest], such as debian:12, or cvmfs://<repository>/<path>'): Failure {
  return new Failure('INVALID_ARGUMENT', `image reference ${JSON.stringify(text.slice(0, 300))}: ${why}`, { next });
}

export function parseReference(text: string): ImageReference {
  if (text.length > MAX_REFERENCE_LENGTH) throw malformed(text, `${text.length} characters, and ${MAX_REFERENCE_LENGTH} are allowed`);
  return text.startsWith(SCHEME) ? parseCvmfs(text) : parseDocker(text);
}

function parseCvmfs(text: string): CvmfsReference {
  const rest = text.slice(SCHEME.length);
  const slash = rest.indexOf('/');
  return cvmfsReference(slash < 0 ? rest : rest.slice(0, slash), textToPath(slash < 0 ? '/' : rest.slice(slash)));
}

/** The reference to a directory, from its parts; the path with or without a leading slash. */
export function cvmfsReference(repository: string, path: Buffer): CvmfsReference {
  if (!isFqrn(repository)) throw new Failure('INVALID_ARGUMENT', `${JSON.stringify(repository.slice(0, 100))} is not the name of a repository`, { next: 'expected a name such as images.example.org' });
  return { kind: 'cvmfs', repository, path: imagePath(path) };
}

function parseDocker(text: string): DockerReference {
  if (text === '') throw malformed(text, 'it is empty');
  if (text.includes('://')) throw malformed(text, 'the only scheme is cvmfs://');
  const at = text.indexOf('@');
  const digest = at < 0 ? undefined : DIGEST.exec(text.slice(at + 1))?.[1];
  if (at >= 0 && digest === undefined) throw malformed(text, 'the digest after @ is not sha256: and 64 lower-case hex digits');
  const nameAndTag = at < 0 ? text : text.slice(0, at);

  const colon = nameAndTag.lastIndexOf(':');
  const hasTag = colon > nameAndTag.lastIndexOf('/');
  const tag = hasTag ? nameAndTag.slice(colon + 1) : undefined;
  if (tag !== undefined && !TAG.test(tag)) throw malformed(text, `the tag ${JSON.stringify(tag.slice(0, 140))} is not 1 to 128 of A-Z a-z 0-9 _ . -`);

  const { registry, repository } = splitName(text, hasTag ? nameAndTag.slice(0, colon) : nameAndTag);
  if (tag === undefined) return { kind: 'docker', registry, repository, ...(digest === undefined ? { tag: 'latest' } : { digest }) };
  return { kind: 'docker', registry, repository, tag, ...(digest === undefined ? {} : { digest }) };
}

function splitName(text: string, name: string): { registry: string; repository: string } {
  if (name.length > MAX_NAME_LENGTH) throw malformed(text, `the name has ${name.length} characters, and ${MAX_NAME_LENGTH} are allowed`);
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  const named = first === 'localhost' || /[.:]/.test(first);
  const repository = named ? name.slice(slash + 1) : name;
  if (named) {
    const host = HOST.exec(first);
    if (host === null || Number(host[1] ?? 1) < 1 || Number(host[1] ?? 1) > 65535) throw malformed(text, `${JSON.stringify(first)} is not a registry in lower case with an optional port`);
  }
  for (const component of repository.split('/')) {
    if (!COMPONENT.test(component)) throw malformed(text, `${JSON.stringify(component)} is not a component of a repository: lower-case letters and digits, separated by . _ __ or -`);
  }
  const registry = !named || HUB_NAMES.includes(first) ? HUB : first;
  return { registry, repository: registry === HUB && !repository.includes('/') ? `library/${repository}` : repository };
}

/** The one text of a reference; parsing it gives the reference again. */
export function formatReference(reference: ImageReference): string {
  if (reference.kind === 'cvmfs') return `${SCHEME}${reference.repository}${pathToText(reference.path)}`;
  const name = `${reference.registry}/${reference.repository}`;
  // What a digest names does not depend on the tag beside it.
  return reference.digest === undefined ? `${name}:${reference.tag ?? 'latest'}` : `${name}@sha256:${reference.digest}`;
}
