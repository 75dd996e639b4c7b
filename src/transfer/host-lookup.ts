/**
 * Names to addresses for connections (spec 6.1): an answer is kept for 60 s, a name is asked about once at a time, and when
 * the resolver fails the last answer serves on. The system's resolver blocks one of four shared threads per question, for
 * many seconds when DNS is down: without this a burst of connections would stop every file operation of the process.
 */
import * as dns from 'node:dns';
import type { LookupFunction } from 'node:net';
import { LRUCache } from 'lru-cache';
import type { Clock } from './clock';

const FRESH_MS = 60_000;
const STALE_MS = 86_400_000;
const MAX_NAMES = 256;

type Resolve = (name: string, family: number) => Promise<dns.LookupAddress[]>;

const systemResolve: Resolve = (name, family) => dns.promises.lookup(name, { all: true, family, verbatim: false });

export function cachedLookup(clock: Clock, resolve: Resolve = systemResolve): LookupFunction {
  const known = new LRUCache<string, { addresses: dns.LookupAddress[]; at: number }>({ max: MAX_NAMES });
  const asking = new Map<string, Promise<dns.LookupAddress[]>>();

  async function ask(key: string, name: string, family: number): Promise<dns.LookupAddress[]> {
    try {
      const addresses = await resolve(name, family);
      known.set(key, { addresses, at: clock.now() });
      return addresses;
    } catch (error) {
      const last = known.get(key);
      if (last !== undefined && clock.now() - last.at < STALE_MS) return last.addresses;
      throw error;
    } finally {
      asking.delete(key);
    }
  }

  function addressesOf(name: string, family: number): Promise<dns.LookupAddress[]> {
    const key = `${family} ${name}`;
    const held = known.get(key);
    if (held !== undefined && clock.now() - held.at < FRESH_MS) return Promise.resolve(held.addresses);
    let answer = asking.get(key);
    if (answer === undefined) {
      answer = ask(key, name, family);
      asking.set(key, answer);
    }
    return answer;
  }

  return (name, options, callback) => {
    const family = options.family === 4 || options.family === 'IPv4' ? 4 : options.family === 6 || options.family === 'IPv6' ? 6 : 0;
    addressesOf(name, family).then(
      (addresses) => {
        const first = addresses[0];
        if (first === undefined) callback(Object.assign(new Error(`${name} has no address`), { code: 'ENOTFOUND' }), []);
        else if (options.all === true) callback(null, addresses);
        else callback(null, first.address, first.family);
      },
      (error: NodeJS.ErrnoException) => callback(error, []),
    );
  };
}
