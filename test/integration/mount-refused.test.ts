/** What must not be mounted: one line that says which file, which server, what was wrong and what to do; nothing is left. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { FORGED, ForgedRepository } from '../support/forged-repository';
import type { Stored } from '../support/forged-repository';
import { closedPort } from '../support/http-server';
import type { MountOptions, Ran } from '../support/test-host';
import { describeWithMounts, TestHost } from '../support/test-host';
import { DIRECTORY, ROOT } from '../unit/cvmfs/catalog-maker';
import { makeKeys } from '../unit/cvmfs/signer';

const HTML = '<!DOCTYPE html><html><body>Please log in to the guest network</body></html>\n';
const REFUSED_TRUST = 5;
const BAD_DATA = 6;
const UNREACHABLE = 7;
const keys = makeKeys();

describeWithMounts('a mount that must fail', () => {
  let host: TestHost;
  let repository: ForgedRepository;
  let root: Stored;

  beforeAll(() => {
    host = new TestHost();
  });
  beforeEach(async () => {
    repository = await ForgedRepository.start(host, keys);
    root = repository.catalog({ rows: [ROOT, repository.file('/hello', 'hello\n')] });
    repository.publish(root);
    // What another test's revision left must not vouch for this one.
    fs.rmSync(host.cacheDir, { recursive: true, force: true });
  });
  afterEach(() => repository.close());
  afterAll(() => host.end());

  const manifest = (): Buffer => repository.server.files.get('/.cvmfspublished')!;
  const show = (url: string, bytes: Buffer | string): void => void repository.server.files.set(url, Buffer.from(bytes));
  const tryMount = (options: MountOptions = repository.mountOptions()): Promise<Ran> => host.tryMount({ ...options, json: false });

  /** Failed with one line, and no mount, process or state is there. */
  function expectRefused(ran: Ran, code: number, ...words: ReadonlyArray<string | RegExp>): void {
    expect(ran.stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(ran.stderr).toMatch(/^mesos-cvmfs: /);
    for (const word of words) expect(ran.stderr).toMatch(word);
    expect(ran).toMatchObject({ code, stdout: '' });
    expect(host.mountsBelow()).toEqual([]);
    for (const folder of ['mounts', 'keeper']) expect(fs.existsSync(path.join(host.runDir, folder)) ? fs.readdirSync(path.join(host.runDir, folder)) : []).toEqual([]);
    expect(host.servers()).toEqual([]);
  }

  it('by a key that did not sign the whitelist', async () => {
    const other = path.join(host.dir, 'other.pub');
    fs.writeFileSync(other, makeKeys().masterPublic);
    expectRefused(await tryMount({ ...repository.mountOptions(), publicKey: other }), REFUSED_TRUST, 'whitelist', FORGED, repository.server.url, /none of the 1 master keys; see whether public_keys/);
  });

  it('with a public key that is none, or is not there', async () => {
    const other = path.join(host.dir, 'none.pub');
    fs.writeFileSync(other, 'not a key');
    expectRefused(await tryMount({ ...repository.mountOptions(), publicKey: other }), REFUSED_TRUST, 'none.pub', 'not a public key', 'PEM');
    expectRefused(await tryMount({ ...repository.mountOptions(), publicKey: path.join(host.dir, 'absent.pub') }), REFUSED_TRUST, 'absent.pub');
  });

  it('with an expired whitelist', async () => {
    repository.whitelist({ expires: new Date('2026-01-31T12:59:00Z') });
    expectRefused(await tryMount(), REFUSED_TRUST, 'whitelist', repository.server.url, 'expired at 2026-01-31T12:00:00.000Z', 'sign a new one');
  });

  it('with the whitelist of another repository', async () => {
    repository.whitelist({ fqrn: 'other.example.org' });
    expectRefused(await tryMount(), REFUSED_TRUST, 'whitelist', repository.server.url, 'other.example.org', 'server address');
  });

  it('with a whitelist that does not list the certificate', async () => {
    repository.whitelist({ fingerprints: [] });
    expectRefused(await tryMount(), REFUSED_TRUST, 'certificate', repository.server.url, 'not on the whitelist');
  });

  it('without a whitelist', async () => {
    repository.server.files.delete('/.cvmfswhitelist');
    expectRefused(await tryMount(), BAD_DATA, 'whitelist', repository.server.url, '404');
  });

  it('with a manifest in which one byte was changed', async () => {
    const bytes = Buffer.from(manifest());
    const at = bytes.indexOf('\nS') + 2;
    bytes[at] = bytes[at]! + 1;
    show('/.cvmfspublished', bytes);
    expectRefused(await tryMount(), REFUSED_TRUST, 'manifest', repository.server.url, 'does not have the hash that was signed', /; \S/);
  });

  it('with a manifest whose signature was changed', async () => {
    const bytes = Buffer.from(manifest());
    bytes[bytes.length - 1] = bytes[bytes.length - 1]! ^ 1;
    show('/.cvmfspublished', bytes);
    expectRefused(await tryMount(), REFUSED_TRUST, 'manifest', repository.server.url, 'signature');
  });

  it('with a manifest that was cut', async () => {
    show('/.cvmfspublished', manifest().subarray(0, 30));
    expectRefused(await tryMount(), REFUSED_TRUST, 'manifest', repository.server.url, 'incomplete');
  });

  it('with the manifest of another repository', async () => {
    repository.publish(root, { fqrn: 'other.example.org' });
    expectRefused(await tryMount(), REFUSED_TRUST, 'manifest', repository.server.url, 'other.example.org');
  });

  it('with the page of a portal in place of the manifest', async () => {
    show('/.cvmfspublished', HTML);
    expectRefused(await tryMount(), REFUSED_TRUST, 'manifest', repository.server.url, 'DOCTYPE');
  });

  it('without a manifest', async () => {
    repository.server.files.delete('/.cvmfspublished');
    expectRefused(await tryMount(), BAD_DATA, 'manifest', repository.server.url, '404');
  });

  it('with a manifest without end', async () => {
    show('/.cvmfspublished', Buffer.alloc(1 << 20, 'Z'));
    expectRefused(await tryMount(), BAD_DATA, 'manifest', repository.server.url, 'larger than the 65536 bytes');
  });

  const certificateUrl = (): string => [...repository.server.files.keys()].find((url) => url.endsWith('X'))!;
  it('without the certificate', async () => {
    repository.server.files.delete(certificateUrl());
    expectRefused(await tryMount(), BAD_DATA, 'certificate', repository.server.url, '404');
  });

  it('with a certificate that was altered on the way', async () => {
    repository.server.behave = (url) => (url === certificateUrl() ? { kind: 'corrupt' } : undefined);
    expectRefused(await tryMount(), BAD_DATA, 'certificate', repository.server.url);
  });

  it('with something else in place of the certificate', async () => {
    repository.publish(root, { certificate: repository.put('certificate', HTML).hash });
    expectRefused(await tryMount(), REFUSED_TRUST, 'certificate', repository.server.url, 'not X.509');
  });

  it('without the root catalog', async () => {
    repository.server.files.delete(root.url);
    expectRefused(await tryMount(), BAD_DATA, 'catalog of /', repository.server.url, '404');
  });

  it.each(['corrupt', 'truncate'] as const)('with a root catalog that arrives damaged: %s', async (kind) => {
    repository.server.behave = (url) => (url !== root.url ? undefined : kind === 'corrupt' ? { kind } : { kind, bytes: 100 });
    expectRefused(await tryMount(), kind === 'corrupt' ? BAD_DATA : UNREACHABLE, 'catalog of /', repository.server.url);
  });

  it('with a root catalog that is no catalog', async () => {
    repository.publish(repository.put('catalog', HTML));
    expectRefused(await tryMount(), BAD_DATA, 'catalog of /', 'not an SQLite file', 'publisher');
  });

  it('with a root catalog whose size is not the one that was signed', async () => {
    repository.publish(root, { rootSize: root.size + 1 });
    expectRefused(await tryMount(), BAD_DATA, 'catalog of /', repository.server.url);
  });

  it('with a nested catalog in place of the root catalog', async () => {
    repository.publish(repository.catalog({ properties: { root_prefix: '/sub' }, rows: [{ path: '/sub', parent: '', name: 'sub', ...DIRECTORY, flags: 33 }] }));
    expectRefused(await tryMount(), BAD_DATA, 'catalog', '/sub', 'publisher');
  });

  it('from a server that is not there', async () => {
    const url = `http://127.0.0.1:${await closedPort()}`;
    expectRefused(await tryMount({ ...repository.mountOptions(), servers: [url] }), UNREACHABLE, FORGED, url, 'ECONNREFUSED', 'check the network');
  });

  it('from a server that never answers', async () => {
    repository.server.behave = () => ({ kind: 'hang' });
    expectRefused(await tryMount(), UNREACHABLE, FORGED, repository.server.url, 'check the network');
  });

  it('at a tag that there is not', async () => {
    expectRefused(await tryMount(repository.mountOptions({ args: ['--tag', 'v9'] })), 4, FORGED, 'v9');
  });

  it('at a root hash that nobody has, or that is none', async () => {
    expectRefused(await tryMount(repository.mountOptions({ args: ['--root-hash', 'a'.repeat(40)] })), BAD_DATA, 'catalog of /', repository.server.url);
    expectRefused(await tryMount(repository.mountOptions({ args: ['--root-hash', 'xyz'] })), 2, 'xyz');
  });

  it.each(['../evil', 'a..b', 'sw.example.org/x', '.hidden', `${'a'.repeat(61)}`, 'sw example', '', 'ünï.org'])('of a repository called %j', async (fqrn) => {
    expectRefused(await tryMount({ ...repository.mountOptions(), fqrn }), 2, /repository/i);
  });

  it('on what is no directory', async () => {
    fs.writeFileSync(path.join(host.dir, 'plain'), '');
    expectRefused(await tryMount(repository.mountOptions({ name: 'plain' })), 4, 'plain', 'no directory');
    expectRefused(await tryMount(repository.mountOptions({ name: 'plain/below' })), 4, 'plain', 'no directory');
  });

  it('without a server or a key', async () => {
    expectRefused(await tryMount({ ...repository.mountOptions(), servers: [] }), 3, FORGED, 'server');
    expectRefused(await host.run(['mount', FORGED, path.join(host.dir, 'mnt'), '--config', repository.config, '--server', repository.server.url, '--cache-dir', host.cacheDir]), 3, FORGED, 'key');
  });

  it('twice in one place', async () => {
    const info = await host.mount(repository.mountOptions());
    const again = await tryMount();
    expect(again).toMatchObject({ code: 8, stdout: '' });
    expect(again.stderr).toMatch(/is mounted at .*mnt; unmount it/);
    expect(again.stderr.trimEnd().split('\n')).toHaveLength(1);
    const inside = await tryMount(repository.mountOptions({ name: 'mnt/hello' }));
    expect(inside.code).toBeGreaterThan(0);
    expect(host.mountsBelow()).toEqual([info.mountpoint]);
    expect(await host.umount(info.mountpoint)).toMatchObject({ code: 0 });
  });

  it('and a new folder for the mount point is made with its parents', async () => {
    const info = await host.mount(repository.mountOptions({ name: 'new/parent/mnt' }));
    expect((await host.outside('cat', [path.join(info.mountpoint, 'hello')])).stdout).toBe('hello\n');
    expect(await host.umount(info.mountpoint)).toMatchObject({ code: 0 });
  });
});
