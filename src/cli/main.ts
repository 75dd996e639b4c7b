/**
 * The command line: `mesos-cvmfs <noun> <verb>`. Every command is a file of commands/, loaded only when it is run, so
 * that the keeper does not carry what the service needs.
 */
import '../config/english-only';
import { VERSION } from '../version';
import { reportFailure } from './output';

export async function main(argv: readonly string[]): Promise<void> {
  try {
    // The keeper is tiny: it goes past everything else.
    if (argv[2] === 'keeper' && argv[3] === '--run-dir' && argv[4] !== undefined && argv.length === 5) {
      const { runKeeper } = await import('../fuse/keeper/main');
      await runKeeper(argv[4]);
      process.exit(0);
    }
    const { buildProgram } = await import('./program');
    await buildProgram(VERSION).parseAsync([...argv]);
  } catch (error) {
    process.exitCode = reportFailure(error, argv.includes('--json'));
  }
}
