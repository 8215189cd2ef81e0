import type { AddressOwner } from './types.ts';

/** Text that tells owners apart: equal texts, same owner. Stable across restarts, for journals. */
export function ownerKey(owner: AddressOwner): string {
  switch (owner.kind) {
    case 'endpoint':
      return `endpoint:${owner.containerId}:${owner.ifname}`;
    case 'named':
      return `named:${owner.name}`;
    default:
      return owner.kind;
  }
}

/** What people read in `status`: `router`, `health`, `kube-system/coredns-…`. */
export function ownerText(owner: AddressOwner): string {
  switch (owner.kind) {
    case 'endpoint':
      return owner.podName ?? `${owner.containerId}:${owner.ifname}`;
    case 'named':
      return owner.name;
    default:
      return owner.kind;
  }
}
