import type { ClusterClient } from '../cluster/index.ts';
import type { Waiting } from './pods.ts';
import type { Destination, Mode, ProbeOutcome, Scenario, Target } from './types.ts';

/** A host that is not in the cluster. */
export interface Outside {
  readonly destination: Destination;
  /** Why nothing is tried from it; absent when something is. */
  readonly silent?: string;
  /** Runs a prober there. */
  probe?(targets: readonly Target[], signal: AbortSignal): Promise<readonly ProbeOutcome[]>;
}

/** What differs between a lab and a cluster. Everything else is the same Pods, made through the same API. */
export interface Stage {
  readonly client: ClusterClient;
  /** `lab NAME` or `cluster NAME-OF-SERVER`. */
  readonly title: string;
  readonly image: string;
  /** How a container runs this program. */
  readonly program: readonly string[];
  /** What is noted at the test's namespace, for the next run to take back what a killed one could not. */
  note(): Record<string, string>;
  /** Takes back what a killed run left, by its note. */
  recover?(note: Record<string, string>, waiting: Waiting): Promise<void>;
  /** Modes to go through; the one that runs when there is only that. */
  modes(): readonly Mode[];
  /** Makes the cluster run in a mode; only called with one of `modes`, and only when there are several. */
  enter?(mode: Mode, waiting: Waiting): Promise<void>;
  /** The outside host in a mode, ready to answer; undefined with a reason when there is none. */
  outside(mode: Mode, signal: AbortSignal): Promise<Outside | { readonly none: string }>;
  /** What a Pod of the test has printed. */
  logOf(namespace: string, pod: string): Promise<string>;
  /** Takes back what it did itself. */
  close(waiting: Waiting): Promise<void>;
}

/** Why a scenario was not tried on a cluster of so many nodes. Pure. */
export function whyUntested(scenario: Scenario, nodeCount: number, outside: string | undefined): string {
  if (scenario.includes('outside')) return outside ?? 'nothing is known of a host outside';
  if (nodeCount === 1) return 'there is one node';
  return 'there is no such way';
}
