import { codeOf } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { ClusterClient, Informer } from '../../cluster/index.ts';
import { EventRecorder } from '../../cluster/index.ts';
import type { Service } from '../../model/types.ts';
import type { Informers } from '../informers.ts';
import { KeyedQueue } from '../keyed-queue.ts';
import { uidOf } from '../objects.ts';
import { type Allocation, type AllocationPlan, planAllocations } from './allocation.ts';

/** One key: addresses of all Services are decided together. */
const ALL = 'services';

/** Writes cluster IPs and node ports into Services. Chosen by what the server has at that moment, not by the watch. */
export class ServiceAllocator {
  readonly #client: ClusterClient;
  readonly #services: Informer<Service>;
  readonly #events: EventRecorder;
  readonly #queue: KeyedQueue;
  /** What was complained about, by uid, so that it is said once. */
  readonly #said = new Map<string, string>();

  /** The informers are the caller's. */
  constructor(client: ClusterClient, informers: Informers, log: Logger) {
    const named = log.for('service-allocator');
    this.#client = client;
    this.#services = informers.of<Service>('Service');
    this.#events = new EventRecorder(client, 'service-allocator', named);
    this.#queue = new KeyedQueue({ run: () => this.#look(), log: named });
    const look = (): void => this.#queue.add(ALL);
    this.#services.on({
      added: look,
      updated: look,
      deleted: service => {
        this.#said.delete(uidOf(service));
        look();
      },
    });
  }

  close(): void {
    this.#queue.close();
  }

  async #look(): Promise<undefined> {
    await this.#services.synced;
    const plan = planAllocations(this.#services.list());
    this.#complain(plan);
    if (plan.allocations.length === 0) return;
    const { items } = await this.#client.list<Service>('Service');
    for (const allocation of planAllocations(items).allocations) await this.#write(allocation);
  }

  async #write({ service, spec }: Allocation): Promise<void> {
    const { name, namespace, uid, resourceVersion } = service.metadata;
    const fields = Object.entries(spec).map(([key, value]) => [key, value ?? null]);
    const patch = { metadata: { uid, resourceVersion }, spec: Object.fromEntries(fields) };
    try {
      await this.#client.patch('Service', name, patch, { namespace: namespace! });
    } catch (error) {
      if (codeOf(error) !== 'NOT_FOUND') throw error;
    }
  }

  #complain({ conflicts, full }: AllocationPlan): void {
    for (const { service, what, holder } of conflicts) {
      this.#say(
        service,
        'AllocatedTwice',
        `${what} is ${holder}'s; delete one of the two and create it anew`,
      );
    }
    for (const { service, what } of full) {
      this.#say(service, 'RangeFull', `No more ${what}; delete Services that nobody needs`);
    }
  }

  #say(service: Service, reason: string, message: string): void {
    if (this.#said.get(uidOf(service)) === message) return;
    this.#said.set(uidOf(service), message);
    this.#events.record(service, { type: 'Warning', reason, message });
  }
}
