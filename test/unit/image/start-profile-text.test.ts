/** Start profiles as files: what is written is read back, and nothing that leads out of an image is. */
import { parseProfile, PROFILE_BYTES_MAX, profileText } from '../../../src/image/start-profile-text';
import { mergedFiles, PROFILE_FILES_MAX } from '../../../src/repository/start-profile';
import type { ProfiledFile } from '../../../src/repository/start-profile';

const file = (path: string | Buffer, rest: Partial<ProfiledFile> = {}): ProfiledFile => ({ path: Buffer.from(path as string), atMs: 1, parts: [0], unmet: 0, ...rest });
const profile = (files: readonly ProfiledFile[]) => ({ view: 'a'.repeat(40), pathInView: Buffer.from('/images/a b'), recordedMs: 1_000, files });

describe('start profiles', () => {
  it('are read as they were written, whatever bytes are in paths', () => {
    const written = profile([file(Buffer.from([0x61, 0xff, 0x20, 0x25])), file('é/ü', { parts: [0, 7], unmet: 2 }), file('usr/lib', { parts: [] })]);
    expect(parseProfile(Buffer.from(profileText('image:1', written)))).toEqual({ image: 'image:1', ...written });
  });

  it('are cut where they become too long', () => {
    const many = Array.from({ length: PROFILE_FILES_MAX }, (_, n) => file(`${'x'.repeat(250)}/${'y'.repeat(250)}/${n}`));
    const text = profileText('image:1', profile(many));
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(PROFILE_BYTES_MAX);
    expect(parseProfile(Buffer.from(text)).files.length).toBeGreaterThan(1_000);
  });

  it.each(['../etc/shadow', '/etc/shadow', 'a/../b', 'a//b', '.', 'a%00b', 'a%2F..%2Fb', 'a/', '%'])('with the path %s are refused', (path) => {
    const good = profileText('image:1', profile([file('etc/good')]));
    expect(() => parseProfile(Buffer.from(good.replace('etc/good', path)))).toThrow(expect.objectContaining({ code: 'FAILED_PRECONDITION' }) as Error);
  });

  it('keep what a recording has not met, for a while', () => {
    const recorded = [file('new'), file('both', { parts: [1] })];
    let files = mergedFiles([file('old'), file('both', { parts: [0] })], recorded);
    expect(files.map((one) => [one.path.toString(), one.parts, one.unmet])).toEqual([['new', [0], 0], ['both', [0, 1], 0], ['old', [0], 1]]);
    for (let n = 0; n < 3; n++) files = mergedFiles(files, recorded);
    expect(files.map((one) => one.path.toString())).toEqual(['new', 'both']);
  });
});
