/** What containers read first is known at the next cold start, here and elsewhere, and nobody ever waits for it. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { CliScene, FQRN } from '../support/cli-scene';
import type { Running } from '../support/cli-scene';
import { startHttpServer } from '../support/http-server';
import type { TestHttpServer } from '../support/http-server';
import { describeWithMounts } from '../support/test-host';

jest.setTimeout(240_000);

const UNTIL_MS = 60_000;
const PAUSE_MS = 50;
const AWAY_MS = 100;
const QUIET_MS = 1_000;
/** Long enough for the reads of one container on a busy machine. */
const RECORD = '6s';

type Service = Running & { readonly http: string; readonly listen: string };
interface Profile {
  readonly image: string;
  readonly files: ReadonlyArray<{ readonly path: string; readonly at_ms: number; readonly parts: readonly number[] }>;
}

const content = (name: string): string => `${name}\n`.repeat(200);
const tree = (image: string): Record<string, string> => ({
  [`images/${image}/.cvmfscatalog`]: '',
  [`images/${image}/usr/lib/.cvmfscatalog`]: '',
  ...Object.fromEntries(Array.from({ length: 40 }, (_, n) => [`images/${image}/${n % 2 === 0 ? 'usr/lib' : 'opt'}/d${n % 5}/f${n}`, content(`${image} ${n}`)])),
  [`images/${image}/etc/a b%`]: content(`${image} odd`),
});
/** No two of them beside one another, so that nothing else guesses them. */
const START = ['usr/lib/d0/f0', 'opt/d1/f1', 'etc/a b%', 'usr/lib/d2/f12', 'opt/d3/f33'];
const imageOf = (name: string): string => `cvmfs://${FQRN}/images/${name}`;

