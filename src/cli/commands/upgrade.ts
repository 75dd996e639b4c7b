/**
 * `mesos-cvmfs upgrade`: servers, spare and keeper become those of the version that this command is of. The keeper that runs
 * does the work (keeper/upgrade.ts), so that it goes on when this command is killed; here it is asked, watched, and asked
 * again when it was replaced, or died, before everything was done.
 */
import { Failure } from '../../error';
import { parseDuration } from '../../config/units';
import { KeeperClient } from '../../fuse/control/keeper-client';
import type { KeeperList } from '../../fuse/keeper/keeper';
import { ownProgram } from '../../fuse/keeper/program';
import { checkStates } from '../../fuse/keeper/state-check';
import type { UpgradeState } from '../../fuse/keeper/upgrade';
import { VERSION } from '../../version';
import type { Config } from '../../config/config';
import { configuration, requireRoot } from '../context';
import type { CommonOptions } from '../common-options';
import { keeperList } from '../mounted-repositories';
import { print, table } from '../output';
import { progress } from '../progress';
import { findService } from '../service-client';

/** Once for the servers and once more by a keeper that had to be replaced first; a third time after a death in the middle. */
const ROUNDS_MAX = 3;
const POLL_MS = 100;
/** The keeper that ended, or a service manager, starts the next one; after this it is believed to have died, and one is started here. */
const SUCCESSOR_MS = 3_000;
const SERVICE_TIMEOUT_MS = 5_000;
const DEFAULT_TIMEOUT_MS = 60_000;

interface Options extends CommonOptions {
  readonly check?: boolean;
  readonly timeout?: string;
}

interface Plan {
  readonly up_to_date: boolean;
  readonly keeper: { readonly pid: number; readonly version: string; readonly action: Action } | null;
  readonly spare: { readonly version: string | null; readonly action: Action } | null;
  readonly mounts: ReadonlyArray<{ readonly repository: string; readonly mountpoint: string; readonly version: string | null; readonly action: Action }>;
  readonly service: { readonly version: string; readonly restart: boolean } | null;
}

/** `stays`: it cannot be replaced while it is mounted. */
type Action = 'none' | 'replace' | 'stays';

const action = (version: string | null): Action => (version === VERSION ? 'none' : 'replace');

function planOf(list: KeeperList | null, service: Plan['service']): Plan {
  if (list === null) return { up_to_date: true, keeper: null, spare: null, mounts: [], service };
  const mounts = list.mounts.map(({ repository, mountpoint, serverVersion, replaceable }) => ({ repository, mountpoint, version: serverVersion, action: replaceable ? action(serverVersion) : ('stays' as const) }));
  const keeper = { pid: list.keeperPid, version: list.keeperVersion, action: action(list.keeperVersion) };
  const spare = list.spareVersion === null ? null : { version: list.spareVersion, action: action(list.spareVersion) };
  return { up_to_date: [keeper, ...(spare === null ? [] : [spare]), ...mounts].every((one) => one.action !== 'replace'), keeper, spare, mounts, service };
}

/** A service that does not answer is said by `status`; here it is no reason to fail. */
async function serviceVersion(config: Config): Promise<Plan['service']> {
  try {
    const client = await findService(config);
    if (client === null) return null;
    try {
      const { version = '' } = await client.admin.Status({}, { timeoutMs: SERVICE_TIMEOUT_MS });
      return { version, restart: version !== VERSION };
    } finally {
      client.close();
    }
  } catch {
    return null;
  }
}

