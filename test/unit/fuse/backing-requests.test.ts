import { BackingRequests } from '../../../src/fuse/server/backing-requests';

const OBJECT = `${'ab'.repeat(20)}-sha1-zlib`;

/** Has the keeper come with what it brings; answers what is wanted next. */
async function keeper(requests: BackingRequests, opened: Array<{ object: string; id: number | null }>): Promise<{ open: string[]; close: number[] }> {
  return requests.exchange({ opened });
}

test('files of the same content that are opened at once get an id each', async () => {
  const requests = new BackingRequests(() => 0);
  const first = keeper(requests, []);
  const ids = [requests.open(OBJECT), requests.open(OBJECT), requests.open(OBJECT)];
  expect(await first).toEqual({ open: [OBJECT], close: [] });
  expect(await keeper(requests, [{ object: OBJECT, id: 7 }])).toEqual({ open: [OBJECT], close: [] });
  expect(await keeper(requests, [{ object: OBJECT, id: 8 }])).toEqual({ open: [OBJECT], close: [] });
  const last = keeper(requests, [{ object: OBJECT, id: 9 }]);
  expect(await Promise.all(ids)).toEqual([7, 8, 9]);
  await requests.close(9);
  expect(await last).toEqual({ open: [], close: [9] });
});

test('an id that nobody waits for is given back', async () => {
  const requests = new BackingRequests(() => 0);
  expect(await keeper(requests, [{ object: OBJECT, id: 7 }])).toEqual({ open: [], close: [7] });
});
