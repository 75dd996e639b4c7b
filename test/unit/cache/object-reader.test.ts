import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { objectFile, objectName } from '../../../src/cache/object-name';
import { ObjectReader } from '../../../src/cache/object-reader';

const GENERATION = 77;
let dir: string;

beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'object-reader-'));
});
afterEach(() => fs.rmSync(dir, { recursive: true }));

function put(seed: number, content: string, generation = GENERATION): string {
  const name = objectName({ hash: { algorithm: 'sha1', digest: Buffer.alloc(20, seed) }, compression: 'zlib' });
  const file = objectFile(dir, name);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, content);
  fs.utimesSync(file, generation, generation);
  return name;
}

function text(fd: number | null | 'unverified'): string {
  if (typeof fd !== 'number') throw new Error(`no descriptor: ${fd}`);
  const buffer = Buffer.alloc(100);
  return buffer.toString('latin1', 0, fs.readSync(fd, buffer, 0, buffer.length, 0));
}

describe('ObjectReader', () => {
  it('opens what was written in this generation', () => {
    const reader = new ObjectReader(dir, GENERATION);
    const name = put(1, 'hello');
    expect(text(reader.open(name, 5))).toBe('hello');
    expect(text(reader.open(name, null))).toBe('hello');
    expect(reader.sizeOf(name)).toBe(5);
    reader.close();
  });

  it('says null for what is absent and for what has another size than the row', () => {
    const reader = new ObjectReader(dir, GENERATION);
    expect(reader.open({ hash: { algorithm: 'sha1', digest: Buffer.alloc(20, 9) }, compression: 'none' }, 1)).toBeNull();
    const name = put(1, 'hello');
    expect(reader.open(name, 6)).toBeNull();
    expect(text(reader.open(name, 5))).toBe('hello');
    expect(reader.open(name, 6)).toBeNull();
    reader.close();
  });

  it('says unverified for another generation and for a time of a clock', () => {
    const reader = new ObjectReader(dir, GENERATION);
    expect(reader.open(put(1, 'hello', GENERATION - 1), 5)).toBe('unverified');
    expect(reader.open(put(2, 'hello', Date.now() / 1000), 5)).toBe('unverified');
    expect(reader.open(put(3, 'hello', GENERATION + 0.5), 5)).toBe('unverified');
  });

  it('follows no link and opens no directory', () => {
    const reader = new ObjectReader(dir, GENERATION);
    const name = put(1, 'hello');
    const file = objectFile(dir, name);
    fs.renameSync(file, `${file}.elsewhere`);
    fs.symlinkSync(`${file}.elsewhere`, file);
    expect(reader.open(name, 5)).toBeNull();
    fs.unlinkSync(file);
    fs.mkdirSync(file);
    expect(reader.open(name, null)).toBeNull();
  });

  it('keeps no more files open than it may', () => {
    const reader = new ObjectReader(dir, GENERATION, { maxOpenFiles: 3 });
    const before = fs.readdirSync('/proc/self/fd').length;
    for (let seed = 1; seed <= 20; seed++) expect(text(reader.open(put(seed, `object ${seed}`), null))).toBe(`object ${seed}`);
    expect(fs.readdirSync('/proc/self/fd').length).toBe(before + 3);
    reader.close();
    expect(fs.readdirSync('/proc/self/fd').length).toBe(before);
  });

  it('keeps files of no more bytes open than it may, whose space could not be given back, and the last in any case', () => {
    const reader = new ObjectReader(dir, GENERATION, { maxOpenBytes: 10 });
    const before = fs.readdirSync('/proc/self/fd').length;
    for (let seed = 1; seed <= 5; seed++) reader.open(put(seed, '1234'), null);
    expect(fs.readdirSync('/proc/self/fd').length).toBe(before + 2);
    expect(text(reader.open(put(6, 'twenty characters ..'), null))).toBe('twenty characters ..');
    expect(text(reader.open(put(7, ''), null))).toBe('');
    expect(fs.readdirSync('/proc/self/fd').length).toBe(before + 1);
    reader.close();
    expect(fs.readdirSync('/proc/self/fd').length).toBe(before);
  });

  it('reports what was opened, once and bounded', () => {
    const reader = new ObjectReader(dir, GENERATION, { maxTouched: 2 });
    const names = [put(1, 'a'), put(2, 'b'), put(3, 'c')];
    for (const name of names) reader.open(name, 1);
    reader.open(names[0]!, 1);
    expect(reader.drainTouched()).toEqual(names.slice(0, 2));
    expect(reader.drainTouched()).toEqual([]);
    reader.close();
  });

  it('goes on serving an evicted file that it has open, and lets go of it at the next drain', () => {
    const reader = new ObjectReader(dir, GENERATION);
    const name = put(1, 'hello');
    reader.open(name, 5);
    fs.unlinkSync(objectFile(dir, name));
    expect(text(reader.open(name, 5))).toBe('hello');
    reader.drainTouched();
    expect(reader.open(name, 5)).toBeNull();
  });
});
