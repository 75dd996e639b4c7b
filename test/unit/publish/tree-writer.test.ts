import * as fs from 'node:fs';
import * as path from 'node:path';
import { CatalogWriter } from '../../../src/publish/catalog-writer';
import { DirectorySource } from '../../../src/publish/directory-source';
import { DirectoryStorage } from '../../../src/publish/directory-storage';
import { createIngestPool } from '../../../src/publish/ingest-pool';
import type { SourceEntry } from '../../../src/publish/source';
import { writeTree } from '../../../src/publish/tree-writer';
import { WorkDir } from '../../../src/publish/work-dir';
import { Fixture } from './repository-fixture';

let fixture: Fixture;
beforeEach(async () => {
  fixture = await new Fixture().create();
});
afterEach(() => fixture.remove());

/** A directory in which something happens between two looks at it. */
class RestlessSource extends DirectorySource {
  constructor(
    directory: string,
    private readonly happens: (path: string) => void,
  ) {
    super(directory);
  }

  override list(at: Buffer): SourceEntry[] {
    const entries = super.list(at);
    this.happens(at.toString());
    return entries;
  }

  override again(at: Buffer): SourceEntry | undefined {
    const entry = super.again(at);
    this.happens(at.toString());
    return entry;
  }
}

async function write(source: DirectorySource): Promise<{ warnings: string[]; files: string[] }> {
  const storage = new DirectoryStorage(fixture.storage);
  const workDir = new WorkDir(storage.spoolDir);
  const warnings: string[] = [];
  const catalog = new CatalogWriter(workDir.file('catalog'), Buffer.alloc(0));
  try {
    await writeTree(
      {
        storage,
        workDir,
        pool: createIngestPool(0),
        algorithm: 'sha1',
        compression: 'zlib',
        chunks: null,
        mtimeNs: false,
        now: 1,
        warn: (message) => void warnings.push(message),
        totals: { entries: 0, files: 0, bytes: 0, newObjects: 0, newBytes: 0, catalogs: 0 },
        progress: () => undefined,
        step: async () => undefined,
        storing: new Map(),
      },
      source,
      Buffer.alloc(0),
      catalog,
      undefined,
    );
    const statistics = catalog.finish({ prefix: Buffer.alloc(0), revision: 1, lastModified: 1, previous: undefined });
    return { warnings, files: [`${statistics.self.regular} files of ${statistics.self.file_size} bytes`] };
  } finally {
    catalog.discard();
    workDir.remove();
  }
}

it('reads a file again that changed before it was read', async () => {
  fixture.files({ busy: 'x' });
  let changes = 0;
  const source = new RestlessSource(fixture.source, (at) => {
    if (at === '' && changes++ === 1) fs.writeFileSync(path.join(fixture.source, 'busy'), 'longer');
  });
  expect(await write(source)).toMatchObject({ files: ['1 files of 6 bytes'] });
});

it('names a file that never holds still', async () => {
  fixture.files({ busy: 'x' });
  const file = path.join(fixture.source, 'busy');
  const source = new RestlessSource(fixture.source, () => fs.appendFileSync(file, 'more'));
  await expect(write(source)).rejects.toMatchObject({ code: 'FAILED_PRECONDITION', message: expect.stringContaining('/busy') });
});

it('names a file that goes away, and one that becomes a link', async () => {
  for (const become of [() => undefined, () => fs.symlinkSync('/etc/passwd', path.join(fixture.source, 'busy'))]) {
    fixture.files({ busy: 'x' });
    const source = new RestlessSource(fixture.source, (at) => {
      if (at !== '') return;
      fs.rmSync(path.join(fixture.source, 'busy'), { force: true });
      become();
    });
    // The root is looked at before it is listed, so the file is gone before its listing, or after.
    fixture.files({ busy: 'x' });
    const outcome = await write(source).catch((err: unknown) => err);
    if (outcome instanceof Error) expect(outcome).toMatchObject({ code: 'FAILED_PRECONDITION' });
    fs.rmSync(path.join(fixture.source, 'busy'), { force: true });
  }
});

it('says when a directory got entries while it was published', async () => {
  fixture.files({ 'sub/file': 'x' });
  const source = new RestlessSource(fixture.source, (at) => {
    if (at === '/sub/file') return;
    if (at === '/sub') fs.writeFileSync(path.join(fixture.source, 'sub', `new-${process.hrtime.bigint()}`), '');
  });
  expect((await write(source)).warnings).toEqual([expect.stringContaining('/sub of dir:')]);
});
