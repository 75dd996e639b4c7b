/**
 * The contracts of proto/ at run time. They are read from the checkout or the package, not compiled in, so that what a
 * client sees by reflection is the file that an operator can read.
 *
 * How values look in JavaScript (interfaces in generated/messages.generated.ts): names as in the contract, 64-bit numbers
 * as decimal strings, enums by name, repeated members and maps always there, everything else undefined when it was not
 * sent. There are no made-up defaults: `cached` of an image, absent, is undefined, and its reader says what that means.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { MethodDefinition, PackageDefinition, ServiceDefinition } from '@grpc/proto-loader';
import { loadSync } from '@grpc/proto-loader';
import { Failure } from '../../src/error';
import type { AdminMethods, ProvisionerMethods } from './generated/messages.generated';

/** Our services by name, each with its methods. */
export interface Services {
  readonly 'mesos.cvmfs.v1.Provisioner': ProvisionerMethods;
  readonly 'mesos.cvmfs.v1.Admin': AdminMethods;
}

export type ServiceName = keyof Services & string;

/** A service whose methods are unary and whose messages have been left to the loader. */
export type LoadedService<N extends ServiceName> = { readonly [K in keyof Services[N]]: MethodDefinition<object, object> };

export interface Contracts {
  /** All messages and services, as the reflection service wants them. */
  readonly packageDefinition: PackageDefinition;
  service<N extends ServiceName>(name: N): LoadedService<N>;
}

/** The folder proto/: above the source in a checkout, above dist/ when built. FAILED_PRECONDITION when it is not there. */
export function protoDir(from: string = __dirname): string {
  for (const up of ['../../proto', '../../../proto']) {
    const dir = path.resolve(from, up);
    if (fs.existsSync(path.join(dir, 'mesos/cvmfs/v1/provisioner.proto'))) return dir;
  }
  throw new Failure('FAILED_PRECONDITION', `the folder proto/ is not beside ${path.resolve(from, '../..')}`, { next: 'install the package again' });
}

/** Reads the contracts; a few milliseconds of synchronous work, once per process. */
export function loadContracts(dir: string = protoDir()): Contracts {
  const packageDefinition = loadSync(['mesos/cvmfs/v1/provisioner.proto', 'mesos/cvmfs/v1/admin.proto'], {
    includeDirs: [dir],
    keepCase: true,
    longs: String,
    enums: String,
    bytes: Buffer,
    arrays: true,
    objects: true,
    defaults: false,
  });
  return {
    packageDefinition,
    service: <N extends ServiceName>(name: N) => {
      const service = packageDefinition[name];
      if (service === undefined || 'format' in service) throw new Failure('INTERNAL', `the contracts hold no service ${name}`);
      return service as ServiceDefinition as unknown as LoadedService<N>;
    },
  };
}
