/**
 * The original of a translated image, kept in labels for the way back. Marathon hands labels to tasks as variables as long
 * as the value has fewer than 512 characters (its EnvironmentHelper), so a longer original is cut into several:
 *
 *     MESOS_CVMFS_ORIGINAL     {"cvmfs":{"repository":"images.example.org","path":"/apps/web"}}
 *     MESOS_CVMFS_ORIGINAL_2   …
 *
 * Only ASCII stands in them; other characters are JSON escapes.
 */
import { Failure } from '../error';
import { isObject } from './check-shape';
import { parseJsonText } from './json-text';
import type { Json, JsonObject } from './json-text';

export const ORIGINAL_LABEL = 'MESOS_CVMFS_ORIGINAL';
export const LABEL_CHARACTERS_MAX = 511;
/** A path of 4096 bytes, each of them an escape, and the rest. */
export const LABELS_MAX = 64;

const IS_ORIGINAL = new RegExp(`^${ORIGINAL_LABEL}(_[0-9]+)?$`);

export function isOriginalLabel(name: string): boolean {
  return IS_ORIGINAL.test(name);
}

/** INVALID_ARGUMENT when it does not fit. */
export function originalLabels(original: JsonObject): Record<string, string> {
  const text = JSON.stringify(original).replace(/[^\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
  const labels: Record<string, string> = {};
  for (let part = 1; (part - 1) * LABEL_CHARACTERS_MAX < text.length; part++) {
    if (part > LABELS_MAX) throw new Failure('INVALID_ARGUMENT', `the image takes ${text.length} characters to keep, and ${LABELS_MAX * LABEL_CHARACTERS_MAX} are allowed`, { next: 'give the image a shorter path' });
    labels[part === 1 ? ORIGINAL_LABEL : `${ORIGINAL_LABEL}_${part}`] = text.slice((part - 1) * LABEL_CHARACTERS_MAX, part * LABEL_CHARACTERS_MAX);
  }
  return labels;
}

/** The original in these labels, undefined when there is none. INVALID_ARGUMENT when it was damaged. */
export function originalIn(labels: JsonObject): JsonObject | undefined {
  if (!Object.keys(labels).some(isOriginalLabel)) return undefined;
  let text = '';
  for (let part = 1; part <= LABELS_MAX; part++) {
    const held = labels[part === 1 ? ORIGINAL_LABEL : `${ORIGINAL_LABEL}_${part}`];
    if (typeof held !== 'string') break;
    text += held;
  }
  let original: Json;
  try {
    original = parseJsonText(text, `the label ${ORIGINAL_LABEL}`).value;
  } catch (error) {
    throw damaged(Failure.from(error).what);
  }
  if (!isObject(original)) throw damaged('no object');
  return original;
}

export function damaged(why: string): Failure {
  return new Failure('INVALID_ARGUMENT', `the label ${ORIGINAL_LABEL} does not hold what translate wrote: ${why}`, { next: 'go back from the file that you keep, not from what was changed by hand' });
}
