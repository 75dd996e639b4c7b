/**
 * The body of one answer on its way to the consumer: counted, limited, watched for its speed, and checked for its length.
 * What goes wrong here is remembered in `fault`, because a consumer may turn the error that it gets into one of its own
 * (an inflater that sees its input end says "corrupt"): the transfer believes `fault` first.
 */
import type { Readable } from 'node:stream';
import { Failure } from '../error';
import { AttemptFailure, errorFailure } from './attempt-failure';

export interface BodyLimits {
  readonly maxBytes: number;
  /** Length that the answer announced, if it did. */
  readonly contentLength: number | undefined;
  /** Length that the request asked for, if it did. */
  readonly rangeLength: number | undefined;
  readonly timeoutMs: number;
  readonly lowSpeedLimitBytesPerSecond: number;
  readonly proxied: boolean;
  readonly signal: AbortSignal;
}

/** First bytes that are kept for a diagnosis. */
const HEAD_BYTES = 64;
/** The speed is looked at this often per timeout. */
const SAMPLES = 5;

export class Body {
  received = 0;
  head: Buffer = Buffer.alloc(0);
  fault: AttemptFailure | Failure | undefined;

  constructor(
    private readonly stream: Readable,
    private readonly limits: BodyLimits,
  ) {
    // Destroyed streams report through the iterator, or to nobody when the consumer has gone.
    stream.on('error', () => undefined);
  }

  /** Throws what `fault` then holds, or the reason of the signal. */
  async *chunks(): AsyncGenerator<Buffer, void, undefined> {
    const watch = new SpeedWatch(this.limits, (failure) => this.stream.destroy(failure));
    try {
      for await (const chunk of this.stream as AsyncIterable<Buffer>) {
        this.take(chunk);
        watch.waiting = false;
        yield chunk;
        watch.waiting = true;
        watch.bytes += chunk.length;
      }
      this.checkLength();
    } catch (error) {
      if (this.limits.signal.aborted) throw this.limits.signal.reason;
      this.fault ??= error instanceof Failure ? error : errorFailure(error, this.limits.proxied, true);
      throw this.fault;
    } finally {
      watch.stop();
    }
  }

  /** The whole of a body that fits into memory; throws as `chunks` does. Without the turns of the loop that an iterator takes. */
  collect(): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const { stream } = this;
      const watch = new SpeedWatch(this.limits, (failure) => stream.destroy(failure));
      const chunks: Buffer[] = [];
      const fail = (error: unknown): void => {
        watch.stop();
        if (this.limits.signal.aborted) return reject(this.limits.signal.reason);
        this.fault ??= error instanceof Failure ? error : errorFailure(error, this.limits.proxied, true);
        reject(this.fault);
      };
      stream.on('data', (chunk: Buffer) => {
        watch.bytes += chunk.length;
        chunks.push(chunk);
        try {
          this.take(chunk);
        } catch (error) {
          stream.destroy(error as Error);
        }
      });
      stream.once('error', fail);
      stream.once('close', () => {
        if (!stream.readableEnded) fail(new Error('the body ended early'));
      });
      stream.once('end', () => {
        watch.stop();
        try {
          this.checkLength();
          resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks));
        } catch (error) {
          fail(error);
        }
      });
    });
  }

  /** Drops what was not read; the connection goes with it. */
  drop(): void {
    if (!this.stream.readableEnded) this.stream.destroy();
  }

  private take(chunk: Buffer): void {
    this.received += chunk.length;
    if (this.head.length < HEAD_BYTES) this.head = Buffer.concat([this.head, chunk.subarray(0, HEAD_BYTES - this.head.length)]);
    const { maxBytes, rangeLength } = this.limits;
    if (rangeLength !== undefined && this.received > rangeLength) throw new AttemptFailure('corrupt', 'host', `more than the ${rangeLength} bytes that were asked for`);
    if (this.received > maxBytes) throw tooBig(maxBytes);
  }

  private checkLength(): void {
    const expected = this.limits.contentLength ?? this.limits.rangeLength;
    if (expected !== undefined && this.received < expected) {
      throw new AttemptFailure('short', this.limits.proxied ? 'proxy' : 'host', `${this.received} of ${expected} bytes came`);
    }
  }
}

export function tooBig(maxBytes: number): AttemptFailure {
  return new AttemptFailure('too-big', 'host', `larger than the ${maxBytes} bytes that it may have`);
}

/** Calls `slow` when less than the limit has come for a whole timeout; the time that the consumer takes does not count. */
class SpeedWatch {
  waiting = true;
  bytes = 0;
  private slowSamples = 0;
  private readonly timer: NodeJS.Timeout;

  constructor(limits: BodyLimits, slow: (failure: AttemptFailure) => void) {
    const sampleMs = Math.max(1, limits.timeoutMs / SAMPLES);
    // A limit of 0 switches the check of the speed off, never the check for a body that has stopped.
    const enough = Math.max(1, (limits.lowSpeedLimitBytesPerSecond * sampleMs) / 1000);
    this.timer = setInterval(() => {
      this.slowSamples = this.waiting && this.bytes < enough ? this.slowSamples + 1 : 0;
      this.bytes = 0;
      if (this.slowSamples >= SAMPLES) {
        slow(new AttemptFailure('too-slow', limits.proxied ? 'proxy' : 'host', `below ${limits.lowSpeedLimitBytesPerSecond} B/s for ${limits.timeoutMs} ms`));
      }
    }, sampleMs);
  }

  stop(): void {
    clearInterval(this.timer);
  }
}
