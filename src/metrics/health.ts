/**
 * Health as data: what is wrong now, each with a stable code, a text for a person and the time since when. `status --json`
 * shows the list, the log tells each change once, `/readyz` asks for errors. A warning is raised as often as somebody
 * finds it and is one warning all the same; it goes away when its finder says that it is over.
 */

export type Severity = 'info' | 'warning' | 'error';

/** What is wrong: `text` names the object and the cure. */
export interface Warning {
  /** Stable, upper case: `SERVER_USER_ABSENT`. */
  readonly code: string;
  readonly title: string;
  readonly text: string;
  readonly severity: Severity;
  /** When it was first seen, ISO 8601. */
  readonly since: string;
}

/** `subject` tells warnings of one code apart, for example by repository. */
export type WarningInput = Omit<Warning, 'since'> & { readonly subject?: string };

export interface HealthOptions {
  readonly now?: () => Date;
  /** Told when a warning appears, changes its text or severity, or (with `over`) goes away; logs it. */
  readonly onChange?: (warning: Warning, over: boolean) => void;
  /** Warnings kept at a time (default 200); the oldest of the lowest severity goes first. */
  readonly maxWarnings?: number;
}

const RANK: Readonly<Record<Severity, number>> = { error: 0, warning: 1, info: 2 };

export class Health {
  private readonly active = new Map<string, Warning>();
  private readonly now: () => Date;
  private readonly maxWarnings: number;

  constructor(private readonly options: HealthOptions = {}) {
    this.now = options.now ?? (() => new Date());
    this.maxWarnings = options.maxWarnings ?? 200;
  }

  raise({ subject, ...input }: WarningInput): void {
    const key = keyOf(input.code, subject);
    const before = this.active.get(key);
    if (before !== undefined && before.text === input.text && before.severity === input.severity) return;
    const { code, title, text, severity } = input;
    const warning: Warning = { code, title, text, severity, since: before?.since ?? this.now().toISOString() };
    this.active.set(key, warning);
    this.options.onChange?.(warning, false);
    if (this.active.size > this.maxWarnings) this.dropOne(key);
  }

  /** Says that it is over; without a subject only the warning without one. Nothing happens when it was not there. */
  clear(code: string, subject?: string): void {
    const key = keyOf(code, subject);
    const warning = this.active.get(key);
    if (warning === undefined) return;
    this.active.delete(key);
    this.options.onChange?.(warning, true);
  }

  /** The worst first, then the oldest. */
  warnings(): Warning[] {
    return [...this.active.values()].sort((a, b) => RANK[a.severity] - RANK[b.severity] || a.since.localeCompare(b.since) || a.code.localeCompare(b.code));
  }

  private dropOne(newest: string): void {
    let victim: [string, Warning] | undefined;
    for (const entry of this.active) {
      if (entry[0] !== newest && (victim === undefined || RANK[entry[1].severity] > RANK[victim[1].severity])) victim = entry;
    }
    if (victim !== undefined) this.active.delete(victim[0]);
  }
}

function keyOf(code: string, subject: string | undefined): string {
  return subject === undefined ? code : `${code} ${subject}`;
}
