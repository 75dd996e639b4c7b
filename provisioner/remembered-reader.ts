/**
 * What a revision says never changes, so it is asked once: the rows and small files that finding an image takes (some six
 * words with the file system server) are remembered by root hash, "there is nothing" included. Other failures are not:
 * they may be cured. Calls that ask the same at the same time share one answer.
 */
import { LRUCache } from 'lru-cache';
import { Failure } from '../src/error';
import type { EntryType, RepositoryReader, Snapshot, WalkedEntry, WalkOptions } from '../src/repository/reader';

const ANSWERS_MAX = 10_000;
/** Of all remembered answers together, roughly. */
const BYTES_MAX = 8 * 1024 * 1024;
/** An answer with its key, without the files and names in it. */
const ANSWER_BYTES = 512;
/** Larger answers are not kept. */
const ANSWER_BYTES_MAX = 256 * 1024;

export class RememberedReads {
  readonly #answers = new LRUCache<string, Promise<unknown>>({ max: ANSWERS_MAX, maxSize: BYTES_MAX, sizeCalculation: () => ANSWER_BYTES });

  /** The same repository, asked only for what is not remembered; `snapshot` is always asked. */
  reader(repository: RepositoryReader): RepositoryReader {
    const { fqrn } = repository;
    const key = (method: string, { rootHash }: Snapshot, path: Buffer, option: unknown): string => `${method} ${fqrn} ${rootHash} ${String(option)} ${path.toString('latin1')}`;
    return {
      fqrn,
      snapshot: () => repository.snapshot(),
      walk: (snapshot: Snapshot, path: Buffer, options: WalkOptions = {}) =>
        this.#once(key('walk', snapshot, path, options.followLast ?? true), () => repository.walk(snapshot, path, options), (entry: WalkedEntry) => entry.path.length + (entry.target?.length ?? 0)),
      list: (snapshot: Snapshot, path: Buffer, maxEntries: number) =>
        this.#once(key('list', snapshot, path, maxEntries), () => repository.list(snapshot, path, maxEntries), (entries: Array<{ name: Buffer; type: EntryType }>) =>
          entries.reduce((sum, { name }) => sum + ANSWER_BYTES + name.length, 0),
        ),
      readFile: (snapshot: Snapshot, path: Buffer, maxBytes: number) => this.#once(key('readFile', snapshot, path, maxBytes), () => repository.readFile(snapshot, path, maxBytes), (content: Buffer) => content.length),
    };
  }

  #once<T>(key: string, ask: () => Promise<T>, bytesOf: (answer: T) => number): Promise<T> {
    const known = this.#answers.get(key) as Promise<T> | undefined;
    if (known !== undefined) return known;
    const answer = ask();
    this.#answers.set(key, answer);
    answer.then(
      (value) => {
        const size = ANSWER_BYTES + bytesOf(value);
        if (this.#answers.peek(key) !== answer) return;
        if (size > ANSWER_BYTES_MAX) this.#answers.delete(key);
        else this.#answers.set(key, answer, { size });
      },
      (err: unknown) => {
        if (Failure.from(err).code !== 'NOT_FOUND' && this.#answers.peek(key) === answer) this.#answers.delete(key);
      },
    );
    return answer;
  }
}
