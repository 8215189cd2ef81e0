import type { Command } from 'commander';
import type { FlushableTable } from '../../api/bpf.ts';
import { parseEndpointId } from '../../api/types.ts';
import { FimbriaError } from '../../base/errors.ts';
import { type AgentOptions, agentClient, agentCommand, options } from '../context.ts';
import * as tables from '../format/bpf-tables.ts';
import { present } from '../format/output.ts';

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
  addLoadBalancing(bpf);
  const ct = bpf.command('ct').description('connection tracking');
  agentCommand(ct, 'list [scope]', 'flows; the scope is always `global`')
    .alias('ls')
    .option('-d, --time-diff', 'also how long each has left')
    .action(async (scope: string | undefined, _: unknown, command: Command) => {
      requireGlobal(scope);
      const rows = await agentClient(command).bpf('ct');
      const { timeDiff } = options<{ timeDiff?: boolean }>(command);
      await present(rows, output(command), () => tables.bpfCtLines(rows, timeDiff));
    });
  addFlush(
    ct,
    'ct',
    'forgets every flow: replies of services to clients outside are lost for flows that are open, and pods with policy ' +
      'need a rule for answers',
  );
  const nat = bpf.command('nat').description('address translation');
  agentCommand(nat, 'list', 'translated flows')
    .alias('ls')
    .action(async (_: unknown, command: Command) => {
      const rows = await agentClient(command).bpf('nat');
      await present(rows, output(command), () => tables.bpfNatLines(rows));
    });
  addFlush(nat, 'nat', 'forgets every translation: masqueraded connections that are open break');
  agentCommand(
    bpf.command('l2-responder').description('addresses that this node announces'),
    'list',
    'addresses that ARP is answered for, by device',
  )
    .alias('ls')
    .action(async (_: unknown, command: Command) => {
      const rows = await agentClient(command).bpf('l2-responder');
      await present(rows, output(command), () => tables.bpfResponderTable(rows));
    });
  agentCommand(
    bpf.command('ipmasq').description('destinations that are not masqueraded'),
    'list',
    'prefixes that pods reach with their own address',
  )
    .alias('ls')
    .action(async (_: unknown, command: Command) => {
      const rows = await agentClient(command).bpf('ipmasq');
      await present(rows, output(command), () => tables.bpfIpmasqTable(rows));
    });
}

interface LbOptions extends AgentOptions {
  frontends?: boolean;
  backends?: boolean;
  revnat?: boolean;
  sourceRanges?: boolean;
  affinity?: boolean;
  maglev?: boolean;
}

/** What of the load balancer a command line asks for. */
const LB_PARTS = ['frontends', 'backends', 'revnat', 'sourceRanges', 'affinity', 'maglev'] as const;

function addLoadBalancing(bpf: Command): void {
  const lb = bpf.command('lb').description('load balancing');
  agentCommand(lb, 'list', 'frontends and their backends')
    .alias('ls')
    .option('--frontends', 'only frontends')
    .option('--backends', 'backends by their numbers')
    .option('--revnat', 'frontends by their numbers: what replies come from')
    .option('--source-ranges', 'who may use a frontend')
    .option('--affinity', 'which backend a client was given')
    .option('--maglev', 'shares of look-up tables')
    .action(async (_: unknown, command: Command) => {
      const given = options<LbOptions>(command);
      const parts = LB_PARTS.filter(part => given[part]);
      if (parts.length > 1)
        throw new FimbriaError({
          code: 'USAGE',
          op: 'list',
          object: parts.join(' and '),
          why: 'they are different tables',
          hint: 'ask for one at a time',
        });
      await listLoadBalancing(command, parts[0]);
    });
  const maglev = lb.command('maglev').description('look-up tables of Maglev');
  agentCommand(maglev, 'list', 'how many places each backend has')
    .alias('ls')
    .action(async (_: unknown, command: Command) => listLoadBalancing(command, 'maglev'));
  agentCommand(maglev, 'get <id>', 'the table of one service, by the ID of `service list`').action(
    async (id: string, _: unknown, command: Command) => {
      const found = (await agentClient(command).bpf('lb-maglev')).filter(row => `${row.revNat}` === id);
      if (found.length === 0)
        throw new FimbriaError({
          code: 'NOT_FOUND',
          op: 'get Maglev table of service',
          object: id,
          why: 'there is none',
          hint: 'see `fimbria bpf lb maglev list`; loadBalancer.algorithm: maglev makes them',
        });
      await present(found, output(command), () => tables.bpfMaglevTables(found));
    },
  );
}

async function listLoadBalancing(
  command: Command,
  part: (typeof LB_PARTS)[number] | undefined,
): Promise<void> {
  const client = agentClient(command);
  const format = output(command);
  switch (part) {
    case 'backends': {
      const rows = await client.bpf('lb-backends');
      return await present(rows, format, () => tables.bpfBackendTable(rows));
    }
    case 'revnat': {
      const rows = await client.bpf('lb-revnat');
      return await present(rows, format, () => tables.bpfRevNatTable(rows));
    }
    case 'sourceRanges': {
      const rows = await client.bpf('lb-source-ranges');
      return await present(rows, format, () => tables.bpfSourceRangeTable(rows));
    }
    case 'affinity': {
      const rows = await client.bpf('lb-affinity');
      return await present(rows, format, () => tables.bpfAffinityTable(rows));
    }
    case 'maglev': {
      const rows = await client.bpf('lb-maglev');
      return await present(rows, format, () => tables.bpfMaglevTable(rows));
    }
    default: {
      const all = await client.bpf('lb');
      const rows = part === 'frontends' ? all.filter(row => row.slot === 0) : all;
      return await present(rows, format, () => tables.bpfLbTable(rows));
    }
  }
}

function requireGlobal(scope: string | undefined): void {
  if (scope === undefined || scope === 'global') return;
  throw new FimbriaError({
    code: 'USAGE',
    op: 'use',
    object: `scope '${scope}'`,
    why: 'all flows of a node are in one table',
    hint: 'use `global`, or nothing',
  });
}

function addFlush(parent: Command, table: FlushableTable, what: string): void {
  agentCommand(parent, 'flush [scope]', what).action(
    async (scope: string | undefined, _: unknown, command: Command) => {
      requireGlobal(scope);
      const flushed = await agentClient(command).bpfFlush(table);
      await present(flushed, output(command), () =>
        flushed.map(({ map, entries }) => `Flushed ${entries} entries from ${map}\n`).join(''),
      );
    },
  );
}
