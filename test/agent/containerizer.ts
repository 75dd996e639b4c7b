/**
 * The containerizer, of standalone containers and those nested in them: provision, prepare, checkpoint, fork, run, and all
 * of it backwards. Each checkpoint is made before the next effect, so that whatever instant the agent dies at, the next
 * one finds the container running, or finds what to destroy.
 *
 *     <runtime_dir>/containers/<id>/config        ContainerConfig, before anything is prepared
 *     <runtime_dir>/containers/<id>/launch_info   what launch.py executes (JSON here)
 *     <runtime_dir>/containers/<id>/pid, status
 *     <work_dir>/containers/<id>                  the sandbox
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { AgentAborts } from './check';
import { checkpoint, readCheckpoint } from './checkpoint';
import type { ContainerId } from './container-id';
import { containerDir, isBelow, listContainers } from './container-id';
import type { Forked, LaunchInfo, ProcessFiles } from './process';
import { ended, forkHelper, isRunning, killProcess, statusOf } from './process';
import type { Provisioned, Provisioner } from './provisioner';
import type { Command } from './runtime';
import { environmentOf, programOf, workingDirectoryOf } from './runtime';
import type { AtStep } from './steps';
import type { Image } from './store';
import type { Fields } from './wire';

export interface Launch {
  readonly id: ContainerId;
  readonly image: Image;
  /** Default: the image's own. */
  readonly command?: Command;
  readonly environment?: Readonly<Record<string, string>>;
  readonly volumes?: ReadonlyArray<{ readonly image: Image; readonly containerPath: string; readonly readOnly?: boolean }>;
}

export interface ContainerizerFlags {
  readonly workDir: string;
  readonly runtimeDir: string;
  readonly sandboxDirectory: string;
}

interface Container {
  /** Name of its image; unknown for one whose configuration was never checkpointed. */
  image?: string;
  pid?: number;
  /** Ends what still provisions. */
  readonly discard: AbortController;
  /** Settles when nothing more is begun for it. */
  launching: Promise<unknown>;
  destroyed?: Promise<void>;
}

const DOCKER_IMAGE = 2;
const MESOS_CONTAINER = 2;
const [READ_WRITE, READ_ONLY] = [1, 2];
/** The image's own, which needs `shell` to be false. */
const IMAGE_COMMAND: Command = { shell: false };

/** Image: type = 1, docker = 3 {name = 1}, cached = 4. */
function imageFields({ name, cached }: Image): Fields {
  return [[1, DOCKER_IMAGE], [3, [[1, name]]], [4, cached]];
}

export class Containerizer {
  readonly #containers = new Map<ContainerId, Container>();
  /** Of containers that run, and of those that have run, for who asks afterwards. */
  readonly #terminations = new Map<ContainerId, Promise<number | undefined>>();

  constructor(
    private readonly flags: ContainerizerFlags,
    private readonly provisioner: Provisioner,
    private readonly at: AtStep,
  ) {}

