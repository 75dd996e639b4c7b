/** All commands with their options. What each does is in commands/. */
import { Command, CommanderError, Option } from 'commander';
import { Failure } from '../error';

/** Options that every command takes. */
export interface CommonOptions {
  readonly config?: string;
  readonly runDir?: string;
  readonly json?: boolean;
}

type Action = (args: readonly unknown[], options: Record<string, unknown>) => Promise<void>;

const collect = (value: string, before: string[] | undefined): string[] => [...(before ?? []), value];

/** Commander's own errors as ours, with our exit code; help and version end the process with 0 by themselves. */
function strict(command: Command): Command {
  return command
    .exitOverride((error: CommanderError) => {
      if (error.exitCode === 0) process.exit(0);
      throw new Failure('INVALID_ARGUMENT', error.message.replace(/^error: /, ''), { next: 'see mesos-cvmfs --help' });
    })
    .configureOutput({ writeErr: () => undefined });
}

export function buildProgram(version: string): Command {
  const program = strict(new Command('mesos-cvmfs'))
    .description('Container images from CernVM-FS, mounted lazily, for Apache Mesos')
    .version(version, '--version', 'print the version')
    .helpCommand(false)
    .showHelpAfterError(false);

  /** Adds a command; `load` is only called when it is run. */
  const add = (parent: Command, usage: string, description: string, load: () => Promise<Action>, shape: (command: Command) => Command = (command) => command): Command => {
    const command = shape(strict(parent.command(usage)).description(description))
      .addOption(new Option('--config <file>', 'configuration file (default /etc/mesos-cvmfs/config.toml)'))
      .addOption(new Option('--run-dir <dir>', 'directory of sockets and mount records (run_dir)'))
      .addOption(new Option('--json', 'print one JSON document'));
    command.action(async (...given: unknown[]) => {
      const action = await load();
      // Commander passes arguments, then options, then the command itself.
      await action(given.slice(0, -2), given[given.length - 2] as Record<string, unknown>);
    });
    return command;
  };
  const group = (name: string, description: string): Command => strict(program.command(name)).description(description).helpCommand(false);

  add(program, 'mount <fqrn> <dir>', 'mount a repository', async () => (await import('./commands/mount')).mount, (command) =>
    command
      .option('--server <url>', 'base URL of a server; repeat for more', collect)
      .option('--proxy <groups>', 'proxy groups, as in CVMFS_HTTP_PROXY (default DIRECT)')
      .option('--public-key <file>', 'master public key of the repository; repeat for more', collect)
      .option('--cache-dir <dir>', 'directory of the cache (cache.dir)')
      .option('--tag <name>', 'mount the revision with this tag, and stay on it')
      .option('--root-hash <hash>', 'mount this root catalog, and stay on it')
      .option('-o <CVMFS_X=Y>', 'set a parameter; repeat for more', collect)
      .option('--foreground', 'stay until the mount is gone or a signal comes, then unmount'),
  );
  add(program, 'umount <dir>', 'unmount a repository', async () => (await import('./commands/umount')).umount, (command) => command.option('--lazy', 'take it out of the tree at once, and end it when its last user goes'));
  add(program, 'keeper', 'keep the mounts of a run_dir (started by itself when it is needed)', async () => (await import('./commands/keeper')).keeper);
  add(program, 'status', 'show mounts, service and warnings', async () => (await import('./commands/status')).status);
  void group;
  return program;
}
