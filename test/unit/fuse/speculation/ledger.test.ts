/** What was fetched ahead is counted once, as used or as wasted; what workers read is seen once, in order. */
import { Ledger, UNUSED_MS } from '../../../../src/fuse/server/speculation/ledger';
import { ReadLog } from '../../../../src/fuse/server/speculation/read-log';

describe('the ledger of what is fetched ahead', () => {
  it('counts used and unused bytes, by kind and by image', () => {
    const ledger = new Ledger(() => 0);
    ledger.fetched('a', 100, 'walk', 'v:/');
    ledger.fetched('b', 10, 'closure', 'v:/');
    ledger.fetched('a', 100, 'walk', 'w:/');
    expect(ledger.used('a')).toBe(true);
    expect(ledger.used('a')).toBe(false);
    expect(ledger.used('never fetched ahead')).toBe(false);
    expect(ledger.kinds().walk).toEqual({ fetchedObjects: 1, fetchedBytes: 100, usedObjects: 1, usedBytes: 100, wastedObjects: 0, wastedBytes: 0 });
    expect(ledger.image('v:/')).toEqual({ fetchedObjects: 2, fetchedBytes: 110, usedObjects: 1, usedBytes: 100, wastedObjects: 0, wastedBytes: 0 });
    expect(ledger.image('w:/')).toMatchObject({ fetchedObjects: 0 });
  });

  it('gives up what nobody used in time', () => {
    let now = 0;
    const ledger = new Ledger(() => now);
    ledger.fetched('a', 100, 'walk', 'v:/');
    now = UNUSED_MS;
    ledger.fetched('b', 10, 'walk', 'v:/');
    expect(ledger.kinds().walk).toMatchObject({ wastedObjects: 1, wastedBytes: 100 });
    expect(ledger.used('a')).toBe(false);
    expect(ledger.used('b')).toBe(true);
  });

  it('remembers a bounded number of objects', () => {
    const ledger = new Ledger(() => 0);
    for (let i = 0; i < 70_000; i++) ledger.fetched(`object ${i}`, 1, 'walk', `image ${i % 2_000}`);
    expect(ledger.kinds().walk).toMatchObject({ fetchedObjects: 70_000, wastedObjects: 70_000 - 65_536 });
    expect(ledger.images().length).toBeLessThanOrEqual(1_024);
  });
});

describe('the log of what workers read', () => {
  it('gives reads in order, wakes once, and keeps two reads of one place apart by nothing', () => {
    const log = new ReadLog();
    const worker = new ReadLog(log.buffer);
    expect(worker.note(1, 7, 0)).toBe(true);
    expect(worker.note(1, 7, 100)).toBe(false);
    expect(worker.note(1, 8, 1 << 20)).toBe(false);
    expect(log.take()).toEqual([
      { index: 1, rowid: 7, offset: 0 },
      { index: 1, rowid: 8, offset: 1 << 20 },
    ]);
    expect(log.take()).toEqual([]);
    expect(worker.note(4_000_000_000, 4_294_967_295, 2 ** 40)).toBe(true);
    expect(log.take()).toEqual([{ index: 4_000_000_000, rowid: 4_294_967_295, offset: 2 ** 40 }]);
  });

  it('loses the oldest when nobody takes them', () => {
    const log = new ReadLog();
    const worker = new ReadLog(log.buffer);
    for (let row = 1; row <= 10_000; row++) worker.note(1, row, 0);
    const rows = log.take().map((read) => read.rowid);
    expect(rows).toHaveLength(4_096);
    expect(rows[0]).toBe(10_000 - 4_095);
    expect(rows[rows.length - 1]).toBe(10_000);
  });
});
