/** `agent check` and `agent flags` against an agent that answers as Mesos does, in namespaces of its own and without. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { Finding } from '../../src/cli/doctor/finding';
import { CliScene, FQRN } from '../support/cli-scene';
import { startHttpServer } from '../support/http-server';
import type { TestHttpServer } from '../support/http-server';
import { until } from '../support/shell';
import { describeWithMounts } from '../support/test-host';

jest.setTimeout(180_000);

const FAKE = path.resolve(__dirname, '../support/fake-agent.js');
const STORE = '/var/lib/mesos-store/docker';
const GOOD: Readonly<Record<string, string>> = {
  containerizers: 'mesos,docker',
  launcher: 'linux',
  isolation: 'filesystem/linux,docker/runtime,cgroups/cpu',
  image_providers: 'docker',
  image_provisioner_backend: 'overlay',
  docker_store_dir: STORE,
  docker_registry: 'https://registry-1.docker.io',
  work_dir: '/var/lib/mesos',
  runtime_dir: '/var/run/mesos',
  executor_registration_timeout: '5mins',
  fetcher_stall_timeout: '1mins',
};

describeWithMounts('agent check', () => {
  let scene: CliScene;
  let facade: TestHttpServer;
  /** The configuration that is compared; the service, where one runs, has another without a facade. */
  let config: string;

  beforeEach(async () => {
    scene = new CliScene();
    facade = await startHttpServer();
    config = path.join(scene.host.dir, 'agent.toml');
    configure();
  });
  afterEach(async () => {
    await facade.close();
    await scene.end();
  });

  function configure(more = ''): void {
    fs.writeFileSync(
      config,
      `state_dir = "${scene.host.dir}/state"
mount_root = "${scene.mountRoot}"
[facade]
enabled = true
listen = "127.0.0.1:${facade.port}"
docker_store_dir = "${STORE}"
agent_work_dir = "/var/lib/mesos"
${more}
[repositories."${FQRN}"]
servers = ["http://127.0.0.1:1/@fqrn@"]
`,
    );
  }

  /** Starts the fake agent, perhaps by another program; resolves to its port. */
  function agent(fake: object, by: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Promise<number> {
    const [program, ...args] = [...by, process.execPath, FAKE];
    const own = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.toLowerCase().endsWith('_proxy')));
    const child = scene.host.start(program!, args, { env: { ...own, ...env, FAKE_AGENT: JSON.stringify(fake) } });
    return new Promise((resolve, reject) => {
      child.stdout!.once('data', (word: Buffer) => resolve(Number(word.toString())));
      child.once('exit', (code) => reject(new Error(`the agent ended with ${code}`)));
    });
  }

  async function check(port: number, ...args: string[]): Promise<{ code: number; findings: Finding[]; of: (name: string) => Finding[] }> {
    const { code, stdout, stderr } = await scene.host.run(['agent', 'check', '--agent', `http://127.0.0.1:${port}`, '--config', config, '--json', ...args]);
    if (stdout === '') throw new Error(`agent check ended with ${code}: ${stderr}`);
    const { findings } = JSON.parse(stdout) as { findings: Finding[] };
    return { code, findings, of: (name) => findings.filter((one) => one.check === name) };
  }

  it('finds nothing wrong with an agent that is as it should be', async () => {
    const said = await check(await agent({ flags: GOOD }));
    expect(said.findings.filter(({ level }) => level === 'problem' || level === 'warning')).toEqual([]);
    expect(said.of('agent process')).toMatchObject([{ level: 'ok', text: expect.stringMatching(/^is process \d+$/) }]);
    expect(said.of('facade')).toMatchObject([{ level: 'ok', text: 'answers' }]);
    expect(said.code).toBe(0);
  });

  it('names each thing that would not work, with its cure', async () => {
    const flags = { ...GOOD, image_provisioner_backend: 'copy', docker_store_dir: '/tmp/mesos/store/docker', isolation: 'posix/cpu', executor_registration_timeout: '30secs', resources: 'ports:[1025-65000]', work_dir: '/srv/mesos', launcher: 'posix', image_providers: '' };
    await facade.close();
    const said = await check(await agent({ flags, version: '1.4.0' }, [], { http_proxy: 'http://user:hidden@proxy:3128' }), '--mode', 'module');
    const problem = (name: string): string => said.of(name).filter(({ level }) => level === 'problem').map(({ text, cure }) => `${text}; ${cure}`).join('\n');
    expect(problem('agent version')).toContain('Mesos 1.4.0 does not understand');
    expect(problem('image_provisioner_backend')).toContain('is copy');
    expect(problem('docker_store_dir')).toContain(`the facade links into ${STORE}`);
    expect(problem('isolation')).toContain('filesystem/linux and docker/runtime are missing');
    expect(problem('isolation')).toContain('org_mesos_cvmfs_Isolator');
    expect(problem('executor_registration_timeout')).toContain('is 30secs');
    expect(problem('resources')).toContain('port 61081 (http)');
    expect(problem('work_dir')).toContain('images in use would be taken for unused');
    expect(problem('launcher')).toContain('is posix');
    expect(problem('image_providers')).toContain('--image_providers=docker');
    expect(problem('facade')).toContain('does not answer');
    expect(problem('proxy')).toContain('http_proxy');
    expect(JSON.stringify(said.findings)).not.toContain('hidden');
    expect(said.code).toBe(8);
    facade = await startHttpServer();
  });

  it('of a patched agent it looks at the address of the service alone', async () => {
    const flags = Object.fromEntries(Object.entries(GOOD).filter(([name]) => name !== 'docker_store_dir'));
    const said = await check(await agent({ flags: { ...flags, remote_provisioner: 'unix:///elsewhere.sock' } }), '--mode', 'patched');
    expect(said.of('remote_provisioner')).toMatchObject([{ level: 'problem', text: expect.stringContaining('is unix:///elsewhere.sock, and the service listens at unix:///') }]);
    expect([...said.of('docker_store_dir'), ...said.of('facade')]).toEqual([]);
    expect((await check(await agent({ flags }), '--mode', 'patched')).of('remote_provisioner')).toMatchObject([{ level: 'problem', text: expect.stringContaining('is not set') }]);
  });

  it('an agent in a private mount namespace, before and after a repository is mounted', async () => {
    await scene.create();
    const web = await scene.serveRepository();
    scene.configure(web.url);
    const early = await agent({ flags: GOOD }, ['unshare', '--mount', '--propagation', 'private']);
    const service = await scene.serve();
    await until('the repository is mounted', async () => (await fetch(`http://${service.http}/readyz`)).status === 200);
    const hidden = (await check(early)).of('mount namespace');
    expect(hidden).toMatchObject([
      { level: 'problem', text: expect.stringContaining('is in a private mount namespace'), cure: expect.stringContaining('PrivateTmp') },
      { level: 'problem', subject: path.join(scene.mountRoot, FQRN), text: expect.stringContaining('the agent does not see it') },
    ]);
    const seen = (await check(await agent({ flags: GOOD }))).of('mount namespace');
    expect(seen).toMatchObject([{ level: 'ok' }, { level: 'ok', text: 'is seen by the agent' }]);
  });

  it('an agent in a network namespace of its own', async () => {
    // Nobody reaches it there, so it is told apart by its process.
    const port = await agent({ flags: GOOD });
    const child = scene.host.start('unshare', ['--net', 'sleep', '60']);
    await until('it is in its namespace', () => Promise.resolve(fs.readlinkSync(`/proc/${child.pid!}/ns/net`) !== fs.readlinkSync('/proc/self/ns/net')));
    expect((await check(port, '--pid', String(child.pid))).of('network namespace')).toMatchObject([{ level: 'problem', text: expect.stringContaining('its 127.0.0.1 is not ours') }]);
  });

  it('an agent that wants credentials, that hangs, that is none, and none at all', async () => {
    const port = await agent({ flags: GOOD, authorization: `Basic ${Buffer.from('me:secret').toString('base64')}` });
    expect((await check(port)).of('agent')).toMatchObject([{ level: 'problem', text: expect.stringContaining('wants credentials') }]);
    const file = path.join(scene.host.dir, 'password');
    fs.writeFileSync(file, 'secret\n');
    expect((await check(port, '--user', 'me', '--password-file', file)).of('agent')).toMatchObject([{ level: 'ok' }]);
    expect((await check(await agent({ hang: true }))).of('agent')).toMatchObject([{ level: 'problem', text: expect.stringContaining('no answer within 5 s') }]);
    expect((await check(await agent({ page: '<html>' }))).of('agent')).toMatchObject([{ level: 'problem', text: expect.stringContaining('is no Mesos agent') }]);
    expect((await check(1)).of('agent')).toMatchObject([{ level: 'problem', text: expect.stringContaining('no agent answers') }]);
  });

  it('flags hand the secret over in a file of its own, and check finds it again', async () => {
    configure('auth = "secret"');
    const text = await scene.host.ok(['agent', 'flags', '--config', config]);
    const file = path.join(scene.host.dir, 'state/docker-config.json');
    expect(text).toContain(`MESOS_DOCKER_CONFIG=file://${file}\n`);
    expect(fs.statSync(file).mode & 0o777).toBe(0o600);
    const secret = fs.readFileSync(path.join(scene.host.dir, 'state/facade-secret'), 'utf8').trim();
    expect(text).not.toContain(secret);
    const { auths } = JSON.parse(fs.readFileSync(file, 'utf8')) as { auths: Record<string, { auth: string }> };
    expect(Buffer.from(auths[`127.0.0.1:${facade.port}`]!.auth, 'base64').toString()).toBe(`mesos-cvmfs:${secret}`);
    // An agent answers with the text of the file.
    const right = await check(await agent({ flags: { ...GOOD, docker_config: fs.readFileSync(file, 'utf8') } }));
    expect(right.of('docker_config')).toMatchObject([{ level: 'ok' }]);
    const wrong = await check(await agent({ flags: GOOD }));
    expect(wrong.of('docker_config')).toMatchObject([{ level: 'problem', text: expect.stringContaining('401 Unauthorized') }]);
  });
});
