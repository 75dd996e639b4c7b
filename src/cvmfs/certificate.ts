/**
 * The certificate whose key signs a repository's manifests (spec 1.4, 3.4): X.509 in PEM. It is trusted because the
 * whitelist has its fingerprint; its dates and issuer are not looked at, since self-signed and long expired ones are
 * common in the field, and for the stock client they are fine.
 */
import { X509Certificate } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { Failure } from '../error';
import { hashBytes } from './hash';
import type { Algorithm, ContentHash } from './hash';
import type { Refuse } from './letter';

export interface Certificate {
  /** An RSA key. */
  readonly publicKey: KeyObject;
  readonly der: Buffer;
  /** For messages: the subject, in one line. */
  readonly subject: string;
}

export const MAX_CERTIFICATE_BYTES = 64 * 1024;

export function parseCertificate(pem: Buffer, refuse: Refuse = (why) => new Failure('CERTIFICATE_INVALID', `certificate: ${why}`)): Certificate {
  if (pem.length > MAX_CERTIFICATE_BYTES) throw refuse(`it is longer than ${MAX_CERTIFICATE_BYTES} bytes`);
  if (!pem.includes('-----BEGIN CERTIFICATE-----')) throw refuse('it is not X.509 in PEM');
  let x509: X509Certificate;
  let publicKey: KeyObject;
  try {
    x509 = new X509Certificate(pem);
    publicKey = x509.publicKey;
  } catch (error) {
    throw refuse(`it is damaged (${error instanceof Error ? error.message : String(error)})`);
  }
  if (publicKey.asymmetricKeyType !== 'rsa') throw refuse(`its key is ${String(publicKey.asymmetricKeyType)}, and only RSA keys sign manifests`);
  return { publicKey, der: x509.raw, subject: x509.subject.replace(/\s+/g, ' ') };
}

export function certificateFingerprint(certificate: Certificate, algorithm: Algorithm): ContentHash {
  return hashBytes(algorithm, certificate.der);
}
