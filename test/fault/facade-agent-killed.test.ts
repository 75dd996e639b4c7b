/** The agent is killed at each step of a launch, a destroy and a prune: the next one, and the service, put everything right. */
import type { Step } from '../agent/steps';
import { DESTROY_STEPS, LAUNCH_STEPS, PRUNE_STEPS } from '../agent/steps';
import { AgentScene } from '../support/agent-scene';
import { describeWithMounts } from '../support/test-host';
import { until } from '../support/shell';

jest.setTimeout(400_000);

const LOOK_MS = 40_000;

describeWithMounts('an agent that is killed, with the facade', () => {
  let scene: AgentScene;
  beforeAll(async () => {
    scene = await AgentScene.make();
    await scene.begin('a', 'b');
    await scene.agent.launch({ id: 'kept', image: { name: scene.name('b') }, command: { value: 'while sleep 0.2; do cat /etc/image; done' } });
  });
  afterAll(() => scene.end());

  const launch = (id: string, value: string): Parameters<AgentScene['agent']['launch']>[0] => ({ id, image: { name: scene.name('a'), cached: false }, command: { value } });

  async function diesAt(step: Step, work: () => Promise<unknown>): Promise<void> {
    scene.agent.killAt(step);
    await work().catch(() => undefined);
    expect({ step, gone: await scene.agent.gone }).toEqual({ step, gone: expect.stringContaining('SIGKILL') });
    await scene.agent.start();
  }

  it.each([...LAUNCH_STEPS, ...DESTROY_STEPS])('at %s, comes back to a container that runs, or to nothing of it', async (step) => {
    const { agent } = scene;
    const id = `at-${step}`;
    await diesAt(step, async () => {
      await agent.launch(launch(id, 'sleep 1; cat /etc/image'));
      await agent.destroy(id);
    });
    // With its pid written down and the pipe written to it goes on; before, the helper has seen the pipe's end.
    const { status, stdout } = await agent.finished(id).catch(() => ({ status: undefined, stdout: '' }));
    expect({ step, status, stdout }).toEqual({ step, ...(step === 'running' ? { status: 0, stdout: 'a\n' } : { status: undefined, stdout: '' }) });
    expect({ step, there: agent.provisioned(), mounts: agent.rootfses().length }).toEqual({ step, there: ['kept'], mounts: 1 });
    expect(await agent.run(launch(`${id}-after`, 'cat /etc/image'))).toMatchObject({ status: 0, stdout: 'a\n' });
  });

  it.each(PRUNE_STEPS)('at %s of a prune, forgets no image in use, and gets back what it took away', async (step) => {
    const { agent } = scene;
    const links = scene.links().length;
    await diesAt(step, () => agent.prune());
    expect((await agent.state()).images).toEqual([scene.name('b')]);
    expect(await agent.run({ ...launch(`prune-${step}`, 'cat /etc/image'), image: { name: scene.name('a') } })).toMatchObject({ status: 0, stdout: 'a\n' });
    expect(scene.links()).toHaveLength(links);
  });

  it('and one that was never killed is still there, with the links of what is used', async () => {
    const { agent } = scene;
    expect(agent.output('kept')).toMatchObject({ stdout: expect.stringMatching(/^(b\n){5,}$/), stderr: '' });
    await agent.destroy('kept');
    await agent.prune();
    expect([scene.links(), agent.rootfses()]).toEqual([[], []]);
    await until('the service has forgotten them', async () => (await scene.host.outside('curl', ['-s', `http://${scene.service!.http}/metrics`])).stdout.includes('\nmesos_cvmfs_facade_links 0\n'), LOOK_MS);
  });
});
