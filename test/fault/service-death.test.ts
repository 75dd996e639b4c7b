/**
 * The service is killed while it works, everything is killed at once, the host goes down: Recover puts right what can be
 * put right, with the views below, and says what cannot.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { Failure } from '../../src/error';
import { describeWithMounts } from '../support/test-host';
import { FQRN } from '../support/cli-scene';
import { seeded } from './random';
import { CALL, ServiceScene } from './service-scene';

jest.setTimeout(300_000);

const SEED = 5;
const ROUNDS = 8;
const KILL_WITHIN_MS = 250;
const CONTENT = 'a\npart of a\n';

describeWithMounts('a service over mounted repositories', () => {
  let scene: ServiceScene;
  beforeEach(async () => {
    scene = new ServiceScene();
    await scene.create();
    await scene.serve();
  });
  afterEach(() => scene.end());

  const content = (rootfs: string): Promise<string> => scene.read(rootfs, 'etc/image', 'lib/inner/part');

  it('does what it was asked, once, though it is killed at any instant of it', async () => {
    const random = seeded(SEED);
    const kept = await scene.provision('kept');
    fs.writeFileSync(path.join(kept, 'written'), 'by the container');
    let there: string[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const made = [0, 1, 2].map((n) => `made-${round}-${n}`);
      const known = ['kept', ...there, ...made];
      const work = (): Array<Promise<unknown>> => [
        ...made.map((id, n) => scene.provision(id, n === 1 ? 'b' : 'a', n === 2 ? 'bind' : 'overlay')),
        ...there.map((id) => scene.destroy(id)),
        scene.recover(...known),
      ];
      const interrupted = Promise.allSettled(work());
      await new Promise((resolve) => setTimeout(resolve, random.whole(0, KILL_WITHIN_MS)));
      await scene.killService();
      for (const ended of await interrupted) if (ended.status === 'rejected') expect(['NETWORK', 'CANCELLED', 'UNKNOWN']).toContain(Failure.from(ended.reason).code);
      await scene.serve();
      expect(await scene.recover(...known)).toEqual({ destroyed: [], quarantined: {} });
      const rootfses = await Promise.all(made.map((id, n) => scene.provision(id, n === 1 ? 'b' : 'a', n === 2 ? 'bind' : 'overlay')));
      for (const id of there) await scene.destroy(id);
      expect(scene.rootfses()).toEqual([kept, ...rootfses].sort());
      expect(scene.directories()).toEqual(['kept', ...made].sort());
      expect(await Promise.all([kept, ...rootfses].map(content))).toEqual([CONTENT, CONTENT, 'b\npart of b\n', CONTENT]);
      expect(await scene.holders()).toEqual([kept, ...rootfses].map((rootfs) => path.basename(rootfs)).sort());
      there = made;
    }
    expect(fs.readFileSync(path.join(kept, 'written'), 'utf8')).toBe('by the container');
    expect(await scene.recover('kept')).toEqual({ destroyed: there.sort(), quarantined: {} });
    expect(scene.rootfses()).toEqual([kept]);
  });

  it('says which containers are lost when everything was killed at once, and makes new ones', async () => {
    await scene.provision('written');
    await scene.provision('bound', 'a', 'bind');
    await scene.provision('unknown');
    expect((await scene.recover('written', 'bound', 'unknown')).quarantined).toEqual({});
    await scene.killEverything();
    await scene.serve();
    const fresh = await scene.provision('fresh');
    expect(await content(fresh)).toBe(CONTENT);
    const dead = expect.stringMatching(new RegExp(`is dead: .* the mount of ${FQRN} .*; destroy the container`));
    for (let again = 0; again < 2; again++) expect(await scene.recover('written', 'bound', 'fresh')).toEqual({ destroyed: again === 0 ? ['unknown'] : [], quarantined: { written: dead, bound: dead } });
    expect((await scene.cli.json<{ warnings: string[] }>('status')).warnings.join('\n')).toContain('container written is set aside');
    expect(await scene.destroy('written')).toBe(true);
    expect(await scene.destroy('bound')).toBe(true);
    expect(scene.rootfses()).toEqual([fresh]);
    expect(scene.directories()).toEqual(['fresh']);
    expect(await scene.recover('fresh')).toEqual({ destroyed: [], quarantined: {} });
    expect(await scene.holders()).toEqual([path.basename(fresh)]);
  });

  it('builds known containers and their views again after the host went down, without the network too', async () => {
    const written = await scene.provision('written');
    const bound = await scene.provision('bound', 'b', 'bind');
    await scene.provision('unknown');
    fs.writeFileSync(path.join(written, 'etc/image'), 'changed by the container\n');
    expect(await content(bound)).toBe('b\npart of b\n');
    // A revision that the containers do not see: their views are older than what is mounted afterwards.
    scene.cli.files({ 'images/a/lib/inner/part': 'newer\n' });
    await scene.cli.publish();
    await scene.web!.stop();
    await scene.reboot();
    expect(scene.cli.host.mountsBelow()).toEqual([]);
    await scene.serve();
    expect(await scene.recover('written', 'bound')).toEqual({ destroyed: ['unknown'], quarantined: {} });
    expect(scene.rootfses()).toEqual([bound, written].sort());
    expect(await scene.read(written, 'etc/image')).toBe('changed by the container\n');
    expect(await content(bound)).toBe('b\npart of b\n');
    expect(await scene.holders()).toEqual([bound, written].map((rootfs) => path.basename(rootfs)).sort());
  });

  it('says what cannot be built again, and builds it when it can', async () => {
    const rootfs = await scene.provision('c');
    const port = new URL(scene.web!.url.replaceAll('@', '')).port;
    await scene.web!.stop();
    await scene.reboot();
    fs.rmSync(scene.cli.host.cacheDir, { recursive: true });
    await scene.serve();
    const { quarantined } = await scene.client.Recover({ known_container_ids: [{ value: 'c' }] }, { ...CALL, timeoutMs: 10_000 });
    expect(quarantined).toEqual([{ container_id: { value: 'c' }, reason: expect.stringContaining(`repository ${FQRN} is not mounted`) }]);
    expect(scene.rootfses()).toEqual([]);
    await scene.cli.serveRepository('--listen', `127.0.0.1:${port}`);
    let last = await scene.recover('c');
    for (let tries = 0; tries < 20 && Object.keys(last.quarantined).length > 0; tries++) last = await scene.recover('c');
    expect(last).toEqual({ destroyed: [], quarantined: {} });
    expect(scene.rootfses()).toEqual([rootfs]);
    expect(await content(rootfs)).toBe(CONTENT);
  });
});
