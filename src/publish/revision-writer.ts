/**
 * The end of every publish: what makes a stored root catalog the newest revision. In this order (spec 8.1), so that a
 * crash before the last step leaves the old revision as it was, with some objects more that nobody refers to:
 *
 *     history → certificate, metainfo → reflog → everything durable → manifest
 */
import * as fs from 'node:fs';
import { hashBytes } from '../cvmfs/hash';
import type { Algorithm, ContentHash } from '../cvmfs/hash';
import { sealLetter } from '../cvmfs/letter';
import { serializeManifest } from '../cvmfs/manifest';
import type { Manifest } from '../cvmfs/manifest';
import { objectPath } from '../cvmfs/object';
import { signManifestHash } from '../cvmfs/signature';
import { deflateBytes } from './deflater';
import type { SigningKeys } from './keys';
import type { PublishStep } from './publish-world';
import { addReferences, REFLOG_NAME } from './reflog';
import type { Reference } from './reflog';
import type { Storage } from './storage';
import type { WorkDir } from './work-dir';

export const MANIFEST_NAME = '.cvmfspublished';
export const WHITELIST_NAME = '.cvmfswhitelist';

export interface RevisionContext {
  readonly storage: Storage;
  readonly workDir: WorkDir;
  readonly fqrn: string;
  readonly algorithm: Algorithm;
  readonly keys: SigningKeys;
  readonly step: (name: PublishStep) => Promise<void>;
}

export interface RevisionParts {
  /** All that the manifest says, except for what is made here: certificate, metainfo when it is new, reflog. */
  readonly manifest: Manifest;
  /** JSON for a new metainfo object; absent: the manifest's stays. */
  readonly metainfo?: Buffer;
  /** A private copy of the reflog so far; a path where nothing is makes the first one. */
  readonly reflogFile: string;
}

export async function writeRevision(context: RevisionContext, parts: RevisionParts): Promise<Manifest> {
  const { storage, fqrn, algorithm, keys, step } = context;
  const store = async (kind: 'certificate' | 'metainfo', plain: Buffer): Promise<ContentHash> => {
    const bytes = deflateBytes(plain);
    const hash = hashBytes(algorithm, bytes);
    await storage.putObject(objectPath({ hash, kind, compression: 'zlib' }), { bytes });
    await step(kind);
    return hash;
  };
  const certificate = await store('certificate', keys.certificatePem);
  const metainfo = parts.metainfo === undefined ? parts.manifest.metainfo : await store('metainfo', parts.metainfo);

  const { rootHash, history, publishedAt } = parts.manifest;
  const references: Reference[] = [
    { hash: rootHash, type: 'catalog' },
    { hash: certificate, type: 'certificate' },
    ...(history === undefined ? [] : [{ hash: history, type: 'history' } as const]),
    ...(metainfo === undefined ? [] : [{ hash: metainfo, type: 'metainfo' } as const]),
  ];
  addReferences(parts.reflogFile, fqrn, references, publishedAt);
  const reflogBytes = fs.readFileSync(parts.reflogFile);
  await storage.putMutable(REFLOG_NAME, reflogBytes);
  await step('reflog');

  const manifest: Manifest = {
    ...parts.manifest,
    fqrn,
    certificate,
    reflog: hashBytes(algorithm, reflogBytes),
    ...(metainfo === undefined ? {} : { metainfo }),
  };
  await storage.flush();
  await step('flushed');
  await storage.putMutable(
    MANIFEST_NAME,
    sealLetter(serializeManifest(manifest), algorithm, (hash) => signManifestHash(hash, keys.key)),
  );
  await step('manifest');
  return manifest;
}
