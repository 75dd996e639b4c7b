/** The environment as bytes: Node's own `process.env` turns what is not UTF-8 into U+FFFD, and variant symlinks need it as it is. */

/** Parses the contents of /proc/self/environ: `NAME=value` ended by NUL; the first of two equal names counts, as in getenv(3). */
export function parseEnvironment(bytes: Buffer): Map<string, Buffer> {
  const variables = new Map<string, Buffer>();
  for (let start = 0; start < bytes.length; ) {
    const nul = bytes.indexOf(0, start);
    const end = nul < 0 ? bytes.length : nul;
    const equals = bytes.indexOf(0x3d, start);
    if (equals > start && equals < end) {
      const name = bytes.toString('utf8', start, equals);
      if (!variables.has(name)) variables.set(name, Buffer.from(bytes.subarray(equals + 1, end)));
    }
    start = end + 1;
  }
  return variables;
}
