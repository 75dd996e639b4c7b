/** Very many rows of a catalog at once: `makeCatalog` prepares a statement for each, which a hundred thousand of them do not bear. */
import type Sqlite from 'better-sqlite3';
import { pathKey } from '../../src/cvmfs/path-key';

export interface PlainRow {
  /** Absolute in the repository, without a trailing slash. */
  readonly path: string;
  /** SHA-1 of the object; null makes a directory. */
  readonly hash: Buffer | null;
  readonly size?: number;
  /** For a mount point (nested catalog) and a nested root. */
  readonly flags?: number;
  /** With the type bits. */
  readonly mode?: number;
}

const FILE = 4;
const DIRECTORY = 1;

/** For `Recipe.after`. Answers how many there were. */
export function addRows(db: Sqlite.Database, rows: Iterable<PlainRow>): number {
  const insert = db.prepare(
    `INSERT INTO catalog (md5path_1, md5path_2, parent_1, parent_2, hardlinks, hash, size, mode, mtime, flags, name, symlink, uid, gid)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, '', 0, 0)`,
  );
  let count = 0;
  let parentPath: string | undefined;
  let parent = pathKey(Buffer.alloc(0));
  db.transaction(() => {
    for (const { path, hash, size = hash === null ? 4096 : 10, flags = hash === null ? DIRECTORY : FILE, mode = hash === null ? 0o40755 : 0o100644 } of rows) {
      const slash = path.lastIndexOf('/');
      const above = path.slice(0, slash);
      if (above !== parentPath) {
        parentPath = above;
        parent = pathKey(Buffer.from(above));
      }
      const key = pathKey(Buffer.from(path));
      insert.run(key.hi, key.lo, parent.hi, parent.lo, 1n, hash, size, mode, flags, path.slice(slash + 1));
      count++;
    }
  })();
  return count;
}
