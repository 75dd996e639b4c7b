import { RwLock } from '../../../provisioner/rwlock';

const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

class Held {
  finish: () => void = () => undefined;
  started = false;
  readonly work = async (): Promise<void> => {
    this.started = true;
    await new Promise<void>((resolve) => (this.finish = resolve));
  };
}

describe('the read/write lock', () => {
  it('lets readers in together and a writer alone', async () => {
    const lock = new RwLock();
    const [one, two, writer] = [new Held(), new Held(), new Held()];
    const all = [lock.read(one.work), lock.read(two.work), lock.write(writer.work)];
    await tick();
    expect([one.started, two.started, writer.started]).toEqual([true, true, false]);
    one.finish();
    await tick();
    expect(writer.started).toBe(false);
    two.finish();
    await tick();
    expect(writer.started).toBe(true);
    writer.finish();
    await Promise.all(all);
  });

  it('does not starve a writer: later readers wait behind it, and then come in together', async () => {
    const lock = new RwLock();
    const [first, writer, later, latest] = [new Held(), new Held(), new Held(), new Held()];
    const all = [lock.read(first.work), lock.write(writer.work), lock.read(later.work), lock.read(latest.work)];
    await tick();
    expect(later.started).toBe(false);
    first.finish();
    await tick();
    expect([writer.started, later.started]).toEqual([true, false]);
    writer.finish();
    await tick();
    expect([later.started, latest.started]).toEqual([true, true]);
    later.finish();
    latest.finish();
    await Promise.all(all);
  });

  it('goes on after work that throws', async () => {
    const lock = new RwLock();
    await expect(lock.write(() => Promise.reject(new Error('no')))).rejects.toThrow('no');
    await expect(lock.read(() => Promise.resolve(1))).resolves.toBe(1);
  });
});
