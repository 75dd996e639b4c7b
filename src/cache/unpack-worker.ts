/** The thread of `ThreadExecutor`: batches in, results out. */
import { parentPort, workerData } from 'node:worker_threads';
import { createBatchHandler } from './unpack-executor';
import type { BatchMessage, WorkerContext } from './unpack-executor';

const handle = createBatchHandler(workerData as WorkerContext);
parentPort?.on('message', (message: BatchMessage) => parentPort?.postMessage(handle(message)));
