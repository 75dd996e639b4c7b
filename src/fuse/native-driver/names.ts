/**
 * Paths of the fuse-native driver are strings, names in a repository are bytes. A name that is not UTF-8 cannot be passed:
 * the package turns its bytes into U+FFFD, and two names could become one. So whatever has that character in it is hidden.
 */
const REPLACEMENT = '\ufffd';

/** The text of a name or target; undefined when it cannot be passed. */
export function passable(bytes: Buffer): string | undefined {
  const text = bytes.toString('utf8');
  return text.includes(REPLACEMENT) ? undefined : text;
}

/** True when a path may have lost bytes on its way here. */
export function isDamaged(path: string): boolean {
  return path.includes(REPLACEMENT);
}
