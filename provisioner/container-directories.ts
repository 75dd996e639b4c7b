/** Which containers have a directory below `<root>/containers`, whether a row speaks of them or not. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { ContainerId } from './container-id';
import { MAX_NESTING, containerId } from './container-id';
import type { Layout } from './layout';

export interface FoundDirectories {
  readonly containers: ContainerId[];
  /** Names that are no container ids, or that are not directories: left alone, and told. */
  readonly strays: string[];
}

/** Never looks into a rootfs: only `containers` directories are listed, which nothing is mounted on. */
export function listContainerDirectories(layout: Layout): FoundDirectories {
  const found: FoundDirectories = { containers: [], strays: [] };
  const visit = (dir: string, parents: ContainerId): void => {
    let entries: fs.Dirent[];
    try {
      entries = fs.readdirSync(dir, { withFileTypes: true });
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw err;
    }
    for (const entry of entries) {
      const at = path.join(dir, entry.name);
      // A name that is not UTF-8 does not survive decoding: it is no id of ours, since ids come from protobuf strings.
      if (!entry.isDirectory() || entry.name.includes('\ufffd') || parents.length >= MAX_NESTING) {
        found.strays.push(at);
        continue;
      }
      const id = containerId([...parents, entry.name]);
      found.containers.push(id);
      visit(path.join(at, 'containers'), id);
    }
  };
  visit(layout.containers, []);
  return found;
}
