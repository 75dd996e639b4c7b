/** umount2(2) with the failures that people meet. Never waits for the file system. */
import { Failure } from '../../error';
import { MNT_DETACH, UMOUNT_NOFOLLOW } from '../../native/libc';
import type { Libc } from '../../native/libc';

/** FAILED_PRECONDITION when it is in use and `lazy` is false. What is not mounted is no error. */
export function unmountPath(libc: Libc, mountpoint: string, lazy: boolean): void {
  try {
    libc.umount2(mountpoint, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0));
  } catch (error) {
    const failure = Failure.from(error);
    if (failure.data['errno'] === 'EBUSY') throw new Failure('FAILED_PRECONDITION', `${mountpoint} is in use`, { cause: error, next: 'end what uses it, or unmount with --lazy' });
    if (failure.data['errno'] === 'EINVAL') return;
    throw failure;
  }
}
