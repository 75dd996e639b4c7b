/** One member of a proxy group, taken apart once, so that its password is in one field and nowhere else. */
import { DIRECT } from '../config/proxy-groups';
import { Failure } from '../error';

export interface ProxyEndpoint {
  /** What logs, messages and `status` show: the URL without credentials, or `DIRECT`. */
  readonly label: string;
  /** Undefined: no proxy. */
  readonly origin: string | undefined;
  /** Value of Proxy-Authorization. A secret. */
  readonly authorization: string | undefined;
}

export const DIRECT_ENDPOINT: ProxyEndpoint = { label: DIRECT, origin: undefined, authorization: undefined };

/** Reads `http://[user:password@]host:port` or `DIRECT`. Throws CONFIG_INVALID, which does not show the text: it may hold a password. */
export function proxyEndpoint(text: string): ProxyEndpoint {
  if (text.trim() === DIRECT || text.trim() === '') return DIRECT_ENDPOINT;
  let url: URL | undefined;
  let credentials: string | undefined;
  try {
    url = new URL(text.includes('://') ? text.trim() : `http://${text.trim()}`);
    if (url.username !== '' || url.password !== '') credentials = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  } catch {
    url = undefined;
  }
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:') || url.hostname === '') {
    throw new Failure('CONFIG_INVALID', `"${text.replace(/^.*@/, '[redacted]@').slice(0, 200)}" is not a proxy`, { next: 'write http://host:port or DIRECT' });
  }
  return {
    label: url.origin,
    origin: url.origin,
    authorization: credentials === undefined ? undefined : `Basic ${Buffer.from(credentials).toString('base64')}`,
  };
}
