/** The process of a container: forked so that it outlives the agent, found again by its pid, ended with all that it began. */
import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';

const HELPER = path.join(__dirname, 'launch.py');
const WATCH_MS = 25;
const END_MS = 60_000;

export interface LaunchInfo {
  readonly rootfs: string;
  readonly file: string;
  readonly argv: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly workingDirectory: string;
  /** Absolute targets in the container: the sandbox, image volumes. */
  readonly binds: ReadonlyArray<{ readonly source: string; readonly target: string; readonly readOnly: boolean }>;
}

/** Paths of one container's process. */
export interface ProcessFiles {
  readonly launchInfo: string;
  readonly status: string;
  readonly sandbox: string;
}

export interface Forked {
  readonly pid: number;
  /** Lets it go on; without that, and with the agent's death, it ends. */
  release(): void;
}

export async function forkHelper(files: ProcessFiles): Promise<Forked> {
  const [out, err] = ['stdout', 'stderr'].map((name) => fs.openSync(path.join(files.sandbox, name), 'a'));
  const child = spawn('python3', [HELPER, files.launchInfo, files.status], { detached: true, stdio: ['ignore', out!, err!, 'pipe'] });
  for (const fd of [out!, err!]) fs.closeSync(fd);
  await new Promise<void>((resolve, reject) => child.once('spawn', resolve).once('error', reject));
  child.unref();
  const pipe = child.stdio[3] as NodeJS.WritableStream;
  pipe.on('error', () => undefined);
  return { pid: child.pid!, release: () => void pipe.end('x') };
}

/** True for the helper of this very container; its pid may be another process' by now. */
export function isRunning(pid: number, { launchInfo }: ProcessFiles): boolean {
  try {
    const command = fs.readFileSync(`/proc/${pid}/cmdline`, 'latin1');
    if (command !== '') return command.includes(launchInfo);
    // In the middle of its exec or of its end, or waiting to be waited for.
    return !/\) [ZX]/.test(fs.readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false;
  }
}

/** The wait status of the program, when it has ended and was not killed with its helper. */
export function statusOf({ status }: ProcessFiles): number | undefined {
  return fs.existsSync(status) ? Number(fs.readFileSync(status, 'utf8')) : undefined;
}

export async function ended(pid: number, files: ProcessFiles, withinMs = Infinity): Promise<void> {
  for (const from = Date.now(); isRunning(pid, files); ) {
    if (Date.now() - from > withinMs) throw new Error(`the processes of ${files.launchInfo} do not end`);
    await new Promise((resolve) => setTimeout(resolve, WATCH_MS));
  }
}

/** The helper is the parent of the container's first process, which dies with it and takes its pid namespace along. */
export async function killProcess(pid: number, files: ProcessFiles): Promise<void> {
  if (!isRunning(pid, files)) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // Ended in this moment.
  }
  await ended(pid, files, END_MS);
}
