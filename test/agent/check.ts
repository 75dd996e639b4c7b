/**
 * What would abort the agent's process. A container image that does that takes the agent of a whole host down, again at
 * each restart, so nothing here may turn it into an ordinary failure of one launch.
 */
export class AgentAborts extends Error {
  override readonly name = 'AgentAborts';
}

export function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new AgentAborts(`CHECK failed: ${what}`);
}
