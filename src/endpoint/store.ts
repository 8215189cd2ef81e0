import { randomInt } from 'node:crypto';
import { FimbriaError } from '../base/errors.ts';
import type { Journal } from '../base/journal.ts';
import { attachmentId, type Endpoint, podFullName } from './types.ts';

const PREFIX = 'endpoint/';
const MAX_ID = 4095;

/** The endpoints of this node: in memory, and in the journal before anybody is told of them. One owner: the agent. */
export class EndpointStore {
  readonly #journal: Journal;
  readonly #byId = new Map<number, Endpoint>();
  readonly #reservedIds = new Set<number>();
  readonly #leaving = new Map<string, Promise<void>>();

  constructor(journal: Journal) {
    this.#journal = journal;
    for (const [, endpoint] of journal.entries<Endpoint>(PREFIX)) this.#byId.set(endpoint.id, endpoint);
  }

  list(): Endpoint[] {
    return [...this.#byId.values()].sort((a, b) => a.id - b.id);
  }

  get(id: number): Endpoint | undefined {
    return this.#byId.get(id);
  }

  byAttachment(containerId: string, ifname: string): Endpoint | undefined {
    const wanted = attachmentId(containerId, ifname);
    return this.list().find(e => attachmentId(e.containerId, e.ifname) === wanted);
  }

  byContainer(containerId: string): Endpoint[] {
    return this.list().filter(e => e.containerId === containerId);
  }

  byIpv4(ipv4: string): Endpoint | undefined {
    return this.list().find(e => e.ipv4 === ipv4);
  }

  byPod(fullName: string): Endpoint | undefined {
    return this.list().find(e => podFullName(e) === fullName);
  }

  /**
   * Reserves a free id for an endpoint that is being made; `release` gives it back, `put` makes it permanent.
   * @param preferred taken when it is free
   * @throws FimbriaError IDS_EXHAUSTED when the node has 4095 endpoints
   */
  reserveId(preferred?: number): { id: number; release: () => void } {
    const taken = (id: number): boolean => this.#byId.has(id) || this.#reservedIds.has(id);
    // Random start, then the next free one: ids of endpoints that left are not given out again at once.
    const start = preferred ?? randomInt(1, MAX_ID + 1);
    for (let step = 0; step < MAX_ID; step++) {
      const id = ((start - 1 + step) % MAX_ID) + 1;
      if (taken(id)) continue;
      this.#reservedIds.add(id);
      return { id, release: () => this.#reservedIds.delete(id) };
    }
    throw new FimbriaError({
      code: 'IDS_EXHAUSTED',
      op: 'allocate',
      object: 'endpoint id',
      why: `all ${MAX_ID} ids of this node are in use`,
      hint: 'delete pods from this node',
    });
  }

  put(endpoint: Endpoint): void {
    this.#journal.put(PREFIX + endpoint.id, endpoint);
    this.#byId.set(endpoint.id, endpoint);
    this.#reservedIds.delete(endpoint.id);
  }

  delete(id: number): boolean {
    this.#journal.delete(PREFIX + id);
    return this.#byId.delete(id);
  }

  /**
   * What a deleted endpoint leaves behind is being taken away until `finished`: nobody gets its id before, and
   * `left` waits for it.
   */
  leaving(endpoint: Endpoint, finished: Promise<void>): void {
    const attachment = attachmentId(endpoint.containerId, endpoint.ifname);
    this.#reservedIds.add(endpoint.id);
    this.#leaving.set(attachment, finished);
    finished.finally(() => {
      this.#reservedIds.delete(endpoint.id);
      if (this.#leaving.get(attachment) === finished) this.#leaving.delete(attachment);
    });
  }

  /** Resolves when nothing is left of an earlier endpoint of this attachment: a new one has the same device name. */
  async left(containerId: string, ifname: string): Promise<void> {
    await this.#leaving.get(attachmentId(containerId, ifname));
  }
}
