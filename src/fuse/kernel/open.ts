/**
 * The reply to OPEN, and what a file is opened as (Linux: include/uapi/linux/fuse.h, protocol 7.40).
 *
 *     reply body:   u64 fh   u32 open_flags   i32 backing_id      (16 bytes)
 *
 * The handle is always 0: what is open is known by its inode.
 */

const FOPEN_KEEP_CACHE = 1 << 1;
const FOPEN_NOFLUSH = 1 << 5;
const FOPEN_PASSTHROUGH = 1 << 7;

export const OPEN_REPLY_BYTES = 16;

/**
 * Writes the body at `at`. With a backing id the kernel reads that file itself; it accepts no other flag beside it than
 * NOFLUSH, which both ways need: without it the closing of a file waits, unkillably, for a server.
 */
export function writeOpenReply(reply: Buffer, at: number, backingId: number): void {
  reply.fill(0, at, at + 8);
  reply.writeUInt32LE(backingId === 0 ? FOPEN_KEEP_CACHE | FOPEN_NOFLUSH : FOPEN_PASSTHROUGH | FOPEN_NOFLUSH, at + 8);
  reply.writeInt32LE(backingId, at + 12);
}
