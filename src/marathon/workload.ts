/** How an app or a pod is doing, as far as a deployment wants to know. */
import { z } from 'zod';
import type { MarathonClient } from './client';
import type { JsonObject } from './json-text';
import { isObject } from './check-shape';

/** A service that was sent: its absolute id and what must be running of it. */
export interface Workload {
  readonly kind: 'app' | 'pod';
  readonly id: string;
  readonly instances: number;
  /** Images as they were sent, by which somebody else's definition is told from ours. */
  readonly images: readonly string[];
}

export interface TaskFailure {
  /** Of the task or instance. */
  readonly id: string;
  readonly text: string;
  readonly at: string;
}

export interface WorkloadState {
  readonly running: number;
  readonly healthy: boolean;
  readonly ours: boolean;
  readonly failures: readonly TaskFailure[];
}

const APP = z.object({
  app: z.object({
    instances: z.number(),
    tasksRunning: z.number().default(0),
    tasksHealthy: z.number().default(0),
    tasksUnhealthy: z.number().default(0),
    healthChecks: z.array(z.unknown()).default([]),
    container: z.object({ docker: z.object({ image: z.string() }).optional() }).optional(),
    lastTaskFailure: z.object({ taskId: z.string(), state: z.string(), message: z.string(), host: z.string().default(''), timestamp: z.string() }).optional(),
  }),
});

const POD = z.object({
  spec: z.object({ containers: z.array(z.object({ image: z.object({ id: z.string() }).optional() })) }),
  instances: z.array(z.object({ id: z.string(), status: z.string(), message: z.string().optional() })).default([]),
  terminationHistory: z
    .array(z.object({ instanceID: z.string(), terminatedAt: z.string(), message: z.string().optional(), containers: z.array(z.object({ termination: z.object({ message: z.string().optional(), exitCode: z.number().optional() }).optional() })).default([]) }))
    .default([]),
});

/** Path of an id below `/v2/apps` and the like; ids hold nothing that an URL would take for something else. */
export function idPath(id: string): string {
  return id.split('/').map(encodeURIComponent).join('/');
}

/** `id` as Marathon means it inside the group `parent` (absolute). */
export function absoluteId(id: string, parent = '/'): string {
  const steps = id.startsWith('/') ? [] : parent.split('/').filter((step) => step !== '');
  for (const step of id.split('/').filter((one) => one !== '')) {
    if (step === '..') steps.pop();
    else steps.push(step);
  }
  return `/${steps.join('/')}`;
}

export function appWorkload(app: JsonObject, parent = '/'): Workload {
  const docker = isObject(app['container']) && isObject(app['container']['docker']) ? app['container']['docker'] : {};
  return { kind: 'app', id: absoluteId(String(app['id']), parent), instances: typeof app['instances'] === 'number' ? app['instances'] : 1, images: typeof docker['image'] === 'string' ? [docker['image']] : [] };
}

export function podWorkload(pod: JsonObject): Workload {
  const scaling = isObject(pod['scaling']) ? pod['scaling'] : {};
  const containers = Array.isArray(pod['containers']) ? pod['containers'].filter(isObject) : [];
  const images = containers.flatMap(({ image }) => (isObject(image) && typeof image['id'] === 'string' ? [image['id']] : []));
  return { kind: 'pod', id: absoluteId(String(pod['id'])), instances: typeof scaling['instances'] === 'number' ? scaling['instances'] : 1, images };
}

/** Null when Marathon does not have it, or has something that is none. */
export async function workloadState(client: MarathonClient, workload: Workload): Promise<WorkloadState | null> {
  return workload.kind === 'app' ? appState(client, workload) : podState(client, workload);
}

async function appState(client: MarathonClient, { id, instances, images }: Workload): Promise<WorkloadState | null> {
  const { data } = APP.safeParse(await client.get(`/v2/apps${idPath(id)}?embed=app.counts&embed=app.lastTaskFailure`));
  if (data === undefined) return null;
  const { tasksRunning, tasksHealthy, tasksUnhealthy, healthChecks, lastTaskFailure: last, container } = data.app;
  const healthy = tasksRunning >= instances && tasksUnhealthy === 0 && (healthChecks.length === 0 || tasksHealthy >= instances);
  const ours = images.length === 0 || container?.docker?.image === images[0];
  return { running: tasksRunning, healthy, ours, failures: last === undefined ? [] : [{ id: last.taskId, text: `${last.state}${last.host === '' ? '' : ` on ${last.host}`}: ${last.message}`, at: last.timestamp }] };
}

async function podState(client: MarathonClient, { id, instances, images }: Workload): Promise<WorkloadState | null> {
  const { data } = POD.safeParse(await client.get(`/v2/pods${idPath(id)}::status`));
  if (data === undefined) return null;
  const stable = data.instances.filter(({ status }) => status === 'STABLE').length;
  const failures = data.terminationHistory.map(({ instanceID, terminatedAt, message, containers }) => {
    const reasons = containers.flatMap(({ termination }) => (termination?.message === undefined ? [] : [termination.message]));
    return { id: instanceID, text: [...(message === undefined ? [] : [message]), ...reasons].join('; ') || 'an instance ended', at: terminatedAt };
  });
  const there = data.spec.containers.flatMap(({ image }) => (image === undefined ? [] : [image.id]));
  return { running: stable, healthy: stable >= instances, ours: images.every((image) => there.includes(image)), failures };
}
