/** Recover: what the agent knows is kept, what it does not know is gone, and trouble with one stops no other. Needs root. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import Database from 'better-sqlite3';
import { MNT_DETACH, MS_BIND, MS_PRIVATE, libc } from '../../src/native/libc';
import type { Host, Running } from '../support/provisioner/service';
import { CALL, cvmfsImage, makeHost, startOn } from '../support/provisioner/service';
import type { ServiceOptions } from '../../provisioner/service';

const describeAsRoot = process.geteuid?.() === 0 ? describe : describe.skip;

describeAsRoot('Recover (needs root)', () => {
  let host: Host;
  let running: Running;

  beforeEach(async () => {
    host = makeHost();
    running = await startOn(host);
  });

  afterEach(async () => {
    await running.stop();
    host.remove();
  });

  const provision = async (id: string, extra: object = {}): Promise<string> =>
    (await running.provisioner.Provision({ container_id: { value: id }, image: cvmfsImage('a'), ...extra }, CALL)).rootfs!;
  const recover = (...known: object[]) => running.provisioner.Recover({ known_container_ids: known as never }, CALL);
  const image = (rootfs: string): string => fs.readFileSync(path.join(rootfs, 'etc/image'), 'utf8');

  async function restart(options: Partial<ServiceOptions> = {}, between: () => void = () => undefined): Promise<void> {
    await running.stop();
    between();
    running = await startOn(host, options);
  }

  /** What a reboot leaves: files without mounts, another boot id. */
  async function reboot(bootId: string): Promise<void> {
    await restart({ world: { bootId } }, () => host.mounts().reverse().forEach((at) => libc().umount2(at, MNT_DETACH)));
  }

  it('destroys what is unknown with all that is nested in it, and says so', async () => {
    const kept = await provision('kept');
    await provision('gone');
    await running.provisioner.Provision({ container_id: { value: 'nested', parent: { value: 'gone' } }, image: cvmfsImage('b') }, CALL);
    await restart();
    const { destroyed, quarantined } = await recover({ value: 'kept' });
    expect(destroyed.map(({ value, parent }) => [value, parent?.value])).toEqual(expect.arrayContaining([['gone', undefined], ['nested', 'gone']]));
    expect(quarantined).toEqual([]);
    expect(host.mounts()).toEqual([kept]);
    expect(host.directories()).toEqual(['kept']);
  });

  it('keeps the parent of a known container, though it is not named', async () => {
    const made = await running.provisioner.Provision({ container_id: { value: 'nested', parent: { value: 'p' } }, image: cvmfsImage('b') }, CALL);
    await recover({ value: 'nested', parent: { value: 'p' } });
    expect(host.mounts()).toEqual([made.rootfs]);
  });

  it('changes nothing of a known container, when repeated too', async () => {
    const rootfs = await provision('c');
    const before = fs.readFileSync('/proc/self/mountinfo', 'latin1').split('\n').filter((line) => line.includes(rootfs));
    await restart();
    expect(await recover({ value: 'c' })).toEqual({ destroyed: [], quarantined: [] });
    expect(await recover({ value: 'c' })).toEqual({ destroyed: [], quarantined: [] });
    expect(fs.readFileSync('/proc/self/mountinfo', 'latin1').split('\n').filter((line) => line.includes(rootfs))).toEqual(before);
  });

  it('sets a known container aside whose mount is gone, keeps the others, and destroys it when asked', async () => {
    const [lost, kept] = [await provision('lost'), await provision('kept')];
    libc().umount2(lost, MNT_DETACH);
    const { quarantined } = await recover({ value: 'lost' }, { value: 'kept' });
    expect(quarantined).toEqual([{ container_id: { value: 'lost' }, reason: expect.stringMatching(/mount of rootfs .* is gone; destroy the container/) }]);
    expect(image(kept)).toBe('a\n');
    expect((await running.admin.Ps({}, CALL)).quarantined).toHaveLength(1);
    expect((await running.admin.Status({}, CALL)).warnings.join()).toContain('container lost is set aside');
    expect(await running.provisioner.Destroy({ container_id: { value: 'lost' } }, CALL)).toEqual({ destroyed: true });
    expect(host.directories()).toEqual(['kept']);
  });

  it('sets a container aside on whose rootfs something else is mounted, and destroys both mounts', async () => {
    const rootfs = await provision('c', { backend: 'overlay' });
    libc().mount('tmpfs', rootfs, 'tmpfs', 0, null);
    const { quarantined } = await recover({ value: 'c' });
    expect(quarantined[0]!.reason).toContain('something else (tmpfs) is mounted');
    await running.provisioner.Destroy({ container_id: { value: 'c' } }, CALL);
    expect(host.mounts()).toEqual([]);
  });

  it('builds known containers again after a reboot, with what they had written, and drops the others', async () => {
    const [kept, bound] = [await provision('kept'), await provision('bound', { backend: 'bind' })];
    await provision('gone');
    fs.writeFileSync(path.join(kept, 'written'), 'before the reboot');
    await reboot('another-boot');
    expect(host.mounts()).toEqual([]);
    const { destroyed, quarantined } = await recover({ value: 'kept' }, { value: 'bound' });
    expect(destroyed).toEqual([{ value: 'gone' }]);
    expect(quarantined).toEqual([]);
    expect(fs.readFileSync(path.join(kept, 'written'), 'utf8')).toBe('before the reboot');
    expect(image(kept)).toBe('a\n');
    expect(image(bound)).toBe('a\n');
    expect(running.repository.holds.size).toBeGreaterThan(0);
  });

  it('drops everything after a reboot when the agent knows nothing', async () => {
    await provision('a');
    await provision('b');
    await reboot('another-boot');
    expect((await recover()).destroyed).toHaveLength(2);
    expect(host.directories()).toEqual([]);
  });

  it('sets aside what cannot be built again after a reboot, and builds it at a later Recover', async () => {
    const rootfs = await provision('c');
    await reboot('another-boot');
    running.repository.failRestore = true;
    expect((await recover({ value: 'c' })).quarantined[0]!.reason).toContain('is on no server');
    expect(host.mounts()).toEqual([]);
    running.repository.failRestore = false;
    expect(await recover({ value: 'c' })).toEqual({ destroyed: [], quarantined: [] });
    expect(image(rootfs)).toBe('a\n');
  });

  it('does not return a rootfs of an earlier boot for its idempotency key', async () => {
    await provision('c', { idempotency_key: 'k' });
    await reboot('another-boot');
    await expect(provision('c', { idempotency_key: 'k' })).rejects.toMatchObject({ code: 'FAILED_PRECONDITION', message: expect.stringContaining('restarted') });
  });

  it('sets a damaged record aside, recovers the others, and removes it with its container', async () => {
    const kept = await provision('kept');
    await provision('damaged');
    await restart({}, () => {
      const db = new Database(path.join(host.dir, 'state/state.db'));
      db.exec("UPDATE rootfs SET view = '../../../../etc' WHERE container = 'damaged'");
      db.close();
    });
    const { quarantined } = await recover({ value: 'kept' }, { value: 'damaged' });
    expect(quarantined).toEqual([{ container_id: { value: 'damaged' }, reason: expect.stringContaining('makes no sense') }]);
    expect(host.mounts()).toHaveLength(2);
    expect(image(kept)).toBe('a\n');
    expect(await running.provisioner.Destroy({ container_id: { value: 'damaged' } }, CALL)).toEqual({ destroyed: true });
    expect(host.mounts()).toEqual([kept]);
    expect(host.directories()).toEqual(['kept']);
  });

  it('removes directories and mounts that no record speaks of, also those with odd names, and leaves stray files', async () => {
    const orphan = path.join(host.containers, 'orphan, with: odd\\name/backends/overlay/rootfses/x');
    fs.mkdirSync(path.join(orphan), { recursive: true });
    libc().mount(host.mountpoint, orphan, null, MS_BIND, null);
    // Where the root mount is shared, as systemd makes it, the next mount would show at the original too.
    libc().mount('none', orphan, null, MS_PRIVATE, null);
    libc().mount('tmpfs', path.join(orphan, '.cvmfs-view'), 'tmpfs', 0, null);
    fs.mkdirSync(path.join(host.containers, 'p/containers/n/backends'), { recursive: true });
    fs.writeFileSync(path.join(host.containers, 'README'), 'not ours');
    const kept = await provision('kept');
    await recover({ value: 'kept' });
    expect(host.mounts()).toEqual([kept]);
    expect(host.directories().sort()).toEqual(['README', 'kept']);
    // What was mounted there is still what it was.
    expect(fs.existsSync(path.join(host.mountpoint, '.cvmfs-view'))).toBe(true);
  });

  it('leaves a known container alone when the database was moved away, and destroys it when asked', async () => {
    const rootfs = await provision('c');
    await provision('unknown');
    await restart({}, () => fs.readdirSync(path.join(host.dir, 'state')).filter((name) => name.startsWith('state.db')).forEach((name) => fs.rmSync(path.join(host.dir, 'state', name))));
    const { quarantined, destroyed } = await recover({ value: 'c' });
    expect(quarantined[0]!.reason).toContain('no record of it');
    expect(destroyed).toEqual([{ value: 'unknown' }]);
    expect(image(rootfs)).toBe('a\n');
    expect(await running.provisioner.Destroy({ container_id: { value: 'c' } }, CALL)).toEqual({ destroyed: true });
    expect(host.mounts()).toEqual([]);
    expect(host.directories()).toEqual([]);
  });

  it('does not fail when one container cannot be removed, and comes back to it', async () => {
    await provision('busy');
    const kept = await provision('kept');
    await restart({ limits: { janitorMs: 100 } });
    const run = jest.spyOn(running.service.provisioner.world.helpers, 'run');
    run.mockImplementationOnce(() => Promise.reject(new Error('EIO')));
    const { quarantined, destroyed } = await recover({ value: 'kept' });
    expect(destroyed).toEqual([]);
    expect(quarantined[0]).toEqual({ container_id: { value: 'busy' }, reason: expect.stringContaining('could not be removed yet') });
    run.mockRestore();
    for (let n = 0; n < 100 && host.mounts().length > 1; n++) await new Promise((resolve) => setTimeout(resolve, 50));
    expect(host.mounts()).toEqual([kept]);
  });


  it('tells a new file system server again what is held', async () => {
    await provision('c');
    const holds = running.repository.holds;
    await restart();
    expect(running.repository.holds).not.toBe(holds);
    for (let n = 0; n < 50 && (running.repository.holds.get([...holds.keys()][0]!)?.size ?? 0) < 2; n++) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(running.repository.holds).toEqual(holds);
  });

  it('stops although a view is still being restored', async () => {
    await provision('c');
    await restart();
    running.repository.network = new Promise(() => undefined);
    running.mounts.start();
    await running.stop();
    running = await startOn(host);
  });
});
