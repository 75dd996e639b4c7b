/**
 * The instants between two effects of Provision, Destroy and the facade, by name, in their order (view and directories are made
 * side by side). The hook does nothing in the service; a test kills the process at each of them and looks at what the next start makes of it.
 */
export const PROVISION_STEPS = [
  'provision-accepted',
  'provision-resolved',
  'provision-view-made',
  'provision-intent-recorded',
  'provision-view-held',
  'provision-directories-made',
  'provision-mounted',
  'provision-recorded',
] as const;

export const DESTROY_STEPS = [
  'destroy-accepted',
  'destroy-intent-recorded',
  'destroy-unmounted',
  'destroy-directories-removed',
  'destroy-record-removed',
  'destroy-container-directory-removed',
  'destroy-view-released',
] as const;

/** Of the facade, from a manifest's request to its answer, and from a link's withdrawal. */
export const FACADE_STEPS = ['facade-view-made', 'facade-recorded', 'facade-view-held', 'facade-linked', 'facade-link-removed', 'facade-forgotten'] as const;

export type Step = (typeof PROVISION_STEPS)[number] | (typeof DESTROY_STEPS)[number] | (typeof FACADE_STEPS)[number];

export type StepHook = (step: Step) => void;
