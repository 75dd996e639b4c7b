import * as fs from 'node:fs';
import * as path from 'node:path';
import { createSign, createVerify, generateKeyPairSync, privateEncrypt, publicDecrypt, constants } from 'node:crypto';
import { Failure } from '../../../src/error';
import type { Code } from '../../../src/error';
import { parseCertificate } from '../../../src/cvmfs/certificate';
import { formatFingerprint } from '../../../src/cvmfs/fingerprint';
import { hashBytes, parseHash, sameHash } from '../../../src/cvmfs/hash';
import type { Algorithm } from '../../../src/cvmfs/hash';
import { inflateBounded } from '../../../src/cvmfs/inflate';
import { openLetter, sealLetter } from '../../../src/cvmfs/letter';
import { parseManifest, serializeManifest } from '../../../src/cvmfs/manifest';
import { objectPath } from '../../../src/cvmfs/object';
import { checkManifest, verifyTrust } from '../../../src/cvmfs/trust';
import type { TrustInput } from '../../../src/cvmfs/trust';
import { parseWhitelist, serializeWhitelist } from '../../../src/cvmfs/whitelist';
import { describeWithFixtures } from '../../support/fixtures';
import { MANIFEST, fingerprintOf, makeKeys, signedManifest, signedWhitelist } from './signer';

const keys = makeKeys();
const others = makeKeys();
const NOW = new Date('2026-01-15T00:00:00Z');
const refuse = (why: string): Failure => new Failure('MANIFEST_INVALID', why);

function input(changes: Partial<TrustInput> = {}): TrustInput {
  return {
    source: 's1.example.org',
    fqrn: 'sw.example.org',
    manifest: signedManifest(keys),
    whitelist: signedWhitelist(keys),
    certificate: keys.certificate,
    masterKeys: [keys.masterPublic],
    blacklists: [],
    now: NOW,
    ...changes,
  };
}

function failureOf(changes: Partial<TrustInput>): Failure {
  try {
    verifyTrust(input(changes));
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error('it was accepted');
}

function flip(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at]! ^= 1;
  return copy;
}

