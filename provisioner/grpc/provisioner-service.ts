/** `mesos.cvmfs.v1.Provisioner`: messages in, the provisioner's four operations, messages out. */
import { containerIdFromMessage, containerKey } from '../container-id';
import type { Provisioner } from '../provisioner';
import type { CallOptions } from './call';
import { handler } from './call';
import type { ProvisionerMethods } from './generated/messages.generated';
import { containerMessage, imageMessage, quarantinedMessage } from './messages';
import type { Handlers } from './unary';

export function provisionerHandlers(provisioner: Provisioner, options: CallOptions): Handlers<ProvisionerMethods> {
  return {
    Provision: handler('Provision', options, async (request, { signal, logger }) => {
      const container = containerIdFromMessage(request.container_id);
      const made = await provisioner.provision({ container, image: request.image, idempotencyKey: request.idempotency_key ?? '', backend: request.backend ?? '' }, signal);
      logger.info('provisioned', { container: containerKey(container), image: made.image.reference, repository: made.image.repository, revision: made.image.revision, rootfs: made.rootfs });
      return { rootfs: made.rootfs, ephemeral_volumes: [...made.ephemeralVolumes], docker_manifest: made.manifest, image: imageMessage(made.image) };
    }),
    Destroy: handler('Destroy', options, async (request, { logger }) => {
      const container = containerIdFromMessage(request.container_id);
      const destroyed = await provisioner.destroy(container);
      logger.info('destroyed', { container: containerKey(container), destroyed });
      return { destroyed };
    }),
    // What cannot be had before the deadline is set aside: an agent whose Recover fails does not start at all.
    Recover: handler('Recover', options, async (request, { soon, logger }) => {
      const known = request.known_container_ids.map(containerIdFromMessage);
      const { destroyed, quarantined } = await provisioner.recover(known, soon);
      logger.info('recovered', { known: known.length, destroyed: destroyed.length, quarantined: quarantined.length });
      return { destroyed: destroyed.map(containerMessage), quarantined: quarantined.map(quarantinedMessage) };
    }),
    PruneImages: handler('PruneImages', options, async (request, { logger }) => {
      const { freedBytes, images } = await provisioner.pruneImages(request.excluded_images);
      logger.info('pruned', { images, freedBytes });
      return { freed_bytes: String(freedBytes), pruned_images: String(images) };
    }),
  };
}
