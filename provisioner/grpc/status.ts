/**
 * Failures as gRPC statuses and back. The status number tells every client roughly what happened; the trailing metadata
 * `mesos-cvmfs-code` has the stable code of docs/errors.md, so that our own command line ends with the right exit code.
 */
import type { ServiceError, StatusObject } from '@grpc/grpc-js';
import { Metadata, status } from '@grpc/grpc-js';
import type { Code } from '../../src/error';
import { CODES, Failure } from '../../src/error';

export const CODE_METADATA = 'mesos-cvmfs-code';

/** Bytes of a status text: it travels percent-encoded in a header, and peers drop a connection whose headers exceed 8 KiB. */
const MAX_DETAILS = 2000;

export function toStatus(failure: Failure): StatusObject {
  const metadata = new Metadata();
  metadata.set(CODE_METADATA, failure.code);
  const details = failure.message.length > MAX_DETAILS ? `${failure.message.slice(0, MAX_DETAILS)}…` : failure.message;
  return { code: failure.grpcStatus, details, metadata };
}

/** Codes for statuses that did not come from our handlers: grpc-js itself, a proxy, another server on the socket. */
const FOREIGN: Readonly<Record<number, Code>> = {
  [status.CANCELLED]: 'CANCELLED',
  [status.INVALID_ARGUMENT]: 'INVALID_ARGUMENT',
  [status.DEADLINE_EXCEEDED]: 'DEADLINE_EXCEEDED',
  [status.PERMISSION_DENIED]: 'PERMISSION_DENIED',
  [status.RESOURCE_EXHAUSTED]: 'RESOURCE_EXHAUSTED',
  [status.UNIMPLEMENTED]: 'UNIMPLEMENTED',
  [status.UNAVAILABLE]: 'NETWORK',
};

/** The failure that a client's error stands for. */
export function fromStatus(error: ServiceError): Failure {
  const said = error.metadata.get(CODE_METADATA)[0];
  const code = typeof said === 'string' && Object.hasOwn(CODES, said) ? (said as Code) : (FOREIGN[error.code] ?? 'INTERNAL');
  return new Failure(code, error.details === '' ? `the service answered with status ${error.code}` : error.details, { cause: error });
}
