/**
 * The manifest `.cvmfspublished`: the root pointer of a repository (spec 1.2). Lines of one letter and a value, in any
 * order, up to the line `--`; letter.ts has what follows.
 *
 *     C<hash>  root catalog           B<bytes>   its size, decompressed     R<md5>   MD5 of the root path, always that of ""
 *     D<s>     TTL, seconds           S<number>  revision                   G, A     yes/no: collectable, alternative paths
 *     N<fqrn>  repository name        X<hash>    certificate                H<hash>  history
 *     T<unix>  time of publishing     M<hash>    metainfo                   Y<hash>  reflog     L<hash>  micro catalog
 *
 * Unknown letters are skipped, a letter that repeats counts as its last line (Z: all of them). C, R, D and S must be there.
 */
import { Failure } from '../error';
import { formatHash, isNullHash, parseHash } from './hash';
import type { ContentHash } from './hash';
import { letterText } from './letter';
import type { Refuse } from './letter';

export interface Manifest {
  readonly rootHash: ContentHash;
  /** Bytes of the decompressed root catalog; 0 where it is not said. */
  readonly rootSize: number;
  readonly ttlSeconds: number;
  readonly revision: number;
  readonly garbageCollectable: boolean;
  /** The storage also has the root objects under `.cvmfsalt-<hash><letter>`. */
  readonly alternativePath: boolean;
  readonly fqrn?: string;
  readonly certificate?: ContentHash;
  readonly history?: ContentHash;
  /** Unix seconds; 0 where it is not said. */
  readonly publishedAt: number;
  readonly metainfo?: ContentHash;
  readonly reflog?: ContentHash;
  readonly microCatalog?: ContentHash;
  /** Reserved lines `Z` of old versions. */
  readonly channelTips?: readonly string[];
}

export const ROOT_PATH_MD5 = 'd41d8cd98f00b204e9800998ecf8427e';
export const MAX_MANIFEST_BYTES = 64 * 1024;

/** `bytes` is the file or the signed part of it. MANIFEST_INVALID, or what `refuse` makes, says what is wrong. */
export function parseManifest(bytes: Buffer, refuse: Refuse = (why) => new Failure('MANIFEST_INVALID', `manifest: ${why}`)): Manifest {
  if (bytes.length > MAX_MANIFEST_BYTES) throw refuse(`it is longer than ${MAX_MANIFEST_BYTES} bytes`);
  const values = new Map<string, string>();
  const tips: string[] = [];
  for (const line of letterText(bytes).toString('utf8').split('\n')) {
    if (line === '--') break;
    if (line === '') continue;
    if (line[0] === 'Z') tips.push(line.slice(1));
    else values.set(line[0]!, line.slice(1));
  }
  const missing = ['C', 'R', 'D', 'S'].filter((letter) => !values.has(letter));
  if (missing.length > 0) {
    const begin = JSON.stringify(bytes.toString('latin1', 0, 40));
    throw refuse(`it is incomplete, without ${missing.join(', ')}`, `see whether the address is that of a repository: the file begins with ${begin}`);
  }
  if (values.get('R') !== ROOT_PATH_MD5) throw refuse('it is for a part of a repository (R is not the MD5 of the empty path)');

  const hash = (letter: string): ContentHash | undefined => {
    const text = values.get(letter);
    if (text === undefined) return undefined;
    try {
      return parseHash(text);
    } catch (error) {
      throw refuse(`line ${letter}: ${Failure.from(error).what}`);
    }
  };
  const number = (letter: string): number => {
    const text = values.get(letter) ?? '0';
    const value = Number(text);
    if (!/^[0-9]{1,20}$/.test(text) || !Number.isSafeInteger(value)) {
      throw refuse(`line ${letter} is not a number we can count to: ${JSON.stringify(text.slice(0, 40))}`);
    }
    return value;
  };
  const rootHash = hash('C')!;
  if (isNullHash(rootHash)) throw refuse('it has no root catalog');
  const [certificate, history, metainfo, reflog, microCatalog] = [hash('X'), hash('H'), hash('M'), hash('Y'), hash('L')];
  const fqrn = values.get('N');
  return {
    rootHash,
    rootSize: number('B'),
    ttlSeconds: number('D'),
    revision: number('S'),
    garbageCollectable: values.get('G') === 'yes',
    alternativePath: values.get('A') === 'yes',
    ...(fqrn === undefined ? {} : { fqrn }),
    ...(certificate === undefined ? {} : { certificate }),
    ...(history === undefined ? {} : { history }),
    publishedAt: number('T'),
    ...(metainfo === undefined ? {} : { metainfo }),
    ...(reflog === undefined ? {} : { reflog }),
    ...(microCatalog === undefined ? {} : { microCatalog }),
    ...(tips.length === 0 ? {} : { channelTips: tips }),
  };
}

/** The text to sign, lines in the order in which the stock publisher writes them. */
export function serializeManifest(manifest: Manifest): Buffer {
  const yesNo = (value: boolean): string => (value ? 'yes' : 'no');
  const optional = (letter: string, value: string | undefined): string[] => (value === undefined ? [] : [letter + value]);
  const hash = (letter: string, value: ContentHash | undefined): string[] => optional(letter, value && formatHash(value));
  const lines = [
    `C${formatHash(manifest.rootHash)}`,
    `B${manifest.rootSize}`,
    `R${ROOT_PATH_MD5}`,
    `D${manifest.ttlSeconds}`,
    `S${manifest.revision}`,
    `G${yesNo(manifest.garbageCollectable)}`,
    `A${yesNo(manifest.alternativePath)}`,
    ...hash('L', manifest.microCatalog),
    ...optional('N', manifest.fqrn),
    ...hash('X', manifest.certificate),
    ...hash('H', manifest.history),
    ...(manifest.publishedAt > 0 ? [`T${manifest.publishedAt}`] : []),
    ...hash('M', manifest.metainfo),
    ...hash('Y', manifest.reflog),
    ...(manifest.channelTips ?? []).map((tip) => `Z${tip}`),
  ];
  return Buffer.from(lines.map((line) => `${line}\n`).join(''));
}
