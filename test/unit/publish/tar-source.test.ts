import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import * as zlib from 'node:zlib';
import { parseXattrs } from '../../../src/cvmfs/xattr-blob';
import { libc } from '../../../src/native/libc';
import { openTar } from '../../../src/publish/tar-source';
import { header, member, paxRecord, sealed, tar } from './tar-builder';
import { Fixture } from './repository-fixture';

jest.setTimeout(30_000);

let fixture: Fixture;
beforeEach(async () => {
  fixture = await new Fixture().create();
});
afterEach(() => fixture.remove());

async function expectSound(): Promise<void> {
  expect((await fixture.check()).findings).toEqual([]);
}

function paths(): string[] {
  return [...fixture.tree().keys()].filter((name) => name !== '').sort();
}

describe('an archive', () => {
  it('holds every kind of file', async () => {
    await fixture.publishTar(
      tar(
        { name: './', type: '5', mode: 0o700, uid: 5, mtime: 77 },
        { name: './dir/', type: '5', mode: 0o1777 },
        { name: './dir/file', data: 'content', mode: 0o4755, uid: 1000, gid: 100, mtime: 1_500_000_000 },
        { name: './dir/same', type: '1', link: './dir/file' },
        { name: './link', type: '2', link: 'dir/../dir/file' },
        { name: './null', type: '3', mode: 0o666, device: [1, 3] },
        { name: './disk', type: '4', mode: 0o660, device: [259, 300] },
        { name: './pipe', type: '6' },
        { name: './old', type: '\0', data: 'v7' },
      ),
    );
    const tree = fixture.tree();
    expect(tree.get('')).toMatchObject({ mode: 0o040700, uid: 5, mtime: 77, linkCount: 3 });
    expect(tree.get('/dir')).toMatchObject({ mode: 0o041777, size: 4096 });
    expect(tree.get('/dir/file')).toMatchObject({
      mode: 0o104755,
      uid: 1000,
      gid: 100,
      mtime: 1_500_000_000,
      linkCount: 2,
      hardlinkGroup: 1,
      content: Buffer.from('content'),
    });
    expect(tree.get('/dir/same')).toMatchObject({ mode: 0o104755, uid: 1000, linkCount: 2, hardlinkGroup: 1 });
    expect(tree.get('/link')).toMatchObject({ flags: 12, symlink: Buffer.from('dir/../dir/file') });
    expect(tree.get('/null')).toMatchObject({ mode: 0o020666, size: 259 });
    expect(tree.get('/disk')).toMatchObject({ mode: 0o060660, size: 0x11032c });
    expect(tree.get('/pipe')).toMatchObject({ flags: 20 });
    expect(tree.get('/old')!.content!.toString()).toBe('v7');
    await expectSound();
  });

  it('may come from GNU tar with all that it can say, compressed', async () => {
    const long = `${'long'.repeat(60)}/${'name'.repeat(60)}`;
    fixture.files({ [long]: 'deep', 'x/attr': 'y' });
    fs.writeFileSync(Buffer.concat([Buffer.from(`${fixture.source}/x/`), Buffer.from([0xe9, 0xff])]), 'latin');
    libc().lsetxattr(path.join(fixture.source, 'x/attr'), 'user.k=ey', Buffer.from([0, 10, 255]));
    fs.linkSync(path.join(fixture.source, 'x/attr'), path.join(fixture.source, 'x/twin'));
    const before = fixture.source;
    for (const format of ['gnu', 'pax']) {
      for (const flags of [['-cf'], ['-czf']]) {
        const file = path.join(fixture.dir, 'made.tar');
        execFileSync('tar', ['--format', format, ...(format === 'pax' ? ['--xattrs'] : []), '-C', before, ...flags, file, '.']);
        await fixture.publish({ source: `tar:${file}`, to: `/${format}`, mtimeNs: format === 'pax' });
        const tree = fixture.tree();
        expect(tree.get(`/${format}/${long}`)!.content!.toString()).toBe('deep');
        expect(tree.get(`/${format}/x/\xe9\xff`)!.content!.toString()).toBe('latin');
        expect(tree.get(`/${format}/x/twin`)).toMatchObject({ linkCount: 2 });
        if (format === 'pax') {
          const { mtimeNs } = tree.get('/pax/x/attr')!;
          expect(BigInt(mtimeNs)).toBe(fs.statSync(path.join(before, 'x/attr'), { bigint: true }).mtimeNs % 1_000_000_000n);
          expect(parseXattrs(tree.get('/pax/x/attr')!.xattrs!)).toEqual([{ name: Buffer.from('user.k=ey'), value: Buffer.from([0, 10, 255]) }]);
        }
      }
    }
    await expectSound();
  });

  it('makes the directories that it leaves out, with the time of the first entry in them', async () => {
    await fixture.publishTar(tar({ name: 'a/b/c', data: 'x', mtime: 1234 }));
    const tree = fixture.tree();
    expect(tree.get('')).toMatchObject({ mode: 0o040755, mtime: 1234 });
    expect(tree.get('/a/b')).toMatchObject({ mode: 0o040755, uid: 0, mtime: 1234, linkCount: 2 });
    await expectSound();
  });

  it('may name directories after what is in them', async () => {
    await fixture.publishTar(tar({ name: 'a/b', data: 'x' }, { name: 'a', type: '5', mode: 0o711 }));
    expect(fixture.tree().get('/a')).toMatchObject({ mode: 0o040711 });
    expect(paths()).toEqual(['/a', '/a/b']);
  });

  it('counts its last entry of a name', async () => {
    await fixture.publishTar(
      tar(
        { name: 'f', data: 'first' },
        { name: 'f', data: 'second' },
        { name: 'd/x', data: '1' },
        { name: 'd-x', data: '2' },
        { name: 'd', data: 'now a file' },
        { name: 'g', data: '3' },
        { name: 'g/', type: '5' },
        { name: 'g/in', data: '4' },
        { name: 'h', data: '5' },
        { name: 'h2', type: '1', link: 'h' },
        { name: 'h', data: '6' },
      ),
    );
    const tree = fixture.tree();
    expect(paths()).toEqual(['/d', '/d-x', '/f', '/g', '/g/in', '/h', '/h2']);
    expect(tree.get('/f')!.content!.toString()).toBe('second');
    expect(tree.get('/d')!.content!.toString()).toBe('now a file');
    expect(tree.get('/h')).toMatchObject({ content: Buffer.from('6'), linkCount: 1 });
    expect(tree.get('/h2')).toMatchObject({ content: Buffer.from('5'), linkCount: 1 });
    await expectSound();
  });

  it('is taken from the root on, whatever its names begin with', async () => {
    const { warnings } = await fixture.publishTar(tar({ name: '/abs', data: 'x' }, { name: './/rel//./y', data: 'y' }));
    expect(paths()).toEqual(['/abs', '/rel', '/rel/y']);
    expect(warnings).toEqual([expect.stringContaining('leading /')]);
  });

  it('keeps .wh. names as names', async () => {
    await fixture.publishTar(tar({ name: 'd/.wh.gone', data: '' }, { name: 'd/.wh..wh..opq', data: '' }));
    expect(paths()).toEqual(['/d', '/d/.wh..wh..opq', '/d/.wh.gone']);
  });

  it('may have links that lead anywhere: they are only text', async () => {
    await fixture.publishTar(tar({ name: 'etc', type: '2', link: '/etc' }, { name: 'up', type: '2', link: '../../../..' }));
    expect(fixture.tree().get('/up')!.symlink.toString()).toBe('../../../..');
    await expectSound();
  });

  it('has extended attributes in both spellings', async () => {
    await fixture.publishTar(
      tar({
        name: 'f',
        data: 'x',
        pax: { 'SCHILY.xattr.user.a': Buffer.from([1, 0, 255]), 'LIBARCHIVE.xattr.user.b%25': Buffer.from('value').toString('base64') },
      }),
    );
    expect(parseXattrs(fixture.tree().get('/f')!.xattrs!)).toEqual([
      { name: Buffer.from('user.a'), value: Buffer.from([1, 0, 255]) },
      { name: Buffer.from('user.b%'), value: Buffer.from('value') },
    ]);
  });

  it('has global pax records, numbers in base 256 and dates before 1970', async () => {
    const global = Buffer.concat([paxRecord('uid', '70000'), paxRecord('comment', 'x')]);
    const big = header({ name: 'big', data: 'x' });
    big.fill(0, 108, 116);
    big[108] = 0x80;
    big.writeUInt32BE(3_000_000_000, 112);
    const early = header({ name: 'early', data: '' });
    early.fill(0xff, 136, 148); // −1
    const block = (bytes: Buffer): Buffer => Buffer.concat([bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)]);
    await fixture.publishTar(
      Buffer.concat([
        sealed(big),
        block(Buffer.from('x')),
        sealed(early),
        header({ name: 'g', type: 'g', data: global }),
        block(global),
        member({ name: 'with', data: 'y', pax: { mtime: '-1.25' } }),
        member({ name: 'own', data: 'z', pax: { uid: '5' } }),
      ]),
      { mtimeNs: true },
    );
    const tree = fixture.tree();
    expect(tree.get('/big')).toMatchObject({ uid: 3_000_000_000 });
    expect(tree.get('/early')).toMatchObject({ mtime: -1 });
    expect(tree.get('/with')).toMatchObject({ uid: 70_000, mtime: -2, mtimeNs: 750_000_000 });
    expect(tree.get('/own')).toMatchObject({ uid: 5 });
  });
});

