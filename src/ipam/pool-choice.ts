/** Annotations of Pods and Namespaces that choose a pool; the first that is there wins. */
const KEYS = ['ipam.cilium.io/ipv4-pool', 'ipam.cilium.io/ip-pool'] as const;
const REQUIRE_MATCH = 'ipam.cilium.io/require-pool-match';

type Annotations = Readonly<Record<string, string>> | undefined;

/** Which pool a Pod's address comes from, and who said so. */
export interface PoolChoice {
  readonly pool: string;
  /** For messages: `annotation ipam.cilium.io/ip-pool of Namespace test`. */
  readonly source: string;
}

function named(annotations: Annotations, where: string): PoolChoice | undefined {
  for (const key of KEYS) {
    const pool = annotations !== undefined && Object.hasOwn(annotations, key) ? annotations[key] : undefined;
    if (pool) return { pool, source: `annotation ${key} of ${where}` };
  }
  return undefined;
}

/**
 * The pool that a Pod asks for: its own annotations, then its Namespace's, then the node's default. Undefined when one
 * of both requires a match (`ipam.cilium.io/require-pool-match: "true"`) and neither names a pool. Pure.
 */
export function choosePool(
  pod: { readonly name: string; readonly namespace: string; readonly annotations?: Annotations },
  namespaceAnnotations: Annotations,
  defaultPool: string,
): PoolChoice | undefined {
  const choice =
    named(pod.annotations, `Pod ${pod.namespace}/${pod.name}`) ??
    named(namespaceAnnotations, `Namespace ${pod.namespace}`);
  if (choice !== undefined) return choice;
  const required = (pod.annotations?.[REQUIRE_MATCH] ?? namespaceAnnotations?.[REQUIRE_MATCH]) === 'true';
  return required ? undefined : { pool: defaultPool, source: "this node's default" };
}
