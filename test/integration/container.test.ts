/**
 * A real container from a real CVMFS repository: an image reference goes in over gRPC, runc runs in the root file system
 * that comes out, with what the image's configuration says.
 */
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { createClient } from '../../provisioner/grpc/client';
import { loadContracts } from '../../provisioner/grpc/protos';
import { describeWithFixtures } from '../support/fixtures';
import { startHttpServer } from '../support/http-server';
import { describeWithMounts, TestHost } from '../support/test-host';

const hasRunc = (() => {
  try {
    execFileSync('runc', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();

/** An OCI bundle around a root file system, with as few namespaces as a container needs. */
function bundle(dir: string, rootfs: string, process: { args: string[]; env: string[]; cwd: string }): void {
  fs.mkdirSync(dir, { recursive: true });
  const config = {
    ociVersion: '1.0.2',
    process: { terminal: false, user: { uid: 0, gid: 0 }, ...process, noNewPrivileges: true },
    root: { path: rootfs, readonly: false },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755'] },
    ],
    linux: { namespaces: [{ type: 'pid' }, { type: 'mount' }, { type: 'ipc' }, { type: 'uts' }] },
  };
  fs.writeFileSync(path.join(dir, 'config.json'), JSON.stringify(config));
}

describeWithMounts('a container', () => {
  describeWithFixtures('from the fixture of DUCC images', (fixtures) => {
    const test = hasRunc ? it : it.skip;
    let host: TestHost;
    let server: Awaited<ReturnType<typeof startHttpServer>>;

    beforeEach(async () => {
      host = new TestHost();
      server = await startHttpServer(fixtures);
    });
    afterEach(async () => {
      await server.close();
      await host.end();
    });

    test(
      `runs with Env, WorkingDir, Entrypoint and Cmd of its image${hasRunc ? '' : ' (needs runc)'}`,
      async () => {
        const config = path.join(host.dir, 'config.toml');
        fs.writeFileSync(
          config,
          `state_dir = "${host.dir}/state"
run_dir = "${host.runDir}"
mount_root = "${host.dir}/cvmfs"
http = "127.0.0.1:0"
[cache]
dir = "${host.cacheDir}"
[repositories."images.golden.test"]
servers = ["${server.url}/@fqrn@"]
public_keys = ["${fixtures}/images.golden.test/images.golden.test.pub"]
[provisioner]
image_repositories = ["images.golden.test"]
image_config_sources = ["oci:${fixtures}/images.golden.test/registry"]
`,
        );
        const serve = host.start(process.execPath, [path.resolve(__dirname, '../../bin/mesos-cvmfs'), 'serve', '--config', config]);
        let said = '';
        serve.stdout!.on('data', (chunk: Buffer) => (said += chunk.toString()));
        serve.stderr!.on('data', (chunk: Buffer) => (said += chunk.toString()));
        for (let i = 0; i < 300 && !said.includes('ready'); i++) await new Promise((resolve) => setTimeout(resolve, 100));
        expect(said).toContain('ready');

        const client = createClient(loadContracts(), 'mesos.cvmfs.v1.Provisioner', `unix://${host.runDir}/provisioner.sock`);
        try {
          const answer = await client.Provision({ container_id: { value: 'app' }, image: { type: 'DOCKER', docker: { name: 'debian-app:1' } }, idempotency_key: 'once', backend: '' }, { timeoutMs: 60_000 });
          const image = answer.docker_manifest!.config!;
          expect(image.WorkingDir).toBe('/app');
          const dir = path.join(host.dir, 'bundle');
          bundle(dir, answer.rootfs!, { args: [...image.Entrypoint, ...image.Cmd], env: [...image.Env], cwd: image.WorkingDir! });
          const ran = await host.outside('runc', ['--root', path.join(host.dir, 'runc'), 'run', '-b', dir, 'mesos-cvmfs-test-app'], { timeoutMs: 60_000 });
          expect(ran).toMatchObject({ code: 0 });
          // The image's own program says where it is and what it was given.
          expect(ran.stdout).toMatch(/cwd \/app APP_MODE demo/);

          const again = await client.Provision({ container_id: { value: 'app' }, image: { type: 'DOCKER', docker: { name: 'registry.hub.docker.com/library/debian-app:1' } }, idempotency_key: '', backend: '' }, { timeoutMs: 60_000 });
          expect(again.rootfs).not.toBe(answer.rootfs);
          expect(again.image!.digest).toBe(answer.image!.digest);
          expect(await client.Destroy({ container_id: { value: 'app' } }, { timeoutMs: 60_000 })).toEqual({ destroyed: true });
          expect(host.mountsBelow().filter((target) => target.includes('/rootfses/'))).toEqual([]);
        } finally {
          client.close();
        }
      },
      180_000,
    );
  });
});
