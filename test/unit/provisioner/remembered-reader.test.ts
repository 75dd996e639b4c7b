/** What a revision says is asked once; what may be cured is asked again. */
import { RememberedReads } from '../../../provisioner/remembered-reader';
import { Failure } from '../../../src/error';
import type { RepositoryReader, WalkedEntry } from '../../../src/repository/reader';

const snapshot = (digit: string) => ({ rootHash: digit.repeat(40), revision: 1 });
const entry = (path: string): WalkedEntry => ({ path: Buffer.from(path), type: 'directory', mode: 0o40755, uid: 0, gid: 0, size: 0, mtime: 0, catalog: { hash: 'a'.repeat(40), path: Buffer.from('/') } });

class Counted implements RepositoryReader {
  readonly asked: string[] = [];
  failure: Failure | undefined;

  constructor(readonly fqrn: string) {}

  snapshot() {
    this.asked.push('snapshot');
    return Promise.resolve(snapshot('1'));
  }

  walk(at: { rootHash: string }, path: Buffer): Promise<WalkedEntry> {
    this.asked.push(`walk ${at.rootHash[0]} ${path.toString()}`);
    return this.failure === undefined ? Promise.resolve(entry(path.toString())) : Promise.reject(this.failure);
  }

  list() {
    this.asked.push('list');
    return Promise.resolve([{ name: Buffer.from('etc'), type: 'directory' as const }]);
  }

  readFile(_at: unknown, path: Buffer) {
    this.asked.push(`read ${path.toString()}`);
    return Promise.resolve(Buffer.alloc(path.toString() === '/large' ? 300_000 : 10));
  }
}

const A = Buffer.from('/a');

describe('remembered reads', () => {
  it('asks once for each path of each revision, option and repository', async () => {
    const reads = new RememberedReads();
    const one = new Counted('one.example.org');
    const two = new Counted('two.example.org');
    for (let round = 0; round < 3; round++) {
      await reads.reader(one).walk(snapshot('1'), A);
      await reads.reader(one).walk(snapshot('2'), A);
      await reads.reader(one).walk(snapshot('1'), A, { followLast: false });
      await reads.reader(two).walk(snapshot('1'), A);
    }
    expect(one.asked).toEqual(['walk 1 /a', 'walk 2 /a', 'walk 1 /a']);
    expect(two.asked).toEqual(['walk 1 /a']);
  });

  it('always asks for the newest revision', async () => {
    const repository = new Counted('one.example.org');
    const reader = new RememberedReads().reader(repository);
    await reader.snapshot();
    await reader.snapshot();
    expect(repository.asked).toEqual(['snapshot', 'snapshot']);
  });

  it('those who ask at the same time share one answer', async () => {
    const repository = new Counted('one.example.org');
    const reader = new RememberedReads().reader(repository);
    const answers = await Promise.all(Array.from({ length: 100 }, () => reader.walk(snapshot('1'), A)));
    expect(new Set(answers.map(({ path }) => path.toString()))).toEqual(new Set(['/a']));
    expect(repository.asked).toHaveLength(1);
  });

  it('remembers that there is nothing, and no other failure', async () => {
    const repository = new Counted('one.example.org');
    const reader = new RememberedReads().reader(repository);
    repository.failure = new Failure('NETWORK', 'the server is away');
    await expect(reader.walk(snapshot('1'), A)).rejects.toMatchObject({ code: 'NETWORK' });
    repository.failure = new Failure('NOT_FOUND', '/a does not exist');
    await expect(reader.walk(snapshot('1'), A)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    repository.failure = undefined;
    await expect(reader.walk(snapshot('1'), A)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(repository.asked).toHaveLength(2);
  });

  it('keeps no large files', async () => {
    const repository = new Counted('one.example.org');
    const reader = new RememberedReads().reader(repository);
    for (let round = 0; round < 2; round++) {
      await reader.readFile(snapshot('1'), Buffer.from('/large'), 1 << 20);
      await reader.readFile(snapshot('1'), Buffer.from('/small'), 1 << 20);
    }
    expect(repository.asked).toEqual(['read /large', 'read /small', 'read /large']);
  });
});
