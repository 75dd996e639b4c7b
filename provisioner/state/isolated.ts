/**
 * What is remembered of the containers that an agent's isolator module tells of: one row from Prepare to Cleanup, and one
 * for each directory of a repository that the container lives on. A row is on disk before Prepare is answered, and goes in
 * the same instant in which its holds are owed back, so that after a crash it is always known what is held on whose behalf.
 */
import type Database from 'better-sqlite3';
import type { ViewDirectory } from './completions';

/** How the names begin under which isolated containers hold views. */
export const ISOLATED_HOLDER = 'container.';

/** A directory that a container lives on. */
export interface IsolatedUse extends ViewDirectory {
  /** The catalog's hash; empty: the live tree, mounted at `/cvmfs/<repository>`. */
  readonly view: string;
  /** Name of the hold on the view. */
  readonly holder: string;
  /** What the container asked for, for messages. */
  readonly reference: string;
  /** Device of the mount as it was then. */
  readonly device: string;
}

export interface IsolatedContainer {
  /** `root/child`. */
  readonly container: string;
  /** The run of the module that told of it, and its how-manieth call that was. */
  readonly run: string;
  readonly sequence: number;
  readonly bootId: string;
  /** On the host; null: the host's own, or not known. */
  readonly rootfs: string | null;
  readonly pid: number | null;
  readonly createdMs: number;
}

interface Row extends Omit<IsolatedContainer, 'bootId' | 'createdMs'> {
  boot_id: string;
  created_ms: number;
}

interface UseRow extends Omit<IsolatedUse, 'pathInView'> {
  container: string;
  path_in_view: Buffer;
}

/** What of the state database this part of it is made with. */
export interface IsolatedParts {
  readonly sql: (text: string) => Database.Statement;
  readonly transaction: <T>(work: () => T) => T;
  readonly owe: (release: { readonly repository: string; readonly view: string; readonly holder: string }) => void;
  /** Ends the completion of a directory that nobody is on any more; its holder. */
  readonly endCompletion: (directory: ViewDirectory) => string | undefined;
}

export class Isolated {
  constructor(private readonly parts: IsolatedParts) {}

  /** Oldest first. */
  all(): IsolatedContainer[] {
    const rows = this.parts.sql('SELECT * FROM isolated ORDER BY created_ms, container').all() as Row[];
    return rows.map(({ boot_id: bootId, created_ms: createdMs, ...rest }) => ({ ...rest, bootId, createdMs }));
  }

  count(): number {
    return Number(this.parts.sql('SELECT count(*) FROM isolated').pluck().get());
  }

  has(container: string): boolean {
    return this.parts.sql('SELECT 1 FROM isolated WHERE container = ?').get(container) !== undefined;
  }

  /** The container itself and all that are nested in it. */
  within(container: string): string[] {
    // `0` follows `/` in ASCII: the range is exactly what begins with `container/`.
    return this.parts.sql('SELECT container FROM isolated WHERE container = ? OR (container > ? AND container < ?)').pluck().all(container, `${container}/`, `${container}0`) as string[];
  }

  usesOf(container: string): IsolatedUse[] {
    return (this.parts.sql('SELECT * FROM isolated_use WHERE container = ? ORDER BY repository, view, path_in_view').all(container) as UseRow[]).map(useOf);
  }

  uses(): Array<IsolatedUse & { readonly container: string }> {
    return (this.parts.sql('SELECT * FROM isolated_use ORDER BY container').all() as UseRow[]).map((row) => ({ ...useOf(row), container: row.container }));
  }

  /** Containers that use a repository now. */
  sharing(repository: string): number {
    return Number(this.parts.sql('SELECT count(DISTINCT container) FROM isolated_use WHERE repository = ?').pluck().get(repository));
  }

  /** Writes a container anew; holds of an earlier row of the same id that are not among `uses` are owed back. */
  put(container: IsolatedContainer, uses: readonly IsolatedUse[]): void {
    this.parts.transaction(() => {
      const earlier = this.usesOf(container.container);
      this.#deleteRows(container.container);
      this.parts
        .sql('INSERT INTO isolated (container, run, sequence, boot_id, rootfs, pid, created_ms) VALUES (@container, @run, @sequence, @bootId, @rootfs, @pid, @createdMs)')
        .run({ ...container });
      for (const use of uses) {
        this.parts
          .sql('INSERT INTO isolated_use (container, repository, view, path_in_view, holder, reference, device) VALUES (@container, @repository, @view, @pathInView, @holder, @reference, @device)')
          .run({ ...use, container: container.container });
      }
      for (const use of earlier) if (!uses.some(({ holder }) => holder === use.holder)) this.#giveUp(use);
    });
  }

  /** A container that the agent found again lives in this boot and run. */
  keep(container: string, run: string, sequence: number, bootId: string): void {
    this.parts.sql('UPDATE isolated SET run = ?, sequence = ?, boot_id = ? WHERE container = ?').run(run, sequence, bootId, container);
  }

  setPid(container: string, pid: number): void {
    this.parts.sql('UPDATE isolated SET pid = ? WHERE container = ?').run(pid, container);
  }

  /** Forgets containers; their holds are owed from the same instant on. */
  remove(containers: readonly string[]): void {
    this.parts.transaction(() => {
      for (const container of containers) {
        const uses = this.usesOf(container);
        this.#deleteRows(container);
        for (const use of uses) this.#giveUp(use);
      }
    });
  }

  #deleteRows(container: string): void {
    this.parts.sql('DELETE FROM isolated_use WHERE container = ?').run(container);
    this.parts.sql('DELETE FROM isolated WHERE container = ?').run(container);
  }

  #giveUp(use: IsolatedUse): void {
    if (use.view === '') return;
    const { repository, view, holder } = use;
    this.parts.owe({ repository, view, holder });
    const completion = this.parts.endCompletion(use);
    if (completion !== undefined) this.parts.owe({ repository, view, holder: completion });
  }
}

function useOf({ repository, view, path_in_view: pathInView, holder, reference, device }: UseRow): IsolatedUse {
  return { repository, view, pathInView, holder, reference, device };
}
