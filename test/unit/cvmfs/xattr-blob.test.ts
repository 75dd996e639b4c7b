import fc from 'fast-check';
import { Failure } from '../../../src/error';
import { parseXattrs, serializeXattrs } from '../../../src/cvmfs/xattr-blob';

const entry = (name: string, value: string): { name: Buffer; value: Buffer } => ({ name: Buffer.from(name), value: Buffer.from(value) });

describe('xattr blob', () => {
  it('is version, count, and entries with names in byte order', () => {
    expect(serializeXattrs([entry('user.b', 'xy'), entry('user.a', '')]).toString('hex')).toBe(`0102${'0600'}757365722e61${'0602'}757365722e627879`);
    expect(serializeXattrs([]).toString('hex')).toBe('0100');
    expect(parseXattrs(Buffer.from('0100', 'hex'))).toEqual([]);
  });

  it('holds 255 entries of 255 bytes and refuses one more of anything', () => {
    const full = Array.from({ length: 255 }, (_, i) => ({ name: Buffer.alloc(255, i + 1), value: Buffer.alloc(255, 7) }));
    expect(parseXattrs(serializeXattrs(full))).toEqual(full);
    const refused = expect.objectContaining({ code: 'INVALID_ARGUMENT' });
    expect(() => serializeXattrs([...full, entry('x', '')])).toThrow(refused);
    expect(() => serializeXattrs([{ name: Buffer.alloc(256, 1), value: Buffer.alloc(0) }])).toThrow(refused);
    expect(() => serializeXattrs([{ name: Buffer.alloc(1, 1), value: Buffer.alloc(256) }])).toThrow(refused);
    expect(() => serializeXattrs([entry('a\0b', 'x')])).toThrow(refused);
    expect(() => serializeXattrs([entry('', 'x')])).toThrow(refused);
    expect(() => serializeXattrs([entry('a', 'x'), entry('a', 'y')])).toThrow(refused);
  });

  it.each([
    ['nothing', ''],
    ['one byte', '01'],
    ['another version', '0200'],
    ['fewer entries than it says', '0101'],
    ['a name cut short', '01010500616263'],
    ['a value cut short', '0101010561'],
    ['an entry of nothing', '01010000'],
    ['a value without a name', '0101000161'],
    ['a NUL in a name', '0101010000'],
  ])('with %s is no attributes', (_what, hex) => {
    expect(parseXattrs(Buffer.from(hex, 'hex'))).toEqual([]);
  });

  it('round-trips, and any bytes parse to something', () => {
    const entries = fc.uniqueArray(fc.record({ name: fc.uint8Array({ min: 1, minLength: 1, maxLength: 255 }), value: fc.uint8Array({ maxLength: 255 }) }), {
      maxLength: 30,
      selector: ({ name }) => Buffer.from(name).toString('hex'),
    });
    fc.assert(
      fc.property(entries, (list) => {
        const wanted = list.map(({ name, value }) => ({ name: Buffer.from(name), value: Buffer.from(value) })).sort((a, b) => Buffer.compare(a.name, b.name));
        expect(parseXattrs(serializeXattrs([...wanted].reverse()))).toEqual(wanted);
      }),
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        try {
          serializeXattrs(parseXattrs(Buffer.from(bytes)));
        } catch (error) {
          expect(error).toBeInstanceOf(Failure);
        }
      }),
    );
  });
});
