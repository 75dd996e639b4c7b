import { Failure } from '../../../src/error';
import { silentLogger } from '../../../src/log/logger';
import type { MountedRepository } from '../../../src/repository/reader';
import type { KeeperClient, MountInfo, MountSpec } from '../../../provisioner/repository-mounts';
import { RepositoryMounts } from '../../../provisioner/repository-mounts';

const A: MountSpec = { repository: 'a.example.org', mountpoint: '/cvmfs/a.example.org' };
const B: MountSpec = { repository: 'b.example.org', mountpoint: '/cvmfs/b.example.org' };

class FakeKeeper implements KeeperClient {
  mounts: MountInfo[] = [];
  mounted: string[] = [];
  failures = new Map<string, Failure>();
  ids = 0;
  closed = false;

  close(): void {
    this.closed = true;
  }

  list(): Promise<MountInfo[]> {
    return Promise.resolve(this.mounts);
  }

  mount(spec: MountSpec): Promise<MountInfo> {
    this.mounted.push(spec.repository);
    const failure = this.failures.get(spec.repository);
    if (failure !== undefined) return Promise.reject(failure);
    // The kernel gives a new mount the number of one that has just gone.
    const info = { ...spec, id: `mount ${++this.ids}`, device: '0:57' };
    this.mounts.push(info);
    return Promise.resolve(info);
  }

  connect({ id, repository, mountpoint }: MountInfo): Promise<MountedRepository> {
    return Promise.resolve({ fqrn: repository, mountpoint, device: id } as MountedRepository);
  }
}

const soon = (ms: number): AbortSignal => {
  const abort = new AbortController();
  setTimeout(() => abort.abort(new Failure('DEADLINE_EXCEEDED', 'too late')), ms).unref();
  return abort.signal;
};

describe('the mounts of the configured repositories', () => {
  let keeper: FakeKeeper;
  let mounts: RepositoryMounts;

  beforeEach(() => {
    keeper = new FakeKeeper();
    mounts = new RepositoryMounts({ keeper, specs: [A, B], logger: silentLogger, retryMinMs: 10, retryMaxMs: 40, checkMs: 20 });
  });

  afterEach(() => mounts.stop());

  it('mounts what is not mounted, uses what is, and tells each time', async () => {
    keeper.mounts.push({ ...A, id: 'there', device: '0:57' });
    const ready: string[] = [];
    mounts.onReady(({ fqrn }) => ready.push(fqrn));
    mounts.start();
    expect((await mounts.get(A.repository, soon(5000))).device).toBe('there');
    await mounts.get(B.repository, soon(5000));
    expect(keeper.mounted).toEqual([B.repository]);
    expect(ready.sort()).toEqual([A.repository, B.repository]);
    expect(mounts.list().map(({ state }) => state.kind)).toEqual(['mounted', 'mounted']);
  });

  it('lets one that fails hold up no other, tries it again, and serves who waited', async () => {
    keeper.failures.set(A.repository, new Failure('NETWORK', 'no server answers'));
    mounts.start();
    await mounts.get(B.repository, soon(5000));
    expect(mounts.list()[0]!.state).toMatchObject({ kind: 'failed' });
    const waiting = mounts.get(A.repository, soon(5000));
    keeper.failures.clear();
    expect((await waiting).fqrn).toBe(A.repository);
  });

  it('gives the reason of the last attempt to who waited until the deadline', async () => {
    keeper.failures.set(A.repository, new Failure('NETWORK', 'no server answers', { next: 'look at the proxy' }));
    mounts.start();
    await expect(mounts.get(A.repository, soon(60))).rejects.toMatchObject({ code: 'NETWORK', message: 'repository a.example.org is not mounted: no server answers; look at the proxy' });
    expect(keeper.mounted.filter((one) => one === A.repository).length).toBeGreaterThan(1);
  });

  it('does not let a caller wait for what waiting cannot cure', async () => {
    keeper.failures.set(A.repository, new Failure('WHITELIST_EXPIRED', 'the whitelist has expired'));
    mounts.start();
    await expect(mounts.get(A.repository, new AbortController().signal)).rejects.toMatchObject({ code: 'WHITELIST_EXPIRED' });
  });

  it('refuses a repository that is not configured, and names those that are', async () => {
    await expect(mounts.get('c.example.org', soon(5000))).rejects.toMatchObject({ code: 'NOT_FOUND', message: expect.stringContaining('a.example.org, b.example.org') });
  });

  it('mounts again what somebody took away', async () => {
    mounts.start();
    await mounts.get(A.repository, soon(5000));
    await mounts.get(B.repository, soon(5000));
    const before = mounts.peek(A.repository)!.device;
    keeper.mounts = keeper.mounts.filter(({ repository }) => repository !== A.repository);
    while (mounts.peek(A.repository)?.device === before) await new Promise((resolve) => setTimeout(resolve, 5));
    expect((await mounts.get(A.repository, soon(5000))).device).not.toBe(before);
  });

  it('keeps what it has while the keeper does not answer', async () => {
    mounts.start();
    await mounts.get(A.repository, soon(5000));
    keeper.list = () => Promise.reject(new Failure('NETWORK', 'the keeper does not answer'));
    mounts.recheck(A.repository);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(mounts.peek(A.repository)).toBeDefined();
  });

  it('sends waiting callers away when it stops', async () => {
    keeper.failures.set(A.repository, new Failure('NETWORK', 'no server answers'));
    mounts.start();
    const waiting = mounts.get(A.repository, new AbortController().signal);
    await new Promise((resolve) => setTimeout(resolve, 15));
    mounts.stop();
    await expect(waiting).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(keeper.closed).toBe(true);
  });
});
