import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { parseHash } from '../../../src/cvmfs/hash';
import { PlaceList } from '../../../src/repository/places';
import type { InodeRange, Place } from '../../../src/repository/places';
import { SharedState } from '../../../src/repository/shared-state';

const TWO_32 = 2 ** 32;
const hash = (n: number): ReturnType<typeof parseHash> => parseHash(n.toString(16).padStart(40, '0'));
const EMPTY = Buffer.alloc(0);
const rows = (maxRowid: number, ancestors: readonly number[] = []) => (): InodeRange => ({ maxRowid, ancestors });

describe('the index list', () => {
  let dir: string;
  let file: string;
  let fd: number;
  let shared: SharedState;

  beforeEach(() => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'places-'));
    file = path.join(dir, 'index');
    fd = fs.openSync(file, 'w+');
    shared = new SharedState();
  });

  afterEach(() => {
    fs.closeSync(fd);
    fs.rmSync(dir, { recursive: true });
  });

  /** As the successor of a dead process opens it. */
  function again(): PlaceList {
    shared = new SharedState();
    PlaceList.recover(fd, shared);
    return new PlaceList(fd, shared, 32);
  }

  it('gives one index to one meaning, from 1 on, in every thread', () => {
    const one = new PlaceList(fd, shared, 32);
    const two = new PlaceList(fd, shared, 32);
    const live = one.ensure(`live@${'0'.repeat(39)}1`, hash(1), EMPTY, rows(10));
    const files = two.ensure('files', hash(1), EMPTY, rows(10));
    expect([live.index, files.index]).toEqual([1, 2]);
    expect(one.ensure('files', hash(1), EMPTY, rows(10))).toEqual(files);
    // The same catalog at another place is another index: its entries have other parents.
    expect(one.ensure('files', hash(1), Buffer.from('/a'), rows(10)).index).toBe(3);
    expect(two.get(3)?.mountPath.toString()).toBe('/a');
    expect(two.get(4)).toBeUndefined();
    expect(two.find('files', '0'.repeat(39) + '1', Buffer.from('/a'))?.index).toBe(3);
  });

  it('tells a successor everything, bytes of paths included', () => {
    const odd = Buffer.concat([Buffer.from('/with blank\n%41 and '), Buffer.from([0xff, 0x80, 0x01]), Buffer.from('é')]);
    const first = new PlaceList(fd, shared, 32);
    first.ensure(`view@${'0'.repeat(39)}2`, hash(2), odd, rows(7));
    first.ensure('files', hash(3), Buffer.from('/b'), rows(2 ** 32 - 600));
    const before = first.all();
    const after = again();
    expect(after.all()).toEqual(before);
    expect(after.all()[0]!.mountPath.equals(odd)).toBe(true);
    expect(after.view('0'.repeat(39) + '2')?.index).toBe(1);
    expect(after.view('0'.repeat(39) + '3')).toBeUndefined();
    expect(after.ensure('files', hash(4), EMPTY, rows(1)).index).toBe(3);
  });

  it('cuts a torn last line off, which no reply has used', () => {
    new PlaceList(fd, shared, 32).ensure('files', hash(1), EMPTY, rows(5));
    const whole = fs.readFileSync(file);
    fs.appendFileSync(file, `2 files ${'0'.repeat(39)}2 261`);
    const after = again();
    expect(after.all()).toHaveLength(1);
    expect(fs.readFileSync(file)).toEqual(whole);
    expect(after.ensure('files', hash(2), EMPTY, rows(5)).index).toBe(2);
  });

  it.each(['2 files x 256 5 \n', 'one\n', `1 elsewhere ${'0'.repeat(40)} 256 5 \n`, `1 files ${'0'.repeat(40)} -1 5 \n`])('refuses the damaged line %j', (line) => {
    fs.writeSync(fd, line, 0);
    expect(() => again().all()).toThrow(expect.objectContaining({ code: 'STATE_DAMAGED' }));
  });

  describe('with 32-bit inode numbers', () => {
    /** Numbers that the rows of a place get. */
    const has = (place: Place, ino: number): boolean => {
      const distance = (ino - place.inodeBase + TWO_32) % TWO_32;
      return distance >= 1 && distance <= place.maxRowid;
    };

    it('gives neighbouring ranges to catalogs while there is room', () => {
      const list = new PlaceList(fd, shared, 32);
      const a = list.ensure('files', hash(1), EMPTY, rows(100));
      const b = list.ensure('files', hash(2), EMPTY, rows(50));
      for (let row = 1; row <= 100; row++) expect(has(b, a.inodeBase + row)).toBe(false);
    });

    it('wraps round, and meets neither our own numbers nor a directory above', () => {
      const list = new PlaceList(fd, shared, 32);
      list.ensure('files', hash(1), EMPTY, rows(TWO_32 - 2_000));
      const above = [TWO_32 - 100, 400, 700, 701, 1_500];
      const wrapped = list.ensure('files', hash(2), EMPTY, rows(500, above));
      for (const ino of [0, 1, 2, ...above]) expect({ ino, met: has(wrapped, ino) }).toEqual({ ino, met: false });
      for (let n = 3; n < 60; n++) {
        const next = list.ensure('files', hash(n), EMPTY, rows(100_000_000, above));
        for (const ino of [0, 1, 2, ...above]) expect({ n, ino, met: has(next, ino) }).toEqual({ n, ino, met: false });
      }
    });

    it('refuses a catalog that can not be numbered so', () => {
      const list = new PlaceList(fd, shared, 32);
      const everywhere = Array.from({ length: 8 }, (_, i) => i * (TWO_32 / 8) + 5);
      expect(() => list.ensure('files', hash(1), EMPTY, rows(TWO_32 / 4, everywhere))).toThrow(expect.objectContaining({ code: 'CATALOG_INVALID' }));
      expect(list.all()).toHaveLength(0);
    });
  });
});
