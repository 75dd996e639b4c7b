/**
 * Writes to a descriptor at once, so that the last line before a SIGKILL is not lost. A log must not stop the service:
 * when the reader of a pipe does not keep up (EAGAIN) or the disk is full, the line is dropped and counted, and the count
 * is written when there is room again.
 */
import * as fs from 'node:fs';

/** With `fileMaxBytes`, a file that was opened for appending begins anew when it is full. */
export function descriptorWriter(fd: number, droppedLine: (dropped: number) => string, fileMaxBytes = Infinity): (text: string) => void {
  let dropped = 0;
  const limited = fileMaxBytes !== Infinity && fs.fstatSync(fd).isFile();
  return (text) => {
    let bytes = Buffer.from((dropped === 0 ? '' : `${droppedLine(dropped)}\n`) + text);
    try {
      if (limited && fs.fstatSync(fd).size + bytes.length > fileMaxBytes) fs.ftruncateSync(fd, 0);
      while (bytes.length > 0) bytes = bytes.subarray(fs.writeSync(fd, bytes));
      dropped = 0;
    } catch {
      dropped += 1;
    }
  };
}
