/**
 * Containers as a stock agent starts them through the facade: the conformance agent (test/agent) does everything that a
 * Mesos agent does with an image, and the service only what it is asked.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { AgentScene } from '../support/agent-scene';
import { describeWithFixtures } from '../support/fixtures';
import { startHttpServer } from '../support/http-server';
import { describeWithMounts } from '../support/test-host';

jest.setTimeout(180_000);

const FQRN = 'images.golden.test';
const PATH = 'registry.hub.docker.com/library/debian-app:1';

describeWithMounts('an agent with the facade', () => {
  describeWithFixtures('and an image of the real tools', (fixtures) => {
    let scene: AgentScene;
    let server: Awaited<ReturnType<typeof startHttpServer>>;

    beforeAll(async () => {
      scene = await AgentScene.make();
      server = await startHttpServer(fixtures);
      scene.configureAgent(FQRN, `${server.url}/@fqrn@`, `${fixtures}/${FQRN}/${FQRN}.pub`, { provisioner: `image_config_sources = ["oci:${fixtures}/${FQRN}/registry"]` });
      await scene.startService();
      await scene.agent.start();
    });
    afterAll(async () => {
      await scene.end();
      await server.close();
    });

    const SAYS = /cwd \/app APP_MODE demo/;
    const name = (): string => `${scene.registry}/debian-app:1`;
    /** The image's user land, in a shell. */
    const shell = (id: string, value: string): Parameters<AgentScene['agent']['run']>[0] => ({ id, image: { name: name() }, command: { value } });

    it('starts it by three kinds of names, with its configuration, and no layer is asked for', async () => {
      const names = [`${scene.registry}/${FQRN}/${PATH}`, name(), 'debian-app:1'];
      for (const [n, image] of names.entries()) expect(await scene.agent.run({ id: `named-${n}`, image: { name: image } })).toMatchObject({ status: 0, stdout: expect.stringMatching(SAYS) });
      expect(await scene.requests()).toEqual({ manifest: 3, config: 1, layer: 0, blob: 0, other: 0 });
      expect(scene.links()).toHaveLength(1);
      // And the one configuration.
      expect(scene.foreignLayers()).toHaveLength(1);
      expect((await scene.agent.state()).images).toEqual([...names].sort());
      expect(fs.readdirSync(path.join(scene.store, 'staging'))).toEqual([]);
    });

    it('starts it again without a request, and with the user’s own command, variables and arguments', async () => {
      const before = await scene.requests();
      expect(await scene.agent.run({ id: 'again', image: { name: name() } })).toMatchObject({ status: 0, stdout: expect.stringMatching(SAYS) });
      expect(await scene.agent.run({ ...shell('shell', 'echo $APP_MODE $MINE $(pwd) $MESOS_SANDBOX'), environment: { APP_MODE: 'mine', MINE: 'x' } })).toMatchObject({ status: 0, stdout: 'mine x /app /mnt/mesos/sandbox\n' });
      expect(await scene.requests()).toEqual(before);
      expect(await scene.agent.run({ id: 'forced', image: { name: name(), cached: false } })).toMatchObject({ status: 0 });
      expect(await scene.requests()).toEqual({ ...before, manifest: before['manifest']! + 1 });
    });

    it('keeps what containers write out of the image, nested ones and image volumes among them', async () => {
      await scene.agent.launch(shell('pod', 'echo pod > /app/written; sleep 30'));
      const volumes = [{ image: { name: `${scene.registry}/${FQRN}/${PATH}` }, containerPath: '/volume', readOnly: true }];
      const nested = await scene.agent.run({ ...shell('pod/task', 'ls /app/written; ls /volume/app; echo x > /volume/app/y; rm /app/main.py && ls /app'), volumes });
      expect(nested).toMatchObject({ stdout: 'data\nlatest\nmain.py\ndata\nlatest\n', stderr: expect.stringMatching(/\/app\/written[^]*Read-only file system/) });
      expect(await scene.agent.run({ id: 'after', image: { name: name() } })).toMatchObject({ status: 0, stdout: expect.stringMatching(SAYS) });
      await scene.agent.destroy('pod');
      expect([scene.agent.rootfses(), scene.agent.provisioned()]).toEqual([[], []]);
    });

    it('goes on over a restart of the agent, and over one of the service, without a request', async () => {
      await scene.agent.launch(shell('long', 'sleep 2; cat /app/main.py | wc -c'));
      await scene.agent.kill();
      await scene.killService();
      await scene.agent.start();
      expect(await scene.agent.run({ id: 'meanwhile', image: { name: name() } })).toMatchObject({ status: 0 });
      await expect(scene.agent.launch({ id: 'unknown', image: { name: `${scene.registry}/debian:12` } })).rejects.toThrow(/curl/);
      await scene.startService();
      expect(await scene.agent.finished('long')).toMatchObject({ status: 0, stdout: expect.stringMatching(/^\d+\n$/) });
      expect(await scene.agent.run({ id: 'unknown', image: { name: `${scene.registry}/debian:12` }, command: { value: 'cat /etc/debian_version' } })).toMatchObject({ status: 0, stdout: expect.stringMatching(/^12/) });
      expect((await scene.requests())['layer']).toBe(0);
    });

    it('prunes: links in use stay, others go as any layer does, and come back when they are asked for', async () => {
      expect(await scene.agent.run({ id: 'other', image: { name: `${scene.registry}/debian:12` }, command: { value: 'true' } })).toMatchObject({ status: 0 });
      await scene.agent.launch(shell('running', 'sleep 2; cat /app/main.py | wc -c'));
      expect(scene.links()).toHaveLength(2);
      const target = scene.links().map((digest) => scene.target(digest)!);
      await scene.agent.prune();
      expect(scene.links()).toHaveLength(1);
      expect(await scene.agent.finished('running')).toMatchObject({ status: 0, stdout: expect.stringMatching(/^\d+\n$/) });
      await scene.agent.prune();
      expect([scene.links(), scene.foreignLayers(), fs.readdirSync(path.join(scene.store, 'gc'))]).toEqual([[], [], []]);
      // What the links led to is whole.
      for (const at of target) expect((await scene.host.outside('ls', [`${at}/etc`])).code).toBe(0);
      expect(await scene.agent.run({ id: 'pruned', image: { name: name() } })).toMatchObject({ status: 0, stdout: expect.stringMatching(SAYS) });
      expect(scene.links()).toHaveLength(1);
    });

    it('starts it after a reboot, without a request when the service came first', async () => {
      await scene.agent.launch(shell('lost', 'sleep 60'));
      await scene.powerOff();
      await scene.startService();
      await scene.agent.start();
      expect([await scene.agent.state(), scene.agent.rootfses(), scene.agent.provisioned()]).toEqual([{ containers: [], images: [name()] }, [], []]);
      expect(await scene.agent.run({ id: 'rebooted', image: { name: name() } })).toMatchObject({ status: 0, stdout: expect.stringMatching(SAYS) });
      expect(await scene.requests()).toMatchObject({ manifest: 0, config: 0 });
    });

    it('fails cleanly after a reboot in which the agent came first, and heals by itself', async () => {
      await scene.powerOff();
      await scene.agent.start();
      for (let n = 0; n < 2; n++) await expect(scene.agent.launch({ id: 'early', image: { name: name() } })).rejects.toThrow(/Failed to mount rootfs .* with overlayfs/);
      expect([scene.agent.rootfses(), scene.agent.provisioned()]).toEqual([[], []]);
      await scene.startService();
      expect(await scene.agent.run({ id: 'early', image: { name: name() } })).toMatchObject({ status: 0, stdout: expect.stringMatching(SAYS) });
    });

    it('says why an image cannot be had, in the status line, and stays well', async () => {
      await expect(scene.agent.launch({ id: 'none', image: { name: `${scene.registry}/no-such:1` } })).rejects.toThrow(/404 Not Found/);
      await expect(scene.agent.launch({ id: 'none', image: { name: `${scene.registry}/${FQRN}/no/such` } })).rejects.toThrow(/404 Not Found/);
      expect((await scene.agent.state()).containers).toEqual([]);
    });
  });
});
