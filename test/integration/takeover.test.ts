/** What is under way when a file system server is killed: requests that wait, interrupts, forgets, and the death of its successors at any instant. */
import * as crypto from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { ChildProcess } from 'node:child_process';
import type { MountInfo } from '../../src/fuse/keeper/keeper';
import { startTicks } from '../../src/fuse/process-identity';
import { seeded } from '../fault/random';
import { MadeRepository } from '../support/made-repository';
import { until } from '../support/shell';
import { describeWithMounts, TestHost } from '../support/test-host';

jest.setTimeout(300_000);

const alive = (pid: number): boolean => startTicks(pid) !== undefined;

/** Kills at random instants; the whole is `TAKEOVER_KILLS=150`. */
const KILLS = Number(process.env['TAKEOVER_KILLS'] ?? 20);
/** Servers that die at once come ever later, up to 5 s (kept-mount.ts). */
const KILLS_TIMEOUT_MS = 120_000 + KILLS * 8_000;
const SEED = 20_261;
const FILES = 40;

/** Reads, lists and looks up past the kernel's caches until a file appears; stops with what was wrong. */
const READER = `
import hashlib, os, random, sys
root, stop, seed = sys.argv[1], sys.argv[2], sys.argv[3]
random.seed(seed)
wanted = dict(line.split() for line in open(sys.argv[4]))
rounds = 0
while not os.path.exists(stop):
    name = random.choice(list(wanted))
    fd = os.open(os.path.join(root, name), os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        content = b''
        while part := os.read(fd, 65536): content += part
    finally: os.close(fd)
    if hashlib.sha256(content).hexdigest() != wanted[name]: sys.exit(f'{name} has the wrong content')
    if os.path.lexists(os.path.join(root, f'{name}-{random.random()}')): sys.exit('a name that does not exist')
    if rounds % 20 == 0 and len(os.listdir(os.path.join(root, 'files'))) != len(wanted): sys.exit('the listing is wrong')
    rounds += 1
print(rounds)
`;

/** One plain read(2) of a file, with a handler for SIGALRM, which says how it ended. */
const ONE_READ = `
import ctypes, os, signal, sys
signal.signal(signal.SIGALRM, lambda *_: None)
libc = ctypes.CDLL(None, use_errno=True)
fd = os.open(sys.argv[1], os.O_RDONLY)
print('open', flush=True)
buffer = ctypes.create_string_buffer(16)
got = libc.read(fd, buffer, 16)
print('read', got, ctypes.get_errno(), buffer.raw[:max(got, 0)].decode(), flush=True)
`;

/** Asks the kernel to repeat the requests of a mount, through a copy of a descriptor of another process. */
const RESEND = `
import ctypes, os, struct, sys
pid, number, times = map(int, sys.argv[1:])
libc = ctypes.CDLL(None, use_errno=True)
pidfd = libc.syscall(434, pid, 0)
fd = libc.syscall(438, pidfd, number, 0)
assert fd >= 0, os.strerror(ctypes.get_errno())
for _ in range(times): os.write(fd, struct.pack('<IiQ', 16, 7, 0))
`;

