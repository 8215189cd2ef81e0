import type { Command } from 'commander';
import { parseEndpointId } from '../../api/types.ts';
import { FimbriaError } from '../../base/errors.ts';
import { type AgentOptions, agentClient, agentCommand, options } from '../context.ts';
import { present } from '../format/output.ts';
import * as tables from '../format/tables.ts';

const output = (command: Command): string | undefined => options<AgentOptions>(command).output;

/** Tables that Cilium has and that nothing here fills yet: name, what it would show, which feature brings it. */
const NOT_BUILT: [string, string, string][] = [
  ['ct', 'connection tracking', 'services and policy'],
  ['lb', 'load balancing', 'kubeProxyReplacement'],
  ['nat', 'address translation', 'bpf.masquerade'],
];

function addNotBuilt(bpf: Command, name: string, what: string, feature: string): void {
  agentCommand(
    bpf.command(name).description(`${what} table (not built yet)`),
    'list [scope]',
    `the ${what} table`,
  )
    .alias('ls')
    .action(() => {
      throw new FimbriaError({
        code: 'NOT_IMPLEMENTED',
        op: 'list',
        object: `${what} table`,
        why: 'not built yet',
        hint: `it comes with ${feature}`,
      });
    });
}

/** The endpoint's number, which is also the slot of its policy map. */
async function endpointNumber(command: Command, id: string): Promise<string> {
  if (parseEndpointId(id)?.prefix === 'cilium-local') return id.replace('cilium-local:', '');
  const found = await agentClient(command).endpoint(id);
  if (found) return String(found.id);
  throw new FimbriaError({
    code: 'NOT_FOUND',
    op: 'get policy of endpoint',
    object: id,
    why: 'this node has none',
    hint: 'see `fimbria endpoint list`',
  });
}

/** `bpf …`: the content of the eBPF tables. */
export function addBpf(program: Command): void {
  const bpf = program.command('bpf').description('content of the eBPF tables');
  agentCommand(bpf.command('endpoint').description('local addresses'), 'list', 'the table of local addresses')
    .alias('ls')
    .action(async (_: unknown, command: Command) => {
      const rows = await agentClient(command).bpf('endpoint');
      await present(rows, output(command), () => tables.bpfEndpointTable(rows));
    });
  agentCommand(bpf.command('ipcache').description('who lives where'), 'list', 'the table of prefixes')
    .alias('ls')
    .action(async (_: unknown, command: Command) => {
      const rows = await agentClient(command).bpf('ipcache');
      await present(rows, output(command), () => tables.bpfIpcacheTable(rows));
    });
  agentCommand(
    bpf.command('metrics').description('packet counters'),
    'list',
    'packets by verdict, direction, place',
  )
    .alias('ls')
    .action(async (_: unknown, command: Command) => {
      const rows = await agentClient(command).bpf('metrics');
      await present(rows, output(command), () => tables.bpfMetricsTable(rows));
    });
  const policy = bpf.command('policy').description('policy maps');
  agentCommand(policy, 'get <endpoint>', 'the policy map of one endpoint').action(
    async (id: string, _: unknown, command: Command) => {
      const rows = await agentClient(command).bpf('policy', await endpointNumber(command, id));
      await present(rows, output(command), () => tables.bpfPolicyTable(rows));
    },
  );
  agentCommand(policy, 'list', 'the policy maps of all endpoints')
    .alias('ls')
    .action(async (_: unknown, command: Command) => {
      const client = agentClient(command);
      const ids = (await client.endpoints()).map(endpoint => endpoint.id).toSorted((a, b) => a - b);
      const all = await Promise.all(
        ids.map(async id => ({ id, rows: await client.bpf('policy', String(id)) })),
      );
      await present(
        all.flatMap(({ rows }) => rows),
        output(command),
        () => all.map(({ id, rows }) => `Endpoint ID: ${id}\n\n${tables.bpfPolicyTable(rows)}\n`).join(''),
      );
    });
  for (const [name, what, feature] of NOT_BUILT) addNotBuilt(bpf, name, what, feature);
}
