/**
 * Whether Marathon would take a definition, by the facts of marathon-definitions.ts and the rules of its validation that
 * concern what a translated definition can contain (mesosphere/marathon, src/main/scala/mesosphere/marathon/api/v2/
 * validation: AppValidation, PodsValidation). Shares nothing with src/marathon.
 */
import { isDeepStrictEqual } from 'node:util';
import { MARATHON_TYPES } from './marathon-definitions';
import type { TypeFact } from './marathon-definitions';

type Value = unknown;
type Members = Record<string, Value>;

const plain = (value: Value): value is Members => typeof value === 'object' && value !== null && !Array.isArray(value);

/** Everything that Marathon would refuse, or drop because it does not know it. */
export function marathonRefuses(value: Value, type: 'App' | 'Pod' | 'GroupUpdate'): string[] {
  const problems: string[] = [];
  check(value, `#${type}`, type, problems);
  if (problems.length > 0) return problems;
  if (type === 'App') appRules(value as Members, problems);
  if (type === 'Pod') podRules(value as Members, problems);
  if (type === 'GroupUpdate') groupRules(value as Members, problems);
  return problems;
}

function check(value: Value, fact: TypeFact, place: string, problems: string[]): void {
  const refuse = (why: string): void => void problems.push(`${place}: ${why}`);
  if (typeof fact === 'string') {
    if (fact.startsWith('#')) return check(value, MARATHON_TYPES[fact.slice(1)]!, place, problems);
    const fits: Record<string, boolean> = {
      string: typeof value === 'string',
      boolean: typeof value === 'boolean',
      number: typeof value === 'number',
      integer: Number.isInteger(value),
      datetime: typeof value === 'string' && !Number.isNaN(Date.parse(value)),
      nil: value === null,
    };
    if (fits[fact] === undefined) throw new Error(`the table has a type ${fact}`);
    if (!fits[fact]) refuse(`is no ${fact}`);
    return;
  }
  if ('union' in fact) {
    const attempts = fact.union.map((one) => {
      const inner: string[] = [];
      check(value, one, place, inner);
      return inner;
    });
    if (!attempts.some((inner) => inner.length === 0)) refuse(`is none of the alternatives: ${attempts.map(([first]) => first).join(' | ')}`);
    return;
  }
  if ('array' in fact) {
    if (!Array.isArray(value)) return refuse('is no array');
    if (value.length < (fact.minItems ?? 0) || value.length > (fact.maxItems ?? Infinity)) refuse(`has ${value.length} items`);
    if (fact.unique === true && value.some((one, at) => value.slice(0, at).some((other) => isDeepStrictEqual(one, other)))) refuse('has an item twice');
    return value.forEach((one, at) => check(one, fact.array, `${place}[${at}]`, problems));
  }
  if ('object' in fact) return checkObject(value, fact, place, problems);
  check(value, fact.type, place, problems);
  if (typeof value === 'string') {
    if (value.length < (fact.minLength ?? 0) || value.length > (fact.maxLength ?? Infinity)) refuse(`has ${value.length} characters`);
    if (fact.pattern !== undefined && !new RegExp(fact.pattern).test(value)) refuse(`does not match ${fact.pattern}`);
    if (fact.enum !== undefined && !fact.enum.includes(value)) refuse(`is none of ${fact.enum.join(', ')}`);
  }
  if (typeof value === 'number') {
    if (value < (fact.min ?? -Infinity) || value > (fact.max ?? Infinity)) refuse(`${value} is out of range`);
    if (fact.format === 'int32' && (value < -(2 ** 31) || value > 2 ** 31 - 1)) refuse(`${value} is no int32`);
    if (fact.format === 'int64' && !Number.isSafeInteger(value)) refuse(`${value} is no int64`);
  }
}

function checkObject(value: Value, { object, patterns = {} }: Extract<TypeFact, { object: unknown }>, place: string, problems: string[]): void {
  if (!plain(value)) return void problems.push(`${place}: is no object`);
  for (const [name, fact] of Object.entries(object)) {
    if (!name.endsWith('?') && !Object.hasOwn(value, name)) problems.push(`${place}.${name}: is missing`);
    const bare = name.replace(/\?$/, '');
    if (Object.hasOwn(value, bare)) check(value[bare], fact, `${place}.${bare}`, problems);
  }
  for (const [name, held] of Object.entries(value)) {
    if (Object.hasOwn(object, name) || Object.hasOwn(object, `${name}?`)) continue;
    const [, fact] = Object.entries(patterns).find(([pattern]) => new RegExp(pattern, 's').test(name)) ?? [];
    // Marathon would drop it without a word: for a translated definition that is as bad as a refusal.
    if (fact === undefined) problems.push(`${place}.${name}: Marathon does not know it`);
    else check(held, fact, `${place}.${name}`, problems);
  }
}

const empty = (value: Value): boolean => value === undefined || (Array.isArray(value) && value.length === 0);

function appRules(app: Members, problems: string[]): void {
  const refuse = (why: string): void => void problems.push(`app ${String(app['id'])}: ${why}`);
  if (app['cmd'] !== undefined && app['args'] !== undefined) refuse('both cmd and args');
  const { container } = app;
  if (!plain(container)) return;
  const { docker } = container;
  const secrets = plain(app['secrets']) ? app['secrets'] : {};
  if (plain(docker)) {
    const mesos = container['type'] === 'MESOS';
    if (mesos) for (const name of ['credential', 'network', 'parameters', 'portMappings']) if (!empty(docker[name])) refuse(`docker.${name} with the Mesos containerizer`);
    if (plain(docker['pullConfig'])) {
      if (!mesos) refuse('pullConfig with the Docker containerizer');
      if (!Object.hasOwn(secrets, String(docker['pullConfig']['secret']))) refuse('pullConfig names no secret');
    }
  } else if (container['type'] !== 'MESOS') refuse('a Docker container without an image');
  const modes = (Array.isArray(app['networks']) ? app['networks'] : []).map((network: Members) => network['mode'] ?? 'container');
  if (modes.includes('host') && !empty(container['portMappings'])) refuse('portMappings with host networking');
  if (modes.some((mode) => mode !== 'host') && !empty(app['portDefinitions'])) refuse('portDefinitions without host networking');
  for (const volume of (container['volumes'] ?? []) as Members[]) if (volume['secret'] !== undefined && !Object.hasOwn(secrets, String(volume['secret']))) refuse('a volume names no secret');
}

function podRules(pod: Members, problems: string[]): void {
  const refuse = (why: string): void => void problems.push(`pod ${String(pod['id'])}: ${why}`);
  const secrets = plain(pod['secrets']) ? pod['secrets'] : {};
  const volumes = ((pod['volumes'] ?? []) as Members[]).map(({ name }) => name);
  const containers = pod['containers'] as Members[];
  if (new Set(containers.map(({ name }) => name)).size !== containers.length) refuse('names of containers are not unique');
  if (new Set(volumes).size !== volumes.length) refuse('names of volumes are not unique');
  for (const container of containers) {
    const image = container['image'] as Members | undefined;
    if (plain(image?.['pullConfig']) && !Object.hasOwn(secrets, String(image['pullConfig']['secret']))) refuse('pullConfig names no secret');
    for (const { name } of (container['volumeMounts'] ?? []) as Members[]) if (!volumes.includes(name)) refuse(`no volume ${String(name)}`);
  }
}

function groupRules(group: Members, problems: string[]): void {
  for (const app of (group['apps'] ?? []) as Members[]) appRules(app, problems);
  for (const inner of (group['groups'] ?? []) as Members[]) groupRules(inner, problems);
}
