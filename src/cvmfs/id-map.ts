/**
 * Ownership maps (spec 5.8): a text file that says which user or group ids a client shows in place of the published ones.
 *
 *     # comment
 *     1001 5001      published 1001 is shown as 5001
 *     * 65534        everything else
 */
import { Failure } from '../error';

const MAX_LINES = 100_000;
const MAX_ID = 0xffffffff;

export class IdMap {
  private constructor(
    private readonly ids: ReadonlyMap<number, number>,
    private readonly fallback: number | undefined,
  ) {}

  /** `source` names the file in the CONFIG_INVALID that a malformed line is. */
  static parse(text: string, source: string): IdMap {
    const ids = new Map<number, number>();
    let fallback: number | undefined;
    const lines = text.split('\n');
    if (lines.length > MAX_LINES) throw new Failure('CONFIG_INVALID', `id map ${source} has more than ${MAX_LINES} lines`);
    lines.forEach((line, i) => {
      const rule = line.replace(/#.*/, '').trim();
      if (rule === '') return;
      const match = /^(\*|[0-9]{1,10})[ \t]+([0-9]{1,10})$/.exec(rule);
      const from = Number(match?.[1] === '*' ? 0 : match?.[1]);
      const to = Number(match?.[2]);
      if (match === null || from > MAX_ID || to > MAX_ID) {
        throw new Failure('CONFIG_INVALID', `id map ${source}, line ${i + 1}: ${JSON.stringify(line.slice(0, 80))}`, {
          next: 'write "<published id> <shown id>" or "* <shown id>"',
        });
      }
      if (match[1] === '*') fallback = to;
      else ids.set(from, to);
    });
    return new IdMap(ids, fallback);
  }

  /** The id to show for a published one. */
  map(id: number): number {
    return this.ids.get(id) ?? this.fallback ?? id;
  }
}
