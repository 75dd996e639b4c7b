/** Mounts one repository, from any command or service: keeper, mount point, a first look, and only then the caller. */
import { execFile } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { promisify } from 'node:util';
import { Failure } from '../error';
import type { RepositoryConfig } from '../config/repository-config';
import { VIEWS_NAME } from '../repository/node-id';
import { KeeperClient } from './control/keeper-client';
import type { MountInfo } from './keeper/keeper';
import { readMountinfo } from '../native/mountinfo';
import { mountAt } from './keeper/own-mounts';

/** A mount point may lie on a file system whose server is gone; nobody waits for ever for it. */
const MOUNTPOINT_TIMEOUT_MS = 10_000;
const FIRST_LOOK_TIMEOUT_MS = 10_000;

export interface MountRepositoryRequest {
  readonly runDir: string;
  readonly mountpoint: string;
  readonly config: RepositoryConfig;
  readonly serverUid: number;
  readonly serverGid: number;
}

/**
 * Mounts. The tree is usable when this resolves. Errors: ALREADY_EXISTS, NOT_A_DIRECTORY, and whatever keeps the
 * repository from being opened, naming the file (manifest, whitelist, certificate, catalog) and the server.
 */
export async function mountRepository(request: MountRepositoryRequest): Promise<MountInfo> {
  const mountpoint = await prepareMountpoint(request.mountpoint);
  const keeper = await KeeperClient.start(request.runDir);
  try {
    const info = await keeper.mount({ mountpoint, config: request.config, serverUid: request.serverUid, serverGid: request.serverGid });
    try {
      await firstLook(mountpoint);
    } catch (error) {
      await keeper.unmount(mountpoint, true).catch(() => undefined);
      throw error;
    }
    return info;
  } finally {
    keeper.close();
  }
}

/** The absolute path of an existing or new directory that nothing is mounted on, without symbolic links. */
async function prepareMountpoint(given: string): Promise<string> {
  const wanted = path.resolve(given);
  const present = mountAt(readMountinfo(), wanted);
  if (present !== undefined) throw new Failure('ALREADY_EXISTS', `${present.source.toString()} (${present.type}) is mounted at ${wanted}`, { next: 'unmount it, or choose another directory' });
  const prepare = async (): Promise<string> => {
    await fs.promises.mkdir(wanted, { recursive: true });
    const real = await fs.promises.realpath(wanted);
    if (!(await fs.promises.lstat(real)).isDirectory()) throw new Failure('NOT_A_DIRECTORY', `${real} is no directory`);
    return real;
  };
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Failure('DEADLINE_EXCEEDED', `${wanted} does not answer`, { next: 'see whether it lies on a mount whose server is gone' })), MOUNTPOINT_TIMEOUT_MS);
  });
  try {
    return await Promise.race([prepare(), late]);
  } catch (error) {
    const errno = (error as NodeJS.ErrnoException).code;
    if (errno === 'EEXIST' || errno === 'ENOTDIR') throw new Failure('NOT_A_DIRECTORY', `${wanted} is no directory`);
    throw Failure.from(error, wanted);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Opens, closes and lists once, in a process that can be killed: the kernel learns that this file system has neither OPEN
 * nor OPENDIR nor FLUSH, so that no container pays for the question.
 */
async function firstLook(mountpoint: string): Promise<void> {
  const views = path.join(mountpoint, VIEWS_NAME.toString());
  try {
    await promisify(execFile)('/bin/sh', ['-c', ': < "$1/.prime" && : "$1"/*', 'sh', views], { timeout: FIRST_LOOK_TIMEOUT_MS, killSignal: 'SIGKILL', cwd: '/' });
  } catch (error) {
    throw new Failure('INTERNAL', `${mountpoint} was mounted and does not answer`, { cause: error });
  }
}
