/** Which revision is mounted when not the newest (spec 5.4): chosen by flag, parameter or configuration file. */
import { Failure } from '../error';
import { LAYERS, type Field, type Found, type LayeredValues } from './layered-values';
import { CATALOG_HASH, type FixedRevision } from './repository-config';
import { parseDate } from './value-types';

/** The strongest layer that fixes a revision; within one: root hash, tag, date (spec 5.2). Throws INVALID_ARGUMENT for flags. */
export function fixedRevision(values: LayeredValues, { tag, rootHash }: { readonly tag?: string | undefined; readonly rootHash?: string | undefined }): FixedRevision {
  if (tag !== undefined && rootHash !== undefined) throw new Failure('INVALID_ARGUMENT', '--tag and --root-hash exclude each other', { next: 'give one of them' });
  if (tag === '') throw new Failure('INVALID_ARGUMENT', '--tag is empty');
  if (rootHash !== undefined && !CATALOG_HASH.test(rootHash)) throw new Failure('INVALID_ARGUMENT', `--root-hash "${rootHash.slice(0, 80)}" is not a catalog hash`, { next: 'it has 40 hexadecimal digits' });
  const take = <T>(field: Field, found: Found<T> | undefined, make: (value: T) => FixedRevision): FixedRevision | undefined => {
    if (found !== undefined) values.note(field, found);
    return found === undefined ? undefined : make(found.value);
  };
  const byHash = (hash: string): FixedRevision => ({ kind: 'rootHash', hash });
  const byTag = (name: string): FixedRevision => ({ kind: 'tag', name });
  const byDate = (unixSeconds: number): FixedRevision => ({ kind: 'date', unixSeconds });
  if (tag !== undefined) return take('tag', { value: tag, origin: { kind: 'flag', flag: '--tag' }, layer: 4 }, byTag)!;
  if (rootHash !== undefined) return take('rootHash', { value: rootHash, origin: { kind: 'flag', flag: '--root-hash' }, layer: 4 }, byHash)!;
  for (const layer of LAYERS) {
    const fixed =
      take('rootHash', values.at(layer, 'rootHash', 'CVMFS_ROOT_HASH', (value) => (CATALOG_HASH.test(value) ? value : undefined)), byHash) ??
      take('tag', values.at(layer, 'tag', 'CVMFS_REPOSITORY_TAG', (value) => value), byTag) ??
      take('date', values.at(layer, 'date', 'CVMFS_REPOSITORY_DATE', parseDate), byDate);
    if (fixed !== undefined) return fixed;
  }
  return { kind: 'trunk' };
}
