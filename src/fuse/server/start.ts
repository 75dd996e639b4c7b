/**
 * Where the process of a file system server begins: `node start.js <run_dir>` with the descriptors of envelope.ts. The
 * reader workers load their code while the main thread loads its own, which is most of the time until it can serve.
 */
import { ReaderPool } from './reader-pool';

function start(): void {
  let fatal = (_why: string): never => {
    process.kill(process.pid, 'SIGKILL');
    throw new Error('unreachable');
  };
  const readers = new ReaderPool((why) => fatal(why));
  readers.start();
  void import('./main').then(({ runServer }) => runServer(process.argv[2]!, readers, (known) => (fatal = known)));
}

start();
