import { isBelow, parseMountinfo } from '../../../src/native/mountinfo';

describe('mountinfo', () => {
  it('reads every field, with any number of tags', () => {
    const [plain, tagged] = parseMountinfo(Buffer.from('36 35 98:0 /mnt1 /mnt2 rw,noatime - ext3 /dev/root rw,errors=continue\n40 36 0:52 / /cvmfs/a ro,nosuid shared:7 master:1 - fuse.cvmfs a ro,user_id=0\n'));
    expect(plain).toEqual({ id: 36, parent: 35, device: '98:0', root: Buffer.from('/mnt1'), mountpoint: Buffer.from('/mnt2'), options: ['rw', 'noatime'], tags: [], type: 'ext3', source: Buffer.from('/dev/root'), superOptions: 'rw,errors=continue' });
    expect(tagged).toMatchObject({ tags: ['shared:7', 'master:1'], type: 'fuse.cvmfs' });
  });

  it('undoes octal escapes and keeps bytes that are not UTF-8', () => {
    const [entry] = parseMountinfo(Buffer.concat([Buffer.from('1 2 0:1 / /a\\040b\\134c\\012'), Buffer.from([0xff, 0xfe]), Buffer.from(' rw - tmpfs my\\040source rw')]));
    expect(entry!.mountpoint).toEqual(Buffer.concat([Buffer.from('/a b\\c\n'), Buffer.from([0xff, 0xfe])]));
    expect(entry!.source.toString()).toBe('my source');
  });

  it('does not take a mount point called - for the separator, and leaves out what it cannot read', () => {
    const table = parseMountinfo(Buffer.from('1 2 0:1 - - rw - tmpfs none rw\ngarbage\n\n3 4 0:2 / /x rw\n'));
    expect(table).toHaveLength(1);
    expect(table[0]!.mountpoint.toString()).toBe('-');
  });

  it('tells below from beside', () => {
    expect(isBelow(Buffer.from('/a/b'), '/a')).toBe(true);
    expect(isBelow(Buffer.from('/a'), '/a')).toBe(true);
    expect(isBelow(Buffer.from('/ab'), '/a')).toBe(false);
  });
});
