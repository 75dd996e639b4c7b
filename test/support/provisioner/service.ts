/** A whole service over directory repositories: real database, helpers, mounts, sockets. */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { parseConfig } from '../../../src/config/config';
import { silentLogger } from '../../../src/log/logger';
import { createMetrics } from '../../../src/metrics/metrics';
import { createClient } from '../../../provisioner/grpc/client';
import type { Client } from '../../../provisioner/grpc/client';
import type { Image } from '../../../provisioner/grpc/generated/messages.generated';
import type { Services } from '../../../provisioner/grpc/protos';
import { loadContracts } from '../../../provisioner/grpc/protos';
import { readMountinfo } from '../../../src/native/mountinfo';
import type { Service, ServiceOptions } from '../../../provisioner/service';
import { startService } from '../../../provisioner/service';
import { typescriptExecArgv } from '../typescript-process';
import { DirectoryRepository, FixedMounts, makeImage, makeRepositoryMount, unmountAllBelow } from './directory-repository';

export const FQRN = 'images.example.org';

export interface Host {
  readonly dir: string;
  readonly mountpoint: string;
  readonly listen: string;
  readonly containers: string;
  config(extra?: string): string;
  /** Mount points below the provisioner's root. */
  mounts(): string[];
  /** Names of what lies below `<root>/containers`. */
  directories(): string[];
  remove(): void;
}

export function makeHost(): Host {
  const dir = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'mcp-')));
  const mountpoint = path.join(dir, 'cvmfs', FQRN);
  makeRepositoryMount(mountpoint);
  makeImage(mountpoint, 'a');
  makeImage(mountpoint, 'b');
  makeImage(mountpoint, 'bare', ['bin', 'etc']);
  const containers = path.join(dir, 'state/provisioner/containers');
  return {
    dir,
    mountpoint,
    listen: `unix://${dir}/run/provisioner.sock`,
    containers,
    config: (extra = '') => `
state_dir = "${dir}/state"
run_dir = "${dir}/run"
mount_root = "${dir}/cvmfs"
http = "127.0.0.1:0"
[repositories."${FQRN}"]
servers = ["http://127.0.0.1:1/cvmfs/@fqrn@"]
[cache]
dir = "${dir}/cache"
${extra}`,
    mounts: () => readMountinfo().map((entry) => entry.mountpoint.toString()).filter((at) => at.startsWith(`${dir}/state/`)),
    directories: () => (fs.existsSync(containers) ? fs.readdirSync(containers) : []),
    remove() {
      unmountAllBelow(dir);
      fs.rmSync(dir, { recursive: true, force: true });
    },
  };
}

export interface Running {
  readonly service: Service;
  readonly repository: DirectoryRepository;
  readonly mounts: FixedMounts;
  readonly provisioner: Client<Services['mesos.cvmfs.v1.Provisioner']>;
  readonly admin: Client<Services['mesos.cvmfs.v1.Admin']>;
  stop(): Promise<void>;
}

export async function startOn(host: Host, options: Partial<ServiceOptions> = {}): Promise<Running> {
  const repository = new DirectoryRepository(FQRN, host.mountpoint);
  const mounts = new FixedMounts([repository]);
  const service = await startService({
    config: parseConfig(host.config(), undefined),
    version: '0.0.0-test',
    logger: silentLogger,
    metrics: createMetrics({ processMetrics: false }),
    mounts,
    inodeBits: () => 64,
    freeCache: async (pruned) => pruned.length * 1000,
    helpers: { execArgv: typescriptExecArgv },
    ...options,
  });
  const contracts = loadContracts();
  const provisioner = createClient(contracts, 'mesos.cvmfs.v1.Provisioner', host.listen);
  const admin = createClient(contracts, 'mesos.cvmfs.v1.Admin', host.listen);
  return {
    service,
    repository,
    mounts,
    provisioner,
    admin,
    async stop() {
      provisioner.close();
      admin.close();
      await service.stop();
    },
  };
}

export function cvmfsImage(name: string): Image {
  return { type: 'CVMFS', cvmfs: { repository: FQRN, path: `/images/${name}` } };
}

export const CALL = { timeoutMs: 30_000 };
