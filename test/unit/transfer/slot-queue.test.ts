import { SlotQueue } from '../../../src/transfer/slot-queue';
import { Urgency } from '../../../src/transfer/urgency';

const never = new AbortController().signal;
const urgency = (background: boolean) => new Urgency(background);
const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('slot queue', () => {
  it('lets demanded work overtake background work that waited longer', async () => {
    const queue = new SlotQueue(1, 10);
    const order: string[] = [];
    const first = await queue.acquire(urgency(false), never);
    const run = async (name: string, background: boolean) => {
      const release = await queue.acquire(urgency(background), never);
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
    for (let i = 0; i < 3; i++) await queue.acquire(urgency(true), never);
    let fourth = false;
    void queue.acquire(urgency(true), never).then(() => (fourth = true));
    await turn();
    expect(fourth).toBe(false);
    await queue.acquire(urgency(false), never);
    expect(queue.inFlight).toBe(4);
  });

  it('refuses more than the bound, of each kind for itself', async () => {
    const queue = new SlotQueue(1, 1);
    await queue.acquire(urgency(false), never);
    void queue.acquire(urgency(true), never);
    await expect(queue.acquire(urgency(true), never)).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
    void queue.acquire(urgency(false), never);
    await expect(queue.acquire(urgency(false), never)).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
    expect(queue.queued).toBe(2);
  });

  it('forgets a waiter whose signal is aborted, and gives its slot to nobody', async () => {
    const queue = new SlotQueue(1, 5);
    const release = await queue.acquire(urgency(false), never);
    const controller = new AbortController();
    const waiting = queue.acquire(urgency(false), controller.signal);
    controller.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
    release();
    release();
    expect([queue.inFlight, queue.queued]).toEqual([0, 0]);
  });

  it('lets what is demanded while it waits in the background overtake the others', async () => {
    const queue = new SlotQueue(1, 10);
    const order: string[] = [];
    const first = await queue.acquire(urgency(false), never);
    const run = async (name: string, wanted: Urgency) => {
      const release = await queue.acquire(wanted, never);
      order.push(name);
      release();
    };
    const promoted = urgency(true);
    const all = [run('background', urgency(true)), run('promoted', promoted), run('demanded', urgency(false))];
    expect(promoted.queued).toBe(true);
    promoted.promote();
    first();
    await Promise.all(all);
    expect(order).toEqual(['demanded', 'promoted', 'background']);
    expect(promoted.queued).toBe(false);
  });

  it('gives a promoted one at once the slot that background work does not get', async () => {
    const queue = new SlotQueue(4, 10);
    for (let i = 0; i < 3; i++) await queue.acquire(urgency(true), never);
    const promoted = urgency(true);
    const waiting = queue.acquire(promoted, never);
    promoted.promote();
    await waiting;
    expect(queue.inFlight).toBe(4);
  });

  it('gives background work no more than its pace, and demanded work everything', async () => {
    const queue = new SlotQueue(16, 10, () => 2);
    for (let i = 0; i < 2; i++) await queue.acquire(urgency(true), never);
    void queue.acquire(urgency(true), never);
    await turn();
    expect([queue.inFlight, queue.queued]).toEqual([2, 1]);
    for (let i = 0; i < 14; i++) await queue.acquire(urgency(false), never);
    expect(queue.inFlight).toBe(16);
  });
});
