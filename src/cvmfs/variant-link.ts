/**
 * Variables in the targets of symbolic links (spec 4.4), any number of them:
 *
 *     lib/$(ARCH)/$(FLAVOUR:-debug)   ARCH=x86_64, FLAVOUR unset →  lib/x86_64/debug
 *
 * A variable that is set and empty is set. Unset without a default is nothing. Without a closing parenthesis the rest
 * stays as it is. What a variable holds is not expanded again, and defaults hold no variables: the first `)` ends one.
 */

const DOLLAR = 0x24;
const OPEN = 0x28;
const CLOSE = 0x29;
const DEFAULT_MARK = Buffer.from(':-');
const OPENING = Buffer.from('$(');

export function hasVariables(target: Buffer): boolean {
  const start = target.indexOf(OPENING);
  return start !== -1 && target.indexOf(CLOSE, start) !== -1;
}

/** `lookup` answers undefined for a variable that is not set. */
export function expandVariables(target: Buffer, lookup: (name: string) => Buffer | undefined): Buffer {
  const parts: Buffer[] = [];
  let copied = 0;
  for (let i = 0; i + 2 < target.length; i += 1) {
    if (target[i] !== DOLLAR || target[i + 1] !== OPEN) continue;
    const close = target.indexOf(CLOSE, i + 2);
    if (close === -1) break;
    const inside = target.subarray(i + 2, close);
    const mark = inside.indexOf(DEFAULT_MARK);
    const name = (mark === -1 ? inside : inside.subarray(0, mark)).toString('latin1');
    parts.push(target.subarray(copied, i), lookup(name) ?? (mark === -1 ? Buffer.alloc(0) : inside.subarray(mark + DEFAULT_MARK.length)));
    i = close;
    copied = close + 1;
  }
  if (parts.length === 0) return target;
  parts.push(target.subarray(copied));
  return Buffer.concat(parts);
}
