/**
 * What a keeper finds of its predecessor's mounts: who holds their descriptors, and who reads their requests. Whatever
 * records and holder files say is only where to look (adopted-server.ts).
 */
import * as fs from 'node:fs';
import { Failure } from '../../error';
import type { Libc } from '../../native/libc';
import { isAlive } from '../process-identity';
import type { ProcessIdentity } from '../process-identity';
import { FUSE_FD } from '../server/envelope';
import { readServer, readSpares } from '../server/holder';
import type { Holder } from '../server/holder';
import { fuseDescriptorOf, holdsLock } from './adopted-server';
import type { MountRecord } from './mount-record';

/** A process that is about to become a server, or has only just been given the descriptors, is waited for. */
const SETTLE_MS = 2_000;
const POLL_MS = 10;

/** Processes that may hold the mount, and the number of its descriptor there; alive, and the server's user's. */
function holders(record: MountRecord, dir: string): Holder[] {
  const server = [record.server === null ? null : { ...record.server, fuseFd: FUSE_FD, version: null }, readServer(dir)];
  // A process that was to serve this mount may serve another one by now: only the lock says which.
  const serving = server.filter((one): one is Holder => one !== null && isOwn(one, record) && holdsLock(one, dir));
  return [...serving.map((one) => ({ ...one, fuseFd: FUSE_FD })), ...readSpares(dir).filter((spare) => isOwn(spare, record))];
}

function isOwn(identity: ProcessIdentity, record: MountRecord): boolean {
  try {
    return isAlive(identity) && fs.statSync(`/proc/${identity.pid}`).uid === record.serverUid;
  } catch {
    return false;
  }
}

/** Repeats `look` until it answers something, for as long as the process that was to serve may still settle. */
async function settled<T>(record: MountRecord, look: () => T | null): Promise<T | null> {
  for (let waited = 0; ; waited += POLL_MS) {
    const found = look();
    if (found !== null) return found;
    if (waited >= SETTLE_MS || record.server === null || !isAlive(record.server)) return null;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** A copy of the mount's descriptor from whoever has it; FAILED_PRECONDITION when nobody does: the mount is dead. */
export async function copyDescriptor(libc: Libc, record: MountRecord, dir: string): Promise<number> {
  const fd = await settled(record, () => {
    for (const holder of holders(record, dir)) {
      try {
        return fuseDescriptorOf(holder, holder.fuseFd, libc.descriptorOf);
      } catch {
        // The next one may have it.
      }
    }
    return null;
  });
  if (fd !== null) return fd;
  throw new Failure('FAILED_PRECONDITION', `mount ${record.mountpoint} has neither keeper nor server nor spare; those of other repositories do not hold it`, { next: `run mesos-cvmfs umount ${record.mountpoint}` });
}

/** The process that reads the mount's requests; null when none does, nor is about to. */
export async function findServer(record: MountRecord, dir: string): Promise<ProcessIdentity | null> {
  return settled(record, () => {
    const serving = [readServer(dir), record.server].find((one) => one !== null && isOwn(one, record) && holdsLock(one, dir));
    return serving ? { pid: serving.pid, startTicks: serving.startTicks } : null;
  });
}
