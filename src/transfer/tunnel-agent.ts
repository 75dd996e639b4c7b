/** Connections to https servers through a proxy: CONNECT, then TLS with the server inside (RFC 9110, 9.3.6). */
import * as http from 'node:http';
import * as https from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { AttemptFailure } from './attempt-failure';
import { MAX_HEADER_BYTES, type GetOptions } from './http-get';

type Created = (error: Error | null, socket?: Duplex) => void;

export class TunnelAgent extends https.Agent {
  constructor(
    /** Where the proxy is and how to connect to it. */
    private readonly proxy: https.RequestOptions,
    private readonly authorization: string | undefined,
    options: https.AgentOptions,
  ) {
    super(options);
  }

  override createConnection(options: GetOptions & https.RequestOptions, created: Created): undefined {
    const host = String(options.host);
    const authority = `${host.includes(':') ? `[${host}]` : host}:${options.port}`;
    const connect = (this.proxy.protocol === 'https:' ? https : http).request({
      ...this.proxy,
      // The connection becomes the tunnel; the pool is the one of the tunnels.
      agent: false,
      method: 'CONNECT',
      path: authority,
      headers: { host: authority, ...(this.authorization === undefined ? {} : { 'proxy-authorization': this.authorization }) },
      maxHeaderSize: MAX_HEADER_BYTES,
      signal: options.wanted,
    });
    connect.on('error', created);
    connect.once('connect', ({ statusCode = 0 }: http.IncomingMessage, socket: Socket, head: Buffer) => {
      // What goes wrong from now on is told by the TLS inside, but an error that nobody listens for ends the process.
      socket.on('error', () => undefined);
      // In TLS the client speaks first: what comes before is no answer of the server.
      if (statusCode >= 200 && statusCode < 300 && head.length === 0) return created(null, this.secure(options, socket));
      socket.destroy();
      created(new AttemptFailure('connection', 'proxy', `CONNECT ${authority}: HTTP status ${statusCode}${head.length === 0 ? '' : ' and more than headers'}`));
    });
    connect.end();
  }

  private secure(options: https.RequestOptions, socket: Socket): Duplex {
    return super.createConnection({ ...options, socket } as https.RequestOptions)!;
  }
}
