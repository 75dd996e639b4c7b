/** Who was asked for an object and what each did: the text of the failure at the end, and of the deadline in between. */
import { Failure, type Code } from '../error';
import type { AttemptFailure } from './attempt-failure';
import type { Place } from './retry-plan';

/** Steps that a message shows; a chain of many servers and proxies can make hundreds. */
const MAX_SHOWN = 12;

export class AttemptTrail {
  private readonly failures: Array<{ place: Place; failure: AttemptFailure }> = [];
  private asking: Place | undefined;

  constructor(private readonly object: string) {}

  began(place: Place): void {
    this.asking = place;
  }

  failed(place: Place, failure: AttemptFailure): void {
    this.asking = undefined;
    this.failures.push({ place, failure });
  }

  /**
   * All ways were tried. OBJECT_MISSING only when every server was reached and said so, OBJECT_TOO_BIG when every one sent
   * more than may be, OBJECT_CORRUPT when all were reached and some sent wrong bytes; else NETWORK, which tells the caller
   * that trying again later may help.
   */
  exhausted(): Failure {
    const lastOf = new Map(this.failures.map(({ place, failure }) => [place.server, failure.kind]));
    const kinds = new Set(lastOf.values());
    if ([...kinds].every((kind) => kind === 'missing')) return this.failure('OBJECT_MISSING', 'no server has it', 'check that the publication is complete, or wait until the servers have caught up');
    if ([...kinds].every((kind) => kind === 'too-big')) return this.failure('OBJECT_TOO_BIG', 'every server sent more than it may have', 'look at the first bytes in the log: an HTML page comes from a proxy or portal on the way');
    if ([...kinds].every((kind) => kind === 'missing' || kind === 'corrupt' || kind === 'too-big')) return this.failure('OBJECT_CORRUPT', 'no server sent the right bytes', 'look at the first bytes in the log: an HTML page comes from a proxy or portal on the way');
    return this.failure('NETWORK', 'no server delivered it', 'check the network, the proxies and the servers');
  }

  /** `ownLimit`: the limit of the configuration, not the caller's, has passed. */
  overdue(afterMs: number, ownLimit: boolean): Failure {
    const what = `not delivered within ${Math.round(afterMs)} ms`;
    return this.failure(ownLimit ? 'NETWORK' : 'DEADLINE_EXCEEDED', what, 'check the network, the proxies and the servers');
  }

  private failure(code: Code, what: string, next: string): Failure {
    const steps: Array<{ text: string; times: number }> = [];
    for (const { place, failure } of this.failures) {
      const text = `${place.server} via ${place.proxy.label}: ${failure.message}`;
      const last = steps[steps.length - 1];
      if (last?.text === text) last.times += 1;
      else steps.push({ text, times: 1 });
    }
    if (this.asking !== undefined) steps.push({ text: `${this.asking.server} via ${this.asking.proxy.label}: being asked`, times: 1 });
    const shown = steps.slice(0, MAX_SHOWN).map(({ text, times }) => (times === 1 ? text : `${text} (${times} times)`));
    if (steps.length > MAX_SHOWN) shown.push(`and ${steps.length - MAX_SHOWN} more`);
    const places = [...this.failures.map(({ place }) => place), ...(this.asking === undefined ? [] : [this.asking])];
    return new Failure(code, `${this.object}: ${what} (${shown.length === 0 ? 'nobody could be asked yet' : shown.join('; ')})`, {
      next,
      data: {
        object: this.object,
        servers: [...new Set(places.map((place) => place.server))],
        proxies: [...new Set(places.map((place) => place.proxy.label))],
        attempts: places.length,
      },
    });
  }
}
