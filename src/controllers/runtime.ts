/** What the kubelet stand-in needs of the machine below it. The lab implements it; tests put a fake in its place. */

/** A Pod as the runtime names it. */
export interface PodRef {
  readonly node: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** The pod lives in its node's own network namespace, without the plugin. */
  readonly hostNetwork: boolean;
}

/** A pod's network namespace, set up by the plugin. */
export interface Sandbox {
  readonly pod: PodRef;
  /** 64 hex digits, as container runtimes give them; new for every attempt. */
  readonly containerId: string;
  readonly ips: readonly string[];
  readonly createdAtMs: number;
}

export interface ContainerSpec {
  readonly name: string;
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly workingDir?: string;
}

/** A command that was started in a sandbox. */
export interface StartedContainer {
  readonly name: string;
  readonly containerId: string;
  readonly startedAtMs: number;
}

/** How a container's command ended. */
export interface ContainerExit {
  readonly exitCode: number;
  readonly signal?: number;
  readonly finishedAtMs: number;
  /** The last line that it wrote, where it failed. */
  readonly message?: string;
}

/** What a sandbox looks like to a kubelet that has just begun. */
export interface RecoveredSandbox {
  readonly sandbox: Sandbox;
  readonly containers: readonly StartedContainer[];
}

/**
 * Calls for one pod are never made side by side. Removing is repeatable.
 */
export interface PodRuntime {
  /** Why the node cannot set up pods yet, in the container runtime's words; undefined when it can. */
  networkNotReady(node: string): string | undefined;
  /** Why the node's network does not answer now, though it was once set up; undefined while it does. */
  networkAway(node: string): Promise<string | undefined>;
  /** Every sandbox that was begun and not removed, half-made ones too: `alive` tells them apart. */
  recover(): Promise<RecoveredSandbox[]>;
  /** @throws with the message that a container runtime would give; nothing is left then */
  createSandbox(pod: PodRef, containerId: string): Promise<Sandbox>;
  /** Whether the namespace is still held and was set up in full. */
  alive(sandbox: Sandbox): boolean;
  /** Ends the sandbox's commands (politely for `graceMs`), lets the plugin clean up, ends the namespace. */
  removeSandbox(sandbox: Sandbox, graceMs: number): Promise<void>;
  startContainer(sandbox: Sandbox, spec: ContainerSpec): Promise<StartedContainer>;
  /** How it ended; undefined while it runs. */
  exitOf(sandbox: Sandbox, container: StartedContainer): ContainerExit | undefined;
}
