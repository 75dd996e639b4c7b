/** The service is killed at each step of Provision and Destroy over a mounted repository, and the next one finishes or undoes it. */
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { DESTROY_STEPS, PROVISION_STEPS } from '../../provisioner/steps';
import { describeWithMounts } from '../support/test-host';
import { ServiceScene } from './service-scene';

jest.setTimeout(400_000);

const READY_MS = 30_000;

describeWithMounts('a service over a mounted repository', () => {
  let scene: ServiceScene;
  let kept: string;
  let crashing: ChildProcess;

  const message = (): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('the service says nothing')), READY_MS);
      const settle = (act: () => void) => (): void => {
        clearTimeout(timer);
        act();
      };
      crashing.once('message', (said) => settle(() => resolve(said))());
      crashing.once('exit', settle(() => reject(new Error('the service ended'))));
    });

  async function start(): Promise<void> {
    crashing = fork(path.join(__dirname, 'serve-and-crash.js'), [scene.cli.configFile, scene.cli.host.runDir], { execArgv: [] });
    expect(await message()).toBe('ready');
    scene.forgetClient();
  }

  /** Kills the service at a step of what is called, and starts it again. */
  async function killedAt(step: string, call: () => Promise<unknown>): Promise<void> {
    const armed = message();
    crashing.send(step);
    expect(await armed).toBe('armed');
    const ended = new Promise((resolve) => crashing.once('exit', (_code, signal) => resolve(signal)));
    await call().catch(() => undefined);
    expect({ step, ended: await ended }).toEqual({ step, ended: 'SIGKILL' });
    await start();
  }

  beforeAll(async () => {
    scene = new ServiceScene();
    await scene.create();
    await start();
    kept = await scene.provision('kept');
    fs.writeFileSync(path.join(kept, 'written'), 'by the container');
  });
  afterAll(async () => {
    crashing.kill('SIGKILL');
    await scene.end();
  });

  /** `kept` is as it was, and there is nothing but it and these. */
  async function expectOnly(step: string, ...others: string[]): Promise<void> {
    const rootfses = [kept, ...others].sort();
    expect({ step, rootfses: scene.rootfses(), holders: await scene.holders() }).toEqual({ step, rootfses, holders: rootfses.map((rootfs) => path.basename(rootfs)).sort() });
    expect(await scene.read(kept, 'written', 'etc/image', 'lib/inner/part')).toBe('by the containera\npart of a\n');
    for (const rootfs of others) expect(await scene.read(rootfs, 'etc/image', 'lib/inner/part')).toBe('b\npart of b\n');
  }

  it('leaves nothing of a Provision that the agent does not know, and gives one whole rootfs to one that is repeated', async () => {
    for (const step of PROVISION_STEPS) {
      await killedAt(step, () => scene.provision('c', 'b'));
      expect((await scene.recover('kept')).quarantined).toEqual({});
      await expectOnly(step);
      await killedAt(step, () => scene.provision('c', 'b', 'bind'));
      expect(await scene.recover('kept', 'c')).toEqual({ destroyed: [], quarantined: {} });
      const rootfs = await scene.provision('c', 'b', 'bind');
      await expectOnly(step, rootfs);
      expect(await scene.destroy('c')).toBe(true);
      await expectOnly(step);
      expect(scene.directories()).toEqual(['kept']);
    }
  });

  it('finishes a Destroy', async () => {
    for (const step of DESTROY_STEPS) {
      await scene.provision('c', 'b');
      await killedAt(step, () => scene.destroy('c'));
      expect((await scene.recover('kept', 'c')).quarantined).toEqual({});
      await scene.destroy('c');
      await expectOnly(step);
      expect(scene.directories()).toEqual(['kept']);
    }
  });
});
