/**
 * SIGKILL of the service at every instant between two effects of Provision and Destroy, then a new start and Recover: no
 * orphan mount, no lost container, no stale directory.
 */
import type { ChildProcess } from 'node:child_process';
import { fork } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { createClient } from '../../provisioner/grpc/client';
import { loadContracts } from '../../provisioner/grpc/protos';
import { DESTROY_STEPS, PROVISION_STEPS } from '../../provisioner/steps';
import type { Host, Running } from '../support/provisioner/service';
import { CALL, cvmfsImage, makeHost, startOn } from '../support/provisioner/service';
import { typescriptExecArgv } from '../support/typescript-process';

const describeAsRoot = process.geteuid?.() === 0 ? describe : describe.skip;
const contracts = loadContracts();

jest.setTimeout(60_000);

function message(child: ChildProcess): Promise<unknown> {
  return new Promise((resolve, reject) => {
    child.once('message', resolve);
    child.once('exit', (code, signal) => reject(new Error(`the service ended: ${code ?? signal}`)));
  });
}

class CrashingService {
  readonly #child: ChildProcess;
  readonly ended: Promise<unknown>;
  readonly client;

  constructor(readonly host: Host) {
    this.#child = fork(path.join(__dirname, '../support/provisioner/serve-and-crash.ts'), [host.config(), host.mountpoint], { execArgv: [...typescriptExecArgv] });
    this.ended = new Promise((resolve) => this.#child.once('exit', (_code, signal) => resolve(signal)));
    this.client = createClient(contracts, 'mesos.cvmfs.v1.Provisioner', host.listen);
  }

  async ready(): Promise<void> {
    expect(await message(this.#child)).toBe('ready');
  }

  async arm(step: string): Promise<void> {
    this.#child.send(step);
    expect(await message(this.#child)).toBe('armed');
  }
}

describeAsRoot('a service that is killed between two steps (needs root)', () => {
  let host: Host;
  let crashing: CrashingService;
  let running: Running | undefined;
  let kept: string;

  const provision = (client: Running['provisioner'], id: string) => client.Provision({ container_id: { value: id }, image: cvmfsImage('a'), idempotency_key: 'k' }, CALL);

  beforeEach(async () => {
    host = makeHost();
    crashing = new CrashingService(host);
    await crashing.ready();
    kept = (await provision(crashing.client, 'kept')).rootfs!;
    fs.writeFileSync(path.join(kept, 'written'), 'by the container');
  });

  afterEach(async () => {
    crashing.client.close();
    await running?.stop();
    running = undefined;
    host.remove();
  });

  /** The container that was there before is as it was, and nothing else is left. */
  function expectOnlyKept(): void {
    expect(host.mounts()).toEqual([kept]);
    expect(host.directories()).toEqual(['kept']);
    expect(fs.readFileSync(path.join(kept, 'written'), 'utf8')).toBe('by the container');
    expect(fs.readFileSync(path.join(kept, 'etc/image'), 'utf8')).toBe('a\n');
    expect(running!.service.provisioner.world.state.all().records.map(({ container }) => container)).toEqual([['kept']]);
  }

  it.each(PROVISION_STEPS)('leaves nothing of a Provision that was killed at %s, when the agent does not know the container', async (step) => {
    await crashing.arm(step);
    await expect(provision(crashing.client, 'c')).rejects.toThrow();
    expect(await crashing.ended).toBe('SIGKILL');
    running = await startOn(host);
    const { quarantined } = await running.provisioner.Recover({ known_container_ids: [{ value: 'kept' }] }, CALL);
    expect(quarantined).toEqual([]);
    expectOnlyKept();
  });

  it.each(PROVISION_STEPS)('gives one whole rootfs to a repeated Provision that was killed at %s', async (step) => {
    await crashing.arm(step);
    await expect(provision(crashing.client, 'c')).rejects.toThrow();
    await crashing.ended;
    running = await startOn(host);
    const known = [{ value: 'kept' }, { value: 'c' }];
    expect(await running.provisioner.Recover({ known_container_ids: known }, CALL)).toEqual({ destroyed: [], quarantined: [] });
    const { rootfs } = await provision(running.provisioner, 'c');
    expect(host.mounts().sort()).toEqual([kept, rootfs].sort());
    expect(fs.readFileSync(path.join(rootfs!, 'etc/image'), 'utf8')).toBe('a\n');
    expect(await running.provisioner.Destroy({ container_id: { value: 'c' } }, CALL)).toEqual({ destroyed: true });
    expectOnlyKept();
  });

  it.each(DESTROY_STEPS)('finishes a Destroy that was killed at %s', async (step) => {
    await provision(crashing.client, 'c');
    await crashing.client.Provision({ container_id: { value: 'nested', parent: { value: 'c' } }, image: cvmfsImage('b') }, CALL);
    await crashing.arm(step);
    await crashing.client.Destroy({ container_id: { value: 'c' } }, CALL).catch(() => undefined);
    expect(await crashing.ended).toBe('SIGKILL');
    running = await startOn(host);
    // The agent repeats it: whatever is left goes now.
    await running.provisioner.Recover({ known_container_ids: [{ value: 'kept' }, { value: 'c' }, { value: 'nested', parent: { value: 'c' } }] }, CALL);
    await running.provisioner.Destroy({ container_id: { value: 'c' } }, CALL);
    expectOnlyKept();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(running.service.provisioner.world.state.releases()).toEqual([]);
  });

  it('finishes a Destroy at the start, before the agent says anything', async () => {
    await provision(crashing.client, 'c');
    await crashing.arm('destroy-intent-recorded');
    await crashing.client.Destroy({ container_id: { value: 'c' } }, CALL).catch(() => undefined);
    await crashing.ended;
    running = await startOn(host);
    expectOnlyKept();
  });

  it('takes the mount helpers with it', async () => {
    const helpers = fs.readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && readCommandLine(pid).includes('mount-helper/main.ts') && readParent(pid) !== String(process.pid));
    expect(helpers.length).toBeGreaterThan(0);
    await crashing.arm('provision-accepted');
    await provision(crashing.client, 'c').catch(() => undefined);
    await crashing.ended;
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(helpers.filter((pid) => readCommandLine(pid).includes('mount-helper/main.ts'))).toEqual([]);
  });
});

function readCommandLine(pid: string): string {
  try {
    return fs.readFileSync(`/proc/${pid}/cmdline`, 'latin1');
  } catch {
    return '';
  }
}

function readParent(pid: string): string {
  return /^PPid:\t(\d+)$/m.exec(fs.readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? '';
}
