import { FetchedBytes } from '../../../isolator/service/fetched-bytes';

describe('the bytes fetched for a repository', () => {
  it('are counted from the first look on, over servers that are replaced, and asked for once a second', async () => {
    let bytes: number | undefined = 100;
    let asked = 0;
    let now = 0;
    const raw = () => {
      asked++;
      return bytes === undefined ? Promise.reject(new Error('gone')) : Promise.resolve({ transfer: { counters: { bytes } } });
    };
    const fetched = new FetchedBytes({ peek: (fqrn: string) => (fqrn === 'a.example.org' ? ({ raw } as never) : undefined) }, () => now);
    const total = (after: number, counted: number | undefined) => {
      now += after;
      bytes = counted;
      return fetched.total('a.example.org');
    };
    expect(await total(0, 100)).toBe(0);
    expect(await total(500, 170)).toBe(0);
    expect(asked).toBe(1);
    expect(await total(1000, 170)).toBe(70);
    // A new server counts from nothing.
    expect(await total(1000, 30)).toBe(100);
    expect(await total(1000, undefined)).toBe(100);
    expect(await fetched.total('other.example.org')).toBe(0);
  });
});
