/**
 * Opens the state database, or refuses it with the reason: nothing that is damaged or newer than this program is
 * touched, let alone made anew, since the rows are the only memory of what was promised to running containers.
 */
import * as fs from 'node:fs';
import Database from 'better-sqlite3';
import { Failure } from '../../src/error';
import { APPLICATION_ID, MIGRATIONS } from './migrations';

const KEEP = 'nothing was changed; move the file away (running containers stay, but are no longer known) or restore a copy';

/** SQLite's codes for what is not the file's fault. */
const ENVIRONMENT: readonly string[] = ['SQLITE_CANTOPEN', 'SQLITE_IOERR', 'SQLITE_READONLY', 'SQLITE_BUSY', 'SQLITE_PERM', 'SQLITE_NOMEM'];

function damaged(file: string, why: string, cause?: unknown): Failure {
  return new Failure('STATE_DAMAGED', `the state database ${file} is damaged: ${why}`, { next: KEEP, data: { file }, cause });
}

function check(db: Database.Database, file: string): void {
  const answer = db.pragma('quick_check(1)', { simple: true });
  if (answer !== 'ok') throw damaged(file, String(answer));
  const application = Number(db.pragma('application_id', { simple: true }));
  const version = Number(db.pragma('user_version', { simple: true }));
  const tables = Number(db.prepare('SELECT count(*) FROM sqlite_master').pluck().get());
  if (application !== APPLICATION_ID && (application !== 0 || version !== 0 || tables !== 0)) throw damaged(file, 'it is a database of another program');
  if (version > MIGRATIONS.length) {
    throw new Failure('FAILED_PRECONDITION', `the state database ${file} has version ${version}, this program knows versions up to ${MIGRATIONS.length}`, {
      next: 'start the newer version of mesos-cvmfs that wrote it',
      data: { file, version },
    });
  }
}

function migrate(db: Database.Database): void {
  const version = Number(db.pragma('user_version', { simple: true }));
  if (version === MIGRATIONS.length) return;
  db.transaction(() => {
    for (const step of MIGRATIONS.slice(version)) db.exec(step);
    db.pragma(`application_id = ${APPLICATION_ID}`);
    db.pragma(`user_version = ${MIGRATIONS.length}`);
  })();
}

/**
 * WAL with `synchronous=FULL`: a commit is on disk when it returns, so that a row is never younger than the effect that
 * it announces. Errors: STATE_DAMAGED, FAILED_PRECONDITION (newer version), NO_SPACE, SYSTEM.
 */
export function openDatabase(file: string): Database.Database {
  let db: Database.Database | undefined;
  try {
    db = new Database(file);
    fs.chmodSync(file, 0o600);
    check(db, file);
    db.pragma('journal_mode = WAL');
    db.pragma('synchronous = FULL');
    migrate(db);
    return db;
  } catch (err) {
    db?.close();
    if (err instanceof Failure) throw err;
    const { code, message } = err as { code?: unknown; message?: string };
    if (typeof code === 'string' && code.startsWith('SQLITE_')) {
      if (code === 'SQLITE_FULL') throw new Failure('NO_SPACE', `the state database ${file} cannot be opened: ${message}`, { cause: err });
      if (ENVIRONMENT.some((prefix) => code.startsWith(prefix))) throw new Failure('SYSTEM', `the state database ${file} cannot be opened: ${message}`, { cause: err });
      throw damaged(file, String(message), err);
    }
    throw Failure.from(err, `the state database ${file}`);
  }
}
