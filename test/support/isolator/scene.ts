/** The isolator's side of a service over directory repositories, and the messages that a module sends. */
import type { ContainerConfig, ContainerID } from '../../../provisioner/grpc/generated/messages.generated';
import type { Client } from '../../../provisioner/grpc/client';
import { createClient } from '../../../provisioner/grpc/client';
import type { Services } from '../../../provisioner/grpc/protos';
import { loadContracts } from '../../../provisioner/grpc/protos';
import { containerIdToMessage } from '../../../provisioner/container-id';
import type { IsolatorOptions } from '../../../isolator/service/extension';
import { isolatorExtension } from '../../../isolator/service/extension';
import { parseConfig } from '../../../src/config/config';
import { createMetrics } from '../../../src/metrics/metrics';
import type { Host, Running } from '../provisioner/service';
import { FQRN, startOn } from '../provisioner/service';

export type IsolatorClient = Client<Services['mesos.cvmfs.v1.Isolator']>;

export interface RunningIsolator extends Running {
  readonly isolator: IsolatorClient;
}

export const isolatorConfig = (host: Host, more = ''): string => host.config(`[isolator]\nenabled = true\nallowed_repositories = ["${FQRN}"]\n${more}`);

export function isolatorClient(address: string): IsolatorClient {
  return createClient(loadContracts(), 'mesos.cvmfs.v1.Isolator', address);
}

export async function startIsolatorOn(host: Host, options: Partial<IsolatorOptions> & { readonly more?: string } = {}): Promise<RunningIsolator> {
  const { more, ...rest } = options;
  const config = parseConfig(isolatorConfig(host, more), undefined);
  const metrics = createMetrics({ processMetrics: false });
  const running = await startOn(host, { config, metrics, extensions: [isolatorExtension({ config: config.isolator, metrics, ...rest })] });
  const isolator = isolatorClient(host.listen);
  return {
    ...running,
    isolator,
    async stop() {
      isolator.close();
      await running.stop();
    },
  };
}

/** `id('root', 'child')`. */
export const id = (...names: string[]): ContainerID => containerIdToMessage(names) as ContainerID;

/** What a module says of a container; `asks` goes into its environment. */
export function containerConfig(more: Partial<ContainerConfig> = {}, asks?: string): ContainerConfig {
  const environment = asks === undefined ? {} : { environment: { variables: [{ name: 'CVMFS_REPOSITORIES', value: asks }] } };
  return { command_info: { arguments: [], value: 'sleep 1000', ...environment }, directory: '/sandbox', ephemeral_volumes: [], ...more };
}

let calls = 0;
export const run = (name = 'run-1'): { id: string; sequence: string } => ({ id: name, sequence: String(++calls) });