function text(plan: Plan): string {
  const rows: string[][] = [];
  const words = { none: `is version ${VERSION} already`, replace: `becomes version ${VERSION}`, stays: 'stays: its driver cannot be replaced while it is mounted' };
  for (const one of plan.mounts) rows.push(['server', one.mountpoint, `version ${one.version ?? '?'}`, words[one.action]]);
  if (plan.spare !== null) rows.push(['spare', '', `version ${plan.spare.version ?? '?'}`, words[plan.spare.action]]);
  if (plan.keeper !== null) rows.push(['keeper', `process ${plan.keeper.pid}`, `version ${plan.keeper.version}`, words[plan.keeper.action]]);
  if (plan.service !== null) rows.push(['service', '', `version ${plan.service.version}`, plan.service.restart ? 'is to be restarted: systemctl restart mesos-cvmfs' : words.none]);
  return rows.length === 0 ? 'nothing is mounted, and no keeper runs\n' : table(rows);
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Watches until the upgrade ends; null when the keeper ended, which is part of it. */
async function follow(keeper: KeeperClient, show: (state: UpgradeState) => void): Promise<UpgradeState | null> {
  for (;;) {
    let state: UpgradeState | null;
    try {
      state = (await keeper.list()).upgrade;
    } catch (error) {
      if (Failure.from(error).code === 'NETWORK') return null;
      throw error;
    }
    if (state === null) return null;
    show(state);
    if (state.state !== 'running') return state;
    await sleep(POLL_MS);
  }
}

/** The keeper that runs after another has ended: its successor, the service manager's, or one that is started here. */
async function nextKeeper(runDir: string): Promise<KeeperClient> {
  for (const giveUpAt = Date.now() + SUCCESSOR_MS; Date.now() < giveUpAt; await sleep(POLL_MS)) {
    const keeper = await KeeperClient.find(runDir);
    if (keeper !== null) return keeper;
  }
  return KeeperClient.start(runDir);
}

/** What the keeper that runs by now says, when the one that was spoken to has ended. That one may still take connections. */
async function listOfSuccessor(runDir: string): Promise<KeeperList> {
  for (const giveUpAt = Date.now() + SUCCESSOR_MS; ; await sleep(POLL_MS)) {
    const keeper = await nextKeeper(runDir);
    try {
      return await keeper.list();
    } catch (error) {
      if (Failure.from(error).code !== 'NETWORK' || Date.now() > giveUpAt) throw error;
    } finally {
      keeper.close();
    }
  }
}

/** What the keeper says after one request to it, or its successor: keepers end at any moment of an upgrade. */
async function ask(runDir: string, timeoutMs: number, show: (state: UpgradeState) => void): Promise<{ readonly state: UpgradeState | null; readonly list: KeeperList }> {
  const keeper = await KeeperClient.start(runDir);
  try {
    const { keeperPid } = await keeper.list();
    try {
      await keeper.upgrade({ ...ownProgram(), timeoutMs });
    } catch (error) {
      const failure = Failure.from(error);
      if (failure.code !== 'UNIMPLEMENTED') throw failure;
      throw new Failure('FAILED_PRECONDITION', `the keeper that runs, process ${keeperPid}, cannot be upgraded by a command`, { next: `run: kill ${keeperPid}, which no reader notices, then mesos-cvmfs upgrade again`, cause: error });
    }
    const state = await follow(keeper, show);
    return { state, list: state === null ? await listOfSuccessor(runDir) : await keeper.list() };
  } catch (error) {
    if (Failure.from(error).code !== 'NETWORK') throw error;
    return { state: null, list: await listOfSuccessor(runDir) };
  } finally {
    keeper.close();
  }
}

/** FAILED_PRECONDITION with its reason when the upgrade failed. */
async function round(runDir: string, timeoutMs: number, show: (state: UpgradeState) => void): Promise<KeeperList> {
  const { state, list } = await ask(runDir, timeoutMs, show);
  const failed = state?.state === 'failed' ? state : list.upgrade?.state === 'failed' ? list.upgrade : null;
  if (failed !== null) throw new Failure('FAILED_PRECONDITION', failed.failure ?? 'the upgrade failed', { next: 'mesos-cvmfs upgrade --check says what runs now; see keeper.log in run_dir', data: { mounts: list.mounts.map(({ mountpoint, serverVersion }) => `${mountpoint}: ${serverVersion ?? 'unknown'}`).join(', ') } });
  return list;
}

/** Until the new keeper's spare is warm, which is when nothing is left to do; a slow host is no failure. */
async function spareReady(runDir: string, timeoutMs: number): Promise<KeeperList | null> {
  for (const giveUpAt = Date.now() + timeoutMs; ; await sleep(POLL_MS)) {
    const list = await keeperList(runDir).catch((error: unknown) => {
      if (Failure.from(error).code !== 'NETWORK' || Date.now() > giveUpAt) throw error;
      return undefined;
    });
    if (list === undefined) continue;
    if (list === null || list.spareVersion !== null || list.mounts.every((mount) => !mount.replaceable) || Date.now() > giveUpAt) return list;
  }
}

export async function upgrade(_args: readonly unknown[], given: Record<string, unknown>): Promise<void> {
  const options = given as Options;
  const json = options.json === true;
  requireRoot('an upgrade');
  const timeoutMs = options.timeout === undefined ? DEFAULT_TIMEOUT_MS : parseDuration(options.timeout);
  const config = configuration(options);
  const { runDir } = config;
  checkStates(runDir);
  const service = await serviceVersion(config);
  const found = planOf(await keeperList(runDir), service);
  if (options.check === true || found.up_to_date) {
    print(json, { version: VERSION, ...found, changed: false }, text(found));
    return;
  }
  const line = progress(process.stderr, json);
  let shown = '';
  const show = (state: UpgradeState): void => {
    const { step, mountsDone, mountsTotal } = state;
    line.update(() => `${mountsDone} of ${mountsTotal}: ${step}`, mountsDone / Math.max(1, mountsTotal));
    const said = JSON.stringify({ progress: { step, mounts_done: mountsDone, mounts_total: mountsTotal } });
    if (json && said !== shown) process.stderr.write(`${said}\n`);
    shown = said;
  };
  let plan = found;
  for (let i = 0; i < ROUNDS_MAX && !plan.up_to_date; i++) plan = planOf(await round(runDir, timeoutMs, show), service);
  line.end();
  plan = planOf(await spareReady(runDir, timeoutMs), service);
  if (!plan.up_to_date) {
    throw new Failure('FAILED_PRECONDITION', `version ${VERSION} does not run everywhere: the keeper has version ${plan.keeper?.version ?? 'unknown'}`, {
      next: 'when a service manager starts another installation of mesos-cvmfs, run the upgrade of that one',
      data: { mounts: plan.mounts.map(({ mountpoint, version }) => `${mountpoint}: ${version ?? 'unknown'}`).join(', ') },
    });
  }
  print(json, { version: VERSION, ...plan, changed: true }, text(plan));
}
