/** Listings of large directories, and what they do not cost. */
import * as path from 'node:path';
import type { MountInfo } from '../../src/fuse/keeper/keeper';
import { MadeRepository } from '../support/made-repository';
import { describeWithMounts, TestHost } from '../support/test-host';

jest.setTimeout(180_000);

const LISTING = path.resolve(__dirname, '../support/listing.py');
const MANY = 20_000;
const IMAGES = 1_000;

describeWithMounts('large directories', () => {
  let repository: MadeRepository;
  let host: TestHost;
  let info: MountInfo;

  const many = Array.from({ length: MANY }, (_, i) => `entry-${i.toString(36).padStart(4, '0')}-${'x'.repeat(i % 40)}`).sort();

  beforeAll(async () => {
    repository = await MadeRepository.create('listing.example.org');
    repository.write(Object.fromEntries(many.map((name) => [`many/${name}`, ''])));
    for (let i = 0; i < IMAGES; i++) repository.write({ [`images/image-${i}/.cvmfscatalog`]: '', [`images/image-${i}/file`]: `image ${i}\n` });
    await repository.publish();
    host = new TestHost();
    info = await host.mount(repository.mountSource);
  });

  afterAll(async () => {
    await host.end();
    await repository.end();
  });

  const dropCaches = (): Promise<unknown> => host.outside('sh', ['-c', 'echo 2 > /proc/sys/vm/drop_caches']);
  /** The directory as it is seen in the live tree, and in a view. */
  async function places(dir: string): Promise<string[]> {
    const client = host.client(info);
    const view = await client.makeView(await client.snapshot(), Buffer.from(`/${dir}`));
    client.close();
    return [path.join(info.mountpoint, dir), path.join(info.mountpoint, view.pathInMount.toString())];
  }

  it('lists 20,000 entries whole, whatever the reader’s buffer', async () => {
    for (const place of await places('many')) {
      for (const bytes of ['512', '4096', '1000000']) {
        await dropCaches();
        const ran = await host.outside('python3', [LISTING, place, bytes]);
        expect(ran.stderr).toBe('');
        const names = ran.stdout.split('\n').slice(0, -1);
        expect(names.length).toBe(MANY);
        expect(names.sort()).toEqual(many);
      }
      const scanned = await host.outside('python3', ['-c', 'import os, sys\nfor e in os.scandir(sys.argv[1]): print(e.name, e.is_file())', place]);
      expect(scanned.stdout.split('\n').slice(0, -1).sort()).toEqual(many.map((name) => `${name} True`));
      expect((await host.outside('sh', ['-c', 'ls -f "$1" | wc -l', 'sh', place])).stdout.trim()).toBe(String(MANY + 2));
    }
  });

  it('goes on from any offset, also in another server', async () => {
    const [live, view] = await places('images');
    await dropCaches();
    for (const place of [live!, view!]) expect((await host.outside('python3', [LISTING, place, '600', 'seek'])).stdout).toBe('same\n');
    const listing = host.start('python3', [LISTING, view!, '512', 'pause', '300']);
    let said = '';
    let names = '';
    listing.stdout!.setEncoding('utf8').on('data', (text: string) => (names += text));
    await new Promise<void>((resolve) => listing.stderr!.setEncoding('utf8').on('data', (text: string) => ((said += text), resolve())));
    process.kill((await host.status()).mounts[0]!.server_pid, 'SIGKILL');
    await dropCaches();
    listing.stdin!.write('go on\n');
    await new Promise((resolve) => listing.on('close', resolve));
    expect(said).toBe('paused\n');
    expect(names.split('\n').slice(0, -1).sort()).toEqual(Array.from({ length: IMAGES }, (_, i) => `image-${i}`).sort());
  });

  it('fetches no catalog to list 1,000 images, and one to enter one', async () => {
    for (const place of await places('images')) {
      await dropCaches();
      const before = repository.catalogRequests.length;
      const found = await host.outside('find', [place, '-maxdepth', '1', '-ls']);
      expect(found.stderr).toBe('');
      expect(found.stdout.trim().split('\n').length).toBe(IMAGES + 1);
      expect((await host.outside('ls', ['-lU', place])).stdout.trim().split('\n').length).toBe(IMAGES + 1);
      expect((await host.outside('sh', ['-c', 'cd "$1" && stat -c %n image-*', 'sh', place])).stdout.trim().split('\n').length).toBe(IMAGES);
      expect(repository.catalogRequests.slice(before)).toEqual([]);
    }
    const [live, view] = await places('images');
    const before = repository.catalogRequests.length;
    expect((await host.outside('cat', [path.join(live!, 'image-500/file')])).stdout).toBe('image 500\n');
    expect(repository.catalogRequests.length).toBe(before + 1);
    // The view has a directory of its own, and the same catalog.
    expect((await host.outside('cat', [path.join(view!, 'image-500/file')])).stdout).toBe('image 500\n');
    expect(repository.catalogRequests.length).toBe(before + 1);
    expect((await host.outside('ls', [path.join(view!, 'image-7')])).stdout).toBe('file\n');
    expect(repository.catalogRequests.length).toBe(before + 2);
  });

  it('walks all 1,000 catalogs, with few of them open at a time', async () => {
    const found = await host.outside('sh', ['-c', 'find "$1" -type f -name file -exec cat {} + | sort -u | wc -l', 'sh', path.join(info.mountpoint, 'images')]);
    expect(found).toMatchObject({ code: 0, stderr: '' });
    expect(found.stdout.trim()).toBe(String(IMAGES));
    expect(new Set(repository.catalogRequests).size).toBe(repository.catalogRequests.length);
  });
});
