import * as fs from 'node:fs';
import * as path from 'node:path';
import * as zlib from 'node:zlib';
import Database from 'better-sqlite3';
import { ChunkDetector, checkChunkSizes, DEFAULT_CHUNK_SIZES } from '../../../src/publish/chunk-detector';
import type { ChunkSizes } from '../../../src/publish/chunk-detector';
import { describeWithFixtures } from '../../support/fixtures';

function cutsOf(bytes: Buffer, sizes: ChunkSizes, pieceBytes: number): number[] {
  const detector = new ChunkDetector(sizes);
  const cuts: number[] = [];
  for (let at = 0; at < bytes.length; at += pieceBytes) cuts.push(...detector.cuts(bytes.subarray(at, at + pieceBytes)));
  return cuts;
}

const small: ChunkSizes = { min: 64, avg: 128, max: 256 };

it('cuts zeros at the maximum only', () => {
  expect(cutsOf(Buffer.alloc(1000), small, 1000)).toEqual([256, 512, 768]);
});

it('does not depend on the blocks in which bytes arrive', () => {
  const bytes = Buffer.from(Array.from({ length: 20_000 }, (_, i) => (i * i * 31 + (i >> 3)) & 255));
  const whole = cutsOf(bytes, small, bytes.length);
  expect(whole.length).toBeGreaterThan(50);
  for (const piece of [1, 7, 63, 64, 255, 4096]) expect(cutsOf(bytes, small, piece)).toEqual(whole);
});

it('finds the same cuts again after an insertion', () => {
  const bytes = Buffer.from(Array.from({ length: 50_000 }, (_, i) => (Math.imul(i, 2654435761) >>> 11) & 255));
  const before = cutsOf(bytes, { min: 256, avg: 1024, max: 8192 }, 4096);
  const after = cutsOf(Buffer.concat([Buffer.from('inserted'), bytes]), { min: 256, avg: 1024, max: 8192 }, 4096).map((cut) => cut - 8);
  expect(after.filter((cut) => before.includes(cut)).length).toBeGreaterThan(before.length / 2);
});

it('refuses sizes that make no sense', () => {
  expect(() => checkChunkSizes({ min: 10, avg: 100, max: 1000 })).toThrow(/make no sense/);
  expect(() => checkChunkSizes({ min: 2000, avg: 100, max: 1000 })).toThrow(/make no sense/);
});

/** Chunked files of the newest catalog as the stock publisher wrote them. */
function chunkedFiles(repository: string, compressed: boolean): Array<{ content: Buffer; offsets: number[] }> {
  const manifest = fs.readFileSync(path.join(repository, '.cvmfspublished'), 'latin1');
  const root = /^C(.*)$/m.exec(manifest)![1]!;
  const suffix = root.slice(40);
  const object = (hex: string, letter: string): Buffer =>
    fs.readFileSync(path.join(repository, 'data', hex.slice(0, 2), `${hex.slice(2)}${suffix}${letter}`));
  const db = new Database(zlib.inflateSync(object(root.slice(0, 40), 'C')));
  const rows = db
    .prepare('SELECT md5path_1 || md5path_2 AS file, offset, size, lower(hex(hash)) AS hash FROM chunks ORDER BY file, offset')
    .all() as Array<{ file: string; offset: number; size: number; hash: string }>;
  db.close();
  return [...new Set(rows.map((row) => row.file))].map((file) => {
    const own = rows.filter((row) => row.file === file);
    const stored = own.map((row) => object(row.hash, 'P'));
    return { content: Buffer.concat(compressed ? stored.map((bytes) => zlib.inflateSync(bytes)) : stored), offsets: own.map((row) => row.offset) };
  });
}

describeWithFixtures('chunked files of the stock publisher', (dir) => {
  const cases: Array<[string, ChunkSizes, boolean]> = [
    ['golden.cvmfs.test', DEFAULT_CHUNK_SIZES, true],
    ['golden-plain.cvmfs.test', { min: 256 << 10, avg: 512 << 10, max: 1 << 20 }, false],
    ['golden-shake128.cvmfs.test', { min: 256 << 10, avg: 512 << 10, max: 1 << 20 }, true],
  ];
  it.each(cases)('are cut alike: %s', (name, sizes, compressed) => {
    const files = chunkedFiles(path.join(dir, name), compressed);
    expect(files.length).toBeGreaterThan(0);
    for (const { content, offsets } of files) expect([0, ...cutsOf(content, sizes, 1 << 20)]).toEqual(offsets);
  });
});
