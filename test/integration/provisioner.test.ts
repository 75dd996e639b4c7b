/** The service as an agent sees it, over gRPC, with real overlay and bind mounts. Needs root. */
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { Client, credentials, status } from '@grpc/grpc-js';
import { Failure } from '../../src/error';
import type { ContainerID } from '../../provisioner/grpc/generated/messages.generated';
import { libc, MS_BIND } from '../../src/native/libc';
import type { Host, Running } from '../support/provisioner/service';
import { CALL, FQRN, cvmfsImage, makeHost, startOn } from '../support/provisioner/service';

const describeAsRoot = process.geteuid?.() === 0 ? describe : describe.skip;

async function failureOf(work: Promise<unknown>): Promise<Failure> {
  try {
    await work;
  } catch (err) {
    if (err instanceof Failure) return err;
    throw err;
  }
  throw new Error('it did not fail');
}

describeAsRoot('provisioner service (needs root)', () => {
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

  const provision = (id: string, extra: object = {}) => running.provisioner.Provision({ container_id: { value: id }, image: cvmfsImage('a'), ...extra }, CALL);
  const destroy = (id: string) => running.provisioner.Destroy({ container_id: { value: id } }, CALL);

  it('provisions a writable overlay with the image below and its own directory above', async () => {
    const made = await provision('c1');
    expect(made.rootfs).toMatch(new RegExp(`^${host.containers}/c1/backends/overlay/rootfses/[0-9a-f-]{36}$`));
    const uuid = path.basename(made.rootfs!);
    expect(made.ephemeral_volumes).toEqual(['upperdir', 'workdir'].map((dir) => `${host.containers}/c1/backends/overlay/scratch/${uuid}/${dir}`));
    expect(made.docker_manifest?.config).toBeDefined();
    expect(made.image).toMatchObject({ repository: FQRN, path: '/images/a', revision: '1' });
    expect(made.image?.digest).toMatch(/^sha256:/);

    expect(fs.readFileSync(path.join(made.rootfs!, 'etc/image'), 'utf8')).toBe('a\n');
    fs.writeFileSync(path.join(made.rootfs!, 'etc/written'), 'x');
    expect(fs.existsSync(path.join(made.ephemeral_volumes[0]!, 'etc/written'))).toBe(true);
    // The root directory is the image's own, not that of the upper directory.
    const { mode, uid, gid } = fs.statSync(made.rootfs!);
    expect([mode & 0o7777, uid, gid]).toEqual([0o751, 7, 8]);
    const mount = fs.readFileSync('/proc/self/mountinfo', 'latin1').split('\n').find((line) => line.includes(` ${made.rootfs} `));
    expect(mount).toMatch(/ shared:\d+/);
  });

  it('provisions a read-only bind in which set-user-id programs work', async () => {
    const made = await provision('c1', { backend: 'bind' });
    expect(made.ephemeral_volumes).toEqual([]);
    expect(fs.readFileSync(path.join(made.rootfs!, 'etc/image'), 'utf8')).toBe('a\n');
    expect(() => fs.writeFileSync(path.join(made.rootfs!, 'x'), '')).toThrow(/EROFS/);
    const options = fs.readFileSync('/proc/self/mountinfo', 'latin1').split('\n').find((line) => line.includes(` ${made.rootfs} `))!.split(' ')[5];
    expect(options).toContain('nodev');
    expect(options).not.toContain('nosuid');
    await destroy('c1');
    expect(host.mounts()).toEqual([]);
  });

  it('mounts for containers whose ids overlay would split its options at', async () => {
    for (const id of ['a,b:c', 'back\\slash', 'blank and é', 'x,workdir=y']) {
      const made = await provision(id);
      fs.writeFileSync(path.join(made.rootfs!, 'written'), 'x');
      expect(fs.existsSync(path.join(made.ephemeral_volumes[0]!, 'written'))).toBe(true);
      expect(await destroy(id)).toEqual({ destroyed: true });
    }
    const deep = Array.from({ length: 31 }, (_, n) => `${String(n).padStart(2, '0')}3456789-0123-0123-0123-012345678901`).reduce<ContainerID | undefined>((parent, value) => ({ value, ...(parent === undefined ? {} : { parent }) }), undefined)!;
    const made = await running.provisioner.Provision({ container_id: deep, image: cvmfsImage('a') }, CALL);
    expect(fs.readFileSync(path.join(made.rootfs!, 'etc/image'), 'utf8')).toBe('a\n');
    expect(await running.provisioner.Destroy({ container_id: deep }, CALL)).toEqual({ destroyed: true });
    expect(host.mounts()).toEqual([]);
    expect(host.directories()).toEqual([]);
  });

  it('keeps inode numbers within 32 bits where the repository is mounted so', async () => {
    await running.stop();
    running = await startOn(host, { inodeBits: () => 32 });
    // The kernel does not show the option when it is its own default, so what it was given is looked at.
    const run = jest.spyOn(running.service.provisioner.world.helpers, 'run');
    await provision('c1');
    expect(run).toHaveBeenCalledWith(expect.objectContaining({ kind: 'overlay', xinoOff: true }), expect.anything());
  });

  it('refuses bind for an image without the directories that a container needs, and names overlay as the cure', async () => {
    const failure = await failureOf(provision('c1', { image: cvmfsImage('bare'), backend: 'bind' }));
    expect(failure.code).toBe('FAILED_PRECONDITION');
    expect(failure.message).toMatch(/\/proc, \/sys, \/dev, \/tmp/);
    expect(failure.message).toContain('overlay');
    expect(host.directories()).toEqual([]);
  });

  it('makes a new rootfs on each call, and destroys all of them at once', async () => {
    const [one, two] = [await provision('c1'), await provision('c1', { image: cvmfsImage('b') })];
    expect(one.rootfs).not.toBe(two.rootfs);
    expect(host.mounts().sort()).toEqual([one.rootfs, two.rootfs].sort());
    expect(await destroy('c1')).toEqual({ destroyed: true });
    expect(host.mounts()).toEqual([]);
    expect(host.directories()).toEqual([]);
    expect(await destroy('c1')).toEqual({ destroyed: false });
  });

  it('returns the first result to a call with the same idempotency key, also while the first is under way', async () => {
    const [one, two] = await Promise.all([provision('c1', { idempotency_key: 'k' }), provision('c1', { idempotency_key: 'k' })]);
    expect(two).toEqual(one);
    expect(await provision('c1', { idempotency_key: 'k' })).toEqual(one);
    expect(host.mounts()).toHaveLength(1);
    // The key belongs to the container.
    expect((await provision('c2', { idempotency_key: 'k' })).rootfs).not.toBe(one.rootfs);
    expect((await failureOf(provision('c1', { idempotency_key: 'k', image: cvmfsImage('b') }))).code).toBe('INVALID_ARGUMENT');
    await destroy('c1');
    expect((await provision('c1', { idempotency_key: 'k', image: cvmfsImage('b') })).rootfs).not.toBe(one.rootfs);
  });

  it('destroys nested containers with their parent, and a parent that has no rootfs of its own', async () => {
    const child = { value: 'child', parent: { value: 'root' } };
    const made = await running.provisioner.Provision({ container_id: child, image: cvmfsImage('a') }, CALL);
    expect(made.rootfs).toContain('/containers/root/containers/child/backends/');
    await running.provisioner.Provision({ container_id: { value: 'grandchild', parent: child }, image: cvmfsImage('b') }, CALL);
    expect(await destroy('root')).toEqual({ destroyed: true });
    expect(host.mounts()).toEqual([]);
    expect(host.directories()).toEqual([]);
  });

  it('joins concurrent destroys', async () => {
    await provision('c1');
    expect(await Promise.all([destroy('c1'), destroy('c1'), destroy('c1')])).toEqual([{ destroyed: true }, { destroyed: true }, { destroyed: true }]);
  });

  it('destroys at once what still waits for the network, and leaves nothing', async () => {
    let online = (): void => undefined;
    running.repository.network = new Promise((resolve) => (online = resolve));
    const waiting = failureOf(provision('c1'));
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await destroy('c1')).toEqual({ destroyed: true });
    expect((await waiting).code).toBe('CANCELLED');
    online();
    expect(host.mounts()).toEqual([]);
    expect(host.directories()).toEqual([]);
  });

  it('keeps to the deadline of a caller, and undoes what it had begun', async () => {
    running.repository.network = new Promise(() => undefined);
    const failure = await failureOf(running.provisioner.Provision({ container_id: { value: 'c1' }, image: cvmfsImage('a') }, { timeoutMs: 200 }));
    expect(failure.code).toBe('DEADLINE_EXCEEDED');
    expect(host.directories()).toEqual([]);
  });

  it('destroys although a prune waits behind a provision that waits for the network', async () => {
    await provision('old');
    running.repository.network = new Promise(() => undefined);
    const stuck = failureOf(running.provisioner.Provision({ container_id: { value: 'new' }, image: cvmfsImage('b') }, { timeoutMs: 1500 }));
    const pruned = running.provisioner.PruneImages({ excluded_images: [] }, CALL);
    expect(await destroy('old')).toEqual({ destroyed: true });
    await pruned;
    await stuck;
  });

  it.each([
    [{ value: '' }, 'INVALID_ARGUMENT'],
    [{ value: '..' }, 'INVALID_ARGUMENT'],
    [{ value: 'a/b' }, 'INVALID_ARGUMENT'],
    [{ value: 'x'.repeat(256) }, 'INVALID_ARGUMENT'],
  ])('refuses the container id %j', async (containerId, code) => {
    expect((await failureOf(running.provisioner.Provision({ container_id: containerId, image: cvmfsImage('a') }, CALL))).code).toBe(code);
    expect((await failureOf(running.provisioner.Destroy({ container_id: containerId }, CALL))).code).toBe(code);
  });

  it('refuses unknown things with a code and a text that says what was expected', async () => {
    expect((await failureOf(provision('c1', { image: { type: 'APPC', appc: { name: 'x' } } }))).code).toBe('UNIMPLEMENTED');
    expect((await failureOf(provision('c1', { backend: 'copy' }))).message).toContain('overlay, bind');
    expect((await failureOf(provision('c1', { image: cvmfsImage('none') }))).code).toBe('NOT_FOUND');
    expect((await failureOf(provision('c1', { idempotency_key: 'x'.repeat(129) }))).code).toBe('INVALID_ARGUMENT');
    expect((await failureOf(provision('c1', { idempotency_key: 'x'.repeat(5_000_000) }))).code).toBe('RESOURCE_EXHAUSTED');
    expect(host.directories()).toEqual([]);
  });

  it('refuses an image without a type, which a decoder would take for APPC', async () => {
    const client = new Client(host.listen, credentials.createInsecure());
    // container_id {value: "c"}, image {}
    const bytes = Buffer.from('0a030a01631200', 'hex');
    const code = await new Promise((resolve) => {
      client.makeUnaryRequest('/mesos.cvmfs.v1.Provisioner/Provision', (given: Buffer) => given, (answer) => answer, bytes, (err) => resolve(err?.code));
    });
    client.close();
    expect(code).toBe(status.INVALID_ARGUMENT);
  });

  it('answers the health service and reflection', async () => {
    const client = new Client(host.listen, credentials.createInsecure());
    const ask = (method: string, bytes: Buffer): Promise<Buffer> =>
      new Promise((resolve, reject) => {
        client.makeUnaryRequest(method, (given: Buffer) => given, (answer) => answer, bytes, (err, answer) => (err === null ? resolve(answer!) : reject(err)));
      });
    const service = Buffer.from('mesos.cvmfs.v1.Provisioner');
    // HealthCheckRequest {service}, HealthCheckResponse {status: SERVING}
    expect(await ask('/grpc.health.v1.Health/Check', Buffer.concat([Buffer.from([0x0a, service.length]), service]))).toEqual(Buffer.from([0x08, 1]));
    const listed = await new Promise<Buffer>((resolve, reject) => {
      const stream = client.makeBidiStreamRequest('/grpc.reflection.v1.ServerReflection/ServerReflectionInfo', (given: Buffer) => given, (answer) => answer);
      stream.on('data', resolve).on('error', reject);
      stream.write(Buffer.from([0x3a, 0]));
      stream.end();
    });
    expect(listed.toString('latin1')).toContain('mesos.cvmfs.v1.Provisioner');
    client.close();
  });

  it('refuses a view that is not where it was, and asks to look at the mount again', async () => {
    // A symbolic link that a publish swaps in between resolve and mount, to the root of the host.
    const { view } = await running.repository.makeView(await running.repository.snapshot(), Buffer.from('/images/a'));
    const views = path.join(host.mountpoint, '.cvmfs-view');
    fs.renameSync(path.join(views, view), path.join(views, 'away'));
    fs.symlinkSync('/', path.join(views, view));
    jest.spyOn(running.repository, 'walk').mockResolvedValue({ path: Buffer.from('/images/a'), type: 'directory', mode: 0, uid: 0, gid: 0, size: 0, mtime: 0, catalog: { hash: view, path: Buffer.from('/images/a') } });
    const failure = await failureOf(provision('c1'));
    expect(failure.message).toMatch(/ELOOP|ENOTDIR/);
    expect(running.mounts.rechecks).toBe(1);

    // Another file system mounted over the directory.
    fs.unlinkSync(path.join(views, view));
    fs.mkdirSync(path.join(views, view));
    libc().mount('/etc', path.join(views, view), null, MS_BIND, null);
    expect((await failureOf(provision('c1'))).code).toBe('FAILED_PRECONDITION');
    expect(host.mounts()).toEqual([]);
    expect(host.directories()).toEqual([]);
  });

  it('holds the view for each rootfs and for the image, and releases both in their time', async () => {
    const made = await provision('c1');
    const uuid = path.basename(made.rootfs!);
    const holders = (): Set<string> => running.repository.holds.get([...running.repository.holds.keys()][0]!)!;
    expect(holders()).toContain(uuid);
    expect(holders().size).toBe(2);
    await destroy('c1');
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(holders()).not.toContain(uuid);
    expect(holders().size).toBe(1);

    await provision('c2', { image: cvmfsImage('b') });
    expect(await running.provisioner.PruneImages({ excluded_images: [cvmfsImage('a')] }, CALL)).toEqual({ freed_bytes: '0', pruned_images: '0' });
    expect(await running.provisioner.PruneImages({ excluded_images: [] }, CALL)).toEqual({ freed_bytes: '1000', pruned_images: '1' });
    expect(holders().size).toBe(0);
  });

  it('keeps a pinned image from being pruned until it is unpinned', async () => {
    const pinned = await running.admin.Pin({ image: cvmfsImage('a') }, CALL);
    expect(pinned).toMatchObject({ objects: '3', bytes: '300' });
    expect([...running.repository.pins]).toEqual([expect.stringMatching(/^image\//)]);
    expect((await running.admin.Ps({}, CALL)).pinned.map(({ image }) => image?.digest)).toEqual([pinned.image?.digest]);
    expect((await running.provisioner.PruneImages({ excluded_images: [] }, CALL)).pruned_images).toBe('0');
    expect(await running.admin.Unpin({ digest: pinned.image!.digest! }, CALL)).toEqual({ unpinned: true });
    expect(await running.admin.Unpin({ digest: pinned.image!.digest! }, CALL)).toEqual({ unpinned: false });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(running.repository.holds.get([...running.repository.holds.keys()][0]!)!.size).toBe(0);
    expect(running.repository.pins.size).toBe(0);
  });

  it('answers status, ps and resolve', async () => {
    await provision('c1');
    await running.provisioner.Provision({ container_id: { value: 'n', parent: { value: 'c1' } }, image: cvmfsImage('b') }, CALL);
    const status = await running.admin.Status({}, CALL);
    expect(status).toMatchObject({ version: '0.0.0-test', pid: process.pid, ready: true, containers: 2, rootfses: 2, http: running.service.http });
    expect(status.repositories).toEqual([{ repository: FQRN, mountpoint: host.mountpoint, state: 'REPOSITORY_STATE_MOUNTED', revision: '1', root_hash: '1'.repeat(40) }]);
    const ps = await running.admin.Ps({}, CALL);
    expect(ps.containers.map(({ container_id: id }) => [id?.value, id?.parent?.value])).toEqual([['c1', undefined], ['n', 'c1']]);
    expect((await running.admin.Resolve({ image: cvmfsImage('a') }, CALL)).image).toMatchObject({ path: '/images/a' });
  });

  it('serves metrics, health and readiness over HTTP, and nothing else', async () => {
    await provision('c1');
    await failureOf(provision('c1', { image: cvmfsImage('none') }));
    const get = (at: string, init?: RequestInit): Promise<Response> => fetch(`http://${running.service.http}${at}`, init);
    const metrics = await (await get('/metrics')).text();
    expect(metrics).toContain('mesos_cvmfs_calls_total{method="Provision",code="NOT_FOUND"} 1');
    expect(metrics).toContain('mesos_cvmfs_rootfses_mounted 1');
    expect(metrics).toContain('mesos_cvmfs_provision_duration_seconds_count{backend="overlay",result="OK"} 1');
    expect((await get('/healthz')).status).toBe(200);
    expect((await get('/readyz')).status).toBe(200);
    running.mounts.setState(FQRN, { kind: 'failed', failure: new Failure('WHITELIST_EXPIRED', 'the whitelist has expired'), retryAtMs: 0 });
    const notReady = await get('/readyz');
    expect(notReady.status).toBe(503);
    expect(await notReady.json()).toEqual({ ready: false, reasons: [`repository ${FQRN} is not mounted: the whitelist has expired`] });
    expect((await get('/')).status).toBe(404);
    expect((await get('/metrics', { method: 'POST' })).status).toBe(405);
  });

  it('listens on a socket that root alone may open, and allows one service per state directory', async () => {
    const socket = host.listen.slice('unix://'.length);
    expect(fs.statSync(socket).mode & 0o777).toBe(0o600);
    const failure = await failureOf(startOn(host));
    expect(failure.code).toBe('FAILED_PRECONDITION');
    expect(failure.message).toContain(`pid ${process.pid}`);
  });

  it('starts over a socket that a killed service has left behind', async () => {
    await running.stop();
    const socket = host.listen.slice('unix://'.length);
    const program = `require('net').createServer().listen(${JSON.stringify(socket)}, () => process.kill(process.pid, 'SIGKILL'))`;
    expect(spawnSync(process.execPath, ['-e', program]).signal).toBe('SIGKILL');
    expect(fs.statSync(socket).isSocket()).toBe(true);
    running = await startOn(host);
    await provision('c1');
  });

  it('takes a hundred concurrent provisions of one image', async () => {
    const all = await Promise.all(Array.from({ length: 100 }, (_, n) => provision(`c${n}`)));
    expect(new Set(all.map(({ rootfs }) => rootfs)).size).toBe(100);
    expect(host.mounts()).toHaveLength(100);
    await Promise.all(all.map((_, n) => destroy(`c${n}`)));
    expect(host.mounts()).toEqual([]);
    expect(host.directories()).toEqual([]);
  });

  it('keeps its mounts when the service stops, and knows them when it starts again', async () => {
    const made = await provision('c1');
    await running.stop();
    expect(fs.readFileSync(path.join(made.rootfs!, 'etc/image'), 'utf8')).toBe('a\n');
    running = await startOn(host);
    const recovered = await running.provisioner.Recover({ known_container_ids: [{ value: 'c1' }] }, CALL);
    expect(recovered).toEqual({ destroyed: [], quarantined: [] });
    expect(fs.readFileSync(path.join(made.rootfs!, 'etc/image'), 'utf8')).toBe('a\n');
    expect(await destroy('c1')).toEqual({ destroyed: true });
  });
});
