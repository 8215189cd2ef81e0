import { codeOf } from '../base/errors.ts';
import { mergedRanges } from '../base/ranges.ts';
import type { Target } from '../base/reconcile.ts';
import type { NetnsRef } from '../kernel/addon.ts';
import { Nftables, type NftChange, type NftTable } from '../kernel/nftables.ts';

/** Name of our table, of family `ip`: the one thing of ours in netfilter. */
export const MASQUERADE_TABLE = 'fimbria';

/** Which packets leave the node with the address of the device that they leave by. */
export interface MasqueradeSpec {
  /** Names of those devices. */
  readonly devices: readonly string[];
  /** Prefixes that pods of this node have addresses from. */
  readonly sources: readonly string[];
  /** Prefixes of destinations that see pods' own addresses. In any order, they may overlap. */
  readonly direct: readonly string[];
}

/** The table that does it. Equal for specs that mean the same. Pure. */
export function masqueradeTable(spec: MasqueradeSpec): NftTable {
  return {
    name: MASQUERADE_TABLE,
    sets: [
      { name: 'pods', kind: 'ipv4Ranges', elements: mergedRanges(spec.sources) },
      { name: 'direct', kind: 'ipv4Ranges', elements: mergedRanges(spec.direct) },
      { name: 'devices', kind: 'interfaces', elements: [...new Set(spec.devices)].sort() },
    ],
    chain: {
      name: 'postrouting',
      rules: [
        {
          matches: [
            { field: 'sourceIpv4', set: 'pods' },
            { field: 'outputInterface', set: 'devices' },
            { field: 'destinationIpv4', set: 'direct', not: true },
          ],
          action: 'masquerade',
        },
      ],
    },
  };
}

/**
 * Masquerade by the kernel's netfilter, as a reconciler's target: a table that is there or not. It is replaced as a
 * whole, in one step; whether somebody else has changed it is told by what the kernel says of it, compared with what
 * it said right after it was written. Where the kernel has no nf_tables only `update` fails.
 */
export class MasqueradeTarget implements Target<MasqueradeSpec, string> {
  readonly name = 'masquerade rules';
  readonly #netns: NetnsRef | undefined;
  #nftables: Nftables | undefined;
  #written: { table: string; fingerprint: string | undefined } | undefined;

  /** @param netns the process's own when absent */
  constructor(netns?: NetnsRef) {
    this.#netns = netns;
  }

  async read(): Promise<Map<string, string>> {
    let fingerprint: string | undefined;
    try {
      fingerprint = await this.#open().fingerprint(MASQUERADE_TABLE);
    } catch (error) {
      if (codeOf(error) !== 'NO_NFTABLES') throw error;
    }
    return new Map(fingerprint === undefined ? [] : [[MASQUERADE_TABLE, fingerprint]]);
  }

  same = (want: MasqueradeSpec, have: string): boolean =>
    this.#written?.fingerprint === have && this.#written.table === textOf(want);

  async update(_key: string, want: MasqueradeSpec): Promise<void> {
    await this.#open().replace(masqueradeTable(want));
    const fingerprint = await this.#open().fingerprint(MASQUERADE_TABLE);
    this.#written = { table: textOf(want), fingerprint };
  }

  async delete(): Promise<void> {
    await this.#open().delete(MASQUERADE_TABLE);
  }

  /** Whether a change is somebody else's, of what is ours. */
  concerns(change: NftChange): boolean {
    return change.table === MASQUERADE_TABLE && change.port !== this.#nftables?.port;
  }

  /** What comes after it opens anew. */
  close(): void {
    this.#nftables?.close();
    this.#nftables = undefined;
  }

  #open(): Nftables {
    this.#nftables ??= Nftables.open(this.#netns === undefined ? {} : { netns: this.#netns });
    return this.#nftables;
  }
}

/** Whether two specs make the same table. Pure. */
export function sameMasquerade(a: MasqueradeSpec, b: MasqueradeSpec): boolean {
  return textOf(a) === textOf(b);
}

function textOf(spec: MasqueradeSpec): string {
  return JSON.stringify(masqueradeTable(spec));
}
