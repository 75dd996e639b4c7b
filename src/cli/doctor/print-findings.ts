/** Findings as people and programs get them, and what the process ends with. */
import { CODES } from '../../error';
import { print, table } from '../output';
import type { Finding } from './finding';

function line({ level, check, subject, text, cure }: Finding): string[] {
  return [level, check, `${subject === null ? '' : `${subject} `}${text}${cure === null ? '' : `; ${cure}`}`];
}

/** Prints them and ends the process: 8 when there is a problem. */
export function printFindings(json: boolean, findings: readonly Finding[]): void {
  const count = (level: Finding['level']): number => findings.filter((one) => one.level === level).length;
  const [problems, warnings, skipped] = [count('problem'), count('warning'), count('skipped')];
  const last = `${problems} problems, ${warnings} warnings${skipped === 0 ? '' : `, ${skipped} not checked`}\n`;
  print(json, { findings, problems, warnings, skipped }, `${table(findings.map(line))}${last}`);
  // Not by itself: a call that hangs in a check's deadline keeps the process, and nothing is left to be done.
  process.stdout.write('', () => process.exit(problems === 0 ? 0 : CODES.FAILED_PRECONDITION.exit));
}
