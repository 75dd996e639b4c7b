/** `marathon deploy` against a Marathon of the test's own, with the errors that a real one has. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { CODES, Failure } from '../../src/error';
import { MarathonClient } from '../../src/marathon/client';
import type { Credentials } from '../../src/marathon/client';
import { deploy } from '../../src/marathon/deploy';
import type { DeployOptions } from '../../src/marathon/deploy';
import { translate } from '../../src/marathon/translate';
import { selfSigned } from '../support/certificate';
import { startFakeMarathon } from '../support/fake-marathon';
import type { FakeMarathon, FakeMarathonOptions } from '../support/fake-marathon';
import { TestHost } from '../support/test-host';

const EXAMPLES = path.resolve(__dirname, '../../examples/marathon');
const file = (name: string): string => path.join(EXAMPLES, name);
const read = (name: string): string => fs.readFileSync(file(name), 'utf8');

let marathon: FakeMarathon;
const start = async (options: FakeMarathonOptions = {}): Promise<void> => void (marathon = await startFakeMarathon(options));
afterEach(() => marathon.close());

const pause = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function client(credentials: Credentials = { kind: 'none' }, more: { ca?: string; requestMs?: number } = {}): MarathonClient {
  return new MarathonClient({ url: marathon.url, credentials, sleep: pause, ...more });
}

function send(name: string, more: Partial<DeployOptions> = {}, by = client()): ReturnType<typeof deploy> {
  let now = 0;
  return deploy(by, { ...translate(read(name), name), force: false, wait: true, timeoutMs: 60_000, failuresMax: 3, now: () => (now += 1), sleep: pause, show: () => undefined, ...more });
}

async function failureOf(work: Promise<unknown>): Promise<Failure> {
  try {
    await work;
  } catch (error) {
    return Failure.from(error);
  }
  throw new Error('it did not fail');
}

describe('what is sent', () => {
  it.each([
    ['web.json', '/v2/apps/examples/web?force=false&partialUpdate=false', ['/examples/web']],
    ['list.json', '/v2/apps?force=false&partialUpdate=false', ['/examples/list/one', '/examples/list/plain']],
    ['group.json', '/v2/groups/examples/shop?force=false', ['/examples/shop/store', '/examples/shop/front/web']],
    ['pod.json', '/v2/pods/examples/pod?force=false', ['/examples/pod']],
  ])('%s goes to %s, and is followed until it is healthy', async (name, url, ids) => {
    await start();
    const { workloads } = await send(name);
    expect(workloads.map(({ id }) => id)).toEqual(ids);
    const [put] = marathon.requests.filter(({ method }) => method === 'PUT');
    expect(put!.url).toBe(url);
    expect(put!.body).toEqual(translate(read(name), name).value);
    expect(marathon.requests.filter(({ url: asked }) => asked === '/v2/deployments').length).toBeGreaterThan(1);
  });

  it('does not wait when it is told so', async () => {
    await start({ never: true });
    await send('web.json', { wait: false });
    expect(marathon.requests.map(({ method }) => method)).toEqual(['PUT']);
  });
});

describe('what goes wrong', () => {
  it('401 without credentials, and Basic, DC/OS and Bearer credentials', async () => {
    await start({ authorization: `Basic ${Buffer.from('me:päss').toString('base64')}` });
    const failure = await failureOf(send('web.json'));
    expect(failure.code).toBe('PERMISSION_DENIED');
    expect(failure.message).toContain('Marathon answers 401: Invalid username or password.; give credentials');
    await send('web.json', {}, client({ kind: 'basic', user: 'me', password: 'päss' }));
    await marathon.close();
    await start({ authorization: 'token=abc.def' });
    await send('web.json', {}, client({ kind: 'token', scheme: 'token', token: 'abc.def' }));
    await marathon.close();
    await start({ authorization: 'Bearer abc.def' });
    await send('web.json', {}, client({ kind: 'token', scheme: 'bearer', token: 'abc.def' }));
  });

  it('409: the deployment that is in the way is named, and --force goes over it', async () => {
    await start({ locked: true });
    const failure = await failureOf(send('web.json'));
    expect(failure.code).toBe('FAILED_PRECONDITION');
    expect(failure.message).toContain('locked by one or more deployments');
    expect(failure.message).toContain('97c136bf-5a28-4821-9d94-480d9fbb01c8');
    expect(failure.next).toContain('--force');
    expect(marathon.requests.filter(({ method }) => method === 'PUT')).toHaveLength(1);
    await send('web.json', { force: true });
  });

  it('422: every detail is told', async () => {
    await start();
    const failure = await failureOf(send('web.json', { value: { id: '/x', cpus: -1, container: { type: 'MESOS', cvmfs: {} } } }));
    expect(failure.code).toBe('INVALID_ARGUMENT');
    expect(failure.message).toContain('Marathon answers 422: Object is not valid; /: App.container.cvmfs: Marathon does not know it; /: App.cpus: -1 is out of range');
  });

  it('without a leader it asks again, and gives up at last', async () => {
    await start({ first: { status: 503, times: 3 } });
    await send('web.json');
    await marathon.close();
    await start({ first: { status: 503, times: 1000 } });
    const failure = await failureOf(send('web.json'));
    expect(failure.code).toBe('NETWORK');
    expect(marathon.requests).toHaveLength(5);
  });

  it('a definition whose answer got lost is not sent twice', async () => {
    await start({ delayMs: 2_000 });
    const failure = await failureOf(send('web.json', { wait: false }, client({ kind: 'none' }, { requestMs: 300 })));
    expect(failure.code).toBe('DEADLINE_EXCEEDED');
    expect(marathon.requests).toHaveLength(1);
  });

  it('something that is no Marathon', async () => {
    await start({ first: { status: 200, times: 1, body: '<html>login</html>' } });
    expect((await failureOf(send('web.json', { wait: false }))).message).toContain('is no Marathon: its answer is no JSON');
    await marathon.close();
    await start({ first: { status: 302, times: 1 } });
    expect((await failureOf(send('web.json', { wait: false }))).message).toContain('redirects to');
  });

  it('nobody listens', async () => {
    await start();
    const { url } = marathon;
    await marathon.close();
    const failure = await failureOf(send('web.json', {}, new MarathonClient({ url, credentials: { kind: 'none' }, sleep: pause })));
    expect(failure.code).toBe('NETWORK');
    expect(failure.message).toContain('ECONNREFUSED');
    await start();
  });

  it('tasks that keep failing end it with the words of the agent', async () => {
    await start({ never: true });
    const failure = await failureOf(send('web.json'));
    expect(failure.code).toBe('FAILED_PRECONDITION');
    expect(failure.message).toContain("3 tasks failed, the last one with: TASK_FAILED on agent-1: Failed to launch container: Unexpected HTTP response '404 Not Found'");
    expect(failure.next).toContain('/v2/deployments/97c136bf');
  });

  it('pods that keep failing too', async () => {
    await start({ never: true });
    expect((await failureOf(send('pod.json'))).message).toContain('3 tasks failed, the last one with: Container exited with status 1');
  });

  it('a task that fails on the way and comes up is told of', async () => {
    await start({ failing: 1, polls: 3 });
    expect((await send('web.json')).failures).toHaveLength(1);
  });

  it('a deployment that is never healthy ends at the timeout', async () => {
    await start({ never: true });
    const failure = await failureOf(send('web.json', { timeoutMs: 3, failuresMax: 1000 }));
    expect(failure.code).toBe('DEADLINE_EXCEEDED');
    expect(failure.message).toContain('deployment 97c136bf-5a28-4821-9d94-480d9fbb01c8 goes on');
  });

  it('a deployment that somebody cancels', async () => {
    await start({ cancelled: true });
    expect((await failureOf(send('web.json'))).message).toContain('it was cancelled, or replaced by another');
  });
});

it('trusts the certificates that it is given, and no others', async () => {
  const { key, cert } = selfSigned();
  await start({ tls: { key, cert } });
  expect((await failureOf(send('web.json'))).code).toBe('NETWORK');
  await send('web.json', {}, client({ kind: 'none' }, { ca: cert }));
});

describe('the command', () => {
  const host = new TestHost();
  afterAll(() => host.end());

  it('deploys, and says what became of it', async () => {
    await start({ authorization: 'token=t0ken' });
    const token = path.join(host.dir, 'token');
    fs.writeFileSync(token, 't0ken\n');
    const ran = await host.run(['marathon', 'deploy', file('web.json'), '--url', marathon.url, '--token-file', token]);
    expect(ran.stderr).toBe('');
    expect(ran.stdout).toMatch(/^\/examples\/web is running and healthy after [0-9.]+ s \(deployment 97c136bf-5a28-4821-9d94-480d9fbb01c8\)\n$/);
    expect(ran.code).toBe(0);
  });

  it('translates and comes back over standard input, and refuses what is wrong with its place', async () => {
    await start();
    const there = await host.ok(['marathon', 'translate', file('pod.json'), '--facade', 'localhost:5077']);
    expect(there).toContain('"localhost:5077/images.example.org/apps/web:3.1"');
    const back = await host.run(['marathon', 'translate', '-', '--back'], { input: there });
    expect(JSON.parse(back.stdout)).toEqual(JSON.parse(read('pod.json')));
    const wrong = await host.run(['marathon', 'validate', '-'], { input: read('web.json').replace('"path": "/apps', '"pth": "/apps') });
    expect(wrong.code).toBe(CODES.INVALID_ARGUMENT.exit);
    expect(wrong.stdout).toContain('-:11:7: /container/cvmfs/pth: unknown member; did you mean path?\n');
    expect((await host.run(['marathon', 'translate', '-'], { input: '{"id": "/a", // no\n}' })).stderr).toContain('-:1:14: a member name in double quotes is expected');
  });
});
