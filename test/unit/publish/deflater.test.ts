import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import * as zlib from 'node:zlib';
import { createLibzDeflater, createPakoDeflater, createStore, deflateBytes, isStock, selfCheckInput } from '../../../src/publish/deflater';
import type { Deflater } from '../../../src/publish/deflater';
import { describeWithFixtures } from '../../support/fixtures';

function compress(deflater: Deflater, bytes: Buffer, pieceBytes: number): Buffer {
  const out: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += pieceBytes) out.push(...deflater.push(bytes.subarray(at, at + pieceBytes)));
  return Buffer.concat([...out, ...deflater.finish()]);
}

const engines: Array<[string, Deflater]> = [['pako', createPakoDeflater()]];
const libz = createLibzDeflater();
if (libz !== undefined) engines.push(['libz', libz]);

describe.each(engines)('%s', (_name, deflater) => {
  it('gives stock bytes for the self-check, also the second time', () => {
    expect(isStock(deflater)).toBe(true);
    expect(isStock(deflater)).toBe(true);
  });

  it('compresses nothing to the eight bytes of an empty stream', () => {
    expect(Buffer.concat(deflater.finish()).toString('hex')).toBe('789c030000000001');
  });

  it('does not depend on how the input is cut', () => {
    const input = selfCheckInput();
    const whole = compress(deflater, input, input.length);
    expect(compress(deflater, input, 16 * 1024).equals(whole)).toBe(true);
    expect(compress(deflater, input, 777).equals(whole)).toBe(true);
    expect(zlib.inflateSync(whole).equals(input)).toBe(true);
  });

  it('streams what does not compress', () => {
    const noise = Buffer.concat(Array.from({ length: 20_000 }, (_, i) => createHash('sha1').update(String(i)).digest()));
    expect(zlib.inflateSync(compress(deflater, noise, 65_536)).equals(noise)).toBe(true);
  });
});

it("knows that Node's own zlib is not stock", () => {
  let pieces: Buffer[] = [];
  const node: Deflater = {
    push: (bytes) => (pieces.push(Buffer.from(bytes)), []),
    finish: () => {
      const all = zlib.deflateSync(Buffer.concat(pieces));
      pieces = [];
      return [all];
    },
  };
  expect(isStock(node)).toBe(false);
});

it('stores without a change when compression is off', () => {
  const store = createStore();
  expect(compress(store, Buffer.from('abc'), 2).toString()).toBe('abc');
});

describeWithFixtures('objects of the stock publisher', (dir) => {
  it('come out of our compression under the same names', () => {
    let compared = 0;
    for (const repository of ['golden.cvmfs.test', 'images.golden.test']) {
      const data = path.join(dir, repository, 'data');
      for (const folder of fs.readdirSync(data)) {
        for (const name of fs.readdirSync(path.join(data, folder))) {
          const file = path.join(data, folder, name);
          if (fs.statSync(file).size > 300_000) continue;
          // A tenth of the objects of the large repository is proof enough.
          if (repository === 'images.golden.test' && !folder.startsWith('a')) continue;
          const stored = fs.readFileSync(file);
          if (stored.readUInt16BE(0) !== 0x789c) continue; // the copies of external files are not compressed
          const again = deflateBytes(zlib.inflateSync(stored));
          const hash = createHash('sha1').update(again).digest('hex');
          expect(`${hash.slice(0, 2)}/${hash.slice(2)}`).toBe(`${folder}/${name.slice(0, 38)}`);
          compared += 1;
        }
      }
    }
    expect(compared).toBeGreaterThan(500);
  });
});
