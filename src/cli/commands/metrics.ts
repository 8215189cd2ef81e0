import type { Command } from 'commander';
import { FimbriaError, messageOf } from '../../base/errors.ts';
import { type AgentOptions, agentClient, agentCommand, options } from '../context.ts';
import { metricsTable, parseMetrics } from '../format/metrics.ts';
import { present } from '../format/output.ts';

function expression(pattern: string): RegExp {
  try {
    return new RegExp(pattern);
  } catch (error) {
    throw new FimbriaError({
      code: 'USAGE',
      op: 'use',
      object: `pattern '${pattern}'`,
      why: messageOf(error),
    });
  }
}

/** `metrics list`: what the agent would tell Prometheus, without a port. */
export function addMetrics(program: Command): void {
  agentCommand(program.command('metrics').description('what the agent counts'), 'list', 'all metrics')
    .alias('ls')
    .option('-p, --match-pattern <regexp>', 'only metrics whose name matches')
    .action(async (_: unknown, command: Command) => {
      const given = options<AgentOptions & { matchPattern?: string }>(command);
      const wanted = expression(given.matchPattern ?? '');
      const metrics = parseMetrics(await agentClient(command).metrics()).filter(m => wanted.test(m.name));
      await present(metrics, given.output, () => metricsTable(metrics));
    });
}
