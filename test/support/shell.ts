/** A shell that stays: a process with a cwd and open files in some tree, asked one question after another. */
import { randomUUID } from 'node:crypto';
import type { ChildProcess } from 'node:child_process';
import type { TestHost } from './test-host';

const ANSWER_TIMEOUT_MS = 30_000;

export class Shell {
  readonly #child: ChildProcess;
  #output = '';
  #arrived: () => void = () => undefined;

  constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.#output += text;
      this.#arrived();
    });
    child.on('close', () => this.#arrived());
  }

  static in(host: TestHost, cwd: string): Shell {
    // The cwd is entered by the shell, since a test's own process makes no call on a mount.
    return new Shell(host.start('/bin/sh', ['-c', 'cd "$1" && exec /bin/sh 2>&1', 'sh', cwd]));
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** What a command prints, standard error included, without its last line end. */
  async ask(command: string): Promise<string> {
    const mark = randomUUID();
    this.#child.stdin!.write(`${command}\nprintf '%s\\n' '${mark}'\n`);
    const end = Date.now() + ANSWER_TIMEOUT_MS;
    for (;;) {
      const at = this.#output.indexOf(`${mark}\n`);
      if (at >= 0) {
        const answer = this.#output.slice(0, at);
        this.#output = this.#output.slice(at + mark.length + 1);
        return answer.replace(/\n$/, '');
      }
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) throw new Error(`the shell ended before it answered ${command}: ${this.#output}`);
      if (Date.now() > end) throw new Error(`no answer to ${command} within ${ANSWER_TIMEOUT_MS} ms, only: ${this.#output}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 1_000);
        this.#arrived = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}

/** Waits until something holds; the error says what did not. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, withinMs = 30_000): Promise<void> {
  const end = Date.now() + withinMs;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`not within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
