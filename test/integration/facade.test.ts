/** The registry facade as an agent's docker puller meets it: real service, real mount, `curl` with the agent's arguments. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { Running } from '../support/cli-scene';
import { FacadeScene, FQRN, MANIFEST_TYPE } from '../support/facade-scene';
import { describeWithFixtures } from '../support/fixtures';
import { startHttpServer } from '../support/http-server';
import { describeWithMounts } from '../support/test-host';

jest.setTimeout(180_000);

describeWithMounts('the facade', () => {
  let scene: FacadeScene;
  beforeAll(async () => {
    scene = new FacadeScene();
    await scene.create();
    scene.files({
      'images/a/etc/motd': 'hello',
      'images/tagged:1/etc/motd': 'one',
      'images/tagged:latest/etc/motd': 'latest',
      'images/b c/etc/motd': 'blank',
      'images/file': 'no directory',
      '.flat/ab/abcd/etc/motd': 'flat',
      'registry.hub.docker.com/library/keep': '',
    });
    fs.symlinkSync('../../images/a', path.join(scene.source, 'registry.hub.docker.com/library/app:1'));
    fs.symlinkSync('/etc', path.join(scene.source, 'images/escape'));
    fs.symlinkSync('loop', path.join(scene.source, 'images/loop'));
    await scene.publish();
    const web = await scene.serveRepository();
    scene.configureFacade(web.url);
    await scene.serveFacade();
  });
  afterAll(() => scene.end());

  const read = async (layer: string, file: string): Promise<string> => (await scene.host.outside('cat', [`${scene.layerLink(layer)}/${file}`])).stdout;

  it('gives an image by its path, with a link to its tree in a pinned view before the answer', async () => {
    const image = await scene.image(`${FQRN}/images/a`);
    expect(image).toEqual({
      schemaVersion: 2,
      mediaType: MANIFEST_TYPE,
      config: { mediaType: 'application/vnd.docker.container.image.v1+json', size: expect.any(Number), digest: expect.stringMatching(/^sha256:[0-9a-f]{64}$/) },
      layers: [{ mediaType: expect.any(String), size: 1, digest: expect.stringMatching(/^sha256:[0-9a-f]{64}$/) }],
    });
    const layer = image.layers[0]!.digest;
    expect(scene.target(layer)).toMatch(new RegExp(`^${scene.view()}[0-9a-f]{40}/images/a$`));
    expect(await read(layer, 'etc/motd')).toBe('hello');
  });

  it('knows three forms of names, and prefers the entry of exactly that name', async () => {
    const plain = await scene.image(`${FQRN}/images/a`);
    for (const [name, tag, text] of [
      [`${FQRN}/images/tagged`, '1', 'one'],
      [`${FQRN}/images/tagged`, 'latest', 'latest'],
      [`${FQRN}/images/b%20c`, 'latest', 'blank'],
      [`${FQRN}/app`, '1', 'hello'],
      [`${FQRN}/library/app`, '1', 'hello'],
      ['app', '1', 'hello'],
      ['library/app', '1', 'hello'],
      ['docker.io/library/app', '1', 'hello'],
    ] as const) {
      const { layers } = await scene.image(name, tag);
      expect([name, await read(layers[0]!.digest, 'etc/motd')]).toEqual([name, text]);
      // The same tree with the same configuration is the same layer, whatever it was called.
      if (text === 'hello') expect(layers).toEqual(plain.layers);
    }
  });

  it('means by a name what resolve and Provision mean by it', async () => {
    const { layers } = await scene.image(`${FQRN}/images/tagged`, '1');
    for (const name of [`${scene.facade}/${FQRN}/images/tagged:1`, `cvmfs://${FQRN}/images/tagged:1`]) {
      const { image } = await scene.json<{ image: { reference: string; digest: string } }>('resolve', name);
      expect(image).toMatchObject({ reference: `cvmfs://${FQRN}/images/tagged:1`, digest: layers[0]!.digest });
    }
    const made = await scene.json<{ image: { path: string } }>('provision', `${scene.facade}/app:1`, '--container', 'c');
    expect(made.image.path).toBe('/images/a');
    await scene.json('destroy', 'c');
  });

  it('answers in the exact form that an agent understands', async () => {
    const { status, headers, body, head } = await scene.manifest(`${FQRN}/images/a`);
    expect(head).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(status).toBe('200 OK');
    expect(headers.get('content-type')).toBe(MANIFEST_TYPE);
    expect(headers.get('content-length')).toBe(String(Buffer.byteLength(body)));
    expect(headers.has('transfer-encoding')).toBe(false);
    const { config, layers } = JSON.parse(body) as { config: { digest: string; size: number }; layers: Array<{ digest: string; size: number }> };
    for (const { digest, size } of [config, ...layers]) {
      expect(digest).toMatch(/^sha256:[0-9a-f]{64}$/);
      expect(size > 0 && size < 2 ** 32).toBe(true);
    }
    const blob = await scene.pull(`/v2/${FQRN}/images/a/blobs/${config.digest}`);
    expect([blob.status, blob.headers.get('content-length')]).toEqual(['200 OK', String(Buffer.byteLength(blob.body))]);
    // An agent ends when this is not an object, even for an image of which nothing is known.
    expect(JSON.parse(blob.body)).toMatchObject({ config: { Env: [], Entrypoint: [], Cmd: [], WorkingDir: '', Labels: {} } });
    const asked = await scene.pull(`/v2/${FQRN}/images/a/manifests/latest`, '-I');
    expect([asked.status, asked.headers.get('content-length'), asked.body]).toEqual(['200 OK', headers.get('content-length'), '']);
  });

  it('never redirects, and says each failure with a status of its own', async () => {
    const { layers } = await scene.image(`${FQRN}/images/a`);
    for (const [url, status, code] of [
      [`/v2/${FQRN}/images/none/manifests/latest`, '404 Not Found', 'MANIFEST_UNKNOWN'],
      ['/v2/nothing/manifests/1', '404 Not Found', 'MANIFEST_UNKNOWN'],
      [`/v2/${FQRN}/images/file/manifests/latest`, '412 Precondition Failed', 'UNAVAILABLE'],
      [`/v2/${FQRN}/images/escape/manifests/latest`, '404 Not Found', 'MANIFEST_UNKNOWN'],
      [`/v2/${FQRN}/images/loop/manifests/latest`, '404 Not Found', 'MANIFEST_UNKNOWN'],
      [`/v2/${FQRN}/images/\u00e9/manifests/latest`, '404 Not Found', 'MANIFEST_UNKNOWN'],
      ['/v2/UPPER/manifests/1', '400 Bad Request', 'NAME_INVALID'],
      [`/v2/${FQRN}/images/../a/manifests/latest`, '400 Bad Request', 'NAME_INVALID'],
      [`/v2/${FQRN}/images/a/blobs/sha256:${'0'.repeat(64)}`, '404 Not Found', 'BLOB_UNKNOWN'],
      // A layer of ours has no bytes; an empty one in answer would be an empty root.
      [`/v2/${FQRN}/images/a/blobs/${layers[0]!.digest}`, '409 Conflict', 'BLOB_UNKNOWN'],
    ] as const) {
      const { status: got, headers, body } = await scene.pull(url);
      expect([url, got]).toEqual([url, status]);
      expect(JSON.parse(body)).toMatchObject({ errors: [{ code, message: expect.any(String) }] });
      expect([headers.has('location'), headers.get('content-length')]).toEqual([false, String(Buffer.byteLength(body))]);
    }
  });

  it('offers nothing else to whoever reaches the port', async () => {
    for (const url of ['/', '/metrics', '/healthz', '/v2/_catalog', `/v2/${FQRN}/images/a/tags/list`, '/v1/search', '/v2/../metrics', '/etc/passwd', `/v2/${FQRN}/../../etc/manifests/latest`]) {
      expect([url, (await scene.pull(url)).status.slice(0, 1)]).toEqual([url, '4']);
    }
    expect((await scene.pull(`/v2/${'a'.repeat(40_000)}/manifests/1`)).status).toBe('431 Request Header Fields Too Large');
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) expect((await scene.pull(`/v2/${FQRN}/images/a/blobs/uploads/`, '-X', method)).status).toBe('405 Method Not Allowed');
    // What no configuration names is no repository here, whatever it is called.
    expect((await scene.manifest('other.example.org/images/a')).status).toBe('404 Not Found');
    expect((await scene.manifest(`${FQRN}/.cvmfs-view`)).status).toBe('404 Not Found');
    expect(scene.links().every((layer) => scene.target(layer)!.startsWith(scene.view()))).toBe(true);
  });

  it('keeps what was linked when a publish puts something else, or a link to the host, in its place', async () => {
    const before = await scene.image(`${FQRN}/images/a`);
    fs.rmSync(path.join(scene.source, 'images/a'), { recursive: true });
    fs.symlinkSync('/', path.join(scene.source, 'images/a'));
    fs.writeFileSync(path.join(scene.source, 'images/tagged:1/etc/motd'), 'two');
    await scene.publish();
    let after = before;
    for (let round = 0; round < 200 && after.layers[0]!.digest === before.layers[0]!.digest; round++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      after = await scene.image(`${FQRN}/images/a`);
    }
    // `/` is the root of the repository, never the host's.
    expect(scene.target(after.layers[0]!.digest)).toMatch(new RegExp(`^${scene.view()}[0-9a-f]{40}$`));
    expect((await scene.host.outside('ls', [`${scene.layerLink(after.layers[0]!.digest)}/`])).stdout).toBe('images\nregistry.hub.docker.com\n');
    expect(await read(before.layers[0]!.digest, 'etc/motd')).toBe('hello');
    expect(await read((await scene.image(`${FQRN}/images/tagged`, '1')).layers[0]!.digest, 'etc/motd')).toBe('two');
  });
});

describeWithMounts('the facade after a reboot', () => {
  let scene: FacadeScene;
  let web: Awaited<ReturnType<FacadeScene['serveRepository']>>;
  beforeAll(async () => {
    scene = new FacadeScene();
    await scene.create();
    scene.files({ 'images/a/etc/motd': 'hello' });
    await scene.publish();
    web = await scene.serveRepository();
    scene.configureFacade(web.url);
  });
  afterAll(() => scene.end());

  /** All processes and mounts go at once; files stay. */
  const reboot = async (service: Running): Promise<void> => {
    const { mounts } = await scene.host.status();
    const pids = mounts.flatMap((mount) => Object.entries(mount).flatMap(([key, value]) => (key.endsWith('_pid') && typeof value === 'number' ? [value] : [])));
    await service.stop('SIGKILL');
    for (const pid of new Set(pids)) process.kill(pid, 'SIGKILL');
    for (const target of scene.host.mountsBelow().reverse()) await scene.host.outside('umount', ['-l', target]);
    fs.rmSync(scene.host.runDir, { recursive: true, force: true });
  };
  const read = async (layer: string): Promise<{ code: number; stdout: string }> => scene.host.outside('cat', [`${scene.layerLink(layer)}/etc/motd`], { timeoutMs: 10_000 });

  it('has every link leading somewhere before it says that it is ready', async () => {
    const service = await scene.serveFacade();
    const layer = (await scene.image(`${FQRN}/images/a`)).layers[0]!.digest;
    await reboot(service);
    // Without the service a launch fails cleanly.
    expect(scene.target(layer)).not.toBeNull();
    expect((await read(layer)).code).not.toBe(0);
    const again = await scene.serveFacade();
    expect(await read(layer)).toMatchObject({ code: 0, stdout: 'hello' });
    expect((await scene.image(`${FQRN}/images/a`)).layers[0]!.digest).toBe(layer);
    await again.stop();
  });

  it('takes links away that lead nowhere, so that the agent asks, is refused, and gets them when they are there again', async () => {
    const service = await scene.serveFacade();
    const layer = (await scene.image(`${FQRN}/images/a`)).layers[0]!.digest;
    await reboot(service);
    fs.rmSync(scene.host.cacheDir, { recursive: true });
    const key = fs.readFileSync(scene.publicKey);
    fs.rmSync(scene.publicKey);
    const again = await scene.serveFacade();
    expect(scene.target(layer)).toBeNull();
    expect((await scene.manifest(`${FQRN}/images/a`)).status).toMatch(/^5/);
    fs.writeFileSync(scene.publicKey, key);
    for (let round = 0; round < 100 && scene.target(layer) === null; round++) {
      await scene.manifest(`${FQRN}/images/a`);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    expect(await read(layer)).toMatchObject({ stdout: 'hello' });
    await again.stop();
  });
});

