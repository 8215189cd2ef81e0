import type { Command } from 'commander';
import { codeOf } from '../../base/errors.ts';
import type { ClusterClient } from '../../cluster/index.ts';
import type { IpamOverview, OverviewPool } from '../../ipam/overview.ts';
import type { CiliumEndpoint, CiliumNode, CiliumPodIPPool, ConfigMap } from '../../model/types.ts';
import { options } from '../context.ts';
import { formatIpam } from '../format/ipam.ts';
import { present } from '../format/output.ts';
import type { ClusterOptions } from '../objects/connect.ts';

async function configOf(client: ClusterClient): Promise<Record<string, string>> {
  try {
    return (await client.get<ConfigMap>('ConfigMap', 'cilium-config', 'kube-system')).data ?? {};
  } catch (error) {
    if (codeOf(error) === 'NOT_FOUND') return {};
    throw error;
  }
}

async function gather(client: ClusterClient): Promise<IpamOverview> {
  const { parseFlat } = await import('../../config/index.ts');
  const { ipamOverview } = await import('../../ipam/overview.ts');
  const [flat, nodes, endpoints, pools] = await Promise.all([
    configOf(client),
    client.list<CiliumNode>('CiliumNode'),
    client.list<CiliumEndpoint>('CiliumEndpoint'),
    client.list<CiliumPodIPPool>('CiliumPodIPPool'),
  ]);
  const config = parseFlat(flat);
  const shown: OverviewPool[] =
    config.ipamMode === 'multi-pool'
      ? pools.items.map(({ metadata, spec, status }) => {
          const note = status?.conditions?.[0]?.message;
          return { name: metadata.name, ...spec, ...(note ? { note } : {}) };
        })
      : config.ipamMode === 'cluster-pool'
        ? [
            {
              name: 'default',
              ipv4: { cidrs: config.clusterPoolIpv4Cidrs, maskSize: config.clusterPoolIpv4MaskSize },
            },
          ]
        : [];
  return ipamOverview(config.ipamMode, shown, nodes.items, endpoints.items);
}

/** `ipam`: pools, blocks per node and how full they are, of the whole cluster. */
export function addIpam(program: Command): void {
  program
    .command('ipam')
    .description('pools, blocks of each node and how full they are')
    .option('--kubeconfig <file>', 'the cluster ($KUBECONFIG; else the only running lab’s)')
    .option('-o, --output <format>', 'json or yaml')
    .action(async (_: unknown, command: Command) => {
      const { withCluster } = await import('../objects/connect.ts');
      const given = options<ClusterOptions & { output?: string }>(command);
      await withCluster(given, async ({ client }) => {
        const overview = await gather(client);
        await present(overview, given.output, () => formatIpam(overview));
      });
    });
}
