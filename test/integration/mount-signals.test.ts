/** Signals while a reader waits for the network: as on a local disk, only one that ends the process ends its wait. */
import * as path from 'node:path';
import type { MountInfo } from '../../src/fuse/keeper/keeper';
import type { MountedClient } from '../../src/fuse/control/mounted-client';
import { MadeRepository } from '../support/made-repository';
import { until } from '../support/shell';
import { describeWithMounts, TestHost } from '../support/test-host';

jest.setTimeout(120_000);

/** A timer's signal every 20 ms while a page is mapped in, a file is read and a directory is looked at. */
const UNDER_SIGNALS = `
import ctypes, mmap, os, signal, sys
signal.signal(signal.SIGALRM, lambda *_: None)
mapped, read, looked = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
# Plain system calls: Python itself would repeat one that was interrupted.
m = mmap.mmap(os.open(mapped, os.O_RDONLY), 0, prot=mmap.PROT_READ)
fd = os.open(read, os.O_RDONLY)
buffer = ctypes.create_string_buffer(16)
signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
print('mapped', m[0:7])
print('read', libc.read(fd, buffer, 16), ctypes.get_errno())
print('looked', libc.access(looked.encode(), 0), ctypes.get_errno())
signal.setitimer(signal.ITIMER_REAL, 0)
`;

describeWithMounts('signals', () => {
  let repository: MadeRepository;
  let host: TestHost;
  let info: MountInfo;
  let client: MountedClient;

  beforeAll(async () => {
    repository = await MadeRepository.create('signals.example.org');
    repository.write({ mapped: 'mapped 1', read: 'read here', 'hung/.cvmfscatalog': '', 'hungALRM/.cvmfscatalog': '', 'nested/.cvmfscatalog': '', 'nested/looked': '' });
    await repository.publish();
    host = new TestHost();
    info = await host.mount(repository.mountSource);
    client = host.client(info);
  });

  afterAll(async () => {
    client.close();
    await host.end();
    await repository.end();
  });

  it('interrupts no reader whose process goes on', async () => {
    repository.server.behave = (url) => (url.includes('/data/') ? { kind: 'delay', ms: 700 } : undefined);
    const names = ['mapped', 'read', 'nested/looked'].map((name) => path.join(info.mountpoint, name));
    expect(await host.outside('python3', ['-c', UNDER_SIGNALS, ...names])).toEqual({ code: 0, stdout: "mapped b'mapped '\nread 9 0\nlooked 0 0\n", stderr: '' });
  });

  it.each([
    { how: 'at once', first: '' },
    // The kernel tells of the first signal only.
    { how: 'after another signal that it survives', first: 'ALRM' },
  ])('lets a reader be killed $how', async ({ first }) => {
    repository.server.behave = (url) => (url.includes('/data/') ? { kind: 'hang' } : undefined);
    const script = 'import os, signal, sys\nsignal.signal(signal.SIGALRM, lambda *_: None)\nprint("ready", flush=True)\nos.stat(sys.argv[1])';
    const reader = host.start('python3', ['-c', script, path.join(info.mountpoint, `hung${first}`, 'looked')]);
    const ended = new Promise((resolve) => reader.on('exit', (_, signal) => resolve(signal)));
    await new Promise((resolve) => reader.stdout!.once('data', resolve));
    const waiting = async (): Promise<number> => ((await client.raw('status')) as { waiting: number }).waiting;
    await until('it waits', async () => (await waiting()) > 0);
    if (first !== '') {
      reader.kill('SIGALRM');
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(reader.signalCode).toBeNull();
    }
    reader.kill('SIGKILL');
    expect(await ended).toBe('SIGKILL');
    await until('nobody waits', async () => (await waiting()) === 0, 5_000);
  });
});
