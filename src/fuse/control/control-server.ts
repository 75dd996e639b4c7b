/** The listening side of a control socket. */
import * as fs from 'node:fs';
import * as net from 'node:net';
import { Failure } from '../../error';
import type { Logger } from '../../log/logger';
import type { PeerCredentials } from '../../native/libc';
import { checkSocketPath, onLines, parseMessage, socketDescriptor } from './json-lines';

/** One method of a control socket: checks its parameters itself, since they come from another process. */
export type Method = (params: unknown, peer: PeerCredentials) => Promise<unknown> | unknown;

export interface ControlServerOptions {
  readonly path: string;
  readonly methods: Readonly<Record<string, Method>>;
  /** Users that may connect; the socket's mode keeps others out, and this does when the directory is opened by mistake. */
  readonly allowedUids: readonly number[];
  readonly peerCredentials: (fd: number) => PeerCredentials;
  readonly log: Logger;
  /** Connections at one time, default 64. */
  readonly connectionsMax?: number;
}

export interface ControlServer {
  close(): void;
}

/** Binds the socket with mode 0600, replacing a stale one; the caller holds the lock that says it is stale. */
export async function listenControl(options: ControlServerOptions): Promise<ControlServer> {
  checkSocketPath(options.path);
  const connections = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    const peer = options.peerCredentials(socketDescriptor(socket));
    if (!options.allowedUids.includes(peer.uid) || connections.size >= (options.connectionsMax ?? 64)) {
      options.log.warn('control connection refused', { uid: peer.uid, pid: peer.pid, connections: connections.size });
      socket.destroy();
      return;
    }
    connections.add(socket);
    socket.on('close', () => connections.delete(socket));
    socket.on('error', (error) => options.log.debug('control connection', { error }));
    onLines(socket, (text) => void serve(socket, text, peer));
  });

  async function serve(socket: net.Socket, text: string, peer: PeerCredentials): Promise<void> {
    let id = 0;
    let answer: object;
    try {
      const message = parseMessage(text);
      id = message.id;
      const method = typeof message.method === 'string' && Object.hasOwn(options.methods, message.method) ? options.methods[message.method] : undefined;
      if (method === undefined) throw new Failure('UNIMPLEMENTED', `no control method ${JSON.stringify(message.method)}`);
      answer = { id, result: (await method(message.params, peer)) ?? null };
    } catch (error) {
      const failure = Failure.from(error);
      if (failure.code === 'INTERNAL') options.log.error('control request', { error });
      answer = { id, failure };
    }
    if (!socket.destroyed) socket.write(`${JSON.stringify(answer)}\n`);
  }

  fs.rmSync(options.path, { force: true });
  // bind(2) happens inside listen(), so the mask is in force for it and for nothing else.
  const mask = process.umask(0o177);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(options.path, resolve);
      process.umask(mask);
    });
  } finally {
    process.umask(mask);
  }
  server.on('error', (error) => options.log.error('control socket', { error }));
  return {
    close: () => {
      server.close();
      for (const socket of connections) socket.destroy();
    },
  };
}
