/** The images that DUCC's own layout holds, resolved through the real walk. */
import * as path from 'node:path';
import { createConfigCache } from '../../../src/image/config-cache';
import { createConfigSource } from '../../../src/image/create-config-source';
import { parseReference } from '../../../src/image/reference';
import { resolveImage } from '../../../src/image/resolve';
import { describeWithFixtures } from '../../support/fixtures';
import { openStorage } from '../../support/storage-reader';

const FQRN = 'images.golden.test';
const APP = '13fba79597dc19fe4e2a23e60fd82881a830eec9c9f0ef55201fcd9bb735000d';
const FLAT = `/.flat/13/${APP}`;
/** sha256 of the manifest, which this repository happens to keep byte for byte. */
const MANIFEST = 'b4e5fc1ed72fd556e2100c4b810d90cceb5225d5fea7c753ed3a779844b1983b';

describeWithFixtures('images.golden.test', (fixtures) => {
  const reader = openStorage(FQRN, path.join(fixtures, FQRN));
  const sources = [createConfigSource(`oci:${path.join(fixtures, FQRN, 'registry')}`)];
  const resolve = (text: string, from = sources) =>
    resolveImage(parseReference(text), { configured: [FQRN], imageRepositories: [FQRN], open: async () => reader }, { sources: from, cache: createConfigCache() });
  afterAll(() => reader.close());

  it('has debian-app:1 under every spelling, with its configuration from the registry', async () => {
    const spellings = ['debian-app:1', 'docker.io/library/debian-app:1', `debian-app@sha256:${MANIFEST}`, `cvmfs://${FQRN}/registry.hub.docker.com/library/debian-app:1`, `cvmfs://${FQRN}${FLAT}`];
    const all = await Promise.all(spellings.map((text) => resolve(text)));
    for (const one of all) {
      expect(one).toMatchObject({ repository: FQRN, path: Buffer.from(FLAT), catalog: { path: Buffer.from(FLAT) }, digest: all[0]!.digest, warnings: [] });
      expect(one.manifest).toEqual({
        id: APP,
        architecture: 'amd64',
        os: 'linux',
        config: {
          Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'LANG=C.UTF-8', 'APP_MODE=demo'],
          Entrypoint: ['python3'],
          Cmd: ['/app/main.py'],
          WorkingDir: '/app',
          Labels: { 'org.opencontainers.image.title': 'debian-app' },
        },
      });
    }
    expect(all[0]!.reference).toBe('docker.io/library/debian-app:1');
  });

  it('has an empty configuration where no source knows it', async () => {
    await expect(resolve('debian:12')).resolves.toMatchObject({ configSource: 'none', warnings: [], manifest: { config: { Env: [], Entrypoint: [], Cmd: [], Labels: {} } } });
  });

  it('names the places where an image is not', async () => {
    await expect(resolve('debian:13')).rejects.toThrow(/images\.golden\.test:\/registry\.hub\.docker\.com\/library\/debian:13/);
    await expect(resolve(`cvmfs://${FQRN}/.metadata/registry.hub.docker.com/library/debian:12/manifest.json`)).rejects.toThrow(/is a file/);
  });
});
