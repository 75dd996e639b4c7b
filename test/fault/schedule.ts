/**
 * What happens in a run, and in which order: a pure function of the seed and the options, so that a run which found
 * something can be repeated. Only the pauses before the events are part of it; how long an event itself waits (for a
 * victim to be there, for a survivor) is the host's.
 */
import { seeded } from './random';

/** Processes that may die. `serve` holds no mount; the other three do, and never all of those are killed at once. */
export type Role = 'server' | 'keeper' | 'spare' | 'serve';
export const ROLES: readonly Role[] = ['server', 'keeper', 'spare', 'serve'];

export type FaultEvent =
  /** SIGKILL to all of them, one after another without a pause. A dead keeper is followed by a command after `reviveMs`, a dead service is started again then. */
  | { readonly kind: 'kill'; readonly victims: readonly Role[]; readonly reviveMs: number }
  /** A new revision, in the background. */
  | { readonly kind: 'publish' }
  /** The kernel's caches of the whole host. */
  | { readonly kind: 'drop-caches' }
  /** `cut`: connections are reset; `stall`: nothing passes; `delay`: `value` ms each way; `corrupt`: one of `value` pieces of answers. */
  | { readonly kind: 'network'; readonly how: 'cut' | 'stall' | 'delay' | 'corrupt'; readonly value: number; readonly forMs: number }
  /** The disk of the cache is filled to its last byte. */
  | { readonly kind: 'fill'; readonly forMs: number }
  /** One container, the n-th, is destroyed, and another provisioned from the newest revision. */
  | { readonly kind: 'replace'; readonly container: number };

export interface ScheduledEvent {
  /** After the one before. */
  readonly pauseMs: number;
  readonly event: FaultEvent;
}

export interface ScheduleOptions {
  readonly seed: number;
  /** Processes killed in all; a pair counts twice. The schedule ends with the last. */
  readonly kills: number;
  /** Mean pause between two events. */
  readonly meanPauseMs: number;
  readonly roles: readonly Role[];
  readonly containers: number;
  /** Only kills: what a takeover costs is measured without other disturbance. */
  readonly killsOnly?: boolean;
}

const PAIRS: ReadonlyArray<readonly [Role, Role]> = [
  ['server', 'keeper'],
  ['server', 'spare'],
  ['keeper', 'spare'],
  ['server', 'serve'],
  ['keeper', 'serve'],
];
const PAIR_SHARE = 0.25;
const REVIVE_MAX_MS = 1_500;
/** Each shorter than what the readers' requests may take (fault-scene.ts), with room for their retries. */
const CUT_MAX_MS = 4_000;
const STALL_MAX_MS = 3_000;
const DELAY_MAX_MS = 60;
const WINDOW_MAX_MS = 5_000;

/** Pauses of a Poisson process, some of them next to nothing: the next blow falls while the last one is being mended. */
export function schedule(options: ScheduleOptions): ScheduledEvent[] {
  const random = seeded(options.seed);
  // Without a spare nobody would be left to hold the mount.
  const possible = options.roles.includes('spare') ? PAIRS : PAIRS.filter((pair) => !(pair.includes('server') && pair.includes('keeper')));
  const pairs = possible.filter((pair) => pair.every((role) => options.roles.includes(role)));
  const roleWeights: Readonly<Record<Role, number>> = { server: 5, keeper: 2, spare: 2, serve: 1 };
  const kill = (): FaultEvent => {
    const reviveMs = random.whole(0, REVIVE_MAX_MS);
    if (pairs.length === 0 || random.next() >= PAIR_SHARE) return { kind: 'kill', victims: [random.pick(options.roles.map((role) => [roleWeights[role], role] as const))], reviveMs };
    const [one, two] = random.pick(pairs.map((pair) => [1, pair] as const));
    return { kind: 'kill', victims: random.next() < 0.5 ? [one, two] : [two, one], reviveMs };
  };
  const makers: ReadonlyArray<readonly [number, () => FaultEvent]> = [
    [60, kill],
    ...(options.killsOnly === true
      ? []
      : ([
          [4, () => ({ kind: 'publish' })],
          [2, () => ({ kind: 'drop-caches' })],
          [1, () => ({ kind: 'network', how: 'cut', value: 0, forMs: random.whole(50, CUT_MAX_MS) })],
          [1, () => ({ kind: 'network', how: 'stall', value: 0, forMs: random.whole(50, STALL_MAX_MS) })],
          [1.5, () => ({ kind: 'network', how: 'delay', value: random.whole(1, DELAY_MAX_MS), forMs: random.whole(500, WINDOW_MAX_MS) })],
          [1.5, () => ({ kind: 'network', how: 'corrupt', value: random.whole(1, 4), forMs: random.whole(500, WINDOW_MAX_MS) })],
          [1.5, () => ({ kind: 'fill', forMs: random.whole(200, WINDOW_MAX_MS) })],
          [2, () => ({ kind: 'replace', container: random.whole(0, options.containers - 1) })],
        ] satisfies ReadonlyArray<readonly [number, () => FaultEvent]>)),
  ];
  const events: ScheduledEvent[] = [];
  for (let kills = 0; kills < options.kills; ) {
    const pauseMs = Math.round(-Math.log(1 - random.next()) * options.meanPauseMs);
    const event = random.pick(makers)();
    events.push({ pauseMs, event });
    if (event.kind === 'kill') kills += event.victims.length;
  }
  return events;
}
