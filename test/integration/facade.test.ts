/** The registry facade as an agent's docker puller meets it: real service, real mount, `curl` with the agent's arguments. */
import * as fs from 'node:fs';
import * as path from 'node:path';
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
