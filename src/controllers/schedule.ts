import type { Node, Pod } from '../model/types.ts';

/** Where a Pod goes, or why nowhere, in the scheduler's words. */
export type Placement = { node: string } | { unschedulable: string };

function isReady(node: Node): boolean {
  return node.status?.conditions?.some(c => c.type === 'Ready' && c.status === 'True') === true;
}

function tolerates(pod: Pod, taint: { key: string; value?: string; effect: string }): boolean {
  return (pod.spec.tolerations ?? []).some(
    toleration =>
      (toleration.key === undefined || toleration.key === taint.key) &&
      (toleration.effect === undefined || toleration.effect === taint.effect) &&
      (toleration.operator === 'Exists' ||
        (toleration.key !== undefined && (toleration.value ?? '') === (taint.value ?? ''))),
  );
}

const UNSCHEDULABLE_TAINT = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' as const };

/** Why the Pod cannot go to the node; undefined when it can. */
function obstacle(pod: Pod, node: Node): string | undefined {
  if (node.spec?.unschedulable && !tolerates(pod, UNSCHEDULABLE_TAINT)) return 'were unschedulable';
  if (!isReady(node)) return 'had untolerated taint {node.kubernetes.io/not-ready: }';
  const taint = node.spec?.taints?.find(t => t.effect !== 'PreferNoSchedule' && !tolerates(pod, t));
  if (taint) return `had untolerated taint {${taint.key}: ${taint.value ?? ''}}`;
  const labels = node.metadata.labels ?? {};
  const matches = Object.entries(pod.spec.nodeSelector ?? {}).every(([key, value]) => labels[key] === value);
  return matches ? undefined : "didn't match Pod's node affinity/selector";
}

/**
 * Chooses the node with the fewest pods among those that the Pod may go to; the first by name where several have
 * equally few. Pure.
 * @param podsOn how many pods count as being on a node
 */
export function schedule(pod: Pod, nodes: readonly Node[], podsOn: (node: string) => number): Placement {
  const obstacles = new Map<string, number>();
  const fits: Node[] = [];
  for (const node of nodes) {
    const why = obstacle(pod, node);
    if (why === undefined) fits.push(node);
    else obstacles.set(why, (obstacles.get(why) ?? 0) + 1);
  }
  const [best] = fits
    .map(node => ({ name: node.metadata.name, pods: podsOn(node.metadata.name) }))
    .sort((a, b) => a.pods - b.pods || (a.name < b.name ? -1 : 1));
  if (best) return { node: best.name };
  if (nodes.length === 0) return { unschedulable: 'no nodes available to schedule pods' };
  const reasons = [...obstacles].map(([why, count]) => `${count} node(s) ${why}`).sort();
  return { unschedulable: `0/${nodes.length} nodes are available: ${reasons.join(', ')}.` };
}
