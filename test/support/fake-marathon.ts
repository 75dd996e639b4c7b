/**
 * A Marathon for tests: takes apps, pods, groups and lists over HTTP as the real one does, refuses what that would refuse,
 * runs a deployment for some polls, and misbehaves as it is told.
 */
import * as http from 'node:http';
import * as https from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { marathonRefuses } from './marathon-checker';

type Members = Record<string, unknown>;

export interface FakeMarathonOptions {
  /** Value of the Authorization header that is let in. */
  readonly authorization?: string;
  readonly tls?: { readonly key: string; readonly cert: string };
  /** Polls of the deployments until one has ended. */
  readonly polls?: number;
  /** Of the tasks of each deployment, this many fail first. */
  readonly failing?: number;
  /** The task never comes up; its failures go on. */
  readonly never?: boolean;
  /** The deployment disappears and what was sent with it. */
  readonly cancelled?: boolean;
  readonly locked?: boolean;
  /** Answers of this status come before anything else, so many times. */
  readonly first?: { readonly status: number; readonly times: number; readonly body?: string };
  readonly delayMs?: number;
}

export interface FakeMarathon {
  readonly url: string;
  readonly requests: Array<{ method: string; url: string; authorization: string | undefined; body: unknown }>;
  readonly apps: Map<string, Members>;
  readonly pods: Map<string, Members>;
  close(): Promise<void>;
}

const DEPLOYMENT = '97c136bf-5a28-4821-9d94-480d9fbb01c8';

export async function startFakeMarathon(options: FakeMarathonOptions = {}): Promise<FakeMarathon> {
  const { polls = 2, failing = 0, first } = options;
  const requests: FakeMarathon['requests'] = [];
  const apps = new Map<string, Members>();
  const pods = new Map<string, Members>();
  const sockets = new Set<Socket>();
  let left = 0;
  let failed = 0;
  let refusals = first?.times ?? 0;

  function put(path: string, body: unknown): [number, unknown, http.OutgoingHttpHeaders?] {
    if (options.locked === true && !path.includes('force=true')) return [409, { message: 'App is locked by one or more deployments. Override with the option \'?force=true\'. View details at \'/v2/deployments/<DEPLOYMENT_ID>\'.', deployments: [{ id: DEPLOYMENT }] }];
    const type = path.startsWith('/v2/pods') ? 'Pod' : path.startsWith('/v2/groups') ? 'GroupUpdate' : 'App';
    const wrong = (Array.isArray(body) ? body : [body]).flatMap((one) => marathonRefuses(one, type));
    if (wrong.length > 0) return [422, { message: 'Object is not valid', details: wrong.map((error) => ({ path: '/', errors: [error] })) }];
    if (type === 'Pod') pods.set((body as { id: string }).id, body as Members);
    else for (const [id, app] of flatApps(body, type === 'GroupUpdate')) apps.set(id, app);
    left = polls;
    failed = 0;
    const version = new Date().toISOString();
    if (type === 'Pod') return [200, body, { 'marathon-deployment-id': DEPLOYMENT }];
    return [200, { version, deploymentId: DEPLOYMENT }];
  }

  function deployments(): unknown {
    if (left > 0 && options.never !== true) left -= 1;
    if (left === 0 && options.cancelled === true) {
      apps.clear();
      pods.clear();
    }
    if (failed < failing || options.never === true) failed += 1;
    if (left === 0) return [];
    return [{ id: DEPLOYMENT, version: 'v', affectedApps: [...apps.keys()], affectedPods: [...pods.keys()], currentStep: 1, totalSteps: 1, currentActions: [{ action: 'StartApplication', app: [...apps.keys()][0] }] }];
  }

  function answer(method: string, path: string, body: unknown): [number, unknown, http.OutgoingHttpHeaders?] {
    if (method === 'PUT') return put(path, body);
    if (path === '/v2/deployments') return [200, deployments()];
    const up = left === 0 && options.never !== true;
    const app = /^\/v2\/apps(\/.*?)(\?.*)?$/.exec(path)?.[1];
    if (app !== undefined) {
      const held = apps.get(decodeURIComponent(app));
      if (held === undefined) return [404, { message: `App '${app}' does not exist` }];
      const instances = Number(held['instances'] ?? 1);
      const last = failed === 0 ? {} : { lastTaskFailure: { appId: app, taskId: `task-${failed}`, state: 'TASK_FAILED', host: 'agent-1', message: "Failed to launch container: Unexpected HTTP response '404 Not Found' when trying to get the manifest", timestamp: '2024-01-01T00:00:00.000Z', version: 'v' } };
      return [200, { app: { ...held, instances, tasksRunning: up ? instances : 0, tasksStaged: up ? 0 : instances, tasksHealthy: up && held['healthChecks'] !== undefined ? instances : 0, tasksUnhealthy: 0, ...last } }];
    }
    const pod = /^\/v2\/pods(\/.*)::status$/.exec(path)?.[1];
    if (pod !== undefined) {
      const held = pods.get(decodeURIComponent(pod));
      if (held === undefined) return [404, { message: `pod '${pod}' does not exist` }];
      const terminationHistory = Array.from({ length: failed }, (_, at) => ({ instanceID: `pod.instance-${at}`, startedAt: 't', terminatedAt: 't', containers: [{ containerId: 'c', termination: { message: 'Container exited with status 1', exitCode: 1 } }] }));
      return [200, { id: pod, spec: held, status: up ? 'STABLE' : 'DEGRADED', statusSince: 't', instances: [{ id: 'i', status: up ? 'STABLE' : 'STAGING' }], terminationHistory, lastUpdated: 't', lastChanged: 't' }];
    }
    return [404, { message: 'URI not found' }];
  }

  const handle = (request: http.IncomingMessage, response: http.ServerResponse): void => {
    const pieces: Buffer[] = [];
    request.on('data', (piece: Buffer) => pieces.push(piece));
    request.on('end', () => {
      const text = Buffer.concat(pieces).toString();
      const body: unknown = text === '' ? undefined : JSON.parse(text);
      const { method = '', url = '' } = request;
      requests.push({ method, url, authorization: request.headers.authorization, body });
      let [status, content, headers]: [number, unknown, http.OutgoingHttpHeaders?] = [401, { message: 'Invalid username or password.' }];
      if (refusals > 0) {
        refusals -= 1;
        [status, content] = [first!.status, first!.body ?? { message: 'no leader' }];
      } else if (options.authorization === undefined || request.headers.authorization === options.authorization) [status, content, headers] = answer(method, url, body);
      setTimeout(() => {
        response.writeHead(status, { 'content-type': 'application/json', ...headers });
        response.end(typeof content === 'string' ? content : JSON.stringify(content));
      }, options.delayMs ?? 0);
    });
  };
  const server = options.tls === undefined ? http.createServer(handle) : https.createServer({ ...options.tls }, handle);
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `${options.tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`,
    requests,
    apps,
    pods,
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}

function flatApps(body: unknown, grouped: boolean, parent = ''): Array<[string, Members]> {
  if (Array.isArray(body)) return body.flatMap((one) => flatApps(one, false));
  const { id, apps = [], groups = [] } = body as { id: string; apps?: Members[]; groups?: unknown[] };
  const full = id.startsWith('/') ? id : `${parent}/${id}`;
  if (!grouped) return [[full, body as Members]];
  return [...apps.flatMap((app) => flatApps(app, false, full)), ...groups.flatMap((group) => flatApps(group, true, full))];
}
