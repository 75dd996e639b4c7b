/**
 * Trees as large as they come: a directory of a hundred thousand entries, hundreds of nested catalogs, a file of 20 GB,
 * 64 readers at once. Everything is there once and right, and the server does not grow with what was touched.
 */
import { createHash, randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { MountInfo } from '../../src/fuse/keeper/keeper';
import { FORGED, ForgedRepository, hashOf } from '../support/forged-repository';
import type { Stored } from '../support/forged-repository';
import { addRows } from '../support/many-rows';
import type { PlainRow } from '../support/many-rows';
import { describeWithMounts, TestHost } from '../support/test-host';
import { DIRECTORY, ROOT } from '../unit/cvmfs/catalog-maker';
import { makeKeys } from '../unit/cvmfs/signer';

jest.setTimeout(240_000);

const ENTRIES = 100_000;
const CATALOGS = 200;
const PER_CATALOG = 20;
const READERS = 64;
const CHUNK_BYTES = 16 << 20;
const CHUNKS = 1250;
const LARGE_BYTES = CHUNKS * CHUNK_BYTES;
/** Of resident memory, over two walks: less than a table of all entries would take, more than two threads that are warming up do. */
const GROWTH_KB_MAX = 60_000;

const keys = makeKeys();
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** Walks with one system call per entry, as `find` and `ls` do: prints number, distinct names, sum of sizes, directories. */
const WALK = `
import os, sys
count = size = dirs = 0
names = set()
def walk(top):
    global count, size, dirs
    with os.scandir(top) as entries:
        for entry in entries:
            count += 1
            names.add(entry.path)
            stat = entry.stat(follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False):
                dirs += 1
                walk(entry.path)
            else:
                size += stat.st_size
walk(sys.argv[1])
print(count, len(names), size, dirs)
`;

/** Reads at offsets from standard input, one a line, and prints each piece's sha256. */
const READ_AT = `
import hashlib, os, sys
file = os.open(sys.argv[1], os.O_RDONLY)
length = int(sys.argv[2])
for line in sys.stdin:
    print(hashlib.sha256(os.pread(file, length, int(line))).hexdigest())
`;

/** Each of many threads reads every file once, in an order of its own, and compares it with the name, which is its sha256. */
const READERS_AT_ONCE = `
import hashlib, os, random, sys, threading
top, readers = sys.argv[1], int(sys.argv[2])
names = os.listdir(top)
wrong = []
reads = [0] * readers
def read(n):
    mine = list(names)
    random.Random(n).shuffle(mine)
    for name in mine:
        with open(os.path.join(top, name), 'rb') as file:
            if hashlib.sha256(file.read()).hexdigest() != name: wrong.append(name)
        reads[n] += 1
threads = [threading.Thread(target=read, args=(n,)) for n in range(readers)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(names), sum(reads), len(wrong))
`;

describeWithMounts('a very large tree', () => {
  let host: TestHost;
  let repository: ForgedRepository;
  let info: MountInfo;
  let serverPid: number;
  const patterns = Array.from({ length: 3 }, () => randomBytes(4096));
  const contents = Array.from({ length: 200 }, (_, n) => randomBytes(2000 + 97 * n));

  function* flat(): Generator<PlainRow> {
    yield { path: '/flat', hash: null };
    for (let n = 0; n < ENTRIES; n++) yield { path: `/flat/entry-with-a-usual-name-${n}`, hash: Buffer.alloc(20, 1), size: n };
  }

  function nested(n: number): Stored {
    const at = `/nested/c${n}`;
    return repository.catalog({
      properties: { root_prefix: at },
      rows: [{ path: at, ...DIRECTORY, flags: 33 }],
      after: (db) => addRows(db, Array.from({ length: PER_CATALOG }, (_, file) => ({ path: `${at}/f${file}`, hash: Buffer.alloc(20, 1), size: n }))),
    });
  }

  beforeAll(async () => {
    host = new TestHost();
    repository = await ForgedRepository.start(host, keys);
    const chunks = patterns.map((pattern) => repository.put('chunk', Buffer.alloc(CHUNK_BYTES, pattern)));
    const files = contents.map((content) => ({ path: `/readers/${sha256(content)}`, hash: repository.put('file', content).hash.digest, size: content.length }));
    const catalogs = Array.from({ length: CATALOGS }, (_, n) => nested(n));
    const root = repository.catalog({
      rows: [ROOT, { path: '/large', flags: 4 | 64, size: LARGE_BYTES, hash: null }],
      chunks: Array.from({ length: CHUNKS }, (_, n) => ({ path: '/large', offset: n * CHUNK_BYTES, size: CHUNK_BYTES, hash: chunks[n % chunks.length]!.hash.digest })),
      nested: catalogs.map((catalog, n) => ({ path: `/nested/c${n}`, sha1: hashOf(catalog), size: catalog.size })),
      after: (db) => {
        addRows(db, flat());
        addRows(db, [{ path: '/nested', hash: null }, ...catalogs.map((_, n) => ({ path: `/nested/c${n}`, hash: null, flags: 3 }))]);
        addRows(db, [{ path: '/readers', hash: null }, ...files]);
      },
    });
    repository.publish(root);
    info = await host.mount(repository.mountOptions());
    serverPid = (await host.status()).mounts.find((mount) => mount.repository === FORGED)!.server_pid;
  });
  afterAll(async () => {
    await host.end();
    await repository.close();
  });

  const at = (name: string): string => path.join(info.mountpoint, name);
  async function python(script: string, args: readonly string[], input?: string): Promise<string> {
    const ran = await host.outside('python3', ['-c', script, ...args], { timeoutMs: 180_000, ...(input === undefined ? {} : { input }) });
    expect(ran).toMatchObject({ code: 0, stderr: '' });
    return ran.stdout.trimEnd();
  }
  const rssKb = (): number => Number(/^VmRSS:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${serverPid}/status`, 'latin1'))![1]);
  const dropCaches = (): Promise<unknown> => host.outside('sh', ['-c', 'echo 2 > /proc/sys/vm/drop_caches']);

  it('of nested catalogs is listed whole, each catalog fetched when it is entered', async () => {
    const before = repository.server.requests.length;
    expect(await python(WALK, [at('nested')])).toBe(`${CATALOGS * (PER_CATALOG + 1)} ${CATALOGS * (PER_CATALOG + 1)} ${(PER_CATALOG * CATALOGS * (CATALOGS - 1)) / 2} ${CATALOGS}`);
    expect(repository.server.requests.slice(before).filter(({ url }) => url.endsWith('C'))).toHaveLength(CATALOGS);
  });

  it('in one directory is listed whole, every entry once, and the server does not grow with it', async () => {
    await python(WALK, [at('nested')]);
    const before = rssKb();
    for (let round = 0; round < 2; round++) {
      await dropCaches();
      expect(await python(WALK, [at('flat')])).toBe(`${ENTRIES} ${ENTRIES} ${(ENTRIES * (ENTRIES - 1)) / 2} 0`);
    }
    expect(rssKb() - before).toBeLessThan(GROWTH_KB_MAX);
    expect((await host.status()).mounts.find((mount) => mount.repository === FORGED)!.server_pid).toBe(serverPid);
  });

  it('entries of it are found, and those that are not there are not', async () => {
    const ran = await host.outside('sh', ['-c', 'cd "$1" && stat -c %s entry-with-a-usual-name-0 entry-with-a-usual-name-99999; ! stat entry-with-a-usual-name-100000 2>/dev/null', 'sh', at('flat')]);
    expect(ran).toMatchObject({ code: 0, stdout: '0\n99999\n' });
  });

  it('a file of 20 GB is right at any offset, over the borders of chunks and at its end', async () => {
    const length = 200_000;
    const inside = Array.from({ length: 40 }, (_, n) => Math.floor((LARGE_BYTES - length) * ((n * 0.618034) % 1)));
    const borders = [1, 2, 255, 256, 640, CHUNKS - 1].map((n) => n * CHUNK_BYTES - 100_000);
    const offsets = [0, ...inside, ...borders, LARGE_BYTES - length];
    const expected = offsets.map((offset) => {
      const piece = Buffer.alloc(length);
      for (let n = 0; n < length; n++) piece[n] = patterns[Math.floor((offset + n) / CHUNK_BYTES) % patterns.length]![(offset + n) % 4096]!;
      return sha256(piece);
    });
    expect((await python(READ_AT, [at('large'), String(length)], offsets.map((offset) => `${offset}\n`).join(''))).split('\n')).toEqual(expected);
    expect(await python('import os, sys\nprint(os.stat(sys.argv[1]).st_size)', [at('large')])).toBe(String(LARGE_BYTES));
  });

  it(`${READERS} readers at once read everything right, and each object comes once`, async () => {
    const before = repository.server.requests.length;
    expect(await python(READERS_AT_ONCE, [at('readers'), String(READERS)])).toBe(`${contents.length} ${contents.length * READERS} 0`);
    const asked = repository.server.requests.slice(before).map(({ url }) => url).filter((url) => url.startsWith('/data/'));
    expect(new Set(asked).size).toBe(asked.length);
    expect(asked).toHaveLength(contents.length);
  });
});
