import type { Command } from 'commander';
import type { ApiClient } from '../../api/client.ts';
import type { StatusResponse } from '../../api/types.ts';
import { codeOf, FimbriaError, messageOf } from '../../base/errors.ts';
import { type AgentOptions, agentClient, agentCommand, options } from '../context.ts';
import { formatClusterStatus } from '../format/cluster-status.ts';
import { parseDuration } from '../format/duration.ts';
import { present, print } from '../format/output.ts';
import { firstProblem, formatBrief, formatStatus } from '../format/status.ts';
import { findKubeconfig, withCluster } from '../objects/connect.ts';

/** How often `--wait` asks again. */
const POLL_INTERVAL_MS = 250;
const CLUSTER_POLL_INTERVAL_MS = 1_000;

interface StatusOptions extends AgentOptions {
  verbose?: boolean;
  allAddresses?: boolean;
  brief?: boolean;
  wait?: boolean;
  waitDuration?: string;
  cluster?: boolean;
  kubeconfig?: string;
  namespace: string;
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

/** On a machine without an agent but with a cluster, people may mean the cluster's. */
function withClusterHint(error: unknown): unknown {
  if (!(error instanceof FimbriaError) || error.code !== 'AGENT_UNREACHABLE') return error;
  try {
    findKubeconfig(undefined);
  } catch {
    return error;
  }
  const { code, op, object, why, hint } = error;
  const more = `${hint}; for the whole cluster: fimbria status --cluster`;
  return new FimbriaError({ code, op, ...(object ? { object } : {}), why, hint: more, cause: error });
}

/** The cluster's summary. Exits 1 when something is wrong. */
async function clusterStatus(given: StatusOptions): Promise<void> {
  const { readClusterStatus, firstClusterProblem } = await import('../../install/cluster-status.ts');
  const deadline = performance.now() + (given.wait ? parseDuration(given.waitDuration ?? '5m') : 0);
  await withCluster({ ...(given.kubeconfig ? { kubeconfig: given.kubeconfig } : {}) }, async ({ client }) => {
    let status = await readClusterStatus(client, given.namespace);
    while (firstClusterProblem(status) !== undefined && performance.now() < deadline) {
      await new Promise(resolve => setTimeout(resolve, CLUSTER_POLL_INTERVAL_MS));
      status = await readClusterStatus(client, given.namespace);
    }
    const colour = process.stdout.isTTY === true && !process.env['NO_COLOR'];
    await present(status, given.output, () => formatClusterStatus(status, colour));
    if (firstClusterProblem(status) !== undefined) process.exitCode = 1;
  });
}

/** `status`. Exits 1 when the agent says that it is not well. */
export function addStatus(program: Command): void {
  agentCommand(program, 'status', 'state of the agent and of all it runs')
    .option('--verbose', 'also addresses, controllers, maps and the probes of every node')
    .option('--all-addresses', 'the same as --verbose')
    .option('--brief', 'only OK or the first error')
    .option('--cluster', 'of the whole cluster instead: agents and operator')
    .option('--kubeconfig <file>', 'with --cluster: which ($KUBECONFIG)')
    .option('-n, --namespace <name>', 'with --cluster: where it is installed', 'kube-system')
    .option('--wait', 'wait until all is well')
    .option('--wait-duration <duration>', 'how long to wait at most (default: 60s; 5m with --cluster)')
    .action(async (_: unknown, command: Command) => {
      const given = options<StatusOptions>(command);
      if (given.cluster) return clusterStatus(given);
      const client = agentClient(command);
      const status = await (given.wait
        ? waitUntilWell(client, parseDuration(given.waitDuration ?? '60s'))
        : client.healthz({ brief: given.brief ?? false })
      ).catch(error => Promise.reject(given.socket ? error : withClusterHint(error)));
      const verbose = (given.verbose ?? given.allAddresses) === true;
      if (given.brief) await print(formatBrief(status));
      else await present(status, given.output, () => formatStatus(status, { verbose, now: Date.now() }));
      const isWell = given.brief ? firstProblem(status) === undefined : status.cilium.state === 'Ok';
      if (!isWell) process.exitCode = 1;
    });
}
