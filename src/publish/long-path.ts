/**
 * Paths longer than the kernel takes at once (4,096 bytes): a tree may be deeper than that, and the catalog has no limit.
 * The way is walked in pieces, each opened relative to the one before.
 */
import * as fs from 'node:fs';
import { libc, O_DIRECTORY, O_NOFOLLOW, O_PATH } from '../native/libc';

const SLASH = 0x2f;
/** Less than PATH_MAX, with room for `/proc/self/fd/…/`. */
const PIECE_BYTES = 3800;

/** Calls `use` with a path of the same file that the kernel takes. */
export function withShortPath<T>(path: Buffer, use: (path: Buffer) => T): T {
  if (path.length <= PIECE_BYTES) return use(path);
  const open: number[] = [];
  try {
    let rest = path;
    while (rest.length > PIECE_BYTES) {
      const cut = rest.lastIndexOf(SLASH, PIECE_BYTES);
      const piece = rest.subarray(0, cut);
      open.push(libc().openat2(open[open.length - 1] ?? null, piece, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0));
      rest = rest.subarray(cut + 1);
    }
    return use(Buffer.concat([Buffer.from(`/proc/self/fd/${open[open.length - 1]!}/`), rest]));
  } finally {
    for (const fd of open) fs.closeSync(fd);
  }
}
