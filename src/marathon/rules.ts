/** What shapes cannot say: rules between members. Those of Marathon are from its AppValidation, PodsValidation, NetworkValidation. */
import { isObject } from './check-shape';
import type { Problem } from './check-shape';
import { appsOf } from './documents';
import type { Kind } from './documents';
import type { Json } from './json-text';
import { checkApp } from './rules-app';
import { checkPod } from './rules-pod';
import { at } from './rules-shared';
import type { Wrong } from './rules-shared';

/** `facade` counts in the length of a pod's image. Expects a value that its shape allows. */
export function checkRules(value: Json, kind: Kind, facade: string): Problem[] {
  const problems: Problem[] = [];
  const wrong: Wrong = (pointer, text, next) => void problems.push({ pointer, text, ...(next === undefined ? {} : { next }) });
  const apps = appsOf(value, kind);
  for (const { pointer, app } of apps) checkApp(app, pointer, wrong);
  if (kind === 'pod' && isObject(value)) checkPod(value, facade, wrong);
  const seen = new Set<string>();
  for (const { pointer, app } of apps) {
    const id = String(app['id']);
    // A relative id is relative to its group.
    const place = id.startsWith('/') ? id : `${pointer.replace(/\/[0-9]+$/, '')}:${id}`;
    if (seen.has(place)) wrong(at(pointer, 'id'), `another app here has the id ${id} too`);
    seen.add(place);
  }
  return problems;
}
