/** Our values as messages of the contracts. */
import { pathToText } from '../../src/image/path-text';
import { containerIdToMessage } from '../container-id';
import type { FoundImage } from '../images';
import type { SetAside } from '../recover';
import type { PinnedDirectory } from '../state/rootfs-record';
import type { ContainerID, Quarantined, ResolvedImage } from './generated/messages.generated';

/** Also of a chain that is no container id: what a damaged record says is shown as it is. */
export function containerMessage(names: readonly string[]): ContainerID {
  return containerIdToMessage(names) as ContainerID;
}

export function imageMessage(image: PinnedDirectory | FoundImage): ResolvedImage {
  const { rootHash, revision } = 'snapshot' in image ? image.snapshot : image;
  return { reference: image.reference, repository: image.repository, path: pathToText(image.path), root_hash: rootHash, revision: String(revision), digest: image.digest };
}

export function quarantinedMessage({ container, reason }: SetAside): Quarantined {
  return { container_id: containerMessage(container), reason };
}
