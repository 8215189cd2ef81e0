import type { Command } from 'commander';
import { parseEndpointId } from '../../api/types.ts';
import { FimbriaError } from '../../base/errors.ts';
import { type AgentOptions, agentClient, agentCommand, options } from '../context.ts';
import { present } from '../format/output.ts';
import * as tables from '../format/tables.ts';

const output = (command: Command): string | undefined => options<AgentOptions>(command).output;

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
  agentCommand(bpf.command('lb').description('load balancing'), 'list', 'frontends and their backends')
    .alias('ls')
    .action(async (_: unknown, command: Command) => {
      const rows = await agentClient(command).bpf('lb');
      await present(rows, output(command), () => tables.bpfLbTable(rows));
    });
  agentCommand(
    bpf.command('ct').description('connection tracking'),
    'list [scope]',
    'flows; the scope is always `global`',
  )
    .alias('ls')
    .action(async (_scope: unknown, _: unknown, command: Command) => {
      const rows = await agentClient(command).bpf('ct');
      await present(rows, output(command), () => tables.bpfCtLines(rows));
    });
  agentCommand(bpf.command('nat').description('address translation'), 'list', 'translated flows')
    .alias('ls')
    .action(async (_: unknown, command: Command) => {
      const rows = await agentClient(command).bpf('nat');
      await present(rows, output(command), () => tables.bpfNatLines(rows));
    });
}
