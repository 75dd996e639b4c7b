/** A typed client of our services: promises instead of callbacks, failures instead of statuses. */
import type { ChannelCredentials, ServiceDefinition, ServiceError } from '@grpc/grpc-js';
import { credentials, makeClientConstructor } from '@grpc/grpc-js';
import type { Contracts, ServiceName, Services } from './protos';
import { fromStatus } from './status';

export interface CallOptions {
  /** The service gives up, and so does the client, after this long. */
  readonly timeoutMs: number;
}

interface Method {
  readonly request: unknown;
  readonly response: unknown;
}

/** One function per method of the service. */
export type Client<Methods> = {
  readonly [K in keyof Methods]: Methods[K] extends Method ? (request: Methods[K]['request'], options: CallOptions) => Promise<Methods[K]['response']> : never;
} & { close(): void };

/** Ps of ten thousand containers is some MB; gRPC's own limit is 4. */
const MAX_RESPONSE_BYTES = 64 * 1024 * 1024;

type Call = (request: unknown, options: { deadline: number }, callback: (error: ServiceError | null, response: unknown) => void) => void;

/** `address` as gRPC writes it, such as `unix:///run/mesos-cvmfs/provisioner.sock`. Connects with the first call. */
export function createClient<N extends ServiceName>(
  contracts: Contracts,
  name: N,
  address: string,
  channel: ChannelCredentials = credentials.createInsecure(),
): Client<Services[N]> {
  const service = contracts.service(name);
  const stub = new (makeClientConstructor(service as unknown as ServiceDefinition, name))(address, channel, { 'grpc.max_receive_message_length': MAX_RESPONSE_BYTES });
  const calls = Object.keys(service).map((method) => [
    method,
    (request: unknown, options: CallOptions) =>
      new Promise((resolve, reject) => {
        (stub[method] as Call).call(stub, request, { deadline: Date.now() + options.timeoutMs }, (error, response) => (error === null ? resolve(response) : reject(fromStatus(error))));
      }),
  ]);
  return { ...Object.fromEntries(calls), close: () => stub.close() } as Client<Services[N]>;
}
