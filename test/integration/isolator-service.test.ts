/** The isolator's side of the service as an agent's module uses it: real database, mounts, sockets. */
import { execFileSync, fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { ISOLATOR_STEPS } from '../../isolator/service/isolation';
import { MNT_DETACH, libc } from '../../src/native/libc';
import { makeAgentRootfs } from '../support/isolator/agent-directories';
import type { RunningIsolator } from '../support/isolator/scene';
import { containerConfig, id, isolatorClient, isolatorConfig, run, startIsolatorOn } from '../support/isolator/scene';
import { unmountAllBelow, viewOf } from '../support/provisioner/directory-repository';
import type { Host } from '../support/provisioner/service';
import { CALL, FQRN, cvmfsImage, makeHost, startOn } from '../support/provisioner/service';
import { typescriptExecArgv } from '../support/typescript-process';

const VIEW = viewOf('/images/a');

describe('the isolator service', () => {
  let host: Host;
  let running: RunningIsolator | undefined;
  let child: ChildProcess | undefined;

  beforeEach(() => {
    host = makeHost();
  });
  afterEach(async () => {
    child?.kill('SIGKILL');
    await running?.stop();
    running = undefined;
    host.remove();
  });

  const start = async (options: Parameters<typeof startIsolatorOn>[1] = {}): Promise<RunningIsolator> => (running = await startIsolatorOn(host, options));
  const rootfsOf = (...names: string[]): string => makeAgentRootfs(host.dir, names, path.join(host.mountpoint, '.cvmfs-view', VIEW));
  const prepare = (names: string[], config = containerConfig(), of = run()) => running!.isolator.Prepare({ run: of, container_id: id(...names), container_config: config }, CALL);
  const cleanup = (...names: string[]) => running!.isolator.Cleanup({ container_id: id(...names) }, CALL);
  const recover = (alive: string[][], of = run(), more = {}) =>
    running!.isolator.Recover({ run: of, states: alive.map((names) => ({ container_id: id(...names), pid: '1', directory: '/sandbox', ephemeral_volumes: [] })), orphans: [], launched: [], ...more }, CALL);
  const holders = (): string[] => [...(running!.repository.holds.get(VIEW) ?? [])];
  const remembered = (): string[] => running!.service.provisioner.world.state.isolated.all().map(({ container }) => container).sort();
  /** Holds are given up behind the back of the call. */
  const until = async (what: () => boolean): Promise<void> => {
    for (let i = 0; i < 500 && !what(); i++) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(what()).toBe(true);
  };

  it('gives a container the repositories that it asks for, read-only, by mounts that the launch helper can make', async () => {
    await start();
    const root = path.join(host.dir, 'root');
    fs.mkdirSync(root);
    const { launch_info: launch } = await prepare(['c'], containerConfig({ rootfs: root }, FQRN));
    const target = `${root}/cvmfs/${FQRN}`;
    expect(launch).toEqual({ mounts: [{ target, source: host.mountpoint, flags: 4096 }, { target, flags: 4096 | 32 | 1 | 2 | 4 }] });
    const script = `mount --make-rslave / && mkdir -p ${target} && mount --bind ${host.mountpoint} ${target} && mount -o remount,bind,ro,nosuid,nodev ${target} && grep ' ${target} ' /proc/self/mountinfo && ! touch ${target}/x 2>/dev/null`;
    expect(execFileSync('unshare', ['-m', 'sh', '-c', script], { encoding: 'utf8', timeout: 10_000 })).toMatch(/ ro,nosuid,nodev/);
  });

  it('gives them to a container without an image at /cvmfs of the host, and nothing to one that does not ask or joins another', async () => {
    await start();
    expect((await prepare(['c'], containerConfig({}, FQRN))).launch_info?.mounts.map(({ target }) => target)).toEqual([`/cvmfs/${FQRN}`, `/cvmfs/${FQRN}`]);
    expect(await prepare(['d'])).toEqual({});
    expect(await prepare(['c', 'exec'], containerConfig({ container_class: 'DEBUG' }, FQRN))).toEqual({});
    expect(remembered()).toEqual(['c', 'c/exec', 'd']);
  });

  it('refuses in the words of the container’s author, and remembers nothing', async () => {
    await start();
    await expect(prepare(['c'], containerConfig({}, 'other.example.org'))).rejects.toMatchObject({
      code: 'PERMISSION_DENIED',
      message: 'CVMFS_REPOSITORIES: containers on this agent may not have the repository other.example.org; ask its operator to add it to isolator.allowed_repositories, or leave it out',
    });
    running!.repository.snapshot = () => Promise.reject(new Error('its server is gone'));
    await expect(prepare(['c'], containerConfig({}, FQRN))).rejects.toMatchObject({ code: 'FAILED_PRECONDITION', message: expect.stringMatching(new RegExp(`^/cvmfs/${FQRN}, which the container asks for \\(CVMFS_REPOSITORIES\\), cannot be had on this agent now: `)) });
    expect(await cleanup('c')).toEqual({ known: false });
    expect(remembered()).toEqual([]);
  });

  it('refuses an image whose /cvmfs is a link: the mount and its directories would land on the host', async () => {
    await start();
    for (const [name, target] of [['up', '/etc'], ['beside', 'usr']] as const) {
      const root = path.join(host.dir, name);
      fs.mkdirSync(root);
      fs.symlinkSync(target, path.join(root, 'cvmfs'));
      await expect(prepare(['c'], containerConfig({ rootfs: root }, FQRN))).rejects.toMatchObject({ code: 'FAILED_PRECONDITION', message: expect.stringMatching(/has a symbolic link on the path \/cvmfs/) });
    }
  });

  it('holds the view of an image from Prepare to Cleanup, of nested containers too, over a restart of the service', async () => {
    await start();
    await prepare(['pod']);
    await prepare(['pod', 'task'], containerConfig({ rootfs: rootfsOf('pod', 'task') }));
    expect(holders()).toHaveLength(1);
    const before = holders();
    await running!.stop();
    await start();
    running!.mounts.start();
    await until(() => holders().length > 0);
    expect(holders()).toEqual(before);
    expect(await cleanup('pod', 'task')).toEqual({ known: true });
    await until(() => holders().length === 0);
    expect(remembered()).toEqual(['pod']);
    expect(await cleanup('pod', 'task')).toEqual({ known: false });
    expect(await cleanup('pod')).toEqual({ known: true });
  });

  it('a repeated Prepare changes nothing, and the end of a pod ends what is nested in it', async () => {
    await start();
    const config = containerConfig({ rootfs: rootfsOf('pod', 'task') });
    await prepare(['pod']);
    await prepare(['pod', 'task'], config);
    const before = holders();
    await prepare(['pod', 'task'], config);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(holders()).toEqual(before);
    await cleanup('pod');
    await until(() => holders().length === 0);
    expect(remembered()).toEqual([]);
  });

  it('keeps images of living containers from PruneImages', async () => {
    await start();
    await running!.provisioner.Provision({ container_id: id('p'), image: cvmfsImage('a'), idempotency_key: '', backend: '' }, CALL);
    await running!.provisioner.Destroy({ container_id: id('p') }, CALL);
    await prepare(['c'], containerConfig({ rootfs: rootfsOf('c') }));
    const prune = () => running!.provisioner.PruneImages({ excluded_images: [] }, CALL);
    expect(await prune()).toMatchObject({ pruned_images: '0' });
    await cleanup('c');
    expect(await prune()).toMatchObject({ pruned_images: '1' });
  });

  it('Recover forgets what does not live, keeps orphans until their Cleanup, and learns what was started without it', async () => {
    await start();
    for (const name of ['alive', 'orphan', 'gone']) await prepare([name], containerConfig({ rootfs: rootfsOf(name) }), run('earlier'));
    rootfsOf('late');
    expect(holders()).toHaveLength(3);
    const answer = await recover([['alive'], ['never-told']], run(), { orphans: [id('orphan')], launched: [{ container_id: id('late'), container_config: containerConfig({ rootfs: rootfsOf('late') }) }] });
    expect(answer.forgotten).toEqual([id('gone')]);
    expect(remembered()).toEqual(['alive', 'late', 'never-told', 'orphan']);
    await until(() => holders().length === 3);
    expect((await recover([['alive'], ['never-told'], ['late'], ['orphan']])).forgotten).toEqual([]);
  });

  it('finds the image of a container that it was never told of in the mount table', async () => {
    await start();
    rootfsOf('old');
    await recover([['old']]);
    expect(holders()).toHaveLength(1);
  });

  it('forgets everything when the host was rebooted, or the isolator is switched off', async () => {
    for (const change of ['reboot', 'off']) {
      await start();
      await prepare(['c'], containerConfig({ rootfs: rootfsOf('c') }));
      if (change === 'reboot') running!.service.provisioner.world.state.isolated.keep('c', 'r', 0, 'an earlier boot');
      await running!.stop();
      running = undefined;
      if (change === 'off') {
        const off = await startOn(host);
        expect(off.service.provisioner.world.state.isolated.count()).toBe(0);
        await until(() => off.service.provisioner.world.state.releases().length === 0);
        await off.stop();
      }
      await start();
      expect(remembered()).toEqual([]);
      await until(() => holders().length === 0);
      await running!.stop();
      running = undefined;
      unmountAllBelow(path.join(host.dir, 'agent'));
    }
  });

  it('a Recover that comes late does not forget what was prepared after it was sent', async () => {
    await start();
    const late = run();
    await prepare(['new'], containerConfig(), run());
    expect((await recover([], late)).forgotten).toEqual([]);
    expect((await recover([], run())).forgotten).toEqual([id('new')]);
  });

  it('Cleanup does not wait for a Prepare that waits for a repository', async () => {
    await start();
    running!.repository.snapshot = () => new Promise(() => undefined);
    const waiting = prepare(['c'], containerConfig({}, FQRN));
    const refused = expect(waiting).rejects.toMatchObject({ message: expect.stringMatching(/is being cleaned up/) });
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await cleanup('c')).toEqual({ known: false });
    await refused;
  });

  it('says what was fetched and how many share it, and the pid that it was told', async () => {
    await start();
    let bytes = 1000;
    Object.assign(running!.repository, { raw: () => Promise.resolve({ transfer: { counters: { bytes } } }) });
    await prepare(['c'], containerConfig({}, FQRN));
    await prepare(['d'], containerConfig({ rootfs: rootfsOf('d') }));
    await running!.isolator.Isolate({ container_id: id('c'), pid: 4711 }, CALL);
    bytes = 1500;
    await new Promise((resolve) => setTimeout(resolve, 1100));
    expect(await running!.isolator.Usage({ container_id: id('c') }, CALL)).toMatchObject({
      statistics: { disk_statistics: [{ persistence: { id: `cvmfs:${FQRN}` }, used_bytes: '500' }] },
      repositories: [{ repository: FQRN, path: `/cvmfs/${FQRN}`, fetched_bytes: '500', sharing: 2 }],
    });
    expect(await running!.isolator.Status({ container_id: id('c') }, CALL)).toMatchObject({ status: { container_id: id('c'), executor_pid: 4711 } });
    expect((await running!.isolator.Usage({ container_id: id('unknown') }, CALL)).repositories).toEqual([]);
    const resources = [{ name: 'cpus', type: 'SCALAR' as const, scalar: { value: 1 } }];
    expect(await running!.isolator.Update({ container_id: id('c'), resources, limits: [{ name: 'cpus', value: { value: Infinity } }] }, CALL)).toEqual({});
  });

  it('Watch tells once of a container whose file system is dead, and ends with the service', async () => {
    await start({ lookMs: 50, watchMs: 200 });
    const rootfs = rootfsOf('c');
    await prepare(['c'], containerConfig({ rootfs }));
    expect((await running!.isolator.Watch({ limited: [] }, CALL)).limitations).toEqual([]);
    const { world } = running!.service.provisioner;
    const answers = world.helpers.run.bind(world.helpers);
    world.helpers.run = (operation, timeoutMs) => (operation.kind === 'look' ? Promise.resolve(0) : answers(operation, timeoutMs));
    await expect(prepare(['e'], containerConfig({ rootfs: rootfsOf('e') }))).rejects.toMatchObject({ code: 'FAILED_PRECONDITION', message: expect.stringMatching(/whose file system on this agent is dead/) });
    await until(() => remembered().length === 1);
    const { limitations } = await running!.isolator.Watch({ limited: [] }, CALL);
    expect(limitations).toEqual([{ container_id: id('c'), limitation: { reason: 'REASON_CONTAINER_LIMITATION', message: expect.stringMatching(/is dead/) } }]);
    expect((await running!.isolator.Watch({ limited: [id('c')] }, CALL)).limitations).toEqual([]);
    libc().umount2(rootfs, MNT_DETACH);
  });

  it('is offered on a socket of its own, where nothing else is', async () => {
    const socket = `unix://${host.dir}/isolator.sock`;
    await start({ more: `socket = "${socket}"` });
    expect(fs.statSync(`${host.dir}/isolator.sock`).mode & 0o777).toBe(0o600);
    const own = isolatorClient(socket);
    try {
      expect(await own.Cleanup({ container_id: id('c') }, CALL)).toEqual({ known: false });
    } finally {
      own.close();
    }
  });

  it.each(ISOLATOR_STEPS)('killed at %s, nothing is lost and nothing stays', async (step) => {
    const script = path.resolve(__dirname, '../support/isolator/serve-and-crash.ts');
    child = fork(script, [isolatorConfig(host), host.mountpoint], { execArgv: [...typescriptExecArgv], stdio: 'inherit' });
    const message = (): Promise<unknown> => new Promise((resolve, reject) => (child!.once('message', resolve), child!.once('exit', () => reject(new Error('the service ended')))));
    expect(await message()).toBe('ready');
    const client = isolatorClient(host.listen);
    const config = containerConfig({ rootfs: rootfsOf('c') });
    const order = { run: run(), container_id: id('c'), container_config: config };
    try {
      if (step === 'isolator-forgotten') await client.Prepare(order, CALL);
      const armed = message();
      child.send(step);
      expect(await armed).toBe('armed');
      const ended = new Promise((resolve) => child!.once('exit', resolve));
      await expect(step === 'isolator-forgotten' ? client.Cleanup({ container_id: id('c') }, CALL) : client.Prepare(order, CALL)).rejects.toMatchObject({ code: 'NETWORK' });
      await ended;
    } finally {
      client.close();
    }
    await start();
    running!.mounts.start();
    expect(remembered()).toEqual(step === 'isolator-recorded' || step === 'isolator-held' ? ['c'] : []);
    // The agent fails the launch and cleans up, whatever became of its call.
    await cleanup('c');
    await until(() => holders().length === 0 && running!.service.provisioner.world.state.releases().length === 0);
    await prepare(['c'], config);
    expect(holders()).toHaveLength(1);
    expect((await recover([])).forgotten).toEqual([id('c')]);
    await until(() => holders().length === 0);
  });
});
