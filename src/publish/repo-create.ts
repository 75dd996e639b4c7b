/**
 * Makes a repository: keys, whitelist, an empty root directory as revision 1, signed; and later a new whitelist in time.
 * What it makes is what the stock `mkfs` makes: no history yet, a reflog with the root catalog, certificate and metainfo.
 */
import * as path from 'node:path';
import { Failure } from '../error';
import { certificateFingerprint } from '../cvmfs/certificate';
import { formatHash } from '../cvmfs/hash';
import type { Algorithm } from '../cvmfs/hash';
import { sealLetter } from '../cvmfs/letter';
import { checkRepositoryName } from '../cvmfs/repository-name';
import { signWhitelistHash } from '../cvmfs/signature';
import { parseWhitelist, serializeWhitelist } from '../cvmfs/whitelist';
import { closeCatalog } from './catalog-store';
import { CatalogWriter, DIRECTORY_FLAGS } from './catalog-writer';
import { DirectoryStorage } from './directory-storage';
import { createIngestPool } from './ingest-pool';
import { generateKeys, readMasterKey, readSigningKeys } from './keys';
import type { SigningKeys } from './keys';
import { systemWorld } from './publish-world';
import type { PublishWorld } from './publish-world';
import { MANIFEST_NAME, WHITELIST_NAME, writeRevision } from './revision-writer';
import { storageDirectory } from './storage';
import type { Storage } from './storage';
import { WorkDir } from './work-dir';

export interface CreateOptions {
  readonly fqrn: string;
  /** A directory, made when it is absent. */
  readonly storage: string;
  /** Folder for the keys, made with mode 0700. */
  readonly keys: string;
  /** Default sha1, which every client has. */
  readonly hashAlgorithm?: Algorithm;
  /** How long clients may go on with a revision without asking; default 240 s. */
  readonly ttlSeconds?: number;
  /** Validity of the whitelist; default 30 days. */
  readonly whitelistDays?: number;
  /** Whether garbage collection is allowed; default true. */
  readonly garbageCollectable?: boolean;
  /** Fields for the metainfo, shown to clients. */
  readonly metainfo?: Readonly<Record<string, unknown>>;
}

export interface Created {
  readonly fqrn: string;
  readonly revision: number;
  readonly rootHash: string;
  readonly storage: string;
  readonly publicKeyFile: string;
  readonly whitelistExpires: Date;
}

const DEFAULT_TTL_SECONDS = 240;
const DEFAULT_WHITELIST_DAYS = 30;
const MAX_WHITELIST_DAYS = 36_500;
const MASTER_REPLICA_TEXT = 'This file marks the repository as replicatable to stratum 1 servers\n';

