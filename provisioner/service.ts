/**
 * The service that `serve` runs, put together: state, recovery of what was half-done, the two doors,
 * gRPC and HTTP, and the mounts in the background. Stopping it unmounts nothing: containers and repositories go on without it.
 */
import { randomUUID } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { Config } from '../src/config/config';
import { directoryRules, prepareDirectory } from '../src/config/directories';
import { createConfigCache } from '../src/image/config-cache';
import { createConfigSource } from '../src/image/create-config-source';
import { facadeHosts } from '../src/image/facade-name';
import type { Logger } from '../src/log/logger';
import type { Metrics } from '../src/metrics/metrics';
import { Admin } from './admin';
import { bindBackend } from './backends/bind';
import { overlayBackend } from './backends/overlay';
import type { FreeCache, World } from './context';
import type { Extension, ExtensionParts } from './extension';
import { prepareFacade } from './facade/start';
import type { FacadeStart } from './facade/start';
import { adminHandlers } from './grpc/admin-service';
import { loadContracts } from './grpc/protos';
import { provisionerHandlers } from './grpc/provisioner-service';
import { startGrpcServer } from './grpc/server';
import { bindService } from './grpc/unary';
import { readBootId, rootWarnings } from './host';
import type { Readiness } from './http';
import { startHttp } from './http';
import { Completion, completionMetrics } from './completion';
import { Layout } from './layout';
import type { Limits } from './limits';
import { DEFAULT_LIMITS } from './limits';
import { repositoryMetrics } from './repository-metrics';
import { provisionerMetrics, stateMetrics } from './metrics';
import type { MountHelperOptions } from './mount-helper/pool';
import { MountHelpers } from './mount-helper/pool';
import { readMountinfo } from '../src/native/mountinfo';
import type { Mounts } from './mounts';
import { ProfileFiles } from './profile-files';
import { profileMetrics, StartProfiles } from './start-profiles';
import { Provisioner } from './provisioner';
import { RememberedReads } from './remembered-reader';
import { repositoryImages } from './repository-images';
import { openDatabase } from './state/database';
import { State } from './state/state';
import { lockState } from './state-lock';

export interface ServiceOptions {
  readonly config: Config;
  /** Of the package. */
  readonly version: string;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly mounts: Mounts;
  /** `inode_bits` of a repository. */
  readonly inodeBits: (fqrn: string) => 32 | 64;
  readonly freeCache: FreeCache;
  /** What the parts outside of the provisioner have to complain of, a sentence each. */
  readonly warnings?: () => readonly string[];
  /** What is offered beside Provisioner and Admin. */
  readonly extensions?: ReadonlyArray<(parts: ExtensionParts) => Extension>;
  /** For tests: other parts of the world, and how helper processes are started. */
  readonly world?: Partial<Pick<World, 'images' | 'bootId' | 'nowMs' | 'newUuid' | 'step' | 'readMountinfo'>>;
  readonly limits?: Partial<Limits>;
  readonly facadeTiming?: FacadeStart['timing'];
  readonly helpers?: Partial<MountHelperOptions>;
}

export interface Service {
  /** `host:port` of HTTP. */
  readonly http: string;
  /** `host:port` of the registry facade, null when it is not enabled. */
  readonly facade: string | null;
  readonly provisioner: Provisioner;
  readiness(): Readiness;
  /** Ends calls and listeners; unmounts nothing. */
  stop(): Promise<void>;
}

/** Calls that are under way when the service stops get this long. */
const STOP_MS = 10_000;

function prepareDirectories(config: Config): Layout {
  const ids = { uid: process.geteuid!(), gid: process.getegid!() };
  // The cache belongs to the file system servers: who starts them prepares it.
  const rules = directoryRules({ stateDir: config.stateDir, runDir: config.runDir, cacheDir: config.cache.dir }, { name: '', ...ids }, ids).filter(({ key }) => key !== 'cache.dir');
  for (const rule of rules) prepareDirectory(rule, ids);
  const layout = new Layout(path.join(fs.realpathSync(config.stateDir), 'provisioner'));
  fs.mkdirSync(layout.containers, { recursive: true, mode: 0o700 });
  return layout;
}

function readiness(mounts: Mounts): Readiness {
  const reasons = mounts.list().flatMap(({ repository, state }) => {
    if (state.kind === 'mounted') return [];
    return [state.kind === 'mounting' ? `repository ${repository} is being mounted` : `repository ${repository} is not mounted: ${state.failure.message}`];
  });
  return { ready: reasons.length === 0, reasons };
}

