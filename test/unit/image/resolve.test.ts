import { createHash } from 'node:crypto';
import { createConfigCache } from '../../../src/image/config-cache';
import type { ConfigSource } from '../../../src/image/config-source';
import { createConfigSource } from '../../../src/image/create-config-source';
import { parseReference } from '../../../src/image/reference';
import type { ImageMessage } from '../../../src/image/resolve';
import { imageDigest, pathInCatalog, referenceOf, resolveImage } from '../../../src/image/resolve';
import { Failure } from '../../../src/error';
import type { MemoryTree } from '../../support/memory-repository';
import { directory, file, link, MemoryRepository } from '../../support/memory-repository';

const sha256 = (bytes: string): string => createHash('sha256').update(bytes).digest('hex');

const CONFIG = JSON.stringify({ architecture: 'amd64', os: 'linux', config: { Env: ['A=1', 'B=2'], Entrypoint: ['python3'], Cmd: null, WorkingDir: '/app', User: '', Labels: { x: 'y' } } });
const ID = sha256(CONFIG);
const FLAT = `/.flat/${ID.slice(0, 2)}/${ID}`;
const LAYER = 'b'.repeat(64);
const MANIFEST = JSON.stringify({ schemaVersion: 2, config: { digest: `sha256:${ID}` }, layers: [{ digest: `sha256:${LAYER}` }] });
const HUB = '/registry.hub.docker.com/library';
const PARSED = { id: ID, architecture: 'amd64', os: 'linux', config: { Env: ['A=1', 'B=2'], Entrypoint: ['python3'], Cmd: [], WorkingDir: '/app', Labels: { x: 'y' } } };

const image = (name: string): MemoryTree => ({
  [`${HUB}/${name}`]: link(`../../.flat/${ID.slice(0, 2)}/${ID}`),
  [`/.metadata${HUB}/${name}/manifest.json`]: file(MANIFEST),
  [`${FLAT}/etc/hostname`]: file('x'),
});

const has = (bytes: string): ConfigSource & { asked: number } => ({
  name: 'a source',
  asked: 0,
  async fetch() {
    this.asked++;
    return Buffer.from(bytes);
  },
});

function resolve(text: string | ImageMessage, repositories: readonly MemoryRepository[], sources: readonly ConfigSource[] = [], cache = createConfigCache()) {
  return resolveImage(
    typeof text === 'string' ? parseReference(text) : referenceOf(text),
    {
      configured: repositories.map((repository) => repository.fqrn),
      imageRepositories: repositories.map((repository) => repository.fqrn),
      open: async (fqrn) => repositories.find((repository) => repository.fqrn === fqrn)!,
    },
    { sources, cache },
  );
}