  ids(): ContainerId[] {
    return [...this.#containers.keys()];
  }

  /** After it, what is recoverable runs on, and what is not is being destroyed. Any failure in it keeps the agent down. */
  async recover(): Promise<void> {
    const found = listContainers(this.flags.runtimeDir);
    for (const id of found) {
      const pidFile = path.join(this.#runtimeDir(id), 'pid');
      const pid = fs.existsSync(pidFile) ? Number(fs.readFileSync(pidFile, 'utf8')) : undefined;
      const image = readCheckpoint(path.join(this.#runtimeDir(id), 'config'))?.message(12)?.message(5)?.message(1)?.message(3)?.string(1);
      this.#containers.set(id, { launching: Promise.resolve(), discard: new AbortController(), ...(pid === undefined ? {} : { pid }), ...(image === undefined ? {} : { image }) });
    }
    await this.provisioner.recover(new Set(found));
    const orphans = found.filter((id) => !this.#isRecoverable(id));
    // Through the same door as any other: children first.
    await Promise.all(orphans.map((id) => this.destroy(id)));
    for (const id of this.ids()) this.#watch(id);
  }

  /** Resolves when the program has been let go; rejects, with everything undone, when it cannot be. */
  async launch(launch: Launch): Promise<void> {
    const { id } = launch;
    const parent = id.split('/').slice(0, -1).join('/');
    if (this.#containers.has(id)) throw new Error(`Container ${id} already started`);
    if (parent !== '' && !this.#containers.has(parent)) throw new Error(`Parent container ${parent} does not exist`);
    const container: Container = { image: launch.image.name, discard: new AbortController(), launching: Promise.resolve() };
    this.#containers.set(id, container);
    const launching = this.#launch(launch, container);
    container.launching = launching.catch(() => undefined);
    try {
      await launching;
    } catch (error) {
      if (error instanceof AgentAborts) throw error;
      await this.destroy(id);
      throw new Error(`Failed to launch container: ${(error as Error).message}`, { cause: error });
    }
  }

  /** The wait status of a container's program, once it has ended and all of the container is gone. */
  wait(id: ContainerId): Promise<number | undefined> {
    return this.#terminations.get(id) ?? Promise.reject(new Error(`Container ${id} does not run`));
  }

  destroy(id: ContainerId): Promise<void> {
    const container = this.#containers.get(id);
    if (container === undefined) return Promise.resolve();
    return (container.destroyed ??= this.#destroy(id, container));
  }

  prune(excluded: readonly string[]): Promise<void> {
    const live = [...this.#containers].map(([id, { image }]) => {
      if (image === undefined) throw new Error(`Container ${id} has no checkpointed configuration: cannot prune`);
      return image;
    });
    return this.provisioner.prune([...excluded, ...live]);
  }

  async #launch(launch: Launch, container: Container): Promise<void> {
    const { id, image, command = IMAGE_COMMAND, environment = {}, volumes = [] } = launch;
    const runtimeDir = this.#runtimeDir(id);
    const files = this.#files(id);
    fs.mkdirSync(runtimeDir, { recursive: true });
    fs.mkdirSync(files.sandbox, { recursive: true });
    fs.writeFileSync(path.join(runtimeDir, 'standalone.marker'), '');
    const { signal } = container.discard;
    const provisioned = await this.provisioner.provision(id, image, signal);
    signal.throwIfAborted();
    checkpoint(path.join(runtimeDir, 'config'), this.#config(launch, files.sandbox, provisioned));
    await this.at('config-checkpointed');
    const binds: Array<LaunchInfo['binds'][number]> = [{ source: files.sandbox, target: this.flags.sandboxDirectory, readOnly: false }];
    // The volume/image isolator provisions under the same id, so only the last image's layers are checkpointed.
    for (const volume of volumes) binds.push({ source: (await this.provisioner.provision(id, volume.image, signal)).rootfs, target: volume.containerPath, readOnly: volume.readOnly ?? false });
    const { file, argv } = programOf(command, provisioned.config);
    const info: LaunchInfo = {
      rootfs: provisioned.rootfs,
      file,
      argv,
      environment: environmentOf(provisioned.config, this.flags.sandboxDirectory, environment),
      workingDirectory: workingDirectoryOf(provisioned.config, this.flags.sandboxDirectory),
      binds,
    };
    checkpoint(files.launchInfo, JSON.stringify(info));
    await this.at('launch-info-checkpointed');
    signal.throwIfAborted();
    await this.#run(await forkHelper(files), runtimeDir, container);
    this.#watch(id);
  }

  /** The end of its program is the end of a container, whether anybody waits for it or not. */
  #watch(id: ContainerId): void {
    const files = this.#files(id);
    const termination = (async () => {
      await ended(this.#containers.get(id)!.pid!, files);
      const status = statusOf(files);
      await this.destroy(id);
      return status;
    })();
    // Told to who waits.
    termination.catch(() => undefined);
    this.#terminations.set(id, termination);
  }

  async #run(forked: Forked, runtimeDir: string, container: Container): Promise<void> {
    container.pid = forked.pid;
    await this.at('forked');
    checkpoint(path.join(runtimeDir, 'pid'), String(forked.pid));
    await this.at('pid-checkpointed');
    forked.release();
    await this.at('running');
  }

  async #destroy(id: ContainerId, container: Container): Promise<void> {
    for (const child of this.ids()) if (isBelow(child, id)) await this.destroy(child);
    container.discard.abort();
    await container.launching;
    if (container.pid !== undefined) await killProcess(container.pid, this.#files(id));
    await this.at('killed');
    await this.provisioner.destroy(id);
    fs.rmSync(this.#runtimeDir(id), { recursive: true, force: true });
    await this.at('runtime-removed');
    this.#containers.delete(id);
  }

  /** ContainerConfig: directory = 3, rootfs = 5, docker = 7, command_info = 11, container_info = 12. */
  #config({ image, command = IMAGE_COMMAND, volumes = [] }: Launch, sandbox: string, { rootfs, config }: Provisioned): Fields {
    const manifest: Fields = [...config.Entrypoint.map((one) => [2, one] as const), ...config.Env.map((one) => [3, one] as const), [4, config.User], ...config.Cmd.map((one) => [5, one] as const), [6, config.WorkingDir]];
    return [
      [3, sandbox],
      [5, rootfs],
      [7, [[1, [[9, manifest]]]]],
      [11, [[3, command.value], [6, command.shell ?? true], ...(command.arguments ?? []).map((one) => [7, one] as const)]],
      [12, [[1, MESOS_CONTAINER], ...volumes.map((volume) => [2, [[1, volume.containerPath], [3, volume.readOnly === true ? READ_ONLY : READ_WRITE], [4, imageFields(volume.image)]]] as const), [5, [[1, imageFields(image)]]]]],
    ];
  }

  #isRecoverable(id: ContainerId): boolean {
    const { pid } = this.#containers.get(id)!;
    return pid !== undefined && (isRunning(pid, this.#files(id)) || statusOf(this.#files(id)) !== undefined);
  }

  #runtimeDir(id: ContainerId): string {
    return containerDir(this.flags.runtimeDir, id);
  }

  #files(id: ContainerId): ProcessFiles {
    const dir = this.#runtimeDir(id);
    return { launchInfo: path.join(dir, 'launch_info'), status: path.join(dir, 'status'), sandbox: containerDir(this.flags.workDir, id) };
  }
}
