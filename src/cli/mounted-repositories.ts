/** What the keeper of this host holds, for commands that work without the service. */
import * as fs from 'node:fs';
import { Failure } from '../error';
import type { Config } from '../config/config';
import { KeeperClient } from '../fuse/control/keeper-client';
import { MountedClient } from '../fuse/control/mounted-client';
import type { KeeperList, MountInfo } from '../fuse/keeper/keeper';
import type { RepositorySet } from '../image/locate';

const LIST_ATTEMPTS = 3;

/** True when `run_dir` has records of mounts, so that a keeper is worth starting to ask about them. */
function hasRecords(runDir: string): boolean {
  return fs.existsSync(`${runDir}/keeper`) && fs.readdirSync(`${runDir}/keeper`).some((name) => name.endsWith('.json'));
}

/**
 * What is mounted, null when nothing is and no keeper runs. One is started when there are mounts without it; the next one is
 * asked when a keeper ends before it has answered.
 */
export async function keeperList(runDir: string): Promise<KeeperList | null> {
  for (let attempt = 1; ; attempt++) {
    const keeper = hasRecords(runDir) ? await KeeperClient.start(runDir) : await KeeperClient.find(runDir);
    if (keeper === null) return null;
    try {
      return await keeper.list();
    } catch (error) {
      if (Failure.from(error).code !== 'NETWORK' || attempt >= LIST_ATTEMPTS) throw error;
    } finally {
      keeper.close();
    }
  }
}

/** The mounted repositories to look images up in; each is connected to when it is first asked for. */
export class MountedRepositories implements RepositorySet<MountedClient> {
  readonly #clients = new Map<string, MountedClient>();

  private constructor(
    private readonly config: Config,
    private readonly mounts: readonly MountInfo[],
  ) {}

  static async find(config: Config): Promise<MountedRepositories> {
    return new MountedRepositories(config, (await keeperList(config.runDir))?.mounts ?? []);
  }

  /** One that was mounted with its key on the command line counts as configured. */
  get configured(): readonly string[] {
    return [...new Set([...this.config.repositories.keys(), ...this.mounts.map((mount) => mount.repository)])];
  }

  get imageRepositories(): readonly string[] {
    return this.config.provisioner.imageRepositories;
  }

  async open(fqrn: string): Promise<MountedClient> {
    const client = this.#clients.get(fqrn) ?? this.#connect(fqrn);
    this.#clients.set(fqrn, client);
    return client;
  }

  close(): void {
    for (const client of this.#clients.values()) client.close();
  }

  #connect(fqrn: string): MountedClient {
    const mounts = this.mounts.filter((mount) => mount.repository === fqrn);
    // Where `serve` mounts it, it follows the newest revision; elsewhere somebody may have fixed another.
    const mount = mounts.find(({ mountpoint }) => mountpoint === `${this.config.mountRoot}/${fqrn}`) ?? mounts[0];
    if (mount !== undefined) return new MountedClient(mount);
    throw new Failure('FAILED_PRECONDITION', `repository ${fqrn} is not mounted, and no service runs that would mount it`, {
      next: `start mesos-cvmfs serve, or run: mesos-cvmfs mount ${fqrn} ${this.config.mountRoot}/${fqrn}`,
    });
  }
}
