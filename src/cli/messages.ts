/** Messages of the service as commands take and print them. */
import { Failure } from '../error';
import { parseReference } from '../image/reference';
import { containerIdFromKey, containerIdToMessage } from '../../provisioner/container-id';
import type { ContainerID, Image, Quarantined, ResolvedImage, Rootfs } from '../../provisioner/grpc/generated/messages.generated';

/** Names with an agent's facade in them are made out by the service, which knows where it listens. */
const LOOPBACK = /^(localhost|127\.[0-9.]+|\[::1\]):[0-9]+\//;

/** An image as it is typed: docker names and `cvmfs://` texts travel alike. INVALID_ARGUMENT before anybody is asked. */
export function imageArgument(text: string): Image {
  if (!LOOPBACK.test(text)) parseReference(text);
  return { type: 'DOCKER', docker: { name: text } };
}

/** A container as it is typed: `parent/child`, since no id holds a slash. */
export function containerArgument(text: string): ContainerID {
  return containerIdToMessage(containerIdFromKey(text)) as ContainerID;
}

export function containerText(id: ContainerID | undefined): string {
  const names: string[] = [];
  for (let at = id; at !== undefined; at = at.parent) names.unshift(at.value);
  return names.join('/');
}

/** 64-bit numbers travel as text; every figure of ours fits into a number. */
export function figure(text: string | undefined): number {
  return Number(text ?? 0);
}

export interface ImageJson {
  readonly reference: string;
  readonly repository: string;
  readonly path: string;
  readonly root_hash: string;
  readonly revision: number;
  readonly digest: string;
}

export function imageJson(image: ResolvedImage | undefined): ImageJson {
  if (image === undefined) throw new Failure('INTERNAL', 'the service answered without the image');
  const { reference = '', repository = '', path = '', root_hash = '', digest = '' } = image;
  return { reference, repository, path, root_hash, revision: figure(image.revision), digest };
}

export interface RootfsJson {
  readonly id: string;
  readonly path: string;
  readonly backend: string;
  readonly state: string;
  readonly image: ImageJson | null;
  readonly created: string;
}

export function rootfsJson(rootfs: Rootfs): RootfsJson {
  return {
    id: rootfs.id ?? '',
    path: rootfs.path ?? '',
    backend: rootfs.backend ?? '',
    state: enumText(rootfs.state, 'ROOTFS_STATE_'),
    image: rootfs.image === undefined ? null : imageJson(rootfs.image),
    created: timeText(rootfs.created_ms),
  };
}

/** `ROOTFS_STATE_PROVISIONED` → `provisioned`. */
export function enumText(value: string | undefined, prefix: string): string {
  return (value ?? `${prefix}UNSPECIFIED`).replace(prefix, '').toLowerCase();
}

/** ISO 8601. */
export function timeText(unixMs: string | undefined): string {
  return new Date(figure(unixMs)).toISOString();
}

export function quarantinedJson({ container_id: id, reason = '' }: Quarantined): { container: string; reason: string } {
  return { container: containerText(id), reason };
}

/** What an image is resolved to, line by line. */
export function imageRows(image: ImageJson): string[][] {
  return [
    ['reference', image.reference],
    ['repository', image.repository],
    ['path', image.path],
    ['revision', `${image.revision}, root catalog ${image.root_hash}`],
    ['digest', image.digest],
  ];
}
