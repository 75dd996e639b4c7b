/** Which images are completed, when, and what is remembered of it: over a real database, with repositories that wait for the test. */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { Completion } from '../../../provisioner/completion';
import type { Mounts } from '../../../provisioner/mounts';
import type { RootfsRecord } from '../../../provisioner/state/rootfs-record';
import { openDatabase } from '../../../provisioner/state/database';
import { State } from '../../../provisioner/state/state';
import { Failure } from '../../../src/error';
import { silentLogger } from '../../../src/log/logger';
import type { MountedRepository } from '../../../src/repository/reader';

const HOUR_MS = 3_600_000;
const BOOT = 'boot-1';

interface Asked {
  readonly repository: string;
  readonly view: string;
  readonly pin: string;
  readonly bytesPerSecond: number;
  readonly succeed: () => void;
  readonly fail: (failure: Failure) => void;
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));

describe('completion of the images of long-running containers', () => {
  let dir: string;
  let state: State;
  let now: number;
  let uuids: number;
  let asked: Asked[];
  let unpinned: string[];
  let completion: Completion;

  const repository = (fqrn: string): MountedRepository =>
    ({
      fqrn,
      prefetch: (view: string, _path: Buffer, options: { pin: string; bytesPerSecond: number; mustFit: boolean }) =>
        new Promise((resolve, reject) => {
          expect(options.mustFit).toBe(true);
          asked.push({ repository: fqrn, view, pin: options.pin, bytesPerSecond: options.bytesPerSecond, succeed: () => resolve({ objects: 3, bytes: 300 }), fail: reject });
        }),
      unpin: (pin: string) => {
        unpinned.push(pin);
        return Promise.resolve();
      },
    }) as unknown as MountedRepository;
  const repositories = new Map(['one.example.org', 'two.example.org'].map((fqrn) => [fqrn, repository(fqrn)]));
  const mounts = { peek: (fqrn: string) => repositories.get(fqrn) } as unknown as Mounts;

  const begin = (): Completion =>
    new Completion({ state, mounts, logger: silentLogger, bootId: BOOT, nowMs: () => now, newUuid: () => `uuid-${++uuids}` }, { afterMs: HOUR_MS, bytesPerSecond: 1_000_000 }, { add: () => undefined });

  /** A mounted rootfs on the view `digit…`, made now. */
  const rootfs = (container: string, digit: string, fqrn = 'one.example.org', bootId = BOOT): RootfsRecord => {
    const uuid = `00000000-0000-4000-8000-${String(++uuids).padStart(12, '0')}`;
    const image = { reference: `cvmfs://${fqrn}/images/${digit}`, repository: fqrn, path: Buffer.from(`/images/${digit}`), view: digit.repeat(40), pathInView: Buffer.from('/'), rootHash: 'f'.repeat(40), revision: 1, digest: `sha256:${digit.repeat(64)}` };
    const intended = { uuid, container: [container], backend: 'overlay', state: { kind: 'intended' }, image, manifest: { config: {} }, createdMs: now } as unknown as RootfsRecord & { state: { kind: 'intended' } };
    state.intend(intended, `image.${uuid}`);
    return state.move(intended, { kind: 'mounted', bootId });
  };
  const remove = (record: RootfsRecord): void => void state.remove(state.move(record, { kind: 'destroying' }));
  const look = async (afterMs = 0): Promise<Asked[]> => {
    now += afterMs;
    completion.look();
    await settled();
    return asked.splice(0);
  };

  beforeEach(() => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'mcl-'));
    state = new State(openDatabase(path.join(dir, 'state.db')));
    now = 1_000_000_000_000;
    uuids = 0;
    asked = [];
    unpinned = [];
    completion = begin();
  });

  afterEach(() => {
    completion.stop();
    state.close();
    fs.rmSync(dir, { recursive: true, force: true });
  });

  it('begins when the container is old enough, once for each image, pinned, at the rate', async () => {
    rootfs('a', '1');
    rootfs('b', '1');
    expect(await look(HOUR_MS - 1)).toEqual([]);
    expect(await look(1)).toMatchObject([{ repository: 'one.example.org', view: '1'.repeat(40), pin: expect.stringMatching(/^image\/complete\./), bytesPerSecond: 1_000_000 }]);
    expect(await look(HOUR_MS)).toEqual([]);
  });

  it('takes one at a time of each repository, and the next when it has ended', async () => {
    rootfs('a', '1');
    rootfs('b', '2');
    rootfs('c', '3', 'two.example.org');
    const first = await look(HOUR_MS);
    expect(first.map((one) => one.repository).sort()).toEqual(['one.example.org', 'two.example.org']);
    first.find((one) => one.repository === 'one.example.org')!.succeed();
    await settled();
    expect(asked).toMatchObject([{ repository: 'one.example.org' }]);
    expect(asked[0]!.view).not.toBe(first.find((one) => one.repository === 'one.example.org')!.view);
  });

  it('is remembered by the next service; what is done is looked at again when the repository is mounted', async () => {
    rootfs('a', '1');
    const [one] = await look(HOUR_MS);
    completion.stop();
    completion = begin();
    const [again] = await look();
    expect(again!.pin).toBe(one!.pin);
    again!.succeed();
    await settled();
    expect(state.completions.all()).toMatchObject([{ doneMs: now, objects: 3, bytes: 300, failure: null }]);
    expect(await look(60_000)).toEqual([]);
    completion.mounted('one.example.org');
    expect(await look()).toMatchObject([{ pin: one!.pin }]);
  });

  it('a failure names the containers, and is tried again with pauses that double', async () => {
    for (const container of ['a', 'b', 'c', 'd', 'e', 'f', 'g']) rootfs(container, '1');
    const pauses: number[] = [];
    let [one] = await look(HOUR_MS);
    for (let attempt = 0; attempt < 3; attempt++) {
      one!.fail(new Failure('NETWORK', 'no server answers'));
      await settled();
      const failedAt = now;
      expect(completion.warnings()).toEqual([expect.stringMatching(/^the image cvmfs:\/\/one\.example\.org\/images\/1 of container a, b, c, d, e and 2 more is not completely on this host.*no server answers/)]);
      do [one] = await look(1000);
      while (one === undefined);
      pauses.push(now - failedAt);
    }
    expect(pauses).toEqual([10_000, 20_000, 40_000]);
    one!.succeed();
    await settled();
    expect(completion.warnings()).toEqual([]);
  });

  it('ends with the last rootfs of the image, and what it pinned is owed to the server from then on', async () => {
    const [a, b] = [rootfs('a', '1'), rootfs('b', '1')];
    const [one] = await look(HOUR_MS);
    one!.succeed();
    await settled();
    const holder = one!.pin.slice('image/'.length);
    remove(a);
    expect(state.completions.all()).toHaveLength(1);
    expect(state.releases().map((release) => release.holder)).not.toContain(holder);
    remove(b);
    expect(state.completions.all()).toEqual([]);
    expect(state.releases().map((release) => release.holder)).toContain(holder);
  });

  it('when the last rootfs goes in the middle of it, the pins go once more at its end', async () => {
    const record = rootfs('a', '1');
    const [one] = await look(HOUR_MS);
    remove(record);
    one!.succeed();
    await settled();
    expect(unpinned).toEqual([one!.pin]);
    expect(state.completions.all()).toEqual([]);
  });

  it('rootfses of an earlier boot are left to Recover', async () => {
    rootfs('a', '1', 'one.example.org', 'boot-0');
    expect(await look(2 * HOUR_MS)).toEqual([]);
  });
});
