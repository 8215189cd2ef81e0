import { dirname, join } from 'node:path';
import type { Command } from 'commander';
import { FimbriaError } from '../../base/errors.ts';
import type { ConnectivityReport, Target } from '../../connectivity/types.ts';
import { options } from '../context.ts';
import { formatConnectivity } from '../format/connectivity.ts';
import { present, print } from '../format/output.ts';
import { interruptible } from '../interruptible.ts';
import { findKubeconfig, LABS_ROOT } from '../objects/connect.ts';

const DEFAULT_PORT = '24240';
const HIGHEST_PORT = 65_535;

interface TestOptions {
  kubeconfig?: string;
  lab?: string;
  namespace: string;
  testNamespace: string;
  allModes?: boolean;
  nodes?: string;
  image?: string;
  outside?: string;
  port: string;
  output?: string;
}

function usage(object: string, why: string): FimbriaError {
  return new FimbriaError({ code: 'USAGE', op: 'use', object, why });
}

function portOf(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port > 0 && port <= HIGHEST_PORT) return port;
  throw usage(`--port ${text}`, `it is no number from 1 to ${HIGHEST_PORT}`);
}

/** The lab whose kubeconfig it is; undefined for a real cluster's. Pure. */
export function labOf(kubeconfig: string): string | undefined {
  const folder = dirname(kubeconfig);
  return dirname(folder) === LABS_ROOT ? folder.slice(LABS_ROOT.length + 1) : undefined;
}

async function test(given: TestOptions): Promise<ConnectivityReport> {
  const port = portOf(given.port);
  const kubeconfig = given.lab ? join(LABS_ROOT, given.lab, 'kubeconfig') : findKubeconfig(given.kubeconfig);
  const lab = labOf(kubeconfig);
  if (lab === undefined && given.allModes) {
    throw usage('--all-modes', 'a cluster is tried in the mode that it runs in; only a lab is changed');
  }
  if (lab !== undefined && (given.outside ?? given.image) !== undefined) {
    throw usage(given.outside ? '--outside' : '--image', 'a lab has its own');
  }
  const wanted = {
    namespace: given.testNamespace,
    port,
    ...(given.nodes === undefined ? {} : { nodes: given.nodes.split(',').filter(Boolean) }),
  };
  const { connectivityTest } = await import('../../connectivity/test.ts');
  return interruptible(async waiting => {
    if (lab !== undefined) {
      const { labStage } = await import('../../lab/connectivity.ts');
      const stage = labStage(lab, { allModes: given.allModes ?? false, port });
      try {
        return await connectivityTest(stage, wanted, waiting);
      } finally {
        stage.dispose();
      }
    }
    const [{ createClient, loadKubeconfig }, { clusterStage }] = await Promise.all([
      import('../../cluster/index.ts'),
      import('../../connectivity/cluster-stage.ts'),
    ]);
    const client = createClient(loadKubeconfig(kubeconfig));
    try {
      const { namespace, image, outside } = given;
      const stage = await clusterStage(client, {
        namespace,
        ...(image === undefined ? {} : { image }),
        ...(outside === undefined ? {} : { outside }),
      });
      return await connectivityTest(stage, wanted, waiting);
    } finally {
      client.close();
    }
  });
}

/** The commands of the test's own Pods; not for people. */
function addProbers(connectivity: Command): void {
  connectivity
    .command('serve', { hidden: true })
    .description('sends back what comes in by TCP and UDP')
    .option('--address <address>', 'IPv4, its own', '0.0.0.0')
    .option('--port <port>', 'TCP and UDP', DEFAULT_PORT)
    .option('--while-stdin', 'end with standard input')
    .action(async (given: { address: string; port: string; whileStdin?: boolean }) => {
      const { serve } = await import('../../connectivity/server.ts');
      const ended = new AbortController();
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => ended.abort());
      if (given.whileStdin) process.stdin.resume().once('close', () => ended.abort());
      await serve(given.address, portOf(given.port), ended.signal);
    });
  connectivity
    .command('probe', { hidden: true })
    .description('tries targets, and prints a line of JSON for each probe')
    .requiredOption('--targets <json>', 'what to try')
    .action(async (given: { targets: string }) => {
      const { probe } = await import('../../connectivity/prober.ts');
      await probe(
        JSON.parse(given.targets) as Target[],
        outcome => void print(`${JSON.stringify(outcome)}\n`),
      );
    });
}

/** `connectivity test`: whether packets go every way that they must. Exits 1 when one does not. */
export function addConnectivity(program: Command): void {
  const connectivity = program
    .command('connectivity')
    .description('whether packets go every way that they must');
  connectivity
    .command('test')
    .description('tries ping, TCP, UDP, MTU and a transfer between pods, nodes and outside, both ways')
    .option('--kubeconfig <file>', 'the cluster ($KUBECONFIG; else the only running lab’s)')
    .option('--lab <name>', 'a lab by its name')
    .option('--all-modes', 'lab: through every routing mode by `lab upgrade`, and back')
    .option('--nodes <names>', 'which nodes: w1,w2 (default: the first two that are ready)')
    .option('--image <image>', 'image of the test’s pods (default: the agents’)')
    .option('--outside <address>', 'a host outside the cluster: ADDRESS, or ADDRESS:PORT for TCP too')
    .option('--port <port>', 'TCP and UDP port of the test’s servers, on the nodes too', DEFAULT_PORT)
    .option('-n, --namespace <namespace>', 'where the agents are', 'kube-system')
    .option('--test-namespace <namespace>', 'where the test’s pods are; deleted afterwards', 'cilium-test')
    .option('-o, --output <format>', 'json or yaml')
    .action(async (_: unknown, command: Command) => {
      const given = options<TestOptions>(command);
      const report = await test(given);
      await present(report, given.output, () => formatConnectivity(report));
      if (!report.ok) process.exitCode = 1;
    });
  addProbers(connectivity);
}
