/** Who may see what of a mounted tree, and what the repository says of itself. */
import * as path from 'node:path';
import type { MountInfo } from '../../src/fuse/keeper/keeper';
import { ForgedRepository } from '../support/forged-repository';
import { look, lookAt } from '../support/outside';
import { describeWithMounts, TestHost } from '../support/test-host';
import { DIRECTORY, ROOT } from '../unit/cvmfs/catalog-maker';

const STRANGER = 1234;

describeWithMounts('a mounted tree', () => {
  let host: TestHost;
  let repository: ForgedRepository;
  let info: MountInfo | undefined;
  beforeAll(async () => {
    host = new TestHost();
    repository = await ForgedRepository.start(host);
  });
  afterEach(async () => {
    if (info !== undefined) expect(await host.umount(info.mountpoint)).toMatchObject({ code: 0 });
    info = undefined;
  });
  afterAll(async () => {
    await host.end();
    await repository.close();
  });
  const at = (name: string): string => path.join(info!.mountpoint, name);

  it('obeys the modes and owners of its entries', async () => {
    repository.publish(
      repository.catalog({
        rows: [
          ROOT,
          repository.file('/secret', 'secret\n', { mode: 0o100600 }),
          repository.file('/mine', 'mine\n', { mode: 0o100400, uid: STRANGER }),
          repository.file('/open', 'open\n'),
          repository.file('/suid', '', { mode: 0o104755 }),
          repository.file('/sgid', '', { mode: 0o102755 }),
          { path: '/closed', ...DIRECTORY, mode: 0o040700 },
          repository.file('/closed/inside', 'inside\n'),
          { path: '/tmp', ...DIRECTORY, mode: 0o041777 },
        ],
      }),
    );
    info = await host.mount(repository.mountOptions());
    // The tests' own folder is 0700; the mount's modes are what is asked here.
    await host.outside('chmod', ['0711', host.dir]);
    const calls = [['read', at('secret')], ['read', at('mine')], ['read', at('open')], ['list', at('closed')], ['read', at('closed/inside')], ['list', at('.cvmfs-view')], ['stat', at('.cvmfs-view/x')], ['stat', at('.cvmfs-view')]] as const;
    const strangers = await look(host, calls, { user: STRANGER });
    expect(strangers.map(({ error, value }) => error ?? value)).toEqual(['EACCES', 'mine\n', 'open\n', 'EACCES', 'EACCES', 'EACCES', 'EACCES', expect.objectContaining({ mode: 0o040700, uid: 0, gid: 0 })]);
    const roots = await look(host, calls);
    expect(roots.map(({ error, value }) => error ?? value).slice(0, 7)).toEqual(['secret\n', 'mine\n', 'open\n', ['inside'], 'inside\n', [], 'ENOENT']);
    expect(await look(host, [['stat', at('suid')], ['stat', at('sgid')], ['stat', at('tmp')], ['stat', at('mine')]])).toMatchObject([{ value: { mode: 0o104755 } }, { value: { mode: 0o102755 } }, { value: { mode: 0o041777 } }, { value: { uid: STRANGER } }]);
  });

  it('cannot be changed', async () => {
    repository.publish(repository.catalog({ rows: [ROOT, repository.file('/f', 'f\n'), { path: '/d', ...DIRECTORY, mode: 0o040777 }] }));
    info = await host.mount(repository.mountOptions());
    for (const [command, ...args] of [['touch', at('d/new')], ['rm', '-f', at('f')], ['mkdir', at('d/new')], ['chmod', '0600', at('f')], ['mv', at('f'), at('g')], ['ln', '-s', 'f', at('d/link')], ['setfattr', '-n', 'user.x', '-v', 'y', at('f')]] as const) {
      const ran = await host.outside(command, args);
      expect(ran.code).not.toBe(0);
      expect(ran.stderr).toMatch(/Read-only file system/);
    }
    expect((await host.outside('sh', ['-c', `echo more >> ${at('f')}`])).stderr).toMatch(/Read-only file system/);
    expect(await lookAt(host, 'read', at('f'))).toEqual({ value: 'f\n' });
  });

  it('says what its owner wrote of it, fetched when somebody asks', async () => {
    const text = JSON.stringify({ administrator: 'Jane Doe', description: 'a test' });
    const metainfo = repository.put('metainfo', text);
    const root = repository.catalog({ rows: [ROOT] });
    repository.publish(root, { metainfo: metainfo.hash });
    info = await host.mount(repository.mountOptions());
    expect(repository.server.count(metainfo.url)).toBe(0);
    expect(await look(host, [['getxattr', at(''), 'user.repo_metainfo'], ['getxattr', at(''), 'user.repo_metainfo']])).toEqual([{ value: text }, { value: text }]);
    expect(repository.server.count(metainfo.url)).toBe(1);
  });

  it('says so when its owner wrote nothing, and does not take what is too long or not there', async () => {
    const root = repository.catalog({ properties: { TTL: '1' }, rows: [ROOT] });
    repository.publish(root);
    info = await host.mount(repository.mountOptions());
    const ask = (): Promise<unknown> => lookAt(host, 'getxattr', at(''), 'user.repo_metainfo');
    expect(await ask()).toEqual({ value: 'metainfo not available' });
    const other = (path_: string): ReturnType<ForgedRepository['catalog']> => repository.catalog({ properties: { TTL: '1' }, rows: [ROOT, { path: path_ }] });
    repository.publish(other('/a'), { metainfo: repository.put('metainfo', Buffer.alloc(65_537, 'x')).hash });
    const client = host.client(info);
    try {
      await client.look();
      expect(await ask()).toEqual({ error: 'EIO' });
      const absent = repository.put('metainfo', 'absent');
      repository.server.files.delete(absent.url);
      repository.publish(other('/b'), { metainfo: absent.hash });
      await client.look();
      expect(await ask()).toEqual({ error: 'EIO' });
      repository.put('metainfo', 'absent');
      expect(await ask()).toEqual({ value: 'absent' });
    } finally {
      client.close();
    }
  });
});
