/** `mesos-cvmfs ps`. */
import { configuration } from '../context';
import { containerText, imageJson, quarantinedJson, rootfsJson, timeText } from '../messages';
import { print, table } from '../output';
import type { CommonOptions } from '../common-options';
import { withService } from '../service-client';

const PS_TIMEOUT_MS = 60_000;

export async function ps(_args: readonly unknown[], given: Record<string, unknown>): Promise<void> {
  const options = given as CommonOptions;
  const answer = await withService(configuration(options), ({ admin }) => admin.Ps({}, { timeoutMs: PS_TIMEOUT_MS }));
  const containers = answer.containers.map(({ container_id: id, rootfses }) => ({ container: containerText(id), rootfses: rootfses.map(rootfsJson) }));
  const quarantined = answer.quarantined.map(quarantinedJson);
  const pinned = answer.pinned.map(({ image, pinned_ms: at }) => ({ image: imageJson(image), pinned: timeText(at) }));
  const rows = containers.flatMap(({ container, rootfses }) => rootfses.map((one) => [container, one.image?.reference ?? '?', one.backend, one.state, one.created, one.path]));
  const text = [
    rows.length === 0 ? 'no containers\n' : table([['CONTAINER', 'IMAGE', 'BACKEND', 'STATE', 'CREATED', 'ROOTFS'], ...rows]),
    ...quarantined.map(({ container, reason }) => `set aside: ${container}: ${reason}\n`),
    ...pinned.map(({ image }) => `pinned: ${image.reference} ${image.digest}\n`),
  ];
  print(options.json === true, { containers, quarantined, pinned }, text.join(''));
}
