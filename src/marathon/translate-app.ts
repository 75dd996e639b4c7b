/**
 * An app with `container.cvmfs` as stock Marathon takes it, and back:
 *
 *     "container": {"type": "MESOS", "cvmfs": {"repository": "images.example.org", "path": "/apps/web:3"}}
 *     "container": {"type": "MESOS", "docker": {"image": "127.0.0.1:61080/images.example.org/apps/web:3"}}
 *
 * Members keep their order and everything else stays what it is, so that the way back gives the very same text.
 */
import { isDeepStrictEqual } from 'node:util';
import { isObject } from './check-shape';
import { facadePath } from './image-name';
import type { ImageRequest } from './image-name';
import type { Json, JsonObject } from './json-text';
import { damaged, originalIn } from './original-labels';
import { changedImage, labelled, unlabelled } from './translated-labels';

/** Expects an app that `validate` has passed. Without `container.cvmfs` the app is answered as it is. */
export function translateApp(app: JsonObject, facade: string): JsonObject {
  const container = app['container'];
  if (!isObject(container) || !isObject(container['cvmfs'])) return app;
  const { cvmfs } = container;
  const changed = replaceMember(container, 'cvmfs', 'docker', dockerOf(cvmfs, facade));
  return labelled(replaceMember(app, 'container', 'container', changed), { cvmfs });
}

/** Undoes `translateApp`, also of what Marathon answers, which has its defaults in it. */
export function untranslateApp(app: JsonObject, pointer: string): JsonObject {
  const original = isObject(app['labels']) ? originalIn(app['labels']) : undefined;
  if (original === undefined) return app;
  const { cvmfs } = original;
  const container = app['container'];
  if (!isObject(cvmfs)) throw damaged('there is no image in it');
  if (!isObject(container) || !isObject(container['docker'])) throw changedImage(`${pointer}/container`, 'there is no docker image any more');
  const { docker } = container;
  const wanted = dockerOf(cvmfs, '');
  const { image } = docker;
  if (typeof image !== 'string' || image.slice(image.indexOf('/')) !== wanted['image']) throw changedImage(`${pointer}/container/docker/image`, `it is ${JSON.stringify(image)}`);
  if ((docker['forcePullImage'] ?? false) !== (wanted['forcePullImage'] ?? false)) throw changedImage(`${pointer}/container/docker/forcePullImage`, 'it is another one');
  if (!isDeepStrictEqual(docker['pullConfig'], wanted['pullConfig'])) throw changedImage(`${pointer}/container/docker/pullConfig`, 'it is another one');
  return unlabelled(replaceMember(app, 'container', 'container', replaceMember(container, 'docker', 'cvmfs', cvmfs)), original);
}

function dockerOf({ path, image, repository, ...pulling }: JsonObject, facade: string): JsonObject {
  const request = (path === undefined ? { image, ...(repository === undefined ? {} : { repository }) } : { repository, path }) as unknown as ImageRequest;
  return { image: `${facade}/${facadePath(request)}`, ...pulling };
}

/** A member by another name and value, in its place. */
export function replaceMember(holder: JsonObject, name: string, newName: string, value: Json): JsonObject {
  return Object.fromEntries(Object.entries(holder).map(([one, held]) => (one === name ? [newName, value] : [one, held])));
}
