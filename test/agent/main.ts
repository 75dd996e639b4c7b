/**
 * The agent as a process: `fork(main.ts, ['--work_dir=…', …])`. It says `started` when it has recovered, answers calls, and
 * ends as the real one does: with 134 at what aborts it, with 1 when recovery fails.
 */
import { Agent } from './agent';
import { AgentAborts } from './check';
import { parseFlags } from './flags';
import type { Call, FromAgent, ToAgent } from './messages';
import type { AtStep, Step } from './steps';

const ABORTED = 134;

function say(message: FromAgent): void {
  process.send!(message);
}

function endWith(code: number, error: unknown): never {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(code);
}

async function main(): Promise<void> {
  let armed: { step: Step; how: 'kill' | 'pause' } | undefined;
  let goOn = (): void => undefined;
  const at: AtStep = async (step) => {
    if (armed?.step !== step) return;
    const { how } = armed;
    armed = undefined;
    if (how === 'kill') process.kill(process.pid, 'SIGKILL');
    const going = new Promise<void>((resolve) => (goOn = resolve));
    say({ paused: step });
    await going;
  };
  process.on('message', (message: ToAgent) => {
    if ('arm' in message) armed = message.arm;
    else if ('go' in message) goOn();
  });
  // Who started it is gone: the containers stay, as they would.
  process.on('disconnect', () => process.exit(0));
  const agent = await Agent.start(parseFlags(process.argv.slice(2)), at, (text) => process.stderr.write(`${text}\n`));
  process.on('message', (message: ToAgent) => {
    if (!('call' in message)) return;
    answer(agent, message.call).then(
      (value) => say({ number: message.number, value }),
      (error: Error) => (error instanceof AgentAborts ? endWith(ABORTED, error) : say({ number: message.number, error: error.message })),
    );
  });
  say({ started: true });
}

function answer(agent: Agent, call: Call): Promise<unknown> {
  switch (call.kind) {
    case 'launch':
      return agent.launch(call.launch);
    case 'wait':
      return agent.containers.wait(call.id);
    case 'destroy':
      return agent.containers.destroy(call.id);
    case 'prune':
      return agent.containers.prune(call.excluded);
    case 'state':
      return Promise.resolve({ containers: agent.containers.ids().sort(), images: agent.store.images.keys().sort() });
  }
}

main().catch((error: unknown) => endWith(error instanceof AgentAborts ? ABORTED : 1, error));
