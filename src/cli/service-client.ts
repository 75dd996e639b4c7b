/** The running service, as commands reach it: over gRPC on the socket that `listen` names. */
import * as net from 'node:net';
import { Failure } from '../error';
import type { Config } from '../config/config';
import type { Client } from '../../provisioner/grpc/client';
import type { Services } from '../../provisioner/grpc/protos';

const PROBE_TIMEOUT_MS = 2_000;

export interface ServiceClient {
  readonly provisioner: Client<Services['mesos.cvmfs.v1.Provisioner']>;
  readonly admin: Client<Services['mesos.cvmfs.v1.Admin']>;
  close(): void;
}

/** Whether somebody listens: gRPC is only loaded, and waited for, when somebody does. */
function listens(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(path);
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Failure('NETWORK', `the service does not take connections on ${path}`, { next: 'see its log' }));
    }, PROBE_TIMEOUT_MS);
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      if (error.code === 'EACCES' || error.code === 'EPERM') reject(new Failure('PERMISSION_DENIED', `only root may talk to the service on ${path}`, { next: 'run it as root' }));
      else resolve(false);
    });
  });
}

/** The service, or null when none runs. */
export async function findService(config: Config): Promise<ServiceClient | null> {
  if (!(await listens(config.listen.replace(/^unix:\/\//, '')))) return null;
  const [{ createClient }, { loadContracts }] = await Promise.all([import('../../provisioner/grpc/client'), import('../../provisioner/grpc/protos')]);
  const contracts = loadContracts();
  const provisioner = createClient(contracts, 'mesos.cvmfs.v1.Provisioner', config.listen);
  const admin = createClient(contracts, 'mesos.cvmfs.v1.Admin', config.listen);
  return {
    provisioner,
    admin,
    close: () => {
      provisioner.close();
      admin.close();
    },
  };
}

/** Does something with the service; NETWORK when none runs. */
export async function withService<T>(config: Config, work: (service: ServiceClient) => Promise<T>): Promise<T> {
  const service = await findService(config);
  if (service === null) throw new Failure('NETWORK', `no service listens on ${config.listen}`, { next: 'start it with: mesos-cvmfs serve' });
  try {
    return await work(service);
  } finally {
    service.close();
  }
}
