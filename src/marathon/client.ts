/**
 * A Marathon over HTTP: one request at a time with a deadline, its answers checked, its errors in the words of Marathon. What
 * only reads is asked again when it fails; what changes something only when it surely never arrived.
 */
import * as http from 'node:http';
import * as https from 'node:https';
import { z } from 'zod';
import { Failure } from '../error';
import type { Code } from '../error';
import type { Json } from './json-text';

export type Credentials = { readonly kind: 'none' } | { readonly kind: 'basic'; readonly user: string; readonly password: string } | { readonly kind: 'token'; readonly scheme: 'token' | 'bearer'; readonly token: string };

export interface ClientOptions {
  /** Base URL, `http://marathon.example.org:8080` or `https://cluster.example.org/service/marathon`. */
  readonly url: string;
  readonly credentials: Credentials;
  /** PEM of certificates to trust in place of the host's. */
  readonly ca?: string;
  readonly requestMs?: number;
  readonly sleep: (ms: number) => Promise<void>;
}

export interface Answer {
  readonly body: Json;
  readonly headers: http.IncomingHttpHeaders;
}

export const REQUEST_MS = 60_000;
const BODY_BYTES_MAX = 16 * 1024 * 1024;
const ATTEMPTS_MAX = 5;
const BACKOFF_MS = 500;
const DETAIL_CHARACTERS_MAX = 2_000;

const REFUSAL = z.object({
  message: z.string().optional(),
  details: z.union([z.string(), z.array(z.object({ path: z.string().optional(), errors: z.array(z.string()).optional(), message: z.string().optional() }))]).optional(),
  deployments: z.array(z.object({ id: z.string() })).optional(),
});

const CODE_OF: Readonly<Record<number, Code>> = { 400: 'INVALID_ARGUMENT', 401: 'PERMISSION_DENIED', 403: 'PERMISSION_DENIED', 404: 'NOT_FOUND', 409: 'FAILED_PRECONDITION', 413: 'RESOURCE_EXHAUSTED', 422: 'INVALID_ARGUMENT' };

/** Checks the base URL. INVALID_ARGUMENT also for credentials in it, which would end up in logs. */
export function marathonUrl(text: string): string {
  const next = 'give a URL such as https://marathon.example.org:8443';
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new Failure('INVALID_ARGUMENT', `${JSON.stringify(text.slice(0, 200))} is not the URL of a Marathon`, { next });
  }
  if (url.username !== '' || url.password !== '') throw new Failure('INVALID_ARGUMENT', 'the URL of Marathon has credentials in it', { next: 'give --user and a password file, or a token file' });
  if (!['http:', 'https:'].includes(url.protocol) || url.search !== '' || url.hash !== '') throw new Failure('INVALID_ARGUMENT', `${text.slice(0, 200)} is not the URL of a Marathon`, { next });
  return url.href.replace(/\/+$/, '');
}

export class MarathonClient {
  private readonly base: string;

  constructor(private readonly options: ClientOptions) {
    this.base = marathonUrl(options.url);
  }

  /** The answer to a GET; null when there is no such thing. Tried again, within bounds, while nobody answers. */
  async get(path: string): Promise<Json | null> {
    for (let attempt = 1; ; attempt++) {
      try {
        return (await this.request('GET', path)).body;
      } catch (error) {
        const failure = Failure.from(error);
        if (failure.code === 'NOT_FOUND') return null;
        if (!['NETWORK', 'DEADLINE_EXCEEDED'].includes(failure.code) || attempt === ATTEMPTS_MAX) throw failure;
        await this.options.sleep(BACKOFF_MS * 2 ** (attempt - 1));
      }
    }
  }

