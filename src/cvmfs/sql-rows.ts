/** The rows of a catalog through SQLite: for files that tree-rows.ts does not understand, which no tool is known to make. */
import { readEntry } from './catalog-entry';
import type { KnownKeys, RawRow, ReadExact } from './catalog-entry';
import type { CatalogRows, NumberedEntry, RawChunk, RawNested } from './catalog-rows';
import { prepareStatements } from './catalog-statements';
import type { CatalogStatements } from './catalog-statements';
import { Database } from './database';
import type { PathKey } from './path-key';
import type { Failure } from '../error';

export class SqlRows implements CatalogRows {
  readonly #database: Database;
  readonly #statements: CatalogStatements;
  readonly #properties: ReadonlyMap<string, Buffer>;
  readonly #readExact: ReadExact = (rowid) => {
    const [name, symlink, group, links] = this.#statements.exact.get(rowid) as [Buffer | null, Buffer | null, number, number];
    return { name: name ?? Buffer.alloc(0), symlink: symlink ?? Buffer.alloc(0), group, links };
  };

  constructor(path: string, what: string) {
    this.#database = Database.open(path, 'CATALOG_INVALID', what);
    try {
      this.#properties = this.#database.pairs('properties', 'key', 'value');
      this.#statements = prepareStatements(this.#database);
    } catch (error) {
      this.#database.close();
      throw error;
    }
  }

  refuse(why: string): Failure {
    return this.#database.refuse(why);
  }

  extremes(): { lowest: unknown; highest: unknown } {
    const [lowest, highest] = this.#database.run(() => this.#statements.extremes.get()) as [unknown, unknown];
    return { lowest, highest };
  }

  properties(): ReadonlyMap<string, Buffer> {
    return this.#properties;
  }

  statistics(): ReadonlyMap<string, Buffer> | undefined {
    return this.#database.columns('statistics') === undefined ? undefined : this.#database.pairs('statistics', 'counter', 'value');
  }

  byRowid(rowid: number): NumberedEntry | undefined {
    return this.#one(this.#database.run(() => this.#statements.byRowid.get(rowid)) as RawRow | undefined, {});
  }

  byKey(key: PathKey): NumberedEntry | undefined {
    return this.#one(this.#database.run(() => this.#statements.byKey.get(key.hi, key.lo)) as RawRow | undefined, { key });
  }

  children(parent: PathKey, after: number, limit: number): NumberedEntry[] {
    const rows = this.#database.run(() => this.#statements.children.all(parent.hi, parent.lo, after, limit)) as RawRow[];
    return rows.map((row) => this.#numbered(row, { parent }));
  }

  all(after: number, limit: number): NumberedEntry[] {
    const rows = this.#database.run(() => this.#statements.all.all(after, limit)) as RawRow[];
    return rows.map((row) => this.#numbered(row, {}));
  }

  nestedAt(path: Buffer): RawNested | undefined {
    for (const { statement, bind } of this.#statements.nestedAt) {
      const row = this.#database.run(() => statement.get(path)) as RawRow | undefined;
      if (row !== undefined) return { path: row[0], hash: row[1], size: row[2], bind };
    }
    return undefined;
  }

  nested(): RawNested[] {
    return this.#statements.nested.flatMap(({ statement, bind }) =>
      (this.#database.run(() => statement.all()) as RawRow[]).map(([path, hash, size]) => ({ path, hash, size, bind })),
    );
  }

  chunks(key: PathKey): Iterable<RawChunk> | undefined {
    return this.#statements.chunks === undefined ? undefined : this.#chunksOf(this.#statements.chunks.iterate(key.hi, key.lo) as IterableIterator<RawRow>);
  }

  *#chunksOf(rows: IterableIterator<RawRow>): Iterable<RawChunk> {
    try {
      for (;;) {
        const { done, value } = this.#database.run(() => rows.next());
        if (done === true) return;
        const [offset, size, hash] = value as RawRow;
        yield { offset, size, hash };
      }
    } finally {
      rows.return?.();
    }
  }

  close(): void {
    this.#database.close();
  }

  #one(row: RawRow | undefined, known: KnownKeys): NumberedEntry | undefined {
    return row === undefined ? undefined : this.#numbered(row, known);
  }

  #numbered(row: RawRow, known: KnownKeys): NumberedEntry {
    return { rowid: row[0] as number, entry: this.#database.run(() => readEntry(row, known, this.#readExact)) };
  }
}
