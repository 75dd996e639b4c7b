import { SlotQueue } from '../../../src/transfer/slot-queue';

const never = new AbortController().signal;
const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('slot queue', () => {
  it('lets demanded work overtake background work that waited longer', async () => {
    const queue = new SlotQueue(1, 10);
    const order: string[] = [];
    const first = await queue.acquire(false, never);
    const run = async (name: string, background: boolean) => {
      const release = await queue.acquire(background, never);
      order.push(name);
      release();
    };
    const all = [run('background 1', true), run('background 2', true), run('demanded 1', false), run('demanded 2', false)];
    first();
    await Promise.all(all);
    expect(order).toEqual(['demanded 1', 'demanded 2', 'background 1', 'background 2']);
  });

  it('keeps a quarter of the slots for demanded work', async () => {
    const queue = new SlotQueue(4, 10);
    for (let i = 0; i < 3; i++) await queue.acquire(true, never);
    let fourth = false;
    void queue.acquire(true, never).then(() => (fourth = true));
    await turn();
    expect(fourth).toBe(false);
    await queue.acquire(false, never);
    expect(queue.inFlight).toBe(4);
  });

  it('refuses more than the bound, of each kind for itself', async () => {
    const queue = new SlotQueue(1, 1);
    await queue.acquire(false, never);
    void queue.acquire(true, never);
    await expect(queue.acquire(true, never)).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
    void queue.acquire(false, never);
    await expect(queue.acquire(false, never)).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
    expect(queue.queued).toBe(2);
  });

  it('forgets a waiter whose signal is aborted, and gives its slot to nobody', async () => {
    const queue = new SlotQueue(1, 5);
    const release = await queue.acquire(false, never);
    const controller = new AbortController();
    const waiting = queue.acquire(false, controller.signal);
    controller.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
    release();
    release();
    expect([queue.inFlight, queue.queued]).toEqual([0, 0]);
  });
});
