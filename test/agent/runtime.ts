/**
 * The docker/runtime isolator: what is run, of the image's Entrypoint and Cmd and the user's command; in which directory;
 * with which variables.
 *
 *     user's command        neither E nor C   C              E                  E and C
 *     no value              error             C              E                  E + C
 *     no value, arguments   error             C[0] + args    E + args           E + args
 *     value                 value + args, the image's are ignored
 *     shell without value   error;  shell with value: /bin/sh -c value
 *
 * `User` of the image is ignored.
 */
import type { RuntimeConfig } from './manifest';

export interface Command {
  /** True unless said otherwise, so an image's own entry point is had only with `shell: false`. */
  readonly shell?: boolean;
  readonly value?: string;
  readonly arguments?: readonly string[];
}

/** As of exec: the program, and all of argv. */
export interface Program {
  readonly file: string;
  readonly argv: readonly string[];
}

const SHELL = '/bin/sh';

export function programOf(command: Command, { Entrypoint, Cmd }: Pick<RuntimeConfig, 'Entrypoint' | 'Cmd'>): Program {
  const { shell = true, value, arguments: args = [] } = command;
  if (shell && value === undefined) throw new Error('Shell specified but no command value provided');
  if (shell) return { file: SHELL, argv: [SHELL, '-c', value!] };
  // The user gives all of argv, the program's own name first.
  if (value !== undefined) return { file: value, argv: args.length > 0 ? args : [value] };
  const [first, ...rest] = Entrypoint.length > 0 ? Entrypoint : Cmd.slice(0, 1);
  if (first === undefined) throw new Error('No executable is found');
  const following = args.length > 0 ? args : Entrypoint.length > 0 ? Cmd : Cmd.slice(1);
  return { file: first, argv: [first, ...rest, ...following] };
}

/** `NAME=VALUE` entries, split at the first `=`; entries without one are left out. The user's variables win. */
export function environmentOf(config: Pick<RuntimeConfig, 'Env'>, sandbox: string, user: Readonly<Record<string, string>>): Record<string, string> {
  const image = config.Env.filter((entry) => entry.includes('=')).map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]);
  return { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', MESOS_SANDBOX: sandbox, ...Object.fromEntries(image), ...user };
}

/** The sandbox where the image names none; an empty string names none. */
export function workingDirectoryOf({ WorkingDir = '' }: Pick<RuntimeConfig, 'WorkingDir'>, sandbox: string): string {
  return WorkingDir === '' ? sandbox : WorkingDir;
}
