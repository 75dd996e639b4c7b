/** The repository as it is before a publish: its newest revision, checked, and private copies of history and reflog. */
import { createPublicKey } from 'node:crypto';
import * as fs from 'node:fs';
import { Failure } from '../error';
import { certificateFingerprint, MAX_CERTIFICATE_BYTES, parseCertificate } from '../cvmfs/certificate';
import { formatHash, sameHash } from '../cvmfs/hash';
import { openLetter } from '../cvmfs/letter';
import { MAX_MANIFEST_BYTES } from '../cvmfs/manifest';
import { verifyManifestHash, verifyWhitelistHash } from '../cvmfs/signature';
import { checkManifest } from '../cvmfs/trust';
import type { TrustedManifest } from '../cvmfs/trust';
import { MAX_WHITELIST_BYTES, parseWhitelist } from '../cvmfs/whitelist';
import { readPublicKey } from './keys';
import type { SigningKeys } from './keys';
import { MAX_REFLOG_BYTES, readReflog, REFLOG_NAME } from './reflog';
import { MANIFEST_NAME, WHITELIST_NAME } from './revision-writer';
import type { Warn } from './source';
import type { Storage } from './storage';
import { unpackToBuffer, unpackToFile } from './unpack-object';
import type { WorkDir } from './work-dir';

export interface OpenRepository {
  readonly manifest: TrustedManifest;
  /** Private copy; does not exist before the first publish. */
  readonly historyFile: string;
  readonly reflogFile: string;
}

export interface OpenRepositoryInput {
  readonly storage: Storage;
  readonly fqrn: string;
  readonly keys: SigningKeys;
  readonly keysDir: string;
  readonly workDir: WorkDir;
  readonly now: Date;
  readonly warn: Warn;
}

const MAX_HISTORY_BYTES = 1 << 30;
const EXPIRY_WARNING_MS = 3 * 86_400_000;

export async function openRepository(input: OpenRepositoryInput): Promise<OpenRepository> {
  const { storage, fqrn, workDir } = input;
  const bytes = await storage.read(MANIFEST_NAME, MAX_MANIFEST_BYTES);
  if (bytes === undefined) throw new Failure('NOT_FOUND', `there is no repository in ${storage.place}`, { next: 'make one with `repo create`' });
  const manifest = checkManifest({ source: storage.place, fqrn, manifest: bytes });
  const pem = await unpackToBuffer(storage, { hash: manifest.certificate, kind: 'certificate', compression: 'zlib' }, MAX_CERTIFICATE_BYTES);
  const refuse = (why: string): Failure =>
    new Failure('MANIFEST_INVALID', `manifest of ${fqrn} in ${storage.place}: ${why}`, { next: 'run `repo check`' });
  const letter = openLetter(bytes, refuse);
  if (!verifyManifestHash(letter.hash, letter.signature, parseCertificate(pem).publicKey))
    throw refuse('its signature is not by the key of its certificate');
  await checkWhitelist(input);

  const historyFile = workDir.file('history');
  if (manifest.history !== undefined)
    await unpackToFile(storage, { hash: manifest.history, kind: 'history', compression: 'zlib' }, historyFile, MAX_HISTORY_BYTES);
  const reflogFile = workDir.file('reflog');
  const reflog = await storage.read(REFLOG_NAME, MAX_REFLOG_BYTES);
  if (reflog === undefined)
    throw new Failure('FAILED_PRECONDITION', `${REFLOG_NAME} is missing in ${storage.place}`, { next: 'restore it from a copy' });
  fs.writeFileSync(reflogFile, reflog);
  if (!readReflog(reflogFile, fqrn).has(formatHash(manifest.rootHash)))
    input.warn(`the reflog of ${fqrn} does not know revision ${manifest.revision}: was it replaced?`);
  return { manifest, historyFile, reflogFile };
}

/** A revision that no client would accept is not worth making: KEY_INVALID. A list about to expire is a warning. */
async function checkWhitelist(input: OpenRepositoryInput): Promise<void> {
  const { storage, fqrn, keys, now } = input;
  const bytes = await storage.read(WHITELIST_NAME, MAX_WHITELIST_BYTES);
  const refuse = (why: string): Failure =>
    new Failure('WHITELIST_INVALID', `whitelist of ${fqrn} in ${storage.place}: ${why}`, { next: 'sign a new one with the master key' });
  if (bytes === undefined) throw refuse('it is missing');
  const whitelist = parseWhitelist(bytes, refuse);
  if (whitelist.fqrn !== fqrn) throw refuse(`it is that of ${whitelist.fqrn}`);
  const publicKey = readPublicKey(input.keysDir, fqrn);
  if (publicKey !== undefined) {
    const letter = openLetter(bytes, refuse);
    if (!verifyWhitelistHash(letter.hash, letter.signature, createPublicKey(publicKey)))
      throw refuse('its signature is not by the master key in the keys folder');
  }
  if (!whitelist.fingerprints.some((listed) => sameHash(listed, certificateFingerprint(keys.certificate, listed.algorithm)))) {
    throw new Failure(
      'KEY_INVALID',
      `the certificate in ${input.keysDir} is not on the whitelist of ${fqrn}, so no client would accept the revision`,
      {
        next: 'give the keys of this repository, or sign a new whitelist',
      },
    );
  }
  if (now >= whitelist.validUntil)
    input.warn(`the whitelist of ${fqrn} expired at ${whitelist.validUntil.toISOString()}: clients refuse the repository until it is signed anew`);
  else if (whitelist.validUntil.getTime() - now.getTime() < EXPIRY_WARNING_MS)
    input.warn(`the whitelist of ${fqrn} expires at ${whitelist.validUntil.toISOString()}`);
}
