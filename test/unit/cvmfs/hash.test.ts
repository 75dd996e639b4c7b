import * as fs from 'node:fs';
import * as path from 'node:path';
import fc from 'fast-check';
import { Failure } from '../../../src/error';
import { createHasher, formatHash, hashBytes, isNullHash, parseHash, sameHash } from '../../../src/cvmfs/hash';
import type { Algorithm } from '../../../src/cvmfs/hash';
import { objectPath } from '../../../src/cvmfs/object';
import { describeWithFixtures } from '../../support/fixtures';

const EMPTY_ZLIB = Buffer.from('789c030000000001', 'hex');
const VECTORS: ReadonlyArray<[Algorithm, string]> = [
  ['sha1', 'e8ec3d88b62ebf526e4e5a4ff6162a3aa48a6b78'],
  ['rmd160', 'fcdb20b894f31f1306d56294c049ca7293dde0fc-rmd160'],
  ['shake128', '28d94b83b7229b331fc601362b8e272e02665122-shake128'],
];

describe('content hash', () => {
  it.each(VECTORS)('%s of the compressed empty file is the known one', (algorithm, text) => {
    expect(formatHash(hashBytes(algorithm, EMPTY_ZLIB))).toBe(text);
    const hasher = createHasher(algorithm);
    for (const byte of EMPTY_ZLIB) hasher.update(Buffer.of(byte));
    expect(formatHash({ algorithm, digest: hasher.digest() })).toBe(text);
    expect(formatHash(parseHash(text))).toBe(text);
  });

  it('tells algorithms apart and knows the null hash', () => {
    const sha1 = parseHash('0'.repeat(40));
    expect(isNullHash(sha1)).toBe(true);
    expect(sameHash(sha1, parseHash(`${'0'.repeat(40)}-rmd160`))).toBe(false);
    expect(sameHash(sha1, parseHash('0'.repeat(40)))).toBe(true);
    expect(isNullHash(parseHash(`${'0'.repeat(39)}1`))).toBe(false);
  });

  it.each(['', 'A'.repeat(40), 'a'.repeat(39), 'a'.repeat(41), `${'a'.repeat(40)}\n`, `${'a'.repeat(40)}C`, `${'a'.repeat(40)}-sha1`, 'd41d8cd98f00b204e9800998ecf8427e', `../${'a'.repeat(37)}`])(
    'refuses %j',
    (text) => {
      expect(() => parseHash(text)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
    },
  );

  it('never throws anything but a Failure, and round-trips', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        try {
          expect(formatHash(parseHash(text))).toBe(text);
        } catch (error) {
          expect(error).toBeInstanceOf(Failure);
        }
      }),
    );
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 20, maxLength: 20 }), fc.constantFrom<Algorithm>('sha1', 'rmd160', 'shake128'), (digest, algorithm) => {
        const hash = { algorithm, digest: Buffer.from(digest) };
        expect(sameHash(parseHash(formatHash(hash)), hash)).toBe(true);
      }),
    );
  });
});

describe('object path', () => {
  it('puts algorithm and kind into the name', () => {
    const hex = `ab${'c'.repeat(38)}`;
    expect(objectPath({ hash: parseHash(hex), kind: 'file', compression: 'none' })).toBe(`data/ab/${'c'.repeat(38)}`);
    expect(objectPath({ hash: parseHash(`${hex}-rmd160`), kind: 'chunk', compression: 'zlib' })).toBe(`data/ab/${'c'.repeat(38)}-rmd160P`);
    expect(objectPath({ hash: parseHash(`${hex}-shake128`), kind: 'catalog', compression: 'zlib' })).toBe(`data/ab/${'c'.repeat(38)}-shake128C`);
    expect((['history', 'certificate', 'metainfo'] as const).map((kind) => objectPath({ hash: parseHash(hex), kind, compression: 'zlib' }).slice(-1))).toEqual(['H', 'X', 'M']);
  });
});

describeWithFixtures('objects of the real tools', (dir) => {
  it.each(['golden.cvmfs.test', 'golden-plain.cvmfs.test', 'golden-shake128.cvmfs.test', 'images.golden.test'])('of %s have the hash that names them', (fqrn) => {
    const data = path.join(dir, fqrn, 'data');
    let checked = 0;
    for (const prefix of fs.readdirSync(data)) {
      if (!/^[0-9a-f]{2}$/.test(prefix)) continue;
      const name = fs.readdirSync(path.join(data, prefix))[0];
      if (name === undefined) continue;
      const hash = parseHash(`${prefix}${name.replace(/[A-Z]$/, '')}`);
      expect(sameHash(hash, hashBytes(hash.algorithm, fs.readFileSync(path.join(data, prefix, name))))).toBe(true);
      checked += 1;
    }
    expect(checked).toBeGreaterThan(50);
  });
});
