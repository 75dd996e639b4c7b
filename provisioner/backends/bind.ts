/**
 * Bind: the image's directory itself, read-only. Nothing can be created in it, so the directories that every container
 * gets mounts on must be in the image.
 */
import { Failure } from '../../src/error';
import type { Layout } from '../layout';
import type { MountOperations } from '../mount-helper/pool';
import type { Backend, Place } from './backend';

const NEEDED = ['proc', 'sys', 'dev', 'tmp', 'etc'] as const;

/** Entries of an image's root directory that are looked at. */
const MAX_ROOT_ENTRIES = 10_000;

export function bindBackend(layout: Layout, helpers: MountOperations, mountTimeoutMs: number): Backend {
  const target = (place: Place): string => layout.rootfs(place.container, 'bind', place.uuid);
  return {
    name: 'bind',
    async check(reader, snapshot, path) {
      const entries = await reader.list(snapshot, path, MAX_ROOT_ENTRIES);
      // A link counts: the agent resolves it inside the root, as it does with overlay.
      const there = new Set(entries.filter(({ type }) => type === 'directory' || type === 'symlink').map(({ name }) => name.toString('latin1')));
      const missing = NEEDED.filter((name) => !there.has(name)).map((name) => `/${name}`);
      if (missing.length > 0) {
        throw new Failure('FAILED_PRECONDITION', `the image at ${reader.fqrn}${path.toString()} has no ${missing.join(', ')}, which a container on a read-only root file system needs`, {
          next: "use the backend 'overlay'",
          data: { missing },
        });
      }
    },
    async makeDirectories(place) {
      await helpers.run({ kind: 'directories', target: target(place), more: [] }, mountTimeoutMs);
    },
    async mount(place, source) {
      // Set-user-id programs work as in any container: only root comes past the directories above (mode 0700).
      await helpers.run({ kind: 'bind', source, target: target(place), suid: true }, mountTimeoutMs);
    },
    ephemeralVolumes: () => [],
    directories: (place) => [target(place)],
  };
}