describeWithMounts('the death of a server', () => {
  let repository: MadeRepository;
  let host: TestHost;
  let info: MountInfo;
  let sums: string;

  beforeAll(async () => {
    repository = await MadeRepository.create('takeover.example.org');
    const files = Object.fromEntries(Array.from({ length: FILES }, (_, i) => [`files/${i}`, crypto.randomBytes(1_000 + 9_000 * i)]));
    repository.write({ ...files, ...Object.fromEntries(['waits', 'again', 'held', 'killed'].map((name) => [name, `content of ${name}`])) });
    await repository.publish();
    host = new TestHost();
    sums = path.join(host.dir, 'sums');
    fs.writeFileSync(sums, Object.entries(files).map(([name, content]) => `${name} ${crypto.createHash('sha256').update(content).digest('hex')}\n`).join(''));
    info = await host.mount(repository.mountSource);
  });

  afterEach(() => {
    repository.server.behave = () => undefined;
  });

  afterAll(async () => {
    await host.end();
    await repository.end();
  });

  const inRecord = (): number => (JSON.parse(fs.readFileSync(path.join(host.runDir, 'keeper', `${info.id}.json`), 'utf8')) as { server: { pid: number } }).server.pid;
  const hang = (): void => {
    repository.server.behave = (url) => (url.includes('/data/') ? { kind: 'hang' } : undefined);
  };
  const waiting = async (): Promise<number> => {
    const client = host.client(info);
    try {
      return ((await client.raw('status')) as { waiting: number }).waiting;
    } finally {
      client.close();
    }
  };
  const kill = async (pid: number): Promise<void> => {
    process.kill(pid, 'SIGKILL');
    await until('it is gone', () => !alive(pid));
  };
  const said = (child: ChildProcess): (() => string) => {
    let text = '';
    child.stdout!.on('data', (data: Buffer) => (text += data.toString()));
    child.stderr!.on('data', (data: Buffer) => (text += data.toString()));
    return () => text;
  };
  const over = (child: ChildProcess): Promise<unknown> => new Promise((resolve) => child.once('close', (code, signal) => resolve(signal ?? code)));
  const settled = async (): Promise<{ keeper: number; server: number }> => {
    const { keeper_pid: keeper, server_pid: server } = (await host.status()).mounts[0]!;
    return { keeper, server };
  };

  it('passes a request that waits for the network on to its successor', async () => {
    hang();
    const reader = host.outside('cat', [path.join(info.mountpoint, 'waits')]);
    await until('it waits', async () => (await waiting()) > 0);
    const { server } = await settled();
    await kill(server);
    await until('it waits for the successor', async () => inRecord() !== server && (await waiting().catch(() => 0)) > 0);
    repository.server.behave = () => undefined;
    // The successor's own try hangs; the one after it gets through.
    await kill(inRecord());
    expect(await reader).toMatchObject({ code: 0, stdout: 'content of waits' });
  });

  it('is no reason for an answer to be wrong when requests are repeated twice, to a server that has them', async () => {
    repository.server.behave = (url) => (url.includes('/data/') ? { kind: 'delay', ms: 1_500 } : undefined);
    const reader = host.outside('cat', [path.join(info.mountpoint, 'again')]);
    await until('it waits', async () => (await waiting()) > 0);
    const { server } = await settled();
    expect(await host.outside('python3', ['-c', RESEND, String(server), '4', '2'])).toMatchObject({ code: 0, stderr: '' });
    expect(await reader).toMatchObject({ code: 0, stdout: 'content of again' });
    expect(inRecord()).toBe(server);
  });

  it('leaves readers that get signals while no server runs as they were, or lets them be killed', async () => {
    const { keeper, server } = await settled();
    hang();
    const held = host.start('python3', ['-c', ONE_READ, path.join(info.mountpoint, 'held')]);
    const killed = host.start('cat', [path.join(info.mountpoint, 'killed')]);
    const heldSaid = said(held);
    const ends = [over(held), over(killed)];
    await until('both wait', async () => (await waiting()) >= 2);
    process.kill(keeper, 'SIGSTOP');
    try {
      await kill(server);
      repository.server.behave = () => undefined;
      // One whose request no server has seen is gone at once.
      const late = host.start('stat', [path.join(info.mountpoint, 'files', 'absent')]);
      const lateEnd = over(late);
      held.kill('SIGALRM');
      killed.kill('SIGKILL');
      await new Promise((resolve) => setTimeout(resolve, 300));
      late.kill('SIGKILL');
      expect(await lateEnd).toBe('SIGKILL');
      expect(held.exitCode).toBeNull();
    } finally {
      process.kill(keeper, 'SIGCONT');
    }
    expect(await Promise.all(ends)).toEqual([0, 'SIGKILL']);
    expect(heldSaid()).toBe('open\nread 15 0 content of held\n');
  });

  it('makes no difference to nodes that the kernel forgets afterwards', async () => {
    const names = path.join(info.mountpoint, 'files');
    for (let round = 0; round < 3; round++) {
      expect((await host.outside('sh', ['-c', `ls -l ${names} | wc -l`])).stdout).toBe(`${FILES + 1}\n`);
      await kill(inRecord());
      // The successor is told to forget what it has never been asked for.
      await host.outside('sh', ['-c', 'echo 3 > /proc/sys/vm/drop_caches']);
      expect((await host.outside('sh', ['-c', `ls -l ${names} | wc -l; sha256sum < ${names}/7`])).stdout).toBe(`${FILES + 1}\n${/^files\/7 (\w+)$/m.exec(fs.readFileSync(sums, 'utf8'))![1]}  -\n`);
    }
  });

  it(`is not noticed by readers, ${KILLS} times at any instant from its start on`, async () => {
    const stop = path.join(host.dir, 'stop');
    const readers = Array.from({ length: 4 }, (_, i) => host.outside('python3', ['-c', READER, info.mountpoint, stop, String(SEED + i), sums], { timeoutMs: KILLS_TIMEOUT_MS }));
    const random = seeded(SEED);
    let last = 0;
    for (let i = 0; i < KILLS; i++) {
      await until('there is a server', () => inRecord() !== last, 60_000);
      last = inRecord();
      // Every other one before it has asked for its requests to be repeated, or just after.
      await new Promise((resolve) => setTimeout(resolve, i % 2 === 0 ? random.whole(1, 250) : random.whole(0, 40)));
      if (alive(last)) process.kill(last, 'SIGKILL');
    }
    fs.writeFileSync(stop, '');
    for (const { code, stdout, stderr } of await Promise.all(readers)) {
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(Number(stdout)).toBeGreaterThan(0);
    }
  }, KILLS_TIMEOUT_MS);
});
