import type { Command } from 'commander';
import { parseEndpointId } from '../../api/types.ts';
import { FimbriaError } from '../../base/errors.ts';
import type { ConfigMap } from '../../model/types.ts';
import { type AgentOptions, agentClient, agentCommand, options } from '../context.ts';
import { present, print } from '../format/output.ts';
import * as tables from '../format/tables.ts';
import { withCluster } from '../objects/connect.ts';
import { addService } from './service.ts';

const output = (command: Command): string | undefined => options<AgentOptions>(command).output;

function addEndpoint(program: Command): void {
  const endpoint = program.command('endpoint').alias('ep').description('endpoints of this node');
  agentCommand(endpoint, 'list', 'all endpoints')
    .alias('ls')
    .action(async (_: unknown, command: Command) => {
      const endpoints = (await agentClient(command).endpoints()).toSorted((a, b) => a.id - b.id);
      await present(endpoints, output(command), () => tables.endpointTable(endpoints));
    });
  agentCommand(
    endpoint,
    'get <id>',
    'one endpoint: ID, pod-name:NS/NAME, ipv4:ADDRESS or container-id:ID',
  ).action(async (id: string, _: unknown, command: Command) => {
    if (parseEndpointId(id) === undefined) {
      throw new FimbriaError({
        code: 'USAGE',
        op: 'use',
        object: `'${id}'`,
        why: 'it is not an endpoint id',
        hint: 'use a number, pod-name:NS/NAME, ipv4:ADDRESS or container-id:ID',
      });
    }
    const found = await agentClient(command).endpoint(id);
    if (found === undefined) {
      throw new FimbriaError({
        code: 'NOT_FOUND',
        op: 'get endpoint',
        object: id,
        why: 'this node has none',
        hint: 'see `fimbria endpoint list`',
      });
    }
    await present([found], output(command) ?? 'json', () => '');
  });
}

function addConfig(program: Command): void {
  const config = agentCommand(
    program,
    'config',
    'configuration in force; alone, what can change at run time',
  );
  config.action(async (_: unknown, command: Command) => {
    const found = await agentClient(command).config();
    await present(found.status.realized, output(command), () => tables.configOptions(found));
  });
  agentCommand(config, 'view', 'all settings under Cilium’s flat keys')
    .option('--cluster', 'of the cluster’s ConfigMap instead of the agent here')
    .option('--kubeconfig <file>', 'with --cluster: which ($KUBECONFIG)')
    .option('-n, --namespace <name>', 'with --cluster: where it is installed', 'kube-system')
    .action(async (_: unknown, command: Command) => {
      const given = options<AgentOptions & { cluster?: boolean; kubeconfig?: string; namespace: string }>(
        command,
      );
      const flat = given.cluster
        ? await withCluster(given, async ({ client }) => {
            const map = await client.get<ConfigMap>('ConfigMap', 'cilium-config', given.namespace);
            return map.data ?? {};
          })
        : (await agentClient(command).config()).flat;
      await present(flat, output(command), () => tables.configView(flat));
    });
}

/** The commands that list what the agent knows: endpoints, configuration, nodes, identities, addresses, maps. */
export function addAgentLists(program: Command): void {
  addEndpoint(program);
  addConfig(program);
  agentCommand(program.command('node').description('nodes of the cluster'), 'list', 'all nodes')
    .alias('ls')
    .action(async (_: unknown, command: Command) => {
      const nodes = await agentClient(command).nodes();
      await present(nodes, output(command), () => tables.nodeTable(nodes));
    });
  const identity = program.command('identity').alias('id').description('security identities');
  agentCommand(identity, 'list', 'all identities')
    .alias('ls')
    .action(async (_: unknown, command: Command) => {
      const identities = (await agentClient(command).identities()).toSorted((a, b) => a.id - b.id);
      await present(identities, output(command), () => tables.identityTable(identities));
    });
  agentCommand(program.command('ip').description('addresses and their identities'), 'list', 'all prefixes')
    .alias('ls')
    .option('-n, --numeric', 'identities as numbers')
    .action(async (_: unknown, command: Command) => {
      const ips = await agentClient(command).ips();
      const numeric = options<{ numeric?: boolean }>(command).numeric ?? false;
      await present(ips, output(command), () => tables.ipTable(ips, numeric));
    });
  addService(program);
  agentCommand(program.command('map').description('eBPF maps of the agent'), 'list', 'all maps')
    .alias('ls')
    .action(async (_: unknown, command: Command) => {
      const maps = await agentClient(command).maps();
      await present(maps, output(command), () => tables.mapTable(maps));
    });
  agentCommand(program, 'version', 'version of this program and of the agent', false).action(
    async (_: unknown, command: Command) => {
      const { packageVersion } = await import('../../base/paths.ts');
      await print(`Client: ${packageVersion()} linux/${process.arch}\n`);
      const daemon = await agentClient(command)
        .healthz({ brief: true })
        .then(status => status['cilium-version'])
        .catch(() => 'not reachable');
      await print(`Daemon: ${daemon}\n`);
    },
  );
}
