import { ProxyChain } from '../../../src/transfer/proxy-chain';
import { proxyEndpoint } from '../../../src/transfer/proxy-endpoint';
import { fakeClock } from '../../support/fake-clock';

const chain = (groups: string[][], random = () => 0, clock = fakeClock()) => new ProxyChain(groups.map((group) => group.map(proxyEndpoint)), 300_000, clock, random);

describe('proxy chain', () => {
  it('goes direct when no proxy is named', () => {
    expect(chain([]).current().label).toBe('DIRECT');
    expect(chain([[]]).current().label).toBe('DIRECT');
  });

  it('chooses within the first group only, and by chance', () => {
    expect(chain([['http://a:1', 'http://b:1'], ['DIRECT']], () => 0).current().label).toBe('http://a:1');
    expect(chain([['http://a:1', 'http://b:1'], ['DIRECT']], () => 0.999).current().label).toBe('http://b:1');
  });

  it('keeps the choice until it fails, then uses up the group, then goes to the next', () => {
    const proxies = chain([['http://a:1', 'http://b:1'], ['http://c:1']]);
    const burned = new Set([proxies.current()]);
    expect(proxies.failed(proxies.current(), burned)).toBe(true);
    expect(proxies.current().label).toBe('http://b:1');
    burned.add(proxies.current());
    proxies.failed(proxies.current(), burned);
    expect(proxies.current().label).toBe('http://c:1');
    burned.add(proxies.current());
    expect(proxies.failed(proxies.current(), burned)).toBe(false);
    expect(proxies.pick(burned)).toBeUndefined();
  });

  it('moves once when many requests fail on the same proxy', () => {
    const proxies = chain([['http://a:1'], ['http://b:1'], ['http://c:1']]);
    const failed = proxies.current();
    for (let i = 0; i < 20; i++) proxies.failed(failed, new Set([failed]));
    expect(proxies.current().label).toBe('http://b:1');
  });

  it('never gives a request a proxy that it has burned, wherever the shared choice is', () => {
    const proxies = chain([['http://a:1'], ['http://b:1']]);
    const a = proxies.current();
    proxies.failed(a, new Set([a]));
    const b = proxies.current();
    expect(proxies.pick(new Set([b]))).toBe(a);
  });

  it('returns to the first group after the reset time', () => {
    const clock = fakeClock();
    const proxies = chain([['http://a:1'], ['http://b:1']], () => 0, clock);
    proxies.failed(proxies.current(), new Set([proxies.current()]));
    clock.advance(299_999);
    expect(proxies.current().label).toBe('http://b:1');
    clock.advance(1);
    expect(proxies.current().label).toBe('http://a:1');
  });
});

describe('proxy endpoint', () => {
  it('takes the password out of everything that is shown', () => {
    const endpoint = proxyEndpoint('http://user:p%40ss@squid:3128');
    expect(endpoint.label).toBe('http://squid:3128');
    expect(endpoint.authorization).toBe(`Basic ${Buffer.from('user:p@ss').toString('base64')}`);
  });

  it('adds a missing scheme', () => {
    expect(proxyEndpoint('squid:3128').origin).toBe('http://squid:3128');
  });

  it.each(['socks5://user:geheim@squid:1', 'http://user:gehe@im@squid port', 'user:geheim@:'])('refuses %s without showing a password', (text) => {
    let message = '';
    try {
      proxyEndpoint(text);
    } catch (error) {
      message = (error as Error).message;
    }
    expect(message).toMatch(/is not a proxy/);
    expect(message).not.toMatch(/geheim|gehe@|im@/);
  });
});
