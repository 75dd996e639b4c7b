/** The worker thread of the ingest pool: one job in, one result or failure out. */
import { parentPort, workerData } from 'node:worker_threads';
import { Failure } from '../error';
import { ingest } from './ingest';
import type { IngestJob, Piece } from './ingest';

/** `end`: nothing comes after it. */
export type WorkerRequest = { readonly id: number; readonly job: IngestJob } | 'end';

export type WorkerAnswer =
  | { readonly id: number; readonly changed: boolean; readonly pieces: readonly Piece[] }
  | { readonly id: number; readonly failure: ReturnType<Failure['toJSON']> };

/** Buffers cross between threads as plain Uint8Arrays. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Shared with the pool: not zero when the results are not wanted any more. */
const stop = workerData as Int32Array;

parentPort?.on('message', (request: WorkerRequest) => {
  if (request === 'end') return parentPort?.close();
  const { id, job } = request;
  const answer = (message: WorkerAnswer): void => parentPort?.postMessage(message);
  try {
    const result = ingest({ ...job, content: { ...job.content, file: asBuffer(job.content.file) } }, () => Atomics.load(stop, 0) !== 0);
    answer({ id, changed: result.changed, pieces: result.changed ? [] : result.pieces });
  } catch (err) {
    answer({ id, failure: Failure.from(err).toJSON() });
  }
});
