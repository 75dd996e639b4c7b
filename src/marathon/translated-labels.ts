/** Labels of what was translated: added, and taken off again without a trace. */
import { Failure } from '../error';
import { isObject } from './check-shape';
import type { Json, JsonObject } from './json-text';
import { isOriginalLabel, originalLabels } from './original-labels';

/** Says in the original that there was no member `labels` before. */
const NO_LABELS = 'no_labels';

/** The definition with the original in its labels. */
export function labelled(holder: JsonObject, original: JsonObject): JsonObject {
  const { labels } = holder;
  if (isObject(labels)) return replaceLabels(holder, { ...labels, ...originalLabels(original) });
  return { ...holder, labels: originalLabels({ ...original, [NO_LABELS]: true }) };
}

/** The definition without them. */
export function unlabelled(holder: JsonObject, original: JsonObject): JsonObject {
  const labels = Object.entries(isObject(holder['labels']) ? holder['labels'] : {}).filter(([name]) => !isOriginalLabel(name));
  if (labels.length > 0 || original[NO_LABELS] !== true) return replaceLabels(holder, Object.fromEntries(labels));
  return Object.fromEntries(Object.entries(holder).filter(([name]) => name !== 'labels'));
}

function replaceLabels(holder: JsonObject, labels: Json): JsonObject {
  return Object.fromEntries(Object.entries(holder).map(([name, held]) => (name === 'labels' ? [name, labels] : [name, held])));
}

/** Somebody edited the translated form: going back would undo that silently. */
export function changedImage(pointer: string, what: string): Failure {
  return new Failure('FAILED_PRECONDITION', `${pointer}: the image was changed after it had been translated: ${what}`, { next: 'change it in the original and translate that again' });
}
