/**
 * What a stock agent has on disk and in its mount table of a container whose image the facade serves: the docker store
 * with a link into a view, the checkpointed layers, and a real overlay on the view as root file system.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { libc } from '../../../src/native/libc';

const stringField = (number: number, text: string): Buffer => {
  const bytes = Buffer.from(text);
  const length: number[] = [];
  let rest = bytes.length;
  for (; rest >= 0x80; rest >>>= 7) length.push((rest & 0x7f) | 0x80);
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...length, rest]), bytes]);
};

/** The bytes of a `layers` file. */
export function layersFile(paths: readonly string[], config?: string): Buffer {
  const message = Buffer.concat([...paths.map((one) => stringField(1, one)), ...(config === undefined ? [] : [stringField(2, config)])]);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(message.length);
  return Buffer.concat([length, message]);
}

/** Under `<dir>/agent`; answers the root file system. */
export function makeAgentRootfs(dir: string, id: readonly string[], target: string): string {
  const layer = path.join(dir, 'agent/store/layers/sha256:1', 'rootfs.overlay');
  fs.mkdirSync(path.dirname(layer), { recursive: true });
  fs.rmSync(layer, { force: true });
  fs.symlinkSync(target, layer);
  const container = path.join(dir, 'agent/mesos/provisioner', ...id.flatMap((name) => ['containers', name]));
  const overlay = path.join(container, 'backends/overlay');
  const [rootfs, upper, work] = ['rootfses/u', 'scratch/u/upperdir', 'scratch/u/workdir'].map((name) => path.join(overlay, name)) as [string, string, string];
  for (const made of [rootfs, upper, work]) fs.mkdirSync(made, { recursive: true });
  fs.writeFileSync(path.join(container, 'layers'), layersFile([layer]));
  libc().mount('overlay', rootfs, 'overlay', 0, `lowerdir=${target},upperdir=${upper},workdir=${work}`);
  return rootfs;
}
