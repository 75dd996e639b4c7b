/** Hundreds of containers on one host: all of them there, all known again, and nothing left of them in the end. */
import type { Host, Running } from '../support/provisioner/service';
import { CALL, cvmfsImage, makeHost, startOn } from '../support/provisioner/service';

const describeAsRoot = process.geteuid?.() === 0 ? describe : describe.skip;
const CONTAINERS = 200;
const AT_ONCE = 100;

jest.setTimeout(120_000);

describeAsRoot(`${CONTAINERS} containers (needs root)`, () => {
  let host: Host;
  let running: Running;
  const ids = (prefix: string, count: number): string[] => Array.from({ length: count }, (_, n) => `${prefix}-${n}`);
  const known = (names: readonly string[]) => ({ known_container_ids: names.map((value) => ({ value })) });
  const provision = (id: string, image: string) => running.provisioner.Provision({ container_id: { value: id }, image: cvmfsImage(image), idempotency_key: 'k' }, CALL);
  const destroy = (id: string) => running.provisioner.Destroy({ container_id: { value: id } }, CALL);
  async function inTurns<T>(names: readonly string[], work: (name: string, n: number) => Promise<T>): Promise<T[]> {
    const out: T[] = [];
    for (let at = 0; at < names.length; at += 10) out.push(...(await Promise.all(names.slice(at, at + 10).map((name, n) => work(name, at + n)))));
    return out;
  }

  beforeAll(async () => {
    host = makeHost();
    running = await startOn(host);
  });
  afterAll(async () => {
    await running.stop();
    host.remove();
  });

  it('are made, a hundred more at once, known again to the next service, and go without a trace', async () => {
    const names = ids('c', CONTAINERS);
    const made = await inTurns(names, (name, n) => provision(name, n % 2 === 0 ? 'a' : 'b'));
    expect(new Set(made.map(({ rootfs }) => rootfs)).size).toBe(CONTAINERS);
    expect(host.mounts().sort()).toEqual(made.map(({ rootfs }) => rootfs).sort());

    const more = ids('more', AT_ONCE);
    const atOnce = await Promise.all(more.map((name) => provision(name, 'a')));
    expect(new Set([...made, ...atOnce].map(({ rootfs }) => rootfs)).size).toBe(CONTAINERS + AT_ONCE);
    expect(host.mounts()).toHaveLength(CONTAINERS + AT_ONCE);
    // The same key again is the same rootfs, however many there are.
    expect((await provision('more-7', 'a')).rootfs).toBe(atOnce[7]!.rootfs);

    expect(await running.provisioner.Recover(known([...names, ...more]), CALL)).toEqual({ destroyed: [], quarantined: [] });
    await running.stop();
    running = await startOn(host);
    const { destroyed, quarantined } = await running.provisioner.Recover(known(names), CALL);
    expect(quarantined).toEqual([]);
    expect(destroyed.map(({ value }) => value).sort()).toEqual([...more].sort());
    expect(host.mounts().sort()).toEqual(made.map(({ rootfs }) => rootfs).sort());

    expect(new Set((await Promise.all(names.map(destroy))).map((answer) => answer.destroyed))).toEqual(new Set([true]));
    expect(host.mounts()).toEqual([]);
    expect(host.directories()).toEqual([]);
  });
});
