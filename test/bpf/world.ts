import { l2ResponderMap } from '../../src/maps/l2.ts';
import type { EndpointEntry, IpcacheRecord, PolicyRuleKey, PolicyVerdict } from '../../src/maps/tables.ts';
import { type Loaded, type Namespace, NODE_IPV4, OVERLAY_IFINDEX } from './harness.ts';

/** One node's view of a small cluster: what the maps hold and what the node's own network looks like. */

export const NODE = {
  ip: NODE_IPV4,
  router: '10.0.0.1',
  ifindex: 5,
  mac: '02:00:00:00:00:05',
} as const;

/** Pods of this node. `stranger` and `guarded` share `client`'s device, so that each can be a sender in turn. */
export const PODS = {
  client: {
    ip: '10.0.0.10',
    identity: 1000,
    endpointId: 10,
    ifindex: 11,
    mac: '02:00:00:00:0a:10',
    nodeMac: '02:00:00:00:0a:ff',
  },
  server: {
    ip: '10.0.0.11',
    identity: 1001,
    endpointId: 11,
    ifindex: 12,
    mac: '02:00:00:00:0b:10',
    nodeMac: '02:00:00:00:0b:ff',
  },
  /** Has an ingress policy. */
  walled: {
    ip: '10.0.0.12',
    identity: 1002,
    endpointId: 12,
    ifindex: 12,
    mac: '02:00:00:00:0c:10',
    nodeMac: '02:00:00:00:0b:ff',
  },
  /** Has an egress policy. */
  guarded: {
    ip: '10.0.0.13',
    identity: 1003,
    endpointId: 13,
    ifindex: 11,
    mac: '02:00:00:00:0d:10',
    nodeMac: '02:00:00:00:0a:ff',
  },
  /** Says it has policies, but its slot is empty. */
  unready: {
    ip: '10.0.0.14',
    identity: 1004,
    endpointId: 14,
    ifindex: 12,
    mac: '02:00:00:00:0e:10',
    nodeMac: '02:00:00:00:0b:ff',
  },
  /** Has policies in both directions. */
  fortified: {
    ip: '10.0.0.15',
    identity: 1005,
    endpointId: 15,
    ifindex: 11,
    mac: '02:00:00:00:0f:10',
    nodeMac: '02:00:00:00:0a:ff',
  },
} as const;

export type PodName = keyof typeof PODS;

/** Addresses outside. */
export const ELSEWHERE = {
  remotePod: '10.0.1.20',
  /** In a remote node's block, not in the ipcache by itself. */
  remoteUnknownPod: '10.0.1.99',
  remoteNode: '192.168.10.101',
  /** On a node that is known as a neighbour. */
  neighbourPod: '10.0.2.20',
  /** In this node's block, nobody's. */
  nobody: '10.0.0.77',
  /** In the cluster's range, on no node. */
  noNode: '10.0.9.9',
  /** Through the gateway, whose MAC is not known. */
  world: '198.18.0.1',
  /** Behind a route of mtu 1400. */
  narrow: '198.51.100.1',
  blackhole: '203.0.113.1',
} as const;

/** Addresses of services: one that this node announces on its device, one whose lease ran out. */
export const ANNOUNCED = { held: '10.0.250.1', expired: '10.0.250.2' } as const;

export const IDENTITY = { host: 1, world: 2, remoteNode: 6, remotePod: 3000 } as const;

const noPolicy = { host: false, policyIngress: false, policyEgress: false };
const noMac = '00:00:00:00:00:00';
const ENFORCED: Partial<Record<PodName, Partial<EndpointEntry>>> = {
  walled: { policyIngress: true },
  unready: { policyIngress: true, policyEgress: true },
  guarded: { policyEgress: true },
  fortified: { policyIngress: true, policyEgress: true },
};

/** What `cilium_lxc` holds: pods and the node's own addresses. */
export const ENDPOINTS: [string, EndpointEntry][] = [
  ...Object.entries(PODS).map(
    ([name, { ip, ...pod }]) =>
      [ip, { ...pod, ...noPolicy, ...ENFORCED[name as PodName] }] as [string, EndpointEntry],
  ),
  ...[NODE.ip, NODE.router].map(
    own =>
      [
        own,
        {
          ...noPolicy,
          ifindex: 0,
          identity: IDENTITY.host,
          endpointId: 0,
          host: true,
          mac: noMac,
          nodeMac: noMac,
        },
      ] as [string, EndpointEntry],
  ),
];

const plain = { tunnelEndpoint: '0.0.0.0', ownPodCidr: false, cluster: false, neighbour: false };
const behindRemoteNode = { ...plain, tunnelEndpoint: ELSEWHERE.remoteNode, cluster: true };

