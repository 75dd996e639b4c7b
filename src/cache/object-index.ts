/**
 * The index of the cache, `index.db` (SQLite, WAL, shared by all processes that use the directory):
 *
 *     meta     generation, boot_id, total (charged bytes of all records), objects (their number)
 *     objects  name, length and sha256 of the plain bytes, time of last use (ms)
 *     pins     name, owner    never evicted
 *     uses     name, owner    evicted last, and not at all while the owner can not be reached
 *     owners   owner, reachable
 *     openers  processes that have the cache open, to know whether it was closed cleanly
 *
 * It may lose its last transactions in a crash of the host (synchronous=NORMAL) and may be thrown away altogether: an
 * object without a record is fetched again. What it may never do is vouch for bytes that were not checked.
 *
 * All calls are synchronous and short; none reads or writes an object's bytes.
 */
import * as fs from 'node:fs';
import Database from 'better-sqlite3';
import { Failure } from '../error';

export const SCHEMA_VERSION = 1;

/** What an object costs beyond its blocks: inode, directory entry, index row. Rounded up from what ext4 and SQLite take. */
const OBJECT_OVERHEAD_BYTES = 512;
const BLOCK_BYTES = 4096;

/** Bytes of disk that an object of that length is charged with, so that the limit means what `du` shows. */
export function chargedBytes(length: number): number {
  return Math.ceil(length / BLOCK_BYTES) * BLOCK_BYTES + OBJECT_OVERHEAD_BYTES;
}

/** What is recorded about an object before it becomes visible. */
export interface ObjectRecord {
  readonly name: string;
  /** Plain bytes. */
  readonly length: number;
  /** sha256 of the plain bytes, 32 bytes. */
  readonly digest: Buffer;
}

export interface Totals {
  readonly objects: number;
  /** Charged bytes. */
  readonly bytes: number;
}

/** Somebody who has the cache open. */
export interface Opener {
  readonly token: string;
  readonly pid: number;
  readonly start: string;
  /** Boot id. */
  readonly boot: string;
}

/** Which objects an eviction may take. */
export type VictimClass = 'unused' | 'used by reachable owners' | 'all';

/** A place in the order of last use, to go on from. */
export interface EvictionCursor {
  readonly used: number;
  readonly name: string;
}

const SCHEMA = `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
  CREATE TABLE objects (name TEXT PRIMARY KEY, length INTEGER NOT NULL, digest BLOB NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
  CREATE INDEX objects_by_use ON objects (used, name);
  CREATE TABLE pins (name TEXT, owner TEXT, PRIMARY KEY (name, owner)) WITHOUT ROWID;
  CREATE INDEX pins_by_owner ON pins (owner);
  CREATE TABLE uses (name TEXT, owner TEXT, PRIMARY KEY (name, owner)) WITHOUT ROWID;
  CREATE INDEX uses_by_owner ON uses (owner);
  CREATE TABLE owners (owner TEXT PRIMARY KEY, reachable INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE openers (token TEXT PRIMARY KEY, pid INTEGER NOT NULL, start TEXT NOT NULL, boot TEXT NOT NULL) WITHOUT ROWID;
  INSERT INTO meta VALUES ('total', 0), ('objects', 0);
  PRAGMA user_version = ${SCHEMA_VERSION};
`;

const NOT_PINNED = 'NOT EXISTS (SELECT 1 FROM pins p WHERE p.name = o.name)';
const UNREACHABLE = 'EXISTS (SELECT 1 FROM uses u JOIN owners w ON w.owner = u.owner WHERE u.name = o.name AND w.reachable = 0)';
const VICTIMS: Readonly<Record<VictimClass, string>> = {
  unused: `${NOT_PINNED} AND NOT EXISTS (SELECT 1 FROM uses u WHERE u.name = o.name)`,
  'used by reachable owners': `${NOT_PINNED} AND NOT ${UNREACHABLE}`,
  all: '1',
};

const CHARGED_SUM = `coalesce(sum((o.length + ${BLOCK_BYTES - 1}) / ${BLOCK_BYTES} * ${BLOCK_BYTES} + ${OBJECT_OVERHEAD_BYTES}), 0) AS bytes`;

