/** `doctor` on a host that is well, and on hosts that are not: each fault is named with its cure, and none hangs it. */
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as net from 'node:net';
import * as path from 'node:path';
import type { Finding } from '../../src/cli/doctor/finding';
import { createRepository } from '../../src/publish/repo-create';
import { systemWorld } from '../../src/publish/publish-world';
import { CliScene, FQRN } from '../support/cli-scene';
import type { Running } from '../support/cli-scene';
import { startHttpServer } from '../support/http-server';
import { until } from '../support/shell';
import { describeWithMounts } from '../support/test-host';

jest.setTimeout(180_000);

interface Doctor {
  readonly code: number;
  readonly findings: readonly Finding[];
  readonly problems: number;
  of(check: string, subject?: string): Finding[];
}

describeWithMounts('doctor', () => {
  let scene: CliScene;
  let web: Running & { readonly url: string };

  beforeEach(async () => {
    scene = new CliScene();
    await scene.create();
    scene.files({ 'images/a/etc/motd': 'hello' });
    await scene.publish();
    web = await scene.serveRepository();
    scene.configure(web.url);
  });
  afterEach(() => scene.end());

  async function doctor(): Promise<Doctor> {
    const { code, stdout, stderr } = await scene.host.run(['doctor', '--config', scene.configFile, '--json'], { timeoutMs: 90_000 });
    if (stdout === '') throw new Error(`doctor ended with ${code}: ${stderr}`);
    const said = JSON.parse(stdout) as { findings: Finding[]; problems: number };
    return { code, ...said, of: (check, subject) => said.findings.filter((one) => one.check === check && (subject === undefined || one.subject === subject)) };
  }
  const problems = ({ findings }: Doctor): Finding[] => findings.filter(({ level }) => level === 'problem');
  const mountpoint = (): string => path.join(scene.mountRoot, FQRN);

  it('finds nothing wrong before the first start, and makes nothing', async () => {
    const said = await doctor();
    expect(problems(said)).toEqual([]);
    expect(said.code).toBe(0);
    expect(said.of('state_dir')).toMatchObject([{ level: 'ok', text: 'is made at the first start' }]);
    expect(said.of('repository').map(({ level }) => level)).toEqual(['ok', 'ok', 'ok', 'ok']);
    expect(said.of('repository')[1]!.text).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/cvmfs\/images\.cli\.test: revision 2, signed, root catalog [0-9a-f]{40}$/);
    expect(fs.existsSync(scene.host.runDir)).toBe(false);
    expect(fs.existsSync(scene.host.cacheDir)).toBe(false);
  });

  it('looks at the agent’s store and files when the facade is enabled', async () => {
    const [store, work] = [path.join(scene.host.dir, 'agent/store'), path.join(scene.host.dir, 'work')];
    scene.configure(web.url, `[facade]\nenabled = true\nlisten = "127.0.0.1:0"\ndocker_store_dir = "${store}"\nagent_work_dir = "${work}"\nauth = "secret"\n`);
    const fresh = await doctor();
    expect(fresh.of('facade.docker_store_dir')).toMatchObject([{ level: 'ok', text: 'is made at the first start' }]);
    expect(fresh.of('facade.agent_work_dir')).toMatchObject([{ level: 'warning', text: expect.stringContaining('not the agent’s --work_dir') }]);
    expect(fresh.of('facade.auth')).toMatchObject([{ level: 'ok' }]);
    expect(fs.existsSync(path.dirname(store))).toBe(false);
    fs.mkdirSync(path.join(work, 'provisioner/containers/c/backends/copy'), { recursive: true });
    fs.mkdirSync(store, { recursive: true });
    fs.chmodSync(path.dirname(store), 0o777);
    const said = await doctor();
    expect(said.of('facade.docker_store_dir')).toMatchObject([{ level: 'problem', text: expect.stringContaining('can be written by others'), cure: expect.stringContaining('chmod go-w') }]);
    expect(said.of('facade.agent_work_dir').filter(({ level }) => level === 'problem')).toMatchObject([{ text: expect.stringContaining('the backend copy'), cure: expect.stringContaining('--image_provisioner_backend=overlay') }]);
  });

  it('finds nothing wrong while the service runs', async () => {
    const service = await scene.serve();
    await until('the repository is mounted', async () => (await fetch(`http://${service.http}/readyz`)).status === 200);
    const said = await doctor();
    expect(problems(said)).toEqual([]);
    expect(said.of('keeper')[0]).toMatchObject({ level: 'ok', text: expect.stringMatching(/^process \d+ keeps 1 mounts$/) });
    expect(said.of('descriptor store')).toMatchObject([{ level: 'warning', text: expect.stringContaining('not stored') }]);
    expect(said.of('service')[0]).toMatchObject({ level: 'ok', text: expect.stringMatching(/, process \d+, ready$/) });
    expect(said.of('mount point')).toMatchObject([{ level: 'ok', subject: mountpoint(), text: 'is mounted' }]);
    expect(said.of('cache pins')).toMatchObject([{ level: 'ok' }]);
    expect(said.of('mount namespace')).toMatchObject([{ level: 'ok' }]);
    const text = (await scene.run('doctor')).stdout;
    expect(text).toMatch(/^ok +configuration +\S+config\.toml 1 repositories$/m);
    expect(text).toMatch(/\n0 problems, \d+ warnings(, \d+ not checked)?\n$/);
    expect(await service.stop()).toBe(0);
  });

  it('names what keeps the service from starting', async () => {
    fs.mkdirSync(path.join(scene.host.dir, 'state'), { mode: 0o755 });
    fs.mkdirSync(scene.host.cacheDir, { mode: 0o700 });
    fs.writeFileSync(path.join(scene.host.cacheDir, 'planted'), '');
    fs.chownSync(scene.host.cacheDir, 12345, 12345);
    fs.symlinkSync('/tmp', scene.host.runDir);
    const taken = net.createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => taken.once('listening', resolve));
    const { port } = taken.address() as net.AddressInfo;
    fs.writeFileSync(scene.configFile, fs.readFileSync(scene.configFile, 'utf8').replace('127.0.0.1:0', `127.0.0.1:${port}`).replace('1 GB', '9000 TB'));
    const said = await doctor();
    taken.close();
    expect(said.code).toBe(8);
    expect(problems(said).map(({ check, cure }) => [check, cure])).toEqual([
      ['state_dir', `run: chmod 0700 ${scene.host.dir}/state`],
      ['run_dir', 'set run_dir to the directory that it points to'],
      ['cache.dir', expect.stringContaining(`run: chown 0:0 ${scene.host.cacheDir}`)],
      ['cache limit', expect.stringContaining('lower cache.limit')],
      ['http', expect.stringContaining('set http to another port')],
    ]);
  });

  it('names each server that does not answer, and says whether one does', async () => {
    const text = fs.readFileSync(scene.configFile, 'utf8');
    fs.writeFileSync(scene.configFile, text.replace('servers = [', 'servers = ["http://127.0.0.1:1/cvmfs/@fqrn@", '));
    const one = await doctor();
    expect(one.code).toBe(0);
    expect(one.of('repository').filter(({ level }) => level === 'warning')).toMatchObject([{ text: expect.stringContaining(`http://127.0.0.1:1/cvmfs/${FQRN}: `), cure: expect.any(String) }]);
    await web.stop();
    const none = await doctor();
    expect(none.code).toBe(8);
    expect(none.of('repository').filter(({ level }) => level === 'problem')).toHaveLength(2);
  });

  it('tries each proxy, and never shows its password', async () => {
    const text = fs.readFileSync(scene.configFile, 'utf8');
    fs.writeFileSync(scene.configFile, text.replace('max_ttl', 'proxies = "http://me:secret@127.0.0.1:1;DIRECT"\nmax_ttl'));
    const said = await doctor();
    expect(said.code).toBe(0);
    expect(said.of('repository').filter(({ level }) => level === 'warning')).toMatchObject([{ text: expect.stringContaining('over http://127.0.0.1:1: ') }]);
    expect(JSON.stringify(said.findings)).not.toContain('secret');
  });

  it('knows a wrong key, an expired whitelist and one that ends soon', async () => {
    const other = path.join(scene.host.dir, 'other');
    await createRepository({ fqrn: 'other.cli.test', storage: path.join(other, 'www/other.cli.test'), keys: path.join(other, 'keys'), whitelistDays: 2 }, systemWorld);
    await createRepository({ fqrn: 'old.cli.test', storage: path.join(other, 'www/old.cli.test'), keys: path.join(other, 'keys') }, { ...systemWorld, now: () => new Date(Date.now() - 60 * 86_400_000) });
    const server = await startHttpServer(path.join(other, 'www'));
    try {
      scene.configure(
        web.url,
        ['other', 'old'].map((name) => `[repositories."${name}.cli.test"]\nservers = ["${server.url}/@fqrn@"]\npublic_keys = ["${other}/keys/${name}.cli.test.pub"]\n`).join(''),
        path.join(other, 'keys/other.cli.test.pub'),
      );
      const said = await doctor();
      expect(said.of('repository', FQRN).filter(({ level }) => level !== 'ok')).toMatchObject([{ level: 'problem', text: expect.stringContaining('its signature is by none of the 1 master keys'), cure: expect.stringContaining('public_keys') }]);
      expect(said.of('repository', 'old.cli.test').filter(({ level }) => level !== 'ok')).toMatchObject([{ level: 'problem', text: expect.stringMatching(/expired at .*clock/) }]);
      expect(said.of('repository', 'other.cli.test').filter(({ level }) => level !== 'ok')).toMatchObject([{ level: 'warning', text: expect.stringContaining('valid only until') }]);
      server.behave = (url) => (url.startsWith('/other') ? { kind: 'hang' } : undefined);
      const hung = await doctor();
      expect(hung.of('repository', 'other.cli.test').filter(({ level }) => level === 'problem')).toHaveLength(1);
    } finally {
      await server.close();
    }
  });

  it('knows a clock that is far from its servers', async () => {
    const server = await startHttpServer(scene.storage);
    const answer = fs.readFileSync(path.join(scene.storage, '.cvmfspublished'));
    server.behave = (url) => (url === '/.cvmfspublished' ? { kind: 'body', body: answer, headers: { date: new Date(Date.now() + 3_600_000).toUTCString() } } : undefined);
    try {
      scene.configure(server.url);
      expect((await doctor()).of('repository', FQRN).filter(({ level }) => level === 'warning')).toMatchObject([{ text: expect.stringMatching(/^this host's clock is (59|60) minutes behind its servers$/) }]);
    } finally {
      await server.close();
    }
  });

  it('names a mount point where something else is mounted', async () => {
    fs.mkdirSync(mountpoint(), { recursive: true });
    expect(spawnSync('mount', ['-t', 'tmpfs', 'stranger', mountpoint()]).status).toBe(0);
    const said = await doctor();
    expect(said.code).toBe(8);
    expect(problems(said)).toMatchObject([{ check: 'mount point', subject: mountpoint(), text: 'shows stranger (tmpfs)', cure: expect.stringContaining(`umount ${mountpoint()}`) }]);
  });

  it('names a dead mount, and a host without a keeper, and hangs on neither', async () => {
    const service = await scene.serve();
    await until('the repository is mounted', async () => (await fetch(`http://${service.http}/readyz`)).status === 200);
    const { mounts } = await scene.host.status();
    await service.stop();
    process.kill(mounts[0]!.keeper_pid, 'SIGSTOP');
    const stuck = await doctor();
    expect(problems(stuck)).toMatchObject([{ check: 'keeper', text: expect.stringContaining('does not answer within') }]);
    process.kill(mounts[0]!.keeper_pid, 'SIGKILL');
    await until('the keeper has ended', () => !fs.existsSync(`/proc/${mounts[0]!.keeper_pid}/ns/mnt`));
    expect(problems(await doctor())).toMatchObject([{ check: 'keeper', text: expect.stringContaining('no keeper runs'), cure: expect.stringContaining('mesos-cvmfs status') }]);
    // With server and spare gone too the mount is dead, which the next keeper finds.
    const spare = JSON.parse(fs.readFileSync(path.join(scene.host.runDir, 'spare.json'), 'utf8')) as { pid: number };
    const holders = [...new Set([...scene.host.servers(), spare.pid])];
    for (const signal of ['SIGSTOP', 'SIGKILL'] as const) for (const pid of holders) process.kill(pid, signal);
    await until('nobody holds the mount', () => !holders.some((pid) => fs.existsSync(`/proc/${pid}/ns/mnt`)));
    await scene.host.status();
    expect(problems(await doctor())).toMatchObject([{ check: 'keeper', subject: mountpoint(), text: expect.stringContaining('is dead'), cure: `run: mesos-cvmfs umount ${mountpoint()}` }]);
    expect(await scene.host.umount(mountpoint())).toMatchObject({ code: 0 });
  });

  it('reads no key and no directory behind a mount that hangs', async () => {
    const info = await scene.host.mount({ fqrn: FQRN, servers: [web.url], publicKey: scene.publicKey, name: 'hung' });
    for (const pid of scene.host.servers()) process.kill(pid, 'SIGSTOP');
    fs.symlinkSync(path.join(info.mountpoint, 'images'), path.join(scene.host.dir, 'link'));
    scene.configure(web.url, '', path.join(scene.host.dir, 'link/a/key.pub'));
    fs.writeFileSync(scene.configFile, fs.readFileSync(scene.configFile, 'utf8').replace(`${scene.host.dir}/state`, `${info.mountpoint}/state`));
    const said = await doctor();
    expect(said.of('repository')).toMatchObject([{ level: 'problem', text: expect.stringContaining(`lies on ${FQRN} (fuse.mesos-cvmfs) at ${info.mountpoint}`), cure: 'copy it to the local disk' }]);
    expect(said.of('state_dir')).toMatchObject([{ level: 'problem', text: expect.stringContaining('lies on fuse.mesos-cvmfs'), cure: expect.stringContaining('local disk') }]);
  });

  it('tells what is wrong with a configuration file, and still looks at the host', async () => {
    fs.appendFileSync(scene.configFile, 'limti = "1 GB"\n');
    const said = await doctor();
    expect(said.code).toBe(8);
    expect(said.of('configuration')).toMatchObject([{ level: 'problem', text: expect.stringContaining('limti'), cure: expect.stringContaining('limit') }]);
    expect(said.of('kernel')).toHaveLength(1);
  });

  it('says without root what it cannot see', async () => {
    fs.chmodSync(scene.host.dir, 0o755);
    fs.chmodSync(scene.keys, 0o755);
    const ran = spawnSync(process.execPath, [path.resolve(__dirname, '../../bin/mesos-cvmfs'), 'doctor', '--json', '--config', scene.configFile], { uid: 65534, gid: 65534, encoding: 'utf8', timeout: 60_000 });
    expect(ran.stderr).toBe('');
    const { findings } = JSON.parse(ran.stdout) as { findings: Finding[] };
    expect(findings.filter(({ level }) => level === 'problem')).toEqual([]);
    expect(findings.filter(({ level }) => level === 'skipped').map(({ check }) => check)).toEqual(expect.arrayContaining(['keeper', 'service', 'mount namespace']));
    expect(findings.filter(({ check }) => check === 'repository').length).toBeGreaterThan(1);
  });
});
