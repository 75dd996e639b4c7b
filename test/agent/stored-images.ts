/** `storedImages`: the images that the agent will start again without asking anybody, by name as the user wrote it. */
import * as path from 'node:path';
import { checkpoint, readCheckpoint } from './checkpoint';
import type { Reference } from './reference';
import { showReference } from './reference';

export interface StoredImage {
  readonly reference: Reference;
  readonly layerIds: readonly string[];
  readonly configDigest: string;
}

export class StoredImages {
  #images = new Map<string, StoredImage>();
  readonly #file: string;

  constructor(storeDir: string) {
    this.#file = path.join(storeDir, 'storedImages');
  }

  /** A file that is missing, or was left empty by a power failure, means that no image is known. */
  recover(): void {
    const images = readCheckpoint(this.#file)?.messages(1) ?? [];
    this.#images = new Map(
      images.map((image) => {
        const named = image.message(1)!;
        const [registry, tag, digest] = [named.string(1), named.string(3), named.string(4)];
        const reference = { repository: named.string(2)!, ...(registry === undefined ? {} : { registry }), ...(tag === undefined ? {} : { tag }), ...(digest === undefined ? {} : { digest }) };
        return [showReference(reference), { reference, layerIds: image.strings(2), configDigest: image.string(3)! }];
      }),
    );
  }

  get(key: string): StoredImage | undefined {
    return this.#images.get(key);
  }

  keys(): string[] {
    return [...this.#images.keys()];
  }

  put(image: StoredImage): void {
    this.#images.set(showReference(image.reference), image);
    this.#persist();
  }

  /** Forgets all but these; what is left. */
  retain(keys: ReadonlySet<string>): StoredImage[] {
    this.#images = new Map([...this.#images].filter(([key]) => keys.has(key)));
    this.#persist();
    return [...this.#images.values()];
  }

  #persist(): void {
    const images = [...this.#images.values()].map(({ reference: { registry, repository, tag, digest }, layerIds, configDigest }) => [
      [1, [[1, registry], [2, repository], [3, tag], [4, digest]]] as const,
      ...layerIds.map((id) => [2, id] as const),
      [3, configDigest] as const,
    ]);
    checkpoint(this.#file, images.map((image) => [1, image] as const));
  }
}
