import type { Command } from 'commander';
import { FimbriaError } from '../../base/errors.ts';
import type { InstallContext } from '../../install/install.ts';
import { options } from '../context.ts';
import { parseDuration } from '../format/duration.ts';
import { print } from '../format/output.ts';
import { withCluster } from '../objects/connect.ts';

/** Options that name values. */
interface ValueFlags {
  values?: string[];
  set?: string[];
  namespace: string;
}

/** Options of what changes a cluster. */
interface ChangeFlags extends ValueFlags {
  kubeconfig?: string;
  wait: boolean;
  waitDuration: string;
}

const collect = (item: string, before: string[] = []): string[] => [...before, item];

/** Adds `-f`, `--set` and `-n`. */
function withValues(command: Command): Command {
  return command
    .option('-f, --values <file>', 'a file of Helm values; later ones win', collect)
    .option('--set <k=v>', 'a value, in Helm’s syntax', collect)
    .option('-n, --namespace <name>', 'the namespace', 'kube-system');
}

function changing(command: Command): Command {
  return command
    .option('--kubeconfig <file>', 'the cluster ($KUBECONFIG)')
    .option('--wait-duration <duration>', 'how long to wait at most', '5m');
}

/** Runs `work` with what it needs; the first Ctrl-C ends it between two requests. */
async function withContext(
  given: ChangeFlags,
  work: (context: InstallContext) => Promise<void>,
): Promise<void> {
  const abort = new AbortController();
  const interrupted = (): void => abort.abort();
  process.on('SIGINT', interrupted);
  try {
    await withCluster(given, ({ client }) =>
      work({
        client,
        namespace: given.namespace,
        say: line => void process.stdout.write(`${line}\n`),
        waitMs: given.wait === false ? 0 : parseDuration(given.waitDuration),
        signal: abort.signal,
      }),
    );
  } catch (error) {
    if (!abort.signal.aborted) throw error;
    throw new FimbriaError({
      code: 'INTERRUPTED',
      op: 'change',
      object: 'cluster',
      why: 'it was interrupted',
      hint: 'run the same command again to go on',
    });
  } finally {
    process.off('SIGINT', interrupted);
  }
}

/** `manifests`, `install`, `upgrade`, `uninstall`. */
export function addInstall(program: Command): void {
  withValues(program.command('manifests'))
    .description('everything that `install` applies, as YAML')
    .option('--kube-version <version>', 'the API server’s; before 1.31, definitions have no rules')
    .option('--no-crds', 'without CustomResourceDefinitions')
    .action(async (_: unknown, command: Command) => {
      const given = options<ValueFlags & { crds: boolean; kubeVersion?: string }>(command);
      const [{ render }, { loadValues }, { stringify }] = await Promise.all([
        import('../../install/render.ts'),
        import('../../config/index.ts'),
        import('yaml'),
      ]);
      const { crds, objects, warnings } = render(loadValues(given.values ?? [], given.set ?? []), {
        namespace: given.namespace,
        kubernetes: given.kubeVersion,
      });
      for (const warning of warnings) process.stderr.write(`warning: ${warning}\n`);
      const documents = [...(given.crds ? crds : []), ...objects];
      await print(
        documents.map(o => `---\n${stringify(o, { lineWidth: 0, aliasDuplicateObjects: false })}`).join(''),
      );
    });

  const sources = (given: ValueFlags) => ({ files: given.values ?? [], sets: given.set ?? [] });
  changing(withValues(program.command('install')))
    .description('install Fimbria on a Kubernetes cluster')
    .option('--no-wait', 'return when everything is applied')
    .action(async (_: unknown, command: Command) => {
      const given = options<ChangeFlags>(command);
      const { install } = await import('../../install/install.ts');
      await withContext(given, context => install(context, sources(given)));
    });
  changing(withValues(program.command('upgrade')))
    .description('change an installation: values go over those it has')
    .option('--reset-values', 'over nothing: forget the values it has')
    .option('--no-wait', 'return when everything is applied')
    .action(async (_: unknown, command: Command) => {
      const given = options<ChangeFlags & { resetValues?: boolean }>(command);
      const { upgrade } = await import('../../install/install.ts');
      await withContext(given, context =>
        upgrade(context, { ...sources(given), reset: given.resetValues ?? false }),
      );
    });
  changing(program.command('uninstall'))
    .description('take everything off the cluster and its nodes; pods lose their network')
    .option('-n, --namespace <name>', 'the namespace', 'kube-system')
    .option('--purge', 'also CustomResourceDefinitions, with all their objects')
    .option('--skip-cleanup', 'leave the nodes as they are')
    .action(async (_: unknown, command: Command) => {
      const given = options<ChangeFlags & { purge?: boolean; skipCleanup?: boolean }>(command);
      const { uninstall } = await import('../../install/uninstall.ts');
      await withContext(given, async context => {
        const { purge = false, skipCleanup = false } = given;
        const found = await uninstall(context, { purge, skipCleanup });
        context.say(found ? 'uninstalled' : `nothing of Fimbria is in namespace ${given.namespace}`);
      });
    });
}
