/** Which kind of definition a file holds, and the apps in it. */
import { isObject } from './check-shape';
import { app, apps, group } from './definitions-app';
import { pod } from './definitions-pod';
import { pointerTo } from './json-text';
import type { Json, JsonObject } from './json-text';
import type { Shape } from './shape';

/** `apps` is a list of them, as `PUT /v2/apps` takes it. */
export type Kind = 'app' | 'apps' | 'pod' | 'group';

export const SHAPES: Readonly<Record<Kind, Shape>> = { app, apps, pod, group };

export function kindOf(value: Json): Kind {
  if (Array.isArray(value)) return 'apps';
  if (!isObject(value)) return 'app';
  if (Object.hasOwn(value, 'containers')) return 'pod';
  if (!Object.hasOwn(value, 'apps') && !Object.hasOwn(value, 'groups')) return 'app';
  // An app that has a misspelt member is told so; a group has nothing of these.
  return ['container', 'cmd', 'args', 'instances'].some((name) => Object.hasOwn(value, name)) ? 'app' : 'group';
}

/** All apps of a document with their places, groups included; whatever is none is left out. */
export function appsOf(value: Json, kind: Kind, pointer = ''): Array<{ readonly pointer: string; readonly app: JsonObject }> {
  if (kind === 'app') return isObject(value) ? [{ pointer, app: value }] : [];
  if (kind === 'apps') return Array.isArray(value) ? value.flatMap((one: Json, at) => appsOf(one, 'app', pointerTo(pointer, at))) : [];
  if (kind === 'pod' || !isObject(value)) return [];
  const groups = value['groups'];
  const inner = Array.isArray(groups) ? groups.flatMap((one: Json, at) => appsOf(one, 'group', pointerTo(pointerTo(pointer, 'groups'), at))) : [];
  return [...(value['apps'] === undefined ? [] : appsOf(value['apps'], 'apps', pointerTo(pointer, 'apps'))), ...inner];
}

/** The document with every app replaced by what `change` makes of it. */
export function mapApps(value: Json, kind: Kind, change: (app: JsonObject, pointer: string) => JsonObject, pointer = ''): Json {
  if (kind === 'app') return isObject(value) ? change(value, pointer) : value;
  if (kind === 'apps') return Array.isArray(value) ? value.map((one: Json, at) => mapApps(one, 'app', change, pointerTo(pointer, at))) : value;
  if (kind === 'pod' || !isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, held]) => {
      const place = pointerTo(pointer, name);
      if (name === 'apps') return [name, mapApps(held, 'apps', change, place)];
      if (name === 'groups' && Array.isArray(held)) return [name, held.map((one: Json, at) => mapApps(one, 'group', change, pointerTo(place, at)))];
      return [name, held];
    }),
  );
}
