/**
 * Looks at a mounted tree from another process: a file system under test may hang, and then only that process does.
 * One call of Python for any number of system calls.
 */
import type { TestHost } from './test-host';

/** `path` is latin1 text: one character a byte. */
export type Look =
  | readonly ['read' | 'list' | 'stat' | 'readlink' | 'listxattr' | 'statvfs', string]
  | readonly ['pread', string, number, number]
  | readonly ['getxattr', string, string];

/** What a call gave: its value, or the name of its errno. */
export interface Seen {
  readonly value?: unknown;
  readonly error?: string;
}

export interface SeenStat {
  readonly mode: number;
  readonly ino: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtime: number;
}

const SCRIPT = `
import os, sys, json, errno
def enc(b): return b.decode('latin1')
def one(op, p, *rest):
    p = p.encode('latin1')
    if op in ('read', 'pread'):
        f = os.open(p, os.O_RDONLY)
        try:
            if op == 'pread': return enc(os.pread(f, rest[1], rest[0]))
            parts = []
            while True:
                b = os.read(f, 1 << 20)
                if not b: return enc(b''.join(parts))
                parts.append(b)
        finally: os.close(f)
    if op == 'list': return sorted(enc(n) for n in os.listdir(p))
    if op == 'stat':
        s = os.lstat(p)
        return {'mode': s.st_mode, 'ino': s.st_ino, 'nlink': s.st_nlink, 'uid': s.st_uid, 'gid': s.st_gid, 'size': s.st_size, 'mtime': s.st_mtime_ns // 10**9}
    if op == 'readlink': return enc(os.readlink(p))
    if op == 'listxattr': return sorted(enc(os.fsencode(n)) for n in os.listxattr(p, follow_symlinks=False))
    if op == 'getxattr': return enc(os.getxattr(p, rest[0], follow_symlinks=False))
    if op == 'statvfs':
        v = os.statvfs(p)
        return {'f_bsize': v.f_bsize, 'f_frsize': v.f_frsize, 'f_blocks': v.f_blocks, 'f_files': v.f_files, 'f_namemax': v.f_namemax}
asked = json.load(sys.stdin)
if asked['user'] is not None:
    os.setgroups([])
    os.setresgid(*[asked['user']] * 3)
    os.setresuid(*[asked['user']] * 3)
out = []
for call in asked['calls']:
    try: out.append({'value': one(*call)})
    except OSError as e: out.append({'error': errno.errorcode.get(e.errno, str(e.errno))})
json.dump(out, sys.stdout)
`;

/** Makes the calls one after another and answers what each gave. `user` looks as another user. */
export async function look(host: TestHost, calls: readonly Look[], options: { readonly user?: number; readonly timeoutMs?: number } = {}): Promise<Seen[]> {
  const ran = await host.outside('python3', ['-c', SCRIPT], { input: JSON.stringify({ calls, user: options.user ?? null }), ...(options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs }) });
  if (ran.code !== 0) throw new Error(`looking at ${JSON.stringify(calls).slice(0, 300)} ended with ${ran.code}: ${ran.stderr}`);
  return JSON.parse(ran.stdout) as Seen[];
}

/** One call. */
export async function lookAt(host: TestHost, ...call: Look): Promise<Seen> {
  return (await look(host, [call]))[0]!;
}
