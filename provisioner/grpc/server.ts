/** The gRPC server on its unix socket: our services, health and reflection. */
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';
import { HealthImplementation } from 'grpc-health-check';
import { Failure } from '../../src/error';
import type { Contracts } from './protos';
import { bindSocket, socketPath } from './socket';
import type { BoundService } from './unary';

export interface GrpcServerOptions {
  /** `unix:///…` */
  readonly listen: string;
  readonly contracts: Contracts;
  readonly services: readonly BoundService[];
  /** Full names, for the health service. */
  readonly names: readonly string[];
  /** Bytes of one request; more is refused before it is read. */
  readonly maxRequestBytes: number;
  /** Calls under way on one connection; more wait in the client. */
  readonly maxCallsPerConnection?: number;
}

export interface GrpcServer {
  /** What the health service answers, for the whole server and for each of our services. */
  serving(yes: boolean): void;
  /** Waits for the calls under way, at most `timeoutMs`, then cuts them off. */
  stop(timeoutMs: number): Promise<void>;
}

export async function startGrpcServer(options: GrpcServerOptions): Promise<GrpcServer> {
  const server = new Server({
    'grpc.max_receive_message_length': options.maxRequestBytes,
    'grpc.max_send_message_length': -1,
    'grpc.max_concurrent_streams': options.maxCallsPerConnection ?? 2048,
  });
  for (const { definition, implementation } of options.services) server.addService(definition, implementation);
  new ReflectionService(options.contracts.packageDefinition).addToServer(server);
  const names = ['', ...options.names];
  const health = new HealthImplementation(Object.fromEntries(names.map((name) => [name, 'NOT_SERVING' as const])));
  health.addToServer(server);

  const path = socketPath(options.listen);
  await bindSocket(
    path,
    () =>
      new Promise<void>((resolve, reject) => {
        server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (err) => {
          if (err === null) resolve();
          else reject(new Failure('SYSTEM', `the service cannot listen on ${path}: ${err.message}`, { cause: err }));
        });
      }),
  );
  return {
    serving: (yes) => names.forEach((name) => health.setStatus(name, yes ? 'SERVING' : 'NOT_SERVING')),
    stop: (timeoutMs) =>
      new Promise<void>((resolve) => {
        const timer = setTimeout(() => {
          server.forceShutdown();
          resolve();
        }, timeoutMs);
        server.tryShutdown(() => {
          clearTimeout(timer);
          resolve();
        });
      }),
  };
}
