/** Containers over mounted repositories, for tests that kill the service or everything: what is there, and what must be. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import Database from 'better-sqlite3';
import { createClient } from '../../provisioner/grpc/client';
import type { Client } from '../../provisioner/grpc/client';
import type { Services } from '../../provisioner/grpc/protos';
import { loadContracts } from '../../provisioner/grpc/protos';
import { MountedClient } from '../../src/fuse/control/mounted-client';
import { KeeperClient } from '../../src/fuse/control/keeper-client';
import { CliScene, FQRN } from '../support/cli-scene';
import type { Running } from '../support/cli-scene';
import { until } from '../support/shell';
import { isAlive, OurProcesses } from '../support/our-processes';

export const CALL = { timeoutMs: 50_000 };
export type Provisioner = Client<Services['mesos.cvmfs.v1.Provisioner']>;

export class ServiceScene {
  readonly cli = new CliScene();
  readonly processes = new OurProcesses(this.cli.host.runDir);
  service: Running | null = null;
  web: (Running & { readonly url: string }) | null = null;
  #client: Provisioner | null = null;

  /** Publishes images `a` and `b` and serves them; no service runs yet. */
  async create(): Promise<void> {
    const { cli } = this;
    await cli.create();
    for (const image of ['a', 'b']) {
      cli.files({ ...Object.fromEntries(['proc', 'sys', 'dev', 'tmp', 'etc'].map((dir) => [`images/${image}/${dir}`, null])), [`images/${image}/.cvmfscatalog`]: '', [`images/${image}/etc/image`]: `${image}\n`, [`images/${image}/lib/inner/part`]: `part of ${image}\n`, [`images/${image}/lib/inner/.cvmfscatalog`]: '' });
    }
    await cli.publish();
    this.web = await cli.serveRepository();
    cli.configure(this.web.url);
  }

  get listen(): string {
    return `unix://${this.cli.host.runDir}/provisioner.sock`;
  }

  get client(): Provisioner {
    return (this.#client ??= createClient(loadContracts(), 'mesos.cvmfs.v1.Provisioner', this.listen));
  }

  async serve(): Promise<void> {
    this.service = await this.cli.serve();
    this.forgetClient();
  }

  /** Another service listens: connections to the last one are of no use. */
  forgetClient(): void {
    this.#client?.close();
    this.#client = null;
  }

  async killService(): Promise<void> {
    await this.service?.stop('SIGKILL');
    this.service = null;
  }

  async provision(id: string, image = 'a', backend = ''): Promise<string> {
    return (await this.client.Provision({ container_id: { value: id }, image: { type: 'CVMFS', cvmfs: { repository: FQRN, path: `/images/${image}` } }, idempotency_key: id, backend }, CALL)).rootfs!;
  }

  async destroy(id: string): Promise<boolean> {
    return (await this.client.Destroy({ container_id: { value: id } }, CALL)).destroyed!;
  }

  /** Ids that were destroyed, and ids that were set aside with the reason. */
  async recover(...known: string[]): Promise<{ destroyed: string[]; quarantined: Record<string, string> }> {
    const { destroyed, quarantined } = await this.client.Recover({ known_container_ids: known.map((value) => ({ value })) }, CALL);
    return { destroyed: destroyed!.map(({ value }) => value!).sort(), quarantined: Object.fromEntries(quarantined!.map(({ container_id: id, reason }) => [id!.value!, reason!])) };
  }

  /** Files of a root file system, past what the kernel remembers. */
  async read(rootfs: string, ...files: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.cli.host.outside('cat', files.map((file) => path.join(rootfs, file)), { timeoutMs: 30_000 });
    return code === 0 ? stdout : stderr;
  }

  rootfses(): string[] {
    return this.cli.host.mountsBelow().filter((target) => target.includes('/rootfses/')).sort();
  }

  /** Names below the folder of containers. */
  directories(): string[] {
    const dir = path.join(this.cli.host.dir, 'state/provisioner/containers');
    return fs.existsSync(dir) ? fs.readdirSync(dir).sort() : [];
  }

  /** Who holds views at the file system server, images left out. */
  async holders(): Promise<string[]> {
    const keeper = await KeeperClient.start(this.cli.host.runDir);
    const { mounts } = await keeper.list();
    keeper.close();
    const client = new MountedClient(mounts[0]!);
    try {
      const { views } = (await client.raw('status')) as { views: Array<{ holder: string }> };
      return views.map(({ holder }) => holder).filter((holder) => /^[0-9a-f]{8}-/.test(holder)).sort();
    } finally {
      client.close();
    }
  }

  /** SIGKILL to the service and to every process that holds a mount, at one instant. */
  async killEverything(): Promise<void> {
    const pids = [this.service!.child.pid!, ...this.processes.all()];
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    await until('all are dead', () => !pids.some(isAlive));
    this.service = null;
  }

  /** What a power failure leaves: files, no mount and no process, and other numbers of the boot at the next start. */
  async reboot(): Promise<void> {
    await this.killEverything();
    const { host } = this.cli;
    for (const target of host.mountsBelow().reverse()) await host.outside('umount', ['-l', target], { timeoutMs: 20_000 });
    fs.rmSync(host.runDir, { recursive: true });
    const state = new Database(path.join(host.dir, 'state/state.db'));
    state.exec("UPDATE rootfs SET boot_id = 'the-boot-before' WHERE boot_id IS NOT NULL");
    state.close();
    const cache = new Database(path.join(host.cacheDir, 'index.db'));
    cache.exec("UPDATE meta SET value = 'the-boot-before' WHERE key = 'boot_id'");
    cache.close();
  }

  async end(): Promise<void> {
    this.#client?.close();
    await this.cli.end();
  }
}
