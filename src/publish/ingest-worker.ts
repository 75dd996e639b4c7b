/** The worker thread of the ingest pool: one job in, one result or failure out. */
import { parentPort } from 'node:worker_threads';
import { Failure } from '../error';
import { ingest } from './ingest';
import type { IngestJob, Piece } from './ingest';

export interface WorkerRequest {
  readonly id: number;
  readonly job: IngestJob;
}

export type WorkerAnswer =
  | { readonly id: number; readonly changed: boolean; readonly pieces: readonly Piece[] }
  | { readonly id: number; readonly failure: ReturnType<Failure['toJSON']> };

/** Buffers cross between threads as plain Uint8Arrays. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

parentPort?.on('message', ({ id, job }: WorkerRequest) => {
  const answer = (message: WorkerAnswer): void => parentPort?.postMessage(message);
  try {
    const result = ingest({ ...job, content: { ...job.content, file: asBuffer(job.content.file) } });
    answer({ id, changed: result.changed, pieces: result.changed ? [] : result.pieces });
  } catch (err) {
    answer({ id, failure: Failure.from(err).toJSON() });
  }
});
