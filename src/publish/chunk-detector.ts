/**
 * Where a large file is cut into chunks (spec 8.2, "xor32"). A cut depends on the 32 bytes before it and not on its
 * place, so that an insertion near the start of a file changes one chunk and not all that follow.
 *
 *     state = 0, c = the last cut (0 at the start)
 *     bytes c + min - 32 … c + min - 1   are fed without a test
 *     from byte i = c + min on           state = (state << 1) ^ byte[i]  (mod 2^32)
 *         abs(int32(state) - 0x7fffffff) < floor(0xffffffff / avg)   → cut before byte i, state = 0
 *         i = c + max                                                → cut at c + max
 *
 * The subtraction wraps at 32 bits, and abs(INT_MIN) stays negative, so 0xffffffff is a hit too. Other cuts would be as
 * valid for every client; these are the stock publisher's, and therefore share chunks with what it wrote.
 */
import { Failure } from '../error';

export interface ChunkSizes {
  /** Bytes; only files larger than this are cut. */
  readonly min: number;
  readonly avg: number;
  readonly max: number;
}

/** The stock publisher's: 4, 8 and 16 MiB. */
export const DEFAULT_CHUNK_SIZES: ChunkSizes = { min: 4 << 20, avg: 8 << 20, max: 16 << 20 };

const WARM_UP_BYTES = 32;
/** A chunk is compressed as a whole by one worker and its row holds a 32-bit friendly size. */
const MAX_CHUNK_BYTES = 1 << 30;

export function checkChunkSizes(sizes: ChunkSizes): void {
  const { min, avg, max } = sizes;
  if (![min, avg, max].every(Number.isSafeInteger) || min < WARM_UP_BYTES || avg < min || max < avg || max > MAX_CHUNK_BYTES) {
    throw new Failure('INVALID_ARGUMENT', `chunk sizes ${min}, ${avg}, ${max} make no sense`, {
      next: `give ${WARM_UP_BYTES} <= minimum <= average <= maximum <= ${MAX_CHUNK_BYTES} bytes`,
    });
  }
}

/** Finds the cuts of one file while its bytes stream by. */
export class ChunkDetector {
  private readonly threshold: number;
  private state = 0;
  /** Offset in the file of the next byte that `cuts` gets. */
  private position = 0;
  private lastCut = 0;

  constructor(private readonly sizes: ChunkSizes) {
    checkChunkSizes(sizes);
    this.threshold = Math.floor(0xffffffff / sizes.avg);
  }

  /** The offsets in the file, ascending, at which a new chunk begins and that lie inside `block`. */
  cuts(block: Buffer): number[] {
    const { min, max } = this.sizes;
    const found: number[] = [];
    let at = 0;
    while (at < block.length) {
      const offset = this.position + at;
      const quiet = this.lastCut + min - WARM_UP_BYTES;
      if (offset < quiet) {
        at += quiet - offset;
        continue;
      }
      at = this.scan(block, at, this.lastCut + min, this.lastCut + max, found);
    }
    this.position += block.length;
    return found;
  }

  /** Feeds bytes until a cut or the end of the block; returns where to go on. */
  private scan(block: Buffer, from: number, firstTested: number, forced: number, found: number[]): number {
    const threshold = this.threshold;
    let state = this.state;
    for (let at = from; at < block.length; at++) {
      const offset = this.position + at;
      if (offset === forced) return this.cut(offset, at, found);
      state = (state << 1) ^ block[at]!;
      if (offset >= firstTested) {
        const distance = (state - 0x7fffffff) | 0;
        if ((distance < 0 ? -distance | 0 : distance) < threshold) return this.cut(offset, at, found);
      }
    }
    this.state = state;
    return block.length;
  }

  private cut(offset: number, at: number, found: number[]): number {
    found.push(offset);
    this.lastCut = offset;
    this.state = 0;
    return at;
  }
}
