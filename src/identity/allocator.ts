import { createHash } from 'node:crypto';
import { FimbriaError } from '../base/errors.ts';
import { KeyedLock } from '../base/lock.ts';
import { sameLabels, sortLabels } from './labels.ts';
import { MAX_CLUSTER_IDENTITY, MIN_CLUSTER_IDENTITY } from './reserved.ts';

const RANGE = MAX_CLUSTER_IDENTITY - MIN_CLUSTER_IDENTITY + 1;

/**
 * The number that a set of labels gets if nobody else has it: the same on every node, without asking anybody.
 * Order and repetition do not matter. Pure.
 */
export function identityFor(labels: Iterable<string>): number {
  const digest = createHash('sha256').update(sortLabels(labels).join('\n')).digest();
  return MIN_CLUSTER_IDENTITY + (digest.readUInt32BE(0) % RANGE);
}

/** Where identities are kept: the cluster, or a test's map. */
export interface IdentityStore {
  /** The number that these labels already have, as far as the caller's copy of the cluster knows. */
  find(labels: readonly string[]): number | undefined;
  /** Labels of a number, asked freshly; undefined when it is free. */
  get(id: number): Promise<readonly string[] | undefined>;
  /** False when somebody was faster and the number exists by now. */
  create(id: number, labels: readonly string[]): Promise<boolean>;
}

/**
 * Gives sets of labels their numbers. No coordination: the number follows from the labels, and where another set
 * has it already the next one is tried. Two nodes that do this at once for the same labels agree.
 * Calls for the same labels are run one at a time.
 */
export class IdentityAllocator {
  readonly #store: IdentityStore;
  readonly #lock = new KeyedLock();
  /** Numbers that local endpoints use: users and labels. */
  readonly #used = new Map<number, { users: number; readonly labels: readonly string[] }>();

  constructor(store: IdentityStore) {
    this.#store = store;
  }

  /**
   * The number of a set of labels, created in the cluster if need be; counted as used until `release`.
   * Errors of the store pass through and change nothing; the caller goes on with `reserved:init` and tries again.
   */
  allocate(labels: Iterable<string>): Promise<number> {
    const sorted = sortLabels(labels);
    return this.#lock.run(sorted.join('\n'), async () => {
      for (const [id, use] of this.#used) {
        if (!sameLabels(use.labels, sorted)) continue;
        use.users++;
        return id;
      }
      const id = this.#store.find(sorted) ?? (await this.#probe(sorted));
      this.#used.set(id, { users: 1, labels: sorted });
      return id;
    });
  }

  /** One endpoint uses the number no more. The object stays: the operator removes what nobody uses. */
  release(id: number): void {
    const use = this.#used.get(id);
    if (use !== undefined && --use.users === 0) this.#used.delete(id);
  }

  /**
   * To be called when an identity vanished from the cluster: puts it back when a local endpoint uses it. Returns
   * whether it was put back. When the number has other labels by now, throws IDENTITY_TAKEN: the endpoints that
   * use it must be given a new one.
   */
  async restore(id: number): Promise<boolean> {
    const use = this.#used.get(id);
    if (use === undefined) return false;
    if (await this.#store.create(id, use.labels)) return true;
    const now = await this.#store.get(id);
    if (now !== undefined && sameLabels(now, use.labels)) return false;
    throw new FimbriaError({
      code: 'IDENTITY_TAKEN',
      op: 'restore',
      object: `identity ${id}`,
      why: 'it has other labels by now',
    });
  }

  /** Numbers in use here. */
  inUse(): number[] {
    return [...this.#used.keys()];
  }

  async #probe(labels: readonly string[]): Promise<number> {
    const start = identityFor(labels) - MIN_CLUSTER_IDENTITY;
    for (let step = 0; step < RANGE; step++) {
      const id = MIN_CLUSTER_IDENTITY + ((start + step) % RANGE);
      if (await this.#store.create(id, labels)) return id;
      const holder = await this.#store.get(id);
      // Gone between the two questions: it is free again, or passed by when somebody is faster once more.
      if (holder === undefined ? await this.#store.create(id, labels) : sameLabels(holder, labels)) return id;
    }
    throw new FimbriaError({
      code: 'RANGE_FULL',
      op: 'allocate',
      object: 'identity',
      why: `all numbers of ${MIN_CLUSTER_IDENTITY} to ${MAX_CLUSTER_IDENTITY} are in use`,
      hint: 'use fewer distinct labels on pods',
    });
  }
}
