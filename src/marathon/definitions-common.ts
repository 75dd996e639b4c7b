/**
 * What app and pod definitions have in common, from the API definitions that Marathon publishes (its repository,
 * docs/docs/rest-api/public/api/v2/types/*.raml, last changed for 1.11): members, types and limits. Marathon itself drops
 * members that it does not know; here they are errors.
 */
import { choice, flag, integer, list, map, number, oneOf, record, text } from './shape';
import type { RecordShape } from './shape';

const INT32_MAX = 2 ** 31 - 1;
export const int32 = (min = -(2 ** 31)): ReturnType<typeof integer> => integer(min, INT32_MAX);

export const port = integer(1, 65535);
export const anyPort = integer(0, 65535);
const NAME = '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$';
const NAME_MEANS = 'a name of a-z, 0-9 and - that begins and ends with a letter or digit';
export const name = text({ min: 1, max: 63, pattern: NAME, expected: NAME_MEANS });
/** Older names have no upper limit. */
export const legacyName = text({ min: 1, pattern: NAME, expected: NAME_MEANS });
const PART = '[a-z0-9]([a-z0-9-]*[a-z0-9])?';
/** As Marathon's, without its empty names between two slashes. */
export const pathId = text({
  min: 1,
  pattern: `^/?(\\.\\.|(${PART}\\.)*${PART})(/(\\.\\.|(${PART}\\.)*${PART}))*/?$|^/$`,
  expected: 'an id such as /group/app, of names of a-z, 0-9, - and . between slashes',
});
export const path = text({ min: 1, max: 1024 });
export const labels = map(text());
export const instant = text({ pattern: '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|[+-][0-9:]+)$', expected: 'a time such as 2024-01-31T12:00:00.000Z' });

const envValue = choice([text()], { secret: record({ secret: text() }) });
export const appEnvironment = map(envValue);
export const podEnvironment = map(envValue, '^[a-zA-Z_][a-zA-Z0-9_]{0,253}$');
export const secrets = map(record({ source: text({ min: 1 }) }));
export const pullConfig = record({ secret: text({ min: 1 }) });
export const artifact = record({ uri: text({ min: 1, max: 1024 }) }, { extract: flag, executable: flag, cache: flag, destPath: path });

export const network = record({}, { name: text({ min: 1, max: 63, pattern: '^[a-z0-9]([-a-z0-9_]*[a-z0-9])?$', expected: 'the name of a network' }), mode: oneOf('container', 'container/bridge', 'host'), labels });
export const networkProtocol = oneOf('tcp', 'udp', 'udp,tcp');
export const linuxInfo = record({}, { seccomp: record({}, { profileName: text(), unconfined: flag }), ipcInfo: record({ mode: oneOf('PRIVATE', 'SHARE_PARENT') }, { shmSize: number() }) });

export const resources = record({}, { cpus: number(0.001), mem: number(0.001), disk: number(0), gpus: int32(0) });
export const executorResources = record({}, { cpus: number(0.1), mem: number(32), disk: number(10) });
const limit = choice([oneOf('unlimited'), number()]);
export const resourceLimits = record({}, { cpus: limit, mem: limit });
export const killSelection = oneOf('YOUNGEST_FIRST', 'OLDEST_FIRST');
export const unreachableStrategy = {
  kind: 'choice',
  plain: [oneOf('disabled'), record({}, { inactiveAfterSeconds: integer(0), expungeAfterSeconds: integer(0) })],
  records: [],
} as const;

const command = choice([], { shell: record({ shell: text({ min: 1 }) }), argv: record({ argv: list(text(), { min: 1 }) }) });
export const commandCheck = record({ command });
export const mesosExec = record({ command }, { overrideEntrypoint: flag });
export const httpScheme = oneOf('HTTP', 'HTTPS');

export const persistent = record(
  { size: integer(0) },
  { type: oneOf('root', 'path', 'mount'), maxSize: integer(0), profileName: text(), constraints: list(list(text(), { min: 2, max: 3 }), { unique: true }) },
);

/** Seconds between and before checks; what is checked is added to them. */
export function checkTimes(more: Readonly<Record<string, RecordShape>>): RecordShape {
  return record({}, { ...more, intervalSeconds: int32(0), timeoutSeconds: int32(0), delaySeconds: int32(0) });
}
