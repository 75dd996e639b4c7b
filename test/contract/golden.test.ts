/** What the real CernVM-FS tools published, through our mount: every entry of every tag, and what the stock client says of it. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import * as zlib from 'node:zlib';
import { describeWithFixtures } from '../support/fixtures';
import { startHttpServer } from '../support/http-server';
import type { TestHttpServer } from '../support/http-server';
import { look } from '../support/outside';
import type { Look } from '../support/outside';
import { TestHost } from '../support/test-host';
import { describeDrivers, driverConfig } from './driver';
import type { Driver } from './driver';

const TAGS: Readonly<Record<string, readonly string[]>> = {
  'golden.cvmfs.test': ['rev-1-initial', 'rev-2', 'rev-3_types', 'rev-4-external'],
  'golden-plain.cvmfs.test': ['v1', 'v2', 'v3'],
  'golden-shake128.cvmfs.test': ['v1', 'v2', 'v3'],
};
/** Where the stock client had the repositories when it was asked. */
const ORACLE_SERVER = /^http:\/\/127\.0\.0\.1:\d+\/fixtures\/golden\//;
/** Magic attributes whose values depend on the place or the moment. */
const MOMENTARY = ['user.host', 'user.lhash', 'user.nclg', 'user.repo_metainfo'];
const ENV = { CVMFS_TEST_VARIANT: 'blue' };
const EXTERNAL = ['-o', 'CVMFS_EXTERNAL_HTTP_PROXY=DIRECT'];

interface Oracle {
  readonly listxattr?: readonly string[];
  readonly get?: Readonly<Record<string, string>>;
}

/** A manifest of the fixtures without what the driver declares that it does not show. */
function declared(driver: Driver, manifest: string, into: string): string {
  const lines = zlib.gunzipSync(fs.readFileSync(manifest)).toString().split('\n').filter((line) => line !== '');
  const entries = lines.map((line) => JSON.parse(line) as { path_b64?: string; mtime_nsec?: number });
  const shown = entries
    .filter((entry) => driver.supports.bytesNames || entry.path_b64 === undefined)
    .map((entry) => (driver.supports.exactTimes || entry.mtime_nsec === undefined ? entry : { ...entry, mtime_nsec: Math.floor(entry.mtime_nsec / 1e6) * 1e6 }));
  const file = path.join(into, path.basename(manifest));
  fs.writeFileSync(file, zlib.gzipSync(shown.map((entry) => `${JSON.stringify(entry)}\n`).join('')));
  return file;
}

