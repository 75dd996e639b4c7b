import { objectFile, objectName, parseObjectName } from '../../../src/cache/object-name';

const digest = Buffer.from('e8ec3d88b62ebf526e4e5a4ff6162a3aa48a6b78', 'hex');

describe('names of cached objects', () => {
  it('carry hash, algorithm and compression, and come back', () => {
    for (const algorithm of ['sha1', 'rmd160', 'shake128'] as const) {
      for (const compression of ['zlib', 'none'] as const) {
        const name = objectName({ hash: { algorithm, digest }, compression });
        expect(name).toBe(`e8ec3d88b62ebf526e4e5a4ff6162a3aa48a6b78-${algorithm}-${compression}`);
        expect(parseObjectName(name)).toEqual({ hash: { algorithm, digest }, compression });
      }
    }
  });

  it('differ by compression, so that one repository can not poison another one', () => {
    const hash = { algorithm: 'sha1', digest } as const;
    expect(objectName({ hash, compression: 'zlib' })).not.toBe(objectName({ hash, compression: 'none' }));
  });

  it('are refused when they are anything else', () => {
    for (const name of ['', 'e8', '../../etc/passwd', `${digest.toString('hex')}-md5-zlib`, `${digest.toString('hex').toUpperCase()}-sha1-zlib`, `${digest.toString('hex')}-sha1-zlib\n`, `${digest.toString('hex')}-sha1`]) {
      expect(parseObjectName(name)).toBeNull();
    }
  });

  it('lie in a folder of their first two digits', () => {
    expect(objectFile('/c', 'e8ec3d88b62ebf526e4e5a4ff6162a3aa48a6b78-sha1-zlib')).toBe('/c/objects/e8/e8ec3d88b62ebf526e4e5a4ff6162a3aa48a6b78-sha1-zlib');
  });
});
