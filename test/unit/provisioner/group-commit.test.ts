/** Changes asked for together: one commit, each for itself in failing. */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import Database from 'better-sqlite3';
import { GroupCommit } from '../../../provisioner/state/group-commit';

describe('changes in one transaction', () => {
  let dir: string;
  let db: Database.Database;
  let statements: string[];
  let group: GroupCommit;

  beforeEach(() => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'mcg-'));
    statements = [];
    db = new Database(path.join(dir, 'state.db'), { verbose: (text) => void statements.push(String(text)) });
    db.exec('CREATE TABLE t (x INTEGER PRIMARY KEY)');
    group = new GroupCommit(db);
    statements = [];
  });

  afterEach(() => {
    db.close();
    fs.rmSync(dir, { recursive: true, force: true });
  });

  const insert = (x: number) => group.run(() => db.prepare('INSERT INTO t (x) VALUES (?)').run(x).changes);
  const rows = (): number[] => db.prepare('SELECT x FROM t ORDER BY x').pluck().all() as number[];

  it('a hundred are committed once', async () => {
    await Promise.all(Array.from({ length: 100 }, (_, x) => insert(x)));
    expect(rows()).toHaveLength(100);
    expect(statements.filter((text) => text === 'COMMIT')).toHaveLength(1);
  });

  it('one that fails takes back only what it did itself', async () => {
    const failing = group.run(() => {
      db.prepare('INSERT INTO t (x) VALUES (50)').run();
      throw new Error('not this one');
    });
    const results = await Promise.allSettled([insert(1), failing, insert(2), insert(1)]);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'rejected']);
    expect(rows()).toEqual([1, 2]);
  });

  it('when the whole transaction is lost, nobody is told that his change is there', async () => {
    const losing = group.run(() => {
      db.exec('ROLLBACK');
      throw new Error('the disk is full');
    });
    const results = await Promise.allSettled([insert(1), losing, insert(2)]);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    expect(rows()).toEqual([]);
    await insert(3);
    expect(rows()).toEqual([3]);
  });

  it('a change sees what those before it in the same transaction did', async () => {
    const count = () => group.run(() => Number(db.prepare('SELECT count(*) FROM t').pluck().get()));
    expect(await Promise.all([count(), insert(1), count(), insert(2), count()])).toEqual([0, 1, 1, 1, 2]);
  });

  it('answers only when the rows are on disk for another connection', async () => {
    await insert(7);
    const other = new Database(path.join(dir, 'state.db'), { readonly: true });
    expect(other.prepare('SELECT x FROM t').pluck().all()).toEqual([7]);
    other.close();
  });
});
