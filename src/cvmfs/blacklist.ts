/**
 * The blacklist, a file of the client's host (spec 3.5). Two kinds of lines:
 *
 *     99:20:1B:…:89:AE          a certificate that is refused, as in a whitelist
 *     <sw.example.org 120       revisions of that repository below 120 are refused; nothing may follow the number
 *
 * The stock client silently skips every other line. So do we, but tell which: a slip of the pen disarms the line.
 */
import { parseFingerprint } from './fingerprint';
import type { ContentHash } from './hash';

export interface Blacklist {
  readonly fingerprints: readonly ContentHash[];
  /** Lowest revision that is allowed, by repository name. */
  readonly minRevisions: ReadonlyMap<string, number>;
  /** Lines that are neither rule nor comment, cut to 80 characters, at most 100: worth a warning. */
  readonly ignored: readonly string[];
}

const MAX_IGNORED = 100;

export function parseBlacklist(text: string): Blacklist {
  const fingerprints: ContentHash[] = [];
  const minRevisions = new Map<string, number>();
  const ignored: string[] = [];
  for (const line of text.split('\n')) {
    if (/^[ \t\r]*(#.*)?$/.test(line)) continue;
    const rule = /^<([^ \t]+)[ \t]+([0-9]{1,15})$/.exec(line);
    const fingerprint = rule === null ? parseFingerprint(line) : undefined;
    if (rule !== null) minRevisions.set(rule[1]!, Math.max(Number(rule[2]), minRevisions.get(rule[1]!) ?? 0));
    else if (fingerprint !== undefined) fingerprints.push(fingerprint);
    else if (ignored.length < MAX_IGNORED) ignored.push(line.slice(0, 80));
  }
  return { fingerprints, minRevisions, ignored };
}
