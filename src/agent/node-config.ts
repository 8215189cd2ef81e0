import { messageOf } from '../base/errors.ts';
import type { Journal } from '../base/journal.ts';
import type { Logger } from '../base/log.ts';
import type { ClusterClient } from '../cluster/types.ts';
import { matchesLabels } from '../model/selectors.ts';
import type { CiliumNodeConfig, Node } from '../model/types.ts';

const KEY = 'nodeConfig';
const TIMEOUT_MS = 2_000;

/**
 * Flat keys that CiliumNodeConfigs set for a node with these labels: of two, the one later in the alphabet wins. Pure.
 */
export function nodeOverrides(
  configs: readonly CiliumNodeConfig[],
  labels: Readonly<Record<string, string>> | undefined,
): Record<string, string> {
  const matching = configs
    .filter(({ spec }) => matchesLabels(spec.nodeSelector, labels ?? {}))
    .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  return Object.assign({}, ...matching.map(({ spec }) => spec.defaults)) as Record<string, string>;
}

/**
 * The flat keys that the cluster sets for this very node, read once at start. While the API server is away those of
 * the last start are in force; at a node's first start, when there are none, none are.
 */
export async function readNodeConfig(
  client: ClusterClient,
  o: { nodeName: string; k8sNamespace: string; journal: Journal; log: Logger },
): Promise<Record<string, string>> {
  const read = async (): Promise<Record<string, string>> => {
    const { items } = await client.list<CiliumNodeConfig>('CiliumNodeConfig', {
      namespace: o.k8sNamespace,
    });
    if (items.length === 0) return {};
    const node = await client.get<Node>('Node', o.nodeName);
    return nodeOverrides(items, node.metadata.labels);
  };
  const before = o.journal.get<Record<string, string>>(KEY) ?? {};
  try {
    const timeout = new Promise<undefined>(resolve => setTimeout(resolve, TIMEOUT_MS, undefined).unref());
    const found = await Promise.race([read(), timeout]);
    if (found === undefined) {
      o.log.warn(
        'the API server is slow to say what it configures for this node; the last settings are in force',
      );
      return before;
    }
    o.journal.put(KEY, found);
    if (Object.keys(found).length > 0) o.log.info('settings of this node by CiliumNodeConfig', found);
    return found;
  } catch (error) {
    o.log.warn('could not read what is configured for this node; the last settings are in force', {
      error: messageOf(error),
    });
    return before;
  }
}
