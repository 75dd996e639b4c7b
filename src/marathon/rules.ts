/** What shapes cannot say: rules between members. Those of Marathon are from its AppValidation, PodsValidation and raml texts. */
import { Failure } from '../error';
import { isObject } from './check-shape';
import type { Problem } from './check-shape';
import { IMAGE_ID_MAX } from './definitions-pod';
import { appsOf } from './documents';
import type { Kind } from './documents';
import { facadePath } from './image-name';
import type { ImageRequest } from './image-name';
import { pointerTo } from './json-text';
import type { Json, JsonObject } from './json-text';
import { isOriginalLabel } from './original-labels';
import { podImageRequest } from './translate-pod';

type Wrong = (pointer: string, text: string, next?: string) => void;

const objectAt = (holder: JsonObject, name: string): JsonObject | undefined => (isObject(holder[name]) ? (holder[name] as JsonObject) : undefined);
const objectsAt = (holder: JsonObject, name: string): JsonObject[] => (Array.isArray(holder[name]) ? (holder[name] as Json[]).filter(isObject) : []);
const at = (pointer: string, ...steps: Array<string | number>): string => steps.reduce<string>((place, step) => pointerTo(place, step), pointer);

/** `facade` counts in the length of a pod's image. Expects a value that its shape allows. */
export function checkRules(value: Json, kind: Kind, facade: string): Problem[] {
  const problems: Problem[] = [];
  const wrong: Wrong = (pointer, text, next) => void problems.push({ pointer, text, ...(next === undefined ? {} : { next }) });
  for (const { pointer, app } of appsOf(value, kind)) checkApp(app, pointer, wrong);
  if (kind === 'pod' && isObject(value)) checkPod(value, facade, wrong);
  if (kind === 'apps' || kind === 'group') checkIds(value, kind, wrong);
  return problems;
}

function checkIds(value: Json, kind: Kind, wrong: Wrong): void {
  const seen = new Set<string>();
  for (const { pointer, app } of appsOf(value, kind)) {
    // A relative id is relative to its group.
    const id = String(app['id']);
    const place = id.startsWith('/') ? id : `${pointer.replace(/\/apps\/[0-9]+$|\/[0-9]+$/, '')}:${id}`;
    if (seen.has(place)) wrong(at(pointer, 'id'), `another app here has the id ${id} too`);
    seen.add(place);
  }
}

function checkApp(app: JsonObject, pointer: string, wrong: Wrong): void {
  const both = (one: string, other: string): boolean => Object.hasOwn(app, one) && Object.hasOwn(app, other);
  if (both('cmd', 'args')) wrong(at(pointer, 'args'), 'cmd and args exclude each other', 'args are added to the entry point of the image, cmd is run by /bin/sh -c');
  if (both('uris', 'fetch')) wrong(at(pointer, 'uris'), 'uris and fetch exclude each other', 'use fetch');
  if (both('ipAddress', 'networks')) wrong(at(pointer, 'ipAddress'), 'ipAddress and networks exclude each other', 'use networks');
  const container = objectAt(app, 'container');
  const secrets = Object.keys(objectAt(app, 'secrets') ?? {});
  if (container === undefined) {
    if (!['cmd', 'args', 'executor'].some((name) => Object.hasOwn(app, name))) wrong(pointer, 'there is neither a command nor an image', 'add cmd, args or container');
    return;
  }
  const place = at(pointer, 'container');
  const modes = objectsAt(app, 'networks').map((network) => network['mode'] ?? 'container');
  if (modes.includes('host') && objectsAt(container, 'portMappings').length > 0) wrong(at(place, 'portMappings'), 'portMappings are not allowed with host networking', 'use portDefinitions, or another network');
  if (modes.some((mode) => mode !== 'host') && objectsAt(app, 'portDefinitions').length > 0) wrong(at(pointer, 'portDefinitions'), 'portDefinitions are only allowed with host networking', 'use container.portMappings');
  objectsAt(container, 'volumes').forEach((volume, index) => {
    if (typeof volume['secret'] === 'string') checkSecret(volume['secret'], at(place, 'volumes', index, 'secret'), secrets, wrong);
  });
  const cvmfs = objectAt(container, 'cvmfs');
  const docker = objectAt(container, 'docker');
  if (cvmfs !== undefined) checkAppImage(app, container, cvmfs, pointer, secrets, wrong);
  else if (docker !== undefined && container['type'] === 'MESOS') checkMesosDocker(docker, at(place, 'docker'), secrets, wrong);
  else if (docker !== undefined && Object.hasOwn(docker, 'pullConfig')) wrong(at(place, 'docker', 'pullConfig'), 'pullConfig is not supported by the Docker containerizer', 'set container.type to MESOS');
}

