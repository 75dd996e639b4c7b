/** The master public keys of a repository as texts: they are read here, by who may, and travel to the server (spec 3.3). */
import * as crypto from 'node:crypto';
import { Failure } from '../error';
import { LAYERS, type Found, type LayeredValues } from './layered-values';
import { originText, type Origin } from './origin';
import { substitute } from './parameters';

/**
 * The strongest layer that names keys; within one, files win over a folder. One key that can not be read fails the whole,
 * with KEY_INVALID; none at all with CONFIG_INVALID.
 */
export function readPublicKeys(values: LayeredValues, flag: readonly string[] | undefined): string[] {
  if (flag !== undefined && flag.length > 0) return keyFiles(values, { value: flag, origin: { kind: 'flag', flag: '--public-key' }, layer: 4 });
  for (const layer of LAYERS) {
    const keys = values.at(layer, 'publicKeys', 'CVMFS_PUBLIC_KEY', (value): readonly string[] => value.split(':').filter((name) => name !== ''));
    if (keys !== undefined && keys.value.length > 0) return keyFiles(values, { ...keys, value: keys.value.map((key) => substitute(key, values.fqrn)) });
    const dir = values.at(layer, 'keysDir', 'CVMFS_KEYS_DIR', (value) => value);
    if (dir !== undefined) return keyFolder(values, { ...dir, value: substitute(dir.value, values.fqrn) });
  }
  throw new Failure('CONFIG_INVALID', `no master public key is configured for ${values.fqrn}`, {
    next: `give --public-key FILE, public_keys in [repositories."${values.fqrn}"], or CVMFS_PUBLIC_KEY`,
  });
}

function keyFiles(values: LayeredValues, found: Found<readonly string[]>): string[] {
  values.note('publicKeys', found);
  return found.value.map((file) => readKey(values, file, found.origin));
}

function keyFolder(values: LayeredValues, found: Found<string>): string[] {
  values.note('keysDir', found);
  const names = values.files.list(found.value).filter((name) => name.endsWith('.pub'));
  if (names.length === 0) throw new Failure('KEY_INVALID', `${originText(found.origin)}: no *.pub file in ${found.value}`, { next: 'put the repository’s master public key there' });
  return names.map((name) => readKey(values, `${found.value}/${name}`, found.origin));
}

function readKey(values: LayeredValues, file: string, origin: Origin): string {
  const text = values.read(file, origin, 'KEY_INVALID', 'public key');
  const invalid = (why: string): Failure => new Failure('KEY_INVALID', `${file} (${originText(origin)}) ${why}`, { next: 'give the master public key, a PEM file that begins with -----BEGIN PUBLIC KEY-----' });
  // It would travel to an unprivileged process and be read as its public half.
  if (text.includes('PRIVATE KEY-----')) throw invalid('holds a private key');
  try {
    if (crypto.createPublicKey(text).asymmetricKeyType !== 'rsa') throw invalid('is not an RSA key');
  } catch (error) {
    throw error instanceof Failure ? error : invalid('is not a public key');
  }
  return text;
}
