/** The instants at which a test may kill the agent, or hold it while something else is killed. In the order of a launch. */
export const LAUNCH_STEPS = [
  'staging-made',
  'manifest-answered',
  'config-fetched',
  'layers-moved',
  'config-moved',
  'images-stored',
  'rootfs-made',
  'links-made',
  'mounted',
  'layers-checkpointed',
  'config-checkpointed',
  'launch-info-checkpointed',
  'forked',
  'pid-checkpointed',
  'running',
] as const;

export const DESTROY_STEPS = ['killed', 'unmounted', 'rootfs-destroyed', 'directory-removed', 'runtime-removed'] as const;

export const PRUNE_STEPS = ['index-stored', 'one-moved', 'all-moved', 'deleted'] as const;

export type Step = (typeof LAUNCH_STEPS)[number] | (typeof DESTROY_STEPS)[number] | (typeof PRUNE_STEPS)[number];

/** Called at each step; what it waits for, the agent waits for. */
export type AtStep = (step: Step) => Promise<void>;
