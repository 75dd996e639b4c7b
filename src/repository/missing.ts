/**
 * How code that must not wait says what it lacks. The tree below is synchronous, so that a reader worker answers at once
 * everything that is local; where an object is not, it throws a `Missing`, and whoever may wait fetches the object and
 * asks again. The same code answers on both sides.
 */
import type { CacheKey } from '../cache/object-name';
import type { ObjectKind } from '../cvmfs/object';

/** One object that is needed, with all that is known of it beforehand. */
export interface ObjectNeed extends CacheKey {
  readonly kind: ObjectKind;
  /** Plain bytes, when the catalog says; null otherwise. */
  readonly plainSize: number | null;
  /** What it is for, in the words of a log: a path in the repository. */
  readonly what: string;
  /** Where an external file's bytes are: the path below an external server, and the range of a chunk (spec 2.4). */
  readonly external?: { readonly path: string; readonly range?: { readonly offset: number; readonly length: number } };
}

export class Missing extends Error {
  readonly need: ObjectNeed;

  constructor(need: ObjectNeed) {
    super(`missing ${need.what}`);
    this.need = need;
  }
}
