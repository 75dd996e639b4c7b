import { escapePath, serverUrl } from '../../../src/transfer/object-url';

describe('object URL', () => {
  it('escapes bytes as the stock client does', () => {
    expect(escapePath('data/ab/cd0123-rmd160C')).toBe('data/ab/cd0123-rmd160C');
    expect(escapePath('/.cvmfspublished')).toBe('.cvmfspublished');
    expect(escapePath("a:b.c@d+e-f_g~h[i],j")).toBe('a:b.c@d+e-f_g~h[i],j');
    expect(escapePath('a b?c#d%e&f\\g\r\n')).toBe('a%20b%3Fc%23d%25e%26f%5Cg%0D%0A');
    expect(escapePath('ü')).toBe('%C3%BC');
    expect(escapePath(Buffer.from([0x61, 0xff, 0x00]))).toBe('a%FF%00');
  });

  it.each(['', '/', '../x', 'a/../b', 'a/..', './a'])('refuses the path "%s"', (path) => {
    expect(() => escapePath(path)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
  });

  it('takes slashes off the end of a server', () => {
    expect(serverUrl('http://s1.example.org/cvmfs/a.example.org/')).toBe('http://s1.example.org/cvmfs/a.example.org');
    expect(serverUrl('http://127.0.0.1:8000')).toBe('http://127.0.0.1:8000');
  });

  it.each(['file:///srv/cvmfs', 'ftp://s1/', 's1.example.org', 'http://', 'http://user:geheim@s1/', 'http://s1/?x=1', 'http://s1/a b'])('refuses the server %s', (url) => {
    expect(() => serverUrl(url)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.not.stringContaining('geheim') as string }));
  });
});
