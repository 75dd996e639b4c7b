/** Rules between the members of a pod. */
import { IMAGE_ID_MAX } from './definitions-pod';
import type { JsonObject } from './json-text';
import { at, checkEnvironment, checkImage, checkLabels, checkNetworks, checkPace, checkSecret, objectAt, objectsAt } from './rules-shared';
import type { Wrong } from './rules-shared';
import { podImageRequest } from './translate-pod';

const HEALTH_INTERVAL_S = 60;
const HEALTH_TIMEOUT_S = 20;

export function checkPod(pod: JsonObject, facade: string, wrong: Wrong): void {
  const secrets = Object.keys(objectAt(pod, 'secrets') ?? {});
  checkNetworks(pod, '', wrong);
  checkEnvironment(objectAt(pod, 'environment'), '/environment', secrets, wrong);
  const containers = objectsAt(pod, 'containers');
  const volumes = objectsAt(pod, 'volumes').map(({ name }) => String(name));
  const mounted = containers.flatMap((container) => objectsAt(container, 'volumeMounts').map(({ name }) => String(name)));
  objectsAt(pod, 'volumes').forEach((volume, index) => {
    const name = volumes[index]!;
    if (volumes.indexOf(name) < index) wrong(at('', 'volumes', index, 'name'), `another volume is named ${name} too`);
    if (!mounted.includes(name)) wrong(at('', 'volumes', index), `no container mounts the volume ${name}`, 'add it to the volumeMounts of one, or remove it');
    checkSecret(volume['secret'], at('', 'volumes', index, 'secret'), secrets, wrong);
  });
  const names = containers.map(({ name }) => String(name));
  containers.forEach((container, index) => {
    const place = at('', 'containers', index);
    if (names.indexOf(names[index]!) < index) wrong(at(place, 'name'), `another container is named ${names[index]} too`);
    checkEnvironment(objectAt(container, 'environment'), at(place, 'environment'), secrets, wrong);
    checkHealth(container, place, wrong);
    objectsAt(container, 'volumeMounts').forEach(({ name }, which) => {
      if (!volumes.includes(String(name))) wrong(at(place, 'volumeMounts', which, 'name'), `there is no volume named ${String(name)}`, volumes.length === 0 ? 'add it to the member volumes' : `volumes are ${volumes.join(', ')}`);
    });
    checkPodImage(container, place, facade, secrets, wrong);
  });
}

function checkHealth(container: JsonObject, place: string, wrong: Wrong): void {
  const health = objectAt(container, 'healthCheck');
  if (health === undefined) return;
  const inner = at(place, 'healthCheck');
  const kinds = ['http', 'tcp', 'exec'].filter((name) => Object.hasOwn(health, name));
  if (kinds.length !== 1) wrong(inner, `has ${kinds.length === 0 ? 'none' : kinds.join(' and ')} of http, tcp and exec`, 'one of them says what is checked');
  checkPace(health, inner, HEALTH_INTERVAL_S, HEALTH_TIMEOUT_S, wrong);
  const endpoints = objectsAt(container, 'endpoints').map(({ name }) => String(name));
  for (const kind of kinds) {
    const endpoint = objectAt(health, kind)?.['endpoint'];
    if (typeof endpoint === 'string' && !endpoints.includes(endpoint)) wrong(at(inner, kind, 'endpoint'), `the container has no endpoint named ${endpoint}`);
  }
}

function checkPodImage(container: JsonObject, place: string, facade: string, secrets: readonly string[], wrong: Wrong): void {
  const image = objectAt(container, 'image');
  if (image === undefined) return;
  const inner = at(place, 'image');
  checkSecret(objectAt(image, 'pullConfig')?.['secret'], at(inner, 'pullConfig', 'secret'), secrets, wrong);
  if (image['kind'] === 'CVMFS') {
    checkLabels(container, place, wrong);
    const path = checkImage(podImageRequest(image), at(inner, 'id'), wrong);
    const length = facade.length + 1 + (path?.length ?? 0);
    if (length > IMAGE_ID_MAX) wrong(at(inner, 'id'), `becomes an id of ${length} characters, and Marathon allows ${IMAGE_ID_MAX}`, 'give the image a shorter path in the repository');
  } else if (Object.hasOwn(image, 'repository')) wrong(at(inner, 'repository'), 'belongs to images of kind CVMFS', 'set kind to CVMFS, or remove it');
}
