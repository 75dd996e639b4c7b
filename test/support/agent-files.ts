/** Files of an agent, as it writes them: a 4-byte length, then a protobuf message. */
import * as fs from 'node:fs';
import * as path from 'node:path';

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let left = value; ; left = Math.floor(left / 128)) {
    bytes.push((left % 128) | (left >= 128 ? 0x80 : 0));
    if (left < 128) return Buffer.from(bytes);
  }
}

/** A length-delimited field. */
export function field(number: number, value: Buffer | string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([varint(number * 8 + 2), varint(bytes.length), bytes]);
}

/** A field of wire type 0. */
export function numberField(number: number, value: number): Buffer {
  return Buffer.concat([varint(number * 8), varint(value)]);
}

export function writeCheckpoint(file: string, message: Buffer): void {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(message.length);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(`${file}.temp`, Buffer.concat([length, message]));
  fs.renameSync(`${file}.temp`, file);
}

const containerDir = (root: string, ids: readonly string[]): string => path.join(root, ...ids.flatMap((id) => ['containers', id]));

/** `<work_dir>/provisioner/containers/…/layers` of a container on these layers. */
export function writeLayers(workDir: string, ids: readonly string[], store: string, digests: readonly string[]): string {
  const file = path.join(containerDir(path.join(workDir, 'provisioner'), ids), 'layers');
  writeCheckpoint(file, Buffer.concat([...digests.map((digest) => field(1, `${store}/layers/${digest}/rootfs.overlay`)), field(2, `${store}/layers/sha256:config`)]));
  return file;
}

/** `<runtime_dir>/containers/…/config` of a container with this image and these image volumes. */
export function writeConfig(runtimeDir: string, ids: readonly string[], image: string | undefined, volumes: readonly string[] = []): string {
  const docker = (name: string): Buffer => Buffer.concat([numberField(1, 2), field(3, field(1, name))]);
  const info = Buffer.concat([numberField(1, 2), ...volumes.map((name) => field(2, Buffer.concat([field(1, '/data'), numberField(3, 2), field(4, docker(name))]))), ...(image === undefined ? [] : [field(5, field(1, docker(image)))])]);
  const file = path.join(containerDir(runtimeDir, ids), 'config');
  writeCheckpoint(file, Buffer.concat([field(3, '/sandbox'), field(11, ''), field(12, info)]));
  return file;
}

/** `storedImages`: registry, repository and tag of each image with its layers. */
export function writeStoredImages(store: string, images: ReadonlyArray<{ readonly registry?: string; readonly repository: string; readonly tag?: string; readonly layers: readonly string[] }>): void {
  const message = images.map(({ registry, repository, tag, layers }) => {
    const reference = Buffer.concat([...(registry === undefined ? [] : [field(1, registry)]), field(2, repository), ...(tag === undefined ? [] : [field(3, tag)])]);
    return field(1, Buffer.concat([field(1, reference), ...layers.map((layer) => field(2, layer)), field(3, 'sha256:config')]));
  });
  writeCheckpoint(path.join(store, 'storedImages'), Buffer.concat(message));
}

/** What the agent's prune does with a layer: renamed away, then deleted without following links. */
export function agentPrune(store: string, digest: string): void {
  fs.mkdirSync(path.join(store, 'gc'), { recursive: true });
  const gone = path.join(store, 'gc', `${digest}.1`);
  fs.renameSync(path.join(store, 'layers', digest), gone);
  fs.rmSync(gone, { recursive: true });
}
