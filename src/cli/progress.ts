/**
 * How far a long command is: on a terminal one line that is written over, with a bar; elsewhere a plain line now and then;
 * nothing with `--json`. Always on standard error, so that what the command prints stays clean.
 */

const DRAW_MS = 100;
const LINE_MS = 5_000;
const BAR_CHARACTERS = 24;
const DEFAULT_COLUMNS = 80;

export interface ProgressStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

export interface Progress {
  /** `fraction` from 0 to 1; without one the bar only shows that something moves. */
  update(text: () => string, fraction?: number): void;
  /** Clears the line. */
  end(): void;
}

export function progress(stream: ProgressStream, json: boolean, now: () => number = Date.now): Progress {
  if (json) return { update: () => undefined, end: () => undefined };
  const terminal = stream.isTTY === true;
  let drawnAt = terminal ? -Infinity : now();
  let drawn = 0;
  return {
    update(text, fraction) {
      if (now() - drawnAt < (terminal ? DRAW_MS : LINE_MS)) return;
      drawnAt = now();
      drawn += 1;
      if (!terminal) {
        stream.write(`${text()}\n`);
        return;
      }
      const room = Math.max(0, (stream.columns ?? DEFAULT_COLUMNS) - BAR_CHARACTERS - 4);
      stream.write(`\r\u001b[K[${fraction === undefined ? runningBar(drawn) : filledBar(fraction)}] ${text().slice(0, room)}`);
    },
    end() {
      if (terminal && drawn > 0) stream.write('\r\u001b[K');
    },
  };
}

function filledBar(fraction: number): string {
  const filled = Math.round(Math.min(1, Math.max(0, fraction)) * BAR_CHARACTERS);
  return '#'.repeat(filled).padEnd(BAR_CHARACTERS, '.');
}

function runningBar(step: number): string {
  const at = step % BAR_CHARACTERS;
  return `${'.'.repeat(at)}#${'.'.repeat(BAR_CHARACTERS - at - 1)}`;
}
