/** What is refused, where, and with which words. */
import { readDefinition, problemLine, translateBack, translate } from '../../../src/marathon/translate';
import { Failure } from '../../../src/error';
import { facadePath } from '../../../src/marathon/image-name';
import type { ImageRequest } from '../../../src/marathon/image-name';

const CVMFS = { repository: 'images.example.org', path: '/apps/web:3' };
const app = (more: object = {}, container: object = {}): object => ({ id: '/a', container: { type: 'MESOS', cvmfs: CVMFS, ...container }, ...more });
const pod = (image: object, more: object = {}): object => ({ id: '/p', containers: [{ name: 'c', resources: {}, image: { kind: 'CVMFS', ...image }, ...more }] });
const lines = (value: object): string[] => readDefinition(JSON.stringify(value), 'f').problems.map((one) => problemLine('f', one).replace(/^f:[0-9]+:[0-9]+: /, ''));

describe('problems', () => {
  const cases: ReadonlyArray<[string, object, string]> = [
    ['a misspelt member', app({ instnces: 2 }), '/instnces: unknown member; did you mean instances?'],
    ['a misspelt member of the image', app({}, { cvmfs: { repositry: 'a.b', path: '/x' } }), '/container/cvmfs/repositry: unknown member; did you mean repository?'],
    ['neither path nor image', app({}, { cvmfs: { repository: 'a.b' } }), '/container/cvmfs: one of the members path, image is needed'],
    ['both path and image', app({}, { cvmfs: { repository: 'a.b', path: '/x', image: 'y' } }), '/container/cvmfs/image: unknown member'],
    ['a path without a repository', app({}, { cvmfs: { path: '/x' } }), '/container/cvmfs: the member repository is missing'],
    ['a bad repository', app({}, { cvmfs: { repository: '../etc', path: '/x' } }), '/container/cvmfs/repository: "../etc" is not the name of a repository'],
    ['a path that climbs', app({}, { cvmfs: { repository: 'a.b', path: '/x/../..' } }), "/container/cvmfs/path: image path \"/x/../..\" holds '..'"],
    ['a bad docker name', app({}, { cvmfs: { image: 'Debian 12' } }), '/container/cvmfs/image: image reference "Debian 12"'],
    ['the wrong containerizer', app({}, { type: 'DOCKER' }), '/container/type: images of cvmfs need the Mesos containerizer'],
    ['no containerizer', { id: '/a', container: { cvmfs: CVMFS } }, '/container: images of cvmfs need the Mesos containerizer, and the default of container.type is DOCKER'],
    ['a misspelt choice', app({}, { type: 'MESO' }), '/container/type: "MESO" is none of MESOS, DOCKER; did you mean MESOS?'],
    ['two images', app({}, { docker: { image: 'x' } }), '/container/docker: a container has one image, cvmfs or docker'],
    ['our label', app({ labels: { MESOS_CVMFS_ORIGINAL: '{}' } }), '/labels/MESOS_CVMFS_ORIGINAL: this label belongs to mesos-cvmfs'],
    ['a secret that is not declared', app({}, { cvmfs: { ...CVMFS, pullConfig: { secret: 'x' } } }), '/container/cvmfs/pullConfig/secret: names the secret "x", which is not among secrets'],
    ['two commands', app({ cmd: 'a', args: ['b'] }), '/args: cmd and args exclude each other'],
    ['no command at all', { id: '/a' }, 'there is neither a command nor an image'],
    ['mappings on the host network', app({ networks: [{ mode: 'host' }] }, { portMappings: [{ containerPort: 80 }] }), '/container/portMappings: portMappings are not allowed with host networking'],
    ['a number as a text', app({ cpus: '1' }), '/cpus: "1" stands where a number is expected'],
    ['too little', app({ cpus: 0 }), '/cpus: 0 is less than 0.001'],
    ['a null', app({ cmd: null }), '/cmd: null stands where a text is expected'],
    ['a volume of no kind', app({}, { volumes: [{ containerPath: 'x', persistnt: { size: 1 }, mode: 'RW' }] }), '/container/volumes/0/persistnt: unknown member; did you mean persistent?'],
    ['an app in a group', { id: '/g', apps: [app({ cpu: 1 })] }, '/apps/0/cpu: unknown member; did you mean cpus?'],
    ['two apps of one id', { id: '/g', apps: [app(), app()] }, '/apps/1: stands in the list twice'],
    ['pods in a group', { id: '/g', apps: [], pods: [] }, '/pods: unknown member'],
    ['an unknown kind of image', { id: '/p', containers: [{ name: 'c', resources: {}, image: { kind: 'CVMSF', id: 'x' } }] }, '/containers/0/image/kind: "CVMSF" is none of DOCKER, CVMFS'],
    ['a repository of a plain image', { id: '/p', containers: [{ name: 'c', resources: {}, image: { kind: 'DOCKER', id: 'x', repository: 'a.b' } }] }, '/containers/0/image/repository: belongs to images of kind CVMFS'],
    ['a repository twice', pod({ id: 'cvmfs://a.b/x', repository: 'a.b' }), '/containers/0/image/id: cvmfs://a.b/x names its repository itself'],
    ['an id that grows too long', pod({ id: `cvmfs://a.b/${`${'é'.repeat(100)}/`.repeat(2)}x` }), '/containers/0/image/id: becomes an id of'],
    ['a mount of no volume', pod({ id: 'debian' }, { volumeMounts: [{ name: 'v', mountPath: '/v' }] }), '/containers/0/volumeMounts/0/name: there is no volume named v'],
    ['a command of one letter', app({ cmd: 'a' }), '/cmd: Marathon takes no command of one character'],
    ['a variable from a secret that is not declared', app({ env: { A: { secret: 's' } } }), '/env/A/secret: names the secret "s"'],
    ['a host network with a name', app({ networks: [{ mode: 'host', name: 'x' }] }), '/networks/0: the host network has neither a name nor labels'],
    ['two kinds of networks', app({ networks: [{ mode: 'host' }, { name: 'x' }] }), '/networks: only networks of the mode container may be several'],
    ['definitions of ports on a bridge', { id: '/a', cmd: 'true', networks: [{ mode: 'container/bridge' }], portDefinitions: [{ port: 0 }] }, '/portDefinitions: portDefinitions are only allowed with host networking'],
    ['a readiness check of no port', app({ readinessChecks: [{ portName: 'web' }] }), '/readinessChecks/0: no port is named web'],
    ['a readiness check that overtakes itself', app({ readinessChecks: [{ portName: 'web', intervalSeconds: 5 }] }, { portMappings: [{ name: 'web' }] }), '/readinessChecks/0: timeoutSeconds (10) is not less than intervalSeconds (5)'],
    ['two health checks by Mesos', app({ healthChecks: [{ protocol: 'MESOS_TCP', portIndex: 0 }, { protocol: 'MESOS_HTTP', portIndex: 0 }] }), '/healthChecks: 2 of them are done by Mesos'],
    ['a persistent volume with a path', app({}, { volumes: [{ containerPath: '/var/state', persistent: { size: 1 }, mode: 'RW' }] }), '/container/volumes/0/containerPath: has a slash'],
    ['a read-only persistent volume', app({}, { volumes: [{ containerPath: 'state', persistent: { size: 1 }, mode: 'RO' }] }), '/container/volumes/0/mode: a persistent volume is RW'],
    ['a container without an image by default', { id: '/a', cmd: 'true', container: {} }, '/container: there is no image, and the default of container.type is DOCKER'],
    ['a volume that nobody mounts', { ...pod({ id: 'debian' }), volumes: [{ name: 'v' }] }, '/volumes/0: no container mounts the volume v'],
    ['a health check of no endpoint', pod({ id: 'debian' }, { healthCheck: { http: { endpoint: 'web' } } }), '/containers/0/healthCheck/http/endpoint: the container has no endpoint named web'],
    ['a health check of nothing', pod({ id: 'debian' }, { healthCheck: {} }), '/containers/0/healthCheck: has none of http, tcp and exec'],
    ['no definition', [7], '/0: 7 stands where an object is expected'],
  ];
  it.each(cases)('%s', (_what, value, expected) => {
    expect(lines(value).join('\n')).toContain(expected);
    expect(lines(value)).not.toEqual([]);
  });

  it('names line and column of the member, and every problem', () => {
    const text = '{\n  "id": "/a",\n  "cmd": "x",\n  "mem": "1",\n\t"cpu": 1\n}';
    expect(readDefinition(text, 'app.json').problems.map((one) => problemLine('app.json', one))).toEqual(['app.json:4:3: /mem: "1" stands where a number is expected', 'app.json:5:2: /cpu: unknown member; did you mean cpus?']);
  });

  it.each([
    ['{"a": 1, "a": 2}', 'f:1:10: the member "a" stands here twice'],
    ['{"a": 12345678901234567890}', 'f:1:7: 12345678901234567890 is too large a number'],
    ['{"a": \'x\'}', 'f:1:7: a value is expected; comments and single quotes are no JSON'],
    ['{"a": 1} x', 'f:1:10: something follows the end of the document'],
    ['{"a": "x\ny"}', 'f:1:9: a text has no end on its line'],
    ['{"a": "\\x"}', 'f:1:7: a text with a \\ that begins no escape'],
    ['[[', 'f:1:3: the document ends too early'],
    ['['.repeat(200), 'more than 100 levels'],
    ['{"a" 1}', 'f:1:6: a colon is expected'],
    ['{"a": 1 "b": 2}', 'f:1:9: a comma or } is expected'],
  ])('refuses %s', (text, expected) => {
    expect(() => readDefinition(text, 'f')).toThrow(expected);
  });
});