describeDrivers('repositories of the real tools', (driver) => {
  describeWithFixtures('through a mount', (fixtures) => {
    let host: TestHost;
    let server: TestHttpServer;
    beforeAll(async () => {
      host = new TestHost();
      server = await startHttpServer(fixtures);
    });
    afterAll(async () => {
      await host.end();
      await server.close();
    });

    const mount = (fqrn: string, args: readonly string[]): ReturnType<TestHost['mount']> =>
      host.mount({
        fqrn,
        servers: [`${server.url}/${fqrn}`],
        publicKey: path.join(fixtures, fqrn, `${fqrn}.pub`),
        args: ['-o', `CVMFS_EXTERNAL_URL=${server.url}/${fqrn}/external`, ...EXTERNAL, ...driverConfig(host, driver), ...args],
        env: ENV,
      });
    const verify = async (fqrn: string, name: string, tree: string): Promise<unknown> => {
      const links = path.join(host.dir, 'links.json');
      const ran = await host.outside('python3', [path.join(fixtures, 'verify.py'), declared(driver, path.join(fixtures, fqrn, 'manifests', `${name}.jsonl.gz`), host.dir), tree, `--observed-links=${links}`], { timeoutMs: 120_000 });
      if (ran.code !== 0) throw new Error(`${fqrn} ${name}: ${ran.stdout}${ran.stderr}`);
      return JSON.parse(fs.readFileSync(links, 'utf8'));
    };

    for (const [fqrn, tags] of Object.entries(TAGS)) {
      // Older revisions are the same rows to every driver.
      it.each(driver.name === 'kernel' ? tags : tags.slice(-1))(`${fqrn} %s equals its manifest, entry by entry`, async (tag) => {
        const info = await mount(fqrn, ['--tag', tag, '-o', 'CVMFS_MAGIC_XATTRS_VISIBILITY=never']);
        const links = await verify(fqrn, tag, info.mountpoint);
        expect(links).toEqual(JSON.parse(fs.readFileSync(path.join(fixtures, fqrn, 'manifests', `${tag}.variant-links.json`), 'utf8')));
        expect(await host.umount(info.mountpoint)).toMatchObject({ code: 0 });
      }, 120_000);

      it(`${fqrn} answers magic attributes and statvfs as the stock client does`, async () => {
        const oracle = JSON.parse(fs.readFileSync(path.join(fixtures, fqrn, 'manifests', 'oracle.json'), 'utf8')) as Record<string, Oracle>;
        const info = await mount(fqrn, []);
        const wanted: Array<{ call: Look; seen: unknown }> = [];
        for (const [name, says] of Object.entries(oracle)) {
          if (!name.startsWith('/')) continue;
          const file = path.join(info.mountpoint, name);
          wanted.push({ call: ['listxattr', file], seen: { value: [...new Set(says.listxattr)].sort() } });
          for (const [attribute, value] of Object.entries(says.get ?? {})) {
            if (MOMENTARY.includes(attribute) && value !== 'errno 61') continue;
            wanted.push({ call: ['getxattr', file, attribute], seen: value === 'errno 61' ? { error: 'ENODATA' } : { value: value.replace(ORACLE_SERVER, `${server.url}/`) } });
          }
        }
        const seen = await look(host, wanted.map(({ call }) => call));
        expect(seen.map((one, i) => ({ call: wanted[i]!.call.slice(0, 3), ...one }))).toEqual(wanted.map(({ call, seen: one }) => ({ call: call.slice(0, 3), ...(one as object) })));

        const [statvfs] = await look(host, [['statvfs', info.mountpoint]]);
        const { f_files, f_bsize, f_frsize } = (oracle['_statvfs'] ?? {}) as Record<string, number>;
        expect(statvfs!.value).toMatchObject({ f_files, f_bsize, f_frsize });
        expect(await host.umount(info.mountpoint)).toMatchObject({ code: 0 });
      }, 60_000);

      it(`${fqrn} hides .cvmfs and finds it when asked`, async () => {
        const oracle = JSON.parse(fs.readFileSync(path.join(fixtures, fqrn, 'manifests', 'oracle.json'), 'utf8')) as { _dot_cvmfs: string | { snapshots: string[] } };
        const info = await mount(fqrn, []);
        const dot = path.join(info.mountpoint, '.cvmfs');
        const [root, own, snapshots] = await look(host, [['list', info.mountpoint], ['stat', dot], ['list', path.join(dot, 'snapshots')]]);
        expect(root!.value).not.toContain('.cvmfs');
        expect(root!.value).not.toContain('.cvmfs-view');
        if (typeof oracle._dot_cvmfs === 'string') expect([own!.error, snapshots!.error]).toEqual(['ENOENT', 'ENOENT']);
        else {
          expect(snapshots!.value).toEqual(oracle._dot_cvmfs.snapshots);
          // A snapshot is a whole revision below itself.
          await verify(fqrn, 'v1', path.join(dot, 'snapshots', 'v1'));
        }
        expect(await host.umount(info.mountpoint)).toMatchObject({ code: 0 });
      }, 60_000);
    }

    it('the flat image of images.golden.test equals its manifest', async () => {
      const fqrn = 'images.golden.test';
      const info = await mount(fqrn, ['-o', 'CVMFS_MAGIC_XATTRS_VISIBILITY=never']);
      const { flat } = JSON.parse(fs.readFileSync(path.join(fixtures, fqrn, 'image.json'), 'utf8')) as { flat: string };
      await verify(fqrn, 'flat', path.join(info.mountpoint, flat));
      expect(await host.umount(info.mountpoint)).toMatchObject({ code: 0 });
    }, 120_000);
  });
});
