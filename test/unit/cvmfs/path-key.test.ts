import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { pathKey, samePathKey } from '../../../src/cvmfs/path-key';

describe('path key', () => {
  it.each<[string, bigint, bigint]>([
    ['', 338333539836370388n, 9098107892288553193n],
    ['/foo', 5745132282796244766n, -5819618580357280866n],
    ['/a/b', -79414819578584146n, 8517581007188477988n],
  ])('of %j is the known one', (path, hi, lo) => {
    expect(pathKey(Buffer.from(path))).toEqual({ hi, lo });
  });

  it('is the MD5 of any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const digest = createHash('md5').update(bytes).digest();
        const key = pathKey(bytes);
        expect(key).toEqual({ hi: digest.readBigInt64LE(0), lo: digest.readBigInt64LE(8) });
        expect(samePathKey(key, pathKey(Buffer.from(bytes)))).toBe(true);
      }),
    );
  });
});