describe('resolving', () => {
  const images = new MemoryRepository('images.example.org', image('debian:12'), [FLAT]);

  it('finds one image under all its spellings', async () => {
    const all = await Promise.all(
      ['debian:12', 'docker.io/library/debian:12', 'registry.hub.docker.com/library/debian:12', `cvmfs://images.example.org${HUB}/debian:12`].map((text) => resolve(text, [images])),
    );
    for (const one of all) expect(one).toMatchObject({ repository: 'images.example.org', path: Buffer.from(FLAT), digest: all[0]!.digest });
    expect(all[0]).toMatchObject({ reference: 'docker.io/library/debian:12', snapshot: await images.snapshot(), catalog: { path: Buffer.from(FLAT) } });
  });

  it('finds links under every name of Docker Hub that a wish list may have used', async () => {
    for (const registry of ['docker.io', 'index.docker.io', 'registry-1.docker.io']) {
      const repository = new MemoryRepository('r.example.org', { [`/${registry}/library/debian:12`]: link(FLAT), [`${FLAT}/x`]: file('') });
      await expect(resolve('debian:12', [repository])).resolves.toMatchObject({ path: Buffer.from(FLAT) });
    }
    const other = new MemoryRepository('r.example.org', { '/ghcr.io:444/org/app:v1': link('../../img'), '/img': directory });
    await expect(resolve('ghcr.io:444/org/app:v1', [other])).resolves.toMatchObject({ path: Buffer.from('/img') });
  });

  it('takes the first repository that has the image', async () => {
    const empty = new MemoryRepository('empty.example.org', {});
    const later = new MemoryRepository('later.example.org', image('debian:12'));
    await expect(resolve('debian:12', [empty, images, later])).resolves.toMatchObject({ repository: 'images.example.org' });
    await expect(resolve('debian:12', [later, images])).resolves.toMatchObject({ repository: 'later.example.org' });
  });

  it('does not skip a repository that can not be read', async () => {
    const broken = new MemoryRepository('broken.example.org', {});
    broken.walk = () => Promise.reject(new Failure('NETWORK', 'no server answered'));
    await expect(resolve('debian:12', [broken, images])).rejects.toMatchObject({ code: 'NETWORK' });
  });

  it('names every place that it looked at', async () => {
    const dangling = new MemoryRepository('dangling.example.org', { [`${HUB}/debian:13`]: link('../../.flat/gone') });
    const failure = await resolve('debian:13', [images, dangling]).catch((reason: unknown) => reason as Failure);
    expect(failure).toMatchObject({ code: 'NOT_FOUND' });
    expect((failure as Failure).message).toContain('images.example.org:/registry.hub.docker.com/library/debian:13');
    expect((failure as Failure).message).toContain('images.example.org:/registry-1.docker.io/library/debian:13');
    expect((failure as Failure).message).toContain('dangling.example.org:/registry.hub.docker.com/library/debian:13 (a link to ../../.flat/gone, which is missing)');
    await expect(resolve('cvmfs://images.example.org/no/such', [images])).rejects.toThrow(/looked at: images\.example\.org:\/no\/such/);
    await expect(resolve('cvmfs://other.example.org/x', [images])).rejects.toThrow(/other\.example\.org is not configured; configured are: images\.example\.org/);
    await expect(resolve('debian:12', [])).rejects.toThrow(/image_repositories/);
  });

  it('refuses what is not a directory, by its kind', async () => {
    const odd = new MemoryRepository('r.example.org', { [`${HUB}/debian:12`]: file('thin.json'), '/fifo': { type: 'fifo' }, '/loop': link('loop') });
    await expect(resolve('debian:12', [odd])).rejects.toMatchObject({ code: 'FAILED_PRECONDITION', message: expect.stringContaining('is a file, and an image is a directory') });
    await expect(resolve('cvmfs://r.example.org/fifo', [odd])).rejects.toThrow(/is a fifo/);
    await expect(resolve('cvmfs://r.example.org/loop', [odd])).rejects.toMatchObject({ code: 'LINK_LOOP' });
  });

  it('says that layers alone are not enough', async () => {
    const layers = new MemoryRepository('r.example.org', { [`/.metadata${HUB}/debian:12/manifest.json`]: file(MANIFEST), [`/.layers/bb/${LAYER}/layerfs/etc/x`]: file('') });
    await expect(resolve('debian:12', [layers])).rejects.toMatchObject({ code: 'UNIMPLEMENTED', message: expect.stringContaining('no flat root file system') });
    const rubbish = new MemoryRepository('r.example.org', { [`/.metadata${HUB}/debian:12/manifest.json`]: file('rubbish') });
    await expect(resolve('debian:12', [rubbish])).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('keeps a link that leads out of the repository inside of it', async () => {
    const escaping = new MemoryRepository('r.example.org', { [`${HUB}/evil:1`]: link('../../../../../../etc'), [`${HUB}/evil:2`]: link('/etc'), '/etc': directory });
    for (const name of ['evil:1', 'evil:2']) await expect(resolve(name, [escaping])).resolves.toMatchObject({ path: Buffer.from('/etc'), repository: 'r.example.org' });
  });

  it('answers from one revision, whatever is published meanwhile', async () => {
    const moving = new MemoryRepository('r.example.org', { ...image('debian:12'), '/evil': directory });
    const walk = moving.walk.bind(moving);
    moving.walk = async (...call) => {
      moving.publish({ [`${HUB}/debian:12`]: link('/evil'), '/evil': directory, [`/.metadata${HUB}/debian:12/config.json`]: file('{"config": {"Entrypoint": ["evil"]}}') });
      return walk(...call);
    };
    await expect(resolve('debian:12', [moving], [has(CONFIG)])).resolves.toMatchObject({ path: Buffer.from(FLAT), snapshot: { revision: 1 }, manifest: PARSED });
  });

  it('takes names that are not UTF-8', async () => {
    const bytes = new MemoryRepository('r.example.org', { '/im\xffg': directory });
    await expect(resolve('cvmfs://r.example.org/im%FFg', [bytes])).resolves.toMatchObject({ path: Buffer.from('/im\xffg', 'latin1'), reference: 'cvmfs://r.example.org/im%FFg' });
  });

  it('reads Image messages, and tells what is wrong with one', async () => {
    await expect(resolve({ type: 'CVMFS', cvmfs: { repository: 'images.example.org', path: FLAT.slice(1) } }, [images])).resolves.toMatchObject({ path: Buffer.from(FLAT) });
    await expect(resolve({ type: 'DOCKER', docker: { name: 'debian:12' } }, [images])).resolves.toMatchObject({ path: Buffer.from(FLAT) });
    await expect(resolve({ type: 'DOCKER', docker: { name: `cvmfs://images.example.org${FLAT}` } }, [images])).resolves.toMatchObject({ path: Buffer.from(FLAT) });
    expect(() => referenceOf({ type: 'APPC' })).toThrow(expect.objectContaining({ code: 'UNIMPLEMENTED' }));
    for (const wrong of [{}, { type: 'DOCKER' }, { type: 'CVMFS' }, { type: 'OTHER' }]) expect(() => referenceOf(wrong)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
  });
});

describe('references by digest', () => {
  const D = sha256(MANIFEST);

  it("take the publisher's link by that name", async () => {
    const repository = new MemoryRepository('r.example.org', { [`${HUB}/debian@sha256:${'e'.repeat(64)}`]: link(FLAT), [`${FLAT}/x`]: file('') });
    await expect(resolve(`debian@sha256:${'e'.repeat(64)}`, [repository])).resolves.toMatchObject({ path: Buffer.from(FLAT) });
  });

  it('find a tag whose kept manifest has the digest', async () => {
    const repository = new MemoryRepository('r.example.org', { ...image('debian:12'), ...image('debian-app:1'), [`/.metadata${HUB}/debian:bad/manifest.json`]: file('{'), [`${HUB}/debian:bad`]: link('/') });
    await expect(resolve(`debian@sha256:${D}`, [repository])).resolves.toMatchObject({ path: Buffer.from(FLAT), reference: `docker.io/library/debian@sha256:${D}` });
    await expect(resolve(`debian@sha256:${'0'.repeat(64)}`, [repository])).rejects.toMatchObject({ code: 'NOT_FOUND', message: expect.stringContaining('2 tags at') });
  });

  it('do not follow a tag that has moved away from its manifest', async () => {
    const repository = new MemoryRepository('r.example.org', { ...image('debian:12'), [`${HUB}/debian:12`]: link('/other'), '/other': directory });
    await expect(resolve(`debian@sha256:${D}`, [repository])).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('refuse a link whose manifest belongs to something else', async () => {
    const other = `/.flat/cc/${'c'.repeat(64)}`;
    const name = `debian@sha256:${'e'.repeat(64)}`;
    const repository = new MemoryRepository('r.example.org', { [`${HUB}/${name}`]: link(other), [other]: directory, [`/.metadata${HUB}/${name}/manifest.json`]: file(MANIFEST) });
    await expect(resolve(name, [repository])).rejects.toMatchObject({ code: 'FAILED_PRECONDITION', message: expect.stringContaining('belongs to the configuration') });
  });
});

describe('the digest of an image', () => {
  const other = { '/elsewhere/file': file('1') };

  it('stays when a publish does not touch the image', async () => {
    const repository = new MemoryRepository('r.example.org', image('debian:12'), [FLAT]);
    const before = await resolve('debian:12', [repository], [has(CONFIG)]);
    repository.publish({ ...image('debian:12'), ...image('debian:latest'), ...other }, [FLAT]);
    const after = await resolve('debian:latest', [repository], [has(CONFIG)]);
    expect(after.snapshot.rootHash).not.toBe(before.snapshot.rootHash);
    expect(after.digest).toBe(before.digest);
  });

  it('changes with the tree, the path, the repository and the configuration', async () => {
    const base = { repository: 'r', catalogHash: 'h', pathInCatalog: Buffer.from('/'), manifest: { config: { Entrypoint: [], Env: [], Cmd: [], Labels: { a: '1', b: '2' } } } };
    const digests = [
      imageDigest(base),
      imageDigest({ ...base, repository: 'r2' }),
      imageDigest({ ...base, catalogHash: 'h2' }),
      imageDigest({ ...base, pathInCatalog: Buffer.from('/x') }),
      imageDigest({ ...base, manifest: { config: { ...base.manifest.config, Env: ['A=1'] } } }),
    ];
    expect(new Set(digests).size).toBe(digests.length);
    for (const digest of digests) expect(digest).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(imageDigest({ ...base, manifest: { config: { ...base.manifest.config, Labels: { b: '2', a: '1' } } } })).toBe(digests[0]);
  });

  it('is over the path inside the catalog', () => {
    const at = (path: string, catalog: string): string => pathInCatalog(Buffer.from(path), Buffer.from(catalog)).toString();
    expect(at('/a/b', '/a')).toBe('/b');
    expect(at('/a', '/a')).toBe('/');
    expect(at('/a', '/')).toBe('/a');
    expect(at('/a', '')).toBe('/a');
    expect(() => at('/ab', '/a')).toThrow(/not below/);
  });
});

describe('the runtime configuration', () => {
  const flatOnly: MemoryTree = { [`${FLAT}/etc/hostname`]: file('x') };
  const at = (tree: MemoryTree): MemoryRepository => new MemoryRepository('r.example.org', tree);
  const BY_PATH = `cvmfs://r.example.org${FLAT}`;

  it('is always there, even when nobody has one', async () => {
    await expect(resolve('debian:12', [at(image('debian:12'))])).resolves.toMatchObject({ manifest: { config: { Env: [], Entrypoint: [], Cmd: [], Labels: {} } }, configSource: 'none', warnings: [] });
  });

  it("comes from our publisher's object first", async () => {
    const source = has(CONFIG);
    const tree = { ...image('debian:12'), [`/.metadata${HUB}/debian:12/config.json`]: file(CONFIG) };
    await expect(resolve('debian:12', [at(tree)], [source])).resolves.toMatchObject({ manifest: PARSED, configSource: '.metadata' });
    expect(source.asked).toBe(0);
    await expect(resolve(BY_PATH, [at({ ...flatOnly, [`/.metadata${FLAT}/config.json`]: file(CONFIG) })])).resolves.toMatchObject({ manifest: PARSED, configSource: '.metadata' });
    const plain = { '/images/mine/bin': directory, '/.metadata/images/mine/config.json': file(CONFIG) };
    await expect(resolve('cvmfs://r.example.org/images/mine', [at(plain)])).resolves.toMatchObject({ manifest: PARSED });
  });

  it('comes from a source by the id of a flat tree, also without any manifest', async () => {
    await expect(resolve(BY_PATH, [at(flatOnly)], [has(CONFIG)])).resolves.toMatchObject({ manifest: PARSED, configSource: 'a source' });
  });

  it("finds its sha256 in a manifest that Go wrote with its own names, for a tree that is not flat", async () => {
    const manifest = JSON.stringify({ SchemaVersion: 2, Config: { MediaType: 'x', Size: 1, Digest: `sha256:${ID}` }, Layers: [] });
    const tree = { [`${HUB}/debian:12/bin`]: directory, [`/.metadata${HUB}/debian:12/manifest.json`]: file(manifest) };
    await expect(resolve('debian:12', [at(tree)], [has(CONFIG)])).resolves.toMatchObject({ manifest: PARSED, configSource: 'a source' });
    const hostile = { ...tree, [`/.metadata${HUB}/debian:12/manifest.json`]: file('{"config": {"digest": "sha256:../../x"}, "layers": []}') };
    await expect(resolve('debian:12', [at(hostile)], [has(CONFIG)])).resolves.toMatchObject({ configSource: 'none', warnings: [expect.stringContaining('manifest.json is not used')] });
  });

  it('is not taken from anybody with another sha256', async () => {
    const tree = { ...image('debian:12'), [`/.metadata${HUB}/debian:12/config.json`]: file('{"config": {"Entrypoint": ["evil"]}}') };
    const resolved = await resolve('debian:12', [at(tree)], [has('{}'), has(CONFIG)]);
    expect(resolved).toMatchObject({ manifest: PARSED, configSource: 'a source' });
    expect(resolved.warnings).toEqual([expect.stringMatching(/config\.json is not used: its sha256 is/), expect.stringMatching(/a source is not used: its sha256 is/)]);
  });

  it('is asked for once, and then known', async () => {
    const [cache, source] = [createConfigCache(), has(CONFIG)];
    const first = await resolve('debian:12', [at(image('debian:12'))], [source], cache);
    const second = await resolve('debian:12', [at(image('debian:12'))], [source], cache);
    expect(source.asked).toBe(1);
    expect(second).toMatchObject({ manifest: PARSED, digest: first.digest });
    await cache.set(ID, Buffer.from('poison'));
    await expect(resolve('debian:12', [at(image('debian:12'))], [source], cache)).resolves.toMatchObject({ manifest: PARSED, configSource: 'a source' });
  });

  it('fails rather than to start a container without it, when a source can not be asked now', async () => {
    const away: ConfigSource = { name: 'away', fetch: () => Promise.reject(new Failure('NETWORK', 'away: connect ECONNREFUSED')) };
    await expect(resolve('debian:12', [at(image('debian:12'))], [away])).rejects.toMatchObject({ code: 'NETWORK', message: expect.stringContaining('image_config_sources') });
    await expect(resolve('debian:12', [at(image('debian:12'))], [away, has(CONFIG)])).resolves.toMatchObject({ manifest: PARSED });
  });

  it.each([
    'rubbish', '[]', 'null', '"x"', '{"config": []}', '{"config": {"Env": "A=1"}}', '{"config": {"Env": [1]}}', '{"config": {"Cmd": ["a\\u0000b"]}}', '{"config": {"Labels": {"a": {}}}}', '{"config": {"User": 5}}',
    `{"config": {"Env": ["${'x'.repeat(1024 * 1024)}"]}}`, '['.repeat(100_000),
  ])('passes over hostile JSON no. %#', async (json) => {
    const tree = { '/img/bin': directory, '/.metadata/img/config.json': file(json) };
    await expect(resolve('cvmfs://r.example.org/img', [at(tree)])).resolves.toMatchObject({ configSource: 'none', warnings: [expect.stringContaining('config.json is not used')] });
  });

  it('does not let a label reach the prototype', async () => {
    const tree = { '/img/bin': directory, '/.metadata/img/config.json': file('{"config": {"Labels": {"__proto__": "x", "constructor": "y"}}}') };
    const { manifest } = await resolve('cvmfs://r.example.org/img', [at(tree)]);
    expect(Object.entries(manifest.config.Labels)).toEqual([['constructor', 'y']]);
  });

  it('is not read through links or from anything but a file of sane size', async () => {
    const base = { '/img/bin': directory, '/secret.json': file(CONFIG) };
    for (const tree of [
      { ...base, '/.metadata/img/config.json': link('/secret.json') },
      { ...base, '/.metadata/img': link('/other'), '/other/config.json': file(CONFIG) },
      { ...base, '/.metadata/img/config.json': directory },
      { ...base, '/.metadata/img/config.json': file(Buffer.alloc(4 * 1024 * 1024 + 1)) },
    ]) {
      await expect(resolve('cvmfs://r.example.org/img', [at(tree)])).resolves.toMatchObject({ configSource: 'none', warnings: [expect.stringContaining('is not used')] });
    }
  });

  it('is read from what DUCC leaves for Singularity, as far as that goes', async () => {
    const script = ['#!/bin/sh', 'export PATH="/usr/bin:/bin"', 'export LANG="${LANG:-"C.UTF-8"}"', 'export ODD="${ODD:-"a \\\\\\"b\\\\\\" \\\\$c"}"', 'export NONE="${NONE:-}"', 'export EVIL="$(id)"', ''].join('\n');
    const runscript = `#!/bin/sh\nOCI_ENTRYPOINT='"python3" "-c" "print(\\"\\$x\\")"'\nOCI_CMD=''\nCMDLINE_ARGS=""\n`;
    const s = `${FLAT}/.singularity.d`;
    const tree = { ...flatOnly, [`${s}/env/10-docker2singularity.sh`]: file(script), [`${s}/runscript`]: file(runscript), [`${s}/labels.json`]: file('{"a": "b"}') };
    const resolved = await resolve(BY_PATH, [at(tree)]);
    expect(resolved.configSource).toBe('.singularity.d');
    expect(resolved.manifest.config).toEqual({ Env: ['PATH=/usr/bin:/bin', 'LANG=C.UTF-8', 'ODD=a "b" $c'], Entrypoint: ['python3', '-c', 'print("$x")'], Cmd: [], Labels: { a: 'b' } });
    expect(resolved.warnings).toEqual([expect.stringContaining('1 lines are not understood')]);
  });

  it('is empty when the Singularity files say nothing, as in images that were not made by DUCC', async () => {
    const s = `${FLAT}/.singularity.d`;
    const tree = { ...flatOnly, [`${s}/env/10-docker2singularity.sh`]: file('#!/bin/sh\n# env\n'), [`${s}/runscript`]: file('#!/bin/sh\n# runscript\n') };
    await expect(resolve(BY_PATH, [at(tree)])).resolves.toMatchObject({ configSource: 'none', warnings: [] });
    const strange = { ...flatOnly, [`${s}/runscript`]: file(`#!/bin/sh\nOCI_ENTRYPOINT='\`id\`'\nOCI_CMD=''\n`), [`${s}/labels.json`]: file('{{'), [`${s}/env`]: link('/etc') };
    const { configSource, warnings } = await resolve(BY_PATH, [at(strange)]);
    expect(configSource).toBe('none');
    expect(warnings).toHaveLength(2);
  });
});

describe('image_config_sources', () => {
  it('are OCI layouts and registries', () => {
    for (const text of ['oci:/srv/registry', 'docker://registry.example.org', 'docker://127.0.0.1:5000', 'docker://registry.example.org:444/mirror/x']) expect(createConfigSource(text).name).toBe(text);
    for (const text of ['', 'oci:relative', 'docker://', 'http://x', 'docker://user@host', 'docker://host/UP', 'docker://host/a?b']) {
      expect(() => createConfigSource(text)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
    }
  });
});
