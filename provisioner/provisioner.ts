/**
 * The provisioner: the four operations that an agent asks for, with Mesos' semantics (spec 1), over one world. Everything
 * that must be remembered is in the state database; what is here in memory is only who waits for whom.
 */
import { createHash } from 'node:crypto';
import { Failure } from '../src/error';
import type { Completion } from './completion';
import type { ContainerId } from './container-id';
import { containerKey } from './container-id';
import type { World } from './context';
import { Destroy } from './destroy';
import { Dismantler } from './dismantle';
import { Flights } from './flights';
import type { Image, ImageManifest } from './grpc/generated/messages.generated';
import { HalfDone } from './half-done';
import { holdViewsAgain } from './held-views';
import type { BackendName } from './layout';
import { BACKENDS } from './layout';
import { Provision } from './provision';
import type { Pruned, PruneToo } from './prune';
import { Prune } from './prune';
import type { Recovered } from './recover';
import { Recover } from './recover';
import { Releases } from './releases';
import { RwLock } from './rwlock';
import type { PinnedDirectory, RootfsRecord } from './state/rootfs-record';
import type { StartProfiles } from './start-profiles';
import { isBadRow } from './state/rootfs-record';

export interface ProvisionOrder {
  readonly container: ContainerId;
  readonly image: Image;
  /** Empty: none. */
  readonly idempotencyKey: string;
  /** Empty: as configured. */
  readonly backend: string;
}

export interface Provisioned {
  readonly rootfs: string;
  readonly ephemeralVolumes: readonly string[];
  readonly manifest: ImageManifest;
  readonly image: PinnedDirectory;
}

export class Provisioner {
  readonly #lock = new RwLock();
  readonly #flights: Flights<RootfsRecord>;
  readonly #releases: Releases;
  readonly #provision: Provision;
  readonly #destroy: Destroy;
  readonly #recover: Recover;
  readonly #prune: Prune;
  readonly #halfDone: HalfDone;
  #recovering: Promise<unknown> = Promise.resolve();
  readonly #background = new Set<Promise<void>>();
  readonly #stopping = new AbortController();