describe('names for the agent', () => {
  const cases: ReadonlyArray<[ImageRequest, string]> = [
    [{ repository: 'a.b', path: '/x/y:1' }, 'a.b/x/y:1'],
    [{ repository: 'a.b', path: 'x/y' }, 'a.b/x/y:latest'],
    [{ repository: 'a.b', path: '/.flat/ab/abcd' }, 'a.b/.flat/ab/abcd:latest'],
    [{ repository: 'a.b', path: '/x:1/y' }, 'a.b/x%3A1/y:latest'],
    [{ repository: 'a.b', path: '/x:y:1' }, 'a.b/x%3Ay:1'],
    [{ repository: 'a.b', path: '/x:bad tag' }, 'a.b/x%3Abad%20tag:latest'],
    [{ repository: 'a.b', path: '/:1' }, 'a.b/%3A1:latest'],
    [{ repository: 'a.b', path: '/a@sha256:b' }, 'a.b/a%40sha256:b'],
    [{ repository: 'a.b', path: '/é%FF' }, 'a.b/%C3%A9%FF:latest'],
    [{ repository: 'a.b', path: '/' }, 'a.b:latest'],
    [{ image: 'cvmfs://a.b' }, 'a.b:latest'],
    [{ image: 'debian' }, 'debian:latest'],
    [{ image: 'debian:12', repository: 'a.b' }, 'a.b/debian:12'],
    [{ image: 'localhost:5000/x', repository: 'a.b' }, 'a.b/localhost:5000/x:latest'],
    [{ image: `ghcr.io/o/a:1@sha256:${'0'.repeat(64)}`, repository: 'a.b' }, `a.b/ghcr.io/o/a@sha256:${'0'.repeat(64)}`],
    [{ image: 'cvmfs://a.b/x:1' }, 'a.b/x:1'],
  ];
  it.each(cases)('%j', (request, name) => expect(facadePath(request)).toBe(name));
});

