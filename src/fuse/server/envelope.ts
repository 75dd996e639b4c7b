/**
 * What a file system server is started with. Configuration arrives by descriptor, since the server may open nothing by
 * path but its cache and its own folder of `run_dir`; it answers on a pipe.
 *
 *     descriptor 3  envelope, JSON, read to its end
 *     descriptor 4  /dev/fuse
 *     descriptor 5  the mount's index list, open for reading and writing
 *     descriptor 6  pipe to the keeper: one JSON line {"ready":true} or {"failure":{…}}, later {"gone":true}
 */
import { z } from 'zod';
import { Failure } from '../../error';
import { checkRepositoryConfig, MAX_REPOSITORY_CONFIG_BYTES } from '../../config/repository-config';
import type { RepositoryConfig } from '../../config/repository-config';

export const ENVELOPE_FD = 3;
export const FUSE_FD = 4;
export const INDEX_FD = 5;
export const REPORT_FD = 6;

const shape = z.strictObject({
  id: z.string().regex(/^[0-9a-f]{12}$/),
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

export function parseEnvelope(bytes: Buffer): Envelope {
  if (bytes.length > MAX_REPOSITORY_CONFIG_BYTES + 65_536) throw new Failure('CONFIG_INVALID', 'the envelope of a file system server is too large');
  const parsed = shape.parse(JSON.parse(bytes.toString()));
  return { ...parsed, config: checkRepositoryConfig(parsed.config) };
}

/** One line of the report pipe. */
export const reportShape = z.union([z.strictObject({ ready: z.literal(true) }), z.strictObject({ gone: z.literal(true) }), z.strictObject({ failure: z.unknown() })]);
export type Report = z.infer<typeof reportShape>;
