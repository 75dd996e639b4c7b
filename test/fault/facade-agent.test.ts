/** What can be wrong between an agent and the facade besides deaths: links, disks, crowds, prunes, tags. */
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { AgentScene, FQRN } from '../support/agent-scene';
import { describeWithMounts } from '../support/test-host';
import { until } from '../support/shell';

jest.setTimeout(300_000);

const IMAGES = Array.from({ length: 10 }, (_, n) => `i${n}`);
const LAUNCHES = 50;
const STORE_INODES = 60;

describeWithMounts('an agent with the facade', () => {
  let scene: AgentScene;
  beforeAll(async () => {
    scene = await AgentScene.make();
    fs.mkdirSync(scene.store, { mode: 0o755 });
    // A disk of its own for the store, to be filled.
    execFileSync('mount', ['-t', 'tmpfs', '-o', `nr_inodes=${STORE_INODES + 200},mode=0755`, 'tmpfs', scene.store]);
    await scene.begin(...IMAGES);
  });
  afterAll(() => scene.end());

  const launch = (id: string, image: string, value = 'cat /etc/image', cached = true): Parameters<AgentScene['agent']['launch']>[0] => ({ id, image: { name: scene.name(image), cached }, command: { value } });
  const nothingLeft = (): void => expect([scene.agent.rootfses(), scene.agent.provisioned()]).toEqual([[], []]);

  it(`launches ${LAUNCHES} containers of ${IMAGES.length} images at once, with a request an image`, async () => {
    const ran = await Promise.all(Array.from({ length: LAUNCHES }, (_, n) => scene.agent.run(launch(`crowd-${n}`, IMAGES[n % IMAGES.length]!))));
    expect(ran.map(({ stdout }) => stdout)).toEqual(ran.map((_, n) => `${IMAGES[n % IMAGES.length]!}\n`));
    expect(await scene.requests()).toMatchObject({ manifest: IMAGES.length, layer: 0, blob: 0 });
    expect(scene.links()).toHaveLength(IMAGES.length);
    nothingLeft();
  });

  it('launches while the agent prunes, again and again', async () => {
    const { agent } = scene;
    let launching = true;
    const prunes = (async () => {
      let count = 0;
      for (; launching; count++) await agent.prune();
      return count;
    })();
    const ran = await Promise.all(IMAGES.slice(0, 5).map(async (image) => {
      const said: string[] = [];
      for (let n = 0; n < 4; n++) said.push((await agent.run(launch(`pruned-${image}-${n}`, image))).stdout);
      return said;
    }));
    launching = false;
    expect(ran).toEqual(IMAGES.slice(0, 5).map((image) => Array.from({ length: 4 }, () => `${image}\n`)));
    expect(await prunes).toBeGreaterThan(3);
    nothingLeft();
  });

  it('prunes no image of a container that has two of them, and the service knows both to be in use', async () => {
    const { agent } = scene;
    await agent.launch({ ...launch('volumes', 'i8', 'sleep 3; cat /etc/image /volume/etc/image'), volumes: [{ image: { name: scene.name('i9') }, containerPath: '/volume' }] });
    const digests = await Promise.all(['i8', 'i9'].map(async (image) => (await scene.image(`${FQRN}/images/${image}`)).layers[0]!.digest));
    await agent.prune();
    expect(scene.links().sort()).toEqual([...digests].sort());
    await scene.killService();
    await scene.startService();
    const metrics = await scene.host.outside('curl', ['-s', `http://${scene.service!.http}/metrics`]);
    expect(metrics.stdout).toContain('\nmesos_cvmfs_facade_images{state="used"} 2\n');
    expect((await agent.finished('volumes')).stdout).toBe('i8\ni9\n');
    nothingLeft();
  });

  it('fails at a link that leads nowhere, and has it mended when the image is asked for, or the service starts', async () => {
    const { agent } = scene;
    await agent.run(launch('before', 'i0'));
    const { digest } = (await scene.image(`${FQRN}/images/i0`)).layers[0]!;
    const bend = (): void => {
      fs.rmSync(scene.layerLink(digest));
      fs.symlinkSync(`${scene.view()}${'0'.repeat(40)}/images/i0`, scene.layerLink(digest));
    };
    bend();
    await expect(agent.launch(launch('bent', 'i0'))).rejects.toThrow(/Failed to mount rootfs .* with overlayfs/);
    nothingLeft();
    expect(await agent.run(launch('asked', 'i0', undefined, false))).toMatchObject({ stdout: 'i0\n' });
    bend();
    await scene.killService();
    await scene.startService();
    expect(await agent.run(launch('mended', 'i0'))).toMatchObject({ stdout: 'i0\n' });
    expect((await scene.requests())['manifest']).toBe(0);
  });

  it('leaves containers alone when the public mount is taken away, and launches again when it is back', async () => {
    const { agent } = scene;
    await agent.run(launch('stored', 'i1'));
    await agent.launch(launch('on', 'i1', 'for n in 1 2 3 4 5; do sleep 0.3; /bin/ls /etc >/dev/null; cat /etc/image; done'));
    execFileSync('umount', ['-l', path.join(scene.mountRoot, FQRN)]);
    await expect(agent.launch(launch('away', 'i1'))).rejects.toThrow(/Failed to mount rootfs .* with overlayfs/);
    await expect(agent.launch(launch('away', 'i1', undefined, false))).rejects.toThrow(/Unexpected HTTP response '[45]\d\d/);
    expect((await agent.finished('on')).stdout).toBe('i1\n'.repeat(5));
    // Now that nothing uses the mount it is made again.
    await until('a launch succeeds', () => agent.run(launch('back', 'i1')).then(({ stdout }) => stdout.startsWith('i1\n'), () => false), 90_000);
    nothingLeft();
  });

  it('fails while the disk of the store is full, and launches when it has room', async () => {
    const { agent } = scene;
    await agent.prune();
    const filler = path.join(scene.store, 'filler');
    fs.mkdirSync(filler);
    let made = 0;
    try {
      for (;;) fs.writeFileSync(path.join(filler, String(made++)), '');
    } catch (error) {
      expect((error as NodeJS.ErrnoException).code).toBe('ENOSPC');
    }
    const refused = await scene.manifest(`${FQRN}/images/i3`);
    expect(refused.status).toMatch(/^5\d\d /);
    await expect(agent.launch(launch('full', 'i3'))).rejects.toThrow();
    nothingLeft();
    expect(scene.links()).toEqual([]);
    fs.rmSync(filler, { recursive: true });
    expect(await agent.run(launch('room', 'i3'))).toMatchObject({ stdout: 'i3\n' });
    expect(fs.readdirSync(scene.store).sort()).toEqual(['gc', 'layers', 'staging', 'storedImages']);
  });

  it('keeps a tag where it was for those who have it, and moves it for those who ask', async () => {
    const { agent } = scene;
    const tag = path.join(scene.source, 'images/app:1');
    const to = async (image: string): Promise<void> => {
      fs.rmSync(tag, { force: true });
      fs.symlinkSync(image, tag);
      await scene.publish();
    };
    await to('i4');
    const image = (cached: boolean): { name: string; cached: boolean } => ({ name: scene.name('app:1'), cached });
    const command = { value: 'cat /etc/image' };
    await until('the first place is known', () => agent.run({ id: `first-${Date.now()}`, image: image(false), command }).then(({ stdout }) => stdout === 'i4\n', () => false));
    await agent.launch({ id: 'old', image: image(true), command: { value: 'sleep 4; cat /etc/image; ls /bin' } });
    await to('i5');
    await until('the tag has moved', () => agent.run({ id: `moved-${Date.now()}`, image: image(false), command }).then(({ stdout }) => stdout === 'i5\n'));
    const before = await scene.requests();
    expect(await agent.run({ id: 'new', image: image(true), command })).toMatchObject({ stdout: 'i5\n' });
    expect(await scene.requests()).toEqual(before);
    expect((await agent.finished('old')).stdout).toMatch(/^i4\ncat\n/);
    nothingLeft();
  });
});
