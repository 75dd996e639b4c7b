/**
 * Registers objects of the cache with the kernel for a server of a mount with `data_path = "passthrough"`, since that needs
 * privilege. The server may be in anybody's hands: it gets exactly `<cache>/objects/xx/<name>`, opened without following
 * anything, and only a regular file of its own user; what it closes is its own mount's.
 */
import * as fs from 'node:fs';
import { Failure } from '../../error';
import { objectFile } from '../../cache/object-name';
import type { Logger } from '../../log/logger';
import { O_NOFOLLOW, RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS } from '../../native/libc';
import type { Libc } from '../../native/libc';
import { ControlClient } from '../control/control-client';
import { controlPath } from '../control/control-path';
import { closeBacking, openBacking } from '../kernel/backing';
import { wantedShape } from '../server/backing-requests';
import type { Wanted } from '../server/backing-requests';

/** Between two attempts to reach a server; one that takes over listens some milliseconds after it serves. */
const RECONNECT_MS = 20;
const RECONNECT_MAX_MS = 1_000;

export interface BackingDeskWorld {
  readonly libc: Pick<Libc, 'ioctl' | 'openat2'>;
  readonly log: Logger;
  /** The mount's folder, with its server's control socket. */
  readonly dir: string;
  readonly cacheDir: string;
  readonly serverUid: number;
  /** Null once the mount is gone. */
  readonly fuseFd: () => number | null;
}

/** Serves whoever serves the mount, until the mount is gone. Never throws. */
export async function runBackingDesk(world: BackingDeskWorld): Promise<void> {
  let delay = RECONNECT_MS;
  while (world.fuseFd() !== null) {
    try {
      const control = await ControlClient.connect(controlPath(world.dir), 'file system server');
      control.unref();
      try {
        await serve(world, control, () => (delay = RECONNECT_MS));
      } finally {
        control.close();
      }
    } catch {
      // The server is gone; another comes.
    }
    await new Promise((resolve) => setTimeout(resolve, delay).unref());
    delay = Math.min(RECONNECT_MAX_MS, 2 * delay);
  }
}

async function serve(world: BackingDeskWorld, control: ControlClient, heard: () => void): Promise<void> {
  let opened: Array<{ object: string; id: number | null }> = [];
  for (;;) {
    const wanted: Wanted = wantedShape.parse(await control.call('backing', { opened }));
    const fuseFd = world.fuseFd();
    if (fuseFd === null) return;
    heard();
    opened = wanted.open.map((object) => ({ object, id: register(world, fuseFd, object) }));
    for (const id of wanted.close) giveBack(world, fuseFd, id);
  }
}

function register(world: BackingDeskWorld, fuseFd: number, object: string): number | null {
  try {
    const cache = fs.openSync(world.cacheDir, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
    try {
      const fd = world.libc.openat2(cache, objectFile('.', object), fs.constants.O_RDONLY | fs.constants.O_NONBLOCK | O_NOFOLLOW, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
      try {
        const stat = fs.fstatSync(fd);
        if (!stat.isFile() || stat.uid !== world.serverUid) throw new Failure('PERMISSION_DENIED', `${object} is no object of this server's`);
        return openBacking(world.libc, fuseFd, fd);
      } finally {
        fs.closeSync(fd);
      }
    } finally {
      fs.closeSync(cache);
    }
  } catch (error) {
    world.log.warn('an object is not read by the kernel itself', { object, error });
    return null;
  }
}

function giveBack(world: BackingDeskWorld, fuseFd: number, id: number): void {
  try {
    closeBacking(world.libc, fuseFd, id);
  } catch (error) {
    world.log.warn('a backing id was not given back', { id, error });
  }
}
