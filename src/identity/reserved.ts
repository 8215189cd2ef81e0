/** Cilium's reserved identities by number. The texts are those of `monitor` and, with `reserved:`, of labels. */
export const reservedIdentities: Readonly<Record<number, string>> = Object.freeze({
  0: 'unknown',
  1: 'host',
  2: 'world',
  3: 'unmanaged',
  4: 'health',
  5: 'init',
  6: 'remote-node',
  7: 'kube-apiserver',
  8: 'ingress',
  9: 'world-ipv4',
  10: 'world-ipv6',
  11: 'encrypted-overlay',
});

/** Numbers of the reserved identities that the code names. */
export const IDENTITY = {
  unknown: 0,
  host: 1,
  world: 2,
  unmanaged: 3,
  health: 4,
  init: 5,
  remoteNode: 6,
  kubeApiserver: 7,
  ingress: 8,
} as const;

/** Identities of pods are in this range, both ends included. */
export const MIN_CLUSTER_IDENTITY = 256;
export const MAX_CLUSTER_IDENTITY = 65535;

export function isClusterIdentity(id: number): boolean {
  return Number.isInteger(id) && id >= MIN_CLUSTER_IDENTITY && id <= MAX_CLUSTER_IDENTITY;
}

/** A reserved identity's labels, as endpoints and `identity list` show them; undefined for any other number. */
export function reservedLabels(id: number): string[] | undefined {
  const name = reservedIdentities[id];
  if (name === undefined || id === IDENTITY.unknown) return undefined;
  // The API server is a remote node too: both labels, as in Cilium.
  return id === IDENTITY.kubeApiserver
    ? ['reserved:kube-apiserver', 'reserved:remote-node']
    : [`reserved:${name}`];
}

/** What `monitor` prints: `host`, `world`, `unknown`, or the number. */
export function identityText(id: number): string {
  return reservedIdentities[id] ?? String(id);
}
