import type { Command } from 'commander';
import type { ApiClient } from '../../api/client.ts';
import type { StatusResponse } from '../../api/types.ts';
import { codeOf, FimbriaError, messageOf } from '../../base/errors.ts';
import { type AgentOptions, agentClient, agentCommand, options } from '../context.ts';
import { parseDuration } from '../format/duration.ts';
import { present, print } from '../format/output.ts';
import { firstProblem, formatBrief, formatStatus } from '../format/status.ts';

/** How often `--wait` asks again. */
const POLL_INTERVAL_MS = 250;

interface StatusOptions extends AgentOptions {
  verbose?: boolean;
  allAddresses?: boolean;
  brief?: boolean;
  wait?: boolean;
  waitDuration: string;
}

/** Asks until nothing is wrong any more. Throws TIMEOUT with the last problem when `durationMs` is over. */
async function waitUntilWell(client: ApiClient, durationMs: number): Promise<StatusResponse> {
  const deadline = performance.now() + durationMs;
  for (;;) {
    let problem: string;
    try {
      const status = await client.healthz();
      const found = firstProblem(status);
      if (found === undefined) return status;
      problem = found;
    } catch (error) {
      if (!['AGENT_UNREACHABLE', 'UNAVAILABLE', 'TIMEOUT'].includes(codeOf(error) ?? '')) throw error;
      problem = messageOf(error);
    }
    if (performance.now() >= deadline) {
      throw new FimbriaError({
        code: 'TIMEOUT',
        op: 'wait for agent',
        why: problem,
        hint: `waited ${durationMs / 1000} s; look at the agent's log, or wait longer with --wait-duration`,
      });
    }
    await new Promise(resolve => setTimeout(resolve, POLL_INTERVAL_MS));
  }
}

/** `status`. Exits 1 when the agent says that it is not well. */
export function addStatus(program: Command): void {
  agentCommand(program, 'status', 'state of the agent and of all it runs')
    .option('--verbose', 'also addresses, controllers, maps and the probes of every node')
    .option('--all-addresses', 'the same as --verbose')
    .option('--brief', 'only OK or the first error')
    .option('--wait', 'wait until all is well')
    .option('--wait-duration <duration>', 'how long to wait at most', '60s')
    .action(async (_: unknown, command: Command) => {
      const given = options<StatusOptions>(command);
      const client = agentClient(command);
      const status = given.wait
        ? await waitUntilWell(client, parseDuration(given.waitDuration))
        : await client.healthz({ brief: given.brief ?? false });
      const verbose = (given.verbose ?? given.allAddresses) === true;
      if (given.brief) await print(formatBrief(status));
      else await present(status, given.output, () => formatStatus(status, { verbose, now: Date.now() }));
      const isWell = given.brief ? firstProblem(status) === undefined : status.cilium.state === 'Ok';
      if (!isWell) process.exitCode = 1;
    });
}