function checkAppImage(app: JsonObject, container: JsonObject, cvmfs: JsonObject, pointer: string, secrets: readonly string[], wrong: Wrong): void {
  const place = at(pointer, 'container', 'cvmfs');
  if (Object.hasOwn(container, 'docker')) wrong(at(pointer, 'container', 'docker'), 'a container has one image, cvmfs or docker', 'remove one of them');
  if (container['type'] !== 'MESOS') wrong(at(pointer, 'container', ...(Object.hasOwn(container, 'type') ? ['type'] : [])), 'images of cvmfs need the Mesos containerizer, and the default of container.type is DOCKER', 'set container.type to "MESOS"');
  checkLabels(app, pointer, wrong);
  const pull = objectAt(cvmfs, 'pullConfig');
  if (pull !== undefined) checkSecret(pull['secret'], at(place, 'pullConfig', 'secret'), secrets, wrong);
  checkImage(cvmfs as unknown as ImageRequest, at(place, Object.hasOwn(cvmfs, 'path') ? 'path' : 'image'), wrong);
}

function checkMesosDocker(docker: JsonObject, place: string, secrets: readonly string[], wrong: Wrong): void {
  for (const name of ['credential', 'network', 'parameters', 'portMappings', 'privileged']) {
    const held = docker[name];
    if (held !== undefined && held !== false && !(Array.isArray(held) && held.length === 0)) wrong(at(place, name), `${name} is not for the Mesos containerizer`, name === 'portMappings' ? 'use container.portMappings' : undefined);
  }
  const pull = objectAt(docker, 'pullConfig');
  if (pull !== undefined) checkSecret(pull['secret'], at(place, 'pullConfig', 'secret'), secrets, wrong);
}

function checkSecret(name: Json | undefined, place: string, secrets: readonly string[], wrong: Wrong): void {
  if (typeof name === 'string' && !secrets.includes(name)) wrong(place, `names the secret ${JSON.stringify(name)}, which is not among secrets`, secrets.length === 0 ? 'add it to the member secrets' : `declared are ${secrets.join(', ')}`);
}

function checkLabels(holder: JsonObject, pointer: string, wrong: Wrong): void {
  for (const name of Object.keys(objectAt(holder, 'labels') ?? {})) if (isOriginalLabel(name)) wrong(at(pointer, 'labels', name), 'this label belongs to mesos-cvmfs, which keeps the original in it', 'remove it');
}

function checkImage(request: ImageRequest, place: string, wrong: Wrong): string | undefined {
  try {
    return facadePath(request);
  } catch (error) {
    const { what, next } = Failure.from(error);
    wrong(place, what, next);
    return undefined;
  }
}

function checkPod(pod: JsonObject, facade: string, wrong: Wrong): void {
  const secrets = Object.keys(objectAt(pod, 'secrets') ?? {});
  const volumes = objectsAt(pod, 'volumes').map((volume) => String(volume['name']));
  objectsAt(pod, 'volumes').forEach((volume, index) => {
    if (volumes.indexOf(volumes[index]!) < index) wrong(at('', 'volumes', index, 'name'), `another volume is named ${volumes[index]} too`);
    if (typeof volume['secret'] === 'string') checkSecret(volume['secret'], at('', 'volumes', index, 'secret'), secrets, wrong);
  });
  const names = objectsAt(pod, 'containers').map((container) => String(container['name']));
  objectsAt(pod, 'containers').forEach((container, index) => {
    const place = at('', 'containers', index);
    if (names.indexOf(names[index]!) < index) wrong(at(place, 'name'), `another container is named ${names[index]} too`);
    objectsAt(container, 'volumeMounts').forEach((mount, which) => {
      if (!volumes.includes(String(mount['name']))) wrong(at(place, 'volumeMounts', which, 'name'), `there is no volume named ${String(mount['name'])}`, volumes.length === 0 ? 'add it to the member volumes' : `volumes are ${volumes.join(', ')}`);
    });
    const image = objectAt(container, 'image');
    const pull = image === undefined ? undefined : objectAt(image, 'pullConfig');
    if (pull !== undefined) checkSecret(pull['secret'], at(place, 'image', 'pullConfig', 'secret'), secrets, wrong);
    if (image !== undefined && image['kind'] === 'CVMFS') {
      checkLabels(container, place, wrong);
      const path = checkImage(podImageRequest(image), at(place, 'image', 'id'), wrong);
      const length = facade.length + 1 + (path?.length ?? 0);
      if (length > IMAGE_ID_MAX) wrong(at(place, 'image', 'id'), `becomes an id of ${length} characters, and Marathon allows ${IMAGE_ID_MAX}`, 'give the image a shorter path in the repository');
    } else if (image !== undefined && Object.hasOwn(image, 'repository')) wrong(at(place, 'image', 'repository'), 'belongs to images of kind CVMFS', 'set kind to CVMFS, or remove it');
  });
}
