/** One flag for all images: an agent whose only registry is the facade, which hands on what is in no repository. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { AgentScene, FQRN } from '../support/agent-scene';
import { hostPrograms } from '../support/host-programs';
import { RegistryServer } from '../support/registry-server';
import { describeWithMounts } from '../support/test-host';

jest.setTimeout(120_000);

const FILE_BYTES = 8_000_000;

describeWithMounts('an agent whose only registry is the facade', () => {
  let scene: AgentScene;
  let registry: RegistryServer;
  let parts: { config: string; layers: string[] };

  beforeAll(async () => {
    registry = await RegistryServer.start();
    const base = { ...hostPrograms('sh', 'cat', 'ls'), 'etc/gone': 'x', 'large': Buffer.alloc(FILE_BYTES, 'large') };
    parts = await registry.put('team/app', '1', { layers: [base, { 'etc/.wh.gone': '', 'app/part': 'z' }], config: { Env: ['FROM=a registry'], Cmd: ['/bin/sh', '-c', 'echo $FROM; ls /etc; cat /app/part'] } });
    scene = await AgentScene.make();
    await scene.create();
    scene.images('a');
    await scene.publish();
    const web = await scene.serveRepository();
    scene.configureAgent(FQRN, web.url, scene.publicKey, { facade: `auth = "secret"\nfallback_registries = ["${registry.host}"]` });
    await scene.startService();
  });
  afterAll(async () => {
    await scene.end();
    await registry.close();
  });

  const secret = (): string => fs.readFileSync(path.join(scene.host.dir, 'state/facade-secret'), 'utf8').trim();
  async function agentWith(userAndPassword?: string): Promise<void> {
    await scene.agent.kill();
    const auth = Buffer.from(userAndPassword ?? '').toString('base64');
    await scene.agent.start(userAndPassword === undefined ? {} : { docker_config: JSON.stringify({ auths: { [scene.registry]: { auth } } }) });
  }
  const fromRepository = (id: string): Parameters<AgentScene['agent']['run']>[0] => ({ id, image: { name: scene.name('a'), cached: false }, command: { value: 'cat /etc/image' } });
  const fromRegistry = (id: string): Parameters<AgentScene['agent']['run']>[0] => ({ id, image: { name: 'team/app:1', cached: false } });

  it('is let in with the secret of --docker_config, and with nothing else', async () => {
    for (const given of [undefined, 'mesos-cvmfs:wrong-secret-of-some-length']) {
      await agentWith(given);
      await expect(scene.agent.launch(fromRepository('refused'))).rejects.toThrow(/401 Unauthorized/);
      await expect(scene.agent.launch(fromRegistry('refused'))).rejects.toThrow(/401 Unauthorized/);
    }
    await agentWith(`mesos-cvmfs:${secret()}`);
    expect(await scene.agent.run(fromRepository('let-in'))).toMatchObject({ status: 0, stdout: 'a\n' });
  });

  it('starts images of repositories without their layers, and those of a registry with them', async () => {
    expect(await scene.agent.run(fromRegistry('real'))).toEqual({ status: 0, stdout: 'a registry\nz', stderr: '' });
    const layers = path.join(scene.store, 'layers');
    expect(fs.readdirSync(layers)).toEqual(expect.arrayContaining([...parts.layers, parts.config]));
    expect(fs.statSync(path.join(layers, parts.layers[0]!, 'rootfs.overlay/large')).size).toBe(FILE_BYTES);
    expect(registry.paths().filter((url) => url.includes('/blobs/'))).toHaveLength(3);
    // Its second start asks for nothing, and a forced one for the manifest alone.
    const before = registry.requests.length;
    await scene.agent.run({ ...fromRegistry('again'), image: { name: 'team/app:1' } });
    expect(registry.requests).toHaveLength(before);
    expect(scene.links()).toHaveLength(1);
  });

  it('leaves what it did not make alone: real layers are pruned by the agent and pulled again', async () => {
    await scene.agent.prune();
    expect([scene.links(), scene.foreignLayers()]).toEqual([[], []]);
    expect(await scene.agent.run(fromRegistry('pulled-again'))).toMatchObject({ status: 0, stdout: 'a registry\nz' });
    await scene.killService();
    await scene.startService();
    expect(await scene.agent.run({ ...fromRegistry('restarted'), image: { name: 'team/app:1' } })).toMatchObject({ status: 0, stdout: 'a registry\nz' });
  });

  it('fails cleanly when the registry refuses or breaks off, and succeeds when it does not', async () => {
    await scene.agent.prune();
    registry.behave = (url) => (url.includes('/blobs/') ? { kind: 'truncate', bytes: 100 } : undefined);
    await expect(scene.agent.launch(fromRegistry('broken'))).rejects.toThrow(/Failed to launch container/);
    registry.behave = () => ({ kind: 'status', status: 500 });
    await expect(scene.agent.launch(fromRegistry('broken'))).rejects.toThrow(/Unexpected HTTP response '5\d\d/);
    registry.behave = () => undefined;
    expect(scene.foreignLayers()).toEqual([]);
    expect(await scene.agent.run(fromRegistry('whole'))).toMatchObject({ status: 0, stdout: 'a registry\nz' });
    await expect(scene.agent.launch({ id: 'nowhere', image: { name: 'no/where:1' } })).rejects.toThrow(/404 Not Found/);
  });

  it('uses the requester’s own credentials for a registry that asks for them', async () => {
    registry.auth = { kind: 'bearer', secret: 'user:password' };
    await scene.agent.prune();
    await expect(scene.agent.launch(fromRegistry('private'))).rejects.toThrow(/Unexpected HTTP response '4\d\d/);
    await agentWith(`user:${secret()}:password`);
    expect(await scene.agent.run(fromRegistry('private'))).toMatchObject({ status: 0, stdout: 'a registry\nz' });
    expect(await scene.agent.run(fromRepository('mine-too'))).toMatchObject({ status: 0, stdout: 'a\n' });
  });
});
