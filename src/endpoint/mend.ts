import { codeOf, messageOf } from '../base/errors.ts';
import type { Link } from '../kernel/rtnetlink.ts';
import type { EndpointDeps } from './deps.ts';
import { remakeDevice } from './remake.ts';
import { removeEndpoint } from './remove.ts';
import { partitionEndpoints } from './restore.ts';
import { type Endpoint, HEALTH_CONTAINER } from './types.ts';

/** How long both proofs of an endpoint's end must stand apart: the runtime's DEL usually comes within a second. */
const PROOFS_APART_MS = 20_000;

/** What mending needs beside the endpoints' own. */
export interface MendDeps extends EndpointDeps {
  links(): Promise<Link[]>;
  /** Runs alone among the calls about one container, so that a DEL under way is never met half-done. */
  exclusive<T>(containerId: string, work: () => Promise<T>): Promise<T>;
}

/**
 * Looks after endpoints whose host side device somebody deleted. While the pod's namespace lives, the pair is made
 * anew with its addresses, MACs and id. When the namespace is gone as well the pod has ended and its DEL is awaited;
 * an endpoint is forgotten only when that was seen twice, well apart.
 */
export class EndpointMender {
  readonly #deps: MendDeps;
  readonly #now: () => number;
  readonly #firstProof = new Map<number, number>();

  /** @param now a monotonic clock in milliseconds */
  constructor(deps: MendDeps, now: () => number = () => performance.now()) {
    this.#deps = deps;
    this.#now = now;
  }

  /** One look at all of them. Returns the devices that were made anew. @throws the first failure after all were tried */
  async mend(): Promise<string[]> {
    const { store } = this.#deps;
    const pods = (): Endpoint[] => store.list().filter(e => e.containerId !== HEALTH_CONTAINER);
    const missing = partitionEndpoints(pods(), await this.#deps.links()).gone;
    for (const id of this.#firstProof.keys())
      if (!missing.some(e => e.id === id)) this.#firstProof.delete(id);
    const mended: string[] = [];
    let failure: unknown;
    for (const endpoint of missing) {
      try {
        if (await this.#deps.exclusive(endpoint.containerId, () => this.#mendOne(endpoint)))
          mended.push(endpoint.hostIfname);
      } catch (error) {
        failure ??= error;
      }
    }
    if (failure !== undefined) throw failure;
    return mended;
  }

  async #mendOne(seen: Endpoint): Promise<boolean> {
    const endpoint = this.#deps.store.get(seen.id);
    if (endpoint?.hostIfname !== seen.hostIfname) return false;
    if (partitionEndpoints([endpoint], await this.#deps.links()).gone.length === 0) return false;
    try {
      await remakeDevice(this.#deps, endpoint);
      return true;
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error;
      await this.#proveGone(endpoint, messageOf(error));
      return false;
    }
  }

  async #proveGone(endpoint: Endpoint, why: string): Promise<void> {
    const first = this.#firstProof.get(endpoint.id);
    if (first === undefined) {
      this.#firstProof.set(endpoint.id, this.#now());
      return;
    }
    if (this.#now() - first < PROOFS_APART_MS) return;
    this.#firstProof.delete(endpoint.id);
    this.#deps.log.warn('forgot endpoint: its device and its namespace are gone, and no DEL came', {
      endpoint: endpoint.id,
      ipv4: endpoint.ipv4,
      device: endpoint.hostIfname,
      why,
    });
    await removeEndpoint(this.#deps, endpoint);
  }
}
