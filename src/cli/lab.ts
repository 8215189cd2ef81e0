import { Command } from 'commander';
import { FimbriaError } from '../base/errors.ts';
import { parseDuration } from './format/duration.ts';
import { present, print } from './format/output.ts';
import { table } from './format/tabwriter.ts';
import { interruptible } from './interruptible.ts';

/** Modules of the lab are loaded by the action that needs them: most commands need few. */
const lab = {
  daemons: () => import('../lab/daemons.ts'),
  down: () => import('../lab/down.ts'),
  exec: () => import('../lab/exec.ts'),
  names: () => import('../lab/names.ts'),
  pods: () => import('../lab/pods.ts'),
  state: () => import('../lab/state.ts'),
  status: () => import('../lab/status.ts'),
  text: () => import('../lab/text.ts'),
  up: () => import('../lab/up.ts'),
  upgrade: () => import('../lab/upgrade.ts'),
  values: () => import('../lab/values.ts'),
};

const DEFAULT_LAB = 'default';
const DEFAULT_NODES = '3';

const collect = (value: string, before: string[]): string[] => [...before, value];

/** A subcommand with `--lab`, which may also stand before it. */
function add(parent: Command, nameAndArgs: string, summary: string): Command {
  return parent.command(nameAndArgs).description(summary).option('--lab <name>', 'which lab ($FIMBRIA_LAB)');
}

/** The lab that the command line or the environment names. */
async function labName(command: Command): Promise<string> {
  const { checkLabName } = await lab.names();
  for (let at: Command | null = command; at !== null; at = at.parent) {
    const given = at.opts()['lab'];
    if (typeof given === 'string') return checkLabName(given);
  }
  return checkLabName(process.env['FIMBRIA_LAB'] || DEFAULT_LAB);
}

/** `a=b` pairs as an object. */
function pairs(what: string, given: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    given.map(pair => {
      const at = pair.indexOf('=');
      if (at > 0) return [pair.slice(0, at), pair.slice(at + 1)];
      throw new FimbriaError({
        code: 'USAGE',
        op: 'read',
        object: `--${what} ${pair}`,
        why: 'it is not KEY=VALUE',
      });
    }),
  );
}

function addValues(command: Command): Command {
  return command
    .option('-f, --values <file>', 'Helm values as YAML; may be repeated', collect, [])
    .option('--set <expression>', "values in Helm's --set syntax; may be repeated", collect, []);
}

function addUpAndDown(parent: Command): void {
  addValues(add(parent, 'up', 'start a lab; prints the path of its kubeconfig'))
    .option('--nodes <nodes>', 'how many, or their names: ctr,w1,w2', DEFAULT_NODES)
    .action(async (options: { nodes: string; values: string[]; set: string[] }, command: Command) => {
      const name = await labName(command);
      const [{ labPaths, parseNodes }, { resolveValues }, { labUp }] = await Promise.all([
        lab.names(),
        lab.values(),
        lab.up(),
      ]);
      const nodes = parseNodes(options.nodes);
      const values = resolveValues(options.values, options.set);
      await interruptible(context => {
        for (const warning of values.warnings) context.progress(`warning: ${warning}`);
        return labUp(name, nodes, values, context);
      });
      await print(`${labPaths(name).kubeconfig}\n`);
    });
  addValues(add(parent, 'upgrade', 'change values; restarts operator and agents'))
    .option('--reset-values', 'begin from the defaults instead of the running values', false)
    .action(async (options: { values: string[]; set: string[]; resetValues: boolean }, command: Command) => {
      const name = await labName(command);
      const { labUpgrade } = await lab.upgrade();
      const change = { files: options.values, sets: options.set, reset: options.resetValues };
      await interruptible(context => labUpgrade(name, change, context));
    });
  add(parent, 'down', 'take a lab away, whatever is left of it').action(
    async (_: unknown, command: Command) => {
      const name = await labName(command);
      const { labDown } = await lab.down();
      await interruptible(() => labDown(name));
    },
  );
  add(parent, 'status', 'nodes and processes of a lab')
    .option('-o, --output <format>', 'json or yaml')
    .action(async (options: { output?: string }, command: Command) => {
      const name = await labName(command);
      const [{ labStatus }, { statusTable }] = await Promise.all([lab.status(), lab.text()]);
      const status = await labStatus(name);
      await present(status, options.output, () => table(statusTable(status)));
    });
}