describe('the way back', () => {
  const there = (): { container: { docker: Record<string, unknown> }; labels: Record<string, string> } => translate(JSON.stringify(app()), 'f').value as never;
  const refusal = (value: object): Failure => {
    try {
      translateBack(JSON.stringify(value), 'f');
    } catch (error) {
      return Failure.from(error);
    }
    throw new Error('it was not refused');
  };

  it('takes what Marathon answers, with its defaults, and another facade', () => {
    const value = there();
    value.container.docker = { ...value.container.docker, image: 'localhost:5077/images.example.org/apps/web:3', forcePullImage: false, parameters: [], privileged: false };
    expect(translateBack(JSON.stringify({ app: { ...value, versionInfo: {}, tasksRunning: 1 } }), 'f').value).toEqual({ ...app(), versionInfo: {}, tasksRunning: 1 });
  });

  it('leaves alone what was never translated', () => {
    expect(translateBack('{"id":"/a","cmd":"x"}', 'f').value).toEqual({ id: '/a', cmd: 'x' });
  });

  it('refuses an image that was changed by hand, and a damaged label', () => {
    const changed = there();
    changed.container.docker['image'] = '127.0.0.1:61080/images.example.org/apps/web:4';
    expect(refusal(changed).code).toBe('FAILED_PRECONDITION');
    const forced = there();
    forced.container.docker['forcePullImage'] = true;
    expect(refusal(forced).message).toContain('forcePullImage');
    const damaged = there();
    damaged.labels['MESOS_CVMFS_ORIGINAL'] = '{"cvmfs"';
    expect(refusal(damaged).code).toBe('INVALID_ARGUMENT');
  });
});
