import { HostChain } from '../../../src/transfer/host-chain';
import { fakeClock } from '../../support/fake-clock';

describe('host chain', () => {
  it('moves once when many requests fail on the same server', () => {
    const hosts = new HostChain(['a', 'b', 'c'], 1000, fakeClock());
    for (let i = 0; i < 20; i++) hosts.failed(0);
    expect(hosts.current()).toBe(1);
  });

  it('wraps, and gives each request every server once', () => {
    const hosts = new HostChain(['a', 'b', 'c'], 1000, fakeClock());
    hosts.failed(0);
    hosts.failed(1);
    expect(hosts.current()).toBe(2);
    expect(hosts.pick(new Set([2]))).toBe(0);
    expect(hosts.pick(new Set([2, 0]))).toBe(1);
    expect(hosts.pick(new Set([2, 0, 1]))).toBeUndefined();
  });

  it('does not move with one server', () => {
    const hosts = new HostChain(['a'], 1000, fakeClock());
    expect(hosts.failed(0)).toBe(false);
    expect(hosts.current()).toBe(0);
  });

  it('returns to the first server after the reset time, counted from when it was left', () => {
    const clock = fakeClock();
    const hosts = new HostChain(['a', 'b', 'c'], 1000, clock);
    hosts.failed(0);
    clock.advance(600);
    hosts.failed(1);
    clock.advance(399);
    expect(hosts.current()).toBe(2);
    clock.advance(1);
    expect(hosts.current()).toBe(0);
  });
});