  /** A PUT, sent again only when no connection came about or Marathon said that it was not ready. */
  async put(path: string, body: Json): Promise<Answer> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.request('PUT', path, body);
      } catch (error) {
        const failure = Failure.from(error);
        if (failure.data['arrived'] !== false || attempt === ATTEMPTS_MAX) throw failure;
        await this.options.sleep(BACKOFF_MS * 2 ** (attempt - 1));
      }
    }
  }

  private request(method: 'GET' | 'PUT', path: string, body?: Json): Promise<Answer> {
    const { ca, requestMs = REQUEST_MS } = this.options;
    const payload = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
    const target = new URL(`${this.base}${path}`);
    const headers = { accept: 'application/json', ...authorization(this.options.credentials), ...(payload === undefined ? {} : { 'content-type': 'application/json', 'content-length': payload.length }) };
    return new Promise((resolve, reject) => {
      // The descriptor in an Agent would keep the process; one connection per request is enough here.
      const options = { method, headers, agent: false as const };
      const sent = target.protocol === 'https:' ? https.request(target, { ...options, ...(ca === undefined ? {} : { ca }) }) : http.request(target, options);
      const timer = setTimeout(() => sent.destroy(new Failure('DEADLINE_EXCEEDED', `Marathon at ${this.base} does not answer within ${requestMs / 1000} s`, { next: 'see whether it has a leader' })), requestMs);
      let connected = false;
      sent.once('socket', (socket) => socket.once('connect', () => (connected = true)));
      const failed = (error: Error): void => {
        clearTimeout(timer);
        reject(error instanceof Failure ? error : new Failure('NETWORK', `Marathon at ${this.base} cannot be reached: ${error.message}`, { next: 'check --url', data: { arrived: connected }, cause: error }));
      };
      sent.once('error', failed);
      sent.once('response', (response) => {
        const pieces: Buffer[] = [];
        let bytes = 0;
        response.on('data', (piece: Buffer) => {
          bytes += piece.length;
          if (bytes > BODY_BYTES_MAX) sent.destroy(new Failure('RESOURCE_EXHAUSTED', `Marathon at ${this.base} answers with more than ${BODY_BYTES_MAX} bytes`));
          else pieces.push(piece);
        });
        response.once('error', failed);
        response.once('end', () => {
          clearTimeout(timer);
          try {
            resolve({ body: this.read(response, Buffer.concat(pieces)), headers: response.headers });
          } catch (error) {
            reject(error as Error);
          }
        });
      });
      sent.end(payload);
    });
  }

  private read(response: http.IncomingMessage, bytes: Buffer): Json {
    const { statusCode: status = 0 } = response;
    let body: Json | undefined;
    try {
      body = JSON.parse(bytes.toString('utf8')) as Json;
    } catch {
      // A login page, or a proxy's own words.
    }
    if (status >= 200 && status < 300) {
      if (body !== undefined) return body;
      throw new Failure('NETWORK', `what answers at ${this.base} is no Marathon: its answer is no JSON`, { next: 'check --url' });
    }
    if (status >= 300 && status < 400) throw new Failure('NETWORK', `${this.base} redirects to ${String(response.headers.location).slice(0, 200)}`, { next: 'give the URL that it redirects to, or credentials' });
    throw this.refusal(status, body);
  }

  private refusal(status: number, body: Json | undefined): Failure {
    const { data } = REFUSAL.safeParse(body ?? {});
    const details = typeof data?.details === 'string' ? [data.details] : (data?.details ?? []).map(({ path, errors, message }) => `${path === undefined || path === '' ? '' : `${path}: `}${[...(errors ?? []), ...(message === undefined ? [] : [message])].join(', ')}`);
    const deployments = data?.deployments?.map(({ id }) => id) ?? [];
    const said = [data?.message ?? http.STATUS_CODES[status] ?? 'no reason given', ...details].join('; ').slice(0, DETAIL_CHARACTERS_MAX);
    const code = CODE_OF[status] ?? (status >= 500 ? 'NETWORK' : 'FAILED_PRECONDITION');
    const next = nextStep(status);
    return new Failure(code, `Marathon answers ${status}: ${said}${deployments.length === 0 ? '' : ` (deployments ${deployments.join(', ')})`}`, {
      ...(next === undefined ? {} : { next }),
      // 503 is what it says while it has no leader: nothing was changed.
      data: { status, ...(deployments.length === 0 ? {} : { deployments }), ...(status === 503 ? { arrived: false } : {}) },
    });
  }
}

function nextStep(status: number): string | undefined {
  if (status === 401) return 'give credentials: --user with --password-file, or --token-file';
  if (status === 403) return 'these credentials do not allow it';
  if (status === 409) return 'wait until that deployment has ended, or stop it with --force';
  return undefined;
}

function authorization(credentials: Credentials): { authorization?: string } {
  if (credentials.kind === 'basic') return { authorization: `Basic ${Buffer.from(`${credentials.user}:${credentials.password}`).toString('base64')}` };
  if (credentials.kind === 'token') return { authorization: credentials.scheme === 'token' ? `token=${credentials.token}` : `Bearer ${credentials.token}` };
  return {};
}
