/**
 * The C++ module and a C++ client of the same contract against the service: compiled with Debian's gRPC against
 * test/isolator-module/stub.hpp, loaded by a program in place of an agent.
 */
import * as path from 'node:path';
import { makeAgentRootfs } from '../support/isolator/agent-directories';
import { ModuleHost, buildModuleHost } from '../support/isolator/module-host';
import type { RunningIsolator } from '../support/isolator/scene';
import { containerConfig, id, startIsolatorOn } from '../support/isolator/scene';
import { viewOf } from '../support/provisioner/directory-repository';
import type { Host } from '../support/provisioner/service';
import { FQRN, makeHost } from '../support/provisioner/service';

const BUILD_MS = 900_000;
const VIEW = viewOf('/images/a');
const missing = buildModuleHost(BUILD_MS);

(missing === undefined ? describe : describe.skip)(`the isolator module${missing === undefined ? '' : ` (${missing})`}`, () => {
  let host: Host;
  let running: RunningIsolator | undefined;
  let agent: ModuleHost | undefined;

  beforeEach(() => {
    host = makeHost();
  });
  afterEach(async () => {
    await agent?.kill();
    await stop();
    host.remove();
  });

  const start = async (options: Parameters<typeof startIsolatorOn>[1] = {}): Promise<RunningIsolator> => (running = await startIsolatorOn(host, options));
  const stop = async (): Promise<void> => {
    await running?.stop();
    running = undefined;
  };
  const load = async (): Promise<ModuleHost> => {
    const loaded = await ModuleHost.load(host.listen);
    expect(loaded.said).toBe('ready 1.12.0 11');
    return (agent = loaded.host!);
  };
  const prepare = (names: string[], config = containerConfig()) => agent!.call('prepare', { container_id: id(...names), container_config: config });
  const cleanup = (...names: string[]) => agent!.call('cleanup', { container_id: id(...names) });
  const recover = (alive: string[][], orphans: string[][] = []) =>
    agent!.call('recover', { states: alive.map((names) => ({ container_id: id(...names), pid: '1', directory: '/s' })), orphans: orphans.map((names) => id(...names)) });
  const rootfsOf = (...names: string[]): string => makeAgentRootfs(host.dir, names, path.join(host.mountpoint, '.cvmfs-view', VIEW));
  const remembered = (): string[] => running!.service.provisioner.world.state.isolated.all().map(({ container }) => container).sort();
  const holders = (): number => running!.repository.holds.get(VIEW)?.size ?? 0;
  const until = async (what: () => boolean): Promise<void> => {
    for (let i = 0; i < 1500 && !what(); i++) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(what()).toBe(true);
  };
  const done = { kind: 'ready', value: {} };

  it('passes on what a container’s life has, and what the service answers', async () => {
    await start();
    await load();
    expect(await recover([])).toEqual(done);
    expect(await prepare(['c'], containerConfig({}, FQRN))).toEqual({
      kind: 'ready',
      value: { mounts: [{ target: `/cvmfs/${FQRN}`, source: host.mountpoint, flags: 4096 }, { target: `/cvmfs/${FQRN}`, flags: 4096 | 32 | 1 | 2 | 4 }] },
    });
    expect(await agent!.call('isolate', { container_id: id('c'), pid: 4711 })).toEqual(done);
    expect(await agent!.call('update', { container_id: id('c'), resources: [{ name: 'cpus', type: 'SCALAR', scalar: { value: 2 } }], limits: [{ name: 'cpus', value: { value: 4 } }] })).toEqual(done);
    expect(await agent!.call('usage', { container_id: id('c') })).toMatchObject({ kind: 'ready', value: { disk_statistics: [{ persistence: { id: `cvmfs:${FQRN}` } }] } });
    await until(() => running!.service.provisioner.world.state.isolated.all()[0]?.pid === 4711);
    expect(await agent!.call('status', { container_id: id('c') })).toMatchObject({ value: { container_id: { value: 'c' }, executor_pid: 4711 } });
    expect(await prepare(['pod'])).toEqual({ kind: 'ready', value: null });
    expect(await prepare(['pod', 'task'], containerConfig({ rootfs: rootfsOf('pod', 'task') }))).toEqual({ kind: 'ready', value: null });
    expect(remembered()).toEqual(['c', 'pod', 'pod/task']);
    expect(holders()).toBe(1);
    for (const names of [['pod', 'task'], ['pod'], ['c'], ['never-prepared']]) expect(await cleanup(...names)).toEqual(done);
    expect(remembered()).toEqual([]);
  });

  it('fails a launch in the words of the service', async () => {
    await start();
    await load();
    expect(await prepare(['c'], containerConfig({}, 'other.example.org'))).toEqual({
      kind: 'failed',
      text: 'CVMFS_REPOSITORIES: containers on this agent may not have the repository other.example.org; ask its operator to add it to isolator.allowed_repositories, or leave it out',
    });
    expect(await cleanup('c')).toEqual(done);
  });

  it('without a service the agent starts, and containers run and end, but for those that ask for /cvmfs', async () => {
    await load();
    expect(await recover([['old']], [['orphan']])).toEqual(done);
    expect(await prepare(['plain'])).toEqual({ kind: 'ready', value: null });
    expect(await prepare(['asks'], containerConfig({}, FQRN))).toEqual({ kind: 'failed', text: expect.stringMatching(/^the container asks for repositories \(CVMFS_REPOSITORIES\), and the mesos-cvmfs service does not answer at unix:/) });
    const label = { labels: [{ key: 'CVMFS_REPOSITORIES', value: FQRN }] };
    expect(await prepare(['labelled'], containerConfig({ executor_info: { executor_id: { value: 'e' }, labels: label } }))).toMatchObject({ kind: 'failed' });
    expect(await agent!.call('usage', { container_id: id('plain') })).toEqual(done);
    for (const name of ['plain', 'asks', 'labelled']) expect(await cleanup(name)).toEqual(done);
    expect(agent!.log).toMatch(/is told later which containers live/);
  });

  it('a service that comes back is told what it missed: launches with their images, and ends', async () => {
    await start();
    await load();
    await recover([]);
    for (const name of ['ends', 'stays']) await prepare([name], containerConfig({ rootfs: rootfsOf(name) }));
    await stop();
    expect(await cleanup('ends')).toEqual(done);
    expect(await prepare(['late'], containerConfig({ rootfs: rootfsOf('late') }))).toEqual({ kind: 'ready', value: null });
    await start();
    expect(remembered()).toEqual(['ends', 'stays']);
    await until(() => remembered().join() === 'late,stays');
    await until(() => holders() === 2);
    // And it works as before.
    expect(await prepare(['asks'], containerConfig({}, FQRN))).toMatchObject({ kind: 'ready', value: { mounts: [{ source: host.mountpoint }, {}] } });
    expect(await cleanup('late')).toEqual(done);
    expect(remembered()).toEqual(['asks', 'stays']);
    await until(() => holders() === 1);
  });

  it('an agent that was killed says after its start what lives, and what does not is forgotten', async () => {
    await start();
    await load();
    for (const name of ['alive', 'orphan', 'gone']) await prepare([name], containerConfig({ rootfs: rootfsOf(name) }));
    await agent!.kill();
    await load();
    expect(await recover([['alive']], [['orphan']])).toEqual(done);
    expect(remembered()).toEqual(['alive', 'orphan']);
    expect(await cleanup('orphan')).toEqual(done);
    await until(() => holders() === 1);
  });

  it('tells the agent of a container whose file system is dead', async () => {
    await start({ lookMs: 100, watchMs: 300 });
    await load();
    await prepare(['c'], containerConfig({ rootfs: rootfsOf('c') }));
    await prepare(['other']);
    const { world } = running!.service.provisioner;
    const answers = world.helpers.run.bind(world.helpers);
    world.helpers.run = (operation, timeoutMs) => (operation.kind === 'look' ? Promise.resolve(0) : answers(operation, timeoutMs));
    expect(await agent!.call('watch', { container_id: id('c') })).toMatchObject({ kind: 'ready', value: { reason: 'REASON_CONTAINER_LIMITATION', message: expect.stringMatching(/is dead/) } });
    expect(await agent!.call('watch', { container_id: id('other') })).toEqual({ kind: 'pending' });
  });

  it('a C++ client reads what the service writes, and its refusals', async () => {
    await start();
    await load();
    const run = { id: 'r', sequence: '1' };
    expect(await agent!.call('Prepare', { run, container_id: id('a', 'b'), container_config: containerConfig({ rootfs: rootfsOf('a', 'b') }) })).toEqual(done);
    expect(await agent!.call('Prepare', { run, container_id: id('c'), container_config: containerConfig({}, FQRN) })).toMatchObject({ kind: 'ready', value: { launch_info: { mounts: [{}, {}] } } });
    expect(await agent!.call('Prepare', { container_id: id('c'), container_config: containerConfig() })).toEqual({ kind: 'failed', text: expect.stringMatching(/^3 IsolatorPrepareRequest\.run: is required and absent/) });
    expect(await agent!.call('Prepare', { run, container_id: id('..'), container_config: containerConfig() })).toMatchObject({ text: expect.stringMatching(/^3 container id "\.\." cannot be used/) });
    expect(await agent!.call('Usage', { container_id: id('c') })).toMatchObject({ value: { repositories: [{ repository: FQRN, path: `/cvmfs/${FQRN}`, sharing: 2 }] } });
    expect(await agent!.call('Recover', { run: { id: 'r', sequence: '2' }, launched: [{ container_id: id('c') }] })).toEqual({ kind: 'ready', value: { forgotten: [{ value: 'b', parent: { value: 'a' } }] } });
    expect(await agent!.call('Cleanup', { container_id: id('c') })).toEqual({ kind: 'ready', value: { known: true } });
    expect(await agent!.call('Cleanup', { container_id: id('c') })).toEqual(done);
  });

  it('refuses a parameter that it does not know, so that the agent does not start with it', async () => {
    for (const [key, value] of [['sokcet', 'unix:///x'], ['timeout', 'soon'], ['timeout', '-1secs']] as const) {
      expect(await ModuleHost.load(host.listen, { [key]: value })).toMatchObject({ host: null, said: expect.stringMatching(/org_mesos_cvmfs_Isolator takes socket, timeout and prepare_timeout/) });
    }
  });
});
