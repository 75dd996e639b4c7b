/**
 * A container that has run for a while outlives its revision on the server and the network: its image is fetched
 * completely and kept. What does not fit into the cache is named.
 */
import { createHash, randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { CliScene, FQRN } from '../support/cli-scene';
import type { Running } from '../support/cli-scene';
import { describeWithMounts } from '../support/test-host';

jest.setTimeout(180_000);

const UNTIL_MS = 60_000;
const PAUSE_MS = 200;

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** Files of an image by name below it: some small, some large, in nested catalogs and not, two of them equal. */
function image(files: number, bytes: number): Record<string, Buffer> {
  const out: Record<string, Buffer> = { '.cvmfscatalog': Buffer.alloc(0), 'usr/.cvmfscatalog': Buffer.alloc(0) };
  for (let n = 0; n < files; n++) out[`${n % 2 === 0 ? 'usr/lib' : 'opt'}/d${n % 7}/file-${n}`] = randomBytes(Math.ceil(bytes / files) + n);
  out['etc/equal'] = out['opt/d1/file-1']!;
  out['etc/empty'] = Buffer.alloc(0);
  return out;
}

describeWithMounts('containers that run for long', () => {
  let scene: CliScene;
  let web: Running & { readonly url: string };
  let service: Running & { readonly http: string; readonly listen: string };
  const small = image(60, 3_000_000);
  const large = image(40, 9_000_000);

  const metric = async (name: string): Promise<number> => {
    const text = await (await fetch(`http://${service.http}/metrics`)).text();
    return Number(new RegExp(`^mesos_cvmfs_${name} (\\S+)$`, 'm').exec(text)?.[1] ?? NaN);
  };
  const warnings = async (): Promise<string[]> => (await scene.json<{ warnings: string[] }>('status')).warnings.filter((text) => text.includes('not completely on this host'));
  const owners = async (): Promise<string[]> => (await scene.json<{ owners: Array<{ owner: string }> }>('cache', 'usage')).owners.map(({ owner }) => owner).filter((owner) => owner.startsWith('image/complete.'));
  async function until(what: string, check: () => Promise<boolean>): Promise<void> {
    for (const end = Date.now() + UNTIL_MS; !(await check()); await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))) {
      if (Date.now() > end) throw new Error(`${what} did not happen; the service said:\n${service.log()}`);
    }
  }
  /** Hashes of all files below a directory, taken by another process. */
  async function hashes(dir: string): Promise<Map<string, string>> {
    const ran = await scene.host.outside('sh', ['-c', 'cd "$1" && find . -type f -print0 | xargs -0 sha256sum', 'sh', dir]);
    expect(ran).toMatchObject({ code: 0, stderr: '' });
    return new Map(ran.stdout.trimEnd().split('\n').map((line) => [line.slice(68), line.slice(0, 64)]));
  }
  const expected = (files: Record<string, Buffer>): Map<string, string> => new Map(Object.entries(files).map(([name, bytes]) => [name, sha256(bytes)]));
  const sorted = (map: Map<string, string>): Array<[string, string]> => [...map].sort(([a], [b]) => (a < b ? -1 : 1));

  beforeAll(async () => {
    scene = new CliScene();
    await scene.create();
    for (const [name, files] of Object.entries({ small, large })) scene.files(Object.fromEntries(Object.entries(files).map(([file, bytes]) => [`images/${name}/${file}`, bytes])));
    await scene.publish();
    web = await scene.serveRepository();
    scene.configure(web.url);
    const config = fs.readFileSync(scene.configFile, 'utf8').replace('limit = "1 GB"', 'limit = "13 MB"').replace('[provisioner]', '[provisioner]\ncomplete_after = "1s"\ncomplete_rate = "50 MB"');
    fs.writeFileSync(scene.configFile, config);
    service = await scene.serve();
  });
  afterAll(() => scene.end());

  it('outlive the collection of their revision and the network; those whose image does not fit are named; pins go with the last one', async () => {
    const provision = async (name: string, container: string): Promise<string> => (await scene.json<{ rootfs: string }>('provision', `cvmfs://${FQRN}/images/${name}`, '--container', container)).rootfs;
    const kept = await provision('small', 'kept');
    await provision('small', 'kept-too');
    await until('the completion of the small image', async () => (await metric('images_complete')) === 1);
    const lost = await provision('large', 'lost');
    await until('the warning about the large image', async () => (await warnings()).length === 1);
    expect((await warnings())[0]).toMatch(/^the image cvmfs:\/\/images\.cli\.test\/images\/large of container lost is not completely on this host.*raise cache\.limit/);
    expect(await metric('containers_at_risk')).toBe(1);
    expect(await owners()).toHaveLength(1);

    // What is read now pushes out of the cache what is not pinned.
    expect(sorted(await hashes(lost))).toEqual(sorted(expected(large)));

    // The record is on disk: a service that is killed knows it when it comes back.
    await service.stop('SIGKILL');
    service = await scene.serve();
    await until('the completion after a new start', async () => (await metric('images_complete')) === 1 && (await metric('containers_at_risk')) === 1);

    await web.stop('SIGKILL');
    fs.rmSync(path.join(scene.storage, 'data'), { recursive: true });
    fs.writeFileSync('/proc/sys/vm/drop_caches', '3');
    expect(sorted(await hashes(kept))).toEqual(sorted(expected(small)));

    await scene.json('destroy', 'kept');
    expect(await owners()).toHaveLength(1);
    await scene.json('destroy', 'kept-too');
    await scene.json('destroy', 'lost');
    await until('the end of the pins', async () => (await owners()).length === 0);
    expect(await warnings()).toEqual([]);
    expect([await metric('images_complete'), await metric('containers_at_risk'), await metric('completions_in_flight')]).toEqual([0, 0, 0]);
  });
});
