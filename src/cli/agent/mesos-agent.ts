/** A running agent over HTTP: what it is and which flags it was started with. */
import * as http from 'node:http';
import { z } from 'zod';
import { Failure } from '../../error';

const ASK_MS = 5_000;
const BODY_BYTES_MAX = 4 * 1024 * 1024;

const FLAGS = z.object({ flags: z.record(z.string(), z.string()) });
const VERSION = z.object({ version: z.string() });

export interface MesosAgent {
  readonly version: string;
  /** Flags with their values as text; one that was not given and has no default is absent. */
  readonly flags: Readonly<Record<string, string>>;
}

export interface AgentCredentials {
  readonly user: string;
  readonly password: string;
}

/** The agent's address, checked. */
export function agentUrl(text: string): URL {
  try {
    const url = new URL(text);
    if (url.protocol === 'http:' && url.username === '' && url.password === '' && url.search === '') return url;
  } catch {
    // Said below.
  }
  throw new Failure('INVALID_ARGUMENT', `${text.slice(0, 200)} is not the URL of an agent`, { next: 'give one such as http://127.0.0.1:5051' });
}

export async function askAgent(base: URL, credentials?: AgentCredentials): Promise<MesosAgent> {
  const [{ flags }, { version }] = await Promise.all([ask(base, 'flags', FLAGS, credentials), ask(base, 'version', VERSION, credentials)]);
  return { flags, version };
}

async function ask<T>(base: URL, what: string, shape: z.ZodType<T>, credentials?: AgentCredentials): Promise<T> {
  const url = new URL(`${base.pathname.replace(/\/+$/, '')}/${what}`, base);
  const { status, body } = await get(url, credentials);
  if (status === 401 || status === 403) throw new Failure('PERMISSION_DENIED', `the agent at ${url.host} wants credentials for /${what} (${status})`, { next: 'give --user and --password-file' });
  if (status !== 200) throw new Failure('NETWORK', `${url.href} answers ${status}`, { next: 'give --agent the address of the Mesos agent' });
  let json: unknown;
  try {
    json = JSON.parse(body);
  } catch {
    json = undefined;
  }
  const { data } = shape.safeParse(json);
  if (data === undefined) throw new Failure('NETWORK', `what answers at ${url.href} is no Mesos agent`, { next: 'give --agent the address of the Mesos agent' });
  return data;
}

function get(url: URL, credentials?: AgentCredentials): Promise<{ status: number; body: string }> {
  const headers = credentials === undefined ? {} : { authorization: `Basic ${Buffer.from(`${credentials.user}:${credentials.password}`).toString('base64')}` };
  return new Promise((resolve, reject) => {
    const request = http.get(url, { agent: false, headers }, (response) => {
      const pieces: Buffer[] = [];
      let bytes = 0;
      response.on('data', (piece: Buffer) => {
        bytes += piece.length;
        if (bytes > BODY_BYTES_MAX) request.destroy(new Error(`an answer of more than ${BODY_BYTES_MAX} bytes`));
        else pieces.push(piece);
      });
      response.once('error', failed);
      response.once('end', () => {
        clearTimeout(timer);
        resolve({ status: response.statusCode ?? 0, body: Buffer.concat(pieces).toString('utf8') });
      });
    });
    const timer = setTimeout(() => request.destroy(new Error(`no answer within ${ASK_MS / 1000} s`)), ASK_MS);
    const failed = (error: Error): void => {
      clearTimeout(timer);
      reject(new Failure('NETWORK', `no agent answers at ${url.host}: ${error.message}`, { next: 'start it, or give --agent its address', cause: error }));
    };
    request.once('error', failed);
  });
}

/** Mesos' own way of writing durations, `1mins` or `10.5secs`, in milliseconds; undefined when it is none. */
export function mesosDurationMs(text: string): number | undefined {
  const match = /^([0-9]+(?:\.[0-9]+)?)(ns|us|ms|secs|mins|hrs|days|weeks)$/.exec(text);
  const unit = { ns: 1e-6, us: 1e-3, ms: 1, secs: 1e3, mins: 6e4, hrs: 3.6e6, days: 8.64e7, weeks: 6.048e8 }[match?.[2] ?? ''];
  return unit === undefined ? undefined : Number(match![1]) * unit;
}
