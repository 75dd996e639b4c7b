import * as zlib from 'node:zlib';
import fc from 'fast-check';
import { Failure } from '../../../src/error';
import { parseBlacklist } from '../../../src/cvmfs/blacklist';
import { parseBreadcrumb, serializeBreadcrumb } from '../../../src/cvmfs/breadcrumb';
import { formatFingerprint, parseFingerprint } from '../../../src/cvmfs/fingerprint';
import { parseHash } from '../../../src/cvmfs/hash';
import type { Algorithm } from '../../../src/cvmfs/hash';
import { IdMap } from '../../../src/cvmfs/id-map';
import { inflateBounded } from '../../../src/cvmfs/inflate';
import { openLetter } from '../../../src/cvmfs/letter';
import { parseManifest, serializeManifest } from '../../../src/cvmfs/manifest';
import type { Manifest } from '../../../src/cvmfs/manifest';
import { checkRepositoryName } from '../../../src/cvmfs/repository-name';
import { chooseRevision } from '../../../src/cvmfs/revision';
import { entryTotal, totals } from '../../../src/cvmfs/statistics';
import { parseWhitelist, serializeWhitelist } from '../../../src/cvmfs/whitelist';

const A = parseHash('a'.repeat(40));
const B = parseHash(`${'b'.repeat(40)}-rmd160`);

const hashes = fc
  .tuple(fc.uint8Array({ minLength: 20, maxLength: 20 }), fc.constantFrom<Algorithm>('sha1', 'rmd160', 'shake128'))
  .map(([digest, algorithm]) => ({ algorithm, digest: Buffer.from(digest) }));

/** Only a Failure comes out of a parser, whatever goes in. */
function onlyFailures(parse: (bytes: Buffer) => unknown): void {
  const lines = fc.array(fc.oneof(fc.string(), fc.constantFrom('--', 'C', 'R', `C${'a'.repeat(40)}`, 'Rd41d8cd98f00b204e9800998ecf8427e', 'D1', 'S1', 'B-1', 'E20260101000000', '20260101000000', 'Nx'))).map((all) => Buffer.from(all.join('\n')));
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array().map((bytes) => Buffer.from(bytes)), lines), (bytes) => {
      try {
        parse(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(Failure);
      }
    }),
  );
}

describe('manifest', () => {
  const least = `C${'a'.repeat(40)}\nRd41d8cd98f00b204e9800998ecf8427e\nD240\nS3\n`;

  it('is read in any order, with unknown letters, repeated letters and empty lines', () => {
    const manifest = parseManifest(Buffer.from(`S1\n\nQwhatever\nD240\nRd41d8cd98f00b204e9800998ecf8427e\nS3\nGyes\nAYES\nZone\nZtwo\nC${'b'.repeat(40)}-rmd160\n--\nS9\n`));
    expect(manifest).toEqual({ rootHash: B, rootSize: 0, ttlSeconds: 240, revision: 3, garbageCollectable: true, alternativePath: false, publishedAt: 0, channelTips: ['one', 'two'] });
  });

  it.each(['C', 'R', 'D', 'S'])('without %s is incomplete', (letter) => {
    const text = least.split('\n').filter((line) => line[0] !== letter).join('\n');
    expect(() => parseManifest(Buffer.from(text))).toThrow(expect.objectContaining({ code: 'MANIFEST_INVALID' }));
  });

  it.each(['S18446744073709551616', 'S-1', 'S1e3', 'Sx', 'D', 'Bx', 'Xabc', 'Re41d8cd98f00b204e9800998ecf8427e'])('with %s is refused', (line) => {
    expect(() => parseManifest(Buffer.from(`${least}${line}\n`))).toThrow(expect.objectContaining({ code: 'MANIFEST_INVALID' }));
  });

  it('round-trips, and throws nothing but Failures', () => {
    const optional = fc.option(hashes, { nil: undefined });
    const manifests = fc.record({
      rootHash: hashes.filter((hash) => hash.digest.some((byte) => byte !== 0)),
      rootSize: fc.maxSafeNat(),
      ttlSeconds: fc.nat(),
      revision: fc.maxSafeNat(),
      garbageCollectable: fc.boolean(),
      alternativePath: fc.boolean(),
      publishedAt: fc.nat(),
      certificate: optional,
      history: optional,
      metainfo: optional,
      reflog: optional,
      microCatalog: optional,
      fqrn: fc.option(fc.constantFrom('a.b', 'sw.example.org'), { nil: undefined }),
    });
    fc.assert(fc.property(manifests, (manifest) => expect(parseManifest(serializeManifest(manifest as Manifest))).toEqual(withoutUndefined(manifest))));
    onlyFailures((bytes) => parseManifest(bytes));
    onlyFailures((bytes) => openLetter(bytes, (why) => new Failure('MANIFEST_INVALID', why)));
  });
});

