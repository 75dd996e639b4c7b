/**
 * Provision and Destroy of a mounted repository, over gRPC, overlay: one after the other, then a hundred at once. The
 * repository is a tmpfs with real directories, so the figures are the provisioner's own share.
 *
 *     node -r ./test/support/register-typescript.js test/bench/provision-latency.ts [rounds]
 */
import { fork } from 'node:child_process';
import * as path from 'node:path';
import { createClient } from '../../provisioner/grpc/client';
import { loadContracts } from '../../provisioner/grpc/protos';
import { CALL, cvmfsImage, makeHost } from '../support/provisioner/service';

function percentile(sorted: readonly number[], p: number): string {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))]!.toFixed(1);
}

function report(name: string, times: number[]): void {
  const sorted = [...times].sort((a, b) => a - b);
  console.log(`${name.padEnd(28)} n=${String(times.length).padEnd(5)} p50 ${percentile(sorted, 0.5)} ms  p99 ${percentile(sorted, 0.99)} ms`);
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}

async function main(rounds: number): Promise<void> {
  const host = makeHost();
  const child = fork(path.join(__dirname, '../support/provisioner/serve-and-crash.ts'), [host.config(), host.mountpoint], {
    execArgv: ['-r', path.join(__dirname, '../support/register-typescript.js')],
  });
  try {
    await new Promise((resolve) => child.once('message', resolve));
    const client = createClient(loadContracts(), 'mesos.cvmfs.v1.Provisioner', host.listen);
    const provision = (id: string) => timed(() => client.Provision({ container_id: { value: id }, image: cvmfsImage('a') }, CALL));
    const destroy = (id: string) => timed(() => client.Destroy({ container_id: { value: id } }, CALL));
    for (let n = 0; n < 20; n++) await provision(`warm${n}`);
    const made: number[] = [];
    const gone: number[] = [];
    for (let n = 0; n < rounds; n++) made.push(await provision(`c${n}`));
    for (let n = 0; n < rounds; n++) gone.push(await destroy(`c${n}`));
    report('Provision, one by one', made);
    report('Destroy, one by one', gone);
    const begin = performance.now();
    report('Provision, 100 at once', await Promise.all(Array.from({ length: 100 }, (_, n) => provision(`p${n}`))));
    console.log(`  all 100 in ${(performance.now() - begin).toFixed(0)} ms`);
    report('Destroy, 100 at once', await Promise.all(Array.from({ length: 100 }, (_, n) => destroy(`p${n}`))));
    client.close();
  } finally {
    child.kill('SIGKILL');
    host.remove();
  }
}

void main(Number(process.argv[2] ?? 300));
