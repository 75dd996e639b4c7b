/** Pod definitions. */
import {
  anyPort,
  artifact,
  checkTimes,
  commandCheck,
  executorResources,
  httpScheme,
  instant,
  int32,
  killSelection,
  labels,
  linuxInfo,
  mesosExec,
  name,
  network,
  path,
  pathId,
  persistent,
  podEnvironment,
  port,
  pullConfig,
  resourceLimits,
  resources,
  secrets,
  unreachableStrategy,
} from './definitions-common';
import { podImageMembers } from './definitions-cvmfs';
import { flag, list, number, oneOf, record, text } from './shape';
import type { RecordShape } from './shape';

/** Longer ids are refused by Marathon. */
export const IMAGE_ID_MAX = 1024;

const image = record({ kind: oneOf('DOCKER', 'CVMFS'), id: text({ min: 1, max: IMAGE_ID_MAX }) }, { ...podImageMembers, pullConfig, forcePull: flag, labels });

const checked = { http: record({ endpoint: name }, { path, scheme: httpScheme }), tcp: record({ endpoint: name }), exec: commandCheck };
const check = checkTimes(checked);
const healthCheck = record({}, { ...checked, gracePeriodSeconds: int32(0), intervalSeconds: int32(0), maxConsecutiveFailures: int32(0), timeoutSeconds: int32(0), delaySeconds: int32(0) });
const endpoint = record({ name }, { containerPort: port, hostPort: anyPort, protocol: list(name, { min: 1 }), labels, networkNames: list(name) });

const container = record(
  { name, resources },
  {
    exec: mesosExec,
    resourceLimits,
    endpoints: list(endpoint),
    linuxInfo,
    image,
    environment: podEnvironment,
    user: text(),
    healthCheck,
    check,
    volumeMounts: list(record({ name, mountPath: path }, { readOnly: flag })),
    artifacts: list(artifact),
    labels,
    lifecycle: record({}, { killGracePeriodSeconds: number(0) }),
    tty: flag,
  },
);

const volumeName = text({ min: 1 });
const volume = {
  kind: 'choice',
  plain: [],
  records: [
    { mark: 'persistent', shape: record({ name: volumeName, persistent }) },
    { mark: 'secret', shape: record({ name: volumeName, secret: text({ min: 1 }) }) },
    { mark: 'host', shape: record({ name, host: text() }) },
    { mark: 'name', shape: record({ name }) },
  ],
} as const;

const scheduling = record(
  {},
  {
    backoff: record({}, { backoff: number(0), backoffFactor: number(0), maxLaunchDelay: number(0) }),
    upgrade: record({}, { minimumHealthCapacity: number(0, 1), maximumOverCapacity: number(0, 1) }),
    placement: record({}, {
      constraints: list(record({ fieldName: text(), operator: oneOf('UNIQUE', 'CLUSTER', 'GROUP_BY', 'LIKE', 'UNLIKE', 'MAX_PER', 'IS') }, { value: text() }), { unique: true }),
      acceptedResourceRoles: list(text()),
    }),
    killSelection,
    unreachableStrategy,
  },
);

export const pod: RecordShape = record(
  { id: pathId, containers: list(container, { min: 1 }) },
  {
    labels,
    version: instant,
    user: text(),
    environment: podEnvironment,
    secrets,
    volumes: list(volume),
    networks: list(network),
    scaling: record({ kind: oneOf('fixed') }, { instances: int32(0) }),
    scheduling,
    executorResources,
    role: text({ min: 1 }),
    linuxInfo,
    legacySharedCgroups: flag,
  },
);
