/** What `doctor` finds: checks with a deadline each, a line for each thing that was looked at. */
import { Failure } from '../../error';

/** `skipped`: it could not be looked at, and the text says what that needs. */
export type Level = 'ok' | 'warning' | 'problem' | 'skipped';

export interface Finding {
  readonly check: string;
  /** What it is about, where a check looks at several: a repository, a directory, a mount point. */
  readonly subject: string | null;
  readonly level: Level;
  readonly text: string;
  /** What to do, a sentence without a full stop; of problems and warnings. */
  readonly cure: string | null;
}

/** How a check says what it sees. */
export interface Report {
  ok(text: string, subject?: string): void;
  warning(text: string, cure: string | null, subject?: string): void;
  problem(text: string, cure: string | null, subject?: string): void;
  skipped(text: string, subject?: string): void;
}

export interface Check {
  readonly name: string;
  /** May throw: that is a problem with the failure's text. */
  readonly run: (report: Report) => void | Promise<void>;
  /** More than DEADLINE_MS, for what waits for a network. */
  readonly deadlineMs?: number;
}

const DEADLINE_MS = 10_000;
/** Checks that wait for a network or a disk at once. */
const AT_ONCE = 6;

/** Runs the checks, some side by side, and answers in their order. Never throws and never waits for one that hangs. */
export async function runChecks(checks: readonly Check[]): Promise<Finding[]> {
  const findings: Finding[][] = checks.map(() => []);
  const queue = checks.entries();
  const work = async (): Promise<void> => {
    for (const [at, check] of queue) await runCheck(check, findings[at]!);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return findings.flat();
}

async function runCheck({ name, run, deadlineMs = DEADLINE_MS }: Check, findings: Finding[]): Promise<void> {
  let late = false;
  const add = (level: Level, text: string, cure: string | null, subject?: string): void => {
    if (!late) findings.push({ check: name, subject: subject ?? null, level, text, cure });
  };
  const report: Report = {
    ok: (text, subject) => add('ok', text, null, subject),
    warning: (text, cure, subject) => add('warning', text, cure, subject),
    problem: (text, cure, subject) => add('problem', text, cure, subject),
    skipped: (text, subject) => add('skipped', text, null, subject),
  };
  let timer: NodeJS.Timeout | undefined;
  try {
    const over = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Failure('DEADLINE_EXCEEDED', `no answer within ${deadlineMs / 1000} s`, { next: 'see what hangs there' })), deadlineMs);
    });
    await Promise.race([Promise.resolve().then(() => run(report)), over]);
  } catch (error) {
    const { what, next } = Failure.from(error);
    report.problem(what, next ?? null);
  } finally {
    clearTimeout(timer);
    late = true;
  }
}
