/** The service is killed while an agent launches, destroys and prunes: what the agent can do alone it does, the rest heals. */
import { AgentScene } from '../support/agent-scene';
import { describeWithMounts } from '../support/test-host';
import { until } from '../support/shell';
import { isAlive } from '../support/our-processes';
import { seeded } from './random';

jest.setTimeout(400_000);

const SEED = 11;
const ROUNDS = 4;
const KILL_WITHIN_MS = 120;
const BETWEEN_KILLS_MS = 100;

describeWithMounts('a service that is killed under an agent', () => {
  let scene: AgentScene;
  beforeAll(async () => {
    scene = await AgentScene.make();
    await scene.begin('a', 'b', 'c');
  });
  afterAll(() => scene.end());

  const launch = (id: string, image: string, cached: boolean): Parameters<AgentScene['agent']['launch']>[0] => ({ id, image: { name: scene.name(image), cached }, command: { value: 'cat /etc/image' } });
  const nothingLeft = (): void => expect([scene.agent.rootfses(), scene.agent.provisioned()]).toEqual([[], []]);

  it.each([
    ['staging-made', false],
    ['manifest-answered', false],
    ['config-fetched', true],
    ['links-made', true],
    ['mounted', true],
    ['forked', true],
  ] as const)('at %s of a first launch: it succeeds without the service: %s; and with the next one', async (step, succeeds) => {
    const { agent } = scene;
    await agent.prune();
    const paused = agent.pauseAt(step);
    const ran = agent.run(launch(`at-${step}`, 'a', true)).then(
      ({ stdout }) => stdout,
      (error: Error) => error.message,
    );
    await paused;
    await scene.killService();
    agent.goOn();
    expect(await ran).toMatch(succeeds ? /^a\n$/ : /^Failed to launch container: .*curl/);
    nothingLeft();
    await scene.startService();
    expect(await agent.run(launch(`after-${step}`, 'a', true))).toMatchObject({ status: 0, stdout: 'a\n' });
  });

  it('hinders neither destroys nor prunes, nor launches of images that are there', async () => {
    const { agent } = scene;
    await agent.launch({ ...launch('running', 'b', true), command: { value: 'sleep 60' } });
    await agent.run(launch('other', 'c', true));
    await scene.killService();
    expect(await agent.run(launch('cached', 'b', true))).toMatchObject({ status: 0, stdout: 'b\n' });
    await agent.prune();
    expect(scene.links()).toHaveLength(1);
    await agent.destroy('running');
    nothingLeft();
    await scene.startService();
    expect(await agent.run(launch('pruned', 'c', true))).toMatchObject({ status: 0, stdout: 'c\n' });
  });

  it('at any instant of first launches leaves no link that is wrong', async () => {
    const random = seeded(SEED);
    const { agent } = scene;
    for (let round = 0; round < ROUNDS; round++) {
      await agent.prune();
      const images = ['a', 'b', 'c'];
      const ran = Promise.all(
        images.map((image) =>
          agent.run(launch(`round-${round}-${image}`, image, false)).then(
            ({ stdout }) => stdout,
            (error: Error) => error.message,
          ),
        ),
      );
      await new Promise((resolve) => setTimeout(resolve, random.whole(0, KILL_WITHIN_MS)));
      await scene.killService();
      for (const [n, said] of (await ran).entries()) expect(said).toMatch(new RegExp(`^${images[n]}\n$|^Failed to launch container: .*curl`));
      nothingLeft();
      await scene.startService();
      for (const image of images) expect(await agent.run(launch(`round-${round}-${image}-after`, image, true))).toMatchObject({ status: 0, stdout: `${image}\n` });
    }
    expect(scene.links()).toHaveLength(3);
  });

  it('and file system servers and keepers too, one at a time: no launch fails', async () => {
    const { agent } = scene;
    await agent.prune();
    const images = ['a', 'b', 'c'];
    let launching = true;
    const kills = (async () => {
      let count = 0;
      for (; launching; count++) {
        // One at a time: that of the last process that holds a mount is the mount's own death.
        await until('keeper, server and spare are there', () => scene.processes.holders().length >= 3 && scene.processes.serving() !== null && scene.processes.keeper() !== null, 60_000);
        process.kill((count % 3 === 2 ? scene.processes.keeper() : scene.processes.serving())!, 'SIGKILL');
        await new Promise((resolve) => setTimeout(resolve, BETWEEN_KILLS_MS));
      }
      return count;
    })();
    const ran: string[] = [];
    for (let round = 0; round < ROUNDS; round++) ran.push(...(await Promise.all(images.map(async (image) => (await agent.run({ ...launch(`served-${round}-${image}`, image, round % 2 === 1), command: { value: 'ls /bin; cat /bin/cat > /dev/null && cat /etc/image' } })).stdout))));
    launching = false;
    expect(await kills).toBeGreaterThan(1);
    expect(ran).toEqual(ran.map((_, n) => `cat\nls\nsh\nsleep\n${images[n % images.length]}\n`));
    nothingLeft();
  });

  it('and all of them at once: what ran is destroyed cleanly, and the next service makes the links right', async () => {
    const { agent } = scene;
    for (const image of ['a', 'b', 'c']) await agent.run(launch(`stored-${image}`, image, true));
    await agent.launch({ ...launch('victim', 'a', true), command: { value: 'sleep 60' } });
    await until('a keeper is there', () => scene.processes.keeper() !== null);
    const pids = [scene.service!.child.pid!, ...scene.processes.all()];
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    await until('all are dead', () => !pids.some(isAlive));
    await agent.destroy('victim');
    await scene.startService();
    for (const image of ['a', 'b', 'c']) expect(await agent.run({ ...launch(`healed-${image}`, image, true), command: { value: 'ls /bin; cat /etc/image' } })).toMatchObject({ status: 0, stdout: `cat\nls\nsh\nsleep\n${image}\n` });
    expect((await scene.requests())['manifest']).toBe(0);
    nothingLeft();
  });
});
