/** The conformance agent (test/agent) with ordinary images of an ordinary registry: that it is one is what other tests build on. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { AgentHost } from '../agent/agent-process';
import { hostPrograms } from '../support/host-programs';
import { RegistryServer } from '../support/registry-server';
import { until } from '../support/shell';
import { TestHost } from '../support/test-host';

const describeAsRoot = process.geteuid?.() === 0 ? describe : describe.skip;

const CONFIG = { Env: ['GREETING=hello=you', 'NO_VALUE'], WorkingDir: '/app', Entrypoint: ['/bin/sh', '-c'], Cmd: ['echo $GREETING from $(pwd)'], User: 'nobody', Labels: null };

describeAsRoot('the conformance agent with a registry (needs root)', () => {
  let host: TestHost;
  let registry: RegistryServer;
  let agent: AgentHost;
  let parts: { manifest: string; config: string; layers: string[] };
  const name = (tag = '1'): string => `${registry.host}/team/app:${tag}`;

  beforeEach(async () => {
    host = new TestHost();
    registry = await RegistryServer.start();
    const base = { ...hostPrograms('sh', 'cat', 'ls', 'sleep'), 'etc/gone': 'x', 'data/old/below': 'x', 'data/kept': 'x' };
    parts = await registry.put('team/app', '1', { layers: [base, { 'etc/.wh.gone': '', 'data/old/.wh..wh..opq': '', 'data/old/new': 'y', 'app/part': 'z' }], config: CONFIG });
    agent = new AgentHost(path.join(host.dir, 'agent'));
    await agent.start();
  });
  afterEach(async () => {
    await agent.powerOff();
    await registry.close();
    await host.end();
  });

  const shell = (id: string, value: string): Parameters<AgentHost['run']>[0] => ({ id, image: { name: name() }, command: { value } });
  const manifests = (): string[] => registry.paths().filter((url) => url.includes('/manifests/'));

  it('pulls what it lacks, runs what the image says, and asks nobody at the second start', async () => {
    expect(await agent.run({ id: 'one', image: { name: name() } })).toEqual({ status: 0, stdout: 'hello=you from /app\n', stderr: '' });
    expect(registry.paths().sort()).toEqual(['/v2/team/app/manifests/1', ...[parts.config, ...parts.layers].map((digest) => `/v2/team/app/blobs/${digest}`)].sort());
    const [asked] = registry.requests;
    expect(asked).toMatchObject({ method: 'GET', url: '/v2/team/app/manifests/1', headers: { accept: expect.stringContaining('manifest.v2+json'), 'user-agent': expect.stringMatching(/^curl/) } });
    const before = registry.paths().length;
    expect((await agent.run(shell('two', 'ls /etc /data/old /data'))).stdout).toBe('/data:\nkept\nold\n\n/data/old:\nnew\n\n/etc:\n');
    expect(registry.paths()).toHaveLength(before);
    expect(await agent.run({ id: 'forced', image: { name: name(), cached: false } })).toMatchObject({ status: 0 });
    expect(registry.paths().slice(before)).toEqual(['/v2/team/app/manifests/1']);
    expect(await agent.state()).toEqual({ containers: [], images: [name()] });
    expect(agent.rootfses()).toEqual([]);
    expect(fs.readdirSync(path.join(agent.flags.docker_store_dir, 'staging'))).toEqual([]);
  });

  it('shares one pull among launches at once, and keeps what containers write apart', async () => {
    const ran = await Promise.all(['a', 'b', 'c', 'd'].map((id) => agent.run(shell(id, `echo ${id} > /etc/mine; sleep 0.2; cat /etc/mine; echo done > $MESOS_SANDBOX/file`))));
    expect(ran.map(({ stdout }) => stdout)).toEqual(['a\n', 'b\n', 'c\n', 'd\n']);
    expect(manifests()).toHaveLength(1);
    expect(fs.readFileSync(path.join(agent.sandbox('c'), 'file'), 'utf8')).toBe('done\n');
  });

  it.each(['basic', 'bearer'] as const)('answers a %s challenge with what --docker_config holds', async (kind) => {
    registry.auth = { kind, secret: 'user:secret' };
    await expect(agent.run(shell('refused', 'true'))).rejects.toThrow(/401|Unexpected HTTP response/);
    await agent.kill();
    const auth = Buffer.from('user:secret').toString('base64');
    await agent.start({ docker_config: JSON.stringify({ auths: { [registry.host]: { auth } } }) });
    const before = registry.requests.length;
    expect(await agent.run(shell('one', 'echo in'))).toMatchObject({ stdout: 'in\n' });
    // The first request already carries it.
    expect(registry.requests[before]!.headers.authorization).toBe(`Basic ${auth}`);
  });

  it('shows the status line of a refusal, refuses other kinds of manifests, and has nothing left of the attempt', async () => {
    const manifest = { schemaVersion: 2, mediaType: 'application/vnd.docker.distribution.manifest.v2+json', config: { mediaType: 'x', size: 1, digest: 'sha256:1' }, layers: [{ mediaType: 'x', size: 1, digest: 'sha256:2' }] };
    const type = { 'content-type': manifest.mediaType };
    const cases: Array<[ReturnType<RegistryServer['behave']>, RegExp]> = [
      [{ kind: 'status', status: 503, headers: { 'content-length': 0 } }, /Unexpected HTTP response '503 Service Unavailable' when trying to get the manifest/],
      [{ kind: 'body', body: JSON.stringify(manifest), headers: { 'content-type': `${manifest.mediaType}; charset=utf-8`, 'content-length': JSON.stringify(manifest).length } }, /Unsupported manifest MIME type/],
      [{ kind: 'body', body: JSON.stringify({ ...manifest, layers: [] }), headers: { ...type, 'content-length': JSON.stringify({ ...manifest, layers: [] }).length } }, /at least one/],
      [{ kind: 'body', body: JSON.stringify({ ...manifest, config: {} }), headers: { ...type, 'content-length': JSON.stringify({ ...manifest, config: {} }).length } }, /manifest\.config\.mediaType: missing/],
      [{ kind: 'reset' }, /curl/],
    ];
    for (const [answer, message] of cases) {
      registry.behave = (url) => (url.includes('/manifests/') ? answer : undefined);
      await expect(agent.launch(shell('refused', 'true'))).rejects.toThrow(message);
    }
    registry.behave = () => undefined;
    expect(await agent.state()).toEqual({ containers: [], images: [] });
    expect(await agent.run(shell('refused', 'echo now'))).toMatchObject({ stdout: 'now\n' });
  });

  it('is aborted by a configuration without `config`', async () => {
    await registry.put('team/app', 'bad', { layers: [{ 'x': 'x' }], config: null });
    await expect(agent.launch({ id: 'bad', image: { name: name('bad') } })).rejects.toThrow(/ended with 134: CHECK failed/);
  });

  it('gives up a launch that does not come to its program in time', async () => {
    await agent.kill();
    await agent.start({ executor_registration_timeout: '1' });
    registry.behave = () => ({ kind: 'hang' });
    await expect(agent.launch(shell('late', 'true'))).rejects.toThrow(/REASON_EXECUTOR_REGISTRATION_TIMEOUT/);
    registry.behave = () => undefined;
    expect(await agent.run(shell('late', 'echo now'))).toMatchObject({ stdout: 'now\n' });
  });

  it('prunes by rename what no image that stays and no container needs', async () => {
    await registry.put('team/app', '2', { layers: [{ other: 'x' }] });
    await agent.launch(shell('running', 'sleep 0.1; cat /app/part; sleep 1; cat /app/part'));
    await agent.run({ id: 'other', image: { name: name('2') } }).catch(() => undefined);
    await agent.prune();
    const layers = fs.readdirSync(path.join(agent.flags.docker_store_dir, 'layers'));
    expect(layers.sort()).toEqual([parts.config, ...parts.layers].sort());
    expect(await agent.finished('running')).toMatchObject({ status: 0, stdout: 'zz' });
    await agent.prune();
    expect(fs.readdirSync(path.join(agent.flags.docker_store_dir, 'layers'))).toEqual([]);
    expect((await agent.state()).images).toEqual([]);
    expect(await agent.run(shell('again', 'cat /app/part'))).toMatchObject({ stdout: 'z' });
  });

  it('goes on with its containers after a restart, nested ones and image volumes too', async () => {
    await agent.launch(shell('pod', 'sleep 30'));
    await agent.launch({ ...shell('pod/task', 'sleep 1; echo $(cat /app/part) $(cat /volume/app/part)'), volumes: [{ image: { name: name() }, containerPath: '/volume', readOnly: true }] });
    const before = registry.requests.length;
    await agent.kill();
    await agent.start();
    expect(await agent.finished('pod/task')).toMatchObject({ status: 0, stdout: 'z z\n' });
    expect((await agent.state()).containers).toEqual(['pod']);
    await agent.destroy('pod');
    expect(agent.rootfses()).toEqual([]);
    expect(registry.requests).toHaveLength(before);
  });

  it('leaves nothing wrong, whichever step it is killed at', async () => {
    // Those that only an ordinary pull has something to do at; all of them are gone through with lazy images (test/fault).
    for (const step of ['staging-made', 'config-fetched', 'layers-moved', 'images-stored', 'mounted', 'forked', 'killed'] as const) {
      if (step === 'layers-moved') await agent.prune();
      agent.killAt(step);
      await agent.launch({ ...shell('killed', 'sleep 0.1; echo ran'), image: { name: name(), cached: false } }).catch(() => undefined);
      await agent.destroy('killed').catch(() => undefined);
      expect({ step, gone: await agent.gone }).toMatchObject({ step, gone: expect.stringContaining('SIGKILL') });
      await agent.start();
      for (const id of (await agent.state()).containers) await agent.finished(id);
      await until('all is gone', () => agent.provisioned().length === 0);
      expect({ step, left: agent.rootfses(), folders: agent.provisioned() }).toEqual({ step, left: [], folders: [] });
      expect(await agent.run(shell(`after-${step}`, 'cat /app/part'))).toMatchObject({ stdout: 'z' });
    }
  });
});
