/**
 * `<work_dir>/provisioner/containers/<id>/layers`, which an agent's own provisioner writes when a root file system is made:
 *
 *     4 bytes   length, in the byte order of the host (little-endian on all that we run on)
 *     n bytes   mesos.slave.ContainerLayers: repeated string paths = 1, optional string config = 2
 *
 * The paths are those of the layers in the docker store, base first: `<docker_store_dir>/layers/<digest>/rootfs.overlay`.
 */
import * as fs from 'node:fs';
import { Failure } from '../../src/error';

/** Far more than the layers of any image. */
const LAYERS_BYTES_MAX = 1024 * 1024;
const PATHS_TAG = (1 << 3) | 2;

/** The paths in a file's bytes. STATE_DAMAGED when they are cut off; an empty file, which a power cut can leave, has none. */
export function parseLayers(bytes: Buffer): string[] {
  if (bytes.length === 0) return [];
  const damaged = (): Failure => new Failure('STATE_DAMAGED', 'a layers file of the agent is cut off');
  if (bytes.length < 4 || bytes.readUInt32LE(0) > bytes.length - 4) throw damaged();
  const message = bytes.subarray(4, 4 + bytes.readUInt32LE(0));
  const paths: string[] = [];
  let at = 0;
  const varint = (): number => {
    for (let value = 0, shift = 0; shift < 28; shift += 7) {
      const byte = message[at++];
      if (byte === undefined) throw damaged();
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw damaged();
  };
  while (at < message.length) {
    const tag = varint();
    // Both fields are strings, and so was every one that the message ever had.
    if ((tag & 7) !== 2) throw damaged();
    const length = varint();
    if (length > message.length - at) throw damaged();
    if (tag === PATHS_TAG) paths.push(message.toString('utf8', at, at + length));
    at += length;
  }
  return paths;
}

/** None when there is no file: the container has no image of the agent's own provisioner. */
export function readLayers(file: string): string[] {
  let fd: number;
  try {
    fd = fs.openSync(file, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return [];
    throw Failure.from(error, file);
  }
  try {
    const stat = fs.fstatSync(fd);
    if (!stat.isFile() || stat.size > LAYERS_BYTES_MAX) throw new Failure('STATE_DAMAGED', `${file} is not a layers file`);
    return parseLayers(fs.readFileSync(fd));
  } finally {
    fs.closeSync(fd);
  }
}
