/**
 * The keys of a repository's owner (spec 3), in one folder of mode 0700 as PEM files:
 *
 *     <fqrn>.masterkey   RSA 2048, signs whitelists; belongs on a disk that is not in this computer
 *     <fqrn>.pub         its public half, which every client has
 *     <fqrn>.key         RSA 2048, signs manifests
 *     <fqrn>.crt         its self-signed certificate, whose fingerprint is on the whitelist
 */
import { createPrivateKey, createPublicKey, generateKeyPair } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { promisify } from 'node:util';
import * as forge from 'node-forge';
import { Failure } from '../error';
import { parseCertificate } from '../cvmfs/certificate';
import type { Certificate } from '../cvmfs/certificate';

const MODULUS_BITS = 2048;
/** Clients do not look at it; tools of the owner may. */
const CERTIFICATE_YEARS = 10;
const MAX_KEY_BYTES = 64 * 1024;

export interface SigningKeys {
  readonly key: KeyObject;
  readonly certificate: Certificate;
  /** The certificate's file, which becomes an object of the repository. */
  readonly certificatePem: Buffer;
}

function keyFile(directory: string, fqrn: string, kind: 'masterkey' | 'pub' | 'key' | 'crt'): string {
  return path.join(directory, `${fqrn}.${kind}`);
}

/** Makes all four files; ALREADY_EXISTS, and nothing is written, when one of them is there. */
export async function generateKeys(directory: string, fqrn: string, now: Date, random: (bytes: number) => Buffer): Promise<void> {
  for (const kind of ['masterkey', 'pub', 'key', 'crt'] as const) {
    const file = keyFile(directory, fqrn, kind);
    if (fs.existsSync(file))
      throw new Failure('ALREADY_EXISTS', `the key file ${file} exists`, {
        next: 'keys are never overwritten: choose another folder, or move them away',
      });
  }
  const generate = promisify(generateKeyPair);
  const [master, signing] = await Promise.all([generate('rsa', { modulusLength: MODULUS_BITS }), generate('rsa', { modulusLength: MODULUS_BITS })]);
  const privatePem = (key: KeyObject): string => key.export({ type: 'pkcs1', format: 'pem' }) as string;
  const write = (kind: 'masterkey' | 'pub' | 'key' | 'crt', text: string, mode: number): void =>
    fs.writeFileSync(keyFile(directory, fqrn, kind), text, { flag: 'wx', mode });
  fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
  write('masterkey', privatePem(master.privateKey), 0o400);
  write('pub', master.publicKey.export({ type: 'spki', format: 'pem' }) as string, 0o444);
  write('key', privatePem(signing.privateKey), 0o400);
  write('crt', selfSigned(privatePem(signing.privateKey), fqrn, now, random), 0o444);
}

function selfSigned(privatePem: string, fqrn: string, now: Date, random: (bytes: number) => Buffer): string {
  const key = forge.pki.privateKeyFromPem(privatePem);
  const certificate = forge.pki.createCertificate();
  certificate.publicKey = forge.pki.setRsaPublicKey(key.n, key.e);
  // Positive and without a leading zero, whatever the random bytes: DER has one form of each number, and OpenSSL refuses others.
  certificate.serialNumber = `01${random(15).toString('hex')}`;
  certificate.validity.notBefore = now;
  certificate.validity.notAfter = new Date(now);
  certificate.validity.notAfter.setUTCFullYear(now.getUTCFullYear() + CERTIFICATE_YEARS);
  const name = [{ name: 'commonName', value: `${fqrn} CernVM-FS Release Managers` }];
  certificate.setSubject(name);
  certificate.setIssuer(name);
  certificate.sign(key, forge.md.sha256.create());
  return forge.pki.certificateToPem(certificate);
}

/** What signs manifests. NOT_FOUND, KEY_INVALID. */
export function readSigningKeys(directory: string, fqrn: string): SigningKeys {
  const key = privateKey(keyFile(directory, fqrn, 'key'));
  const file = keyFile(directory, fqrn, 'crt');
  const certificatePem = read(file);
  const certificate = parseCertificate(certificatePem, (why) => new Failure('CERTIFICATE_INVALID', `the certificate ${file}: ${why}`));
  const own = createPublicKey(key).export({ type: 'spki', format: 'der' });
  if (!certificate.publicKey.export({ type: 'spki', format: 'der' }).equals(own)) {
    throw new Failure('KEY_INVALID', `the certificate ${file} is not for the key beside it`, {
      next: 'give the folder in which both belong together',
    });
  }
  return { key, certificate, certificatePem };
}

/** What signs whitelists. */
export function readMasterKey(directory: string, fqrn: string): KeyObject {
  return privateKey(keyFile(directory, fqrn, 'masterkey'));
}

/** The text of the master public key, undefined when it is not there. */
export function readPublicKey(directory: string, fqrn: string): string | undefined {
  const file = keyFile(directory, fqrn, 'pub');
  return fs.existsSync(file) ? read(file).toString() : undefined;
}

function privateKey(file: string): KeyObject {
  const pem = read(file);
  try {
    const key = createPrivateKey(pem);
    if (key.asymmetricKeyType !== 'rsa') throw new Error('it is not an RSA key');
    return key;
  } catch (err) {
    throw new Failure('KEY_INVALID', `the key ${file} cannot be used: ${(err as Error).message}`, { cause: err });
  }
}

function read(file: string): Buffer {
  let size: number;
  try {
    size = fs.statSync(file).size;
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === 'ENOENT')
      throw new Failure('NOT_FOUND', `the key file ${file} does not exist`, { next: 'see whether --keys and the repository name are right' });
    throw Failure.from(err, `cannot read ${file}`);
  }
  if (size > MAX_KEY_BYTES) throw new Failure('KEY_INVALID', `${file} has ${size} bytes and is no key`);
  return fs.readFileSync(file);
}
