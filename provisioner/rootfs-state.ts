/**
 * What a rootfs is, as its row says, and the one door through which that changes.
 *
 *     (no row) ──► intended ──► mounted ──► destroying ──► (no row)
 *                      │          ▲  │           ▲
 *                      │          │  ▼           │
 *                      │       quarantined ──────┤
 *                      └─────────────────────────┘
 *
 * - `intended`: the row was written and nothing is promised to anybody. Directories, hold and mount may be there or not.
 *   Found after a crash it is undone: nobody got an answer for it.
 * - `mounted`: the mount was made in the boot `bootId`, and the answer may have been sent. After a reboot (another boot
 *   id) the row stays until Recover says whether the container is still known.
 * - `destroying`: the way down has begun and is finished after a crash.
 * - `quarantined`: the container is known to the agent, but its rootfs is not what the row says, or could not be built
 *   again; it is left as it is, with the reason, until it is destroyed or a later Recover finds it sound.
 */
import { Failure } from '../src/error';

export type RootfsState =
  | { readonly kind: 'intended' }
  | { readonly kind: 'mounted'; readonly bootId: string }
  | { readonly kind: 'quarantined'; readonly bootId: string; readonly reason: string }
  | { readonly kind: 'destroying' };

export type RootfsStateKind = RootfsState['kind'];

export const ROOTFS_STATES: readonly RootfsStateKind[] = ['intended', 'mounted', 'quarantined', 'destroying'];

const ALLOWED: Readonly<Record<RootfsStateKind, readonly RootfsStateKind[]>> = {
  intended: ['mounted', 'destroying'],
  /** mounted → mounted: rebuilt in a new boot. */
  mounted: ['mounted', 'quarantined', 'destroying'],
  quarantined: ['mounted', 'quarantined', 'destroying'],
  destroying: ['destroying'],
};

/** Checks a step; INTERNAL when the code tries one that must not happen. Returns `to`. */
export function nextState(from: RootfsState, to: RootfsState): RootfsState {
  if (!ALLOWED[from.kind].includes(to.kind)) throw new Failure('INTERNAL', `a rootfs cannot go from ${from.kind} to ${to.kind}`);
  return to;
}
