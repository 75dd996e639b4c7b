/** What people are told of a mount whose servers do not start. */
import type { MountInfo } from '../fuse/keeper/keeper';

/** Null while it is served, and in the moment in which one server succeeds another. */
export function unservedText({ repository, mountpoint, unserved }: MountInfo): string | null {
  if (unserved === null || unserved.failure === null) return null;
  return `nobody serves ${repository} at ${mountpoint} since ${new Date(unserved.sinceMs).toISOString()}: ${unserved.failure}; its readers wait, and it is tried again`;
}
