/** Overlay: the image below, a directory of the container's own above; writable, and what is written stays on this host. */
import * as path from 'node:path';
import type { Layout } from '../layout';
import type { MountOperations } from '../mount-helper/pool';
import type { Backend, Place } from './backend';

export function overlayBackend(layout: Layout, helpers: MountOperations, mountTimeoutMs: number): Backend {
  const target = (place: Place): string => layout.rootfs(place.container, 'overlay', place.uuid);
  const scratch = (place: Place): string => layout.scratch(place.container, 'overlay', place.uuid);
  const upper = (place: Place): string => path.join(scratch(place), 'upperdir');
  const work = (place: Place): string => path.join(scratch(place), 'workdir');
  return {
    name: 'overlay',
    check: () => Promise.resolve(),
    async makeDirectories(place) {
      await helpers.run({ kind: 'directories', target: target(place), more: [upper(place), work(place)] }, mountTimeoutMs);
    },
    async mount(place, source, { inodeBits }) {
      // With xino the kernel puts a layer's number into the upper bits of inode numbers, which 32-bit programs cannot take.
      await helpers.run({ kind: 'overlay', source, upper: upper(place), work: work(place), target: target(place), xinoOff: inodeBits === 32 }, mountTimeoutMs);
    },
    ephemeralVolumes: (place) => [upper(place), work(place)],
    directories: (place) => [target(place), scratch(place)],
  };
}
