/**
 * The keeper's record of one mount: `<run_dir>/keeper/<id>.json`, mode 0600, root's. It is written before what it says is
 * done, so that any later keeper knows what its predecessor was about to do. It is not synced: a mount does not outlive
 * its host, nor does `run_dir`.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { z } from 'zod';
import { Failure } from '../../error';
import { checkRepositoryConfig } from '../../config/repository-config';
import { checkNegotiated } from '../kernel/init';
import type { RepositoryConfig } from '../../config/repository-config';

/**
 * Grows when a field changes its meaning; an older program refuses a newer record and leaves it as it is. A field that is
 * only new needs no new version: who does not know it leaves it out.
 */
const RECORD_VERSION = 1;
const RECORD_BYTES_MAX = 8 * 1024 * 1024;

const shape = z.object({
  version: z.literal(RECORD_VERSION),
  id: z.string().regex(/^[0-9a-f]{12}$/),
  mountpoint: z.string().startsWith('/'),
  serverUid: z.number().int().min(0),
  serverGid: z.number().int().min(0),
  /** `mounting` until the kernel's INIT has been answered; `unmounting` once the mount is to go. */
  phase: z.enum(['mounting', 'mounted', 'unmounting']),
  /** `major:minor` as mountinfo prints it; empty while mounting. */
  device: z.string().regex(/^(\d+:\d+)?$/),
  negotiated: z.strictObject({ minor: z.number().int(), flags: z.string().regex(/^\d{1,20}$/), resend: z.boolean(), passthrough: z.boolean() }).nullable(),
  /** The process that serves, and its start time in clock ticks since boot, by which a recycled pid is recognised. */
  server: z.strictObject({ pid: z.number().int().min(1), startTicks: z.number().int().min(0) }).nullable(),
  config: z.unknown(),
});

export type MountRecord = Readonly<Omit<z.infer<typeof shape>, 'config'>> & { readonly config: RepositoryConfig };

export function recordFile(runDir: string, id: string): string {
  return path.join(runDir, 'keeper', `${id}.json`);
}

/** Temp file and rename: a reader sees the old record or the new one. */
export function writeRecord(runDir: string, record: MountRecord): void {
  const file = recordFile(runDir, record.id);
  const temp = `${file}.${process.pid}.tmp`;
  fs.writeFileSync(temp, JSON.stringify(record), { mode: 0o600 });
  fs.renameSync(temp, file);
}

export function removeRecord(runDir: string, id: string): void {
  fs.rmSync(recordFile(runDir, id), { force: true });
}

/** Every record; one that cannot be read is left where it is and reported. */
export function readRecords(runDir: string, damaged: (file: string, failure: Failure) => void): MountRecord[] {
  const dir = path.join(runDir, 'keeper');
  const records: MountRecord[] = [];
  for (const name of fs.existsSync(dir) ? fs.readdirSync(dir).sort() : []) {
    if (!/^[0-9a-f]{12}\.json$/.test(name)) continue;
    const file = path.join(dir, name);
    try {
      if (fs.statSync(file).size > RECORD_BYTES_MAX) throw new Failure('STATE_DAMAGED', `${file} is larger than a record can be`);
      const value: unknown = JSON.parse(fs.readFileSync(file, 'utf8'));
      const newer = (value as { version?: unknown } | null)?.version;
      if (typeof newer === 'number' && newer > RECORD_VERSION) throw new Failure('FAILED_PRECONDITION', `${file} has version ${newer}, this program knows versions up to ${RECORD_VERSION}`, { next: 'use the newer mesos-cvmfs that wrote it', data: { file, version: newer } });
      const parsed = shape.parse(value);
      if (parsed.negotiated !== null) checkNegotiated(parsed.negotiated, file);
      records.push({ ...parsed, config: checkRepositoryConfig(parsed.config, `the configuration in ${file}`) });
    } catch (error) {
      damaged(file, Failure.from(error, file));
    }
  }
  return records;
}
