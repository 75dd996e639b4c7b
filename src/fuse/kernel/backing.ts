/**
 * Backing files: open files that the kernel reads by itself in place of asking the server (kernel 6.9; Linux:
 * include/uapi/linux/fuse.h). They belong to the connection, not to the process that registered them, so they outlive
 * servers and keepers; registering needs CAP_SYS_ADMIN.
 *
 *     FUSE_DEV_IOC_BACKING_OPEN   _IOW(229, 1, {i32 fd, u32 flags = 0, u64 padding = 0}) → id, from 1
 *     FUSE_DEV_IOC_BACKING_CLOSE  _IOW(229, 2, u32 id)
 */
import type { Libc } from '../../native/libc';

const BACKING_OPEN = 0x4010e501;
const BACKING_CLOSE = 0x4004e502;

/** Registers the file behind `fd`, which may be closed afterwards. ELOOP: it lies on a file system that is itself stacked. */
export function openBacking(libc: Pick<Libc, 'ioctl'>, fuseFd: number, fd: number): number {
  const map = Buffer.alloc(16);
  map.writeInt32LE(fd, 0);
  return libc.ioctl(fuseFd, BACKING_OPEN, map);
}

/** Gives an id back; files that are open through it go on. */
export function closeBacking(libc: Pick<Libc, 'ioctl'>, fuseFd: number, id: number): void {
  const argument = Buffer.alloc(4);
  argument.writeUInt32LE(id, 0);
  libc.ioctl(fuseFd, BACKING_CLOSE, argument);
}