describeWithMounts('the facade over the fixture of DUCC images', () => {
  describeWithFixtures('an image with a configuration', (fixtures) => {
    let scene: FacadeScene;
    let server: Awaited<ReturnType<typeof startHttpServer>>;
    beforeAll(async () => {
      scene = new FacadeScene();
      server = await startHttpServer(fixtures);
      fs.writeFileSync(
        scene.configFile,
        `state_dir = "${scene.host.dir}/state"
run_dir = "${scene.host.runDir}"
mount_root = "${scene.mountRoot}"
http = "127.0.0.1:0"
[cache]
dir = "${scene.host.cacheDir}"
[repositories."images.golden.test"]
servers = ["${server.url}/@fqrn@"]
public_keys = ["${fixtures}/images.golden.test/images.golden.test.pub"]
[provisioner]
image_repositories = ["images.golden.test"]
image_config_sources = ["oci:${fixtures}/images.golden.test/registry"]
[facade]
enabled = true
listen = "127.0.0.1:0"
docker_store_dir = "${scene.store}"
`,
      );
      await scene.serveFacade();
    });
    afterAll(async () => {
      await server.close();
      await scene.end();
    });

    it('comes by every kind of name with its Env, WorkingDir, Entrypoint and Cmd', async () => {
      const names = ['debian-app', 'images.golden.test/debian-app', 'images.golden.test/registry.hub.docker.com/library/debian-app'];
      const images = await Promise.all(names.map((name) => scene.image(name, '1')));
      expect(new Set(images.map((image) => JSON.stringify(image))).size).toBe(1);
      const { config, layers } = images[0]!;
      const blob = await scene.pull(`/v2/debian-app/blobs/${config.digest}`);
      expect([blob.status, blob.headers.get('content-length')]).toEqual(['200 OK', String(config.size)]);
      expect(JSON.parse(blob.body)).toMatchObject({ os: 'linux', config: { WorkingDir: '/app', Env: expect.arrayContaining([expect.stringMatching(/^APP_MODE=/)]) } });
      expect((await scene.host.outside('ls', [`${scene.layerLink(layers[0]!.digest)}/app`])).code).toBe(0);
    });
  });
});