/** Without the keys whose value is undefined. */
function withoutUndefined(value: object): object {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined));
}

describe('whitelist', () => {
  it('takes fingerprints in either case, with comments, and skips what is none', () => {
    const pairs = Array.from({ length: 20 }, (_, i) => (i + 0xa0).toString(16));
    const text = `20260101000000\nE20270101123456\nNsw.example.org\n${pairs.join(':')} # one\n${pairs.join(':').toUpperCase()}-RMD160\tx\n${pairs.join(':')}-shake128#y\nnonsense\n\n${pairs.slice(1).join(':')}\n--\n`;
    const whitelist = parseWhitelist(Buffer.from(text));
    expect(whitelist.fingerprints.map((each) => each.algorithm)).toEqual(['sha1', 'rmd160', 'shake128']);
    expect(whitelist.expires).toEqual(new Date('2027-01-01T12:34:56Z'));
    expect(whitelist.validUntil).toEqual(new Date('2027-01-01T12:00:00Z'));
  });

  it('round-trips, and throws nothing but Failures', () => {
    const times = fc.date({ min: new Date('1970-01-01T00:00:00Z'), max: new Date('9999-12-31T23:59:59Z'), noInvalidDate: true }).map((date) => new Date(Math.floor(date.getTime() / 1000) * 1000));
    fc.assert(
      fc.property(times, times, fc.array(hashes), (created, expires, fingerprints) => {
        const parsed = parseWhitelist(serializeWhitelist({ created, expires, fqrn: 'a.b', fingerprints }));
        expect({ ...parsed, validUntil: undefined }).toEqual({ created, expires, fqrn: 'a.b', fingerprints, validUntil: undefined });
      }),
    );
    onlyFailures((bytes) => parseWhitelist(bytes));
    fc.assert(fc.property(hashes, (hash) => expect(parseFingerprint(formatFingerprint(hash))).toEqual(hash)));
  });
});

describe('blacklist', () => {
  it('takes certificates and lowest revisions, and tells which lines it cannot read', () => {
    const fingerprint = formatFingerprint(A);
    const { fingerprints, minRevisions, ignored } = parseBlacklist(
      `# comment\n\n${fingerprint}\n<sw.example.org 120\n<sw.example.org\t7\n<trailing.example.org 5 \n< spaced.example.org 5\n<windows.example.org 5\r\nhello\n`,
    );
    expect(fingerprints).toEqual([A]);
    expect([...minRevisions]).toEqual([['sw.example.org', 120]]);
    expect(ignored).toEqual(['<trailing.example.org 5 ', '< spaced.example.org 5', '<windows.example.org 5\r', 'hello']);
  });
});

describe('breadcrumb', () => {
  it('is one line, and an old one without a revision counts as revision 0', () => {
    const text = `${'b'.repeat(40)}-rmd160T1795226447R6`;
    expect(parseBreadcrumb(text)).toEqual({ rootHash: B, timestamp: 1795226447, revision: 6 });
    expect(serializeBreadcrumb(parseBreadcrumb(text))).toBe(text);
    expect(parseBreadcrumb(`${'a'.repeat(40)}T5`)).toEqual({ rootHash: A, timestamp: 5, revision: 0 });
  });

  it.each(['', 'T5R6', `${'a'.repeat(39)}T5R6`, `${'a'.repeat(40)}T5R`, `${'a'.repeat(40)}`, `${'a'.repeat(40)}T5R6x`])('%j is damage', (text) => {
    expect(() => parseBreadcrumb(text)).toThrow(expect.objectContaining({ code: 'STATE_DAMAGED' }));
  });
});