/** ALREADY_EXISTS when the storage or the keys folder has a repository of this name. */
export async function createRepository(options: CreateOptions, world: PublishWorld = systemWorld): Promise<Created> {
  const fqrn = checkRepositoryName(options.fqrn);
  const storage = new DirectoryStorage(storageDirectory(options.storage));
  const days = checkDays(options.whitelistDays);
  if (options.ttlSeconds !== undefined && !(Number.isSafeInteger(options.ttlSeconds) && options.ttlSeconds > 0)) {
    throw new Failure('INVALID_ARGUMENT', `a time to live of ${options.ttlSeconds} seconds makes no sense`);
  }
  if ((await storage.size(MANIFEST_NAME)) !== undefined) {
    throw new Failure('ALREADY_EXISTS', `there is a repository in ${storage.place}`, { next: 'choose another folder, or remove it first' });
  }
  const now = world.now();
  await generateKeys(options.keys, fqrn, now, (size) => world.randomBytes(size));
  await storage.prepare();
  const lock = await storage.lock();
  const workDir = new WorkDir(storage.spoolDir);
  const pool = createIngestPool(0);
  try {
    const keys = readSigningKeys(options.keys, fqrn);
    const algorithm = options.hashAlgorithm ?? 'sha1';
    const timestamp = Math.floor(now.getTime() / 1000);
    const ttlSeconds = options.ttlSeconds ?? DEFAULT_TTL_SECONDS;
    const step = async (name: Parameters<NonNullable<PublishWorld['onStep']>>[0]): Promise<void> => world.onStep?.(name);

    const writer = new CatalogWriter(workDir.file('catalog'), Buffer.alloc(0));
    writer.insert({
      path: Buffer.alloc(0),
      flags: DIRECTORY_FLAGS.plain,
      hash: null,
      size: 4096,
      mode: 0o040755,
      mtime: timestamp,
      mtimeNs: null,
      linkCount: 2,
      hardlinkGroup: 0,
      uid: 0,
      gid: 0,
      symlink: Buffer.alloc(0),
      xattrs: null,
    });
    const root = await closeCatalog(
      {
        storage,
        workDir,
        pool,
        algorithm,
        now: timestamp,
        totals: { entries: 0, files: 0, bytes: 0, newObjects: 0, newBytes: 0, catalogs: 0 },
        step,
        storing: new Map(),
      },
      writer,
      undefined,
      { revision: 1, ttlSeconds, extra: new Map() },
    );
    const whitelistExpires = await writeWhitelist(storage, options.keys, fqrn, keys, algorithm, now, days);
    await storage.putMutable('.cvmfs_master_replica', Buffer.from(MASTER_REPLICA_TEXT));
    await writeRevision(
      { storage, workDir, fqrn, algorithm, keys, step },
      {
        manifest: {
          rootHash: root.hash,
          rootSize: root.bytes,
          ttlSeconds,
          revision: 1,
          garbageCollectable: options.garbageCollectable ?? true,
          alternativePath: false,
          publishedAt: timestamp,
        },
        metainfo: Buffer.from(JSON.stringify(metainfo(fqrn, options.metainfo))),
        reflogFile: workDir.file('reflog'),
      },
    );
    return {
      fqrn,
      revision: 1,
      rootHash: formatHash(root.hash),
      storage: storage.place,
      publicKeyFile: path.join(path.resolve(options.keys), `${fqrn}.pub`),
      whitelistExpires,
    };
  } finally {
    workDir.remove();
    await lock.release();
  }
}

/** Signs the whitelist anew, with the same certificate fingerprints and that of the key at hand. Resolves to its end. */
export async function resignWhitelist(
  options: Pick<CreateOptions, 'fqrn' | 'storage' | 'keys' | 'whitelistDays'>,
  world: PublishWorld = systemWorld,
): Promise<Date> {
  const fqrn = checkRepositoryName(options.fqrn);
  const days = checkDays(options.whitelistDays);
  const storage = new DirectoryStorage(storageDirectory(options.storage));
  const lock = await storage.lock();
  try {
    const old = await storage.read(WHITELIST_NAME, 256 * 1024);
    const algorithm = old === undefined ? 'sha1' : (parseWhitelist(old).fingerprints[0]?.algorithm ?? 'sha1');
    return await writeWhitelist(storage, options.keys, fqrn, readSigningKeys(options.keys, fqrn), algorithm, world.now(), days);
  } finally {
    await lock.release();
  }
}

async function writeWhitelist(
  storage: Storage,
  keysDir: string,
  fqrn: string,
  keys: SigningKeys,
  algorithm: Algorithm,
  now: Date,
  days: number,
): Promise<Date> {
  const master = readMasterKey(keysDir, fqrn);
  const expires = new Date(now.getTime() + days * 86_400_000);
  const text = serializeWhitelist({ created: now, expires, fqrn, fingerprints: [certificateFingerprint(keys.certificate, algorithm)] });
  await storage.putMutable(
    WHITELIST_NAME,
    sealLetter(text, algorithm, (hash) => signWhitelistHash(hash, master)),
  );
  return expires;
}

function checkDays(days = DEFAULT_WHITELIST_DAYS): number {
  if (!Number.isSafeInteger(days) || days < 1 || days > MAX_WHITELIST_DAYS) {
    throw new Failure('INVALID_ARGUMENT', `a whitelist can not be valid for ${days} days`, { next: `give 1 to ${MAX_WHITELIST_DAYS} days` });
  }
  return days;
}

/** The usual keys (spec 1.4), so that readers find them all. */
function metainfo(fqrn: string, given: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return {
    administrator: '',
    email: '',
    organisation: '',
    description: fqrn,
    url: '',
    'recommended-stratum0': '',
    'recommended-stratum1s': [],
    custom: {},
    ...given,
  };
}
