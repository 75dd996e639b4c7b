/** A day of an operator: the service, images and containers as they are typed, with real mounts. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { createClient } from '../../provisioner/grpc/client';
import { loadContracts } from '../../provisioner/grpc/protos';
import { CliScene, FQRN } from '../support/cli-scene';
import type { Running } from '../support/cli-scene';
import { describeWithMounts } from '../support/test-host';

jest.setTimeout(180_000);

interface ImageJson {
  readonly reference: string;
  readonly repository: string;
  readonly path: string;
  readonly root_hash: string;
  readonly revision: number;
  readonly digest: string;
}

const IMAGE = `cvmfs://${FQRN}/images/a`;

describeWithMounts('the service', () => {
  let scene: CliScene;
  let web: Running & { readonly url: string };
  beforeAll(async () => {
    scene = new CliScene();
    await scene.create();
    const dirs = ['proc', 'sys', 'dev', 'tmp', 'etc'];
    scene.files({ ...Object.fromEntries(dirs.map((dir) => [`images/a/${dir}`, null])), 'images/a/etc/motd': 'hello', 'images/a/big': Buffer.alloc(100_000, 7), 'images/b c/x': 'x' });
    await scene.publish();
    web = await scene.serveRepository();
    scene.configure(web.url);
  });
  afterAll(() => scene.end());

  /** What a failure says as JSON; the service's own log comes before it. */
  const failure = async (...args: string[]): Promise<[number, string, string]> => {
    const { code, stderr } = await scene.run(...args, '--json');
    const { error } = JSON.parse(stderr.trimEnd().split('\n').pop()!) as { error: { code: string; message: string } };
    return [code, error.code, error.message];
  };

  describe('while it does not run', () => {
    it('commands that need it say how to start it', async () => {
      for (const words of [['ps'], ['destroy', 'a'], ['recover', '--none'], ['provision', IMAGE, '--container', 'a'], ['image', 'pin', IMAGE], ['image', 'pin', '--list']]) {
        expect(await failure(...words)).toEqual([7, 'NETWORK', expect.stringMatching(/^no service listens on unix:.*; start it with: mesos-cvmfs serve$/)]);
      }
    });

    it('status says so, and what the configuration has to complain of', async () => {
      const status = await scene.json<{ mounts: unknown[]; service: unknown; warnings: string[] }>('status');
      expect(status).toMatchObject({ mounts: [], service: null });
      expect((await scene.run('status')).stdout).toContain('nothing is mounted\nno service runs\n');
    });

    it('images are found in what is mounted, and else the cure is told', async () => {
      expect(await failure('resolve', IMAGE)).toEqual([8, 'FAILED_PRECONDITION', expect.stringContaining(`run: mesos-cvmfs mount ${FQRN} ${scene.mountRoot}/${FQRN}`)]);
      await scene.host.ok(['mount', FQRN, path.join(scene.host.dir, 'elsewhere'), '--config', scene.configFile]);
      const found = await scene.json<{ image: ImageJson }>('resolve', IMAGE);
      expect(found).toMatchObject({ image: { reference: IMAGE, repository: FQRN, path: '/images/a', revision: 2 }, config_source: 'none', docker_manifest: { config: {} }, warnings: [] });
      const blank = await scene.json<{ image: ImageJson }>('resolve', `cvmfs://${FQRN}/images/b%20c`);
      expect(blank.image.path).toBe('/images/b%20c');
      expect(await failure('resolve', `cvmfs://${FQRN}/images/none`)).toEqual([4, 'NOT_FOUND', expect.stringContaining('/images/none')]);
      expect(await failure('resolve', 'nothing:1')).toEqual([4, 'NOT_FOUND', expect.stringContaining(FQRN)]);
      const before = await scene.json<{ cached: { objects: number; local_objects: number; local_bytes: number; bytes: number } }>('image', 'inspect', IMAGE);
      expect(before.cached.local_objects).toBeLessThan(before.cached.objects);
      expect(before.cached).toMatchObject({ bytes: 100_005, local_bytes: 0 });
      const fetched = await scene.json<{ image: ImageJson; objects: number; bytes: number }>('image', 'prefetch', IMAGE);
      expect(fetched).toMatchObject({ image: { digest: found.image.digest }, objects: before.cached.objects, bytes: 100_005 });
      expect(await scene.json('image', 'inspect', IMAGE)).toMatchObject({ cached: { bytes: 100_005, local_bytes: 100_005, local_objects: before.cached.objects } });
      await scene.host.ok(['umount', path.join(scene.host.dir, 'elsewhere'), '--config', scene.configFile]);
    });
  });

  describe('while it runs', () => {
    let service: Running & { readonly http: string; readonly listen: string };
    beforeAll(async () => {
      service = await scene.serve();
    });
    afterAll(async () => {
      expect(await service.stop()).toBe(0);
      // Stopping it unmounts nothing.
      expect(scene.host.mountsBelow()).toContain(`${scene.mountRoot}/${FQRN}`);
      expect(service.log()).toContain('stopping');
    });

    it('answers where it says, and stands in status', async () => {
      expect(service.listen).toBe(`unix://${scene.host.runDir}/provisioner.sock`);
      // The first call waits for the mount.
      await scene.json('resolve', IMAGE);
      expect((await fetch(`http://${service.http}/readyz`)).status).toBe(200);
      const { service: shown, mounts } = await scene.json<{ service: object; mounts: object[] }>('status');
      expect(shown).toMatchObject({ version: '0.1.0', pid: service.child.pid, listen: service.listen, http: service.http, ready: true, containers: 0, rootfses: 0 });
      expect(shown).toMatchObject({ repositories: [{ repository: FQRN, mountpoint: `${scene.mountRoot}/${FQRN}`, state: 'mounted', failure: null, revision: 2 }] });
      expect(mounts).toEqual([expect.objectContaining({ repository: FQRN, mountpoint: `${scene.mountRoot}/${FQRN}`, revision: 2, server_pid: expect.any(Number), keeper_pid: expect.any(Number) })]);
      expect((await scene.run('status')).stdout).toMatch(/^images\.cli\.test .* revision 2 {2}server \d+\nkeeper \d+, spare .*\nservice 0\.1\.0, pid \d+, ready, 0 containers, http:\/\/127\.0\.0\.1:\d+\n/);
    });

    it('is not started twice', async () => {
      expect(await failure('serve')).toEqual([8, 'FAILED_PRECONDITION', expect.stringContaining(`another mesos-cvmfs serve (pid ${service.child.pid}) works with`)]);
    });

    it('resolves as the mount does without it', async () => {
      const text = await scene.host.ok(['resolve', IMAGE, '--config', scene.configFile]);
      expect(text).toMatch(new RegExp(`^reference {6}${IMAGE}\nrepository {5}${FQRN}\npath {11}/images/a\nrevision {7}2, root catalog [0-9a-f]{40}\ndigest {9}sha256:[0-9a-f]{64}\nconfiguration {2}none\n$`));
      expect(await failure('resolve', `cvmfs://${FQRN}/images/none`)).toEqual([4, 'NOT_FOUND', expect.stringContaining('/images/none')]);
      expect(await failure('resolve', 'cvmfs://other.example.org/x')).toEqual([4, 'NOT_FOUND', expect.stringContaining('other.example.org')]);
    });

    it('provisions, shows, recovers and destroys containers', async () => {
      const rootfs = (await scene.host.ok(['provision', IMAGE, '--container', 'web/debug', '--config', scene.configFile])).trimEnd();
      expect(rootfs).toContain(`${scene.host.dir}/state/provisioner/containers/web/containers/debug/backends/overlay/rootfses/`);
      expect((await scene.host.outside('cat', [`${rootfs}/etc/motd`])).stdout).toBe('hello');
      const made = await scene.json<{ rootfs: string }>('provision', IMAGE, '--container', 'web', '--backend', 'bind', '--key', 'k');
      expect(made).toMatchObject({ container: 'web', ephemeral_volumes: [], image: { path: '/images/a', revision: 2 }, docker_manifest: { config: {} } });
      expect((await scene.json<{ rootfs: string }>('provision', IMAGE, '--container', 'web', '--backend', 'bind', '--key', 'k')).rootfs).toBe(made.rootfs);
      expect(await failure('provision', IMAGE, '--container', 'x', '--backend', 'zfs')).toEqual([2, 'INVALID_ARGUMENT', expect.stringContaining('unknown backend "zfs"')]);
      expect(await failure('provision', `cvmfs://${FQRN}/images/b%20c`, '--container', 'x', '--backend', 'bind')).toEqual([8, 'FAILED_PRECONDITION', expect.stringContaining('overlay')]);
      await scene.json('provision', IMAGE, '--container', 'other');

      const ps = await scene.json<{ containers: Array<{ container: string; rootfses: Array<{ path: string; backend: string; state: string; created: string }> }> }>('ps');
      expect(ps.containers.map(({ container }) => container).sort()).toEqual(['other', 'web', 'web/debug']);
      expect(ps.containers.find(({ container }) => container === 'web')!.rootfses).toEqual([expect.objectContaining({ path: made.rootfs, backend: 'bind', state: 'provisioned', image: expect.objectContaining({ reference: IMAGE }) })]);
      expect((await scene.run('ps')).stdout).toMatch(/^CONTAINER +IMAGE +BACKEND +STATE +CREATED +ROOTFS\n(.*\n){3}$/);

      expect(await scene.json('recover', 'web', 'web/debug')).toEqual({ destroyed: ['other'], quarantined: [] });
      expect(await scene.host.ok(['destroy', 'web', '--config', scene.configFile])).toBe('web is destroyed\n');
      expect(await scene.json('destroy', 'web')).toEqual({ container: 'web', destroyed: false });
      expect((await scene.run('ps')).stdout).toBe('no containers\n');
      expect(fs.existsSync(rootfs)).toBe(false);
    });

    it('pins images until they are let go', async () => {
      const { image, bytes } = await scene.json<{ image: ImageJson; bytes: number }>('image', 'pin', IMAGE);
      expect(bytes).toBe(100_005);
      expect(await scene.json('image', 'pin', '--list')).toEqual({ pinned: [{ image, pinned: expect.stringMatching(/Z$/) }] });
      expect((await scene.run('image', 'pin', '--list')).stdout).toContain(`${IMAGE}  ${image.digest}`);
      const usage = await scene.json<{ pinnedBytes: number }>('cache', 'usage');
      expect(usage.pinnedBytes).toBeGreaterThan(100_005);
      await scene.json('cache', 'wipe');
      expect(await scene.json('image', 'inspect', IMAGE)).toMatchObject({ cached: { local_bytes: 100_005 } });
      expect(await scene.json('image', 'pin', '--remove', IMAGE)).toEqual({ removed: [image.digest] });
      expect(await failure('image', 'pin', '--remove', image.digest)).toEqual([4, 'NOT_FOUND', expect.stringContaining('is not pinned')]);
      expect(await scene.json('image', 'pin', '--list')).toEqual({ pinned: [] });
    });

    it('frees what no container needs when the agent prunes', async () => {
      const client = createClient(loadContracts(), 'mesos.cvmfs.v1.Provisioner', service.listen);
      const prune = async (): Promise<number> => Number((await client.PruneImages({ excluded_images: [] }, { timeoutMs: 30_000 })).freed_bytes);
      const localBytes = async (): Promise<number> => (await scene.json<{ cached: { local_bytes: number } }>('image', 'inspect', IMAGE)).cached.local_bytes;
      try {
        const { rootfs } = await scene.json<{ rootfs: string }>('provision', IMAGE, '--container', 'user');
        expect((await scene.host.outside('cat', [`${rootfs}/big`, `${rootfs}/etc/motd`])).stdout.length).toBe(100_005);
        await scene.json('destroy', 'user');
        expect(await localBytes()).toBe(100_005);
        expect(await prune()).toBeGreaterThan(100_005);
        expect(await localBytes()).toBe(0);
      } finally {
        client.close();
      }
    });

    it('sees what is published', async () => {
      scene.files({ 'images/new/etc/motd': 'new' });
      expect((await scene.publish()).revision).toBe(3);
      const image = `cvmfs://${FQRN}/images/new`;
      for (let tries = 0; (await scene.run('resolve', image)).code !== 0 && tries < 50; tries++) await new Promise((resolve) => setTimeout(resolve, 200));
      expect(await scene.json('resolve', image)).toMatchObject({ image: { revision: 3 } });
    });
  });
});

