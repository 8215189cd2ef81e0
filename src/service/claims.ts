import { frontendKey, type LbFrontend } from '../datapath/services/types.ts';

/** Who wants frontends. */
export interface Claimant {
  /** `NAMESPACE/NAME`, unique. */
  name: string;
  /** RFC 3339; the older one has a frontend that two want. */
  createdAt: string;
}

interface Claim {
  claimant: Claimant;
  type: LbFrontend['type'];
}

/** Addresses that are given out once in the cluster go before those that people write down. */
const RANK = { ClusterIP: 0, NodePort: 1, LoadBalancer: 2, ExternalIPs: 3, HostPort: 4 } as const;

function isBefore(a: Claim, b: Claim): boolean {
  const order = RANK[a.type] - RANK[b.type];
  if (order !== 0) return order < 0;
  if (a.claimant.createdAt !== b.claimant.createdAt) return a.claimant.createdAt < b.claimant.createdAt;
  return a.claimant.name < b.claimant.name;
}

/** Decides who has a frontend that several want. Whoever else wants it gets it when its holder lets it go. */
export class FrontendClaims {
  /** By frontend, in the order of precedence. */
  readonly #claims = new Map<string, Claim[]>();
  readonly #byName = new Map<string, string[]>();

  /**
   * Replaces what somebody wants.
   * @returns names whose frontends may be others now, the claimant's own always among them
   */
  claim(claimant: Claimant, frontends: readonly LbFrontend[]): Set<string> {
    const affected = new Set([claimant.name]);
    const wanted = new Map(frontends.map(f => [frontendKey(f), f.type]));
    for (const key of this.#byName.get(claimant.name) ?? []) this.#remove(key, claimant.name, affected);
    for (const [key, type] of wanted) {
      const claim = { claimant, type };
      const others = this.#claims.get(key);
      if (!others) {
        this.#claims.set(key, [claim]);
        continue;
      }
      const at = others.findIndex(other => isBefore(claim, other));
      if (at === 0) affected.add(others[0]!.claimant.name);
      others.splice(at < 0 ? others.length : at, 0, claim);
    }
    if (wanted.size > 0) this.#byName.set(claimant.name, [...wanted.keys()]);
    else this.#byName.delete(claimant.name);
    return affected;
  }

  /** Name of who has it. */
  holder(frontend: Pick<LbFrontend, 'address' | 'port' | 'l4Proto'>): string | undefined {
    return this.#claims.get(frontendKey(frontend))?.[0]?.claimant.name;
  }

  #remove(key: string, name: string, affected: Set<string>): void {
    const claims = this.#claims.get(key)!;
    const at = claims.findIndex(c => c.claimant.name === name);
    claims.splice(at, 1);
    if (claims.length === 0) this.#claims.delete(key);
    else if (at === 0) affected.add(claims[0]!.claimant.name);
  }
}
