/**
 * The proxy text of `proxies` and CVMFS_HTTP_PROXY (spec 6.1):
 *
 *   http://squid1:3128|http://squid2:3128;http://backup:3128;DIRECT
 *
 * `;` between groups, tried in the order written; `|` within a group, over which the load is spread. `DIRECT` or an empty
 * element means no proxy; what has no scheme gets http://. Blanks around elements are trimmed, which the stock client does
 * not do: there "a:3128; DIRECT" has a broken element. `auto` (discovery by PAC scripts) is refused: it would run a script
 * from the network.
 */
import { Failure } from '../error';

export const DIRECT = 'DIRECT';
const MAX_PROXIES = 256;

/** Groups in order; every group has at least one element, `DIRECT` or a URL without a slash at the end. Throws CONFIG_INVALID. */
export function parseProxyGroups(text: string): string[][] {
  const groups = text.split(';').map((group) => [...new Set(group.split('|').map(parseProxy))]);
  const proxies = groups.reduce((sum, group) => sum + group.length, 0);
  if (proxies > MAX_PROXIES) throw new Failure('CONFIG_INVALID', `${proxies} proxies are over the limit of ${MAX_PROXIES}`);
  return groups;
}

/**
 * The groups with those of CVMFS_FALLBACK_PROXY after them. A site that names fallback proxies does not want its clients
 * to go out directly, so DIRECT leaves both lists (spec 6.1).
 */
export function withFallbackProxies(groups: readonly (readonly string[])[], fallback: readonly (readonly string[])[]): string[][] {
  if (fallback.length === 0) return groups.map((group) => [...group]);
  return [...groups, ...fallback].map((group) => group.filter((proxy) => proxy !== DIRECT)).filter((group) => group.length > 0);
}

function parseProxy(text: string): string {
  const element = text.trim();
  if (element === '' || element === DIRECT) return DIRECT;
  if (element === 'auto') {
    throw new Failure('CONFIG_INVALID', 'the proxy "auto" (discovery by PAC script) is not offered', { next: 'name the proxies, for example "http://squid:3128"' });
  }
  const withScheme = element.includes('://') ? element : `http://${element}`;
  let url: URL;
  try {
    url = new URL(withScheme);
  } catch {
    throw refusal(element);
  }
  if ((url.protocol !== 'http:' && url.protocol !== 'https:') || url.hostname === '') throw refusal(element);
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '' || /\s/.test(element)) throw refusal(element);
  return withScheme.replace(/\/$/, '');
}

function refusal(element: string): Failure {
  const shown = element.replace(/\/\/[^/@]*@/, '//[redacted]@').slice(0, 200);
  return new Failure('CONFIG_INVALID', `"${shown}" is not a proxy`, { next: 'write http://host:port, several of one group separated by |, groups by ;' });
}

/** The text with the passwords of its URLs taken out, for messages and `config dump`. */
export function withoutPasswords(text: string): string {
  return text.replace(/([a-z0-9+.-]{1,20}:\/\/[^\s/:@|;]*):[^\s/|;]*@/gi, '$1:[redacted]@');
}
