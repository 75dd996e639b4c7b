/**
 * A docker registry as a source of configuration objects, by the distribution protocol:
 *
 *   GET /v2/<repository>/blobs/sha256:<digest>
 *     200  the object                          307  elsewhere, usually without a token
 *     401  WWW-Authenticate: Bearer realm="https://auth…/token",service="…",scope="repository:…:pull"
 *          → GET <realm>?service=…&scope=…  →  {"token": "…"} or {"access_token": "…"}, then once more with it
 *
 * Anonymous only: no credential of the host is ever sent. https, except to this host itself (as agents do it).
 */
import type { IncomingMessage } from 'node:http';
import { urlToHttpOptions } from 'node:url';
import { Failure } from '../error';
import { httpGet } from '../transfer/http-get';
import type { ConfigSource } from './config-source';
import { MAX_CONFIG_BYTES } from './image-manifest';

const DEFAULT_TIMEOUT_MS = 5000;
const MAX_REDIRECTS = 5;
const MAX_TOKEN_BYTES = 64 * 1024;

const isLoopback = (host: string): boolean => /^(localhost|127(\.[0-9]{1,3}){3}|\[::1\])$/.test(host);

export class Registry implements ConfigSource {
  private readonly base: string;
  private readonly allowed: readonly string[];
  private readonly underWay = new Map<string, Promise<Buffer | undefined>>();

  constructor(
    readonly name: string,
    host: string,
    private readonly prefix: string,
    private readonly timeoutMs: number = DEFAULT_TIMEOUT_MS,
  ) {
    const { hostname, port } = new URL(`https://${host}`);
    const scheme = isLoopback(hostname) && port !== '' ? 'http' : 'https';
    this.base = `${scheme}://${host}`;
    // A registry elsewhere must not send us to services of this host.
    this.allowed = scheme === 'http' ? ['http:', 'https:'] : ['https:'];
  }

  async fetch(digest: string, repository: string | undefined, signal: AbortSignal | undefined): Promise<Buffer | undefined> {
    // A directory that was asked for by its path has no name in a registry.
    if (repository === undefined) return undefined;
    const url = new URL(`${this.base}/v2/${this.prefix === '' ? '' : `${this.prefix}/`}${repository}/blobs/sha256:${digest}`);
    const running = this.underWay.get(url.href) ?? this.start(url, repository);
    return signal === undefined ? running : whileWanted(running, signal, this.name);
  }

  /** One request however many containers start at once, or the registry would begin to refuse them (429). */
  private start(url: URL, repository: string): Promise<Buffer | undefined> {
    const deadline = AbortSignal.timeout(this.timeoutMs);
    const running = this.blob(url, repository, deadline)
      .catch((reason: unknown) => {
        if (reason instanceof Failure) throw reason;
        if (deadline.aborted) throw new Failure('DEADLINE_EXCEEDED', `${this.name}: no complete answer within ${this.timeoutMs} ms`, { cause: reason });
        throw new Failure('NETWORK', `${this.name}: ${(reason as Error).message}`, { cause: reason });
      })
      .finally(() => this.underWay.delete(url.href));
    this.underWay.set(url.href, running);
    // Everybody who waited may be gone by then.
    running.catch(() => undefined);
    return running;
  }

  private async blob(url: URL, repository: string, signal: AbortSignal): Promise<Buffer | undefined> {
    let answer = await this.get(url, undefined, signal);
    if (statusOf(answer) === 401) {
      const challenge = String(answer.headers['www-authenticate'] ?? '');
      answer.destroy();
      const token = await this.token(challenge, repository, signal);
      if (token !== undefined) answer = await this.get(url, token, signal);
    }
    if (statusOf(answer) === 200) return readBody(answer, MAX_CONFIG_BYTES, this.name);
    answer.destroy();
    // Registries answer 401 and 403 for repositories that they do not have.
    if ([401, 403, 404].includes(statusOf(answer))) return undefined;
    const code = statusOf(answer) >= 500 || statusOf(answer) === 429 ? 'NETWORK' : 'FAILED_PRECONDITION';
    throw new Failure(code, `${this.name}: status ${statusOf(answer)} for ${url.pathname}`);
  }

  /** Follows redirects; the token goes to the registry itself alone. */
  private async get(from: URL, token: string | undefined, signal: AbortSignal): Promise<IncomingMessage> {
    let url = from;
    for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
      const headers = token !== undefined && url.origin === from.origin ? { authorization: `Bearer ${token}` } : {};
      // A connection for each request: there are few, and one kept alive would have to be closed by somebody.
      const answer = await httpGet({ ...urlToHttpOptions(url), agent: false, headers }, signal);
      const location = [301, 302, 303, 307, 308].includes(statusOf(answer)) ? answer.headers['location'] : undefined;
      if (typeof location !== 'string') return answer;
      answer.destroy();
      url = this.parseUrl(location, url);
    }
    throw new Failure('FAILED_PRECONDITION', `${this.name}: more than ${MAX_REDIRECTS} redirects`);
  }

  private async token(challenge: string, repository: string, signal: AbortSignal): Promise<string | undefined> {
    if (!/^Bearer\s/i.test(challenge)) return undefined;
    const parameters = new Map([...challenge.slice(0, 4096).matchAll(/([a-z]+)="([^"]*)"/gi)].map((match) => [match[1]!.toLowerCase(), match[2]!]));
    const url = this.parseUrl(parameters.get('realm') ?? '', undefined);
    const service = parameters.get('service');
    if (service !== undefined) url.searchParams.set('service', service);
    url.searchParams.set('scope', parameters.get('scope') ?? `repository:${repository}:pull`);
    const answer = await this.get(url, undefined, signal);
    if (statusOf(answer) !== 200) {
      answer.destroy();
      return undefined;
    }
    const body = await readBody(answer, MAX_TOKEN_BYTES, this.name);
    return tokenOf(body);
  }

  private parseUrl(text: string, base: URL | undefined): URL {
    const url = URL.canParse(text, base?.href) ? new URL(text, base) : undefined;
    if (url === undefined || !this.allowed.includes(url.protocol)) {
      throw new Failure('FAILED_PRECONDITION', `${this.name}: sends to ${JSON.stringify(text.slice(0, 200))}, which is not https`);
    }
    return url;
  }
}

const statusOf = (answer: IncomingMessage): number => answer.statusCode ?? 0;

function tokenOf(body: Buffer): string | undefined {
  try {
    const value = JSON.parse(body.toString('utf8')) as { token?: unknown; access_token?: unknown } | null;
    const token = value?.token ?? value?.access_token;
    return typeof token === 'string' && /^[\x21-\x7e]+$/.test(token) ? token : undefined;
  } catch {
    return undefined;
  }
}

/** The result, unless `signal` comes first; the work goes on for the others. */
function whileWanted<T>(work: Promise<T>, signal: AbortSignal, name: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(new Failure('CANCELLED', `${name}: nobody waits for its answer any more`));
    if (signal.aborted) return stop();
    signal.addEventListener('abort', stop, { once: true });
    void work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}

async function readBody(answer: IncomingMessage, maxBytes: number, name: string): Promise<Buffer> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of answer as AsyncIterable<Buffer>) {
    size += part.length;
    // Leaving the loop destroys the connection.
    if (size > maxBytes) throw new Failure('FAILED_PRECONDITION', `${name}: the answer exceeds ${maxBytes} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts);
}
