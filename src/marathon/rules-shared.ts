/** Rules that apps and pods have in common. */
import { Failure } from '../error';
import { isObject } from './check-shape';
import { facadePath } from './image-name';
import type { ImageRequest } from './image-name';
import { pointerTo } from './json-text';
import type { Json, JsonObject } from './json-text';
import { isOriginalLabel } from './original-labels';

export type Wrong = (pointer: string, text: string, next?: string) => void;

export const objectAt = (holder: JsonObject, name: string): JsonObject | undefined => (isObject(holder[name]) ? (holder[name] as JsonObject) : undefined);
export const objectsAt = (holder: JsonObject, name: string): JsonObject[] => (Array.isArray(holder[name]) ? (holder[name] as Json[]).filter(isObject) : []);
export const at = (pointer: string, ...steps: Array<string | number>): string => steps.reduce<string>((place, step) => pointerTo(place, step), pointer);

export function modesOf(holder: JsonObject): string[] {
  return objectsAt(holder, 'networks').map(({ mode }) => (typeof mode === 'string' ? mode : 'container'));
}

export function checkNetworks(holder: JsonObject, pointer: string, wrong: Wrong): void {
  const modes = modesOf(holder);
  objectsAt(holder, 'networks').forEach((network, index) => {
    const place = at(pointer, 'networks', index);
    if (modes[index] === 'host' && (Object.hasOwn(network, 'name') || Object.keys(objectAt(network, 'labels') ?? {}).length > 0)) wrong(place, 'the host network has neither a name nor labels');
    if (modes[index] === 'container/bridge' && Object.hasOwn(network, 'name')) wrong(at(place, 'name'), 'the bridge network has no name', 'use the mode container for a named network');
    const before = objectsAt(holder, 'networks').slice(0, index);
    if (modes[index] === 'container' && before.some((other, which) => modes[which] === 'container' && other['name'] === network['name'])) wrong(place, 'stands in the list twice');
  });
  if (modes.length > 1 && modes.some((mode) => mode !== 'container')) wrong(at(pointer, 'networks'), 'only networks of the mode container may be several');
}

export function checkSecret(name: Json | undefined, place: string, secrets: readonly string[], wrong: Wrong): void {
  if (typeof name === 'string' && !secrets.includes(name)) wrong(place, `names the secret ${JSON.stringify(name)}, which is not among secrets`, secrets.length === 0 ? 'add it to the member secrets' : `declared are ${secrets.join(', ')}`);
}

/** Variables may be secrets. */
export function checkEnvironment(variables: JsonObject | undefined, pointer: string, secrets: readonly string[], wrong: Wrong): void {
  for (const [name, value] of Object.entries(variables ?? {})) if (isObject(value)) checkSecret(value['secret'], at(pointer, name, 'secret'), secrets, wrong);
}

export function checkLabels(holder: JsonObject, pointer: string, wrong: Wrong): void {
  for (const name of Object.keys(objectAt(holder, 'labels') ?? {})) if (isOriginalLabel(name)) wrong(at(pointer, 'labels', name), 'this label belongs to mesos-cvmfs, which keeps the original in it', 'remove it');
}

/** The image's name for the agent; undefined when it has none. */
export function checkImage(request: ImageRequest, place: string, wrong: Wrong): string | undefined {
  try {
    return facadePath(request);
  } catch (error) {
    const { what, next } = Failure.from(error);
    wrong(place, what, next);
    return undefined;
  }
}

/** A check that is asked again before its answer is due would overtake itself. */
export function checkPace(check: JsonObject, place: string, intervalSeconds: number, timeoutSeconds: number, wrong: Wrong): void {
  const seconds = (name: string, fallback: number): number => (typeof check[name] === 'number' ? (check[name] as number) : fallback);
  const [interval, timeout] = [seconds('intervalSeconds', intervalSeconds), seconds('timeoutSeconds', timeoutSeconds)];
  if (timeout >= interval) wrong(place, `timeoutSeconds (${timeout}) is not less than intervalSeconds (${interval})`);
}
