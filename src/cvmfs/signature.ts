/**
 * The two RSA signatures of a repository (spec 3.2, 3.3), both over the printed hash of a letter, PKCS #1 v1.5 type 1:
 *
 *     manifest    DigestInfo(SHA-1) + SHA-1(printed hash), by the certificate's key
 *     whitelist   the printed hash itself, by a master key
 *
 * Both are done as the raw operation with an exact comparison of what comes out. For the manifest that is what a SHA-1
 * signature is, and it also works where OpenSSL's policy forbids SHA-1 signatures (RHEL 9), with one way for all hosts.
 */
import { constants, createHash, privateEncrypt, publicDecrypt } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

const SHA1_DIGEST_INFO = Buffer.from('3021300906052b0e03021a05000414', 'hex');

export function signManifestHash(hash: string, key: KeyObject): Buffer {
  return privateEncrypt({ key, padding: constants.RSA_PKCS1_PADDING }, manifestBlock(hash));
}

export function signWhitelistHash(hash: string, key: KeyObject): Buffer {
  return privateEncrypt({ key, padding: constants.RSA_PKCS1_PADDING }, Buffer.from(hash));
}

export function verifyManifestHash(hash: string, signature: Buffer, key: KeyObject): boolean {
  return signedBlockIs(manifestBlock(hash), signature, key);
}

export function verifyWhitelistHash(hash: string, signature: Buffer, key: KeyObject): boolean {
  return signedBlockIs(Buffer.from(hash), signature, key);
}

function manifestBlock(hash: string): Buffer {
  return Buffer.concat([SHA1_DIGEST_INFO, createHash('sha1').update(hash, 'latin1').digest()]);
}

function signedBlockIs(wanted: Buffer, signature: Buffer, key: KeyObject): boolean {
  if (key.asymmetricKeyType !== 'rsa') return false;
  try {
    return publicDecrypt({ key, padding: constants.RSA_PKCS1_PADDING }, signature).equals(wanted);
  } catch {
    // Wrong length or padding: not a signature of this key.
    return false;
  }
}
