/** What is tried between two places, in this order. */
export const PROBE_KINDS = ['ping', 'tcp', 'udp', 'mtu', 'transfer'] as const;
export type ProbeKind = (typeof PROBE_KINDS)[number];

/** From where to where, in the order of the table. `node-to-node` is the network below: when it fails, begin there. */
export const SCENARIOS = [
  'pod-to-pod-same-node',
  'pod-to-pod-other-node',
  'pod-to-own-node',
  'pod-to-other-node',
  'node-to-own-pod',
  'node-to-other-pod',
  'node-to-node',
  'pod-to-outside',
  'outside-to-pod',
] as const;
export type Scenario = (typeof SCENARIOS)[number];

/** Where packets begin or end. */
export interface Place {
  readonly kind: 'pod' | 'node' | 'outside';
  /** As people see it: `pod w1`, `node w1`, `outside`. */
  readonly name: string;
  /** Node that it is on or that it is; absent for `outside`. */
  readonly node?: string;
}

/** A place that answers. */
export interface Destination extends Place {
  readonly address: string;
  /** Port that something listens on; 0 where nothing does, so that only `ping` and `mtu` can be tried. */
  readonly port: number;
  /** Whether it is a server of ours, which sends back what it gets by TCP and UDP; of others, only that they accept is seen. */
  readonly echoes: boolean;
}

/** What a prober is to try; it travels as JSON. */
export interface Target {
  readonly scenario: Scenario;
  readonly to: string;
  readonly address: string;
  readonly port: number;
  readonly echoes: boolean;
  readonly kinds: readonly ProbeKind[];
}

/** How one probe ended; a line of JSON from a prober. */
export interface ProbeOutcome {
  readonly scenario: Scenario;
  readonly to: string;
  readonly kind: ProbeKind;
  readonly ok: boolean;
  /** What was measured, or why it failed. */
  readonly detail: string;
  readonly durationMs: number;
}

export interface CheckResult extends ProbeOutcome {
  readonly from: string;
}

/** How packets travel while the checks run. */
export interface Mode {
  readonly routing: 'native' | 'tunnel';
  readonly endpointRoutes: boolean;
  readonly hostRouting: 'Legacy' | 'BPF';
  /** The same for people. */
  readonly text: string;
}

export interface ModeReport {
  readonly mode: Mode;
  readonly results: readonly CheckResult[];
  /** Scenarios that this cluster has no place for, and why. */
  readonly untested: readonly { readonly scenario: Scenario; readonly why: string }[];
}

/** What `connectivity test -o json` prints. */
export interface ConnectivityReport {
  readonly ok: boolean;
  readonly nodes: readonly string[];
  readonly modes: readonly ModeReport[];
}
