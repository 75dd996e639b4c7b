/**
 * `--docker_config`: the JSON of docker's own configuration file, `auths` or the older form without it. With an entry for a
 * registry the agent sends Basic authentication on every request to it, asked or not; a Bearer challenge is answered
 * with a token from its realm, for which the same Basic authentication is sent.
 */
import * as fs from 'node:fs';
import type { Answer, Asked } from './curl';
import { getDocument } from './curl';

export type Headers = Readonly<Record<string, string>>;

/** By host as it stands in image names (`127.0.0.1:61080`). */
export class Credentials {
  readonly #byHost = new Map<string, string>();

  /** `flag`: JSON, a path, or `file://` and a path. */
  constructor(flag?: string) {
    if (flag === undefined) return;
    const text = flag.trimStart().startsWith('{') ? flag : fs.readFileSync(flag.replace(/^file:\/\//, ''), 'utf8');
    const parsed = JSON.parse(text) as Record<string, { auth?: string }> & { auths?: Record<string, { auth?: string }> };
    for (const [host, { auth }] of Object.entries(parsed.auths ?? parsed)) if (typeof auth === 'string') this.#byHost.set(host.replace(/^https?:\/\//, '').replace(/\/.*$/, ''), auth);
  }

  headersFor(host: string): Headers {
    const auth = this.#byHost.get(host);
    return auth === undefined ? {} : { Authorization: `Basic ${auth}` };
  }
}

/** The headers with which a request that got 401 is to be made again. */
export async function answerChallenge(answer: Pick<Answer, 'headers'>, basic: Headers, asked: Omit<Asked, 'headers'>): Promise<Headers> {
  const challenge = answer.headers.get('www-authenticate');
  if (challenge === undefined) throw new Error('Failed to get WWW-Authenticate header: Not found');
  const [, scheme, rest] = /^(\S+)\s*(.*)$/.exec(challenge)!;
  if (scheme!.toLowerCase() === 'basic') return basic;
  if (scheme!.toLowerCase() !== 'bearer') throw new Error(`Unsupported auth-scheme: ${scheme}`);
  const parameters = new Map([...rest!.matchAll(/([a-z]+)="([^"]*)"/gi)].map(([, name, value]) => [name!.toLowerCase(), value!]));
  const realm = parameters.get('realm');
  if (realm === undefined) throw new Error('Missing realm in WWW-Authenticate');
  const query = ['service', 'scope'].filter((name) => parameters.has(name)).map((name) => `${name}=${parameters.get(name)}`);
  const token = await getDocument(query.length === 0 ? realm : `${realm}?${query.join('&')}`, { ...asked, headers: basic });
  if (token.status !== 200) throw new Error(`Unexpected HTTP response '${token.statusLine}' when trying to GET '${realm}'`);
  return { Authorization: `Bearer ${(JSON.parse(token.body.toString()) as { token: string }).token}` };
}
