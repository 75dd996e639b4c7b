/** What is fetched before it is asked for, through a mount whose server is far away: what arrives together, and what never does. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { MountInfo } from '../../src/fuse/keeper/keeper';
import type { SpeculationStatus } from '../../src/fuse/server/speculation/speculation';
import { MadeRepository } from '../support/made-repository';
import { look } from '../support/outside';
import { describeWithMounts, TestHost } from '../support/test-host';

const FQRN = 'ahead.example.org';
/** Far enough for a guess to be there before the next question, on a busy machine too. */
const AWAY_MS = 60;
const SCRIPT_BYTES = 4_000;

/** Differs from file to file, and does not compress to nothing. */
const content = (name: string, bytes = 600): string => `${name}\n`.repeat(Math.ceil(bytes / (name.length + 1)));

describeWithMounts('a repository that is far away', () => {
  let host: TestHost;
  let repository: MadeRepository;
  /** Objects under way at once, at most, and each object's requests. */
  let most: number;
  let open: number;

  beforeEach(async () => {
    host = new TestHost();
    repository = await MadeRepository.create(FQRN);
    most = 0;
    open = 0;
  });
  afterEach(async () => {
    await host.end();
    await repository.end();
  });

  async function mounted(speculation: 'on' | 'off' = 'on'): Promise<MountInfo> {
    await repository.publish();
    const file = path.join(host.dir, 'config.toml');
    fs.writeFileSync(file, `run_dir = "${host.runDir}"\n[repositories."${FQRN}"]\nspeculation = "${speculation}"\nservers = ["${repository.server.url}/@fqrn@"]\npublic_keys = ["${repository.mountSource.publicKey}"]\n`, { mode: 0o600 });
    const info = await host.mount({ ...repository.mountSource, args: ['--config', file] });
    repository.server.requests.length = 0;
    repository.server.behave = (url) => {
      if (!url.includes('/data/')) return undefined;
      open += 1;
      most = Math.max(most, open);
      setTimeout(() => (open -= 1), AWAY_MS);
      return { kind: 'delay', ms: AWAY_MS };
    };
    return info;
  }

  const objects = (): string[] => repository.server.requests.map(({ url }) => url).filter((url) => url.includes('/data/'));
  const once = (): void => expect(objects()).toEqual([...new Set(objects())]);
  async function speculation(info: MountInfo): Promise<SpeculationStatus> {
    return ((await host.client(info).raw('status')) as { speculation: SpeculationStatus }).speculation;
  }
  const read = (info: MountInfo, names: readonly string[]) => look(host, names.map((name) => ['read', path.join(info.mountpoint, name)] as const));
  /** Nothing is on its way any more. */
  async function settled(info: MountInfo): Promise<SpeculationStatus> {
    for (;;) {
      const status = await speculation(info);
      if (status.underWay === 0 && open === 0) return status;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  const walkFiles = Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`tree/${String(Math.floor(i / 12)).padStart(2, '0')}/${String(i).padStart(3, '0')}`, content(`file ${i}`)]));

  it('is read in order with many objects under way, each fetched once, and right', async () => {
    repository.write(walkFiles);
    const info = await mounted();
    expect(await read(info, Object.keys(walkFiles))).toEqual(Object.values(walkFiles).map((value) => ({ value })));
    const { kinds } = await settled(info);
    once();
    expect(objects()).toHaveLength(60);
    expect(most).toBeGreaterThanOrEqual(8);
    expect(kinds.walk.fetchedObjects).toBeGreaterThan(40);
    expect(kinds.walk.usedBytes).toBe(kinds.walk.fetchedBytes);
  }, 60_000);

  it('is fetched object by object where that is switched off', async () => {
    repository.write(walkFiles);
    const info = await mounted('off');
    const names = Object.keys(walkFiles).slice(0, 20);
    expect(await read(info, names)).toEqual(names.map((name) => ({ value: walkFiles[name] })));
    expect(objects()).toHaveLength(20);
    expect(most).toBe(1);
    expect(await speculation(info)).toBeNull();
  }, 60_000);

  it('has no contents fetched by whoever only lists it', async () => {
    repository.write(walkFiles);
    const info = await mounted();
    const found = await host.outside('find', [info.mountpoint, '-printf', '%p %s\n']);
    expect(found.stdout.split('\n').length).toBeGreaterThan(60);
    await settled(info);
    expect(objects()).toEqual([]);
  }, 60_000);

  it('is not read ahead for a reader who jumps about', async () => {
    repository.write(Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`big/${String(i).padStart(3, '0')}`, content(`file ${i}`)])));
    const info = await mounted();
    const rows = [3, 50, 51, 17, 80, 81, 5, 99, 30, 31, 2, 64];
    await read(info, rows.map((row) => `big/${String(row).padStart(3, '0')}`));
    await settled(info);
    expect(objects()).toHaveLength(rows.length);
  }, 60_000);

  it('is left soon by a reader who stops: what was fetched in vain is bounded, and said', async () => {
    repository.write({ ...walkFiles, ...Object.fromEntries(Object.entries(walkFiles).map(([name, text]) => [`z${name}`, `z${text}`])) });
    const info = await mounted();
    const names = Object.keys(walkFiles).slice(0, 12);
    await read(info, names);
    const { kinds, images } = await settled(info);
    once();
    // Of the next directory a few, since nobody has been seen to go from one into the next.
    expect(objects().length).toBeLessThanOrEqual(12 + 4);
    expect(kinds.walk.fetchedObjects - kinds.walk.usedObjects).toBe(objects().length - 12);
    expect(Object.values(images).reduce((sum, image) => sum + image.fetchedBytes - image.usedBytes, 0)).toBe(kinds.walk.fetchedBytes - kinds.walk.usedBytes);
  }, 60_000);

  it('has the interpreter of a script on its way before the script is run, with all that it leads to', async () => {
    repository.write({
      'image/usr/bin/tool': `#!/usr/bin/env -S A=1 run\n${'x'.repeat(SCRIPT_BYTES)}`,
      'image/usr/bin/env': content('env'),
      'image/opt/real/run': `#!/usr/lib/base\n${content('run')}`,
      'image/usr/lib/base': content('base'),
      'image/usr/lib/other': content('other'),
      'lib/base': content('not in the image'),
    });
    fs.mkdirSync(path.join(repository.source, 'image/usr/local/bin'), { recursive: true });
    fs.symlinkSync('/opt/real/run', path.join(repository.source, 'image/usr/local/bin/run'));
    const info = await mounted();
    await read(info, ['image/usr/bin/tool']);
    const { kinds } = await settled(info);
    once();
    expect(objects()).toHaveLength(4);
    expect(kinds.closure).toMatchObject({ fetchedObjects: 3, usedObjects: 0 });
    repository.server.behave = () => ({ kind: 'reset' });
    expect(await read(info, ['image/usr/bin/env', 'image/opt/real/run', 'image/usr/lib/base'])).toEqual([content('env'), `#!/usr/lib/base\n${content('run')}`, content('base')].map((value) => ({ value })));
    expect((await speculation(info)).kinds.closure).toMatchObject({ fetchedObjects: 3, usedObjects: 3 });
  }, 60_000);

  it('is not followed in circles', async () => {
    repository.write({ 'image/usr/bin/a': '#!/usr/bin/b\n', 'image/usr/bin/b': '#!/usr/bin/a\n', 'image/usr/bin/c': '#!/loop/x\n' });
    fs.symlinkSync('/loop', path.join(repository.source, 'image/loop'));
    const info = await mounted();
    expect(await read(info, ['image/usr/bin/a', 'image/usr/bin/c'])).toEqual([{ value: '#!/usr/bin/b\n' }, { value: '#!/loop/x\n' }]);
    await settled(info);
    once();
    expect(objects()).toHaveLength(3);
  }, 60_000);

  it('gives no reader an error for a guess that failed, and the object when it is asked for', async () => {
    repository.write(walkFiles);
    const info = await mounted();
    const names = Object.keys(walkFiles);
    await read(info, names.slice(0, 6));
    await settled(info);
    const had = new Set(objects());
    const guess = repository.server.behave;
    const failed = new Set<string>();
    // Each object fails once.
    repository.server.behave = (url, request) => {
      if (had.has(url) || failed.has(url) || !url.includes('/data/')) return guess(url, request);
      failed.add(url);
      return { kind: 'status', status: 404 };
    };
    const seen = await read(info, names);
    expect(seen.slice(0, 6)).toEqual(names.slice(0, 6).map((name) => ({ value: walkFiles[name] })));
    for (const [i, one] of seen.entries()) expect(one.error === undefined ? one.value : 'EIO').toEqual(one.error === undefined ? walkFiles[names[i]!] : 'EIO');
    repository.server.behave = () => undefined;
    expect(await read(info, names)).toEqual(Object.values(walkFiles).map((value) => ({ value })));
  }, 60_000);
});
