/**
 * Image names as the agent reads them: `[registry/]repository[:tag|@digest]`. The first component is a registry when it has
 * a `.` or a `:` or is `localhost`; a tag is what follows the last `:` unless it holds a `/`. No character is refused.
 */
export interface Reference {
  readonly registry?: string;
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: string;
}

export function parseReference(text: string): Reference {
  const at = text.indexOf('@');
  const colon = text.lastIndexOf(':');
  const named = at < 0 && colon >= 0 && !text.slice(colon).includes('/');
  const rest = at >= 0 ? text.slice(0, at) : named ? text.slice(0, colon) : text;
  const slash = rest.indexOf('/');
  const first = rest.slice(0, Math.max(slash, 0));
  const hasRegistry = /[.:]/.test(first) || first === 'localhost';
  const repository = hasRegistry ? rest.slice(slash + 1) : rest;
  if (repository === '') throw new Error(`Failed to parse docker image '${text}'`);
  return { repository, ...(hasRegistry ? { registry: first } : {}), ...(at >= 0 ? { digest: text.slice(at + 1) } : named ? { tag: text.slice(colon + 1) } : {}) };
}

/** The key of an image in the agent's cache. */
export function showReference({ registry, repository, tag, digest }: Reference): string {
  return `${registry === undefined ? '' : `${registry}/`}${repository}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
}

/** Where an image's requests go. */
export interface Origin {
  /** `http://host:port`, without a slash at its end. */
  readonly url: string;
  /** `host` or `host:port`: what credentials are looked up by. */
  readonly host: string;
  readonly repository: string;
}

/** `dockerRegistry` is the agent's flag, used by names without a registry of their own and by no others. */
export function originOf(reference: Reference, dockerRegistry: string): Origin {
  const { registry } = reference;
  const { host, url } = registry === undefined ? fromFlag(dockerRegistry) : { host: registry, url: `${schemeOf(registry)}://${registry}` };
  const library = host.includes('docker.io') && !reference.repository.includes('/');
  return { url, host, repository: library ? `library/${reference.repository}` : reference.repository };
}

function fromFlag(dockerRegistry: string): { host: string; url: string } {
  const { protocol, host } = new URL(dockerRegistry);
  return { host, url: `${protocol}//${host}` };
}

function schemeOf(registry: string): 'http' | 'https' {
  const [host, port] = registry.split(':');
  if (port === '443') return 'https';
  if (port === '80') return 'http';
  return port !== undefined && (host === 'localhost' || host === '127.0.0.1') ? 'http' : 'https';
}
