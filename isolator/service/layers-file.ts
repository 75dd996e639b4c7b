/**
 * `<work_dir>/provisioner/containers/<id>/layers`, which an agent's own provisioner writes when a root file system is made: a
 * checkpoint (provisioner/facade/protobuf-reader.ts) of mesos.slave.ContainerLayers { repeated string paths = 1 }, the layers in
 * the docker store, base first: `<docker_store_dir>/layers/<digest>/rootfs.overlay`.
 */
import * as fs from 'node:fs';
import { checkpointMessage, fieldsOf } from '../../provisioner/facade/protobuf-reader';
import { Failure } from '../../src/error';

/** Far more than the layers of any image. */
const LAYERS_BYTES_MAX = 1024 * 1024;
const PATHS = 1;

/** The paths in a file's bytes. STATE_DAMAGED when they are cut off; an empty file, which a power cut can leave, has none. */
export function parseLayers(bytes: Buffer): string[] {
  const message = checkpointMessage(bytes);
  return message === undefined ? [] : fieldsOf(message, PATHS).map((path) => path.toString());
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
