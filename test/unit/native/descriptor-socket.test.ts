/** Descriptors travel to another process and stay what they are. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import * as fs from 'node:fs';
import type * as net from 'node:net';
import * as os from 'node:os';
import * as path from 'node:path';
import koffi from 'koffi';
import { descriptorSocket, MESSAGE_DESCRIPTORS_MAX } from '../../../src/native/descriptor-socket';

const AF_UNIX = 1;
const SOCK_STREAM = 1;

const openDescriptors = (): number => fs.readdirSync('/proc/self/fd').length;

describe('descriptors over a socket', () => {
  const sockets = descriptorSocket();
  let dir: string;
  let ends: [number, number];

  beforeEach(() => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'mesos-cvmfs-descriptors-'));
    const pair = Buffer.alloc(8);
    expect(koffi.load('libc.so.6').func('int socketpair(int domain, int type, int protocol, _Out_ void *pair)')(AF_UNIX, SOCK_STREAM, 0, pair)).toBe(0);
    ends = [pair.readInt32LE(0), pair.readInt32LE(4)];
  });

  afterEach(() => {
    for (const fd of ends) {
      try {
        fs.closeSync(fd);
      } catch {
        // Closed by the test.
      }
    }
    fs.rmSync(dir, { recursive: true });
  });

  const file = (name: string): number => {
    const target = path.join(dir, name);
    fs.writeFileSync(target, name);
    return fs.openSync(target, 'r');
  };

  it('carries files with the bytes that they belong to, close-on-exec', () => {
    const [a, b] = [file('a'), file('b')];
    expect(sockets.send(ends[0], Buffer.from('first'), [a, b])).toBe(true);
    expect(sockets.send(ends[0], Buffer.from('second'), [a])).toBe(true);
    const first = sockets.receive(ends[1], 5, 2)!;
    expect(first.payload.toString()).toBe('first');
    expect(first.fds.map((fd) => fs.readFileSync(fd, 'utf8'))).toEqual(['a', 'b']);
    for (const fd of first.fds) expect(Number.parseInt(/flags:\s*(\d+)/.exec(fs.readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))![1]!, 8) & 0o2000000).toBe(0o2000000);
    const second = sockets.receive(ends[1], 6, 2)!;
    expect(second.payload.toString()).toBe('second');
    expect(second.fds).toHaveLength(1);
    for (const fd of [a, b, ...first.fds, ...second.fds]) fs.closeSync(fd);
  });

  it('says that nothing is there, and that the other end has closed', () => {
    expect(sockets.receive(ends[1], 1, 1)).toBeNull();
    fs.closeSync(ends[0]);
    expect(sockets.receive(ends[1], 1, 1)).toEqual({ payload: Buffer.alloc(0), fds: [] });
    expect(() => sockets.send(ends[1], Buffer.from('x'), [])).toThrow(/EPIPE/);
  });

  it('closes what came when it was more than expected', () => {
    const fds = ['a', 'b', 'c'].map(file);
    const before = openDescriptors();
    for (const expected of [0, 1, 2]) {
      sockets.send(ends[0], Buffer.from('x'), fds);
      expect(() => sockets.receive(ends[1], 1, expected)).toThrow(expect.objectContaining({ code: 'RESOURCE_EXHAUSTED' }));
    }
    expect(openDescriptors()).toBe(before);
    for (const fd of fds) fs.closeSync(fd);
  });

  it('carries as many as it says and refuses more', () => {
    const fd = file('a');
    sockets.send(ends[0], Buffer.from('x'), Array<number>(MESSAGE_DESCRIPTORS_MAX).fill(fd));
    const received = sockets.receive(ends[1], 1, MESSAGE_DESCRIPTORS_MAX)!.fds;
    expect(received).toHaveLength(MESSAGE_DESCRIPTORS_MAX);
    expect(() => sockets.send(ends[0], Buffer.from('x'), Array<number>(MESSAGE_DESCRIPTORS_MAX + 1).fill(fd))).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
    expect(() => sockets.send(ends[0], Buffer.alloc(0), [fd])).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
    for (const one of [fd, ...received]) fs.closeSync(one);
  });

  it('says that there is no room instead of waiting', () => {
    let sent = 0;
    while (sent < 100_000 && sockets.send(ends[0], Buffer.alloc(4_096), [])) sent += 1;
    expect(sent).toBeGreaterThan(0);
    expect(sent).toBeLessThan(100_000);
  });

  it("reaches a child through a pipe of spawn's", async () => {
    const child: ChildProcess = spawn('python3', ['-c', 'import socket, os\ns = socket.socket(fileno=3)\ndata, fds, _, _ = socket.recv_fds(s, 4, 2)\nprint(data.decode(), os.read(fds[0], 9).decode(), flush=True)'], { stdio: ['ignore', 'pipe', 'inherit', 'pipe'] });
    let said = '';
    child.stdout!.on('data', (data: Buffer) => (said += data.toString()));
    const ended = new Promise((resolve) => child.once('close', resolve));
    const fd = file('content');
    const end = (child.stdio as unknown as net.Socket[])[3] as unknown as { _handle: { fd: number } };
    expect(sockets.send(end._handle.fd, Buffer.from('word'), [fd])).toBe(true);
    await ended;
    expect(said.trim()).toBe('word content');
    fs.closeSync(fd);
  });
});