describe('the trust chain', () => {
  it.each<Algorithm>(['sha1', 'rmd160', 'shake128'])('accepts a repository of %s', (algorithm) => {
    const trusted = verifyTrust(input({ manifest: signedManifest(keys, {}, algorithm), whitelist: signedWhitelist(keys, {}, algorithm) }));
    expect(trusted.manifest).toEqual(MANIFEST);
    expect(trusted.whitelist.validUntil).toEqual(new Date('2026-01-31T12:00:00Z'));
    expect(trusted.certificate.subject).toContain('sw.example.org');
  });

  it('accepts when one of several master keys signed', () => {
    expect(verifyTrust(input({ masterKeys: [others.masterPublic, keys.masterPublic] })).manifest.revision).toBe(17);
  });

  it('accepts the signatures that OpenSSL makes, and makes those that it accepts', () => {
    const letter = openLetter(signedManifest(keys), refuse);
    expect(createVerify('RSA-SHA1').update(letter.hash).verify(parseCertificate(keys.certificate).publicKey, letter.signature)).toBe(true);
    const manifest = sealLetter(serializeManifest(MANIFEST), 'sha1', (hash) => createSign('RSA-SHA1').update(hash).sign(keys.certificatePrivate));
    const whitelistLetter = openLetter(signedWhitelist(keys), refuse);
    expect(publicDecrypt({ key: keys.masterPublic, padding: constants.RSA_PKCS1_PADDING }, whitelistLetter.signature).toString()).toBe(whitelistLetter.hash);
    expect(verifyTrust(input({ manifest })).manifest.revision).toBe(17);
  });

  describe('refuses', () => {
    const manifest = signedManifest(keys);
    const whitelist = signedWhitelist(keys);
    const cut = (bytes: Buffer): number => bytes.indexOf('\n--\n');
    const otherHash = (algorithm: Algorithm, text: Buffer): string => `${hashBytes(algorithm, text).digest.toString('hex')}`;
    const cases: Array<[string, Partial<TrustInput>, Code, string]> = [
      ['a manifest with a flipped bit in its text', { manifest: flip(manifest, 5) }, 'MANIFEST_INVALID', 'manifest'],
      ['a manifest with a flipped bit in its hash line', { manifest: flip(manifest, cut(manifest) + 10) }, 'MANIFEST_INVALID', 'manifest'],
      ['a manifest with a flipped bit in its signature', { manifest: flip(manifest, manifest.length - 9) }, 'MANIFEST_INVALID', 'signature'],
      ['a manifest signed by another key', { manifest: signedManifest(others) }, 'MANIFEST_INVALID', 'signature'],
      ['a manifest with something after its signature', { manifest: Buffer.concat([manifest, Buffer.of(0)]) }, 'MANIFEST_INVALID', 'signature'],
      ['a manifest cut short in its signature', { manifest: manifest.subarray(0, -1) }, 'MANIFEST_INVALID', 'signature'],
      ['a manifest without a signature', { manifest: manifest.subarray(0, cut(manifest) + 4 + 41) }, 'MANIFEST_INVALID', 'signature'],
      ['a manifest without a hash line', { manifest: manifest.subarray(0, cut(manifest) + 1) }, 'MANIFEST_INVALID', 'signature'],
      ['a web page', { manifest: Buffer.from('<html>Please log in</html>\n') }, 'MANIFEST_INVALID', 'incomplete'],
      ['an empty manifest', { manifest: Buffer.alloc(0) }, 'MANIFEST_INVALID', 'incomplete'],
      ['a manifest of another repository', { manifest: signedManifest(keys, { fqrn: 'other.example.org' }) }, 'MANIFEST_INVALID', 'other.example.org'],
      ['a manifest with no name', { manifest: signedManifest(keys, { fqrn: undefined } as never) }, 'MANIFEST_INVALID', 'name'],
      ['a manifest with no certificate', { manifest: signedManifest(keys, { certificate: undefined } as never) }, 'MANIFEST_INVALID', 'certificate'],
      ['a manifest with a null root', { manifest: signedManifest(keys, { rootHash: parseHash('0'.repeat(40)) }) }, 'MANIFEST_INVALID', 'root catalog'],
      ['an older manifest than the one known', { previousTimestamp: 1_700_000_001 }, 'MANIFEST_OUTDATED', 'outdated'],
      [
        'a manifest signed over the digest, not over the printed hash',
        { manifest: sealLetter(serializeManifest(MANIFEST), 'sha1', () => createSign('RSA-SHA1').update(serializeManifest(MANIFEST)).sign(keys.certificatePrivate)) },
        'MANIFEST_INVALID',
        'signature',
      ],
      [
        'a manifest signed as a whitelist is',
        { manifest: sealLetter(serializeManifest(MANIFEST), 'sha1', (hash) => privateEncrypt({ key: keys.certificatePrivate, padding: constants.RSA_PKCS1_PADDING }, Buffer.from(hash))) },
        'MANIFEST_INVALID',
        'signature',
      ],
      ['a certificate that is none', { certificate: Buffer.from('hello') }, 'CERTIFICATE_INVALID', 'PEM'],
      ['an empty certificate', { certificate: Buffer.alloc(0) }, 'CERTIFICATE_INVALID', 'PEM'],
      ['a damaged certificate', { certificate: flip(keys.certificate, 200) }, 'CERTIFICATE_INVALID', 'damaged'],
      ['a certificate that is not listed', { whitelist: signedWhitelist(keys, { fingerprints: [fingerprintOf(others)] }) }, 'CERTIFICATE_INVALID', 'not on the whitelist'],
      ['a whitelist that lists nobody', { whitelist: signedWhitelist(keys, { fingerprints: [] }) }, 'CERTIFICATE_INVALID', 'not on the whitelist'],
      ['an empty whitelist', { whitelist: Buffer.alloc(0) }, 'WHITELIST_INVALID', 'empty'],
      ['a whitelist of another repository', { whitelist: signedWhitelist(keys, { fqrn: 'sw.example.com' }) }, 'WHITELIST_INVALID', 'sw.example.com'],
      ['a whitelist signed by another master', { whitelist: signedWhitelist(others, { fingerprints: [fingerprintOf(keys)] }) }, 'WHITELIST_INVALID', 'master keys'],
      ['a whitelist with a flipped bit in its text', { whitelist: flip(whitelist, 60) }, 'WHITELIST_INVALID', 'whitelist'],
      ['a whitelist with a flipped bit in its hash line', { whitelist: flip(whitelist, cut(whitelist) + 10) }, 'WHITELIST_INVALID', 'whitelist'],
      ['a whitelist with a flipped bit in its signature', { whitelist: flip(whitelist, whitelist.length - 9) }, 'WHITELIST_INVALID', 'master keys'],
      ['a whitelist with the hash of another algorithm', { whitelist: Buffer.from(whitelist.toString('latin1').replace(/\n--\n[0-9a-f]{40}/, `\n--\n${otherHash('rmd160', whitelist)}-rmd160`), 'latin1') }, 'WHITELIST_INVALID', 'hash'],
      [
        'a whitelist signed with a DigestInfo',
        { whitelist: sealLetter(serializeWhitelist(parseWhitelist(whitelist)), 'sha1', (hash) => createSign('RSA-SHA1').update(hash).sign(keys.masterPrivate)) },
        'WHITELIST_INVALID',
        'master keys',
      ],
      ['a whitelist in its last hour', { now: new Date('2026-01-31T12:00:00Z') }, 'WHITELIST_EXPIRED', 'expired'],
      ['an expired whitelist, also when its signature is wrong', { now: new Date('2026-02-01T00:00:00Z'), whitelist: flip(whitelist, whitelist.length - 9) }, 'WHITELIST_EXPIRED', 'clock'],
      ['a whitelist for PKCS#7', { whitelist: Buffer.from(whitelist.toString('latin1').replace(/(N[^\n]*\n)/, '$1Vpkcs7\n'), 'latin1') }, 'WHITELIST_INVALID', 'PKCS#7'],
      ['a whitelist for a certification authority', { whitelist: Buffer.from(whitelist.toString('latin1').replace(/(N[^\n]*\n)/, '$1Wcachain\n'), 'latin1') }, 'WHITELIST_INVALID', 'Wcachain'],
      ['a whitelist with a time that is none', { whitelist: Buffer.from('20260101000000\nE20261301000000\nNsw.example.org\n--\n') }, 'WHITELIST_INVALID', 'expires'],
      ['a blacklisted certificate', { blacklists: ['# none\n', `# bad\n${formatFingerprint(fingerprintOf(keys, 'shake128'))} leaked\n`] }, 'BLACKLISTED', 'blacklist'],
      ['a blacklisted revision', { blacklists: ['<sw.example.org 18\n'] }, 'BLACKLISTED', '18'],
      ['everything without a master key', { masterKeys: [] }, 'KEY_INVALID', 'master'],
      ['everything with an unreadable master key among good ones', { masterKeys: [keys.masterPublic, 'nonsense'] }, 'KEY_INVALID', 'key 2'],
      ['a private key as master key', { masterKeys: [keys.masterPrivate.export({ type: 'pkcs8', format: 'pem' }) as string] }, 'KEY_INVALID', 'private'],
      ['an elliptic master key', { masterKeys: [generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ type: 'spki', format: 'pem' }) as string] }, 'KEY_INVALID', 'RSA'],
    ];
    it.each(cases)('%s', (_what, changes, code, word) => {
      const failure = failureOf(changes);
      expect({ code: failure.code, message: failure.message }).toEqual({ code, message: expect.stringContaining(word) as string });
      expect(failure.message).toContain('sw.example.org');
      expect(failure.next).toBeTruthy();
      if (code !== 'KEY_INVALID') expect(failure.message).toContain('s1.example.org');
    });
  });

  it('is valid until the last moment before the hour of expiry', () => {
    expect(verifyTrust(input({ now: new Date('2026-01-31T11:59:59.999Z') })).manifest.revision).toBe(17);
  });

  it('accepts the lowest revision that the blacklist allows, and other repositories’ limits', () => {
    expect(verifyTrust(input({ blacklists: ['<sw.example.org 17\n<sw.example.com 99\n'] })).manifest.revision).toBe(17);
  });

  it('accepts the manifest published at the very time that is known', () => {
    expect(checkManifest(input({ previousTimestamp: 1_700_000_000 })).revision).toBe(17);
  });
});

