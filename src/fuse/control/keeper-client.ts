/** The keeper as seen by commands and by the service: connect to it, or start it. */
import { spawn } from 'node:child_process';
import * as path from 'node:path';
import { z } from 'zod';
import { Failure } from '../../error';
import type { RepositoryConfig } from '../../config/repository-config';
import { FORCE_CLONES, keeperSocket } from '../keeper/keeper';
import type { KeeperList, MountInfo } from '../keeper/keeper';
import { ControlClient } from './control-client';

/** A keeper that was started listens within this; it first takes over what an earlier one left. */
const START_TIMEOUT_MS = 15_000;
const START_POLL_MS = 10;
const START_AGAIN_MS = 3_000;
/** More than the keeper gives a server to become ready. */
const MOUNT_TIMEOUT_MS = 150_000;

const mountInfo = z.object({
  id: z.string(),
  repository: z.string(),
  mountpoint: z.string(),
  device: z.string(),
  dir: z.string(),
  serverPid: z.number().nullable(),
  unserved: z.object({ sinceMs: z.number(), failure: z.string().nullable() }).nullable().default(null),
  serverDeath: z.enum(['waits', 'fails', 'ends']).default('waits'),
  serverVersion: z.string().nullable().default(null),
  replaceable: z.boolean().default(true),
  inodeBits: z.number(),
  cacheDir: z.string(),
});
const upgradeState = z.object({ version: z.string(), state: z.enum(['running', 'failed', 'done']), step: z.string(), mountsDone: z.number(), mountsTotal: z.number(), failure: z.string().nullable() });
/** What is new since the first version has a default: a keeper of an earlier version does not say it. */
const keeperList = z.object({ keeperPid: z.number(), keeperVersion: z.string().default('unknown'), spareVersion: z.string().nullable().default(null), upgrade: upgradeState.nullable().default(null), sparePid: z.number().nullable().default(null), stored: z.boolean().default(false), mounts: z.array(mountInfo), dead: z.array(z.object({ repository: z.string(), mountpoint: z.string(), reason: z.string() })), warnings: z.array(z.string()) });

/** Starts a keeper in a session of its own, so that nothing that ends its starter ends it. */
function startKeeper(runDir: string): void {
  const forced = process.env[FORCE_CLONES];
  const child = spawn(process.execPath, [path.resolve(__dirname, '../../../../bin/mesos-cvmfs'), 'keeper', '--run-dir', runDir], {
    detached: true,
    cwd: '/',
    stdio: 'ignore',
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', ...(forced === undefined ? {} : { [FORCE_CLONES]: forced }) },
  });
  child.on('error', () => undefined);
  child.unref();
}

export class KeeperClient {
  readonly #control: ControlClient;

  private constructor(control: ControlClient) {
    this.#control = control;
  }

  /** The keeper of this `run_dir` when one runs; null otherwise. */
  static async find(runDir: string): Promise<KeeperClient | null> {
    const control = await ControlClient.connect(keeperSocket(runDir), 'keeper').catch(() => null);
    return control === null ? null : new KeeperClient(control);
  }

  /** The keeper of this `run_dir`, started when there is none. NETWORK when it does not come up. */
  static async start(runDir: string): Promise<KeeperClient> {
    const running = await KeeperClient.find(runDir);
    if (running !== null) return running;
    const giveUpAt = Date.now() + START_TIMEOUT_MS;
    for (let startAt = 0; Date.now() < giveUpAt; ) {
      // Again from time to time: one that was started while another was just ending for want of mounts left it to that one.
      if (Date.now() >= startAt) {
        startKeeper(runDir);
        startAt = Date.now() + START_AGAIN_MS;
      }
      await new Promise((resolve) => setTimeout(resolve, START_POLL_MS));
      const keeper = await KeeperClient.find(runDir);
      if (keeper !== null) return keeper;
    }
    throw new Failure('NETWORK', 'the keeper did not start', { next: `see ${path.join(runDir, 'keeper.log')}` });
  }

  async mount(request: { readonly mountpoint: string; readonly config: RepositoryConfig; readonly serverUid: number; readonly serverGid: number }): Promise<MountInfo> {
    return mountInfo.parse(await this.#control.call('mount', request, MOUNT_TIMEOUT_MS));
  }

  async unmount(mountpoint: string, lazy: boolean): Promise<void> {
    await this.#control.call('unmount', { mountpoint, lazy });
  }

  /** Begins to replace servers, spare and keeper by those of another program; `list` says how far it is. */
  async upgrade(request: { readonly version: string; readonly node: string; readonly dir: string; readonly timeoutMs: number }): Promise<void> {
    await this.#control.call('upgrade', request);
  }

  async list(): Promise<KeeperList> {
    return keeperList.parse(await this.#control.call('list'));
  }

  close(): void {
    this.#control.close();
  }
}
