/** A repository's keys for tests, made as an owner makes them: RSA master key, RSA certificate key, self-signed certificate. */
import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import forge from 'node-forge';
import { certificateFingerprint, parseCertificate } from '../../../src/cvmfs/certificate';
import type { ContentHash } from '../../../src/cvmfs/hash';
import type { Algorithm } from '../../../src/cvmfs/hash';
import { parseHash } from '../../../src/cvmfs/hash';
import { sealLetter } from '../../../src/cvmfs/letter';
import { serializeManifest } from '../../../src/cvmfs/manifest';
import type { Manifest } from '../../../src/cvmfs/manifest';
import { signManifestHash, signWhitelistHash } from '../../../src/cvmfs/signature';
import { serializeWhitelist } from '../../../src/cvmfs/whitelist';
import type { Whitelist } from '../../../src/cvmfs/whitelist';

export interface Keys {
  readonly masterPublic: string;
  readonly masterPrivate: KeyObject;
  readonly certificate: Buffer;
  readonly certificatePrivate: KeyObject;
}

export function makeKeys(): Keys {
  const master = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const signing = generateKeyPairSync('rsa', { modulusLength: 2048, publicKeyEncoding: { type: 'spki', format: 'pem' }, privateKeyEncoding: { type: 'pkcs1', format: 'pem' } });
  const certificate = forge.pki.createCertificate();
  certificate.publicKey = forge.pki.publicKeyFromPem(signing.publicKey);
  certificate.serialNumber = '01';
  // Long expired on purpose: dates are not looked at.
  certificate.validity.notBefore = new Date('2001-01-01T00:00:00Z');
  certificate.validity.notAfter = new Date('2002-01-01T00:00:00Z');
  const subject = [{ name: 'commonName', value: 'sw.example.org' }];
  certificate.setSubject(subject);
  certificate.setIssuer(subject);
  certificate.sign(forge.pki.privateKeyFromPem(signing.privateKey), forge.md.sha256.create());
  return {
    masterPublic: master.publicKey.export({ type: 'spki', format: 'pem' }) as string,
    masterPrivate: master.privateKey,
    certificate: Buffer.from(forge.pki.certificateToPem(certificate)),
    certificatePrivate: createPrivateKey(signing.privateKey),
  };
}

export const MANIFEST: Manifest = {
  rootHash: parseHash('a'.repeat(40)),
  rootSize: 49152,
  ttlSeconds: 240,
  revision: 17,
  garbageCollectable: true,
  alternativePath: false,
  fqrn: 'sw.example.org',
  certificate: parseHash('b'.repeat(40)),
  history: parseHash('c'.repeat(40)),
  publishedAt: 1_700_000_000,
  metainfo: parseHash('d'.repeat(40)),
  reflog: parseHash('e'.repeat(40)),
};

export function signedManifest(keys: Keys, changes: Partial<Manifest> = {}, algorithm: Algorithm = 'sha1'): Buffer {
  return sealLetter(serializeManifest({ ...MANIFEST, ...changes }), algorithm, (hash) => signManifestHash(hash, keys.certificatePrivate));
}

export function fingerprintOf(keys: Keys, algorithm: Algorithm = 'sha1'): ContentHash {
  return certificateFingerprint(parseCertificate(keys.certificate), algorithm);
}

export function signedWhitelist(keys: Keys, changes: Partial<Omit<Whitelist, 'validUntil'>> = {}, algorithm: Algorithm = 'sha1'): Buffer {
  const text = serializeWhitelist({
    created: new Date('2026-01-01T00:00:00Z'),
    expires: new Date('2026-01-31T12:59:00Z'),
    fqrn: 'sw.example.org',
    fingerprints: [fingerprintOf(keys, algorithm)],
    ...changes,
  });
  return sealLetter(text, algorithm, (hash) => signWhitelistHash(hash, keys.masterPrivate));
}
