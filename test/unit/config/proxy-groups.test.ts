import { parseProxyGroups, withFallbackProxies } from '../../../src/config/proxy-groups';

describe('parseProxyGroups', () => {
  it.each<[string, string[][]]>([
    ['http://squid1:3128|http://squid2:3128;DIRECT', [['http://squid1:3128', 'http://squid2:3128'], ['DIRECT']]],
    ['http://a:3128; DIRECT', [['http://a:3128'], ['DIRECT']]],
    ['a:3128|b:3128', [['http://a:3128', 'http://b:3128']]],
    ['DIRECT', [['DIRECT']]],
    ['', [['DIRECT']]],
    ['http://a:3128;', [['http://a:3128'], ['DIRECT']]],
    ['a:1||a:1', [['http://a:1', 'DIRECT']]],
    ['http://user:pw@a:3128/', [['http://user:pw@a:3128']]],
    ['http://[::1]:3128', [['http://[::1]:3128']]],
    ['https://a', [['https://a']]],
  ])('%s', (text, groups) => {
    expect(parseProxyGroups(text)).toEqual(groups);
  });

  it.each(['auto', 'socks5://a:1', 'http://', 'http://a b:1', 'http://a:99999', 'http://a:1/path', 'direct/x'])('refuses "%s"', (text) => {
    expect(() => parseProxyGroups(text)).toThrow(/proxy/);
  });

  it('names no password when it refuses', () => {
    expect(() => parseProxyGroups('socks5://user:hunter2@a:1')).toThrow(expect.objectContaining({ message: expect.not.stringContaining('hunter2') as string }) as Error);
  });

  it('has a limit', () => {
    expect(() => parseProxyGroups(Array.from({ length: 300 }, (_, index) => `p${index}:1`).join('|'))).toThrow(/limit/);
  });
});

describe('withFallbackProxies', () => {
  it('appends, and removes DIRECT from both lists', () => {
    expect(withFallbackProxies([['http://a:1', 'DIRECT'], ['DIRECT']], [['http://b:1'], ['DIRECT']])).toEqual([['http://a:1'], ['http://b:1']]);
  });
  it('changes nothing without a fallback', () => {
    expect(withFallbackProxies([['DIRECT']], [])).toEqual([['DIRECT']]);
  });
});
