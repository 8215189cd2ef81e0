import type { Command } from 'commander';
import { options } from '../context.ts';
import { print } from '../format/output.ts';

/** Options that name values. */
interface ValueFlags {
  values?: string[];
  set?: string[];
  namespace: string;
  kubeVersion?: string;
}

const collect = (item: string, before: string[] = []): string[] => [...before, item];

/** Adds `-f`, `--set` and `-n`. */
function withValues(command: Command): Command {
  return command
    .option('-f, --values <file>', 'a file of Helm values; later ones win', collect)
    .option('--set <k=v>', 'a value, in Helm’s syntax', collect)
    .option('-n, --namespace <name>', 'where to', 'kube-system');
}

/** `manifests`, `install`, `upgrade`, `uninstall`. */
export function addInstall(program: Command): void {
  withValues(program.command('manifests'))
    .description('everything that `install` applies, as YAML')
    .option('--kube-version <version>', 'the API server’s; before 1.25, definitions have no rules')
    .option('--no-crds', 'without CustomResourceDefinitions')
    .action(async (_: unknown, command: Command) => {
      const given = options<ValueFlags & { crds: boolean }>(command);
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
}
