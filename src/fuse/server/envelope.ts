/**
 * What a file system server is started with and told. Every one begins as a *standby*: a process that has its code loaded,
 * holds the descriptors of mounts, and can become the server of any one of them. Configuration arrives by descriptor, since
 * a server may open nothing by path but its cache and the folders that `run_dir` has for it.
 *
 *     descriptor 3  channel to the keeper (control/channel.ts), lines of JSON in both directions
 *     descriptor 4  nothing, then /dev/fuse of the mount that is served
 *     descriptor 5  nothing, then that mount's index list, locked
 *     descriptor 6  socket that descriptors of mounts come through: 12 bytes, the mount's id, with /dev/fuse and the envelope
 *                   and, unless the kernel is known to repeat requests, devices that are clones once it serves (kernel/clone.ts)
 *
 *     keeper → standby   hello {protocol, version} → {protocol, version}, before everything else
 *                        announce {mount}  after its descriptors were sent      keeper ← server   gone {}   the kernel has
 *                        update {id, …}    forget {id}    warm {}                                 given the mount up
 *                        become {id, resend}   serve {negotiated, resend}   ping {}
 */
import * as fs from 'node:fs';
import { z } from 'zod';
import { Failure } from '../../error';
import { checkRepositoryConfig, MAX_REPOSITORY_CONFIG_BYTES } from '../../config/repository-config';
import type { RepositoryConfig } from '../../config/repository-config';

/**
 * Grows when a word between keeper and standby, or the meaning of a descriptor, changes. The two may be of different
 * versions: during an upgrade, and when a package has replaced the files below a keeper that runs. They work together
 * when this number is the same, else they refuse each other.
 */
export const PROTOCOL = 1;

/** Read loosely: it is all that programs of different protocols ever understand of each other. */
const helloShape = z.object({ protocol: z.number().int().min(1), version: z.string().max(64) });
export interface Hello {
  readonly protocol: number;
  readonly version: string;
}

/** What the other end says of itself; FAILED_PRECONDITION, with its `protocol` in the data, when the two cannot work together. */
export function checkHello(said: unknown, who: string, own: string): Hello {
  const parsed = helloShape.safeParse(said);
  const { protocol, version } = parsed.success ? parsed.data : { protocol: 0, version: 'unknown' };
  if (protocol === PROTOCOL) return { protocol, version };
  throw new Failure('FAILED_PRECONDITION', `the ${who} is version ${version} and speaks protocol ${protocol}, this ${own} speaks protocol ${PROTOCOL}`, {
    next: 'run mesos-cvmfs upgrade of the version that is to stay',
    data: { protocol, version },
  });
}

export const CHANNEL_FD = 3;
export const FUSE_FD = 4;
export const INDEX_FD = 5;
export const DESCRIPTORS_FD = 6;

/** In a message of descriptors: the mount's id, as long as this. */
export const ID_BYTES = 12;
/** /dev/fuse and the envelope. */
export const MOUNT_DESCRIPTORS = 2;
/** Opened and unattached devices of a mount, one for each reader worker; more workers than this share them. */
export const DEVICES_MAX = 32;

const ENVELOPE_BYTES_MAX = MAX_REPOSITORY_CONFIG_BYTES + 65_536;

const id = z.string().regex(/^[0-9a-f]{12}$/);

const envelopeShape = z.strictObject({
  id,
  mountpoint: z.string().startsWith('/'),
  /** The server's own folder, `<run_dir>/mounts/<id>`. */
  dir: z.string().startsWith('/'),
  config: z.unknown(),
});

export interface Envelope {
  readonly id: string;
  readonly mountpoint: string;
  readonly dir: string;
  readonly config: RepositoryConfig;
}

/** Reads the envelope from its beginning, wherever the descriptor stands. */
export function readEnvelope(fd: number): Envelope {
  const { size } = fs.fstatSync(fd);
  if (size > ENVELOPE_BYTES_MAX) throw new Failure('CONFIG_INVALID', 'the envelope of a file system server is too large');
  const bytes = Buffer.alloc(size);
  for (let at = 0; at < size; ) {
    const got = fs.readSync(fd, bytes, at, size - at, at);
    if (got === 0) throw new Failure('CONFIG_INVALID', 'the envelope of a file system server is cut short');
    at += got;
  }
  const parsed = envelopeShape.parse(JSON.parse(bytes.toString()));
  return { ...parsed, config: checkRepositoryConfig(parsed.config) };
}

export const negotiatedShape = z.strictObject({ minor: z.number().int(), flags: z.string().regex(/^\d{1,20}$/), resend: z.boolean(), passthrough: z.boolean() });
/** A process, and its start time in clock ticks since boot, by which a recycled pid is recognised. */
export const identityShape = z.strictObject({ pid: z.number().int().min(1), startTicks: z.number().int().min(0) });

/** A mount as a standby knows it. */
export const announcedShape = z.strictObject({
  id,
  fqrn: z.string(),
  dir: z.string().startsWith('/'),
  cacheDir: z.string().startsWith('/'),
  cacheLimitBytes: z.number(),
  /** What was agreed with the kernel; null while the mount is being made, and then nobody may serve it without a word. */
  negotiated: negotiatedShape.nullable(),
  server: identityShape.nullable(),
});
export type Announced = z.infer<typeof announcedShape>;

export const updateShape = announcedShape.pick({ id: true, negotiated: true, server: true });
export const forgetShape = z.strictObject({ id });
export const becomeShape = z.strictObject({ id, resend: z.boolean() });
export const serveShape = z.strictObject({ negotiated: negotiatedShape, resend: z.boolean() });

/** How far the reader workers are: requests taken from the kernel, and those that they are done with. */
export const progressShape = z.strictObject({ workers: z.array(z.tuple([z.number().int(), z.number().int()])).max(64) });
export type Progress = z.infer<typeof progressShape>;
