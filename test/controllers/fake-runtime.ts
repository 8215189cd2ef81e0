import type { PodRef, PodRuntime, Sandbox } from '../../src/controllers/runtime.ts';

/** A machine on which every Pod comes up at once. What it holds goes with it. */
export class FakeRuntime implements PodRuntime {
  readonly sandboxes = new Map<string, Sandbox>();
  /** Nodes whose network does not answer. */
  readonly away = new Set<string>();
  #address = 0;

  networkNotReady(): undefined {
    return undefined;
  }

  async networkAway(node: string): Promise<string | undefined> {
    return this.away.has(node) ? 'agent is away' : undefined;
  }

  async recover(): Promise<[]> {
    return [];
  }

  async createSandbox(pod: PodRef, containerId: string): Promise<Sandbox> {
    this.#address++;
    const ips = [`10.244.${this.#address >> 8}.${this.#address & 255}`];
    const sandbox = { pod, containerId, ips, createdAtMs: Date.now() };
    this.sandboxes.set(pod.uid, sandbox);
    return sandbox;
  }

  alive({ pod }: Sandbox): boolean {
    return this.sandboxes.has(pod.uid);
  }

  async removeSandbox({ pod }: Sandbox): Promise<void> {
    this.sandboxes.delete(pod.uid);
  }

  async startContainer(): Promise<never> {
    throw new Error('nothing has a command here');
  }

  exitOf(): undefined {
    return undefined;
  }
}