/** Errors: FAILED_PRECONDITION (another service, directories, the agent's store, newer state), STATE_DAMAGED, CONFIG_INVALID, SYSTEM. */
export async function startService(options: ServiceOptions): Promise<Service> {
  const { config, logger, metrics, mounts } = options;
  const undo: Array<() => unknown> = [];
  try {
    const layout = prepareDirectories(config);
    undo.unshift(lockState(config.stateDir));
    const state = new State(openDatabase(path.join(config.stateDir, 'state.db')));
    undo.unshift(() => state.close());
    const limits: Limits = {
      ...DEFAULT_LIMITS,
      defaultDeadlineMs: config.provisioner.requestDeadlineMs,
      maxProvisionsInFlight: config.provisioner.maxRequests + config.provisioner.maxQueuedRequests,
      ...options.limits,
    };
    const figures = provisionerMetrics(metrics);
    stateMetrics(metrics, state);
    const helpers = new MountHelpers({ logger, onRestart: () => figures.helperRestarts.inc(), ...options.helpers });
    helpers.start();
    undo.unshift(() => helpers.close());

    let hosts = facadeHosts(config.facade.listen);
    const world: World = {
      state,
      layout,
      helpers,
      backends: { overlay: overlayBackend(layout, helpers, limits.mountTimeoutMs), bind: bindBackend(layout, helpers, limits.mountTimeoutMs) },
      mounts,
      images: repositoryImages({
        mounts,
        configured: [...config.repositories.keys()],
        imageRepositories: config.provisioner.imageRepositories,
        sources: config.provisioner.imageConfigSources.map((source) => createConfigSource(source)),
        cache: createConfigCache(),
        remembered: new RememberedReads(),
        hosts: () => hosts,
      }),
      freeCache: options.freeCache,
      limits,
      logger,
      metrics: figures,
      defaultBackend: config.provisioner.backend,
      inodeBits: options.inodeBits,
      bootId: readBootId(),
      nowMs: Date.now,
      newUuid: randomUUID,
      readMountinfo,
      step: () => undefined,
      ...options.world,
    };
    const { completeAfterMs: afterMs, completeBytesPerSecond: bytesPerSecond } = config.provisioner;
    const completion = new Completion(world, { afterMs, bytesPerSecond }, completionMetrics(metrics, world));
    const profileFiles = new ProfileFiles(config.stateDir, (file, error) => logger.warn('a start profile cannot be read and is set aside', { file, error }));
    const { profiles, profileRecordMs } = config.provisioner;
    const startProfiles = new StartProfiles(profileFiles, { enabled: profiles === 'on', recordMs: profileRecordMs }, profileMetrics(metrics, profileFiles), logger, world.nowMs);
    const provisioner = new Provisioner(world, completion, startProfiles);
    await provisioner.start();
    undo.unshift(() => provisioner.stop());
    const http = await startHttp({ ...config.http, metrics, readiness: () => readiness(mounts), beforeScrape: repositoryMetrics(metrics, mounts) });
    undo.unshift(() => http.stop());
    const facade = config.facade.enabled ? prepareFacade({ config, world, metrics, profiles: startProfiles, releasing: () => provisioner.payReleases(), ...(options.facadeTiming === undefined ? {} : { timing: options.facadeTiming }) }) : null;
    if (facade !== null) provisioner.pruneWith((kept) => facade.prune(kept));
    const contracts = loadContracts();
    const calls = { logger, metrics: figures, defaultDeadlineMs: limits.defaultDeadlineMs, maxDeadlineMs: limits.maxDeadlineMs, nowMs: world.nowMs };
    const own = rootWarnings(layout.root, world.readMountinfo());
    for (const warning of own) logger.warn(warning);
    const facts = {
      version: options.version,
      startedMs: world.nowMs(),
      http: () => http.address,
      facade: () => facade?.address ?? '',
      ready: () => readiness(mounts).ready,
      warnings: () => [...own, ...completion.warnings(), ...(facade?.warnings() ?? []), ...(options.warnings?.() ?? [])],
    };
    const admin = new Admin(world, () => provisioner.payReleases());
    // Without the isolator's side nobody would ever tell that they have ended.
    if (!config.isolator.enabled) state.isolated.remove(state.isolated.all().map(({ container }) => container));
    const extensions = (options.extensions ?? []).map((make) => make({ world, contracts, calls, payReleases: () => provisioner.payReleases() }));
    undo.unshift(() => extensions.forEach((extension) => extension.stop()));
    const listening = { contracts, maxRequestBytes: config.limits.maxRequestBytes };
    const servers = [
      await startGrpcServer({
        ...listening,
        listen: config.listen,
        services: [
          bindService(contracts, 'mesos.cvmfs.v1.Provisioner', provisionerHandlers(provisioner, calls)),
          bindService(contracts, 'mesos.cvmfs.v1.Admin', adminHandlers(provisioner, admin, facts, calls, limits.prefetchDeadlineMs)),
          ...extensions.map(({ service }) => service),
        ],
        names: ['mesos.cvmfs.v1.Provisioner', 'mesos.cvmfs.v1.Admin', ...extensions.map(({ name }) => name)],
      }),
    ];
    undo.unshift(() => Promise.all(servers.map((server) => server.stop(STOP_MS))));
    for (const { name, service, socket } of extensions) {
      if (socket !== undefined) servers.push(await startGrpcServer({ ...listening, listen: socket, services: [service], names: [name] }));
    }
    // After the socket was bound: processes that are started by it must not inherit the narrow umask of that moment.
    mounts.start();
    undo.unshift(() => mounts.stop());
    // Links are put in order before the word that all is ready, which an agent's start waits for.
    if (facade !== null) undo.unshift(() => facade.stop());
    await facade?.start();
    // The port may be one that was free.
    if (facade !== null) hosts = [...new Set([...hosts, ...facadeHosts({ ...config.facade.listen, port: Number(facade.address.split(':').pop()) })])];
    for (const server of servers) server.serving(true);
    logger.info('service is ready for calls', { listen: config.listen, http: http.address, ...(facade === null ? {} : { facade: facade.address }), containers: state.counts().containers });
    let stopped: Promise<void> | undefined;
    const stop = async (): Promise<void> => {
      for (const server of servers) server.serving(false);
      for (const extension of extensions) extension.stop();
      // Together: calls under way end when those among them that wait for the network are told to.
      await Promise.all([...servers.map((server) => server.stop(STOP_MS)), provisioner.stop()]);
      for (const step of undo) await step();
    };
    return { http: http.address, facade: facade?.address ?? null, provisioner, readiness: () => readiness(mounts), stop: () => (stopped ??= stop()) };
  } catch (err) {
    for (const step of undo) await step();
    throw err;
  }
}
