/** A transfer against test servers: short timeouts, waits that take no time, and everything that it logged. */
import * as crypto from 'node:crypto';
import { Failure } from '../../src/error';
import { createTransfer, type Transfer, type TransferInfo } from '../../src/transfer/transfer';
import type { TransferSettings } from '../../src/transfer/transfer-options';
import { fakeClock, type FakeClock } from './fake-clock';

export interface TestTransfer {
  readonly transfer: Transfer;
  readonly clock: FakeClock;
  /** `level message {fields}` */
  readonly log: string[];
}

export function startTransfer(settings: TransferSettings): TestTransfer {
  const clock = fakeClock();
  const log: string[] = [];
  const transfer = createTransfer(
    { timeoutMs: 2_000, timeoutDirectMs: 2_000, totalTimeoutMs: 60_000, ...settings },
    { clock, random: () => 0, log: (level, message, fields) => void log.push(`${level} ${message} ${JSON.stringify(fields ?? {})}`) },
  );
  return { transfer, clock, log };
}

export const sha1 = (bytes: Buffer): string => crypto.createHash('sha1').update(bytes).digest('hex');

/** A consumer that takes only the bytes with this sha1, as the rooms above do. */
export function expecting(hash: string): (body: AsyncIterable<Buffer>, info: TransferInfo) => Promise<{ bytes: Buffer; info: TransferInfo }> {
  return async (body, info) => {
    const chunks: Buffer[] = [];
    for await (const chunk of body) chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    if (sha1(bytes) !== hash) throw new Failure('OBJECT_CORRUPT', `${bytes.length} bytes do not have the hash ${hash}`);
    return { bytes, info };
  };
}
