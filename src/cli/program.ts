/** The table of commands as commander wants it; its errors become ours, with our exit codes. */
import { Command, Option } from 'commander';
import type { CommanderError } from 'commander';
import { Failure } from '../error';
import { COMMANDS, GLOBAL_OPTIONS, GROUPS } from './commands';
import type { CommandSpec, OptionSpec } from './commands';

const LATER = 'comes with a later release';

/** Help and version end the process with 0; everything else that commander has to say is a malformed command. */
function failureOf(error: CommanderError, command: Command): Failure {
  const help = `see ${fullName(command)} --help`;
  if (error.code === 'commander.help') {
    const known = command.commands.map((one) => one.name()).join(', ');
    return new Failure('INVALID_ARGUMENT', command.parent === null ? 'a command is missing' : `${command.name()}: a command is missing`, { next: `give one of ${known}, or ${help}` });
  }
  const [what = '', hint] = error.message.replace(/^error: /, '').split('\n');
  const near = hint === undefined ? undefined : /^\((Did you mean .*\?)\)$/.exec(hint)?.[1];
  return new Failure('INVALID_ARGUMENT', what, { next: near === undefined ? help : near.replace(/^D/, 'd') });
}

function fullName(command: Command): string {
  return command.parent === null ? command.name() : `${fullName(command.parent)} ${command.name()}`;
}

function strict(command: Command): Command {
  return command
    .helpCommand(false)
    .exitOverride((error: CommanderError) => {
      if (error.exitCode === 0) process.exit(0);
      throw failureOf(error, command);
    })
    .configureOutput({ writeErr: () => undefined });
}

function optionOf({ flags, about, repeat, mandatory }: OptionSpec): Option {
  const option = new Option(flags, about).makeOptionMandatory(mandatory === true);
  return repeat === true ? option.argParser((value: string, before: string[] | undefined) => [...(before ?? []), value]) : option;
}

function addCommand(parent: Command, name: string, spec: CommandSpec): void {
  const command = strict(parent.command(name));
  const { load } = spec;
  if (load === undefined) {
    command.description(`${spec.about} (${LATER})`).argument('[anything...]').allowUnknownOption();
    command.action(() => {
      throw new Failure('UNIMPLEMENTED', `${fullName(command).replace(/^\S+ /, '')} ${LATER}`);
    });
    return;
  }
  command.description(spec.about);
  for (const option of spec.options ?? []) command.addOption(optionOf(option));
  if (spec.example !== undefined) command.addHelpText('after', `\nExample:\n  ${spec.example}`);
  command.action(async (...given: unknown[]) => {
    const action = await load();
    // Commander passes arguments, then options, then the command itself.
    await action(given.slice(0, -2), command.optsWithGlobals());
  });
}

export function buildProgram(version: string): Command {
  const program = strict(new Command('mesos-cvmfs'))
    .description('Container images from CernVM-FS, mounted lazily, for Apache Mesos. Exit codes are in docs/errors.md.')
    .version(version, '--version', 'print the version')
    .configureHelp({ showGlobalOptions: true })
    .showHelpAfterError(false);
  for (const option of GLOBAL_OPTIONS) program.addOption(optionOf(option));
  const groups = new Map<string, Command>();
  for (const spec of COMMANDS) {
    const words = spec.usage.split(' ');
    let parent = program;
    let depth = 0;
    for (let about = GROUPS[words[0]!]; about !== undefined; about = GROUPS[words.slice(0, depth + 1).join(' ')]) {
      const name = words.slice(0, ++depth).join(' ');
      parent = groups.get(name) ?? strict(parent.command(words[depth - 1]!)).description(about);
      groups.set(name, parent);
    }
    addCommand(parent, words.slice(depth).join(' '), spec);
  }
  return program;
}
