/**
 * Sends a translated document to a Marathon and follows it until everything in it runs and is healthy. Marathon itself tries
 * for ever; here it ends with the framework's own words when tasks keep failing, and never undoes anything by itself.
 */
import { z } from 'zod';
import { Failure } from '../error';
import { isObject } from './check-shape';
import type { Answer, MarathonClient } from './client';
import type { Kind } from './documents';
import type { Json, JsonObject } from './json-text';
import { absoluteId, appWorkload, idPath, podWorkload, workloadState } from './workload';
import type { TaskFailure, Workload } from './workload';

export interface DeployOptions {
  readonly kind: Kind;
  /** As `translate` answered it. */
  readonly value: Json;
  readonly force: boolean;
  /** Follow it; otherwise end as soon as Marathon has taken it. */
  readonly wait: boolean;
  readonly timeoutMs: number;
  /** Tasks that may fail before it is given up. */
  readonly failuresMax: number;
  readonly now: () => number;
  readonly sleep: (ms: number) => Promise<void>;
  readonly show: (text: string, fraction: number) => void;
}

export interface Deployed {
  readonly deployment: string;
  readonly workloads: readonly Workload[];
  readonly waited_ms: number;
  /** Of tasks that failed on the way and were started again. */
  readonly failures: readonly TaskFailure[];
}

const POLL_MS = 1_000;
const RESULT = z.object({ deploymentId: z.string().min(1) });
const DEPLOYMENTS = z.array(z.object({ id: z.string(), currentStep: z.number().optional(), totalSteps: z.number().optional(), currentActions: z.array(z.object({ action: z.string(), app: z.string().optional(), pod: z.string().optional() })).optional() }));

/** Where the document is sent, and the services in it. */
export function target(kind: Kind, value: Json, force: boolean): { readonly path: string; readonly workloads: readonly Workload[] } {
  const query = `force=${force}`;
  if (kind === 'pod') {
    const workload = podWorkload(value as JsonObject);
    return { path: `/v2/pods${idPath(workload.id)}?${query}`, workloads: [workload] };
  }
  // Without partialUpdate=false members that are gone from the file would stay in Marathon.
  if (kind === 'apps') return { path: `/v2/apps?${query}&partialUpdate=false`, workloads: (value as JsonObject[]).map((app) => appWorkload(app)) };
  if (kind === 'group') return { path: `/v2/groups${idPath(absoluteId(String((value as JsonObject)['id'])))}?${query}`, workloads: groupWorkloads(value as JsonObject, '/') };
  const workload = appWorkload(value as JsonObject);
  return { path: `/v2/apps${idPath(workload.id)}?${query}&partialUpdate=false`, workloads: [workload] };
}

function groupWorkloads(group: JsonObject, parent: string): Workload[] {
  const id = absoluteId(String(group['id']), parent);
  const members = (name: string): JsonObject[] => (Array.isArray(group[name]) ? (group[name] as Json[]).filter(isObject) : []);
  return [...members('apps').map((app) => appWorkload(app, id)), ...members('groups').flatMap((inner) => groupWorkloads(inner, id))];
}

function deploymentOf({ body, headers }: Answer): string {
  const header = headers['marathon-deployment-id'];
  if (typeof header === 'string' && header !== '') return header;
  const { data } = RESULT.safeParse(body);
  if (data === undefined) throw new Failure('NETWORK', 'Marathon has taken the definition and does not say which deployment that is', { next: 'see its deployments' });
  return data.deploymentId;
}

export async function deploy(client: MarathonClient, options: DeployOptions): Promise<Deployed> {
  const began = options.now();
  const { path, workloads } = target(options.kind, options.value, options.force);
  // Failures of the version before it are not ours to report.
  const before = new Set(options.wait ? (await failuresOf(client, workloads)).map(({ id }) => id) : []);
  const deployment = deploymentOf(await client.put(path, options.value));
  const failures = options.wait ? await follow(client, options, { deployment, workloads, before, began }) : [];
  return { deployment, workloads, waited_ms: options.now() - began, failures };
}

interface Following {
  readonly deployment: string;
  readonly workloads: readonly Workload[];
  readonly before: ReadonlySet<string>;
  readonly began: number;
}

async function failuresOf(client: MarathonClient, workloads: readonly Workload[]): Promise<TaskFailure[]> {
  const found: TaskFailure[] = [];
  for (const workload of workloads) found.push(...((await workloadState(client, workload))?.failures ?? []));
  return found;
}

async function follow(client: MarathonClient, options: DeployOptions, { deployment, workloads, before, began }: Following): Promise<readonly TaskFailure[]> {
  const failures = new Map<string, TaskFailure>();
  for (;;) {
    const { data: deployments } = DEPLOYMENTS.safeParse(await client.get('/v2/deployments'));
    if (deployments === undefined) throw new Failure('NETWORK', 'Marathon does not list its deployments', { next: 'check --url and the credentials' });
    const under = deployments.find(({ id }) => id === deployment);
    let waiting = 0;
    let running = 0;
    const missing: string[] = [];
    for (const workload of workloads) {
      const state = await workloadState(client, workload);
      for (const failure of state?.failures ?? []) if (!before.has(failure.id)) failures.set(failure.id, failure);
      running += Math.min(state?.running ?? 0, workload.instances);
      if (state === null || !state.ours) missing.push(workload.id);
      else if (!state.healthy) waiting += 1;
    }
    if (under === undefined && missing.length > 0) {
      throw new Failure('FAILED_PRECONDITION', `deployment ${deployment} has ended, and Marathon does not have what was sent as ${missing.join(', ')}: it was cancelled, or replaced by another`, { next: 'see the deployments of Marathon', data: { deployment } });
    }
    if (under === undefined && waiting === 0) return [...failures.values()];
    if (failures.size >= options.failuresMax) throw gaveUp(`${failures.size} tasks failed`, 'FAILED_PRECONDITION', deployment, under !== undefined, failures);
    if (options.now() - began > options.timeoutMs) throw gaveUp(`it is not healthy after ${options.timeoutMs / 1000} s`, 'DEADLINE_EXCEEDED', deployment, under !== undefined, failures);
    const total = workloads.reduce((sum, { instances }) => sum + instances, 0);
    const step = under?.totalSteps === undefined ? '' : `step ${under.currentStep ?? 0} of ${under.totalSteps}, `;
    const actions = under?.currentActions?.map(({ action, app, pod }) => `${action} ${app ?? pod ?? ''}`).join(', ') ?? 'waiting for health';
    options.show(`${step}${running} of ${total} running: ${actions}${failures.size === 0 ? '' : `; ${failures.size} failed, last: ${[...failures.values()].at(-1)!.text}`}`, total === 0 ? 1 : running / total);
    await options.sleep(POLL_MS);
  }
}

function gaveUp(what: string, code: 'FAILED_PRECONDITION' | 'DEADLINE_EXCEEDED', deployment: string, under: boolean, failures: ReadonlyMap<string, TaskFailure>): Failure {
  const last = [...failures.values()].at(-1);
  const goesOn = under ? `; deployment ${deployment} goes on` : '';
  return new Failure(code, `${what}${last === undefined ? '' : `, the last one with: ${last.text}`}${goesOn}`, {
    next: under ? `undo it with: curl -X DELETE <url>/v2/deployments/${deployment}, or deploy something that works with --force` : 'see the tasks in Marathon',
    data: { deployment, failures: [...failures.values()].map(({ text }) => text).slice(0, 10) },
  });
}
