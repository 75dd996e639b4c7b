/**
 * Clones of a mount's descriptor: further descriptors of /dev/fuse on the same connection (kernel 4.2; Linux:
 * include/uapi/linux/fuse.h). A request belongs to the device that it was read from: its reply is taken from there alone
 * (elsewhere it is ENOENT, and the reader waits on), and when the last copy of that descriptor is closed, the requests read
 * from it and not answered end with ECONNABORTED. Requests that nobody has read, interrupts and notifications belong to
 * the connection. The connection lives as long as any of its devices.
 *
 *     FUSE_DEV_IOC_CLONE  _IOR(229, 0, u32 descriptor of the connection), on a device that has none yet; needs no privilege
 */
import type { Libc } from '../../native/libc';

const CLONE = 0x8004e500;

/** Makes `device`, just opened and never used, another device of the connection of `fuseFd`. EPERM before it is mounted. */
export function cloneInto(libc: Pick<Libc, 'ioctl'>, device: number, fuseFd: number): void {
  const argument = Buffer.alloc(4);
  argument.writeUInt32LE(fuseFd, 0);
  libc.ioctl(device, CLONE, argument);
}
