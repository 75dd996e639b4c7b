import { configObject, manifestObject, MANIFEST_TYPE, sha256Digest } from '../../../provisioner/facade/image-answer';
import { safeConfig, translateManifest } from '../../../provisioner/facade/registry-manifest';
import { imageDigest } from '../../../src/image/resolve';

const LAYER = `sha256:${'a'.repeat(64)}`;
const MANIFEST = { id: 'b'.repeat(64), architecture: 'arm64', os: 'linux', config: { Entrypoint: ['/e'], Env: ['A=1'], Cmd: ['c'], WorkingDir: '/w', Labels: { k: 'v' } } };
const parsed = (bytes: Buffer): Record<string, unknown> => JSON.parse(bytes.toString()) as Record<string, unknown>;

describe('the answer for an image', () => {
  it('has a configuration with all that an agent reads, as lists and texts', () => {
    expect(parsed(configObject(MANIFEST, LAYER))).toEqual({
      architecture: 'arm64',
      os: 'linux',
      config: { User: '', Env: ['A=1'], Entrypoint: ['/e'], Cmd: ['c'], WorkingDir: '/w', Labels: { k: 'v' } },
      rootfs: { type: 'layers', diff_ids: [LAYER] },
    });
  });

  it('has a `config` object even when nothing is known: an agent ends without one', () => {
    expect(parsed(configObject({}, LAYER))).toMatchObject({ os: 'linux', config: { User: '', Env: [], Entrypoint: [], Cmd: [], WorkingDir: '', Labels: {} } });
  });

  it('is the same bytes for the same image, and others for another layer or configuration', () => {
    const same = configObject(structuredClone(MANIFEST), LAYER);
    expect(configObject(MANIFEST, LAYER).equals(same)).toBe(true);
    expect(configObject({ ...MANIFEST, config: { ...MANIFEST.config, Env: [] } }, LAYER).equals(same)).toBe(false);
    expect(configObject(MANIFEST, `sha256:${'c'.repeat(64)}`).equals(same)).toBe(false);
  });

  it('names configuration and layer with sizes of 32 bits', () => {
    const config = configObject(MANIFEST, LAYER);
    const digest = sha256Digest(config);
    expect(parsed(manifestObject({ digest, size: config.length }, LAYER))).toEqual({
      schemaVersion: 2,
      mediaType: MANIFEST_TYPE,
      config: { mediaType: 'application/vnd.docker.container.image.v1+json', size: config.length, digest },
      layers: [{ mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip', size: 1, digest: LAYER }],
    });
  });

  it('has a layer whose digest changes with repository, view, path in it and configuration, and with nothing else', () => {
    const image = { repository: 'a.example.org', catalogHash: '1'.repeat(40), pathInCatalog: Buffer.from('/x'), manifest: MANIFEST };
    const digests = [image, { ...image, repository: 'b.example.org' }, { ...image, catalogHash: '2'.repeat(40) }, { ...image, pathInCatalog: Buffer.from('/y') }, { ...image, manifest: { config: MANIFEST.config } }].map(imageDigest);
    expect(new Set(digests).size).toBe(5);
    expect(imageDigest({ ...image, manifest: structuredClone(MANIFEST) })).toBe(digests[0]);
  });
});

describe("a real registry's manifest", () => {
  const config = { mediaType: 'application/vnd.oci.image.config.v1+json', size: 10, digest: `sha256:${'1'.repeat(64)}` };
  const layer = (mediaType: string, size = 5): object => ({ mediaType, size, digest: `sha256:${'2'.repeat(64)}` });
  const OCI = 'application/vnd.oci.image.manifest.v1+json';
  const bytes = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

  it('becomes one that an agent understands', () => {
    const found = translateManifest(`${OCI}; charset=utf-8`, bytes({ schemaVersion: 2, config, layers: [layer('application/vnd.oci.image.layer.v1.tar+gzip', 2 ** 40)] }), 'here');
    expect(found).toMatchObject({ kind: 'image', config: config.digest });
    expect(parsed((found as { body: Buffer }).body)).toEqual({
      schemaVersion: 2,
      mediaType: MANIFEST_TYPE,
      config: { mediaType: 'application/vnd.docker.container.image.v1+json', size: 10, digest: config.digest },
      layers: [{ mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip', size: 2 ** 32 - 1, digest: `sha256:${'2'.repeat(64)}` }],
    });
  });

  it('of several platforms is that of this one', () => {
    const entry = (os: string, architecture: string, digit: string): object => ({ digest: `sha256:${digit.repeat(64)}`, platform: { os, architecture } });
    const own = process.arch === 'x64' ? 'amd64' : process.arch;
    const list = bytes({ manifests: [entry('windows', own, '3'), entry('linux', 'riscv64', '4'), entry('linux', own, '5')] });
    expect(translateManifest('application/vnd.oci.image.index.v1+json', list, 'here')).toEqual({ kind: 'entry', digest: `sha256:${'5'.repeat(64)}` });
    expect(() => translateManifest('application/vnd.docker.distribution.manifest.list.v2+json', bytes({ manifests: [entry('linux', 'riscv64', '4')] }), 'here')).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
  });

  it.each([
    ['schema 1', 'application/vnd.docker.distribution.manifest.v1+prettyjws', {}, 'UNIMPLEMENTED'],
    ['layers of zstd', OCI, { schemaVersion: 2, config, layers: [layer('application/vnd.oci.image.layer.v1.tar+zstd')] }, 'UNIMPLEMENTED'],
    ['no layers', OCI, { schemaVersion: 2, config, layers: [] }, 'FAILED_PRECONDITION'],
    ['a digest that leads elsewhere', OCI, { schemaVersion: 2, config: { ...config, digest: 'sha256:../../x' }, layers: [layer(OCI)] }, 'FAILED_PRECONDITION'],
    ['a text', OCI, 'x', 'FAILED_PRECONDITION'],
  ])('is refused with %s', (_name, type, value, code) => {
    expect(() => translateManifest(type, bytes(value), 'here')).toThrow(expect.objectContaining({ code }));
  });

  it('comes with a configuration that does not end the agent', () => {
    const whole = bytes({ os: 'linux', config: { Env: [] } });
    expect(safeConfig(whole, 'here')).toBe(whole);
    expect(parsed(safeConfig(bytes({ os: 'linux', config: null }), 'here'))).toEqual({ os: 'linux', config: {} });
    expect(() => safeConfig(Buffer.from('[]'), 'here')).toThrow(/no JSON object/);
  });
});