describeWithMounts('start profiles', () => {
  let publisher: CliScene;
  let web: TestHttpServer;
  let hosts: CliScene[];
  let services: Service[];

  beforeEach(async () => {
    hosts = [];
    services = [];
    publisher = new CliScene();
    await publisher.create();
    for (const name of ['a', 'b']) publisher.files(tree(name));
    await publisher.publish();
    web = await startHttpServer(publisher.host.dir);
  });
  afterEach(async () => {
    for (const service of services) await service.stop();
    for (const host of hosts) await host.end();
    await web.close();
    await publisher.end();
  });

  async function host(settings = `profile_record = "${RECORD}"`, more = ''): Promise<{ scene: CliScene; service: Service }> {
    const scene = new CliScene();
    hosts.push(scene);
    scene.configure(`${web.url}/storage`, '', publisher.publicKey);
    fs.writeFileSync(scene.configFile, fs.readFileSync(scene.configFile, 'utf8').replace('[provisioner]', `${more}\n[provisioner]\n${settings}`));
    const service = await scene.serve();
    services.push(service);
    await scene.json('resolve', imageOf('a'));
    return { scene, service };
  }
  async function until(what: string, check: () => Promise<boolean>): Promise<void> {
    for (const end = Date.now() + UNTIL_MS; !(await check()); await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))) if (Date.now() > end) throw new Error(`${what} did not happen; ${services.map((one) => one.log()).join('\n')}`);
  }
  const provision = async (scene: CliScene, image: string, container: string): Promise<string> => (await scene.json<{ rootfs: string }>('provision', imageOf(image), '--container', container)).rootfs;
  const objects = (): string[] => web.requests.map(({ url }) => url).filter((url) => url.includes('/data/'));
  /** Nothing is asked for any more. */
  async function quiet(): Promise<void> {
    for (let before = -1; before !== objects().length; ) {
      before = objects().length;
      await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
    }
  }
  async function read(scene: CliScene, rootfs: string, image: string, names: readonly string[]): Promise<void> {
    for (const name of names) expect((await scene.host.outside('cat', [path.join(rootfs, name)], { timeoutMs: UNTIL_MS })).stdout).toBe(fs.readFileSync(path.join(publisher.source, 'images', image, name), 'utf8'));
  }
  const known = async (scene: CliScene, image: string): Promise<Profile | null> => {
    const ran = await scene.run('image', 'profile', 'show', imageOf(image), '--json');
    return ran.code === 0 ? (JSON.parse(ran.stdout) as Profile) : null;
  };
  const recorded = async (scene: CliScene, image: string): Promise<Profile> => {
    await until('the recording', async () => (await known(scene, image)) !== null);
    return (await known(scene, image))!;
  };
  const filesOf = ({ files }: Profile): string[] => files.filter(({ parts }) => parts.length > 0).map((file) => file.path);
  const text = START.map((name) => (name === 'etc/a b%' ? 'etc/a%20b%25' : name));
  /** A recorded start of image a, exported. */
  async function exported(): Promise<string> {
    const { scene } = await host();
    await read(scene, await provision(scene, 'a', 'first'), 'a', START);
    await recorded(scene, 'a');
    const file = path.join(publisher.host.dir, 'a.json');
    await scene.json('image', 'profile', 'export', imageOf('a'), '--out', file);
    return file;
  }
  /** The container's files are there before it asks, in a few waves. */
  async function startsAtOnce(scene: CliScene, names = START): Promise<void> {
    let open = 0;
    let most = 0;
    web.requests.length = 0;
    web.behave = (url) => {
      if (!url.includes('/data/')) return undefined;
      most = Math.max(most, ++open);
      setTimeout(() => (open -= 1), AWAY_MS);
      return { kind: 'delay', ms: AWAY_MS };
    };
    const rootfs = await provision(scene, 'a', 'again');
    await quiet();
    const before = objects();
    expect(before).toEqual([...new Set(before)]);
    expect(most).toBeGreaterThanOrEqual(3);
    web.behave = () => ({ kind: 'reset' });
    await read(scene, rootfs, 'a', names);
    expect(objects().length).toBe(before.length);
  }

  it('are recorded without what others fetch or read, and replayed on another host', async () => {
    const { scene, service } = await host();
    const [a, b] = await Promise.all([provision(scene, 'a', 'one'), provision(scene, 'b', 'two')]);
    await Promise.all([read(scene, a!, 'a', START), read(scene, b!, 'b', ['opt/d4/f9']), scene.json('image', 'prefetch', imageOf('a'))]);
    expect(filesOf(await recorded(scene, 'a'))).toEqual(text);
    expect(filesOf(await recorded(scene, 'b'))).toEqual(['opt/d4/f9']);
    expect((await (await fetch(`http://${service.http}/metrics`)).text())).toMatch(/^mesos_cvmfs_start_profiles_recorded_total 2$/m);

    const file = path.join(publisher.host.dir, 'a.json');
    await scene.json('image', 'profile', 'export', imageOf('a'), '--out', file);
    const other = await host();
    expect(await other.scene.json('image', 'profile', 'import', imageOf('a'), file)).toMatchObject({ image: imageOf('a') });
    await startsAtOnce(other.scene);
    web.behave = () => undefined;
    const inspected = await other.scene.json<{ fetched_ahead: Record<string, number>; start_profile: { files: number } }>('image', 'inspect', imageOf('a'));
    expect(inspected.start_profile.files).toBeGreaterThanOrEqual(START.length);
    expect(inspected.fetched_ahead).toMatchObject({ wasted_objects: 0 });
    expect(inspected.fetched_ahead['used_objects']).toBeGreaterThanOrEqual(START.length);
    expect(await other.scene.json('image', 'profile', 'remove', imageOf('a'))).toEqual({ removed: imageOf('a') });
    expect((await other.scene.run('image', 'profile', 'show', imageOf('a'))).code).toBe(4);
  });

  it('serve an image that has been updated since, and are recorded anew', async () => {
    const file = await exported();
    publisher.files({ 'images/a/opt/d1/f1': content('changed'), 'images/a/usr/lib/new': content('new') });
    fs.rmSync(path.join(publisher.source, 'images/a/opt/d3/f33'));
    await publisher.publish();
    const { scene } = await host();
    await scene.json('image', 'profile', 'import', imageOf('a'), file);
    await startsAtOnce(scene, START.slice(0, 4));
    web.behave = () => undefined;
    const before = JSON.parse(fs.readFileSync(file, 'utf8')) as { view: string };
    await until('the new recording', async () => ((await known(scene, 'a')) as unknown as { view: string }).view !== before.view);
    expect(filesOf((await known(scene, 'a'))!)).toEqual(expect.arrayContaining(text.slice(0, 4)));
  });

  it('lie beside an image in its repository, and are used where there is none on the host', async () => {
    const file = await exported();
    await publisher.host.ok(['publish', `dir:${publisher.source}/images/a`, FQRN, '--storage', publisher.storage, '--keys', publisher.keys, '--to', '/images/a', '--profile', file]);
    const { scene, service } = await host();
    await startsAtOnce(scene);
    expect((await (await fetch(`http://${service.http}/metrics`)).text())).toMatch(/^mesos_cvmfs_start_profiles_replayed_total\{source="published"\} 1$/m);
  });

  it('that are damaged or hostile keep no container from starting', async () => {
    const { scene } = await host();
    const entry = { path: 'opt/d1/f1', at_ms: 0, parts: [0] };
    const head = { format: 'mesos-cvmfs start profile', version: 1, image: imageOf('a'), view: '0'.repeat(40), path_in_view: '/', recorded: '2026-01-01T00:00:00.000Z' };
    const file = path.join(publisher.host.dir, 'bad.json');
    for (const bad of ['{', JSON.stringify({ ...head, files: [{ ...entry, path: '../../b/opt/d4/f9' }] }), JSON.stringify({ ...head, files: Array.from({ length: 5_000 }, () => entry) }), ' '.repeat(2 << 20)]) {
      fs.writeFileSync(file, bad);
      expect((await scene.run('image', 'profile', 'import', imageOf('a'), file)).code).toBe(8);
    }
    fs.writeFileSync(file, JSON.stringify({ ...head, files: [entry, { ...entry, path: 'nothing/here' }, { ...entry, path: 'opt' }, { ...entry, path: 'etc/a b%25', parts: [7, 100_000] }] }));
    await scene.json('image', 'profile', 'import', imageOf('a'), file);
    await read(scene, await provision(scene, 'a', 'one'), 'a', START);
    const profiles = path.join(scene.host.dir, 'state/profiles');
    const [name] = fs.readdirSync(profiles);
    fs.writeFileSync(path.join(profiles, name!), 'not a profile');
    await read(scene, await provision(scene, 'a', 'two'), 'a', START);
    await until('setting it aside', async () => Promise.resolve(fs.readdirSync(profiles).includes(`${name!}.bad`)));
  });

  it('are of no harm while the network is away', async () => {
    const file = await exported();
    const { scene } = await host();
    await read(scene, await provision(scene, 'a', 'one'), 'a', START.slice(0, 2));
    await scene.json('image', 'profile', 'import', imageOf('a'), file);
    web.behave = () => ({ kind: 'reset' });
    const rootfs = await provision(scene, 'a', 'two');
    await read(scene, rootfs, 'a', START.slice(0, 2));
    web.behave = () => undefined;
    await read(scene, rootfs, 'a', START);
  });

  it.each([
    ['profiles', 'profiles = "off"\nprofile_record = "1s"', ''],
    ['speculation', 'profile_record = "1s"', 'speculation = "off"'],
  ])('are neither recorded nor replayed with %s off', async (_what, settings, ofRepository) => {
    const { scene } = await host(settings);
    if (ofRepository !== '') {
      fs.writeFileSync(scene.configFile, fs.readFileSync(scene.configFile, 'utf8').replace('max_ttl', `${ofRepository}\nmax_ttl`));
      await services.pop()!.stop();
      await scene.run('umount', path.join(scene.mountRoot, FQRN));
      services.push(await scene.serve());
    }
    const rootfs = await provision(scene, 'a', 'one');
    await read(scene, rootfs, 'a', START);
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    expect(await known(scene, 'a')).toBeNull();
  });
});
