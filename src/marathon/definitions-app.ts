/** App definitions, and groups and lists of them. */
import {
  anyPort,
  appEnvironment,
  artifact,
  commandCheck,
  checkTimes,
  executorResources,
  httpScheme,
  instant,
  int32,
  killSelection,
  labels,
  legacyName,
  linuxInfo,
  name,
  network,
  networkProtocol,
  path,
  pathId,
  persistent,
  pullConfig,
  resourceLimits,
  secrets,
  unreachableStrategy,
} from './definitions-common';
import { appImage } from './definitions-cvmfs';
import { choice, flag, integer, list, map, number, oneOf, record, text } from './shape';
import type { LazyShape, RecordShape } from './shape';

const portMapping = record({}, { containerPort: anyPort, hostPort: anyPort, labels, name: legacyName, protocol: networkProtocol, servicePort: anyPort, networkNames: list(name) });

const csi = record(
  {
    name: text(),
    provider: oneOf('csi'),
    options: record(
      {
        pluginName: text({ min: 1 }),
        capability: record(
          { accessMode: oneOf('SINGLE_NODE_WRITER', 'SINGLE_NODE_READER_ONLY', 'MULTI_NODE_READER_ONLY', 'MULTI_NODE_SINGLE_WRITER', 'MULTI_NODE_MULTI_WRITER'), accessType: oneOf('block', 'mount') },
          { fsType: text(), mountFlags: list(text()) },
        ),
      },
      { nodeStageSecret: labels, nodePublishSecret: labels, volumeContext: labels },
    ),
  },
);
const dvdi = record({}, { size: integer(0), name: text(), provider: text(), options: map(text()), shared: flag });

const mode = oneOf('RO', 'RW');
const containerPath = text({ min: 1 });
const volume = choice([], {
  persistent: record({ containerPath, persistent, mode }),
  external: record({ containerPath, external: choice([csi, dvdi]), mode }),
  secret: record({ containerPath, secret: text({ min: 1 }) }),
  hostPath: record({ containerPath, hostPath: text({ min: 1 }), mode }),
});

const docker = record(
  { image: text({ min: 1 }) },
  {
    credential: record({ principal: text() }, { secret: text() }),
    pullConfig,
    forcePullImage: flag,
    network: oneOf('BRIDGE', 'HOST', 'NONE', 'USER'),
    parameters: list(record({ key: text({ min: 1 }), value: text() })),
    portMappings: list(portMapping),
    privileged: flag,
  },
);

const container = record({}, { type: oneOf('MESOS', 'DOCKER'), docker, cvmfs: appImage, linuxInfo, volumes: list(volume), portMappings: list(portMapping) });

const healthCheck = record(
  {},
  {
    command: record({ value: text() }),
    gracePeriodSeconds: int32(0),
    ignoreHttp1xx: flag,
    intervalSeconds: int32(0),
    maxConsecutiveFailures: int32(0),
    path: text(),
    port: anyPort,
    portIndex: anyPort,
    protocol: oneOf('HTTP', 'HTTPS', 'TCP', 'COMMAND', 'MESOS_TCP', 'MESOS_HTTP', 'MESOS_HTTPS'),
    ipProtocol: oneOf('IPv4', 'IPv6'),
    timeoutSeconds: int32(),
    delaySeconds: int32(0),
  },
);

const checkPort = { portIndex: anyPort, port: anyPort };
const check = checkTimes({ http: record({}, { ...checkPort, path, scheme: httpScheme }), tcp: record({}, checkPort), exec: commandCheck });

const readinessCheck = record(
  {},
  {
    name: text({ min: 1 }),
    protocol: httpScheme,
    path,
    portName: legacyName,
    intervalSeconds: int32(0),
    timeoutSeconds: int32(1),
    httpStatusCodesForReady: list(integer(100, 999), { min: 1, unique: true }),
    preserveLastResponse: flag,
  },
);

const ipAddress = record(
  {},
  {
    discovery: record({}, { ports: list(record({ name: legacyName }, { number: anyPort, protocol: networkProtocol, labels })) }),
    groups: list(text(), { unique: true }),
    labels,
    networkName: text({ min: 1 }),
  },
);

export const app: RecordShape = record(
  { id: pathId },
  {
    acceptedResourceRoles: list(text(), { unique: true }),
    args: list(text()),
    backoffFactor: number(1),
    backoffSeconds: int32(0),
    cmd: text({ min: 1 }),
    constraints: list(list(text(), { min: 2, max: 3 }), { unique: true }),
    container,
    cpus: number(0.001),
    dependencies: list(pathId, { unique: true }),
    disk: number(0),
    env: appEnvironment,
    executor: text({ pattern: '^(//cmd)|(/?[^/]+(/[^/]+)*)|$', expected: '//cmd or the path of an executor' }),
    executorResources,
    fetch: list(artifact),
    healthChecks: list(healthCheck, { unique: true }),
    check,
    instances: int32(0),
    labels,
    maxLaunchDelaySeconds: int32(0),
    mem: number(0),
    gpus: int32(0),
    ipAddress,
    networks: list(network),
    ports: list(anyPort),
    portDefinitions: list(record({}, { port: anyPort, labels, name: legacyName, protocol: networkProtocol })),
    readinessChecks: list(readinessCheck),
    residency: record({}, { relaunchEscalationTimeoutSeconds: integer(0), taskLostBehavior: oneOf('WAIT_FOREVER', 'RELAUNCH_AFTER_TIMEOUT') }),
    resourceLimits,
    requirePorts: flag,
    secrets,
    taskKillGracePeriodSeconds: int32(0),
    upgradeStrategy: record({ maximumOverCapacity: number(0, 1), minimumHealthCapacity: number(0, 1) }),
    uris: list(text({ min: 1, max: 1024 })),
    user: text(),
    version: instant,
    versionInfo: record({ lastScalingAt: instant, lastConfigChangeAt: instant }),
    killSelection,
    unreachableStrategy,
    tty: flag,
    role: text({ min: 1 }),
  },
);

export const apps = list(app);

/** What `PUT /v2/groups` takes: it has no pods. */
export const group: RecordShape = record(
  { id: pathId },
  {
    apps: list(app, { unique: true }),
    groups: list({ kind: 'lazy', name: 'group', shape: () => group } satisfies LazyShape, { unique: true }),
    dependencies: list(pathId, { unique: true }),
    scaleBy: number(0),
    version: instant,
    enforceRole: flag,
  },
);
