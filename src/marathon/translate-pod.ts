/**
 * A pod whose containers have images of kind CVMFS as stock Marathon takes it, and back. The original of each image is kept
 * in the labels of its container.
 *
 *     "image": {"kind": "CVMFS", "id": "debian:12", "repository": "images.example.org"}
 *     "image": {"kind": "DOCKER", "id": "127.0.0.1:61080/images.example.org/debian:12"}
 */
import { isObject } from './check-shape';
import { facadePath } from './image-name';
import type { ImageRequest } from './image-name';
import type { Json, JsonObject } from './json-text';
import { damaged, originalIn } from './original-labels';
import { changedImage, labelled, unlabelled } from './translated-labels';

/** What an image of kind CVMFS asks for. */
export function podImageRequest({ id, repository }: JsonObject): ImageRequest {
  return { image: String(id), ...(typeof repository === 'string' ? { repository } : {}) };
}

/** Expects a pod that `validate` has passed. */
export function translatePod(pod: JsonObject, facade: string): JsonObject {
  return mapContainers(pod, (container) => {
    const { image } = container;
    if (!isObject(image) || image['kind'] !== 'CVMFS') return container;
    const { id = '', repository } = image;
    const docker = Object.fromEntries(
      Object.entries(image).flatMap(([name, held]): Array<[string, Json]> => {
        if (name === 'kind') return [[name, 'DOCKER']];
        if (name === 'id') return [[name, `${facade}/${facadePath(podImageRequest(image))}`]];
        return name === 'repository' ? [] : [[name, held]];
      }),
    );
    // Of the rest the place among its members is all that is not in the translated image.
    const kept: JsonObject = repository === undefined ? { id } : { id, repository, order: Object.keys(image) };
    return labelled(replaceImage(container, docker), { image: kept });
  });
}

/** Undoes `translatePod`, also of what Marathon answers. */
export function untranslatePod(pod: JsonObject): JsonObject {
  return mapContainers(pod, (container, at) => {
    const original = isObject(container['labels']) ? originalIn(container['labels']) : undefined;
    if (original === undefined) return container;
    const kept = original['image'];
    const place = `/containers/${at}/image`;
    if (!isObject(kept)) throw damaged('there is no image in it');
    const { image } = container;
    if (!isObject(image) || image['kind'] !== 'DOCKER') throw changedImage(place, 'there is no docker image any more');
    const { id } = image;
    if (typeof id !== 'string' || id.slice(id.indexOf('/') + 1) !== facadePath(podImageRequest(kept))) throw changedImage(`${place}/id`, `it is ${JSON.stringify(id)}`);
    const members: Record<string, Json> = { ...image, kind: 'CVMFS', id: kept['id']!, ...(kept['repository'] === undefined ? {} : { repository: kept['repository'] }) };
    const order = Array.isArray(kept['order']) ? (kept['order'] as Json[]).map(String) : Object.keys(members);
    const names = [...order.filter((name) => Object.hasOwn(members, name)), ...Object.keys(members).filter((name) => !order.includes(name))];
    return unlabelled(replaceImage(container, Object.fromEntries(names.map((name) => [name, members[name]!]))), original);
  });
}

function replaceImage(container: JsonObject, image: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(container).map(([name, held]) => (name === 'image' ? [name, image] : [name, held])));
}

function mapContainers(pod: JsonObject, change: (container: JsonObject, at: number) => JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(pod).map(([name, held]) => (name === 'containers' && Array.isArray(held) ? [name, held.map((one: Json, at) => (isObject(one) ? change(one, at) : one))] : [name, held])));
}
