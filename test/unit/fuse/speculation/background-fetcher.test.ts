/** A reader may be noted at any moment while an object arrives, and what it uses is counted. */
import { objectName } from '../../../../src/cache/object-name';
import { parseHash } from '../../../../src/cvmfs/hash';
import { BackgroundFetcher } from '../../../../src/fuse/server/speculation/background-fetcher';
import { Ledger } from '../../../../src/fuse/server/speculation/ledger';
import { silentLogger } from '../../../../src/log/logger';
import type { ObjectNeed } from '../../../../src/repository/missing';

const limits = { inFlightMax: 4, inFlightBytesMax: 1_000, aheadMax: 4, aheadBytesMax: 1_000 };
const need: ObjectNeed = { hash: parseHash('ab'.repeat(20)), compression: 'zlib', kind: 'file', plainSize: 100, what: '/file' };

describe('fetching ahead', () => {
  // Other objects arrive in the same turn of the event loop, and whoever waited for them notes what workers have read.
  it.each([0, 1, 2, 3, 4, 5, 6, 7, 8])('counts as used what a reader is seen to have %i steps after its arrival', async (steps) => {
    let arrive = (): void => undefined;
    const ledger = new Ledger(() => 0);
    const store = { isLocal: () => false, ensure: () => new Promise<void>((resolve) => (arrive = resolve)) };
    const fetcher = new BackgroundFetcher({ store, ledger, limits, log: silentLogger, now: () => 0 });
    const fetched = fetcher.fetch(need, 'walk', 'v:/');
    await new Promise(setImmediate);
    arrive();
    for (let step = 0; step < steps; step++) await null;
    fetcher.demanded(objectName(need));
    expect(await fetched).toBe(true);
    expect(ledger.kinds().walk).toMatchObject({ fetchedObjects: 1, usedObjects: 1, usedBytes: 100 });
  });
});
