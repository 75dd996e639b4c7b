/**
 * How much came over the network for a repository: its file system server counts, and who replaced one begins again.
 * The sum is of the time that this service has watched; what a server fetched that was replaced between two looks is
 * missing from it.
 */
import { z } from 'zod';
import type { Mounts } from '../../provisioner/mounts';

const STATUS_TIMEOUT_MS = 1_000;
/** One look serves all containers of a repository that are asked about together. */
const FRESH_MS = 1_000;

const shape = z.object({ transfer: z.object({ counters: z.object({ bytes: z.number().nonnegative() }) }) });

interface StatusSource {
  raw(method: 'status', params: object, timeoutMs: number): Promise<unknown>;
}

function isStatusSource(repository: object): repository is StatusSource {
  return 'raw' in repository;
}

interface Watched {
  total: number;
  counted: number;
  atMs: number;
}

export class FetchedBytes {
  readonly #watched = new Map<string, Watched>();

  constructor(
    private readonly mounts: Pick<Mounts, 'peek'>,
    private readonly nowMs: () => number,
  ) {}

  /** Grows from look to look; what is known when the server does not answer. */
  async total(fqrn: string): Promise<number> {
    const before = this.#watched.get(fqrn);
    if (before !== undefined && this.nowMs() - before.atMs < FRESH_MS) return before.total;
    const bytes = await this.#ask(fqrn);
    if (bytes === undefined) return before?.total ?? 0;
    // Asked again in between by another call: that one has counted it.
    const seen = this.#watched.get(fqrn) ?? { total: 0, counted: bytes, atMs: 0 };
    const total = seen.total + (bytes >= seen.counted ? bytes - seen.counted : bytes);
    this.#watched.set(fqrn, { total, counted: bytes, atMs: this.nowMs() });
    return total;
  }

  async #ask(fqrn: string): Promise<number | undefined> {
    const repository = this.mounts.peek(fqrn);
    if (repository === undefined || !isStatusSource(repository)) return undefined;
    try {
      return shape.parse(await repository.raw('status', {}, STATUS_TIMEOUT_MS)).transfer.counters.bytes;
    } catch {
      return undefined;
    }
  }
}
