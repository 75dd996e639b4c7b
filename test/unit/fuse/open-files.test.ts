import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import type { ObjectNeed } from '../../../src/repository/missing';
import { silentLogger } from '../../../src/log/logger';
import { NeedsBacking, OpenFiles } from '../../../src/fuse/server/open-files';
import { SharedState } from '../../../src/repository/shared-state';
import { OpenTable } from '../../../src/fuse/server/open-table';
import type { Backing } from '../../../src/fuse/server/open-files';

const RESENT = 1n << 63n;

let dir: string;
let given: number;
let closed: number[];
let refuse: boolean;
const backing: Backing = {
  open: async () => (refuse ? null : ++given),
  close: async (id) => void closed.push(id),
};

function need(n: number): ObjectNeed {
  return { hash: { algorithm: 'sha1', digest: Buffer.alloc(20, n) }, kind: 'file', compression: 'zlib', plainSize: 10, what: `/f${n}` };
}
const node = (n: number): { index: number; rowid: number } => ({ index: 3, rowid: n });
const start = (): OpenFiles => new OpenFiles(dir, new SharedState(), backing, silentLogger);

/** What the main thread does with an OPEN; answers the backing id. */
async function open(files: OpenFiles, n: number, unique: bigint): Promise<number> {
  for (;;) {
    try {
      return files.open(node(n), need(n), unique);
    } catch (error) {
      if (!(error instanceof NeedsBacking)) throw error;
      await files.acquire(error);
    }
  }
}

beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'open-files-'));
  given = 0;
  closed = [];
  refuse = false;
});
afterEach(() => fs.rmSync(dir, { recursive: true }));

test('one backing id for an inode however often it is open, kept when it is closed', async () => {
  const files = start();
  expect(await Promise.all([open(files, 1, 2n), open(files, 1, 4n)])).toEqual([1, 1]);
  files.release(node(1), 6n);
  files.release(node(1), 8n);
  expect(await open(files, 1, 10n)).toBe(1);
  expect(given).toBe(1);
});

test('a reader worker opens by itself what has its way, and nothing else', async () => {
  const files = start();
  const worker = new OpenTable(new SharedState(), files.table.buffer);
  expect(worker.open(node(1), 2n)).toBeNull();
  expect(await open(files, 1, 2n)).toBe(1);
  expect(worker.open(node(1), 4n)).toBe(1);
  files.release(node(1), 6n);
  worker.release(node(1), 8n);
  expect(files.counts).toEqual({ opens: 0, backingIds: 1 });
  files.open(node(2), null, 10n);
  expect(worker.open(node(2), 12n)).toBe(0);
  worker.release(node(2), 14n);
  worker.release(node(2), 16n);
  expect(worker.open(node(2), 18n)).toBeNull();
});

test('a file opened through the server stays so until nobody has it open', async () => {
  const files = start();
  refuse = true;
  expect(await open(files, 1, 2n)).toBe(0);
  refuse = false;
  expect(await open(files, 1, 4n)).toBe(0);
  files.release(node(1), 6n);
  files.release(node(1), 8n);
  expect(await open(files, 1, 10n)).toBe(1);
});

test('a successor keeps way and id of what is open, and counts a repeated request once', async () => {
  const before = start();
  expect(await open(before, 1, 2n)).toBe(1);
  expect(before.open(node(2), null, 4n)).toBe(0);
  await open(before, 3, 6n);
  before.release(node(3), 8n);

  for (let generation = 0; generation < 2; generation++) {
    const files = start();
    expect(await open(files, 1, 2n | RESENT)).toBe(1);
    expect(files.open(node(2), need(2), 4n | RESENT)).toBe(0);
    files.release(node(3), 8n | RESENT);
    expect(files.counts).toEqual({ opens: 2, backingIds: 2 });
  }
  const files = start();
  files.release(node(1), 10n | RESENT);
  expect(files.counts.opens).toBe(1);
  expect(closed).toEqual([]);
});

test('a torn last line was used by nobody', async () => {
  const before = start();
  await open(before, 1, 2n);
  fs.appendFileSync(path.join(dir, 'opens'), 'open 4 3');
  expect(start().counts).toEqual({ opens: 1, backingIds: 1 });
});

test('ids are given back when their object is gone and nobody has it open, and the longest unused beyond the bound', async () => {
  const files = start();
  await open(files, 1, 2n);
  await open(files, 2, 4n);
  files.release(node(2), 6n);
  files.tidy(() => true);
  expect(closed).toEqual([2]);
  expect(files.openObjects()).toHaveLength(1);
  for (let n = 3; n < 2_100; n++) {
    await open(files, n, BigInt(4 * n));
    files.release(node(n), BigInt(4 * n + 2));
  }
  files.tidy(() => false);
  expect(files.counts).toEqual({ opens: 1, backingIds: 2_049 });
  expect(closed).not.toContain(1);
  expect(start().counts).toEqual({ opens: 1, backingIds: 2_049 });
});

test('neither the list nor the table grows with what is opened and closed', async () => {
  const files = start();
  for (let n = 1; n < 40_000; n++) {
    files.open(node(n), null, BigInt(4 * n));
    files.release(node(n), BigInt(4 * n + 2));
  }
  expect(fs.statSync(path.join(dir, 'opens')).size).toBeLessThan(3 << 20);
  expect(files.counts).toEqual({ opens: 0, backingIds: 0 });
});

test('more files than there may be ids are opened through the server', async () => {
  const files = start();
  for (let n = 1; n <= 16_384; n++) await open(files, n, BigInt(2 * n));
  expect(await open(files, 20_000, 40_000n)).toBe(0);
  expect(files.counts).toEqual({ opens: 16_385, backingIds: 16_384 });
});

test('a damaged list is refused', async () => {
  fs.writeFileSync(path.join(dir, 'opens'), 'open 1 2 3 4 5\n');
  expect(start).toThrow(/list of open files/);
});

test('an inode that is being read through the server gets no backing id, and the id is given back', async () => {
  const files = start();
  files.table.openServed(node(1), 2n);
  await files.acquire(new NeedsBacking(node(1), need(1)));
  expect(closed).toEqual([1]);
  expect(files.open(node(1), need(1), 4n)).toBe(0);
});

test('an opening that its list has no room for is refused, and not counted', () => {
  const table = new OpenTable(new SharedState());
  const full = fs.openSync('/dev/full', 'w');
  try {
    table.reset([], full, 0);
    expect(() => table.openServed(node(1), 2n)).toThrow();
    expect(table.inodes()).toEqual([]);
  } finally {
    fs.closeSync(full);
  }
});
