/**
 * Everything that a run needs: a repository behind two faulty networks, the service on a small cache disk, and containers
 * with readers in what it provisions.
 *
 * Which failures count: all. The readers' requests may take `request_deadline` (55 s) and are repeated by the client as long
 * as a network fault of the schedule lasts (at most 4 s), so that no fault of the network excuses an EIO; answers are
 * corrupted on the way from one of two servers, as a bad proxy would, so that there is always a good way. A call of
 * Provision or Destroy may fail only while the service is dead, and its repetition with the same key must succeed.
 */
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { createClient } from '../../provisioner/grpc/client';
import type { Client } from '../../provisioner/grpc/client';
import type { Services } from '../../provisioner/grpc/protos';
import { loadContracts } from '../../provisioner/grpc/protos';
import { Failure } from '../../src/error';
import { CliScene, FQRN } from '../support/cli-scene';
import type { Running } from '../support/cli-scene';
import { makeImage, writeRevision } from './fault-image';
import type { FaultImage, ImageSize } from './fault-image';
import { chooseRuntime, ReaderContainer } from './reader-container';
import type { RootfsKind, Runtime } from './reader-container';

const IMAGE = '/images/fault';
const REFERENCE = `cvmfs://${FQRN}${IMAGE}`;
/** Smaller than the image: what is read is evicted and fetched again all the time. */
const CACHE_MB = { small: { disk: 80, limit: 55 }, large: { disk: 260, limit: 190 } } as const;
const CALL_MS = 50_000;
const REPEAT_MS = 60_000;
const REPEAT_PAUSE_MS = 100;

export interface SceneOptions {
  readonly seed: number;
  readonly size: ImageSize;
  readonly kinds: readonly RootfsKind[];
  readonly mixers: number;
  readonly probes: number;
  readonly onLine: (line: string) => void;
}

/** A process of test/support/delay-proxy.js. */
interface FaultyNetwork {
  readonly port: number;
  say(line: string): void;
}

export class FaultScene {
  readonly cli = new CliScene();
  readonly containers: Array<{ id: string; reader: ReaderContainer }> = [];
  service: (Running & { readonly listen: string }) | null = null;
  /** What the service wrote in all its lives. */
  serviceLog = '';
  revision = 1;
  #made = 0;
  #image: FaultImage | null = null;
  #runtime: Runtime = 'runc';
  #proxies: FaultyNetwork[] = [];
  #client: Client<Services['mesos.cvmfs.v1.Provisioner']> | null = null;

  constructor(readonly options: SceneOptions) {}

  get image(): FaultImage {
    return this.#image!;
  }

  get runtime(): Runtime {
    return this.#runtime;
  }

  get client(): Client<Services['mesos.cvmfs.v1.Provisioner']> {
    return this.#client!;
  }

  /** Publishes, serves, provisions and starts all readers. */
  async start(): Promise<void> {
    const { cli, options } = this;
    // Servers may run as a user of their own, who has to get through.
    fs.chmodSync(cli.host.dir, 0o711);
    this.#image = makeImage(path.join(cli.host.dir, 'image'), options.size);
    this.#runtime = chooseRuntime(cli.host.dir, this.#image);
    await cli.create();
    await cli.host.ok(['publish', `dir:${this.#image.tree}`, FQRN, '--storage', cli.storage, '--keys', cli.keys, '--to', IMAGE], { timeoutMs: 180_000 });
    const web = await cli.serveRepository();
    const port = Number(new URL(web.url.replaceAll('@', '')).port);
    for (let i = 0; i < 2; i++) this.#proxies.push(await this.#faultyNetwork(port));
    fs.mkdirSync(cli.host.cacheDir, { mode: 0o700 });
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${CACHE_MB[options.size].disk}m,mode=0700`, 'tmpfs', cli.host.cacheDir]);
    fs.writeFileSync(cli.configFile, this.#config());
    await this.startService();
    this.#connect();
    for (let i = 0; i < options.kinds.length; i++) await this.addContainer(i);
  }

  /** Afresh: a channel that has failed several times waits ever longer before it looks for the service again. */
  #connect(): void {
    this.#client?.close();
    this.#client = createClient(loadContracts(), 'mesos.cvmfs.v1.Provisioner', `unix://${this.cli.host.runDir}/provisioner.sock`);
  }

