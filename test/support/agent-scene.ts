/**
 * A host with both sides: the service with its facade on a port that stays the same, and the conformance agent (test/agent)
 * with the flags that it is told to have.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import Database from 'better-sqlite3';
import { AgentHost } from '../agent/agent-process';
import { isAlive, OurProcesses } from './our-processes';
import { FQRN } from './cli-scene';
import { FacadeScene } from './facade-scene';
import { hostPrograms } from './host-programs';
import { closedPort } from './http-server';
import { until } from './shell';

export { FQRN } from './cli-scene';

const DIRECTORIES = ['proc', 'sys', 'dev', 'tmp', 'etc', 'mnt'];
const PROGRAMS = ['sh', 'cat', 'ls', 'sleep'];

export interface Requests {
  /** By kind (`manifest`, `config`, `layer`, `blob`, `other`), whatever the answer was. */
  readonly [kind: string]: number;
}

export class AgentScene extends FacadeScene {
  readonly agent: AgentHost;
  readonly processes = new OurProcesses(this.host.runDir);
  service: Awaited<ReturnType<FacadeScene['serveFacade']>> | null = null;

  private constructor(readonly port: number) {
    super();
    this.agent = new AgentHost(path.join(this.host.dir, 'agent'), { docker_store_dir: this.store, docker_registry: `http://127.0.0.1:${port}` });
  }

  static async make(): Promise<AgentScene> {
    return new AgentScene(await closedPort());
  }

  /** `127.0.0.1:<port>`, as an image name begins. */
  get registry(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Name of an image at a path of the repository of this scene. */
  name(image: string): string {
    return `${this.registry}/${FQRN}/images/${image}`;
  }

  /** Puts images into the source that can run a shell; `etc/image` says which it is. */
  images(...names: readonly string[]): void {
    const programs = hostPrograms(...PROGRAMS);
    for (const name of names) {
      this.files({ ...Object.fromEntries(DIRECTORIES.map((dir) => [`images/${name}/${dir}`, null])), [`images/${name}/.cvmfscatalog`]: '', [`images/${name}/etc/image`]: `${name}\n` });
      for (const [file, content] of Object.entries(programs)) {
        const [bytes, mode] = content as readonly [Buffer, number];
        this.files({ [`images/${name}/${file}`]: bytes });
        fs.chmodSync(path.join(this.source, 'images', name, file), mode);
      }
    }
  }

  /** Publishes images, serves them, starts the service and the agent. */
  async begin(...names: readonly string[]): Promise<void> {
    await this.create();
    this.images(...names);
    await this.publish();
    const web = await this.serveRepository();
    this.configureAgent(FQRN, web.url, this.publicKey);
    await this.startService();
    await this.agent.start();
  }

  configureAgent(fqrn: string, server: string, publicKey: string, { provisioner = '', facade = '' } = {}): void {
    const { work_dir, runtime_dir } = this.agent.flags;
    fs.writeFileSync(
      this.configFile,
      `state_dir = "${this.host.dir}/state"
run_dir = "${this.host.runDir}"
mount_root = "${this.mountRoot}"
http = "127.0.0.1:0"
[repositories."${fqrn}"]
servers = ["${server}"]
public_keys = ["${publicKey}"]
max_ttl = "1s"
[provisioner]
image_repositories = ["${fqrn}"]
${provisioner}
[cache]
dir = "${this.host.cacheDir}"
limit = "1 GB"
[facade]
enabled = true
listen = "${this.registry}"
docker_store_dir = "${this.store}"
agent_work_dir = "${work_dir}"
agent_runtime_dir = "${runtime_dir}"
${facade}`,
    );
  }

  async startService(): Promise<void> {
    this.service = await this.serveFacade();
  }

  async killService(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await this.service?.stop(signal);
    this.service = null;
  }

  /** Requests that the running service has answered since its start. */
  async requests(): Promise<Requests> {
    const { stdout } = await this.host.outside('curl', ['-s', '-S', `http://${this.service!.http}/metrics`]);
    const counts: Record<string, number> = { manifest: 0, config: 0, layer: 0, blob: 0, other: 0 };
    for (const [, kind, count] of stdout.matchAll(/^mesos_cvmfs_facade_requests_total\{kind="(\w+)",status="\d+"\} (\d+)$/gm)) counts[kind!] = (counts[kind!] ?? 0) + Number(count);
    return counts;
  }

  /** Names of what lies in the store beside layers that are links of ours. */
  foreignLayers(): string[] {
    const links = new Set(this.links());
    const layers = path.join(this.store, 'layers');
    return fs.existsSync(layers) ? fs.readdirSync(layers).filter((name) => !links.has(name)) : [];
  }

  /** What a power failure leaves: files, no mount and no process, and another number of the boot at the next start. */
  async powerOff(): Promise<void> {
    const pids = [this.service?.child.pid, ...this.processes.all()].filter((pid): pid is number => typeof pid === 'number');
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    await this.agent.powerOff();
    await until('all are dead', () => !pids.some(isAlive));
    this.service = null;
    for (const target of this.host.mountsBelow().reverse()) await this.host.outside('umount', ['-l', target], { timeoutMs: 20_000 });
    fs.rmSync(this.host.runDir, { recursive: true, force: true });
    for (const file of [path.join(this.host.dir, 'state/state.db'), path.join(this.host.cacheDir, 'index.db')]) anotherBoot(file);
  }

  override async end(): Promise<void> {
    await this.agent.powerOff();
    await super.end();
  }
}

function anotherBoot(file: string): void {
  const database = new Database(file);
  const tables = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").pluck().all() as string[];
  for (const table of tables) {
    const columns = (database.pragma(`table_info(${table})`) as Array<{ name: string }>).map(({ name }) => name);
    if (columns.includes('boot_id')) database.exec(`UPDATE ${table} SET boot_id = 'the-boot-before' WHERE boot_id IS NOT NULL`);
    if (columns.includes('key') && columns.includes('value')) database.exec(`UPDATE ${table} SET value = 'the-boot-before' WHERE key = 'boot_id'`);
  }
  database.close();
}
