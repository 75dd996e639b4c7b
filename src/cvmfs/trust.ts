/**
 * The trust chain (spec 3.1), as functions of bytes that somebody else has fetched:
 *
 *     master key ── signs ──► whitelist ── lists ──► certificate ── signs ──► manifest ── hash ──► root catalog ──► all else
 *
 * `checkManifest` says which certificate to fetch (object `X`, whose hash the caller checks, decompressed);
 * `verifyTrust` then accepts the three together or throws. Nothing that the manifest says may be used before.
 */
import { createPublicKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { Failure } from '../error';
import type { Code } from '../error';
import { parseBlacklist } from './blacklist';
import { certificateFingerprint, parseCertificate } from './certificate';
import type { Certificate } from './certificate';
import { formatFingerprint } from './fingerprint';
import { isNullHash, sameHash } from './hash';
import type { ContentHash } from './hash';
import { openLetter } from './letter';
import type { Refuse } from './letter';
import { parseManifest } from './manifest';
import type { Manifest } from './manifest';
import { verifyManifestHash, verifyWhitelistHash } from './signature';
import { parseWhitelist } from './whitelist';
import type { Whitelist } from './whitelist';

/** What is asked of a manifest before its certificate is fetched. */
export interface ManifestInput {
  /** The server's name, for messages. */
  readonly source: string;
  readonly fqrn: string;
  /** `.cvmfspublished` */
  readonly manifest: Buffer;
  /** Unix seconds of the newest manifest seen so far: an older one is refused. */
  readonly previousTimestamp?: number;
}

export interface TrustInput extends ManifestInput {
  /** `.cvmfswhitelist` */
  readonly whitelist: Buffer;
  /** PEM. */
  readonly certificate: Buffer;
  /** PEM texts of the master public keys; any one of them may have signed the whitelist. */
  readonly masterKeys: readonly string[];
  /** Texts of the host's blacklists. */
  readonly blacklists: readonly string[];
  readonly now: Date;
}

export interface Trusted {
  readonly manifest: TrustedManifest;
  readonly whitelist: Whitelist;
  readonly certificate: Certificate;
}

/** A manifest that names its repository and its certificate. */
export interface TrustedManifest extends Manifest {
  readonly fqrn: string;
  readonly certificate: ContentHash;
}

/**
 * Parses a manifest and checks all that needs no key: MANIFEST_INVALID (damaged, incomplete, of another repository),
 * MANIFEST_OUTDATED. What it returns is good for finding the certificate and for nothing else.
 */
export function checkManifest(input: ManifestInput): TrustedManifest {
  const refuse = refusal('MANIFEST_INVALID', 'manifest', input, 'another server may have a good one');
  const manifest = parseManifest(input.manifest, refuse);
  const { fqrn, certificate } = manifest;
  if (fqrn === undefined) throw refuse('it does not name its repository');
  if (fqrn !== input.fqrn) {
    throw refuse(`it is that of ${JSON.stringify(fqrn.slice(0, 80))}`, 'see whether the server address is that of this repository');
  }
  if (certificate === undefined || isNullHash(certificate)) throw refuse('it names no certificate');
  const previous = input.previousTimestamp ?? 0;
  if (manifest.publishedAt < previous) {
    throw new Failure(
      'MANIFEST_OUTDATED',
      `manifest of ${input.fqrn} from ${input.source} is outdated: published ${isoSeconds(manifest.publishedAt)}, and one of ${isoSeconds(previous)} is known`,
      { next: 'the server or a proxy lags behind; another server may have a newer one', data: { repository: input.fqrn, source: input.source } },
    );
  }
  return { ...manifest, fqrn, certificate };
}

/**
 * The whole verification. Codes: those of `checkManifest`, and CERTIFICATE_INVALID, WHITELIST_INVALID,
 * WHITELIST_EXPIRED, BLACKLISTED, KEY_INVALID.
 */
export function verifyTrust(input: TrustInput): Trusted {
  const keys = input.masterKeys.map((pem, i) => parseMasterKey(pem, i, input.fqrn));
  if (keys.length === 0) throw new Failure('KEY_INVALID', `no master public key for ${input.fqrn}`, { next: 'configure public_keys of the repository' });

  const manifest = checkManifest(input);
  const certificateRefused = refusal('CERTIFICATE_INVALID', 'certificate', input, 'another server may have a good one');
  const certificate = parseCertificate(input.certificate, certificateRefused);
  const manifestRefused = refusal('MANIFEST_INVALID', 'manifest', input, 'another server may have a good one');
  const letter = openLetter(input.manifest, manifestRefused);
  if (!verifyManifestHash(letter.hash, letter.signature, certificate.publicKey)) {
    throw manifestRefused('its signature is not by the key of its certificate');
  }

  const whitelist = verifyWhitelist({ ...input, keys });
  const blacklists = input.blacklists.map(parseBlacklist);
  const matches = (listed: ContentHash): boolean => sameHash(listed, certificateFingerprint(certificate, listed.algorithm));
  if (blacklists.some((blacklist) => blacklist.fingerprints.some(matches))) {
    throw refusal('BLACKLISTED', 'certificate', input, 'the blacklist of this host refuses it')(`${describe(certificate)} is blacklisted`);
  }
  if (!whitelist.fingerprints.some(matches)) {
    throw certificateRefused(
      `${describe(certificate)} is not on the whitelist`,
      'a server may lag behind after a change of keys; another one may have both in step',
    );
  }
  for (const { minRevisions } of blacklists) {
    const lowest = minRevisions.get(input.fqrn) ?? 0;
    if (manifest.revision < lowest) {
      throw refusal('BLACKLISTED', 'manifest', input, 'the blacklist of this host refuses it; another server may have a newer one')(
        `its revision ${manifest.revision} is below ${lowest}`,
      );
    }
  }
  return { manifest, whitelist, certificate };
}

/** Name and time first, then the signature: an expired list is reported as expired, whatever its signature. */
function verifyWhitelist(input: TrustInput & { readonly keys: readonly KeyObject[] }): Whitelist {
  const refuse = refusal('WHITELIST_INVALID', 'whitelist', input, 'another server may have a good one');
  const whitelist = parseWhitelist(input.whitelist, refuse);
  if (whitelist.fqrn !== input.fqrn) {
    throw refuse(`it is that of ${JSON.stringify(whitelist.fqrn.slice(0, 80))}`, 'see whether the server address is that of this repository');
  }
  if (!(input.now.getTime() < whitelist.validUntil.getTime())) {
    throw new Failure(
      'WHITELIST_EXPIRED',
      `whitelist of ${input.fqrn} from ${input.source} expired at ${whitelist.validUntil.toISOString()}, and this host's clock says ${input.now.toISOString()}`,
      { next: "see whether the clock is right, else ask the repository's owner to sign a new one", data: { repository: input.fqrn, source: input.source } },
    );
  }
  const letter = openLetter(input.whitelist, refuse);
  if (!input.keys.some((key) => verifyWhitelistHash(letter.hash, letter.signature, key))) {
    throw refuse(`its signature is by none of the ${input.keys.length} master keys`, 'see whether public_keys has the key of this repository');
  }
  return whitelist;
}

function parseMasterKey(pem: string, index: number, fqrn: string): KeyObject {
  const next = 'a master public key is a PEM file that begins with BEGIN PUBLIC KEY, of an RSA key';
  let key: KeyObject;
  try {
    // Also a private key would be taken here, and one of those must not lie on a client.
    if (pem.includes('PRIVATE KEY')) throw new Error('it is a private key');
    key = createPublicKey(pem);
  } catch (error) {
    throw new Failure('KEY_INVALID', `master key ${index + 1} of ${fqrn} cannot be read: ${error instanceof Error ? error.message : String(error)}`, { next });
  }
  if (key.asymmetricKeyType !== 'rsa') throw new Failure('KEY_INVALID', `master key ${index + 1} of ${fqrn} is not an RSA key`, { next });
  return key;
}

function refusal(code: Code, file: string, { fqrn, source }: { fqrn: string; source: string }, usually: string): Refuse {
  return (why, next = usually) => new Failure(code, `${file} of ${fqrn} from ${source}: ${why}`, { next, data: { repository: fqrn, source } });
}

function describe(certificate: Certificate): string {
  return `${formatFingerprint(certificateFingerprint(certificate, 'sha1'))} (${certificate.subject.slice(0, 200)})`;
}

function isoSeconds(unix: number): string {
  return unix > 0 && unix < 253402300800 ? new Date(unix * 1000).toISOString() : `at ${unix} s`;
}
