import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import Database from 'better-sqlite3';
import { openDatabase } from '../../../provisioner/state/database';
import { MIGRATIONS } from '../../../provisioner/state/migrations';
import type { RootfsRecord } from '../../../provisioner/state/rootfs-record';
import { State } from '../../../provisioner/state/state';

const UUIDS = ['1', '2', '3'].map((digit) => `${digit.repeat(8)}-0000-4000-8000-000000000000`);

function intended(container: string[], uuid: string, key?: string): RootfsRecord & { state: { kind: 'intended' } } {
  return {
    uuid,
    container,
    backend: 'overlay',
    state: { kind: 'intended' },
    image: {
      reference: 'cvmfs://a.example.org/x',
      repository: 'a.example.org',
      path: Buffer.from([0x2f, 0xff]),
      view: 'a'.repeat(40),
      pathInView: Buffer.from('/'),
      rootHash: 'b'.repeat(40),
      revision: 3,
      digest: `sha256:${'c'.repeat(64)}`,
    },
    manifest: { config: { Entrypoint: [], Env: ['A=1'], Cmd: [], Labels: {} } },
    ...(key === undefined ? {} : { request: { key, fingerprint: 'f' } }),
    createdMs: 1000,
  };
}

describe('the state database', () => {
  let dir: string;
  let file: string;

  beforeEach(() => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'mcs-'));
    file = path.join(dir, 'state.db');
  });

  afterEach(() => fs.rmSync(dir, { recursive: true }));

  const open = (): State => new State(openDatabase(file));

  it('remembers a rootfs as it was written, bytes that are not UTF-8 too, over a restart', () => {
    const state = open();
    const record = intended(['r', 'c'], UUIDS[0]!, 'k');
    state.intend(record, 'holder');
    state.move(record, { kind: 'mounted', bootId: 'boot' });
    state.close();
    const again = open();
    expect(again.all()).toEqual({ records: [{ ...record, state: { kind: 'mounted', bootId: 'boot' } }], bad: [] });
    expect(again.byRequest('r/c', 'k')).toMatchObject({ uuid: UUIDS[0] });
    expect(again.images()).toMatchObject([{ holder: 'holder', digest: record.image.digest, pinnedMs: null }]);
    again.close();
  });

  it('is written for good when a method returns: WAL with full synchronisation, for root alone', () => {
    const db = openDatabase(file);
    expect(db.pragma('journal_mode', { simple: true })).toBe('wal');
    expect(db.pragma('synchronous', { simple: true })).toBe(2);
    expect(fs.statSync(file).mode & 0o777).toBe(0o600);
    db.close();
  });

  it('finds a container with all that is nested in it, and nothing beside it', () => {
    const state = open();
    const all = [['r'], ['r', 'c'], ['r0'], ['r-'], ['R']].map((container, n) => intended(container, `${n}${UUIDS[0]!.slice(1)}`));
    for (const record of all) state.intend(record, 'h');
    expect(state.within('r').records.map(({ container }) => container.join('/'))).toEqual(['r', 'r/c']);
    state.close();
  });

  it('has one door for states', () => {
    const state = open();
    const record = intended(['r'], UUIDS[0]!);
    state.intend(record, 'h');
    const mounted = state.move(record, { kind: 'mounted', bootId: 'b' });
    const destroying = state.move(mounted, { kind: 'destroying' });
    expect(() => state.move(destroying, { kind: 'mounted', bootId: 'b' })).toThrow(/cannot go from destroying to mounted/);
    expect(() => state.move(mounted, { kind: 'intended' })).toThrow(/cannot go/);
    state.close();
  });

  it('owes the release of a view from the instant in which the rootfs is forgotten', () => {
    const state = open();
    const record = intended(['r'], UUIDS[0]!);
    state.intend(record, 'h');
    state.remove(record);
    expect(state.all().records).toEqual([]);
    expect(state.releases()).toEqual([{ repository: 'a.example.org', view: 'a'.repeat(40), holder: UUIDS[0] }]);
    state.released([state.releases()[0]!]);
    expect(state.releases()).toEqual([]);
    state.close();
  });

  it('takes an image up under a new holder after it was let go, so that a late release cannot end the new hold', () => {
    const state = open();
    expect(state.intend(intended(['r'], UUIDS[0]!), 'one').holder).toBe('one');
    expect(state.intend(intended(['r'], UUIDS[1]!), 'two').holder).toBe('one');
    state.removeImage(state.images()[0]!);
    expect(state.intend(intended(['r'], UUIDS[2]!), 'three').holder).toBe('three');
    expect(state.releases().map(({ holder }) => holder)).toEqual(['one']);
    state.close();
  });

  it('refuses the same idempotency key twice for one container', () => {
    const state = open();
    state.intend(intended(['r'], UUIDS[0]!, 'k'), 'h');
    expect(() => state.intend(intended(['r'], UUIDS[1]!, 'k'), 'h')).toThrow(/UNIQUE/);
    state.intend(intended(['r2'], UUIDS[2]!, 'k'), 'h');
    state.close();
  });

  it.each([
    ["uuid = '../../etc'", /not a UUID/],
    ["container = '../x'", /cannot be used/],
    ["backend = 'copy'", /unknown backend/],
    ["state = 'happy'", /unknown state/],
    ["repository = '../..'", /not the name of a repository/],
    ["view = '../../../etc'", /not a catalog hash/],
    ["path_in_view = x'2e2e'", /absolute path/],
    ["manifest = '{'", /JSON/],
    ["manifest = '{}'", /no config/],
  ])('sets a row with %s aside and reads the others', (change, reason) => {
    const state = open();
    state.intend(intended(['bad'], UUIDS[0]!), 'h');
    state.intend(intended(['good'], UUIDS[1]!), 'h');
    state.close();
    const db = new Database(file);
    db.exec(`UPDATE rootfs SET ${change} WHERE container = 'bad'`);
    db.close();
    const again = open();
    const { records, bad } = again.all();
    expect(records.map(({ container }) => container)).toEqual([['good']]);
    expect(bad).toEqual([expect.objectContaining({ reason: expect.stringMatching(reason) })]);
    again.close();
  });

  describe('refuses, and changes nothing of,', () => {
    const refusal = (code: string, text: RegExp): void => {
      const before = fs.readFileSync(file);
      expect(() => open()).toThrow(expect.objectContaining({ code, message: expect.stringMatching(text) }));
      expect(fs.readFileSync(file).equals(before)).toBe(true);
    };

    it('a file that is no database', () => {
      fs.writeFileSync(file, 'not a database, but of some length'.repeat(100));
      refusal('STATE_DAMAGED', /damaged.*nothing was changed/);
    });

    it('a database with damaged pages', () => {
      const state = open();
      for (let n = 0; n < 200; n++) state.intend(intended([`c${n}`], `${String(n).padStart(8, '0')}-0000-4000-8000-000000000000`), 'h');
      state.close();
      const bytes = fs.readFileSync(file);
      bytes.fill(0xa5, 4096 * 3, 4096 * 6);
      fs.writeFileSync(file, bytes);
      refusal('STATE_DAMAGED', /damaged/);
    });

    it('a truncated database', () => {
      const state = open();
      for (let n = 0; n < 200; n++) state.intend(intended([`c${n}`], `${String(n).padStart(8, '0')}-0000-4000-8000-000000000000`), 'h');
      state.close();
      fs.truncateSync(file, 4096 * 5);
      refusal('STATE_DAMAGED', /damaged/);
    });

    it('a database of a newer version', () => {
      const db = openDatabase(file);
      db.pragma(`user_version = ${MIGRATIONS.length + 1}`);
      db.close();
      refusal('FAILED_PRECONDITION', /newer version/);
    });

    it('a database of another program', () => {
      const db = new Database(file);
      db.exec('CREATE TABLE bookmarks (url TEXT)');
      db.close();
      refusal('STATE_DAMAGED', /another program/);
    });
  });
});
