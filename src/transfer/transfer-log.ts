/** Where the transfer room says what it met: few lines, fields without secrets, text from the network escaped. */
export type TransferLog = (level: 'debug' | 'info' | 'warn' | 'error', message: string, fields?: Readonly<Record<string, unknown>>) => void;

/** Longest piece of a stranger's text that is shown. */
const MAX_SHOWN = 120;

/**
 * Text or bytes from the network made harmless for a log or a message: everything but printable ASCII becomes `\xNN`, so
 * that no answer can forge a log line or drive a terminal, and what is long is cut.
 */
export function printable(value: Buffer | string): string {
  const bytes = typeof value === 'string' ? Buffer.from(value.slice(0, MAX_SHOWN + 1)) : value;
  const shown = bytes.subarray(0, MAX_SHOWN).toString('latin1').replace(/[^\x20-\x5b\x5d-\x7e]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
  return bytes.length > MAX_SHOWN ? `${shown}...` : shown;
}
