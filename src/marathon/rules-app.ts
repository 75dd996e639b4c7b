/** Rules between the members of an app. */
import type { ImageRequest } from './image-name';
import type { JsonObject } from './json-text';
import { at, checkEnvironment, checkImage, checkLabels, checkNetworks, checkPace, checkSecret, modesOf, objectAt, objectsAt } from './rules-shared';
import type { Wrong } from './rules-shared';

const READINESS_INTERVAL_S = 30;
const READINESS_TIMEOUT_S = 10;
const READINESS_PORT = 'http-api';

export function checkApp(app: JsonObject, pointer: string, wrong: Wrong): void {
  const { cmd } = app;
  const both = (one: string, other: string): boolean => Object.hasOwn(app, one) && Object.hasOwn(app, other);
  if (both('cmd', 'args')) wrong(at(pointer, 'args'), 'cmd and args exclude each other', 'args are added to the entry point of the image, cmd is run by /bin/sh -c');
  if (typeof cmd === 'string' && [...cmd].length < 2) wrong(at(pointer, 'cmd'), 'Marathon takes no command of one character', 'write the path of the program');
  if (both('uris', 'fetch')) wrong(at(pointer, 'uris'), 'uris and fetch exclude each other', 'use fetch');
  if (both('ipAddress', 'networks')) wrong(at(pointer, 'ipAddress'), 'ipAddress and networks exclude each other', 'use networks');
  const secrets = Object.keys(objectAt(app, 'secrets') ?? {});
  checkEnvironment(objectAt(app, 'env'), at(pointer, 'env'), secrets, wrong);
  checkNetworks(app, pointer, wrong);
  if (modesOf(app).some((mode) => mode !== 'host') && objectsAt(app, 'portDefinitions').length > 0) wrong(at(pointer, 'portDefinitions'), 'portDefinitions are only allowed with host networking', 'use container.portMappings');
  checkChecks(app, pointer, wrong);
  const container = objectAt(app, 'container');
  if (container !== undefined) checkContainer(app, container, pointer, secrets, wrong);
  else if (!['cmd', 'args', 'executor'].some((name) => Object.hasOwn(app, name))) wrong(pointer, 'there is neither a command nor an image', 'add cmd, args or container');
}

function checkChecks(app: JsonObject, pointer: string, wrong: Wrong): void {
  const ready = objectsAt(app, 'readinessChecks');
  if (ready.length > 1) wrong(at(pointer, 'readinessChecks'), `there are ${ready.length}, and Marathon takes one`);
  const container = objectAt(app, 'container') ?? {};
  const ports = objectsAt(Array.isArray(container['portMappings']) ? container : app, Array.isArray(container['portMappings']) ? 'portMappings' : 'portDefinitions').map(({ name }) => name);
  ready.forEach((check, index) => {
    const place = at(pointer, 'readinessChecks', index);
    const port = check['portName'] ?? READINESS_PORT;
    if (!ports.includes(port)) wrong(place, `no port is named ${String(port)}`, 'name one in portMappings or portDefinitions');
    checkPace(check, place, READINESS_INTERVAL_S, READINESS_TIMEOUT_S, wrong);
  });
  const byMesos = objectsAt(app, 'healthChecks').filter(({ command, protocol }) => command === undefined && (protocol === 'COMMAND' || String(protocol).startsWith('MESOS_')));
  if (byMesos.length > 1) wrong(at(pointer, 'healthChecks'), `${byMesos.length} of them are done by Mesos, which does one`);
}

function checkContainer(app: JsonObject, container: JsonObject, pointer: string, secrets: readonly string[], wrong: Wrong): void {
  const place = at(pointer, 'container');
  if (modesOf(app).includes('host') && objectsAt(container, 'portMappings').length > 0) wrong(at(place, 'portMappings'), 'portMappings are not allowed with host networking', 'use portDefinitions, or another network');
  objectsAt(container, 'volumes').forEach((volume, index) => checkVolume(volume, at(place, 'volumes', index), secrets, wrong));
  const cvmfs = objectAt(container, 'cvmfs');
  const docker = objectAt(container, 'docker');
  if (cvmfs !== undefined) checkOurImage(app, container, cvmfs, pointer, secrets, wrong);
  else if (docker !== undefined && container['type'] === 'MESOS') checkMesosDocker(docker, at(place, 'docker'), secrets, wrong);
  else if (docker !== undefined && Object.hasOwn(docker, 'pullConfig')) wrong(at(place, 'docker', 'pullConfig'), 'pullConfig is not supported by the Docker containerizer', 'set container.type to MESOS');
  else if (docker === undefined && container['type'] !== 'MESOS') wrong(place, 'there is no image, and the default of container.type is DOCKER', 'set container.type to "MESOS", or add an image');
}

function checkVolume(volume: JsonObject, place: string, secrets: readonly string[], wrong: Wrong): void {
  checkSecret(volume['secret'], at(place, 'secret'), secrets, wrong);
  const persistent = objectAt(volume, 'persistent');
  if (persistent === undefined) return;
  if (String(volume['containerPath']).includes('/')) wrong(at(place, 'containerPath'), 'has a slash, and a persistent volume lies directly in the sandbox', 'give a single name; the container finds it at $MESOS_SANDBOX/<name>');
  if (volume['mode'] !== 'RW') wrong(at(place, 'mode'), 'a persistent volume is RW');
  if (persistent['size'] === 0) wrong(at(place, 'persistent', 'size'), 'is 0');
}

function checkOurImage(app: JsonObject, container: JsonObject, cvmfs: JsonObject, pointer: string, secrets: readonly string[], wrong: Wrong): void {
  const place = at(pointer, 'container', 'cvmfs');
  if (Object.hasOwn(container, 'docker')) wrong(at(pointer, 'container', 'docker'), 'a container has one image, cvmfs or docker', 'remove one of them');
  if (container['type'] !== 'MESOS') wrong(at(pointer, 'container', ...(Object.hasOwn(container, 'type') ? ['type'] : [])), 'images of cvmfs need the Mesos containerizer, and the default of container.type is DOCKER', 'set container.type to "MESOS"');
  checkLabels(app, pointer, wrong);
  checkSecret(objectAt(cvmfs, 'pullConfig')?.['secret'], at(place, 'pullConfig', 'secret'), secrets, wrong);
  checkImage(cvmfs as unknown as ImageRequest, at(place, Object.hasOwn(cvmfs, 'path') ? 'path' : 'image'), wrong);
}

function checkMesosDocker(docker: JsonObject, place: string, secrets: readonly string[], wrong: Wrong): void {
  for (const name of ['credential', 'network', 'parameters', 'portMappings', 'privileged']) {
    const held = docker[name];
    if (held !== undefined && held !== false && !(Array.isArray(held) && held.length === 0)) wrong(at(place, name), `${name} is not for the Mesos containerizer`, name === 'portMappings' ? 'use container.portMappings' : undefined);
  }
  checkSecret(objectAt(docker, 'pullConfig')?.['secret'], at(place, 'pullConfig', 'secret'), secrets, wrong);
}
