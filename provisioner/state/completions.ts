/**
 * What is remembered of images that are fetched completely for the containers that run on them (`complete_after`): one row
 * for each directory of a view, however many images and containers share it, those that an agent made through the facade too
 * (facade-links.ts). The row is made before the first byte is asked for, and goes in the same instant as the last container
 * on that directory; so after a crash it is always known what is pinned on whose behalf.
 */
import type Database from 'better-sqlite3';

/** Under which name a completion pins; that of the objects is `image/` and this. */
export const COMPLETION_HOLDER = 'complete.';

export interface ViewDirectory {
  readonly repository: string;
  /** Catalog hash. */
  readonly view: string;
  readonly pathInView: Buffer;
}

export interface CompletionRecord extends ViewDirectory {
  readonly holder: string;
  /** One of the images' references, for messages. */
  readonly reference: string;
  /** When it was last seen complete; null: never. */
  readonly doneMs: number | null;
  /** Why the last attempt failed; null after a good one, and before the first. */
  readonly failure: string | null;
  /** Attempts that failed since the last good one. */
  readonly failures: number;
  /** When it is looked at again. */
  readonly nextMs: number;
  readonly objects: number;
  readonly bytes: number;
}

interface Row extends Omit<CompletionRecord, 'pathInView' | 'doneMs' | 'nextMs'> {
  path_in_view: Buffer;
  done_ms: number | null;
  next_ms: number;
}

const SAME = 'repository = @repository AND view = @view AND path_in_view = @pathInView';

function recordOf({ path_in_view: pathInView, done_ms: doneMs, next_ms: nextMs, ...rest }: Row): CompletionRecord {
  return { ...rest, pathInView, doneMs, nextMs };
}

export class Completions {
  constructor(private readonly sql: (text: string) => Database.Statement) {}

  all(): CompletionRecord[] {
    return (this.sql('SELECT * FROM completion ORDER BY next_ms, holder').all() as Row[]).map(recordOf);
  }

  /**
   * Gives every directory under a container that was mounted in this boot and made before then a row, if it has none.
   * `newHolder` makes a new name for each.
   */
  want(bootId: string, createdBeforeMs: number, newHolder: () => string): void {
    const missing = this.sql(
      `SELECT repository, view, path_in_view AS pathInView, min(reference) AS reference FROM view_user r
        WHERE state = 'mounted' AND boot_id = ? AND created_ms <= ?
          AND NOT EXISTS (SELECT 1 FROM completion c WHERE c.repository = r.repository AND c.view = r.view AND c.path_in_view = r.path_in_view)
        GROUP BY repository, view, path_in_view`,
    ).all(bootId, createdBeforeMs) as Array<ViewDirectory & { reference: string }>;
    for (const directory of missing) {
      this.sql('INSERT INTO completion (repository, view, path_in_view, holder, reference) VALUES (@repository, @view, @pathInView, @holder, @reference)').run({ ...directory, holder: newHolder() });
    }
  }

  /** False when it is gone: its last rootfs was removed meanwhile. */
  succeeded(holder: string, result: { readonly objects: number; readonly bytes: number }, nowMs: number, nextMs: number): boolean {
    return this.sql('UPDATE completion SET done_ms = ?, failure = NULL, failures = 0, next_ms = ?, objects = ?, bytes = ? WHERE holder = ?').run(nowMs, nextMs, result.objects, result.bytes, holder).changes > 0;
  }

  /** False when it is gone. */
  failed(holder: string, failure: string, nextMs: number): boolean {
    return this.sql('UPDATE completion SET failure = ?, failures = failures + 1, next_ms = ? WHERE holder = ?').run(failure, nextMs, holder).changes > 0;
  }

  /** A repository was mounted: what is pinned there is looked at again. */
  lookAgain(repository: string): void {
    this.sql('UPDATE completion SET next_ms = 0 WHERE repository = ? AND next_ms > 0').run(repository);
  }

  /** Removes the row of a directory that no rootfs is on any more; its holder, undefined when there was none. */
  end(directory: ViewDirectory): string | undefined {
    const row = this.sql(`DELETE FROM completion WHERE ${SAME} AND NOT EXISTS (SELECT 1 FROM view_user WHERE ${SAME}) RETURNING holder`).get({
      repository: directory.repository,
      view: directory.view,
      pathInView: directory.pathInView,
    }) as { holder: string } | undefined;
    return row?.holder;
  }

  /** Containers on a directory, oldest first, and how many they are. */
  containersOn(directory: ViewDirectory, max: number): { readonly names: string[]; readonly count: number } {
    const of = { repository: directory.repository, view: directory.view, pathInView: directory.pathInView };
    return {
      names: this.sql(`SELECT container FROM view_user WHERE ${SAME} GROUP BY container ORDER BY min(created_ms), container LIMIT @max`).pluck().all({ ...of, max }) as string[],
      count: Number(this.sql(`SELECT count(DISTINCT container) FROM view_user WHERE ${SAME}`).pluck().get(of)),
    };
  }
}
