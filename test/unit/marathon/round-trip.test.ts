/** Whatever is translated is taken by Marathon and comes back exactly, member order included. */
import * as fc from 'fast-check';
import { app, group } from '../../../src/marathon/definitions-app';
import { pod } from '../../../src/marathon/definitions-pod';
import { isObject } from '../../../src/marathon/check-shape';
import type { Json } from '../../../src/marathon/json-text';
import { LABEL_CHARACTERS_MAX } from '../../../src/marathon/original-labels';
import { readDefinition, translate, translateBack } from '../../../src/marathon/translate';
import { marathonRefuses } from '../../support/marathon-checker';
import { ofShape } from '../../support/marathon-arbitrary';

type Members = Record<string, Json>;

const FQRN = fc.stringMatching(/^[A-Za-z0-9]([A-Za-z0-9_-]{0,8}(\.[A-Za-z0-9]{1,5}){0,2})[A-Za-z0-9]$/).filter((name) => name.length <= 60);
const NAME = fc.oneof(fc.stringMatching(/^[a-z0-9]{1,8}(:[A-Za-z0-9_][A-Za-z0-9._-]{0,8})?$/), fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 }), fc.constantFrom('a:b:c', '@', 'x@sha256:y', ':', 'a:', '?', '#', '%25', 'ä', '日本', '__proto__'));
const PATH = fc.array(NAME, { minLength: 1, maxLength: 5 }).map((names) => `/${names.join('/')}`);
const DOCKER = fc.constantFrom('debian', 'debian:12', 'ghcr.io/org/app:v1', `debian@sha256:${'a'.repeat(64)}`, `org/app:1@sha256:${'0'.repeat(64)}`, 'localhost:5000/a/b', 'docker.io/library/x:latest');
const PULLING = { forcePullImage: fc.boolean(), pullConfig: fc.constant({ secret: 'pull' }) };
const APP_IMAGE = fc.oneof(fc.record({ repository: FQRN, path: PATH, ...PULLING }, { requiredKeys: ['repository', 'path'] }), fc.record({ image: DOCKER, repository: FQRN, ...PULLING }, { requiredKeys: ['image'] }));

/** Made to keep the rules between members; all else is as it was made up. */
function mended(given: Members, image: Json): Members {
  const container = isObject(given['container']) ? given['container'] : {};
  return {
    ...without(given, 'args', 'cmd', 'uris', 'ipAddress', 'portDefinitions', 'networks', 'readinessChecks', 'healthChecks', 'env'),
    secrets: { pull: { source: 's' } },
    container: { ...without(container, 'docker', 'portMappings', 'volumes', 'cvmfs', 'type'), cvmfs: image, type: 'MESOS' },
  };
}

function without(value: Members, ...names: string[]): Members {
  return Object.fromEntries(Object.entries(value).filter(([name]) => !names.includes(name)));
}

const APP = fc.tuple(ofShape(app), APP_IMAGE).map(([given, image]) => mended(JSON.parse(JSON.stringify(given)) as Members, image as Json));

function expectRoundTrip(document: Json, type: 'App' | 'Pod' | 'GroupUpdate', facade: string): void {
  const text = JSON.stringify(document);
  fc.pre(readDefinition(text, 'it', facade).problems.length === 0);
  const { value } = translate(text, 'it', facade);
  expect(marathonRefuses(value, type)).toEqual([]);
  expect(JSON.stringify(value)).not.toContain('"cvmfs":');
  expect(JSON.stringify(translateBack(JSON.stringify(value), 'it').value)).toBe(text);
  const labels = JSON.stringify(value).match(/"MESOS_CVMFS_ORIGINAL[_0-9]*":"((?:[^"\\]|\\.)*)"/g) ?? [];
  for (const label of labels) expect((Object.values(JSON.parse(`{${label}}`) as Record<string, string>)[0] ?? '').length).toBeLessThanOrEqual(LABEL_CHARACTERS_MAX);
}

const FACADE = fc.constantFrom('127.0.0.1:61080', 'localhost:1');

it('apps', () => {
  fc.assert(fc.property(APP, FACADE, (document, facade) => expectRoundTrip(document, 'App', facade)), { numRuns: 100 });
});

it('groups', () => {
  const groups = fc.tuple(ofShape(group), fc.array(APP, { maxLength: 3 })).map(([given, apps]) => {
    const rest = without(JSON.parse(JSON.stringify(given)) as Members, 'groups');
    const own = apps.map((one, at) => ({ ...one, id: `a${at}` }) as Json);
    return { ...rest, apps: own, groups: [{ id: 'inner', apps: own }] } as Json;
  });
  fc.assert(fc.property(groups, FACADE, (document, facade) => expectRoundTrip(document, 'GroupUpdate', facade)), { numRuns: 100 });
});

it('pods', () => {
  const id = fc.oneof(DOCKER, fc.tuple(FQRN, PATH).map(([fqrn, path]) => `cvmfs://${fqrn}${encodeURI(path)}`));
  const pods = fc.tuple(ofShape(pod), fc.array(fc.record({ id, repository: FQRN, forcePull: fc.boolean(), labels: fc.constant({ a: 'b' }) }, { requiredKeys: ['id'] }), { minLength: 1, maxLength: 3 })).map(([given, images]) => {
    const rest = without(JSON.parse(JSON.stringify(given)) as Members, 'volumes', 'networks', 'environment');
    const [first] = rest['containers'] as Json[];
    const container = without(first as Members, 'volumeMounts', 'image', 'healthCheck', 'environment');
    return { ...rest, secrets: {}, containers: images.map((image, at) => ({ ...container, name: `c${at}`, image: { ...image, kind: 'CVMFS' } })) } as unknown as Json;
  });
  fc.assert(fc.property(pods, FACADE, (document, facade) => expectRoundTrip(document, 'Pod', facade)), { numRuns: 100 });
});

it('the longest path is kept in several labels', () => {
  const path = `/${Array.from({ length: 15 }, () => 'é'.repeat(40)).join('/')}`;
  expectRoundTrip({ id: '/a', container: { type: 'MESOS', cvmfs: { repository: 'images.example.org', path } } }, 'App', '127.0.0.1:61080');
});
