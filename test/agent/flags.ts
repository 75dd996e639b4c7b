/** The agent's flags, with its names and defaults, as far as images depend on them. `--name=value` each. */
import * as os from 'node:os';
import * as path from 'node:path';

export interface Flags {
  readonly work_dir: string;
  readonly runtime_dir: string;
  readonly docker_store_dir: string;
  readonly docker_registry: string;
  readonly docker_config?: string;
  readonly sandbox_directory: string;
  /** Seconds. */
  readonly fetcher_stall_timeout: string;
  /** Seconds; the time of the image's provisioning is in it. */
  readonly executor_registration_timeout: string;
}

export function parseFlags(args: readonly string[]): Flags {
  const given = Object.fromEntries(args.map((arg) => /^--([a-z_]+)=([^]*)$/.exec(arg)).map((match) => [match?.[1] ?? '', match?.[2] ?? '']));
  const { work_dir, runtime_dir } = given;
  if (work_dir === undefined || runtime_dir === undefined) throw new Error('--work_dir and --runtime_dir are needed');
  return {
    docker_store_dir: path.join(os.tmpdir(), 'mesos/store/docker'),
    docker_registry: 'https://registry-1.docker.io',
    sandbox_directory: '/mnt/mesos/sandbox',
    fetcher_stall_timeout: '60',
    executor_registration_timeout: '60',
    ...given,
    work_dir,
    runtime_dir,
  };
}
