/**
 * An SQLite file from a repository, opened for reading only. What strangers publish must neither run anything of theirs
 * nor keep us busy, so: the schema is judged before SQLite sees the file (sqlite-schema.ts); only ordinary tables with
 * ordinary columns are read; every query that we prepare seeks in an index we name, or is cut by a LIMIT, because a
 * b-tree whose pages share their children may hold more rows than there is time; and every column is selected through
 * `integer`, `bounded` or `bytes`, because any column may hold text of the file's size, in every row the same.
 *
 * The file is in a read-only cache and never changes: `locking_mode = exclusive` takes the read lock once and spares a
 * look for a journal before each query. SQLite makes no file beside it: readonly, no WAL (refused), nothing to sort.
 */
import * as fs from 'node:fs';
import Sqlite from 'better-sqlite3';
import { Failure } from '../error';
import type { Code } from '../error';
import { readSchema } from './sqlite-schema';
import type { SchemaObject } from './sqlite-schema';

/** 1 MiB of pages per open file: the kernel's page cache holds the rest, and hundreds of catalogs are open at a time. */
const PAGE_CACHE_KIB = 1024;

export class Database {
  private readonly columnsOf = new Map<string, ReadonlySet<string>>();

  private constructor(
    private readonly sqlite: Sqlite.Database,
    private readonly schema: readonly SchemaObject[],
    private readonly code: Code,
    /** What the messages call the file. */
    private readonly what: string,
  ) {}

  /** `code` is the failure of a file that is not what it should be; `what` names it in messages. */
  static open(path: string, code: Code, what: string): Database {
    // better-sqlite3 trims the name, and takes some names for a database in memory.
    if (path.trim() !== path || !path.startsWith('/')) throw new Failure('INVALID_ARGUMENT', `not an absolute path of a database: ${JSON.stringify(path)}`);
    let schema: SchemaObject[];
    let fd: number | undefined;
    try {
      fd = fs.openSync(path, 'r');
      schema = readSchema(fd);
    } catch (error) {
      const { code: errno, message } = error as NodeJS.ErrnoException;
      if (errno !== undefined && errno.startsWith('E') && !errno.startsWith('ERR_')) {
        throw new Failure('SYSTEM', `${what} cannot be read: ${message}`, { cause: error, data: { errno } });
      }
      throw new Failure(code, `${what} is damaged or hostile: ${message}`, { cause: error });
    } finally {
      if (fd !== undefined) fs.closeSync(fd);
    }
    let sqlite: Sqlite.Database | undefined;
    try {
      sqlite = new Sqlite(path, { readonly: true, fileMustExist: true, timeout: 1000 });
      sqlite.pragma('locking_mode = exclusive');
      sqlite.pragma('trusted_schema = off');
      sqlite.pragma('cell_size_check = on');
      sqlite.pragma(`cache_size = -${PAGE_CACHE_KIB}`);
      sqlite.pragma('temp_store = memory');
    } catch (error) {
      sqlite?.close();
      throw translate(error, code, what);
    }
    return new Database(sqlite, schema, code, what);
  }

  /** Runs a query and turns what SQLite throws into a Failure: a damaged page may be met at any row. */
  run<T>(query: () => T): T {
    try {
      return query();
    } catch (error) {
      throw translate(error, this.code, this.what);
    }
  }

  prepare(sql: string): Sqlite.Statement {
    return this.run(() => this.sqlite.prepare(sql));
  }

  refuse(why: string): Failure {
    return new Failure(this.code, `${this.what} is damaged or hostile: ${why}`);
  }

  /** Columns of an ordinary rowid table with nothing computed in it; undefined when there is no such table. */
  columns(table: string): ReadonlySet<string> | undefined {
    const known = this.columnsOf.get(table);
    if (known !== undefined) return known;
    const object = this.schema.find((candidate) => candidate.type === 'table' && candidate.name === table);
    if (object === undefined) return undefined;
    const names = new Set<string>();
    for (const row of this.run(() => this.sqlite.pragma(`table_xinfo(${table})`)) as Array<{ name: string; hidden: number }>) {
      // A generated column is an expression of the publisher's, run for each row we read.
      if (row.hidden !== 0) throw this.refuse(`column ${JSON.stringify(row.name)} of table ${table} is computed`);
      names.add(row.name.toLowerCase());
    }
    for (const alias of ['rowid', '_rowid_', 'oid']) if (names.has(alias)) throw this.refuse(`table ${table} has a column ${alias}`);
    // A table WITHOUT ROWID has no such column, whatever comments hide in its statement.
    if (!this.answers(`SELECT rowid FROM ${table} LIMIT 0`)) throw this.refuse(`table ${table} has no row numbers`);
    this.columnsOf.set(table, names);
    return names;
  }

