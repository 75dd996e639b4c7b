/**
 * Where DUCC keeps images in a repository (docs/format.md, container images), and where our publisher does:
 *
 *   /<registry>/<repository>:<tag>                  readable link, relative, → /.flat/xx/<id>
 *   /<registry>/<repository>@sha256:<digest>        the same for an image wished for by digest
 *   /.flat/xx/<id>/…                                the root file system; id = sha256 of the configuration, xx its first two digits
 *   /.layers/xx/<digest>/layerfs/…                  one layer, unpacked, with raw whiteouts: no root file system by itself
 *   /.metadata/<link name>/manifest.json            the docker manifest, written anew by DUCC: the same members, other bytes
 *   /.metadata/<link name>/config.json              the configuration object, byte for byte: ours alone, DUCC keeps none
 *   /.metadata/<directory>/start-profile/profile.json   what containers of the image read first: ours alone
 *
 * The rule of `.metadata`, for any image: what is known of the directory or link at path P lies in `/.metadata` + P. So
 * a flat tree has its configuration in `/.metadata/.flat/xx/<id>/config.json` when it is not asked for by a link.
 */
import type { DockerReference } from './reference';
import { HUB, HUB_NAMES } from './reference';

/** Name of a start profile in its folder. */
export const PROFILE_FILE = 'profile.json';
const FLAT = /^\/\.flat\/([0-9a-f]{2})\/(\1[0-9a-f]{62})$/;

/** Names under which the registry of a reference may appear in a repository. */
function registryNames(reference: DockerReference): readonly string[] {
  return reference.registry === HUB ? HUB_NAMES : [reference.registry];
}

/** Readable links that may stand for the reference, the likeliest first. */
export function readableLinks(reference: DockerReference): Buffer[] {
  const { repository, tag, digest } = reference;
  const suffixes = digest === undefined ? [`:${tag ?? 'latest'}`] : [`@sha256:${digest}`, ...(tag === undefined ? [] : [`:${tag}@sha256:${digest}`])];
  return registryNames(reference).flatMap((registry) => suffixes.map((suffix) => Buffer.from(`/${registry}/${repository}${suffix}`)));
}

/** The folders in which links `<last component>:<tag>` of a repository lie, with that last component. */
export function tagFolders(reference: DockerReference): Array<{ readonly folder: Buffer; readonly name: string }> {
  const slash = reference.repository.lastIndexOf('/');
  const parent = slash < 0 ? '' : `/${reference.repository.slice(0, slash)}`;
  return registryNames(reference).map((registry) => ({ folder: Buffer.from(`/${registry}${parent}`), name: reference.repository.slice(slash + 1) }));
}

/** Where things known of the directory or link at `path` lie. */
export function metadataPath(path: Buffer, file: 'manifest.json' | 'config.json'): Buffer {
  return Buffer.concat([Buffer.from('/.metadata'), path.equals(Buffer.from('/')) ? Buffer.alloc(0) : path, Buffer.from(`/${file}`)]);
}

/**
 * The start profile published beside the image at `path`, of its directory itself and not of a link to it. It has a folder
 * of its own, which can be published anew without touching what else is known of the image.
 */
export function profilePath(path: Buffer): Buffer {
  return Buffer.concat([profileFolder(path), Buffer.from(`/${PROFILE_FILE}`)]);
}

export function profileFolder(path: Buffer): Buffer {
  return Buffer.concat([Buffer.from('/.metadata'), path.equals(Buffer.from('/')) ? Buffer.alloc(0) : path, Buffer.from('/start-profile')]);
}

/** The id of a flat tree, 64 hex digits, when `path` is the root of one: the sha256 of its configuration. */
export function flatId(path: Buffer): string | undefined {
  return FLAT.exec(path.toString('latin1'))?.[2];
}

/** The unpacked layer with that digest (64 hex digits, of the compressed blob). */
export function layerPath(digest: string): Buffer {
  return Buffer.from(`/.layers/${digest.slice(0, 2)}/${digest}/layerfs`);
}
