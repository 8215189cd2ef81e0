import { Histogram } from './histogram.ts';

/** What happened to a Service. */
export type ServiceAction = 'add' | 'update' | 'delete';

/**
 * How often Services change, and how long it takes until the datapath knows: from the first event about a Service, or
 * about its endpoints, that is not in the maps yet. Holds what is under way, no more.
 */
export class ServiceTimes {
  readonly delays = new Histogram();
  readonly events: Record<ServiceAction, number> = { add: 0, update: 0, delete: 0 };
  readonly #heard = new Map<string, { action: ServiceAction; atMs: number }>();

  /** The cluster told of the Service itself. @param name `NAMESPACE/NAME` */
  service(name: string, action: ServiceAction): void {
    this.events[action]++;
    this.changed(name, action);
  }

  /** Something changes of what the datapath must know of a Service. */
  changed(name: string, action: ServiceAction = 'update'): void {
    const known = this.#heard.get(name);
    if (!known) this.#heard.set(name, { action, atMs: performance.now() });
    else if (action === 'delete') known.action = action;
  }

  /** The datapath has it. */
  programmed(names: Iterable<string>): void {
    const nowMs = performance.now();
    for (const name of names) {
      const heard = this.#heard.get(name);
      if (!heard) continue;
      this.#heard.delete(name);
      this.delays.observe({ action: heard.action }, (nowMs - heard.atMs) / 1000);
    }
  }
}
