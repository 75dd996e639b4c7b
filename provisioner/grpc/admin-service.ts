/** `mesos.cvmfs.v1.Admin`: what the command line asks of a running service. */
import { containerKey } from '../container-id';
import type { Provisioner } from '../provisioner';
import type { Admin } from '../admin';
import type { RootfsStateKind } from '../rootfs-state';
import type { RootfsRecord } from '../state/rootfs-record';
import type { CallOptions } from './call';
import { handler } from './call';
import type { AdminMethods, RepositoryStatus, Rootfs, RootfsState } from './generated/messages.generated';
import { containerMessage, imageMessage, quarantinedMessage } from './messages';
import type { Handlers } from './unary';

/** What the service knows of itself. */
export interface ServiceFacts {
  readonly version: string;
  readonly startedMs: number;
  /** `host:port`, or empty. */
  readonly http: () => string;
  /** The same of the registry facade. */
  readonly facade: () => string;
  readonly ready: () => boolean;
  readonly warnings: () => readonly string[];
}

const STATES: Readonly<Record<RootfsStateKind, RootfsState>> = {
  intended: 'ROOTFS_STATE_PROVISIONING',
  mounted: 'ROOTFS_STATE_PROVISIONED',
  quarantined: 'ROOTFS_STATE_PROVISIONED',
  destroying: 'ROOTFS_STATE_DESTROYING',
};

async function repositoryStatuses(provisioner: Provisioner): Promise<RepositoryStatus[]> {
  const { mounts } = provisioner.world;
  return Promise.all(
    mounts.list().map(async ({ repository, mountpoint, state }): Promise<RepositoryStatus> => {
      if (state.kind === 'failed') return { repository, mountpoint, state: 'REPOSITORY_STATE_FAILED', failure: state.failure.message };
      if (state.kind === 'mounting') return { repository, mountpoint, state: 'REPOSITORY_STATE_MOUNTING' };
      const snapshot = await mounts.peek(repository)?.snapshot().catch(() => undefined);
      return { repository, mountpoint, state: 'REPOSITORY_STATE_MOUNTED', ...(snapshot === undefined ? {} : { revision: String(snapshot.revision), root_hash: snapshot.rootHash }) };
    }),
  );
}

export function adminHandlers(provisioner: Provisioner, admin: Admin, facts: ServiceFacts, options: CallOptions, prefetchDeadlineMs: number): Handlers<AdminMethods> {
  const { state } = provisioner.world;
  const patient = { ...options, defaultDeadlineMs: prefetchDeadlineMs, maxDeadlineMs: prefetchDeadlineMs };
  const rootfsMessage = (record: RootfsRecord): Rootfs => ({
    id: record.uuid,
    path: provisioner.rootfsPath(record),
    backend: record.backend,
    state: STATES[record.state.kind],
    image: imageMessage(record.image),
    created_ms: String(record.createdMs),
  });
  return {
    Status: handler('Status', options, async () => ({
      version: facts.version,
      pid: process.pid,
      started_ms: String(facts.startedMs),
      http: facts.http(),
      facade: facts.facade(),
      ready: facts.ready(),
      repositories: await repositoryStatuses(provisioner),
      ...state.counts(),
      warnings: [...admin.warnings(), ...facts.warnings()],
    })),
    Ps: handler('Ps', options, async () => {
      const { records, bad } = state.all();
      const containers = new Map<string, RootfsRecord[]>();
      for (const record of records) containers.set(containerKey(record.container), [...(containers.get(containerKey(record.container)) ?? []), record]);
      const quarantined = records.flatMap(({ container, state: at }) => (at.kind === 'quarantined' ? [{ container, reason: at.reason }] : []));
      return {
        containers: [...containers.values()].map((rootfses) => ({ container_id: containerMessage(rootfses[0]!.container), rootfses: rootfses.map(rootfsMessage) })),
        quarantined: [...quarantined, ...bad.map((row) => ({ container: row.container.split('/'), reason: row.reason }))].map(quarantinedMessage),
        pinned: admin.pinned().map((image) => ({ image: imageMessage(image), pinned_ms: String(image.pinnedMs) })),
      };
    }),
    Resolve: handler('Resolve', options, async ({ image }, { signal }) => {
      const found = await admin.resolve(image, signal);
      return { image: imageMessage(found), docker_manifest: found.manifest, config_source: found.configSource, warnings: [...found.warnings] };
    }),
    Prefetch: handler('Prefetch', patient, async ({ image }, { signal }) => {
      const { image: found, objects, bytes } = await admin.fetch(image, false, signal);
      return { image: imageMessage(found), objects: String(objects), bytes: String(bytes) };
    }),
    Pin: handler('Pin', patient, async ({ image }, { signal }) => {
      const { image: found, objects, bytes } = await admin.fetch(image, true, signal);
      return { image: imageMessage(found), objects: String(objects), bytes: String(bytes) };
    }),
    Unpin: handler('Unpin', options, async ({ digest }) => ({ unpinned: admin.unpin(digest) })),
  };
}