interface PodAddOptions {
  node?: string;
  namespace: string;
  label: string[];
  annotation: string[];
  wait: string;
}

function addPods(parent: Command): void {
  const pod = parent.command('pod').description('pods of a lab').enablePositionalOptions();
  add(pod, 'add <name> [cmd...]', 'add a pod; with CMD after -- it runs that')
    .option('--node <node>', 'where; else the scheduler chooses')
    .option('-n, --namespace <namespace>', 'made when it is not there', 'default')
    .option('--label <key=value>', 'may be repeated', collect, [])
    .option('--annotation <key=value>', 'may be repeated', collect, [])
    .option('--wait <duration>', 'how long to wait until it runs; 0 not at all', '30s')
    .action(async (name: string, command: string[], options: PodAddOptions, self: Command) => {
      const labels = pairs('label', options.label);
      const annotations = pairs('annotation', options.annotation);
      const waitMs = parseDuration(options.wait);
      const { podAdd } = await lab.pods();
      const which = await labName(self);
      const { namespace, node } = options;
      const wanted = { name, namespace, labels, annotations, command, cwd: process.cwd(), waitMs };
      const row = await interruptible(context =>
        podAdd(which, node === undefined ? wanted : { ...wanted, node }, context),
      );
      await print(
        `${row.namespace}/${row.name} ${[row.phase, row.node, row.ip].filter(Boolean).join(' ')}\n`,
      );
    });
  add(pod, 'list', 'all pods')
    .option('-n, --namespace <namespace>', 'only of this namespace')
    .option('-o, --output <format>', 'json or yaml')
    .action(async (options: { namespace?: string; output?: string }, command: Command) => {
      const [{ podList }, { podTable }] = await Promise.all([lab.pods(), lab.text()]);
      const rows = await podList(await labName(command), options.namespace);
      await present(rows, options.output, () => table(podTable(rows)));
    });
  add(pod, 'delete <name>', 'delete a pod and wait until it is gone')
    .option('-n, --namespace <namespace>', 'where it is', 'default')
    .action(async (name: string, options: { namespace: string }, command: Command) => {
      const { podDelete } = await lab.pods();
      const which = await labName(command);
      await interruptible(context => podDelete(which, name, options.namespace, context));
    });
}

function addExec(parent: Command): void {
  add(
    parent,
    'exec <target> <cmd...>',
    'run a command in a node, in outside, or in pod NAME or NAMESPACE/NAME',
  )
    .passThroughOptions()
    .action(async (target: string, cmd: string[], _: unknown, command: Command) => {
      const { labExec } = await lab.exec();
      // What follows the target is passed through, the `--` that people set before it included.
      const line = cmd[0] === '--' ? cmd.slice(1) : cmd;
      process.exitCode = await labExec(await labName(command), target, line);
    });
}

