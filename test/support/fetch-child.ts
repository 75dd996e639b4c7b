/** Fetches one object some times, one after the other, as a process of its own: `fetch-child <server> <proxy> <path> <times>`; prints the last. */
import { systemClock } from '../../src/transfer/clock';
import { createTransfer } from '../../src/transfer/transfer';

async function main([server = '', proxy = '', path = '', times = '1']: string[]): Promise<void> {
  const transfer = createTransfer({ servers: [server], proxies: [[proxy]] }, { clock: systemClock(), random: () => 0, log: () => undefined });
  let text = '';
  for (let i = 0; i < Number(times); i++) text = (await transfer.fetchBytes({ path, maxBytes: 1e6 })).bytes.toString();
  await transfer.close();
  process.stdout.write(text);
}

void main(process.argv.slice(2));
