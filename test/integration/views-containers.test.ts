/**
 * What the whole design is for: twenty revisions are published under running containers, and none of them notices. No
 * ESTALE, no mount inside them detached, the old content inside, the new content outside and in what starts later.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { MountedClient } from '../../src/fuse/control/mounted-client';
import type { MountInfo } from '../../src/fuse/keeper/keeper';
import { Container } from '../support/container';
import type { ContainerKind } from '../support/container';
import { MadeRepository } from '../support/made-repository';
import { until } from '../support/shell';
import { describeWithMounts, TestHost } from '../support/test-host';

jest.setTimeout(180_000);

const REVISIONS = 20;
const DROP_CACHES_EVERY = 5;

interface Running {
  readonly container: Container;
  readonly kind: ContainerKind;
  readonly image: string;
  readonly version: string;
}

describeWithMounts('containers while their repository is published to', () => {
  let repository: MadeRepository;
  let host: TestHost;
  let info: MountInfo;
  let client: MountedClient;

  const write = (version: string): void =>
    repository.write({
      // One image with a catalog of its own, one in the root catalog, and the root itself is one too.
      ...Object.fromEntries(
        ['image/', 'plain/rootfs/', ''].flatMap((image) => [
          [`${image}app/version`, `${version}\n`],
          [`${image}app/lib/inner/part`, `part of ${version}\n`],
          [`${image}proc/`, ''],
          [`${image}tmp/`, ''],
        ]),
      ),
      'image/.cvmfscatalog': '',
      'image/app/lib/.cvmfscatalog': '',
      [`only-in-${version}`]: '',
    });

  beforeAll(async () => {
    repository = await MadeRepository.create('containers.example.org');
    write('1');
    await repository.publish();
    host = new TestHost();
    const config = path.join(host.dir, 'config.toml');
    fs.writeFileSync(config, `[repositories."${repository.fqrn}"]\nmax_ttl = "1s"\n`);
    info = await host.mount({ ...repository.mountSource, args: ['--config', config] });
    client = host.client(info);
  });

  afterAll(async () => {
    client.close();
    await host.end();
    await repository.end();
  });

  async function start(kind: ContainerKind, image: string, version: string): Promise<Running> {
    const view = await client.makeView(await client.snapshot(), Buffer.from(image));
    const name = `${kind}-${image === '/' ? 'root' : path.basename(image)}-${version}`;
    await client.holdView(view.view, name);
    return { container: await Container.start(host, name, kind, path.join(info.mountpoint, view.pathInMount.toString()), 'app'), kind, image, version };
  }

  /** Everything that a process inside can see. `ls -l ..` looks up what it lists. */
  async function check({ container, kind, image, version }: Running): Promise<void> {
    const said = await container.shell.ask('pwd -P; cat version lib/inner/part ../app/version ../tmp/name; cat ../proc/self/comm; ls -l .. > /dev/null && echo listed');
    const name = path.basename(path.dirname(container.rootfs));
    expect(said.split('\n')).toEqual([`${container.rootfs}/app`, version, `part of ${version}`, version, name, 'cat', 'listed']);
    const seen = await host.outside('cat', [`${container.rootfs}/app/version`, `${container.rootfs}/tmp/name`]);
    expect({ kind, image, ...seen }).toEqual({ kind, image, code: 0, stdout: `${version}\n${name}\n`, stderr: '' });
    if (kind === 'overlay') expect(await container.shell.ask(`echo mine > written-${version} && cat written-*`)).toBe('mine');
    else expect(await container.shell.ask('touch written')).toMatch(/Read-only file system/);
  }

  function checkMounts(running: readonly Running[]): void {
    const present = new Set(host.mountsBelow());
    expect(running.flatMap(({ container }) => container.mounts).filter((target) => !present.has(target))).toEqual([]);
  }

  it('goes on inside while the world outside changes', async () => {
    const running: Running[] = [];
    for (const kind of ['overlay', 'bind'] as const) for (const image of ['/image', '/plain/rootfs', '/']) running.push(await start(kind, image, '1'));
    for (const one of running) await check(one);

    for (let version = 2; version <= REVISIONS + 1; version++) {
      write(String(version));
      const { revision } = await repository.publish();
      // Containers do not only wait: some of them look about in the moment of the switch.
      const busy = Promise.all(running.slice(0, 6).map(check));
      await until(`the live tree shows revision ${revision}`, async () => (await host.outside('getfattr', ['--only-values', '-n', 'user.revision', info.mountpoint])).stdout === String(revision));
      await busy;
      await until('new content outside', async () => (await host.outside('cat', [path.join(info.mountpoint, 'image/app/version')])).stdout === `${version}\n`);
      expect((await host.outside('ls', [info.mountpoint])).stdout.split('\n')).toContain(`only-in-${version}`);
      checkMounts(running);
      for (const one of running.slice(0, 6)) await check(one);
      const fresh = await start(version % 2 === 0 ? 'overlay' : 'bind', ['/image', '/plain/rootfs', '/'][version % 3]!, String(version));
      await check(fresh);
      running.push(fresh);
      if (version % DROP_CACHES_EVERY === 0) {
        await host.outside('sh', ['-c', 'echo 3 > /proc/sys/vm/drop_caches']);
        checkMounts(running);
        for (const one of running) await check(one);
      }
    }

    await host.outside('sh', ['-c', 'echo 3 > /proc/sys/vm/drop_caches']);
    checkMounts(running);
    for (const one of running) await check(one);
    const status = (await client.raw('status')) as { ioErrors: number; recentErrors: unknown[] };
    expect(status).toMatchObject({ ioErrors: 0, recentErrors: [] });
  });
});
