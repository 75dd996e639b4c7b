/** `repo create`, `publish`, `repo check` and `repo serve` as they are typed. */
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { CliScene, FQRN } from '../support/cli-scene';
import { describeWithMounts } from '../support/test-host';

jest.setTimeout(120_000);

describeWithMounts('repositories of one’s own', () => {
  let scene: CliScene;
  let where: string[];
  beforeEach(async () => {
    scene = new CliScene();
    where = ['--storage', scene.storage, '--keys', scene.keys];
    await scene.create();
  });
  afterEach(() => scene.end());

  const error = (stderr: string): { code: string; what: string; message: string } => (JSON.parse(stderr) as { error: { code: string; what: string; message: string } }).error;

  it('are made once, with keys that only their owner reads', async () => {
    expect(fs.statSync(scene.keys).mode & 0o777).toBe(0o700);
    expect(fs.readdirSync(scene.keys).sort()).toEqual(['crt', 'key', 'masterkey', 'pub'].map((kind) => `${FQRN}.${kind}`));
    const again = await scene.host.run(['repo', 'create', FQRN, ...where, '--json']);
    expect([again.code, again.stdout, error(again.stderr).code]).toEqual([8, '', 'ALREADY_EXISTS']);
  });

  it('say as text what they are', async () => {
    const text = await scene.host.ok(['repo', 'create', 'other.cli.test', '--storage', `${scene.storage}2`, '--keys', scene.keys, '--hash', 'shake128', '--ttl', '10s']);
    expect(text).toMatch(/^repository {2}other\.cli\.test\nstorage {5}.*\npublic key {2}.*other\.cli\.test\.pub\nwhitelist {3}valid until .*\n$/);
    expect(fs.readFileSync(`${scene.storage}2/.cvmfspublished`, 'latin1')).toMatch(/^D10$/m);
  });

  it('are published to from directories and archives, each time in one new revision', async () => {
    scene.files({ 'bin/tool': 'tool', 'etc/motd': 'hello' });
    const first = await scene.host.run(['publish', `dir:${scene.source}`, FQRN, ...where, '--to', '/apps/a%20b', '--tag', 'one', '--message', 'the first']);
    expect([first.code, first.stderr]).toEqual([0, '']);
    expect(first.stdout).toMatch(/^images\.cli\.test\/apps\/a%20b is revision 2: 5 entries, 2 files, 9 B; 4 new objects, .* catalogs\n$|^images\.cli\.test\/apps\/a%20b is revision 2: .*\n$/);
    execFileSync('tar', ['-czf', path.join(scene.host.dir, 'image.tar.gz'), '-C', scene.source, '.']);
    const second = await scene.host.ok(['publish', `tar:${scene.host.dir}/image.tar.gz`, FQRN, ...where, '--to', '/apps/b', '--json']);
    expect(JSON.parse(second)).toMatchObject({ fqrn: FQRN, to: '/apps/b', revision: 3, files: 2, warnings: [] });
    const report = JSON.parse(await scene.host.ok(['repo', 'check', FQRN, ...where, '--json']));
    expect(report).toMatchObject({ fqrn: FQRN, revision: 3, faults: 0, findings: [] });
    expect(await scene.host.ok(['repo', 'check', FQRN, '--storage', scene.storage, '--public-key', scene.publicKey, '--no-tags', '--no-content'])).toMatch(/^images\.cli\.test revision 3: .* sound\n$/);
  });

  it('refuse what cannot be published, and stay as they were', async () => {
    scene.files({ a: 'a' });
    await scene.publish('--tag', 'one');
    const before = fs.readFileSync(`${scene.storage}/.cvmfspublished`);
    const refused = async (args: string[]): Promise<unknown[]> => {
      const ran = await scene.host.run(['publish', ...args, '--json']);
      return [ran.code, error(ran.stderr).code];
    };
    expect(await refused([`dir:${scene.source}`, FQRN, ...where, '--tag', 'one'])).toEqual([8, 'ALREADY_EXISTS']);
    expect(await refused([`dir:${scene.host.dir}/absent`, FQRN, ...where])).toEqual([4, 'NOT_FOUND']);
    expect(await refused([`dir:${scene.source}`, FQRN, '--storage', scene.storage, '--keys', scene.source])).toEqual([4, 'NOT_FOUND']);
    expect(await refused([`dir:${scene.source}`, FQRN, '--storage', scene.source, '--keys', scene.keys])).toEqual([4, 'NOT_FOUND']);
    expect(await refused([`dir:${scene.source}`, FQRN, ...where, '--message', 'of nothing'])).toEqual([2, 'INVALID_ARGUMENT']);
    expect(fs.readFileSync(`${scene.storage}/.cvmfspublished`)).toEqual(before);
  });

  it('are found damaged, object by object', async () => {
    scene.files({ big: 'x'.repeat(5000) });
    await scene.publish();
    const folders = fs.readdirSync(`${scene.storage}/data`).filter((name) => /^[0-9a-f]{2}$/.test(name));
    const objects = folders.flatMap((folder) => fs.readdirSync(`${scene.storage}/data/${folder}`).map((name) => `${scene.storage}/data/${folder}/${name}`));
    const victim = objects.find((name) => /[0-9a-f]{38}$/.test(name))!;
    fs.writeFileSync(victim, Buffer.alloc(fs.statSync(victim).size, 1));
    const ran = await scene.host.run(['repo', 'check', FQRN, ...where]);
    expect(ran.code).toBe(6);
    expect(ran.stdout).toContain(`fault: `);
    expect(ran.stdout).toContain('/big');
    expect(ran.stderr).toMatch(/^mesos-cvmfs: images\.cli\.test in .* has 1 faults; /);
  });

  it('are served until a signal comes', async () => {
    scene.files({ a: 'a' });
    await scene.publish();
    const log = path.join(scene.host.dir, 'access.log');
    const server = await scene.serveRepository('--access-log', log);
    const answer = await fetch(`${server.url.replace('@fqrn@', FQRN)}/.cvmfspublished`);
    expect(Buffer.from(await answer.arrayBuffer())).toEqual(fs.readFileSync(`${scene.storage}/.cvmfspublished`));
    expect(await server.stop()).toBe(0);
    expect(fs.readFileSync(log, 'utf8')).toMatch(/ 200 .*"GET \/cvmfs\/images\.cli\.test\/\.cvmfspublished HTTP\/1\.1" \d+\n$/);
    const { word, stop } = await scene.start(['repo', 'serve', FQRN, '--storage', scene.storage, '--listen', '127.0.0.1:0']);
    expect(word).toMatch(/^serving http:\/\/127\.0\.0\.1:\d+\/images\.cli\.test$/);
    expect(await stop('SIGINT')).toBe(0);
    const nothing = await scene.host.run(['repo', 'serve', FQRN, '--storage', scene.source]);
    expect([nothing.code, nothing.stderr]).toEqual([4, expect.stringContaining('there is no repository in')]);
  });
});
