/**
 * Where things lie on disk, the same layout as Mesos' own provisioner (spec 1.8):
 *
 *     <root>/containers/<id>[/containers/<child>…]/backends/<backend>/rootfses/<uuid>
 *     <root>/containers/<id>[/containers/<child>…]/backends/overlay/scratch/<uuid>/{upperdir,workdir}
 *
 * `<root>` is `<state_dir>/provisioner`, canonical, so that paths compare equal to those in mountinfo.
 */
import * as path from 'node:path';
import { Failure } from '../src/error';
import type { ContainerId } from './container-id';

/**
 * Bytes of a container's directory. Overlay names upper and work directory in its options, and options are cut at one
 * page of 4096 bytes: twice this and the rest must fit.
 */
export const MAX_CONTAINER_PATH_BYTES = 1900;

export type BackendName = 'overlay' | 'bind';
export const BACKENDS: readonly BackendName[] = ['overlay', 'bind'];

export class Layout {
  /** @param root canonical absolute path of `<state_dir>/provisioner`. */
  constructor(readonly root: string) {}

  get containers(): string {
    return path.join(this.root, 'containers');
  }

  /** INVALID_ARGUMENT when names and nesting make a path that cannot be mounted on. */
  container(id: ContainerId): string {
    const dir = path.join(this.root, ...id.flatMap((name) => ['containers', name]));
    if (Buffer.byteLength(dir) > MAX_CONTAINER_PATH_BYTES) {
      throw new Failure('INVALID_ARGUMENT', `container ${id[0]} with its ${id.length - 1} nested names needs a path of more than ${MAX_CONTAINER_PATH_BYTES} bytes`, {
        next: 'use shorter container ids',
      });
    }
    return dir;
  }

  rootfs(id: ContainerId, backend: BackendName, uuid: string): string {
    return path.join(this.container(id), 'backends', backend, 'rootfses', uuid);
  }

  scratch(id: ContainerId, backend: BackendName, uuid: string): string {
    return path.join(this.container(id), 'backends', backend, 'scratch', uuid);
  }
}
