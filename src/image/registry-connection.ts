/**
 * One registry, asked by the distribution protocol for things below `/v2/`:
 *
 *   GET /v2/<repository>/…
 *     200  the thing                           307  elsewhere, usually without a token
 *     401  WWW-Authenticate: Bearer realm="https://auth…/token",service="…",scope="repository:…:pull"
 *          → GET <realm>?service=…&scope=…  →  {"token": "…"} or {"access_token": "…"}, then once more with it
 *     401  WWW-Authenticate: Basic realm="…"   → once more with the credentials, where there are some
 *
 * Credentials of the host are never sent: what a caller gives goes to the registry and to the realm that it names, and to
 * nobody that is redirected to. https, except to this host itself (as agents do it).
 */
import type { IncomingMessage } from 'node:http';
import { urlToHttpOptions } from 'node:url';
import { Failure } from '../error';
import { httpGet } from '../transfer/http-get';

const MAX_REDIRECTS = 5;
const MAX_TOKEN_BYTES = 64 * 1024;

const isLoopback = (host: string): boolean => /^(localhost|127(\.[0-9]{1,3}){3}|\[::1\])$/.test(host);

export interface RegistryQuestion {
  /** The image's repository in the registry, for the scope of a token. */
  readonly repository: string;
  readonly accept?: string;
  readonly credentials?: { readonly user: string; readonly password: string };
  /** Ends the wait and the body. */
  readonly signal: AbortSignal;
}

export class RegistryConnection {
  private readonly base: string;
  private readonly allowed: readonly string[];

  constructor(
    /** For messages. */
    private readonly name: string,
    host: string,
  ) {
    const { hostname, port } = new URL(`https://${host}`);
    const scheme = isLoopback(hostname) && port !== '' ? 'http' : 'https';
    this.base = `${scheme}://${host}`;
    // A registry elsewhere must not send us to services of this host.
    this.allowed = scheme === 'http' ? ['http:', 'https:'] : ['https:'];
  }

  url(path: string): URL {
    return new URL(`${this.base}${path}`);
  }

  /** The last answer, whatever its status, with the body unread. Throws the signal's reason, FAILED_PRECONDITION, or what Node says. */
  async get(url: URL, question: RegistryQuestion): Promise<IncomingMessage> {
    const answer = await this.follow(url, undefined, question);
    if (statusOf(answer) !== 401) return answer;
    const authorization = await this.authorization(String(answer.headers['www-authenticate'] ?? ''), question);
    if (authorization === undefined) return answer;
    answer.destroy();
    return this.follow(url, authorization, question);
  }

  /** Follows redirects; the authorization goes to the registry itself alone. */
  private async follow(from: URL, authorization: string | undefined, { accept, signal }: RegistryQuestion): Promise<IncomingMessage> {
    let url = from;
    for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
      const headers = { ...(accept === undefined ? {} : { accept }), ...(authorization !== undefined && url.origin === from.origin ? { authorization } : {}) };
      // A connection for each request: there are few, and one kept alive would have to be closed by somebody.
      const answer = await httpGet({ ...urlToHttpOptions(url), agent: false, headers }, signal);
      const location = [301, 302, 303, 307, 308].includes(statusOf(answer)) ? answer.headers['location'] : undefined;
      if (typeof location !== 'string') return answer;
      answer.destroy();
      url = this.parseUrl(location, url);
    }
    throw new Failure('FAILED_PRECONDITION', `${this.name}: more than ${MAX_REDIRECTS} redirects`);
  }

  private async authorization(challenge: string, question: RegistryQuestion): Promise<string | undefined> {
    const { repository, credentials, signal } = question;
    const basic = credentials === undefined ? undefined : `Basic ${Buffer.from(`${credentials.user}:${credentials.password}`).toString('base64')}`;
    if (/^Basic\b/i.test(challenge)) return basic;
    if (!/^Bearer\s/i.test(challenge)) return undefined;
    const parameters = new Map([...challenge.slice(0, 4096).matchAll(/([a-z]+)="([^"]*)"/gi)].map((match) => [match[1]!.toLowerCase(), match[2]!]));
    const url = this.parseUrl(parameters.get('realm') ?? '', undefined);
    const service = parameters.get('service');
    if (service !== undefined) url.searchParams.set('service', service);
    url.searchParams.set('scope', parameters.get('scope') ?? `repository:${repository}:pull`);
    const answer = await this.follow(url, basic, { repository, signal });
    if (statusOf(answer) !== 200) {
      answer.destroy();
      return undefined;
    }
    const token = tokenOf(await readBody(answer, MAX_TOKEN_BYTES, this.name));
    return token === undefined ? undefined : `Bearer ${token}`;
  }

  private parseUrl(text: string, base: URL | undefined): URL {
    const url = URL.canParse(text, base?.href) ? new URL(text, base) : undefined;
    if (url === undefined || !this.allowed.includes(url.protocol)) {
      throw new Failure('FAILED_PRECONDITION', `${this.name}: sends to ${JSON.stringify(text.slice(0, 200))}, which is not https`);
    }
    return url;
  }
}

export const statusOf = (answer: IncomingMessage): number => answer.statusCode ?? 0;

function tokenOf(body: Buffer): string | undefined {
  try {
    const value = JSON.parse(body.toString('utf8')) as { token?: unknown; access_token?: unknown } | null;
    const token = value?.token ?? value?.access_token;
    return typeof token === 'string' && /^[\x21-\x7e]+$/.test(token) ? token : undefined;
  } catch {
    return undefined;
  }
}

/** FAILED_PRECONDITION beyond `maxBytes`. */
export async function readBody(answer: IncomingMessage, maxBytes: number, name: string): Promise<Buffer> {
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
