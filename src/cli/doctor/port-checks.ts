/** The addresses that the service listens on: free, or its own. */
import * as net from 'node:net';
import type { Config } from '../../config/config';
import type { Check } from './finding';

/** `sun_path` of sockaddr_un, less its last NUL: a longer path would be cut. */
const SOCKET_PATH_BYTES_MAX = 107;

/** `serving`: the service runs, so the ports are in use by it. */
export function portChecks(config: Config, serving: boolean): Check[] {
  const port = (key: string, { host, port: number }: { readonly host: string; readonly port: number }): Check => ({
    name: key,
    async run(report) {
      const address = `${host}:${number}`;
      if (number === 0) return report.ok('a free port is taken', address);
      if (serving) return report.ok('the service runs', address);
      const errno = await tryListen(host, number);
      if (errno === null) report.ok('is free', address);
      else if (errno === 'EADDRINUSE') report.problem('somebody else listens there', `set ${key} to another port; ss -ltnp shows who it is`, address);
      else report.problem(`nobody can listen there: ${errno}`, `set ${key} to an address of this host`, address);
    },
  });
  return [
    port('http', config.http),
    ...(config.facade.enabled ? [port('facade.listen', config.facade.listen)] : []),
    {
      name: 'listen',
      run(report) {
        const path = config.listen.replace(/^unix:\/\//, '');
        if (Buffer.byteLength(path) > SOCKET_PATH_BYTES_MAX) report.problem(`the path has ${Buffer.byteLength(path)} bytes, at most ${SOCKET_PATH_BYTES_MAX} are possible`, 'choose a shorter run_dir', path);
        else report.ok(serving ? 'the service runs' : 'no service runs', path);
      },
    },
  ];
}

/** Null when one can listen there; else the errno. */
function tryListen(host: string, port: number): Promise<string | null> {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(null)));
  });
}
