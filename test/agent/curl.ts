/**
 * The agent's two ways of asking a registry: it runs the program `curl`, with these arguments, and reads the answers
 * itself. What `curl` follows, adds or hides is therefore part of the protocol.
 */
import { execFile } from 'node:child_process';

const OUTPUT_MAX = 64 << 20;

export interface Asked {
  readonly headers: Readonly<Record<string, string>>;
  /** `--fetcher_stall_timeout`: below one byte a second for so long, curl gives up. */
  readonly stallSeconds: number;
  readonly signal: AbortSignal;
}

export interface Answer {
  readonly status: number;
  /** `503 Service Unavailable`: all that a user gets to see of an error. */
  readonly statusLine: string;
  /** By name in small letters. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
}

function curl(args: readonly string[], { headers, stallSeconds, signal }: Asked, url: string): Promise<Buffer> {
  const all = [...args, ...Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`]), '-y', String(stallSeconds), url];
  return new Promise((resolve, reject) => {
    execFile('curl', all, { encoding: 'buffer', maxBuffer: OUTPUT_MAX, signal, killSignal: 'SIGKILL' }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(signal.aborted ? 'the pull was discarded' : `Failed to perform 'curl': ${stderr.toString().trim() || error.message}`));
    });
  });
}

/** A document in memory: manifests and tokens. The last of several answers counts (redirects are among them). */
export async function getDocument(url: string, asked: Asked): Promise<Answer> {
  const output = await curl(['-s', '-S', '-L', '-i', '--raw', '--http1.1'], asked, url);
  const answers: Answer[] = [];
  for (let rest = output; rest.length > 0; ) {
    const { answer, after } = oneAnswer(rest, url);
    answers.push(answer);
    rest = after;
  }
  if (answers.length === 0) throw new Error(`no answer to ${url}`);
  return answers.at(-1)!;
}

/** A blob into a file: the status code, and where the registry sent us instead. */
export async function getBlob(url: string, file: string, asked: Asked): Promise<{ status: number; redirect: string }> {
  const [status, redirect] = (await curl(['-s', '-S', '-w', '%{http_code}\n%{redirect_url}', '-o', file], asked, url)).toString().split('\n');
  return { status: Number(status), redirect: redirect ?? '' };
}

function oneAnswer(bytes: Buffer, url: string): { answer: Answer; after: Buffer } {
  const end = bytes.indexOf('\r\n\r\n');
  const [first, ...lines] = bytes.toString('latin1', 0, Math.max(end, 0)).split('\r\n');
  const status = /^HTTP\/1\.[01] ((\d{3})( .*)?)$/.exec(first!);
  if (status === null) throw new Error(`Failed to decode HTTP responses of ${url}: ${bytes.toString('latin1', 0, 100)}`);
  const headers = new Map(lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]));
  const { body, after } = bodyOf(bytes.subarray(end + 4), headers, Number(status[2]), url);
  return { answer: { status: Number(status[2]), statusLine: status[1]!, headers, body }, after };
}

function bodyOf(bytes: Buffer, headers: ReadonlyMap<string, string>, status: number, url: string): { body: Buffer; after: Buffer } {
  if (headers.get('transfer-encoding')?.toLowerCase() === 'chunked') return chunks(bytes, url);
  const length = headers.get('content-length');
  // Where the agent has a proxy in its environment it would read the body as one more answer.
  if (length === undefined && status === 200) throw new Error(`${url} was answered without Content-Length`);
  const size = Number(length ?? bytes.length);
  if (bytes.length < size) throw new Error(`${url}: ${bytes.length} bytes of ${size}`);
  return { body: bytes.subarray(0, size), after: bytes.subarray(size) };
}

function chunks(bytes: Buffer, url: string): { body: Buffer; after: Buffer } {
  const parts: Buffer[] = [];
  for (let at = 0; ; ) {
    const end = bytes.indexOf('\r\n', at);
    const size = parseInt(bytes.toString('latin1', at, end), 16);
    if (end < 0 || Number.isNaN(size)) throw new Error(`${url}: its chunks cannot be read`);
    parts.push(bytes.subarray(end + 2, end + 2 + size));
    at = end + 2 + size + 2;
    if (size === 0) return { body: Buffer.concat(parts), after: bytes.subarray(at) };
  }
}
