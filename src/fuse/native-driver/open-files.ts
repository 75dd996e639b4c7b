/**
 * The files that are open through the fuse-native driver. For the kernel a path is one file with one set of cached pages,
 * whatever revision it was read in. So a file that somebody holds open shows its content of then, under its path and to
 * everybody, until the last holder has closed it; and after that, no open is answered before the attributes that the kernel
 * may still have of the old content are out of date.
 */
import type { NodeId } from '../../repository/node-id';

export interface OpenFile {
  readonly path: string;
  readonly node: NodeId;
  /** The live revision when it was opened (file-system.ts). */
  readonly revision: number;
}

interface Held {
  readonly node: NodeId;
  handles: number;
}

/** The package passes handles as signed 32-bit numbers and takes 0 for none. */
const HANDLE_MAX = 0x7fff_fffe;

export class OpenFiles {
  readonly #byHandle = new Map<number, OpenFile>();
  readonly #byPath = new Map<string, Held>();
  #last = 0;

  /** What everybody sees at this path because somebody holds it open. */
  held(path: string): NodeId | undefined {
    return this.#byPath.get(path)?.node;
  }

  get(handle: number): OpenFile | undefined {
    return this.#byHandle.get(handle);
  }

  /** A handle for a file; while `held` says something of its path, its node must be that. */
  open(file: OpenFile): number {
    const held = this.#byPath.get(file.path);
    if (held === undefined) this.#byPath.set(file.path, { node: file.node, handles: 1 });
    else held.handles += 1;
    do this.#last = (this.#last % HANDLE_MAX) + 1;
    while (this.#byHandle.has(this.#last));
    this.#byHandle.set(this.#last, file);
    return this.#last;
  }

  /** Ends a handle. Gives what the path held when this was the last one. */
  release(handle: number): OpenFile | undefined {
    const file = this.#byHandle.get(handle);
    if (file === undefined) return undefined;
    this.#byHandle.delete(handle);
    const held = this.#byPath.get(file.path)!;
    held.handles -= 1;
    if (held.handles > 0) return undefined;
    this.#byPath.delete(file.path);
    return file;
  }
}
