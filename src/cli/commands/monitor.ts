import type { Command } from 'commander';
import { MONITOR_TYPES, type MonitorFilter, type MonitorType } from '../../api/types.ts';
import { FimbriaError } from '../../base/errors.ts';
import { type AgentOptions, agentClient, agentCommand, options } from '../context.ts';
import { print, unknownFormat } from '../format/output.ts';

interface MonitorOptions extends AgentOptions {
  type?: MonitorType[];
  from?: number[];
  to?: number[];
  relatedTo?: number[];
  json?: boolean;
  verbose?: boolean;
  hex?: boolean;
}

function collectTypes(value: string, earlier: MonitorType[] = []): MonitorType[] {
  const types = value.split(',').map(name => {
    const type = MONITOR_TYPES.find(known => known === name);
    if (type !== undefined) return type;
    throw new FimbriaError({
      code: 'USAGE',
      op: 'use',
      object: `--type ${name}`,
      why: 'there is no such type',
      hint: `use one of ${MONITOR_TYPES.join(', ')}`,
    });
  });
  return [...earlier, ...types];
}

function collectIds(value: string, earlier: number[] = []): number[] {
  if (/^\d{1,5}(,\d{1,5})*$/.test(value)) return [...earlier, ...value.split(',').map(Number)];
  throw new FimbriaError({
    code: 'USAGE',
    op: 'use',
    object: `'${value}'`,
    why: 'it is not an endpoint id',
    hint: 'see `fimbria endpoint list`',
  });
}

/** `monitor`: events of the datapath until Ctrl-C, one a line. */
export function addMonitor(program: Command): void {
  agentCommand(program, 'monitor', 'events of the datapath as they happen', false)
    .option('-t, --type <types>', `only these, comma-separated: ${MONITOR_TYPES.join(', ')}`, collectTypes)
    .option('--from <ids>', 'only from these endpoints', collectIds)
    .option('--to <ids>', 'only to these endpoints', collectIds)
    .option('--related-to <ids>', 'only from or to these endpoints', collectIds)
    .option('-v, --verbose', "with the packet's layers")
    .option('--hex', "with the packet's bytes")
    .option('-j, --json', 'the same as -o json')
    .option('-o, --output <format>', 'json: one object a line')
    .action(async (_: unknown, command: Command) => {
      const given = options<MonitorOptions>(command);
      const format = given.json ? 'json' : given.output;
      if (format !== undefined && format !== 'json') throw unknownFormat(format, ['json']);
      const abort = new AbortController();
      const stop = (): void => abort.abort();
      process.once('SIGINT', stop);
      process.once('SIGTERM', stop);
      const filter: MonitorFilter = {
        ...(given.type && { types: given.type }),
        ...(given.from && { from: given.from }),
        ...(given.to && { to: given.to }),
        ...(given.relatedTo && { related: given.relatedTo }),
        ...(given.hex ? { packets: 'hex' } : given.verbose ? { packets: 'layers' } : {}),
      };
      // Printed when the agent is listening, so that a script knows from when on nothing is missed.
      const onOpen = async (): Promise<void> => {
        if (format === undefined) await print('Press Ctrl-C to quit\n');
      };
      for await (const event of agentClient(command).monitor(filter, abort.signal, onOpen)) {
        await print(format === 'json' ? `${JSON.stringify(event)}\n` : `${event.text}\n`);
      }
      if (!abort.signal.aborted) {
        throw new FimbriaError({
          code: 'AGENT_UNREACHABLE',
          op: 'monitor',
          why: 'the agent ended the stream',
          hint: 'start `fimbria monitor` again when it is back',
        });
      }
    });
}