  constructor(
    readonly world: World,
    private readonly completion: Completion,
    private readonly profiles: Pick<StartProfiles, 'begin' | 'stop'>,
  ) {
    this.#flights = new Flights(world.limits.maxProvisionsInFlight);
    this.#releases = new Releases(world);
    const dismantler = new Dismantler(world, this.#releases);
    this.#prune = new Prune(world, this.#lock, this.#releases);
    this.#provision = new Provision(world, this.#lock, dismantler, this.#releases, () => this.#prune.count, profiles);
    this.#destroy = new Destroy(world, this.#lock, this.#flights, dismantler);
    this.#recover = new Recover(world, this.#lock, this.#flights, dismantler, this.#destroy);
    this.#halfDone = new HalfDone(world, this.#lock, dismantler);
  }

  /** Finishes or undoes what a crash left half-way; nothing else may be called before it has ended. */
  async start(): Promise<void> {
    this.world.mounts.onReady((repository) => {
      const work = holdViewsAgain(this.world, repository, this.#stopping.signal).finally(() => this.#background.delete(work));
      this.#background.add(work);
      this.completion.mounted(repository.fqrn);
      this.#releases.kick();
    });
    await this.#halfDone.finish();
    this.#halfDone.start();
    this.completion.start();
  }

  /** Ends what waits; mounts and containers stay. */
  async stop(): Promise<void> {
    const stopping = new Failure('CANCELLED', 'the service is stopping', { next: 'call again when it runs' });
    this.#stopping.abort(stopping);
    for (const container of new Set(this.#flights.containers())) await this.#flights.end(container, stopping);
    this.completion.stop();
    this.profiles.stop();
    await Promise.all([this.#halfDone.stop(), this.#releases.stop(), ...this.#background]);
  }

  /** A new rootfs, or with a known idempotency key the one that it stands for. */
  async provision(order: ProvisionOrder, signal: AbortSignal): Promise<Provisioned> {
    const { metrics, nowMs } = this.world;
    const backend = this.#backend(order.backend);
    const begin = nowMs();
    metrics.provisionsInFlight.add(1);
    let result = 'OK';
    try {
      return this.#provisioned(await this.#joinOrStart(order, backend, signal));
    } catch (err) {
      result = Failure.from(err).code;
      throw err;
    } finally {
      metrics.provisionsInFlight.add(-1);
      metrics.provisionSeconds.observe((nowMs() - begin) / 1000, { backend, result });
    }
  }

  destroy(container: ContainerId): Promise<boolean> {
    return this.#destroy.run(container);
  }

  /** One at a time: two agents with different knowledge would undo each other's. */
  recover(known: readonly ContainerId[], signal: AbortSignal): Promise<Recovered> {
    const run = this.#recovering.then(() => this.#recover.run(known, signal));
    this.#recovering = run.catch(() => undefined);
    return run;
  }

  pruneImages(excluded: readonly Image[]): Promise<Pruned> {
    return this.#prune.run(excluded);
  }

  /** What else is let go with each PruneImages. */
  pruneWith(too: PruneToo): void {
    this.#prune.with(too);
  }

  /** Holds on views were given up elsewhere: tells the file system servers, in the background. */
  payReleases(): void {
    this.#releases.kick();
  }

  /** Where a rootfs lies. */
  rootfsPath(record: RootfsRecord): string {
    return this.world.layout.rootfs(record.container, record.backend, record.uuid);
  }

  async #joinOrStart(order: ProvisionOrder, backend: BackendName, signal: AbortSignal): Promise<RootfsRecord> {
    const { images, limits, layout, state } = this.world;
    const { container, image, idempotencyKey } = order;
    const key = containerKey(container);
    layout.container(container);
    const reference = images.reference(image);
    if (Buffer.byteLength(idempotencyKey) > limits.maxIdempotencyKeyBytes) {
      throw new Failure('INVALID_ARGUMENT', `idempotency_key is longer than ${limits.maxIdempotencyKeyBytes} bytes`);
    }
    if (this.#destroy.isUnderWay(key)) throw new Failure('FAILED_PRECONDITION', `container ${key} is being destroyed`, { next: 'provision it again afterwards, or use a new container id' });
    if (idempotencyKey === '') return this.#flights.start(key, undefined, signal, (own) => this.#provision.run({ container, image, backend }, own));

    const request = { key: idempotencyKey, fingerprint: createHash('sha256').update(JSON.stringify([reference, backend])).digest('hex') };
    const other = (fingerprint: string): void => {
      if (fingerprint !== request.fingerprint) throw new Failure('INVALID_ARGUMENT', `idempotency_key ${JSON.stringify(idempotencyKey)} of container ${key} was used for another image or backend`, { next: 'use a new key' });
    };
    const flight = this.#flights.find(key, idempotencyKey);
    if (flight !== undefined) {
      other(flight.request!.fingerprint);
      return this.#flights.join(flight, signal);
    }
    const earlier = state.byRequest(key, idempotencyKey);
    if (earlier === undefined) return this.#flights.start(key, request, signal, (own) => this.#provision.run({ container, image, backend, request }, own));
    if (isBadRow(earlier)) throw new Failure('STATE_DAMAGED', `rootfs ${earlier.uuid} of container ${key}: ${earlier.reason}`, { next: 'destroy the container' });
    other(earlier.request!.fingerprint);
    if (earlier.state.kind === 'mounted' && earlier.state.bootId === this.world.bootId) return earlier;
    const why = earlier.state.kind === 'quarantined' ? earlier.state.reason : earlier.state.kind === 'mounted' ? 'the host was restarted since' : `it is ${earlier.state.kind}`;
    throw new Failure('FAILED_PRECONDITION', `the rootfs that idempotency_key ${JSON.stringify(idempotencyKey)} of container ${key} stands for cannot be used: ${why}`, { next: 'destroy the container, or use a new key' });
  }

  #backend(name: string): BackendName {
    if (name === '') return this.world.defaultBackend;
    const known = BACKENDS.find((backend) => backend === name);
    if (known === undefined) throw new Failure('INVALID_ARGUMENT', `unknown backend ${JSON.stringify(name)}`, { next: `use one of ${BACKENDS.join(', ')}` });
    return known;
  }

  #provisioned(record: RootfsRecord): Provisioned {
    return {
      rootfs: this.rootfsPath(record),
      ephemeralVolumes: this.world.backends[record.backend].ephemeralVolumes(record),
      manifest: record.manifest,
      image: record.image,
    };
  }
}
