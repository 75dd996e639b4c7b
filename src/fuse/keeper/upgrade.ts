/**
 * Replaces the servers of all mounts by those of another program, one mount after another, while they are read: the server
 * is ended, a warm spare of the new program is its successor, and what was in flight is repeated to it. No mount is touched
 * before a spare of the new program is warm, nor the next one before another is. A server of the new program that does not
 * serve, or not for a moment, ends the upgrade, and its mount goes back to the spare of the old program, kept for that.
 */
import { Failure } from '../../error';
import type { Logger } from '../../log/logger';
import type { KeptMount } from './kept-mount';
import { isSameProgram } from './program';
import type { Program } from './program';
import type { ServerProcess } from './server-process';
import type { Spare } from './spare';

/** A new server that lives this long and answers is believed to be well; its successor in the spare's place warms meanwhile. */
const PROVE_MS = 500;
const ANSWER_MS = 5_000;
/** Of one attempt to bring a mount back; the first finds a warm process. */
const BACK_MS = 10_000;
const BACK_ATTEMPTS = 5;

/** How far an upgrade is, as the keeper's clients see it. */
export interface UpgradeState {
  readonly version: string;
  readonly state: 'running' | 'failed' | 'done';
  readonly step: string;
  readonly mountsDone: number;
  readonly mountsTotal: number;
  readonly failure: string | null;
}

export interface UpgradeWorld {
  readonly spare: Spare;
  readonly log: Logger;
  readonly mounts: () => readonly KeptMount[];
  readonly progress: (step: string, done: number, total: number) => void;
}

/** FAILED_PRECONDITION with the reason when the new program is of no use; the mounts that have it keep it but for the last one. */
export async function upgradeServers(world: UpgradeWorld, program: Program, timeoutMs: number): Promise<void> {
  const { spare, log, mounts, progress } = world;
  const old = mounts().filter((mount) => mount.record.phase !== 'mounting' && mount.serverVersion !== program.version);
  const first = old[0] ?? mounts()[0];
  if (first === undefined) return;
  progress('the spare of the new version comes up', 0, old.length);
  const before = spare.program.version;
  const { serverUid, serverGid } = first.record;
  if (isSameProgram(spare.program, program)) await spare.readyFor(serverUid, serverGid, timeoutMs);
  else await spare.stage(program, serverUid, serverGid, timeoutMs);
  try {
    for (const [done, mount] of old.entries()) {
      progress(`${mount.record.mountpoint} gets its new server`, done, old.length);
      await replaceOne(world, mount, program, before, timeoutMs);
      log.info('a mount is served by another version', { repository: mount.record.config.fqrn, mountpoint: mount.record.mountpoint, version: program.version, pid: mount.serverPid });
    }
  } catch (error) {
    spare.goBack();
    throw error;
  }
  spare.settle();
  progress('all mounts have their new server', old.length, old.length);
}

async function replaceOne({ spare, log }: UpgradeWorld, mount: KeptMount, program: Program, before: string, timeoutMs: number): Promise<void> {
  await spare.readyFor(mount.record.serverUid, mount.record.serverGid, timeoutMs);
  if (mount.isOver) return;
  try {
    await prove(await within(timeoutMs, mount.replace()));
  } catch (error) {
    if (mount.isOver) return;
    log.error('a server of the new version is of no use', { mountpoint: mount.record.mountpoint, version: program.version, error });
    spare.goBack();
    for (let i = 0; i < BACK_ATTEMPTS && mount.serverVersion !== before && !mount.isOver; i++) await within(BACK_MS, mount.replace()).catch(() => undefined);
    throw new Failure('FAILED_PRECONDITION', `a server of version ${program.version} was of no use for ${mount.record.mountpoint}, which is served by version ${mount.serverVersion ?? 'none'} now: ${Failure.from(error).message}`, { cause: error, next: `see server.log in ${mount.dir}` });
  }
}

async function prove(server: ServerProcess): Promise<void> {
  const ended = server.ended.then(() => {
    throw new Failure('INTERNAL', `process ${server.identity.pid} ended as soon as it served`);
  });
  await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, PROVE_MS))]);
  await Promise.race([ended, server.ping(ANSWER_MS)]);
}

function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => (timer = setTimeout(() => reject(new Failure('DEADLINE_EXCEEDED', `it did not serve within ${ms} ms`)), ms)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