/** Turns what SQLite throws into the family; anything else passes. */
export function indexFailure(error: unknown, file: string): unknown {
  // By its code and not by its class: the addon keeps one error class per process, whoever loaded it first.
  const given = (error as { code?: unknown } | null)?.code;
  const code = typeof given === 'string' && given.startsWith('SQLITE_') ? given : '';
  if (/^SQLITE_(CORRUPT|NOTADB|READONLY_DBMOVED)/.test(code)) {
    return new Failure('STATE_DAMAGED', `the cache's index ${file} is damaged (${code})`, { next: 'open the cache again: a new index is made', cause: error });
  }
  if (code === 'SQLITE_FULL' || code === 'SQLITE_IOERR_SHMSIZE') return new Failure('NO_SPACE', `no space for the cache's index ${file}`, { cause: error });
  if (code.startsWith('SQLITE_BUSY')) {
    return new Failure('RESOURCE_EXHAUSTED', `the cache's index ${file} is locked by another process for too long`, { next: 'look for a stopped process that has it open', cause: error });
  }
  if (code !== '') return new Failure('SYSTEM', `the cache's index ${file}: ${code}`, { data: { errno: 'EIO' }, cause: error });
  return error;
}

export class ObjectIndex {
  private readonly statements = new Map<string, Database.Statement>();
  private readonly inode: string;

  private constructor(
    readonly file: string,
    private readonly db: Database.Database,
  ) {
    this.inode = identityOf(file);
  }

  /**
   * Opens the file, which must exist (it is made beforehand, with its mode), and makes the schema in an empty one.
   * STATE_DAMAGED for what is no index of ours, FAILED_PRECONDITION for one of a later version.
   */
  static open(file: string, options: { readonly busyTimeoutMs?: number } = {}): ObjectIndex {
    let db: Database.Database | undefined;
    try {
      db = new Database(file, { fileMustExist: true, timeout: options.busyTimeoutMs ?? 10_000 });
      db.pragma('journal_mode = WAL');
      db.pragma('synchronous = NORMAL');
      // The write-ahead log counts as disk used and is in no total, so it is kept small; each checkpoint waits for the
      // disk, and names are random: of 256 pages most are written for one object alone.
      db.pragma('wal_autocheckpoint = 1024');
      db.pragma('journal_size_limit = 4194304');
      const opened = db;
      opened.transaction(() => {
        if (opened.pragma('user_version', { simple: true }) === 0) opened.exec(SCHEMA);
      }).immediate();
      const version = opened.pragma('user_version', { simple: true }) as number;
      if (version > SCHEMA_VERSION) {
        throw new Failure('FAILED_PRECONDITION', `the cache's index ${file} has version ${version}, this program knows versions up to ${SCHEMA_VERSION}`, {
          next: 'use the newer mesos-cvmfs that wrote it, or another cache.dir',
        });
      }
      const index = new ObjectIndex(file, opened);
      index.totals();
      return index;
    } catch (error) {
      db?.close();
      const failure = indexFailure(error, file);
      // A table that is missing or has another shape is damage too: nothing of ours makes such a file.
      if (failure instanceof Failure && failure.code === 'SYSTEM' && /SQLITE_ERROR/.test(failure.message)) {
        throw new Failure('STATE_DAMAGED', `the cache's index ${file} has not the tables that it should have`, { cause: error });
      }
      throw failure;
    }
  }

  /** Reads all pages; false when the file's structure is broken. */
  isSound(): boolean {
    try {
      return this.db.pragma('quick_check(1)', { simple: true }) === 'ok';
    } catch {
      return false;
    }
  }

  /** True when the file at the path is no longer the one that is open here: another process set it aside. */
  isReplaced(): boolean {
    return identityOf(this.file) !== this.inode;
  }

  /** Runs `body` while no other process can write the index. `durable` waits for the disk. */
  exclusively<T>(body: () => T, options: { readonly durable?: boolean } = {}): T {
    try {
      if (this.db.inTransaction) return body();
      if (options.durable === true) this.db.pragma('synchronous = FULL');
      try {
        return this.db.transaction(body).immediate();
      } finally {
        if (options.durable === true) this.db.pragma('synchronous = NORMAL');
      }
    } catch (error) {
      throw indexFailure(error, this.file);
    }
  }