describe('a hostile or broken archive', () => {
  const cases: Array<[string, Buffer, RegExp]> = [
    ['names ..', tar({ name: 'a/../../etc/passwd', data: 'x' }), /\.\./],
    ['names .. in a pax header', tar({ name: 'x', data: 'x', pax: { path: '../x' } }), /\.\./],
    ['has a NUL in a name', tar({ name: 'x', data: 'x', pax: { path: 'a\0b' } }), /NUL/],
    ['has a part of a name that is too long', tar({ name: 'x', data: 'x', pax: { path: 'n'.repeat(256) } }), /255/],
    ['writes through a symbolic link', tar({ name: 'l', type: '2', link: '/etc' }, { name: 'l/passwd', data: 'x' }), /below .*symlink/],
    ['writes below a file', tar({ name: 'f', data: '' }, { name: 'f/x', data: 'x' }), /below .*file/],
    ['links to nothing', tar({ name: 'h', type: '1', link: 'missing' }), /hard link to/],
    ['links to a directory', tar({ name: 'd', type: '5' }, { name: 'h', type: '1', link: 'd' }), /hard link to the directory/],
    ['has a file for its root', tar({ name: './', data: '' }, { name: '.', data: 'x' }), /root/],
    ['has an empty link', tar({ name: 'l', type: '2', link: '' }), /target/],
    ['has a long link', tar({ name: 'l', type: '2', pax: { linkpath: 'x'.repeat(4096) } }), /target/],
    ['has a sparse file', tar({ name: 's', data: 'x', pax: { 'GNU.sparse.major': '1' } }), /sparse/],
    ['has a member of no known kind', tar({ name: 's', type: 'Q' }), /kind/],
    ['has a broken checksum', Buffer.concat([header({ name: 'a' }).fill(1, 200, 201), Buffer.alloc(1024)]), /no header/],
    ['is no archive', Buffer.from('no archive at all'.repeat(100)), /no header/],
    ['is empty', Buffer.alloc(0), /empty/],
    ['is cut short in a header', tar({ name: 'a', data: 'x' }, { name: 'b' }).subarray(0, 1300), /cut short/],
    ['has an absurd size', tar({ name: 'a', pax: { size: '9007199254740990' } }), /cut short, or a size is wrong|absurd/],
    ['has a negative size', sealed(header({ name: 'a' }).fill(0xff, 124, 136)), /absurd/],
    ['has a negative size in an extension header', sealed(header({ name: 'a', type: 'x' }).fill(0xff, 124, 136)), /absurd|extension/],
    ['has a huge extension header', Buffer.concat([header({ name: 'x', type: 'x', size: 0o7777777777 })]), /extension/],
    [
      'has pax records that overlap',
      Buffer.concat([header({ name: 'x', type: 'x', size: 10 }), Buffer.from('99 path=x\n'), Buffer.alloc(502)]),
      /pax record/,
    ],
    ['has a long attribute', tar({ name: 'f', data: '', pax: { 'SCHILY.xattr.user.a': Buffer.alloc(256, 65) } }), /user\.a/],
    [
      'has letters for numbers',
      Buffer.concat([sealed(Buffer.concat([header({ name: 'a' }).subarray(0, 108), Buffer.from('12x4567\0'), header({ name: 'a' }).subarray(116)]))]),
      /octal/,
    ],
    ['is compressed with something else', Buffer.from('28b52ffd00000000', 'hex'), /gzip/],
    ['is compressed and cut short', zlib.gzipSync(tar({ name: 'a', data: Buffer.alloc(100_000, 1) })).subarray(0, 100), /gzip|tar archive/],
  ];

  it.each(cases)('that %s is refused, and nothing changes', async (_name, bytes, message) => {
    await expect(fixture.publishTar(bytes)).rejects.toMatchObject({
      code: expect.stringMatching(/^(INVALID_ARGUMENT|UNIMPLEMENTED|FAILED_PRECONDITION)$/),
      message: expect.stringMatching(message),
    });
    expect(fixture.manifest().revision).toBe(1);
    await expectSound();
  });

  it('that lost the end of its last file is refused', async () => {
    const whole = tar({ name: 'a', data: Buffer.alloc(10_000, 1) });
    await expect(fixture.publishTar(whole.subarray(0, 5000))).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(fixture.manifest().revision).toBe(1);
  });
});

it('that unpacks to more than allowed is refused', async () => {
  const file = path.join(fixture.dir, 'bomb.tgz');
  fs.writeFileSync(file, zlib.gzipSync(Buffer.alloc(1_000_000)));
  await expect(openTar(file, { workDir: fixture.dir, maxUnpackedBytes: 10_000 }, () => undefined)).rejects.toMatchObject({
    code: 'RESOURCE_EXHAUSTED',
  });
});

it('reads nothing of an archive but what wins', async () => {
  const published = await fixture.publishTar(tar({ name: 'f', data: 'lost' }, { name: 'f', data: 'kept' }));
  expect(published).toMatchObject({ files: 1, bytes: 4 });
});
