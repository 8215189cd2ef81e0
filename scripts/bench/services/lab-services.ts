import { setTimeout as delay } from 'node:timers/promises';
import { type ClusterClient, createClient } from '../../../src/cluster/index.ts';
import { BpfMap } from '../../../src/kernel/libbpf/index.ts';
import { labPaths } from '../../../src/lab/names.ts';
import { backendMap, LbScope, type ServiceSlotKey, serviceMap } from '../../../src/maps/services.ts';
import { endpointMap, setPolicySlot } from '../../../src/maps/tables.ts';
import type { EndpointSlice } from '../../../src/model/types.ts';
import type { BenchLab } from '../labs.ts';
import { type Summary, summarize } from '../stats.ts';
import type { RuleService } from './kube-proxy-rules.ts';
import { NAMESPACE, objectsOf } from './workload.ts';

const WRITERS = 32;
const TCP = 6;
const TIMEOUT_MS = 180_000;
const LOOK_MS = 50;

/** Services of a lab, as its API server is told of them and as its agents have them in their maps. */
export class LabServices {
  readonly #lab: BenchLab;
  readonly #client: ClusterClient;
  readonly #made = new Set<string>();

  constructor(lab: BenchLab) {
    this.#lab = lab;
    this.#client = createClient(labPaths(lab.name).localKubeconfig);
  }

  /** Makes those that are not there yet; returns when the agent of the node has all of them in its maps. */
  async ensure(node: string, services: readonly RuleService[]): Promise<void> {
    const missing = services.filter(({ name }) => !this.#made.has(name));
    const waiting = [...missing];
    await Promise.all(
      Array.from({ length: WRITERS }, async () => {
        for (let one = waiting.pop(); one; one = waiting.pop()) await this.#create(one);
      }),
    );
    const map = BpfMap.fromPin(this.#lab.pin(node, 'cilium_lb4_services_v2'));
    try {
      const slots = serviceMap(map);
      for (const { name, clusterIp, port } of missing) {
        const key = keyOf(clusterIp, port, 1);
        await until(() => slots.get(key) !== undefined, `service ${name} to be in the maps of ${node}`);
      }
    } finally {
      map.close();
    }
  }

  async #create(service: RuleService): Promise<void> {
    const objects = objectsOf(service);
    await this.#client.create(objects.service);
    for (const slice of objects.slices) await this.#client.create(slice);
    this.#made.add(service.name);
  }

  /**
   * Milliseconds from a watch's event, as the client here is told of it, to the agent's map (negative when the agent
   * was told first); and from before the request. The map is looked at all the time, between what comes in.
   */
  async changes(
    node: string,
    service: RuleService,
    count: number,
  ): Promise<{ fromEventMs: Summary; fromRequestMs: Summary }> {
    const maps = ['cilium_lb4_services_v2', 'cilium_lb4_backends_v3'].map(name =>
      BpfMap.fromPin(this.#lab.pin(node, name)),
    ) as [BpfMap, BpfMap];
    const slots = serviceMap(maps[0]);
    const backends = backendMap(maps[1]);
    const slot = keyOf(service.clusterIp, service.port, 1);
    const sliceName = `${service.name}-0`;
    const informer = this.#client.informer<EndpointSlice>('EndpointSlice', {
      namespace: NAMESPACE,
      fieldSelector: `metadata.name=${sliceName}`,
    });
    let heardMs = 0;
    informer.on({ updated: () => (heardMs = performance.now()) });
    const fromEvent: number[] = [];
    const fromRequest: number[] = [];
    try {
      await informer.synced;
      for (let i = 0; i < count; i++) {
        const address = `10.202.0.${1 + (i % 250)}`;
        const begunMs = performance.now();
        heardMs = 0;
        const answer = this.#client.patch(
          'EndpointSlice',
          sliceName,
          { endpoints: [{ addresses: [address], conditions: { ready: true } }] },
          { namespace: NAMESPACE },
        );
        const isThere = (): boolean => backends.get(slots.get(slot)?.backendId ?? 0)?.address === address;
        const thereMs = await lookUntil(isThere);
        await answer;
        await until(() => heardMs > 0, 'the watch to tell of a change', 1);
        fromEvent.push(thereMs - heardMs);
        fromRequest.push(thereMs - begunMs);
        await delay(5);
      }
    } finally {
      informer.close();
      for (const map of maps) map.close();
    }
    return { fromEventMs: summarize(fromEvent), fromRequestMs: summarize(fromRequest) };
  }

  close(): void {
    this.#client.close();
  }
}

const keyOf = (address: string, port: number, slot: number): ServiceSlotKey => ({
  address,
  port,
  l4Proto: TCP,
  scope: LbScope.LB_SCOPE_EXTERNAL,
  slot,
});

async function until(holds: () => boolean, what: string, everyMs = LOOK_MS): Promise<void> {
  const endMs = performance.now() + TIMEOUT_MS;
  while (!holds()) {
    if (performance.now() > endMs) throw new Error(`waited ${TIMEOUT_MS / 1000} s for ${what}`);
    await delay(everyMs);
  }
}

/** Looks again and again, between what else the process has to do; returns when it was so, by performance.now(). */
async function lookUntil(holds: () => boolean): Promise<number> {
  const endMs = performance.now() + TIMEOUT_MS;
  while (!holds()) {
    if (performance.now() > endMs) throw new Error('an endpoint change did not get into the map');
    await new Promise(resolve => setImmediate(resolve));
  }
  return performance.now();
}

/**
 * Has the policies of these pods enforced, in both directions; they allow everything. The node's agent must be away: it
 * would take that back.
 */
export function enforcePolicies(lab: BenchLab, node: string, addresses: readonly string[]): void {
  const open = (name: string): BpfMap => BpfMap.fromPin(lab.pin(node, name));
  const [endpoints, policyMaps] = [open('cilium_lxc'), open('cilium_policy_maps')];
  try {
    const table = endpointMap(endpoints);
    for (const address of addresses) {
      const entry = table.get(address);
      if (!entry) throw new Error(`${address} is no endpoint of ${node}`);
      const policy = open(`cilium_policy_${entry.endpointId}`);
      setPolicySlot(policyMaps, entry.endpointId, policy);
      policy.close();
      table.set(address, { ...entry, policyIngress: true, policyEgress: true });
    }
  } finally {
    endpoints.close();
    policyMaps.close();
  }
}
