/** Mounting while every server is down, within the whitelist's life; and never an older revision than one that was seen. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { MountInfo } from '../../src/fuse/keeper/keeper';
import { FORGED, ForgedRepository } from '../support/forged-repository';
import type { Stored } from '../support/forged-repository';
import { look, lookAt } from '../support/outside';
import { describeWithMounts, TestHost } from '../support/test-host';
import { ROOT } from '../unit/cvmfs/catalog-maker';
import { makeKeys } from '../unit/cvmfs/signer';

const HOUR_MS = 3_600_000;
const keys = makeKeys();

describeWithMounts('a repository whose servers are down', () => {
  let host: TestHost;
  let repository: ForgedRepository;
  let first: Stored;
  beforeEach(async () => {
    host = new TestHost();
    repository = await ForgedRepository.start(host, keys);
    first = repository.catalog({ properties: { TTL: '1' }, rows: [ROOT, repository.file('/used', 'used\n'), repository.file('/unused', 'unused\n')] });
  });
  afterEach(async () => {
    await host.end();
    await repository.close();
  });

  const at = (info: MountInfo, name: string): string => path.join(info.mountpoint, name);
  const down = (): void => void (repository.server.behave = () => ({ kind: 'reset' }));
  const up = (): void => void (repository.server.behave = () => undefined);
  const ourWarnings = async (): Promise<string[]> => (await host.status()).warnings.filter((text) => text.includes('sw.example.org'));
  async function visited(): Promise<void> {
    const info = await host.mount(repository.mountOptions());
    expect(await lookAt(host, 'read', at(info, 'used'))).toEqual({ value: 'used\n' });
    expect(await host.umount(info.mountpoint)).toMatchObject({ code: 0 });
  }
  async function until(check: () => Promise<boolean>): Promise<void> {
    while (!(await check())) await new Promise((resolve) => setTimeout(resolve, 100));
  }

  it('is mounted from the cache, says so, and goes on when they are back', async () => {
    repository.publish(first);
    await visited();
    down();
    const info = await host.mount(repository.mountOptions());
    expect(await look(host, [['list', info.mountpoint], ['read', at(info, 'used')], ['read', at(info, 'unused')]])).toEqual([{ value: ['unused', 'used'] }, { value: 'used\n' }, { error: 'EIO' }]);
    expect(await ourWarnings()).toEqual([expect.stringMatching(/comes from the cache|no server could be asked/)]);
    // A look at the servers that failed is said, and the tree stays.
    await until(async () => (await ourWarnings()).some((text) => text.includes('no server could be asked') && text.includes(repository.server.url)));
    expect(await lookAt(host, 'list', info.mountpoint)).toEqual({ value: ['unused', 'used'] });
    up();
    await until(async () => (await ourWarnings()).length === 0);
    expect(await lookAt(host, 'read', at(info, 'unused'))).toEqual({ value: 'unused\n' });
    expect((await host.status()).mounts).toMatchObject([{ revision: 1, server_pid: info.serverPid }]);
  }, 30_000);

  it('is not mounted when it was never seen', async () => {
    repository.publish(first);
    down();
    const ran = await host.tryMount(repository.mountOptions());
    expect(ran.code).toBe(7);
    expect(ran.stderr).toContain(repository.server.url);
  });

  it('is mounted while its whitelist is valid, and warned about before that ends', async () => {
    const expires = new Date(Date.now() + 26 * HOUR_MS);
    expires.setMilliseconds(0);
    repository.publish(first, {}, { expires });
    await visited();
    down();
    const info = await host.mount(repository.mountOptions());
    expect(await ourWarnings()).toContainEqual(expect.stringMatching(/^the whitelist of sw\.example\.org ends at .*: ask the repository's owner to sign it again$/));
    // The owner signs it again; nothing else is published.
    repository.whitelist();
    up();
    await until(async () => (await ourWarnings()).length === 0);
    expect(await lookAt(host, 'read', at(info, 'used'))).toEqual({ value: 'used\n' });
  }, 30_000);

  it('is refused once its whitelist has ended', async () => {
    repository.publish(first);
    await visited();
    // As if this whitelist had been kept, and its time had come since.
    repository.whitelist({ expires: new Date('2026-01-31T12:59:00Z') });
    fs.writeFileSync(path.join(host.cacheDir, 'repositories', FORGED, 'whitelist'), repository.server.files.get('/.cvmfswhitelist')!);
    down();
    const offline = await host.tryMount(repository.mountOptions());
    expect(offline.code).toBe(7);
    expect(offline.stderr).toContain(repository.server.url);
    expect(offline.stderr).toContain('from the local cache expired at 2026-01-31T12:00:00.000Z');
    up();
    const online = await host.tryMount(repository.mountOptions());
    expect(online.code).toBe(5);
    expect(online.stderr).toContain('expired at 2026-01-31T12:00:00.000Z');
    expect(host.mountsBelow()).toEqual([]);
  });

  it('is never shown in an older revision than was seen', async () => {
    const second = repository.catalog({ properties: { TTL: '1' }, rows: [ROOT, repository.file('/newer', 'newer\n')] });
    repository.publish(first, { revision: 5 });
    repository.publish(second, { revision: 6 });
    const seen = async (): Promise<unknown> => {
      const info = await host.mount(repository.mountOptions());
      const { value } = await lookAt(host, 'list', info.mountpoint);
      expect(await host.umount(info.mountpoint)).toMatchObject({ code: 0 });
      return value;
    };
    expect(await seen()).toEqual(['newer']);
    // Signed later, and with a lower number: somebody replays it, or made the repository anew.
    repository.publish(first, { revision: 5 });
    for (let mounts = 0; mounts < 2; mounts++) expect(await seen()).toEqual(['newer']);
    repository.publish(first, { revision: 7 });
    expect(await seen()).toEqual(['unused', 'used']);
  }, 30_000);
});