/** What `cilium_ipcache` holds. */
export const IPCACHE: [string, IpcacheRecord][] = [
  ['0.0.0.0/0', { ...plain, identity: IDENTITY.world }],
  ['10.0.0.0/16', { ...plain, identity: IDENTITY.world, cluster: true }],
  ['10.0.0.0/24', { ...plain, identity: IDENTITY.world, cluster: true, ownPodCidr: true }],
  ['10.0.1.0/24', { ...behindRemoteNode, identity: IDENTITY.world }],
  [`${ELSEWHERE.remotePod}/32`, { ...behindRemoteNode, identity: IDENTITY.remotePod }],
  [`${ELSEWHERE.neighbourPod}/32`, { ...behindRemoteNode, identity: IDENTITY.remotePod, neighbour: true }],
  [`${ELSEWHERE.remoteNode}/32`, { ...plain, identity: IDENTITY.remoteNode }],
  [`${NODE.ip}/32`, { ...plain, identity: IDENTITY.host }],
  ...Object.values(PODS).map(
    pod => [`${pod.ip}/32`, { ...plain, identity: pod.identity, cluster: true }] as [string, IpcacheRecord],
  ),
];

export type PolicyRule = [PolicyRuleKey, PolicyVerdict];

/** Rules by pod; `unready` has no map at all. */
export const POLICIES: Partial<Record<PodName, PolicyRule[]>> = {
  walled: [
    [{ direction: 'ingress', identity: PODS.client.identity, l4Proto: 6, dport: 80 }, { deny: false }],
    [{ direction: 'ingress', identity: IDENTITY.remotePod }, { deny: false }],
    [{ direction: 'ingress', identity: IDENTITY.host }, { deny: false }],
    [{ direction: 'ingress', identity: 0, l4Proto: 17, dport: 53 }, { deny: false }],
    [{ direction: 'ingress', identity: 0, l4Proto: 6, dport: 23 }, { deny: true }],
    [{ direction: 'ingress', identity: PODS.server.identity, l4Proto: 17, dport: 53 }, { deny: true }],
    [{ direction: 'ingress', identity: IDENTITY.remotePod, l4Proto: 6, dport: 22 }, { deny: true }],
  ],
  guarded: [
    [{ direction: 'egress', identity: PODS.server.identity }, { deny: false }],
    [{ direction: 'egress', identity: IDENTITY.remotePod, l4Proto: 17 }, { deny: false }],
    [{ direction: 'egress', identity: IDENTITY.host, l4Proto: 6, dport: 4240 }, { deny: false }],
  ],
  fortified: [
    [{ direction: 'ingress', identity: PODS.client.identity }, { deny: false }],
    [{ direction: 'egress', identity: 0, l4Proto: 6 }, { deny: false }],
  ],
};

export function fillMaps(loaded: Loaded): void {
  for (const [ip, entry] of ENDPOINTS) loaded.endpoints.set(ip, entry);
  loaded.ipcache.updateBatch(IPCACHE);
  const responder = l2ResponderMap(loaded.map('cilium_l2_responder_v4'));
  for (const [ipv4, validUntilNs] of [
    [ANNOUNCED.held, 2n ** 63n],
    [ANNOUNCED.expired, 1n],
  ] as const)
    responder.set({ ipv4, ifindex: NODE.ifindex }, { mac: NODE.mac, validUntilNs, responses: 0n });
  for (const [name, rules] of Object.entries(POLICIES))
    loaded.setPolicy(PODS[name as PodName].endpointId, rules);
}

/** The node's own devices, routes and neighbours, for the helpers that ask the kernel. */
export function furnish(namespace: Namespace): void {
  const { client, server } = PODS;
  namespace.ip([
    'link set lo up',
    `link add eth0 index ${NODE.ifindex} address ${NODE.mac} type veth peer name wire`,
    `link add lxc-client index ${client.ifindex} address ${client.nodeMac} type veth peer name pod-client`,
    `link add lxc-server index ${server.ifindex} address ${server.nodeMac} type veth peer name pod-server`,
    `link add cilium_vxlan index ${OVERLAY_IFINDEX} type vxlan external dstport 8472`,
    ...['eth0', 'wire', 'cilium_vxlan', 'lxc-client', 'pod-client', 'lxc-server', 'pod-server'].map(
      d => `link set ${d} up`,
    ),
    `address add ${NODE.ip}/24 dev eth0`,
    `neighbour add ${ELSEWHERE.remoteNode} dev eth0 lladdr 02:00:00:00:00:65 nud permanent`,
    'route add default via 192.168.10.1',
    // Only a locked mtu binds those who forward by the kernel's lookup helper.
    'route add 198.51.100.0/24 via 192.168.10.1 mtu lock 1400',
    'route add blackhole 203.0.113.0/24',
    `route add 10.0.1.0/24 via ${ELSEWHERE.remoteNode}`,
    // A neighbour's pods are sent to it whatever the routes say.
    'route add blackhole 10.0.2.0/24',
  ]);
  namespace.run('sysctl', '-q', '-w', 'net.ipv4.ip_forward=1');
}
