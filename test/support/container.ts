/** A root file system as an agent makes it of a directory in a view: overlay or bind, with mounts of its own inside. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { Shell } from './shell';
import type { TestHost } from './test-host';

export type ContainerKind = 'overlay' | 'bind';

export class Container {
  readonly rootfs: string;
  readonly shell: Shell;

  private constructor(rootfs: string, shell: Shell) {
    this.rootfs = rootfs;
    this.shell = shell;
  }

  /** The image must have the directories proc, tmp and `cwd`; the process begins in `cwd`. */
  static async start(host: TestHost, name: string, kind: ContainerKind, lower: string, cwd: string): Promise<Container> {
    const dir = path.join(host.dir, 'containers', name);
    const rootfs = path.join(dir, 'rootfs');
    for (const folder of ['rootfs', 'upper', 'work']) fs.mkdirSync(path.join(dir, folder), { recursive: true });
    const run = async (command: string, ...args: string[]): Promise<void> => {
      const ran = await host.outside(command, args);
      if (ran.code !== 0) throw new Error(`${command} ${args.join(' ')}: ${ran.stderr}`);
    };
    if (kind === 'overlay') await run('mount', '-t', 'overlay', 'overlay', '-o', `lowerdir=${lower},upperdir=${dir}/upper,workdir=${dir}/work`, rootfs);
    else {
      await run('mount', '--bind', lower, rootfs);
      await run('mount', '-o', 'remount,bind,ro', rootfs);
    }
    await run('mount', '-t', 'proc', 'proc', path.join(rootfs, 'proc'));
    await run('mount', '-t', 'tmpfs', 'sandbox', path.join(rootfs, 'tmp'));
    await run('sh', '-c', 'echo "$1" > "$2"', 'sh', name, path.join(rootfs, 'tmp/name'));
    return new Container(rootfs, Shell.in(host, path.join(rootfs, cwd)));
  }

  /** The mounts that make it up, as the mount table must have them. */
  get mounts(): string[] {
    return ['', '/proc', '/tmp'].map((inner) => `${this.rootfs}${inner}`);
  }
}