describeWithMounts('a service that cannot start', () => {
  let scene: CliScene;
  beforeEach(() => {
    scene = new CliScene();
    scene.configure('http://127.0.0.1:1/@fqrn@', '', '/nowhere/key.pub');
  });
  afterEach(() => scene.end());

  const refused = async (): Promise<[number, string]> => {
    const { code, stdout, stderr } = await scene.run('serve');
    expect(stdout).toBe('');
    return [code, stderr.trimEnd().split('\n').pop()!];
  };

  it('names file, line and key of a wrong configuration, and makes nothing', async () => {
    fs.appendFileSync(scene.configFile, '[provisionr]\nbackend = "bind"\n');
    expect(await refused()).toEqual([3, expect.stringMatching(/config\.toml:\d+: unknown key provisionr; did you mean provisioner\?$/)]);
    expect(fs.existsSync(path.join(scene.host.dir, 'state'))).toBe(false);
    fs.writeFileSync(scene.configFile, 'state_dir = "');
    expect(await refused()).toEqual([3, expect.stringContaining('config.toml:1')]);
  });

  it('refuses directories that are open to others', async () => {
    fs.mkdirSync(path.join(scene.host.dir, 'state'));
    fs.chmodSync(path.join(scene.host.dir, 'state'), 0o755);
    expect(await refused()).toEqual([8, expect.stringMatching(/state_dir: .* has mode 0755, which is wider than 0700; run: chmod 0700 /)]);
  });

  it('refuses a damaged state, and leaves it as it is', async () => {
    fs.mkdirSync(path.join(scene.host.dir, 'state'), { mode: 0o700 });
    const file = path.join(scene.host.dir, 'state/state.db');
    fs.writeFileSync(file, 'not a database, but somebody may want to look at it'.repeat(100));
    const before = fs.readFileSync(file);
    expect(await refused()).toEqual([13, expect.stringContaining('state.db')]);
    expect(fs.readFileSync(file)).toEqual(before);
  });

  it('runs all the same when one repository cannot be mounted, and tells why', async () => {
    const service = await scene.serve();
    const { ready, reasons } = (await (await fetch(`http://${service.http}/readyz`)).json()) as { ready: boolean; reasons: string[] };
    expect([ready, reasons]).toEqual([false, [expect.stringContaining(FQRN)]]);
    const { code, stderr } = await scene.run('resolve', IMAGE);
    expect([code, stderr]).toEqual([5, expect.stringContaining('/nowhere/key.pub does not exist')]);
    const status = JSON.parse((await scene.run('status', '--json')).stdout) as { service: object; warnings: string[] };
    expect(status.service).toMatchObject({ ready: false, repositories: [{ state: 'failed', failure: expect.stringContaining('/nowhere/key.pub') }] });
    expect(status.warnings).toContainEqual(expect.stringContaining('/nowhere/key.pub'));
    expect(await service.stop('SIGINT')).toBe(0);
  });
});