  /** Throws unless the table is there with these columns. */
  require(table: string, columns: readonly string[]): void {
    const present = this.columns(table);
    if (present === undefined) throw this.refuse(`it has no table ${table}`);
    for (const column of columns) if (!present.has(column)) throw this.refuse(`table ${table} has no column ${column}`);
  }

  /** Name, quoted for SQL, of an index whose first keys are exactly these columns, ascending, over all rows. */
  index(table: string, columns: readonly string[]): string {
    const list = this.run(() => this.sqlite.pragma(`index_list(${table})`)) as Array<{ name: string; partial: number }>;
    for (const { name, partial } of list) {
      if (partial !== 0 || !/^[A-Za-z0-9_]+$/.test(name)) continue;
      const keys = this.run(() => this.sqlite.pragma(`index_xinfo(${name})`)) as Array<{ name: string | null; desc: number; coll: string; key: number }>;
      if (columns.every((column, i) => keys[i]?.name?.toLowerCase() === column && keys[i]?.desc === 0 && keys[i]?.coll === 'BINARY' && keys[i]?.key === 1)) {
        return `"${name}"`;
      }
    }
    throw this.refuse(`table ${table} has no index on ${columns.join(', ')}`);
  }

  /** The rows of a small table of a text and a value, the value as bytes; more than `maxRows` are refused. */
  pairs(table: string, key: string, value: string, maxRows = 1000): Map<string, Buffer> {
    this.require(table, [key, value]);
    // No WHERE: rows that it drops are rows that the LIMIT does not count.
    const statement = this.prepare(
      `SELECT ${bounded(key, 256)}, ${bytes(value, 65536)} FROM ${table} NOT INDEXED LIMIT ${maxRows + 1}`,
    ).raw();
    const rows = this.run(() => statement.all()) as Array<[unknown, unknown]>;
    if (rows.length > maxRows) throw this.refuse(`table ${table} has more than ${maxRows} rows`);
    return new Map(rows.filter((row): row is [string, Buffer] => typeof row[0] === 'string' && Buffer.isBuffer(row[1])));
  }

  close(): void {
    this.sqlite.close();
  }

  private answers(sql: string): boolean {
    try {
      this.sqlite.prepare(sql);
      return true;
    } catch {
      return false;
    }
  }
}

/** SQL for a column that should be an integer; NULL for what is not. */
export function integer(column: string): string {
  return `CASE typeof(${column}) WHEN 'integer' THEN ${column} END`;
}

/** SQL for a column of text or bytes; NULL when it is longer, found out without reading it. */
export function bounded(column: string, maxBytes: number): string {
  return `CASE WHEN octet_length(${column}) <= ${maxBytes} THEN ${column} END`;
}

/** The same as bytes, whether or not they are UTF-8. */
export function bytes(column: string, maxBytes: number): string {
  return `CASE WHEN octet_length(${column}) <= ${maxBytes} THEN CAST(${column} AS BLOB) END`;
}

function translate(error: unknown, code: Code, what: string): Failure {
  if (error instanceof Failure) return error;
  const sqliteCode = (error as { code?: unknown } | null)?.code;
  if (typeof sqliteCode === 'string' && /^SQLITE_(IOERR|CANTOPEN|NOMEM|BUSY|PERM|AUTH|FULL)/.test(sqliteCode)) {
    return new Failure('SYSTEM', `${what} cannot be read: ${(error as Error).message}`, { cause: error, data: { errno: sqliteCode } });
  }
  if (typeof sqliteCode === 'string' && sqliteCode.startsWith('SQLITE_')) {
    return new Failure(code, `${what} is damaged or hostile: ${(error as Error).message}`, { cause: error });
  }
  return Failure.from(error, what);
}
