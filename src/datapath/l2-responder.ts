import type { Target } from '../base/reconcile.ts';
import { l2ResponderMap, type ResponderRecord } from '../maps/l2.ts';
import type { Programs } from './programs.ts';

/** An address that this node answers ARP for on a device. */
export interface ResponderSpec {
  ipv4: string;
  ifindex: number;
  mac: string;
  /** By the kernel's monotonic clock; afterwards nothing is answered, also when nobody takes the entry away. */
  validUntilNs: bigint;
}

export function responderKey({ ipv4, ifindex }: Pick<ResponderSpec, 'ipv4' | 'ifindex'>): string {
  return `${ipv4} ${ifindex}`;
}

/** `cilium_l2_responder_v4`, keyed by address and device. Counts of answers outlive changes. */
export function responderTarget(programs: Pick<Programs, 'map'>): Target<ResponderSpec, ResponderRecord> {
  const map = l2ResponderMap(programs.map('cilium_l2_responder_v4'));
  return {
    name: 'announced addresses',
    read: async () => new Map([...map.entries()].map(([key, value]) => [responderKey(key), value])),
    same: (desired, actual) => desired.mac === actual.mac && desired.validUntilNs === actual.validUntilNs,
    update: async (_key, { ipv4, ifindex, mac, validUntilNs }) => {
      const responses = map.get({ ipv4, ifindex })?.responses ?? 0n;
      map.set({ ipv4, ifindex }, { mac, validUntilNs, responses });
    },
    delete: async key => {
      const [ipv4 = '', ifindex = ''] = key.split(' ');
      map.delete({ ipv4, ifindex: Number(ifindex) });
    },
  };
}
