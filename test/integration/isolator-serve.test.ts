/** `serve` with the isolator's side switched on, a repository behind real FUSE, and a container made as the launch helper makes it. */
import { execFile } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { promisify } from 'node:util';
import { CliScene, FQRN } from '../support/cli-scene';
import type { Running } from '../support/cli-scene';
import type { IsolatorClient } from '../support/isolator/scene';
import { containerConfig, id, isolatorClient, run } from '../support/isolator/scene';
import { CALL } from '../support/provisioner/service';
import { describeWithMounts } from '../support/test-host';

jest.setTimeout(180_000);

const execute = promisify(execFile);

describeWithMounts('serve with the isolator', () => {
  let scene: CliScene;
  let service: Running & { readonly listen: string };
  let isolator: IsolatorClient;
  beforeAll(async () => {
    scene = new CliScene();
    await scene.create();
    scene.files({ 'software/version': '7\n' });
    await scene.publish();
    const web = await scene.serveRepository();
    scene.configure(web.url, `[isolator]\nenabled = true\nallowed_repositories = ["${FQRN}"]`);
    service = await scene.serve();
    isolator = isolatorClient(service.listen);
  });
  afterAll(async () => {
    isolator?.close();
    await scene.end();
  });

  it('a container sees the repository, read-only, and goes on seeing it when the host’s mount point and the service are gone', async () => {
    const root = path.join(scene.host.dir, 'root');
    fs.mkdirSync(root);
    // The first call waits until the repository is mounted.
    const { launch_info: launch } = await isolator.Prepare({ run: run(), container_id: id('c'), container_config: containerConfig({ rootfs: root }, FQRN) }, CALL);
    const [bind, remount] = launch!.mounts;
    expect([bind!.flags, remount!.flags]).toEqual([4096, 4096 | 32 | 1 | 2 | 4]);
    const go = path.join(scene.host.dir, 'go');
    const inContainer = [
      'mount --make-rslave /',
      `mkdir -p ${bind!.target}`,
      `mount --bind ${bind!.source} ${bind!.target}`,
      `mount -o remount,bind,ro,nosuid,nodev ${remount!.target}`,
      `cat ${bind!.target}/software/version`,
      `! touch ${bind!.target}/software/x 2> ${go}.no`,
      `grep -c ' ${bind!.target} ro,nosuid,nodev' /proc/self/mountinfo`,
      `touch ${go}.seen; i=0; while [ ! -e ${go} ] && [ $i -lt 600 ]; do sleep 0.1; i=$((i + 1)); done`,
      `cat ${bind!.target}/software/version && ls ${bind!.target}`,
    ].join(' && ');
    const container = execute('unshare', ['-m', 'sh', '-c', inContainer], { timeout: 90_000 });
    for (let i = 0; i < 600 && !fs.existsSync(`${go}.seen`); i++) await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await isolator.Status({ container_id: id('c') }, CALL)).toMatchObject({ repositories: [{ repository: FQRN, path: `/cvmfs/${FQRN}`, sharing: 1 }] });
    expect(await service.stop('SIGKILL')).toBeNull();
    await execute('umount', ['-l', bind!.source!], { timeout: 10_000 });
    fs.writeFileSync(go, '');
    expect((await container).stdout).toBe('7\n1\n7\nsoftware\n');
  });
});
