/** What goes between a test and the agent's process. */
import type { Launch } from './containerizer';
import type { Step } from './steps';

export type Call =
  | { readonly kind: 'launch'; readonly launch: Launch }
  | { readonly kind: 'wait' | 'destroy'; readonly id: string }
  | { readonly kind: 'prune'; readonly excluded: readonly string[] }
  | { readonly kind: 'state' };

export type ToAgent = { readonly number: number; readonly call: Call } | { readonly arm: { readonly step: Step; readonly how: 'kill' | 'pause' } } | { readonly go: true };

export type FromAgent = { readonly started: true } | { readonly paused: Step } | { readonly number: number; readonly value?: unknown; readonly error?: string };