  meta(key: string): string | number | null {
    return (this.get('SELECT value FROM meta WHERE key = ?', key) as { value: string | number } | undefined)?.value ?? null;
  }

  setMeta(key: string, value: string | number): void {
    this.run('INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value', key, value);
  }

  totals(): Totals {
    const bytes = this.meta('total');
    const objects = this.meta('objects');
    if (typeof bytes !== 'number' || typeof objects !== 'number') throw new Failure('STATE_DAMAGED', `the cache's index ${this.file} has no totals`);
    return { objects, bytes };
  }

  lookup(name: string): ObjectRecord | null {
    const row = this.get('SELECT length, digest FROM objects WHERE name = ?', name) as { length: number; digest: Buffer } | undefined;
    return row === undefined ? null : { name, length: row.length, digest: row.digest };
  }

  /** Records objects, each if the total stays within its `limitBytes` (default none); answers the names recorded. */
  record(records: ReadonlyArray<ObjectRecord & { readonly limitBytes?: number }>, now: number): Set<string> {
    return this.exclusively(() => {
      const recorded = new Set<string>();
      const before = this.totals();
      let { bytes, objects } = before;
      for (const record of records) {
        const old = this.lookup(record.name);
        const delta = chargedBytes(record.length) - (old === null ? 0 : chargedBytes(old.length));
        if (delta > 0 && bytes + delta > (record.limitBytes ?? Infinity)) continue;
        this.run(
          'INSERT INTO objects VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET length = excluded.length, digest = excluded.digest, used = excluded.used',
          record.name, record.length, record.digest, now,
        );
        bytes += delta;
        objects += old === null ? 1 : 0;
        recorded.add(record.name);
      }
      this.addToTotals(bytes - before.bytes, objects - before.objects);
      return recorded;
    });
  }

  /** Removes records; answers the charged bytes that they had. */
  forget(names: readonly string[]): number {
    return this.exclusively(() => {
      let bytes = 0;
      let objects = 0;
      for (const name of names) {
        const row = this.get('DELETE FROM objects WHERE name = ? RETURNING length', name) as { length: number } | undefined;
        if (row === undefined) continue;
        bytes += chargedBytes(row.length);
        objects++;
      }
      this.addToTotals(-bytes, -objects);
      return bytes;
    });
  }

  /** Notes the time of use; unknown names are passed over, and so is a time less than a minute after the recorded one. */
  touch(names: readonly string[], now: number): void {
    this.exclusively(() => {
      for (const name of names) this.run('UPDATE objects SET used = ? WHERE name = ? AND used < ?', now, name, now - 60_000);
    });
  }

  /** The least recently used objects of a class after `cursor`. */
  victims(victimClass: VictimClass, cursor: EvictionCursor | null, count: number): Array<EvictionCursor & { length: number }> {
    return this.all(
      `SELECT o.name AS name, o.used AS used, o.length AS length FROM objects o WHERE (o.used, o.name) > (?, ?) AND ${VICTIMS[victimClass]} ORDER BY o.used, o.name LIMIT ?`,
      cursor?.used ?? -1, cursor?.name ?? '', count,
    ) as Array<EvictionCursor & { length: number }>;
  }

  /** Records in the order of names, for a walk over all of them. */
  recordsAfter(name: string, count: number): ObjectRecord[] {
    return this.all('SELECT name, length, digest FROM objects WHERE name > ? ORDER BY name LIMIT ?', name, count) as ObjectRecord[];
  }

  pin(owner: string, names: readonly string[]): void {
    this.exclusively(() => {
      for (const name of names) this.run('INSERT OR IGNORE INTO pins VALUES (?, ?)', name, owner);
    });
  }

  unpin(owner: string): void {
    this.exclusively(() => this.run('DELETE FROM pins WHERE owner = ?', owner));
  }

  use(owner: string, names: readonly string[]): void {
    this.exclusively(() => {
      this.run('INSERT OR IGNORE INTO owners VALUES (?, 1)', owner);
      for (const name of names) this.run('INSERT OR IGNORE INTO uses VALUES (?, ?)', name, owner);
    });
  }

