/**
 * Binds handlers to a service: requests are checked before a handler sees them, and what a handler throws becomes a status.
 */
import type { sendUnaryData, ServerUnaryCall, ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';
import { Failure } from '../../src/error';
import { SHAPES } from './generated/shapes.generated';
import { checkRequest } from './presence';
import type { Contracts, LoadedService, ServiceName, Services } from './protos';
import { toStatus } from './status';

/** Answers one call. Its deadline is `call.getDeadline()`, and `call` emits `cancelled` when nobody waits any longer. */
export type UnaryHandler<Request, Response> = (request: Request, call: ServerUnaryCall<unknown, Response>) => Promise<Response>;

interface Method {
  readonly request: unknown;
  readonly response: unknown;
}

/** A handler for each method of a service. */
export type Handlers<Methods> = { readonly [K in keyof Methods]: Methods[K] extends Method ? UnaryHandler<Methods[K]['request'], Methods[K]['response']> : never };

/** The two arguments of `Server.addService`. */
export interface BoundService {
  readonly definition: ServiceDefinition;
  readonly implementation: UntypedServiceImplementation;
}

const decodeFailure = (reason: unknown): Failure =>
  reason instanceof Failure ? reason : new Failure('INVALID_ARGUMENT', 'the request can not be decoded', { next: 'use the contracts in proto/', cause: reason });

/** The full name of a method's request message, from its path `/<service>/<method>`. */
function requestName(packageMethod: { readonly path: string; readonly requestType: { readonly type: object } }, service: string): string {
  const { name } = packageMethod.requestType.type as { readonly name?: string };
  if (name === undefined) throw new Failure('INTERNAL', `${packageMethod.path}: the contract gives its request no name`);
  return `${service.slice(0, service.lastIndexOf('.'))}.${name}`;
}

export function bindService<N extends ServiceName>(contracts: Contracts, name: N, handlers: Handlers<Services[N]>): BoundService {
  const service: LoadedService<N> = contracts.service(name);
  const definition: Record<string, ServiceDefinition[string]> = {};
  const implementation: UntypedServiceImplementation = {};
  for (const key of Object.keys(service) as Array<keyof Services[N] & string>) {
    const method = service[key];
    const message = requestName(method, name);
    const handler = handlers[key] as UnaryHandler<unknown, unknown>;
    definition[key] = {
      ...method,
      // grpc-js answers INTERNAL for whatever is thrown here, so a refusal travels to the handler as a value.
      requestDeserialize: (bytes: Buffer): unknown => {
        try {
          checkRequest(SHAPES, message, bytes);
          return method.requestDeserialize(bytes);
        } catch (reason) {
          return decodeFailure(reason);
        }
      },
    };
    implementation[key] = (call: ServerUnaryCall<unknown, unknown>, callback: sendUnaryData<unknown>) => {
      if (call.request instanceof Failure) return callback(toStatus(call.request));
      void (async () => handler(call.request, call))().then(
        (response) => callback(null, response),
        (reason: unknown) => callback(toStatus(Failure.from(reason))),
      );
    };
  }
  return { definition, implementation };
}
