import { LbScope, LbServiceFlag, type ServiceSlotKey } from '../../maps/services.ts';
import type { HeldBackend } from './backends.ts';
import { maglevTable } from './maglev.ts';
import { placeBackends } from './slots.ts';
import type { LbBackendSet, LbFrontend } from './types.ts';
import type { Garbage, ServiceWrites } from './writes.ts';

/** `count` of a master has 16 bits. */
export const MOST_SLOTS = 0xffff;

/** The internal one first: the external master says that there is one. */
export const SCOPES = [LbScope.LB_SCOPE_INTERNAL, LbScope.LB_SCOPE_EXTERNAL] as const;

const TYPE_FLAGS = {
  ClusterIP: LbServiceFlag.LB_F_CLUSTER_IP,
  NodePort: LbServiceFlag.LB_F_NODE_PORT,
  ExternalIPs: LbServiceFlag.LB_F_EXTERNAL_IP,
  LoadBalancer: LbServiceFlag.LB_F_LOAD_BALANCER,
  HostPort: LbServiceFlag.LB_F_HOST_PORT,
} as const;

/** Backends of one scope by place, and what its master says. */
export interface HeldScope {
  ids: number[];
  flags: number;
  affinityTimeoutS: number;
}

/** Where a scope's slots are. */
export type ScopeKey = Omit<ServiceSlotKey, 'slot'>;

/** A scope as it must be, with as few places changed as can be. Pure. */
export function placedScope(
  { local, backends }: LbBackendSet,
  spec: LbFrontend,
  before: HeldScope | undefined,
  idOf: (backend: LbBackendSet['backends'][number]) => number,
): HeldScope {
  const wanted = [...new Set(backends.slice(0, MOST_SLOTS).map(idOf))];
  const flags =
    TYPE_FLAGS[spec.type] |
    (spec.affinityTimeoutS ? LbServiceFlag.LB_F_AFFINITY : 0) |
    (spec.sourceRanges ? LbServiceFlag.LB_F_SOURCE_RANGES : 0) |
    (spec.maglev ? LbServiceFlag.LB_F_MAGLEV : 0) |
    (spec.dsr ? LbServiceFlag.LB_F_DSR : 0) |
    (spec.internal ? LbServiceFlag.LB_F_TWO_SCOPES : 0) |
    (local ? LbServiceFlag.LB_F_LOCAL : 0);
  return {
    ids: placeBackends(before?.ids ?? [], wanted),
    flags,
    affinityTimeoutS: spec.affinityTimeoutS ?? 0,
  };
}

/**
 * Adds what differs between two states of a scope to the writes, and slots that are too many to the garbage.
 * @param before as the maps have it; absent when they have nothing of it
 * @param backendOf of a number that `now` names
 */
export function writeScope(
  at: ScopeKey,
  revNatIndex: number,
  before: HeldScope | undefined,
  now: HeldScope,
  backendOf: (id: number) => HeldBackend,
  writes: ServiceWrites,
  garbage: Garbage,
): void {
  const slotOf = (slot: number): ServiceSlotKey => ({ ...at, slot });
  const blank = { revNatIndex, affinityTimeoutS: 0, count: 0, flags: 0 };
  for (const [i, backendId] of now.ids.entries())
    if (before?.ids[i] !== backendId) writes.slots.push([slotOf(i + 1), { ...blank, backendId }]);
  for (let i = now.ids.length; i < (before?.ids.length ?? 0); i++) garbage.slots.push(slotOf(i + 1));
  const isSame =
    before?.flags === now.flags &&
    before.affinityTimeoutS === now.affinityTimeoutS &&
    before.ids.length === now.ids.length;
  if (!isSame) {
    const { flags, affinityTimeoutS, ids } = now;
    writes.masters.push([
      slotOf(0),
      { backendId: 0, revNatIndex, affinityTimeoutS, flags, count: ids.length },
    ]);
  }
  if (!(now.flags & LbServiceFlag.LB_F_MAGLEV)) return;
  if (isSame && now.ids.every((id, i) => before!.ids[i] === id)) return;
  writes.maglev.push([{ revNatIndex, scope: at.scope }, maglevTable(now.ids.map(backendOf))]);
}

/** Adds a scope that goes to the garbage. */
export function collectScope(
  at: ScopeKey,
  revNatIndex: number,
  { ids, flags }: HeldScope,
  withMaster: boolean,
  garbage: Garbage,
): void {
  for (let slot = withMaster ? 0 : 1; slot <= ids.length; slot++) garbage.slots.push({ ...at, slot });
  if (flags & LbServiceFlag.LB_F_MAGLEV) garbage.maglev.push({ revNatIndex, scope: at.scope });
}
