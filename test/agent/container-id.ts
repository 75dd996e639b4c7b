/**
 * Container ids as a path of names from the root container down: `pod/task`. Both the provisioner's and the runtime's
 * folders nest as they do.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';

export type ContainerId = string;

/** `<dir>/containers/<root>[/containers/<child>…]` */
export function containerDir(dir: string, id: ContainerId): string {
  return path.join(dir, ...id.split('/').flatMap((name) => ['containers', name]));
}

export function isBelow(id: ContainerId, parent: ContainerId): boolean {
  return id.startsWith(`${parent}/`);
}

/** Every id that has a folder, parents before their children; stray files are left out. */
export function listContainers(dir: string): ContainerId[] {
  const containers = path.join(dir, 'containers');
  if (!fs.existsSync(containers)) return [];
  const folders = fs.readdirSync(containers, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return folders.flatMap(({ name }) => [name, ...listContainers(path.join(containers, name)).map((child) => `${name}/${child}`)]);
}
