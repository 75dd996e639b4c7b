/** The kernel and what it must offer; what is promised on which kernel is docs/operations.md. */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { findServerUser } from '../../config/directories';
import { hostFiles } from '../../config/host-files';
import type { Config } from '../../config/config';
import { readRecords } from '../../fuse/keeper/mount-record';
import type { Check } from './finding';

const FUSE_MAJOR = 10;
const FUSE_MINOR = 229;

function kernel(release: string): readonly [major: number, minor: number] {
  const [, major = '0', minor = '0'] = /^(\d+)\.(\d+)/.exec(release) ?? [];
  return [Number(major), Number(minor)];
}

const atLeast = ([major, minor]: readonly [number, number], wanted: readonly [number, number]): boolean => major > wanted[0] || (major === wanted[0] && minor >= wanted[1]);

/** The promise that a kernel allows; `release` as uname says it. */
export function kernelCheck(release = os.release()): Check {
  return {
    name: 'kernel',
    run(report) {
      const version = kernel(release);
      if (atLeast(version, [6, 9])) report.ok(`${release}: no read fails when processes of ours die`);
      else if (atLeast(version, [4, 20])) report.warning(`${release}: reads that a file system server has in hand when it dies fail with ECONNABORTED; all others go on`, 'use Linux 6.9 or later for mounts that survive without a failed read');
      else report.problem(`${release} is too old for the mounts`, 'use Linux 4.20 or later, best 6.9 or later');
    },
  };
}

/** What the kernel agreed to, where a mount has asked it. */
export function resendCheck(runDir: string): Check {
  return {
    name: 'resend',
    run(report) {
      if (process.geteuid!() !== 0) return report.skipped('whether the kernel repeats requests (FUSE_NOTIFY_RESEND) stands in the records of mounts, which only root may read');
      const agreed = readRecords(runDir, () => undefined).flatMap(({ negotiated }) => (negotiated === null ? [] : [negotiated.resend]));
      if (agreed.length === 0) report.ok('nothing is mounted that would have asked the kernel whether it repeats requests (FUSE_NOTIFY_RESEND)');
      else if (agreed.every((one) => one)) report.ok('the kernel repeats the requests of a dead server (FUSE_NOTIFY_RESEND)');
      else report.warning('the kernel does not repeat the requests of a dead server: reads that it had in hand fail with ECONNABORTED, all others go on', 'use Linux 6.9 or later');
    },
  };
}

export function fuseDeviceCheck(file = '/dev/fuse'): Check {
  return {
    name: '/dev/fuse',
    async run(report) {
      const stat = await fs.promises.lstat(file).catch(() => undefined);
      const cure = 'run: modprobe fuse; in a container, pass /dev/fuse to it';
      if (stat === undefined) return report.problem(`${file} does not exist`, cure);
      const [major, minor] = [Math.floor(stat.rdev / 256), stat.rdev % 256];
      if (!stat.isCharacterDevice() || major !== FUSE_MAJOR || minor !== FUSE_MINOR) return report.problem(`${file} is not the device ${FUSE_MAJOR}:${FUSE_MINOR}`, cure);
      try {
        await (await fs.promises.open(file, 'r+')).close();
        report.ok('is there and can be opened');
      } catch (error) {
        const { code = 'unknown' } = error as NodeJS.ErrnoException;
        if (code === 'EACCES' && process.geteuid!() !== 0) report.skipped('only root can tell whether it can be opened');
        else report.problem(`${file} cannot be opened: ${code}`, code === 'EACCES' || code === 'EPERM' ? 'allow the device in the cgroup or container that this runs in' : cure);
      }
    },
  };
}

export function overlayCheck(config: Config, filesystems = '/proc/filesystems', modules = `/lib/modules/${os.release()}`): Check {
  return {
    name: 'overlayfs',
    async run(report) {
      if (/\toverlay$/m.test(await fs.promises.readFile(filesystems, 'latin1'))) return report.ok('the kernel has it');
      const index = await Promise.all(['modules.dep', 'modules.builtin'].map((name) => fs.promises.readFile(path.join(modules, name), 'latin1').catch(() => '')));
      if (index.some((text) => text.includes('/overlay.ko'))) report.ok('the kernel loads it when it is needed');
      else if (config.provisioner.backend === 'bind') report.warning('the kernel does not have it: root file systems are read-only', null);
      else report.problem('the kernel does not have it, so that no writable root file system can be made', 'use a kernel with overlayfs, or set provisioner.backend = "bind"');
    },
  };
}

export function serverUserCheck(config: Config): Check {
  return {
    name: 'server user',
    run(report) {
      // As root would look for it, whoever asks.
      const { user, warning } = findServerUser(config.serverUser, hostFiles, { uid: 0, gid: 0 });
      if (warning === undefined) return report.ok(`file system servers run as ${user.name} (${user.uid})`);
      const [text = '', cure = null] = warning.text.split('; ');
      report.warning(text, cure);
    },
  };
}
