/** What another version of this program must understand before it takes the mounts of a `run_dir` over. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { checkListVersion, LIST_HEAD_BYTES } from '../../repository/places';
import { mountDir, openInside } from './mount-dir';
import { readRecords } from './mount-record';
import type { MountRecord } from './mount-record';

/** FAILED_PRECONDITION with the file when one was written by a newer version. Changes nothing. */
export function checkStates(runDir: string): void {
  const records = readRecords(runDir, (_file, failure) => {
    if (failure.code === 'FAILED_PRECONDITION') throw failure;
  });
  for (const record of records) checkList(path.join(mountDir(runDir, record.id), 'index'), record);
}

function checkList(file: string, record: MountRecord): void {
  // A mount that is being made, or is gone since.
  if (!fs.existsSync(file)) return;
  const fd = openInside(file, record.serverUid);
  try {
    const head = Buffer.alloc(LIST_HEAD_BYTES);
    checkListVersion(head.subarray(0, fs.readSync(fd, head, 0, head.length, 0)), file);
  } finally {
    fs.closeSync(fd);
  }
}