  dropOwner(owner: string): void {
    this.exclusively(() => {
      this.run('DELETE FROM uses WHERE owner = ?', owner);
      this.run('DELETE FROM pins WHERE owner = ?', owner);
      this.run('DELETE FROM owners WHERE owner = ?', owner);
    });
  }

  setReachable(owner: string, reachable: boolean): void {
    this.exclusively(() => this.run('INSERT INTO owners VALUES (?, ?) ON CONFLICT (owner) DO UPDATE SET reachable = excluded.reachable', owner, reachable ? 1 : 0));
  }

  owners(): Array<{ owner: string; reachable: boolean; pins: number; uses: number }> {
    const rows = this.all(
      `SELECT n.owner AS owner, coalesce(w.reachable, 1) AS reachable, (SELECT count(*) FROM pins p WHERE p.owner = n.owner) AS pins,
              (SELECT count(*) FROM uses u WHERE u.owner = n.owner) AS uses
         FROM (SELECT owner FROM owners UNION SELECT owner FROM pins) n LEFT JOIN owners w ON w.owner = n.owner ORDER BY n.owner`,
    ) as Array<{ owner: string; reachable: number; pins: number; uses: number }>;
    return rows.map((row) => ({ ...row, reachable: row.reachable !== 0 }));
  }

  isPinned(name: string): boolean {
    return this.get('SELECT 1 FROM pins WHERE name = ? LIMIT 1', name) !== undefined;
  }

  /** Charged bytes of the objects that are here and pinned, and of those that users who can not be reached hold. */
  heldBytes(): { pinned: number; unreachable: number } {
    const pinned = this.get(`SELECT ${CHARGED_SUM} FROM (SELECT DISTINCT name FROM pins) p JOIN objects o ON o.name = p.name`) as { bytes: number };
    const unreachable = this.get(
      `SELECT ${CHARGED_SUM} FROM (SELECT DISTINCT u.name AS name FROM uses u JOIN owners w ON w.owner = u.owner WHERE w.reachable = 0) h JOIN objects o ON o.name = h.name WHERE ${NOT_PINNED}`,
    ) as { bytes: number };
    return { pinned: pinned.bytes, unreachable: unreachable.bytes };
  }

  /** The totals as the records add up to; with `repair` they are made so. */
  recount(repair: boolean): Totals {
    return this.exclusively(() => {
      const row = this.get(`SELECT count(*) AS objects, ${CHARGED_SUM} FROM objects o`) as Totals;
      if (repair) {
        this.setMeta('total', row.bytes);
        this.setMeta('objects', row.objects);
      }
      return row;
    });
  }

  openers(): Opener[] {
    return this.all('SELECT token, pid, start, boot FROM openers') as Opener[];
  }

  addOpener(opener: Opener): void {
    this.run('INSERT INTO openers VALUES (?, ?, ?, ?)', opener.token, opener.pid, opener.start, opener.boot);
  }

  removeOpener(token: string): void {
    this.run('DELETE FROM openers WHERE token = ?', token);
  }

  close(): void {
    this.statements.clear();
    this.db.close();
  }

  private addToTotals(bytes: number, objects: number): void {
    if (bytes !== 0) this.run("UPDATE meta SET value = max(0, value + ?) WHERE key = 'total'", bytes);
    if (objects !== 0) this.run("UPDATE meta SET value = max(0, value + ?) WHERE key = 'objects'", objects);
  }

  private statement(sql: string): Database.Statement {
    let statement = this.statements.get(sql);
    if (statement === undefined) this.statements.set(sql, (statement = this.db.prepare(sql)));
    return statement;
  }

  private run(sql: string, ...values: unknown[]): void {
    this.guarded(() => this.statement(sql).run(...values));
  }

  private get(sql: string, ...values: unknown[]): unknown {
    return this.guarded(() => this.statement(sql).get(...values));
  }

  private all(sql: string, ...values: unknown[]): unknown[] {
    return this.guarded(() => this.statement(sql).all(...values));
  }

  private guarded<T>(body: () => T): T {
    try {
      return body();
    } catch (error) {
      throw indexFailure(error, this.file);
    }
  }
}

function identityOf(file: string): string {
  const stat = fs.statSync(file, { bigint: true, throwIfNoEntry: false });
  return stat === undefined ? 'absent' : `${stat.dev}:${stat.ino}`;
}
