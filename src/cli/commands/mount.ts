/** `mesos-cvmfs mount`: works without any service, and returns when the tree is usable. */
import { mountRepository } from '../../fuse/mount-repository';
import { KeeperClient } from '../../fuse/control/keeper-client';
import { Failure } from '../../error';
import { configuration, prepareHost, repository, requireRoot } from '../context';
import { print } from '../output';
import type { CommonOptions } from '../common-options';

interface MountOptions extends CommonOptions {
  readonly server?: string[];
  readonly proxy?: string;
  readonly publicKey?: string[];
  readonly cacheDir?: string;
  readonly tag?: string;
  readonly rootHash?: string;
  readonly o?: string[];
  readonly foreground?: boolean;
}

const GONE_POLL_MS = 500;

export async function mount(args: readonly unknown[], given: Record<string, unknown>): Promise<void> {
  requireRoot('mounting');
  const [fqrn, dir] = args as [string, string];
  const options = given as MountOptions;
  const config = configuration(options, { cacheDir: options.cacheDir });
  const built = repository(config, fqrn, { servers: options.server, proxy: options.proxy, publicKeys: options.publicKey, tag: options.tag, rootHash: options.rootHash }, options.o ?? []);
  const { user, warnings } = prepareHost(config, { stateDir: false, cacheDir: built.config.cacheDir });
  for (const warning of [...built.warnings, ...warnings]) process.stderr.write(`mesos-cvmfs: warning: ${warning.text}\n`);
  // From before the mount is made, so that none is left by a signal that comes too early for `stay`.
  const asked = options.foreground === true ? askedToEnd() : null;
  const info = await mountRepository({ runDir: config.runDir, mountpoint: dir, config: built.config, serverUid: user.uid, serverGid: user.gid });
  print(options.json === true, info, options.foreground === true ? '' : `${fqrn} is mounted at ${info.mountpoint}`);
  if (asked !== null) await stay(config.runDir, info.mountpoint, asked);
}

function askedToEnd(): Promise<'asked'> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve('asked'));
  });
}

/** Until the mount is gone, or its end is asked for. */
async function stay(runDir: string, mountpoint: string, asked: Promise<'asked'>): Promise<void> {
  for (;;) {
    const tick = new Promise<'tick'>((resolve) => setTimeout(() => resolve('tick'), GONE_POLL_MS));
    const what = await Promise.race([asked, tick]);
    const keeper = what === 'asked' ? await KeeperClient.start(runDir) : await KeeperClient.find(runDir);
    if (keeper === null) continue;
    try {
      if (what === 'asked') return await keeper.unmount(mountpoint, false);
      if (!(await keeper.list()).mounts.some((mount) => mount.mountpoint === mountpoint)) return;
    } catch (error) {
      if (what === 'asked') throw Failure.from(error);
    } finally {
      keeper.close();
    }
  }
}