  #config(): string {
    const { host, mountRoot, publicKey } = this.cli;
    return `state_dir = "${host.dir}/state"
run_dir = "${host.runDir}"
mount_root = "${mountRoot}"
http = "127.0.0.1:0"
[repositories."${FQRN}"]
servers = [${this.#proxies.map(({ port }) => `"http://127.0.0.1:${port}/cvmfs/@fqrn@"`).join(', ')}]
public_keys = ["${publicKey}"]
max_ttl = "1s"
timeout_direct = "3s"
max_retries = 60
backoff_init = "200ms"
backoff_max = "1s"
host_reset_after = "3s"
request_deadline = "55s"
[provisioner]
image_repositories = ["${FQRN}"]
[cache]
dir = "${host.cacheDir}"
limit = "${CACHE_MB[this.options.size].limit} MB"
`;
  }

  async startService(): Promise<void> {
    this.service = await this.cli.serve();
  }

  /** Ends the service as a service manager never would. */
  killService(): number | null {
    const { service } = this;
    if (service === null || service.child.pid === undefined) return null;
    this.service = null;
    this.serviceLog = (this.serviceLog + service.log()).slice(-200_000);
    service.child.kill('SIGKILL');
    return service.child.pid;
  }

  network(how: 'cut' | 'stall' | 'delay' | 'corrupt' | 'flow', value: number): void {
    for (const proxy of this.#proxies) {
      proxy.say('flow');
      proxy.say('delay 0');
    }
    const [first] = this.#proxies;
    if (how === 'corrupt') first!.say(`corrupt ${value}`);
    else if (how === 'delay') for (const proxy of this.#proxies) proxy.say(`delay ${value}`);
    else if (how !== 'flow') for (const proxy of this.#proxies) proxy.say(how);
  }

  async #faultyNetwork(target: number): Promise<FaultyNetwork> {
    const child = this.cli.host.start(process.execPath, [path.join(__dirname, '../support/delay-proxy.js'), '0', String(target), '0']);
    child.stdin!.on('error', () => undefined);
    const word = await new Promise<string>((resolve, reject) => {
      child.stdout!.once('data', (chunk: Buffer) => resolve(chunk.toString()));
      child.once('close', () => reject(new Error('the faulty network did not start')));
    });
    return { port: Number(/^listening (\d+)/.exec(word)?.[1]), say: (line) => void child.stdin!.write(`${line}\n`) };
  }

  /** Fills the cache's disk; the answer makes room again. */
  fill(): () => void {
    const file = path.join(this.cli.host.cacheDir, 'filler');
    const fd = fs.openSync(file, 'w');
    const block = Buffer.alloc(256 << 10);
    try {
      for (;;) fs.writeSync(fd, block);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    } finally {
      fs.closeSync(fd);
    }
    return () => fs.rmSync(file, { force: true });
  }

  async publish(): Promise<void> {
    const { cli } = this;
    const next = this.revision + 1;
    writeRevision(this.image.tree, next);
    await cli.host.ok(['publish', `dir:${path.join(this.image.tree, 'changing')}`, FQRN, '--storage', cli.storage, '--keys', cli.keys, '--to', `${IMAGE}/changing`], { timeoutMs: 120_000 });
    this.revision = next;
  }

  /**
   * Provisions the n-th container's root file system and starts its readers in it. The revision that it shows is asked of
   * the root file system itself, since the mount may be a little behind the repository.
   */
  async addContainer(n: number): Promise<void> {
    const { options } = this;
    const id = `c${n}-${this.#made++}`;
    const kind = options.kinds[n]!;
    const request = { container_id: { value: id }, image: { type: 'DOCKER' as const, docker: { name: REFERENCE } }, idempotency_key: id, backend: kind };
    const { rootfs } = await this.#repeated('Provision', () => this.client.Provision(request, { timeoutMs: CALL_MS }));
    const shown = await this.cli.host.outside('cat', [path.join(rootfs!, 'changing/rev')], { timeoutMs: 60_000 });
    if (shown.code !== 0) throw new Error(`a new root file system cannot be read: ${shown.stderr}`);
    const reader = ReaderContainer.start(
      { name: id, rootfs: rootfs!, kind, seed: options.seed * 1_000 + this.#made, revision: Number(shown.stdout), mixers: options.mixers, probes: options.probes, image: this.image, dir: this.cli.host.dir, onLine: options.onLine },
      this.#runtime,
    );
    this.containers[n] = { id, reader };
  }

  async removeContainer(n: number): Promise<void> {
    const { id, reader } = this.containers[n]!;
    await reader.stop();
    let repeated = false;
    const { destroyed } = await this.#repeated('Destroy', () => this.client.Destroy({ container_id: { value: id } }, { timeoutMs: CALL_MS }), () => (repeated = true));
    // What a killed service had finished is not there to be destroyed again.
    if (destroyed !== true && !repeated) throw new Error(`container ${id} was not there to be destroyed`);
  }

  /** What the service has about containers that are still there: all of them, and nothing set aside. */
  async recover(): Promise<string[]> {
    const known = this.containers.map(({ id }) => ({ value: id }));
    const { destroyed, quarantined } = await this.#repeated('Recover', () => this.client.Recover({ known_container_ids: known }, { timeoutMs: CALL_MS }));
    return [...destroyed!.map(({ value }) => `Recover destroyed ${value}`), ...quarantined!.map(({ container_id: id, reason }) => `Recover set ${id?.value} aside: ${reason}`)];
  }

  /** A call to a service that may be killed meanwhile. Only that it is not there is a reason to ask again. */
  async #repeated<T>(what: string, call: () => Promise<T>, onRepeat: () => void = () => undefined): Promise<T> {
    const until = Date.now() + REPEAT_MS;
    for (;;) {
      const used = this.#client;
      try {
        return await call();
      } catch (error) {
        const { code, message } = Failure.from(error);
        if ((code !== 'NETWORK' && code !== 'CANCELLED') || Date.now() > until) throw new Error(`${what} failed with ${code}: ${message}`, { cause: error });
        onRepeat();
        await new Promise((resolve) => setTimeout(resolve, REPEAT_PAUSE_MS));
        if (this.#client === used) this.#connect();
      }
    }
  }

  /** The last lines of every log, for a run that found something. */
  logs(): Record<string, string> {
    const tail = (file: string): string => (fs.existsSync(file) ? fs.readFileSync(file, 'utf8').slice(-100_000) : '');
    const { runDir } = this.cli.host;
    const mounts = path.join(runDir, 'mounts');
    const servers = fs.existsSync(mounts) ? fs.readdirSync(mounts).map((id) => [`server-${id}.log`, tail(path.join(mounts, id, 'server.log'))] as const) : [];
    return { 'keeper.log': tail(path.join(runDir, 'keeper.log')), 'serve.log': this.serviceLog + (this.service?.log() ?? ''), ...Object.fromEntries(servers) };
  }

  async end(): Promise<void> {
    this.#client?.close();
    for (const container of this.containers) await container?.reader.kill();
    await this.cli.end();
  }
}
