/**
 * Container ids: a chain of names, root container first, as Mesos nests them through `ContainerID.parent`.
 *
 * Each name becomes a directory name below the provisioner's root, so what could leave it or not be made is refused
 * here, before any path is built: empty names, `.`, `..`, a slash, NUL, more than 255 bytes, chains deeper than 32.
 * A chain is written `root/child/grandchild`; a slash cannot be in a name, so that text is unique and serves as key.
 */
import { Failure } from '../src/error';

/** Root container first; never empty. */
export type ContainerId = readonly string[];

export const MAX_ID_BYTES = 255;
export const MAX_NESTING = 32;

/** The protobuf message `mesos.ContainerID`, as far as it is looked at. */
export interface ContainerIdMessage {
  value?: string | null;
  parent?: ContainerIdMessage | null;
}

function problem(name: string): string | undefined {
  if (name === '') return 'it is empty';
  if (name === '.' || name === '..') return `'${name}' is not a name`;
  if (name.includes('/')) return 'it holds a slash';
  if (name.includes('\0')) return 'it holds a NUL';
  if (Buffer.byteLength(name) > MAX_ID_BYTES) return `it is longer than ${MAX_ID_BYTES} bytes`;
  return undefined;
}

function shown(name: string): string {
  return JSON.stringify(name.length > 64 ? `${name.slice(0, 64)}…` : name);
}

/** Checks a chain of names; INVALID_ARGUMENT says which name is wrong and why. */
export function containerId(names: readonly string[]): ContainerId {
  if (names.length === 0) throw new Failure('INVALID_ARGUMENT', 'container_id is missing');
  if (names.length > MAX_NESTING) throw new Failure('INVALID_ARGUMENT', `container_id is nested ${names.length} deep, at most ${MAX_NESTING} is allowed`);
  for (const name of names) {
    const wrong = problem(name);
    if (wrong !== undefined) {
      throw new Failure('INVALID_ARGUMENT', `container id ${shown(name)} cannot be used: ${wrong}`, {
        next: `give a name of 1 to ${MAX_ID_BYTES} bytes without '/'`,
      });
    }
  }
  return [...names];
}

/** From the wire. The walk up the parents is bounded: a hostile message may nest as deep as its size allows. */
export function containerIdFromMessage(message: ContainerIdMessage | null | undefined): ContainerId {
  const names: string[] = [];
  for (let at = message; at !== null && at !== undefined; at = at.parent) {
    names.unshift(at.value ?? '');
    if (names.length > MAX_NESTING) throw new Failure('INVALID_ARGUMENT', `container_id is nested more than ${MAX_NESTING} deep`);
  }
  return containerId(names);
}

export function containerIdToMessage(id: ContainerId): ContainerIdMessage {
  return id.reduce<ContainerIdMessage | undefined>((parent, value) => (parent === undefined ? { value } : { value, parent }), undefined)!;
}

/** `root/child`: the key under which a container is remembered. */
export function containerKey(id: ContainerId): string {
  return id.join('/');
}

export function containerIdFromKey(key: string): ContainerId {
  return containerId(key.split('/'));
}

/** Whether `key` is `ancestor` itself or nested in it. */
export function isWithin(key: string, ancestor: string): boolean {
  return key === ancestor || key.startsWith(`${ancestor}/`);
}
