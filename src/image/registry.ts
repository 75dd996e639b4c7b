/**
 * A docker registry as a source of configuration objects: `GET /v2/<repository>/blobs/sha256:<digest>` (registry-connection.ts).
 * Anonymous only: no credential of the host is ever sent.
 */
import { Failure } from '../error';
import type { ConfigSource } from './config-source';
import { MAX_CONFIG_BYTES } from './image-manifest';
import { readBody, RegistryConnection, statusOf } from './registry-connection';

const DEFAULT_TIMEOUT_MS = 5000;

export class Registry implements ConfigSource {
  private readonly connection: RegistryConnection;
  private readonly underWay = new Map<string, Promise<Buffer | undefined>>();

  constructor(
    readonly name: string,
    host: string,
    private readonly prefix: string,
    private readonly timeoutMs: number = DEFAULT_TIMEOUT_MS,
  ) {
    this.connection = new RegistryConnection(name, host);
  }

  async fetch(digest: string, repository: string | undefined, signal: AbortSignal | undefined): Promise<Buffer | undefined> {
    // A directory that was asked for by its path has no name in a registry.
    if (repository === undefined) return undefined;
    const url = this.connection.url(`/v2/${this.prefix === '' ? '' : `${this.prefix}/`}${repository}/blobs/sha256:${digest}`);
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
    const answer = await this.connection.get(url, { repository, signal });
    if (statusOf(answer) === 200) return readBody(answer, MAX_CONFIG_BYTES, this.name);
    answer.destroy();
    // Registries answer 401 and 403 for repositories that they do not have.
    if ([401, 403, 404].includes(statusOf(answer))) return undefined;
    const code = statusOf(answer) >= 500 || statusOf(answer) === 429 ? 'NETWORK' : 'FAILED_PRECONDITION';
    throw new Failure(code, `${this.name}: status ${statusOf(answer)} for ${url.pathname}`);
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
