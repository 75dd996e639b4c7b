/**
 * Where the plain bytes of a large object go while they arrive: a temp file, as long as there is space; evicted for, once,
 * when the file system is full; and into memory, bytes already written included, when there is none to be had and the
 * caller takes the object so. A reader is served although the disk is full (spec 11.1 row 16).
 */
import * as fs from 'node:fs';
import { promisify } from 'node:util';
import { Failure } from '../error';
import type { Evictor, Reservation } from './eviction';
import { markGeneration } from './generation';
import { chargedBytes } from './object-index';
import type { StoreContext } from './store';
import type { TempFile } from './temp-file';

const write = promisify(fs.write);
const read = promisify(fs.read);

/** Space is asked for in steps of this size while the object's size is not known. */
const RESERVE_STEP_BYTES = 16 << 20;

export class ObjectSink {
  private temp: TempFile | undefined;
  private open = false;
  private memory: Buffer[] | undefined;
  private written = 0;
  /** The space that is promised to the object until it is recorded. */
  readonly reservation: Reservation;

  constructor(
    private readonly context: StoreContext,
    private readonly evictor: Evictor,
    private readonly options: { readonly plainSize: number | null; readonly orMemoryMaxBytes: number },
  ) {
    this.reservation = evictor.reserve();
  }

  async write(chunk: Buffer): Promise<void> {
    if (this.memory === undefined) {
      try {
        await this.writeFile(chunk);
        return;
      } catch (error) {
        await this.turnToMemory(Failure.from(error));
      }
    }
    if (this.written + chunk.length > this.options.orMemoryMaxBytes) throw this.tooBigForMemory();
    this.memory!.push(chunk);
    this.written += chunk.length;
  }

  /** The complete file, marked and closed; or the bytes, when they are in memory. Its name is the caller's to remove. */
  async finish(): Promise<{ readonly temp: string } | { readonly bytes: Buffer }> {
    if (this.memory === undefined) {
      try {
        // An empty object has had no write.
        const temp = await this.file();
        markGeneration(temp.fd, this.context.generation);
        this.context.step?.('temp written');
        this.close();
        return { temp: temp.path };
      } catch (error) {
        await this.turnToMemory(Failure.from(error));
      }
    }
    return { bytes: Buffer.concat(this.memory!) };
  }

  /** Ends it in every case: removes the temp file, if it still has its name, and gives the space back. */
  dispose(): void {
    this.close();
    if (this.temp !== undefined) fs.rmSync(this.temp.path, { force: true });
    this.reservation.release();
  }

  private close(): void {
    if (this.open) fs.closeSync(this.temp!.fd);
    this.open = false;
  }

  private async file(): Promise<TempFile> {
    if (this.temp !== undefined) return this.temp;
    if (this.options.plainSize !== null) await this.reservation.grow(chargedBytes(this.options.plainSize));
    this.temp = this.context.temps.create();
    this.open = true;
    this.context.step?.('temp made');
    return this.temp;
  }

  private async writeFile(chunk: Buffer): Promise<void> {
    const { fd } = await this.file();
    if (this.options.plainSize === null) {
      const steps = Math.ceil((this.written + chunk.length) / RESERVE_STEP_BYTES);
      await this.reservation.grow(steps === 1 ? chargedBytes(this.written + chunk.length) : steps * RESERVE_STEP_BYTES);
    }
    let at = 0;
    let evicted = false;
    while (at < chunk.length) {
      try {
        const { bytesWritten } = await write(fd, chunk, at, chunk.length - at, this.written + at);
        at += bytesWritten;
      } catch (error) {
        const failure = Failure.from(error, 'writing an object to the cache');
        if (failure.code !== 'NO_SPACE' || evicted) throw failure;
        evicted = true;
        const missing = Math.max(0, (this.options.plainSize ?? 0) - this.written) + chunk.length;
        if (!(await this.evictor.relieve(missing))) throw failure;
      }
    }
    this.written += chunk.length;
  }

  private async turnToMemory(failure: Failure): Promise<void> {
    if (failure.code !== 'NO_SPACE') throw failure;
    if (this.written > this.options.orMemoryMaxBytes || (this.options.plainSize ?? 0) > this.options.orMemoryMaxBytes) throw failure;
    const bytes = Buffer.alloc(this.written);
    for (let at = 0; at < bytes.length; ) {
      const { bytesRead } = await read(this.temp!.fd, bytes, at, bytes.length - at, at);
      if (bytesRead === 0) throw new Failure('SYSTEM', 'a temp file of the cache became shorter', { data: { errno: 'EIO' } });
      at += bytesRead;
    }
    this.dispose();
    this.memory = [bytes];
  }

  private tooBigForMemory(): Failure {
    return new Failure('NO_SPACE', `the cache ${this.context.dir} has no space, and an object of more than ${this.options.orMemoryMaxBytes} bytes is not kept in memory`, {
      next: 'raise cache.limit or free space on the disk',
    });
  }
}
