/** `mesos.cvmfs.v1.Isolator`: messages in, what this room does, messages out. */
import { containerIdFromKey, containerIdFromMessage, containerKey } from '../../provisioner/container-id';
import type { CallOptions } from '../../provisioner/grpc/call';
import { handler } from '../../provisioner/grpc/call';
import type { IsolatorMethods, RepositoryUse } from '../../provisioner/grpc/generated/messages.generated';
import { containerMessage } from '../../provisioner/grpc/messages';
import type { Handlers } from '../../provisioner/grpc/unary';
import type { DeadContainers } from './dead-containers';
import type { Isolation, Use } from './isolation';

function useMessage({ repository, path, fetchedBytes, sharing }: Use): RepositoryUse {
  return { repository, path, fetched_bytes: String(fetchedBytes), sharing };
}

export function isolatorHandlers(isolation: Isolation, dead: DeadContainers, options: CallOptions): Handlers<IsolatorMethods> {
  return {
    Recover: handler('Isolator.Recover', options, async ({ run, states, orphans, launched }, { logger }) => {
      const known = [...states.map((state) => state.container_id), ...orphans, ...launched.map((one) => one.container_id)].map(containerIdFromMessage);
      const unannounced = launched.flatMap(({ container_id: id, container_config: config }) => (config === undefined ? [] : [{ id: containerIdFromMessage(id), config }]));
      const forgotten = await isolation.recover({ run, known, unannounced });
      logger.info('containers of the agent', { known: known.length, unannounced: unannounced.length, forgotten: forgotten.length });
      return { forgotten: forgotten.map((key) => containerMessage(key.split('/'))) };
    }),
    Prepare: handler('Isolator.Prepare', options, async ({ run, container_id: id, container_config: config }, { soon, logger }) => {
      const container = containerIdFromMessage(id);
      const launch = await isolation.prepare(container, config, run, soon);
      logger.info('container is launched', { container: containerKey(container), mounts: launch?.mounts.map(({ target }) => target) ?? [] });
      return launch === undefined ? {} : { launch_info: launch };
    }),
    Isolate: handler('Isolator.Isolate', options, async ({ container_id: id, pid }) => {
      if (pid !== undefined) isolation.isolate(containerIdFromMessage(id), pid);
      return {};
    }),
    Watch: handler('Isolator.Watch', options, async ({ limited }, { soon }) => {
      const known = new Set(limited.map((id) => containerKey(containerIdFromMessage(id))));
      const found = await dead.watch(known, soon);
      return {
        limitations: found.map(({ container, message }) => ({
          container_id: containerMessage(containerIdFromKey(container)),
          limitation: { message, reason: 'REASON_CONTAINER_LIMITATION' as const },
        })),
      };
    }),
    // What a container may use of CPU, memory and disk changes nothing here.
    Update: handler('Isolator.Update', options, async ({ container_id: id }) => {
      containerIdFromMessage(id);
      return {};
    }),
    Usage: handler('Isolator.Usage', options, async ({ container_id: id }) => {
      const uses = await isolation.usesOf(containerIdFromMessage(id));
      const disks = uses.map(({ repository, fetchedBytes }) => ({ persistence: { id: `cvmfs:${repository}` }, used_bytes: String(fetchedBytes) }));
      return { statistics: { timestamp: options.nowMs() / 1000, disk_statistics: disks }, repositories: uses.map(useMessage) };
    }),
    Status: handler('Isolator.Status', options, async ({ container_id: id }) => {
      const container = containerIdFromMessage(id);
      const pid = isolation.pidOf(container);
      return {
        status: { container_id: containerMessage(container), ...(pid === undefined ? {} : { executor_pid: pid }) },
        repositories: (await isolation.usesOf(container)).map(useMessage),
      };
    }),
    Cleanup: handler('Isolator.Cleanup', options, async ({ container_id: id }, { logger }) => {
      const container = containerIdFromMessage(id);
      const known = await isolation.cleanup(container);
      logger.info('container has ended', { container: containerKey(container), known });
      return { known };
    }),
  };
}
