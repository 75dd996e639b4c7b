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
import type { AnyDefinition, MethodDefinition, PackageDefinition, ServiceDefinition } from '@grpc/proto-loader';
import { loadSync } from '@grpc/proto-loader';
import { Failure } from '../../src/error';
import { DESCRIPTOR_SET } from './generated/descriptors.generated';
import type { AdminMethods, IsolatorMethods, ProvisionerMethods } from './generated/messages.generated';

/** Our services by name, each with its methods. */
export interface Services {
  readonly 'mesos.cvmfs.v1.Provisioner': ProvisionerMethods;
  readonly 'mesos.cvmfs.v1.Admin': AdminMethods;
  readonly 'mesos.cvmfs.v1.Isolator': IsolatorMethods;
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

/** The files in a FileDescriptorSet: `repeated FileDescriptorProto file = 1` and nothing else. */
function descriptorFiles(set: Buffer): Buffer[] {
  const files: Buffer[] = [];
  for (let at = 0; at < set.length; ) {
    // The tag of field 1, then a varint length.
    let length = 0;
    let shift = 0;
    for (at++; ; at++, shift += 7) {
      length |= (set[at]! & 0x7f) << shift;
      if (set[at]! < 0x80) break;
    }
    files.push(set.subarray(at + 1, at + 1 + length));
    at += 1 + length;
  }
  return files;
}

/** Replaces the descriptors that proto-loader made up (proto/generate.js tells what is wrong with them). */
function withCompiledDescriptors(loaded: PackageDefinition): PackageDefinition {
  const fileDescriptorProtos = descriptorFiles(Buffer.from(DESCRIPTOR_SET, 'base64'));
  const compiled = (definition: AnyDefinition): AnyDefinition => ('format' in definition ? ({ ...definition, fileDescriptorProtos } as AnyDefinition) : definition);
  return Object.fromEntries(Object.entries(loaded).map(([name, definition]) => [name, compiled(definition)]));
}

/** Reads the contracts; a few milliseconds of synchronous work, once per process. */
export function loadContracts(dir: string = protoDir()): Contracts {
  const loaded = loadSync(['mesos/cvmfs/v1/provisioner.proto', 'mesos/cvmfs/v1/admin.proto', 'mesos/cvmfs/v1/isolator.proto'], {
    includeDirs: [dir],
    keepCase: true,
    longs: String,
    enums: String,
    bytes: Buffer,
    arrays: true,
    objects: true,
    defaults: false,
  });
  const packageDefinition = withCompiledDescriptors(loaded);
  return {
    packageDefinition,
    service: <N extends ServiceName>(name: N) => {
      const service = packageDefinition[name];
      if (service === undefined || 'format' in service) throw new Failure('INTERNAL', `the contracts hold no service ${name}`);
      return service as ServiceDefinition as unknown as LoadedService<N>;
    },
  };
}