describeWithFixtures('the trust chain of the real tools', (dir) => {
  it.each(['golden.cvmfs.test', 'golden-plain.cvmfs.test', 'golden-shake128.cvmfs.test', 'images.golden.test'])('of %s is accepted, and written back the same', (fqrn) => {
    const read = (name: string): Buffer => fs.readFileSync(path.join(dir, fqrn, name));
    const manifest = read('.cvmfspublished');
    const whitelist = read('.cvmfswhitelist');
    const { certificate } = checkManifest({ source: 'fixture', fqrn, manifest });
    const stored = read(objectPath({ hash: certificate, kind: 'certificate', compression: 'zlib' }));
    expect(sameHash(hashBytes(certificate.algorithm, stored), certificate)).toBe(true);
    const given: TrustInput = {
      source: 'fixture',
      fqrn,
      manifest,
      whitelist,
      certificate: inflateBounded(stored, 65536),
      masterKeys: [read(`${fqrn}.pub`).toString()],
      blacklists: [],
      now: new Date('2030-01-01T00:00:00Z'),
    };
    const trusted = verifyTrust(given);
    expect(trusted.manifest.fqrn).toBe(fqrn);
    expect(serializeManifest(trusted.manifest).toString()).toBe(openLetter(manifest, refuse).text.toString());
    expect(serializeWhitelist(trusted.whitelist).toString()).toBe(openLetter(whitelist, refuse).text.toString().replace(/ #.*/g, ''));
    expect(parseManifest(manifest)).toEqual(trusted.manifest);
    expect(() => verifyTrust({ ...given, now: new Date('2040-01-01T00:00:00Z') })).toThrow(expect.objectContaining({ code: 'WHITELIST_EXPIRED' }));
    for (const at of [3, manifest.indexOf('\n--\n') + 9, manifest.length - 1]) expect(() => verifyTrust({ ...given, manifest: flip(manifest, at) })).toThrow(Failure);
    for (const at of [50, whitelist.indexOf('\n--\n') + 9, whitelist.length - 1]) expect(() => verifyTrust({ ...given, whitelist: flip(whitelist, at) })).toThrow(Failure);
  });
});
