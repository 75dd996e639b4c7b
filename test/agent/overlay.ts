/**
 * The overlay backend.
 *
 *     <backend dir>/rootfses/<id>              the mount point
 *     <backend dir>/scratch/<id>/upperdir      what the container writes
 *     <backend dir>/scratch/<id>/workdir
 *     <backend dir>/scratch/<id>/links      →  <tmp>/XXXXXX with the links 0, 1, … to the layers, base first
 *
 * The links are there because all options of a mount must fit in one page. So where a layer is itself a link, as a lazy one
 * is, overlayfs comes to its tree through two of them.
 */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { readMountinfo } from '../../src/native/mountinfo';
import { MNT_DETACH, MS_SHARED, MS_SLAVE, libc } from '../../src/native/libc';
import { exists } from './store-paths';
import type { AtStep } from './steps';

export const BACKEND = 'overlay';

export async function provisionOverlay(layers: readonly string[], backendDir: string, id: string, at: AtStep): Promise<string> {
  if (layers.length === 0) throw new Error('No filesystem layer provided');
  const rootfs = path.join(backendDir, 'rootfses', id);
  const scratch = path.join(backendDir, 'scratch', id);
  const [upper, work] = [path.join(scratch, 'upperdir'), path.join(scratch, 'workdir')];
  for (const dir of [rootfs, upper, work]) fs.mkdirSync(dir, { recursive: true });
  await at('rootfs-made');
  const links = fs.mkdtempSync(path.join(os.tmpdir(), '/'));
  fs.symlinkSync(links, path.join(scratch, 'links'));
  layers.forEach((layer, n) => fs.symlinkSync(layer, path.join(links, String(n))));
  await at('links-made');
  const lower = layers.map((_, n) => path.join(links, String(n))).reverse();
  try {
    libc().mount('overlay', rootfs, 'overlay', 0, `lowerdir=${lower.join(':')},upperdir=${upper},workdir=${work}`);
  } catch (error) {
    throw new Error(`Failed to mount rootfs '${rootfs}' with overlayfs: ${(error as Error).message}`, { cause: error });
  }
  // What is unmounted here is unmounted in containers that copied the mount table, and not the other way round.
  libc().mount(null, rootfs, null, MS_SLAVE, null);
  libc().mount(null, rootfs, null, MS_SHARED, null);
  await at('mounted');
  return rootfs;
}

/** True when something was mounted. What is gone already, a reboot's mounts or the links in /tmp, is no error. */
export async function destroyOverlay(backendDir: string, id: string, at: AtStep, warn: (text: string) => void): Promise<boolean> {
  const rootfs = path.join(backendDir, 'rootfses', id);
  const mounted = readMountinfo().some(({ mountpoint }) => mountpoint.toString() === rootfs);
  if (mounted) {
    libc().umount2(rootfs, MNT_DETACH);
    await at('unmounted');
    try {
      fs.rmdirSync(rootfs);
    } catch (error) {
      warn(`Failed to remove ${rootfs}: ${(error as Error).message}`);
    }
  }
  const links = path.join(backendDir, 'scratch', id, 'links');
  if (exists(links)) {
    fs.rmSync(fs.readlinkSync(links), { recursive: true, force: true });
    fs.rmSync(links);
  }
  return mounted;
}
