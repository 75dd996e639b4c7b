/** `data_path = "passthrough"`: the kernel reads cached objects itself, and goes on when nobody serves. */
import { createHash, randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { ChildProcess } from 'node:child_process';
import type { MountInfo } from '../../src/fuse/keeper/keeper';
import { MadeRepository } from '../support/made-repository';
import { look } from '../support/outside';
import { until } from '../support/shell';
import { describeWithMounts, TestHost } from '../support/test-host';

jest.setTimeout(120_000);

/** Opens a file, says `open`, and on each line read says the sha256 of all of it, read anew and mapped anew. */
const HOLDER = `
import hashlib, mmap, os, sys
f = os.open(sys.argv[1], os.O_RDONLY)
size = os.fstat(f).st_size
print('open', flush=True)
for line in sys.stdin:
    a = hashlib.sha256(os.pread(f, size, 0)).hexdigest()
    with mmap.mmap(f, size, prot=mmap.PROT_READ) as m: b = hashlib.sha256(m[:]).hexdigest()
    print(a if a == b else 'differs', flush=True)
`;

class Holder {
  readonly #child: ChildProcess;
  #text = '';

  constructor(host: TestHost, file: string) {
    this.#child = host.start('python3', ['-c', HOLDER, file]);
    this.#child.stdout!.on('data', (chunk: Buffer) => (this.#text += chunk.toString()));
  }

  async opened(): Promise<void> {
    await until('the file is open', () => this.#text.startsWith('open\n'));
  }

  async sha256(): Promise<string> {
    const from = this.#text.length;
    this.#child.stdin!.write('\n');
    await until('the file was read', () => this.#text.indexOf('\n', from) >= 0);
    return this.#text.slice(from).trim();
  }
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

describeWithMounts('data_path = "passthrough"', () => {
  const big = randomBytes(3 << 20);
  const files = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`files/${i}`, randomBytes(100 + 997 * i)]));
  let repository: MadeRepository;
  let host: TestHost;
  let info: MountInfo;

  beforeAll(async () => {
    repository = await MadeRepository.create('passthrough.example.org');
    repository.write({ big, ...files });
    await repository.publish();
  });

  beforeEach(async () => {
    host = new TestHost();
    const config = path.join(host.dir, 'passthrough.toml');
    fs.writeFileSync(config, '[fuse]\ndata_path = "passthrough"\n');
    info = await host.mount({ ...repository.mountSource, args: ['--config', config] });
  });

  afterEach(() => host.end());
  afterAll(() => repository.end());

  const opens = (): string => fs.readFileSync(path.join(info.dir, 'opens'), 'latin1');
  const backingIds = (): number => opens().split('\n').filter((line) => line.startsWith('id ')).length;
  const serverPid = async (): Promise<number> => (await host.status()).mounts[0]!.server_pid;
  const at = (name: string): string => path.join(info.mountpoint, name);

  it('registers what it opens, once, and reads the same bytes', async () => {
    for (let round = 0; round < 2; round++) {
      const seen = await look(host, Object.keys(files).map((name) => ['read', at(name)] as const));
      Object.values(files).forEach((bytes, i) => expect(Buffer.from(seen[i]!.value as string, 'latin1').equals(bytes)).toBe(true));
    }
    expect(backingIds()).toBe(Object.keys(files).length);
  });

  it('goes on reading an open file while nobody serves', async () => {
    const holder = new Holder(host, at('big'));
    await holder.opened();
    expect(await holder.sha256()).toBe(sha256(big));
    const pids = [await serverPid(), (await host.status()).mounts[0]!.keeper_pid];
    for (const pid of pids) process.kill(pid, 'SIGSTOP');
    try {
      fs.writeFileSync('/proc/sys/vm/drop_caches', '1');
      expect(await holder.sha256()).toBe(sha256(big));
    } finally {
      for (const pid of pids) process.kill(pid, 'SIGCONT');
    }
  });

  it('keeps what is open over the death of its server, and goes on registering for the next one', async () => {
    const holder = new Holder(host, at('big'));
    await holder.opened();
    const names = Object.keys(files);
    for (let i = 0; i < 4; i++) {
      const before = await serverPid();
      process.kill(before, 'SIGKILL');
      const some = names.slice(10 * i, 10 * i + 10);
      const seen = await look(host, some.map((name) => ['read', at(name)] as const));
      some.forEach((name, j) => expect(seen[j]!.value).toBe(files[name]!.toString('latin1')));
      expect(await holder.sha256()).toBe(sha256(big));
      await until('another server', async () => (await serverPid()) !== before);
    }
    const before = backingIds();
    await until('ids for the new server', async () => {
      await look(host, names.map((name) => ['read', at(name)] as const));
      return backingIds() > before || backingIds() === names.length + 1;
    });
  });

  it('reads through the server when no keeper registers, and registers again with the next keeper', async () => {
    const { keeper_pid: keeper } = (await host.status()).mounts[0]!;
    process.kill(keeper, 'SIGKILL');
    const name = 'files/7';
    expect((await look(host, [['read', at(name)]]))[0]!.value).toBe(files[name]!.toString('latin1'));
    expect((await host.status()).mounts[0]!.keeper_pid).not.toBe(keeper);
    await until('an id', async () => {
      await look(host, [['read', at('files/8')]]);
      return backingIds() > 0;
    });
  });
});
