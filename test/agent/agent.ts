/** The parts of an agent put together as its start does: folders, the work directory's mount, then recovery. */
import * as fs from 'node:fs';
import { readMountinfo } from '../../src/native/mountinfo';
import { MS_BIND, MS_SHARED, MS_SLAVE, libc } from '../../src/native/libc';
import type { Launch } from './containerizer';
import { Containerizer } from './containerizer';
import { Credentials } from './credentials';
import type { Flags } from './flags';
import { Provisioner } from './provisioner';
import type { AtStep } from './steps';
import { DockerStore } from './store';

export class Agent {
  readonly store: DockerStore;
  readonly containers: Containerizer;
  readonly #registrationMs: number;

  private constructor(flags: Flags, at: AtStep, warn: (text: string) => void) {
    const puller = { dockerRegistry: flags.docker_registry, credentials: new Credentials(flags.docker_config), stallSeconds: Number(flags.fetcher_stall_timeout) };
    this.store = new DockerStore(flags.docker_store_dir, puller, at);
    const provisioner = new Provisioner(flags.work_dir, this.store, at, warn);
    this.containers = new Containerizer({ workDir: flags.work_dir, runtimeDir: flags.runtime_dir, sandboxDirectory: flags.sandbox_directory }, provisioner, at);
    this.#registrationMs = Number(flags.executor_registration_timeout) * 1000;
  }

  /** Rejects, as the agent's process would end, when recovery fails. */
  static async start(flags: Flags, at: AtStep, warn: (text: string) => void): Promise<Agent> {
    for (const dir of [flags.work_dir, flags.runtime_dir]) fs.mkdirSync(dir, { recursive: true });
    shareWorkDir(flags.work_dir);
    const agent = new Agent(flags, at, warn);
    await agent.containers.recover();
    return agent;
  }

  /** A launch that has not come to its program when the timer ends is destroyed, wherever it is. */
  async launch(launch: Launch): Promise<void> {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      void this.containers.destroy(launch.id);
    }, this.#registrationMs);
    try {
      await this.containers.launch(launch);
    } catch (error) {
      throw late ? new Error(`REASON_EXECUTOR_REGISTRATION_TIMEOUT (${(error as Error).message})`) : error;
    } finally {
      clearTimeout(timer);
    }
  }
}

/**
 * The filesystem/linux isolator binds the work directory on itself at its first start, to be a shared mount of its own:
 * what was mounted below it before is hidden from then on.
 */
function shareWorkDir(dir: string): void {
  if (readMountinfo().some(({ mountpoint }) => mountpoint.toString() === dir)) return;
  libc().mount(dir, dir, null, MS_BIND, null);
  libc().mount(null, dir, null, MS_SLAVE, null);
  libc().mount(null, dir, null, MS_SHARED, null);
}
