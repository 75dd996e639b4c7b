/** The service and the keeper: one that ends is replaced without any command, and what died with it is served again. */
import { KeeperClient } from '../../src/fuse/control/keeper-client';
import type { KeeperList } from '../../src/fuse/keeper/keeper';
import { startTicks } from '../../src/fuse/process-identity';
import { CliScene, FQRN } from '../support/cli-scene';
import { until } from '../support/shell';
import { describeWithMounts } from '../support/test-host';

jest.setTimeout(180_000);

describeWithMounts('the service', () => {
  const scene = new CliScene();
  afterAll(() => scene.end());

  /** What the keeper says, without starting one. */
  const list = async (): Promise<KeeperList | null> => {
    const keeper = await KeeperClient.find(scene.host.runDir);
    if (keeper === null) return null;
    try {
      return await keeper.list();
    } catch {
      return null;
    } finally {
      keeper.close();
    }
  };

  it('starts another keeper when one ends, also when servers ended with it', async () => {
    await scene.create();
    scene.files({ file: 'content\n' });
    await scene.publish();
    const web = await scene.serveRepository();
    scene.configure(web.url);
    const service = await scene.serve();
    await until('it is mounted', async () => (await list())?.mounts.length === 1, 60_000);
    await scene.host.ok(['mount', FQRN, `${scene.host.dir}/second`, '--config', scene.configFile]);
    await until('a spare is warm', async () => typeof (await list())?.sparePid === 'number', 60_000);
    const before = (await list())!;
    // The spare can take one of them over; the other one waits for the next keeper.
    const pids = [before.keeperPid, ...before.mounts.map(({ serverPid }) => serverPid!)];
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    await until('they are gone', () => pids.every((pid) => startTicks(pid) === undefined));
    for (const { mountpoint } of before.mounts) expect(await scene.host.outside('sh', ['-c', `echo 3 > /proc/sys/vm/drop_caches; cat ${mountpoint}/file`])).toMatchObject({ code: 0, stdout: 'content\n' });
    const after = (await list())!;
    expect(after.keeperPid).not.toBe(before.keeperPid);
    expect(after.mounts.map(({ mountpoint }) => mountpoint).sort()).toEqual(before.mounts.map(({ mountpoint }) => mountpoint).sort());
    expect(await service.stop()).toBe(0);
  });
});