function addDaemons(parent: Command): void {
  const node = parent.command('node').description("the nodes' agents; the datapath stays");
  const cluster = {
    operator: parent.command('operator').description('the operator'),
    apiserver: parent.command('apiserver').description('the API server; what runs goes on without it'),
    controllers: parent.command('controllers').description('scheduler, kubelets and the like'),
  };
  for (const [verb, how, summary] of [
    ['stop', 'SIGTERM', 'end it in good order'],
    ['kill', 'SIGKILL', 'end it at once'],
  ] as const) {
    add(node, `${verb} <name>`, summary).action(async (name: string, _: unknown, command: Command) => {
      await withNode(command, name, async (which, { stopDaemon }) =>
        stopDaemon(which, { role: 'agent', node: name }, how),
      );
    });
    for (const [role, commands] of entriesOf(cluster)) {
      add(commands, verb, summary).action(async (_: unknown, command: Command) => {
        await withDaemons(command, async (which, { stopDaemon }) => stopDaemon(which, { role }, how));
      });
    }
  }
  add(node, 'start <name>', 'start it; returns when it is ready').action(
    async (name: string, _: unknown, command: Command) => {
      await withNode(command, name, async (which, { startAgent }) => {
        await interruptible(context => startAgent(which, name, context));
      });
    },
  );
  for (const [role, commands] of entriesOf(cluster)) {
    add(commands, 'start', 'start it; returns when it is ready').action(
      async (_: unknown, command: Command) => {
        await withDaemons(command, async (which, { ensureOperator, ensureApiServer, ensureControllers }) => {
          const ensure = {
            operator: ensureOperator,
            apiserver: ensureApiServer,
            controllers: ensureControllers,
          };
          await interruptible(context => ensure[role](which, context));
        });
      },
    );
  }
}

const entriesOf = <K extends string, V>(record: Record<K, V>): [K, V][] => Object.entries(record) as [K, V][];

type Daemons = Awaited<ReturnType<typeof lab.daemons>>;

/** One change of a lab's daemons at a time. */
async function withDaemons(
  command: Command,
  work: (name: string, daemons: Daemons) => Promise<void>,
): Promise<void> {
  const [name, { requireLab, withLock }, daemons] = await Promise.all([
    labName(command),
    lab.state(),
    lab.daemons(),
  ]);
  await withLock(name, async () => {
    requireLab(name);
    await work(name, daemons);
  });
}

async function withNode(
  command: Command,
  node: string,
  work: (name: string, daemons: Daemons) => Promise<void>,
): Promise<void> {
  const { requireLab } = await lab.state();
  await withDaemons(command, async (name, daemons) => {
    const { nodes } = requireLab(name);
    if (nodes.some(n => n.name === node)) return work(name, daemons);
    throw new FimbriaError({
      code: 'NOT_FOUND',
      op: 'use',
      object: `node ${node}`,
      why: 'there is no such node',
      hint: `there is: ${nodes.map(n => n.name).join(', ')}`,
    });
  });
}

/** `fimbria lab …`: a cluster on one machine. */
export function labCommand(): Command {
  const command = new Command('lab')
    .description('a cluster on one machine, for learning and testing')
    .option('--lab <name>', `which lab ($FIMBRIA_LAB, else ${DEFAULT_LAB})`)
    .enablePositionalOptions();
  addUpAndDown(command);
  addPods(command);
  addExec(command);
  addDaemons(command);
  return command;
}

/** `fimbria lab-controllers`: the process that `lab up` starts; not for people. */
export function labControllersCommand(): Command {
  return new Command('lab-controllers')
    .description('scheduler and kubelets of a lab')
    .requiredOption('--lab <name>', 'which lab')
    .action(async (options: { lab: string }) => {
      const [
        { startControllers },
        { LabRuntime },
        { labPaths },
        { requireLab, readState },
        cluster,
        logs,
        paths,
        { loadConfigDir },
      ] = await Promise.all([
        import('../controllers/index.ts'),
        import('../lab/runtime.ts'),
        lab.names(),
        lab.state(),
        import('../cluster/index.ts'),
        import('../base/log.ts'),
        import('../base/paths.ts'),
        import('../config/index.ts'),
      ]);
      const config = loadConfigDir(labPaths(options.lab).configDir);
      const { nodes } = readState(options.lab) ?? requireLab(options.lab);
      await startControllers({
        client: cluster.createClient(labPaths(options.lab).localKubeconfig),
        runtime: new LabRuntime(options.lab),
        nodes,
        version: paths.packageVersion(),
        log: logs.createLogger(),
        ...(config.ipamMode === 'kubernetes'
          ? { nodeRanges: { cidrs: config.clusterPoolIpv4Cidrs, maskSize: config.clusterPoolIpv4MaskSize } }
          : {}),
      });
    });
}
