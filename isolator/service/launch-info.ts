/**
 * The mounts that a stock agent makes for us. Its launch helper works through the list inside the container's own mount
 * namespace before it changes the root, and makes a target that is missing, so that nothing is mounted on the host and
 * nothing has to be taken away afterwards.
 */
import * as path from 'node:path';
import type { ContainerLaunchInfo, ContainerMountInfo } from '../../provisioner/grpc/generated/messages.generated';
import { MS_BIND, MS_NODEV, MS_NOSUID, MS_RDONLY, MS_REMOUNT } from '../../src/native/libc';

/** Where containers see repositories, whatever `mount_root` is on the host. */
export const CONTAINER_ROOT = '/cvmfs';

export interface GrantedRepository {
  readonly fqrn: string;
  /** On the host. */
  readonly mountpoint: string;
}

/** `rootfs` empty: the container has none, and sees the host's tree. Undefined when nothing is granted. */
export function launchInfo(granted: readonly GrantedRepository[], rootfs: string): ContainerLaunchInfo | undefined {
  if (granted.length === 0) return undefined;
  const mounts = granted.flatMap(({ fqrn, mountpoint }): ContainerMountInfo[] => {
    const target = path.join(rootfs, CONTAINER_ROOT, fqrn);
    return [
      { target, source: mountpoint, flags: MS_BIND },
      // A step of its own: the agent's short way to a read-only bind drops nosuid and nodev.
      { target, flags: MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV },
    ];
  });
  return { mounts };
}