describe('the choice of a revision', () => {
  const at = (revision: number, timestamp = 10, rootHash = A): { revision: number; timestamp: number; rootHash: typeof A } => ({ revision, timestamp, rootHash });
  it('goes forward only', () => {
    expect(chooseRevision({})).toEqual({ use: 'none' });
    expect(chooseRevision({ server: at(1) })).toEqual({ use: 'server', why: 'first' });
    expect(chooseRevision({ cached: at(1) })).toEqual({ use: 'cached', why: 'offline' });
    expect(chooseRevision({ cached: at(1), server: at(2) })).toEqual({ use: 'server', why: 'newer' });
    expect(chooseRevision({ cached: at(2), server: at(2) })).toEqual({ use: 'cached', why: 'same' });
    expect(chooseRevision({ cached: at(2), server: at(2, 10, B) })).toEqual({ use: 'cached', why: 'conflict' });
    expect(chooseRevision({ cached: at(3), server: at(2) })).toEqual({ use: 'cached', why: 'older' });
    expect(chooseRevision({ cached: at(1, 20), server: at(2, 10) })).toEqual({ use: 'cached', why: 'older' });
  });
});

describe('repository name', () => {
  it.each(['sw.example.org', 'a1', 'a_b-c.d', 'x'.repeat(60)])('%s is one', (name) => expect(checkRepositoryName(name)).toBe(name));
  it.each(['', 'a', '.a', 'a.', '-a', 'a..b', 'a/b', '../x', 'a b', 'a\n', 'ä.org', 'x'.repeat(61), 'a\0b'])('%j is none', (name) => {
    expect(() => checkRepositoryName(name)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
  });
});

describe('id map', () => {
  it('maps, with a default', () => {
    const map = IdMap.parse('# map\n1001 5001 # me\n\n  0\t7\n', 'uid.map');
    expect([map.map(1001), map.map(0), map.map(42)]).toEqual([5001, 7, 42]);
    expect(IdMap.parse('1 2\n* 99', 'uid.map').map(42)).toBe(99);
  });
  it.each(['x 1', '1', '1 2 3', '* *', '-1 2', '1 4294967296'])('refuses the line %j and names file and line', (line) => {
    expect(() => IdMap.parse(`1 2\n${line}\n`, 'uid.map')).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringMatching(/uid\.map, line 2/) as string }));
  });
});

describe('bounded inflate', () => {
  const empty = Buffer.from('789c030000000001', 'hex');
  it('gives the content, and stops at the limit', () => {
    expect(inflateBounded(empty, 0).length).toBe(0);
    const bomb = zlib.deflateSync(Buffer.alloc(10_000_000));
    expect(inflateBounded(bomb, 10_000_000).length).toBe(10_000_000);
    expect(() => inflateBounded(bomb, 9_999_999)).toThrow(expect.objectContaining({ code: 'OBJECT_TOO_BIG' }));
    expect(() => inflateBounded(bomb.subarray(0, -1), 10_000_000)).toThrow(expect.objectContaining({ code: 'OBJECT_CORRUPT' }));
    expect(() => inflateBounded(Buffer.from('hello'), 100)).toThrow(expect.objectContaining({ code: 'OBJECT_CORRUPT' }));
    expect(() => inflateBounded(Buffer.alloc(0), 100)).toThrow(expect.objectContaining({ code: 'OBJECT_CORRUPT' }));
  });
});

describe('statistics', () => {
  it('of a repository are those of the root catalog and all below', () => {
    const statistics = new Map([['self_regular', 2], ['subtree_regular', 3], ['self_dir', 1], ['self_file_size', 10], ['self_symlink', 4]]);
    expect(totals(statistics)).toMatchObject({ regular: 5, dir: 1, file_size: 10, special: 0 });
    expect(entryTotal(statistics)).toBe(10);
  });
});
