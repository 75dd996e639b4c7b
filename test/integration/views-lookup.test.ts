/** Pinned views through a real mount: which there are, what they show, and what of them is shared with the live tree. */
import * as path from 'node:path';
import type { MountedClient } from '../../src/fuse/control/mounted-client';
import type { MountInfo } from '../../src/fuse/keeper/keeper';
import { MadeRepository } from '../support/made-repository';
import { Shell, until } from '../support/shell';
import { describeWithMounts, TestHost } from '../support/test-host';

jest.setTimeout(120_000);

const ONE = Buffer.from('/images/one');
const TWO = Buffer.from('/images/two');

describeWithMounts('pinned views', () => {
  let repository: MadeRepository;
  let host: TestHost;
  let info: MountInfo;
  let client: MountedClient;

  beforeAll(async () => {
    repository = await MadeRepository.create('views.example.org', { ttlSeconds: 1 });
    repository.write({
      'images/one/.cvmfscatalog': '',
      'images/one/bin/tool': 'tool of one\n',
      'images/one/etc/name': 'one\n',
      'images/one/big': Buffer.alloc(300_000, 'big '),
      'images/one/deep/inner/.cvmfscatalog': '',
      'images/one/deep/inner/file': 'inner of one\n',
      'images/two/.cvmfscatalog': '',
      'images/two/etc/name': 'two\n',
      'plain/rootfs/etc/name': 'plain\n',
      'counter': '1\n',
    });
    await repository.publish();
  });

  beforeEach(async () => {
    host = new TestHost();
    info = await host.mount(repository.mountSource);
    client = host.client(info);
  });

  afterEach(async () => {
    client.close();
    await host.end();
  });

  afterAll(() => repository.end());

  const inMount = (...parts: string[]): string => path.join(info.mountpoint, ...parts);
  const print = async (...files: string[]): Promise<string> => (await host.outside('cat', files)).stdout;
  const inode = async (file: string): Promise<string> => (await host.outside('stat', ['-c', '%i', file])).stdout.trim();
  const exists = async (file: string): Promise<boolean> => (await host.outside('stat', [file])).code === 0;
  const requests = async (): Promise<Record<string, number>> => ((await client.raw('status')) as { requests: Record<string, number> }).requests;
  const owners = async (): Promise<Map<string, number>> =>
    new Map(((await client.raw('cacheUsage')) as { owners: Array<{ owner: string; pins: number }> }).owners.map(({ owner, pins }) => [owner, pins]));
  /** One publish of something that is in no image, seen by the mount. */
  const publishElsewhere = async (content: string): Promise<void> => {
    repository.write({ counter: content });
    const { revision } = await repository.publish();
    await until(`the mount shows revision ${revision}`, async () => (await client.look()).revision === revision);
  };

  it('answers a lookup only for a view that was made, at once when it is made', async () => {
    const snapshot = await client.snapshot();
    const { catalog } = await client.walk(snapshot, TWO);
    const place = inMount('.cvmfs-view', catalog.hash);
    expect(await exists(place)).toBe(false);
    const before = repository.catalogRequests.length;
    expect(await exists(inMount('.cvmfs-view', 'f'.repeat(40)))).toBe(false);
    expect(await exists(inMount('.cvmfs-view', '..', 'counter'))).toBe(true);
    // Nobody makes the server fetch a catalog by looking its hash up.
    expect(repository.catalogRequests.length).toBe(before);
    const view = await client.makeView(snapshot, TWO);
    expect(view.pathInMount.toString()).toBe(`.cvmfs-view/${catalog.hash}`);
    expect(view.pathInView.toString()).toBe('/');
    expect(await print(path.join(place, 'etc/name'))).toBe('two\n');
    expect((await host.outside('ls', ['-A', inMount('.cvmfs-view')])).stdout).toBe('');
    expect((await host.outside('ls', ['-A', info.mountpoint])).stdout.split('\n')).not.toContain('.cvmfs-view');
    expect((await host.outside('stat', ['-c', '%a %u', inMount('.cvmfs-view')])).stdout).toBe('700 0\n');
  });

  it('keeps the hash of an image that a publish did not touch', async () => {
    const before = await client.makeView(await client.snapshot(), ONE);
    const plainBefore = await client.makeView(await client.snapshot(), Buffer.from('/plain/rootfs'));
    await publishElsewhere('2\n');
    const snapshot = await client.snapshot();
    const after = await client.makeView(snapshot, ONE);
    expect(after).toEqual(before);
    // A directory in the root catalog has a view of the whole revision.
    const plainAfter = await client.makeView(snapshot, Buffer.from('/plain/rootfs'));
    expect(plainAfter.view).toBe(snapshot.rootHash);
    expect(plainAfter.view).not.toBe(plainBefore.view);
    expect(plainAfter.pathInView.toString()).toBe('/plain/rootfs');
    expect(await print(inMount(plainAfter.pathInMount.toString(), 'etc/name'))).toBe('plain\n');
    expect(await print(inMount('.cvmfs-view', plainBefore.view, 'counter'), inMount('.cvmfs-view', plainAfter.view, 'counter'))).toBe('1\n2\n');
  });

  it('shows an image at the root, without our own name in it', async () => {
    const snapshot = await client.snapshot();
    const view = await client.makeView(snapshot, Buffer.from('/'));
    expect(view.view).toBe(snapshot.rootHash);
    const root = inMount(view.pathInMount.toString());
    expect((await host.outside('ls', ['-A', root])).stdout).toBe('counter\nimages\nplain\n');
    expect(await print(path.join(root, 'images/one/etc/name'))).toBe('one\n');
    expect(await exists(path.join(root, '.cvmfs-view'))).toBe(false);
  });

  it('refuses a view of what is no directory, and of a hash that nothing has', async () => {
    const snapshot = await client.snapshot();
    await expect(client.makeView(snapshot, Buffer.from('/counter'))).rejects.toMatchObject({ code: 'NOT_A_DIRECTORY' });
    await expect(client.makeView(snapshot, Buffer.from('/images/none'))).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(client.restoreView('a'.repeat(40), Buffer.from('/'))).rejects.toMatchObject({ code: 'OBJECT_MISSING' });
    await expect(client.restoreView('../../etc', Buffer.from('/'))).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    await expect(client.holdView('a'.repeat(40), 'somebody')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(await exists(inMount('.cvmfs-view', 'a'.repeat(40)))).toBe(false);
  });

  it('shares inode and page cache of a file with the live tree, and no directory', async () => {
    const view = inMount((await client.makeView(await client.snapshot(), ONE)).pathInMount.toString());
    const live = inMount('images/one');
    expect(await inode(path.join(view, 'big'))).toBe(await inode(path.join(live, 'big')));
    expect(await inode(path.join(view, 'bin'))).not.toBe(await inode(path.join(live, 'bin')));
    expect(await inode(view)).not.toBe(await inode(live));
    const content = await print(path.join(live, 'big'));
    expect(content).toBe('big '.repeat(75_000));
    const reads = (await requests())['READ'];
    const objects = repository.fileRequests.length;
    expect(reads).toBeGreaterThan(0);
    expect(await print(path.join(view, 'big'))).toBe(content);
    expect((await requests())['READ']).toBe(reads);
    expect(repository.fileRequests.length).toBe(objects);
    // The next revision holds the same image, and the same pages serve it.
    await publishElsewhere('3\n');
    await until('the live tree has been looked up anew', async () => (await print(inMount('counter'))) === '3\n');
    expect(await print(path.join(live, 'big'))).toBe(content);
    const again = await requests();
    expect(repository.fileRequests.filter((url) => url === repository.fileRequests[objects - 1]).length).toBe(1);
    // `counter` was read, and nothing of 300,000 bytes.
    expect(again['READ']! - reads!).toBeLessThanOrEqual(3);
  });

  it('fetches a nested catalog when it is entered, and pins it for as long as somebody holds the view', async () => {
    const view = await client.makeView(await client.snapshot(), ONE);
    await client.holdView(view.view, 'container-a');
    await client.holdView(view.view, 'container-b');
    await client.holdView(view.view, 'container-a');
    const owner = (holder: string): string => `view/views.example.org/${view.view}/${holder}`;
    expect((await owners()).get(owner('container-a'))).toBe(1);
    const fetched = repository.catalogRequests.length;
    const listing = await host.outside('ls', ['-l', inMount(view.pathInMount.toString(), 'deep')]);
    expect(listing.stdout).toContain('inner');
    expect(repository.catalogRequests.length).toBe(fetched);
    expect(await print(inMount(view.pathInMount.toString(), 'deep/inner/file'))).toBe('inner of one\n');
    expect(repository.catalogRequests.length).toBe(fetched + 1);
    await until('both holders have pinned the inner catalog', async () => {
      const now = await owners();
      return now.get(owner('container-a')) === 2 && now.get(owner('container-b')) === 2;
    });
    // A container that comes later has the catalogs of those before it.
    await client.holdView(view.view, 'container-c');
    expect((await owners()).get(owner('container-c'))).toBe(2);
    for (const holder of ['container-a', 'container-a', 'container-b', 'container-c']) await client.releaseView(view.view, holder);
    expect([...(await owners()).keys()].filter((name) => name.startsWith('view/'))).toEqual([]);
    expect(await print(inMount(view.pathInMount.toString(), 'etc/name'))).toBe('one\n');
  });

  it('makes a view again from its hash on a new mount, as after a reboot', async () => {
    const before = await client.makeView(await client.snapshot(), TWO);
    client.close();
    expect((await host.umount(info.mountpoint)).code).toBe(0);
    info = await host.mount({ ...repository.mountSource, name: 'again' });
    client = host.client(info);
    expect(await exists(inMount('.cvmfs-view', before.view))).toBe(false);
    const after = await client.restoreView(before.view, before.pathInView);
    expect(after).toEqual(before);
    expect(await print(inMount(after.pathInMount.toString(), 'etc/name'))).toBe('two\n');
    await expect(client.restoreView(before.view, Buffer.from('/nowhere'))).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(client.restoreView(before.view, Buffer.from('/etc/name'))).rejects.toMatchObject({ code: 'NOT_A_DIRECTORY' });
  });

  it('outlives its server: same nodes, same cwd, same open files', async () => {
    const view = await client.makeView(await client.snapshot(), ONE);
    const inside = inMount(view.pathInMount.toString());
    await client.holdView(view.view, 'container');
    const shell = Shell.in(host, path.join(inside, 'deep'));
    expect(await shell.ask('exec 7< ../bin/tool; exec 8< inner/file; cat ../etc/name')).toBe('one');
    const inodes = await shell.ask('stat -c %i . .. ../bin inner inner/file');
    for (let round = 0; round < 3; round++) {
      const pid = (await host.status()).mounts[0]!.server_pid;
      process.kill(pid, 'SIGKILL');
      expect(await shell.ask('stat -c %i . .. ../bin inner inner/file')).toBe(inodes);
      await until('another server serves', async () => {
        const now = (await host.status()).mounts[0]!;
        return now.server_pid !== null && now.server_pid !== pid && now.revision !== null;
      });
      // What the kernel had is dropped, so that the successor answers all of it.
      await host.outside('sh', ['-c', 'echo 3 > /proc/sys/vm/drop_caches']);
      expect(await shell.ask('stat -c %i . .. ../bin inner inner/file')).toBe(inodes);
      expect(await shell.ask('pwd -P')).toBe(path.join(inside, 'deep'));
    }
    expect(await shell.ask('cat <&7; cat <&8')).toBe('tool of one\ninner of one');
    expect(await inode(path.join(inside, 'bin'))).toBe(inodes.split('\n')[2]);
    // It is a view of the successor's too: it is known to be held, and can be held by others.
    expect(((await client.raw('status')) as { views: unknown[] }).views).toEqual([{ view: view.view, holder: 'container' }]);
    await client.holdView(view.view, 'another');
  });
});
