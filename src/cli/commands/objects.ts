import type { Command } from 'commander';
import { FimbriaError } from '../../base/errors.ts';
import { options } from '../context.ts';
import { parseDuration } from '../format/duration.ts';
import type { DeleteOptions } from '../objects/change.ts';
import type { ClusterOptions, Connection } from '../objects/connect.ts';
import type { GetOptions } from '../objects/get.ts';

function clusterCommand(program: Command, nameAndArgs: string, summary: string): Command {
  return program
    .command(nameAndArgs)
    .description(summary)
    .option('--kubeconfig <file>', 'the cluster ($KUBECONFIG; else the only running lab’s)')
    .option('-n, --namespace <name>', 'namespace of kinds that have one');
}

/** Runs with a connection to the cluster; its modules are loaded only now. */
async function connected(command: Command, work: (at: Connection) => Promise<void>): Promise<void> {
  const { withCluster } = await import('../objects/connect.ts');
  await withCluster(options<ClusterOptions>(command), work);
}

const collect = (value: string, earlier: string[] = []): string[] => [...earlier, value];
const seconds = (value: string): number => {
  if (/^\d+$/.test(value)) return Number(value);
  throw new FimbriaError({
    code: 'USAGE',
    op: 'use',
    object: `--grace-period ${value}`,
    why: 'it is not a number of seconds',
  });
};

function addApply(program: Command): void {
  clusterCommand(program, 'apply', 'create objects or change them to what a manifest says')
    .requiredOption(
      '-f, --filename <file>',
      'manifest, directory of manifests, or - for standard input',
      collect,
    )
    .action(async (given: { filename: string[] }, command: Command) => {
      const { readManifests } = await import('../objects/manifest.ts');
      const { applyAll } = await import('../objects/apply.ts');
      const items = await readManifests(given.filename);
      await connected(command, at => applyAll(items, at, options<ClusterOptions>(command).namespace));
    });
}

function addCreate(program: Command): void {
  const create = clusterCommand(program, 'create', 'create the objects of a manifest').option(
    '-f, --filename <file>',
    'manifest, directory of manifests, or - for standard input',
    collect,
  );
  create.action(async (given: { filename?: string[] }, command: Command) => {
    if (given.filename === undefined) command.help({ error: true });
    const { readManifests } = await import('../objects/manifest.ts');
    const { createAll } = await import('../objects/apply.ts');
    const items = await readManifests(given.filename ?? []);
    await connected(command, at => createAll(items, at, options<ClusterOptions>(command).namespace));
  });
  clusterCommand(create, 'namespace <name>', 'create a namespace')
    .alias('ns')
    .action(async (name: string, _: unknown, command: Command) => {
      const { parseManifest } = await import('../objects/manifest.ts');
      const { createAll } = await import('../objects/apply.ts');
      const manifest = JSON.stringify({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
      await connected(command, at => createAll(parseManifest(manifest, 'command line'), at, undefined));
    });
}

function addDelete(program: Command): void {
  clusterCommand(
    program,
    'delete [words...]',
    'delete objects: KIND NAME…, KIND/NAME…, KIND -l SELECTOR, or -f FILE',
  )
    .option('-f, --filename <file>', 'the objects of a manifest', collect)
    .option('-l, --selector <labels>', 'those with these labels')
    .option('--all', 'all of the kind in the namespace')
    .option('-A, --all-namespaces', 'in every namespace')
    .option('--ignore-not-found', 'what is not there is deleted')
    .option('--grace-period <seconds>', 'time that a pod has to end', seconds)
    .option('--now', 'the same as --grace-period 1')
    .option('--force', 'accepted for kubectl’s sake; with --grace-period 0')
    .option('--wait [bool]', 'wait until they are gone', 'true')
    .option('--timeout <duration>', 'how long to wait at most', '60s')
    .action(async (words: string[], given, command: Command) => {
      const { deleteManifest, deleteSelected } = await import('../objects/change.ts');
      const how: DeleteOptions = {
        ...given,
        wait: String(given.wait) !== 'false',
        timeoutMs: parseDuration(given.timeout),
      };
      if (given.filename !== undefined && words.length === 0) {
        const { readManifests } = await import('../objects/manifest.ts');
        const items = await readManifests(given.filename);
        await connected(command, at => deleteManifest(items, at, how));
        return;
      }
      if (words.length === 0 || given.filename !== undefined) command.help({ error: true });
      await connected(command, at => deleteSelected(words, at, how));
    });
}

/** `get`, `apply`, `create`, `delete`, `label`, `annotate`: for machines without kubectl. */
export function addObjects(program: Command): void {
  clusterCommand(program, 'get <kind> [names...]', 'show objects of the cluster')
    .option('-A, --all-namespaces', 'of every namespace')
    .option('-l, --selector <labels>', 'only those with these labels')
    .option('--field-selector <fields>', 'only those with these fields')
    .option('-o, --output <format>', 'wide, name, json, yaml or jsonpath=TEMPLATE')
    .option('--ignore-not-found', 'finding nothing is no failure')
    .option('--no-headers', 'rows only')
    .action(async (kind: string, names: string[], given: GetOptions, command: Command) => {
      const { get } = await import('../objects/get.ts');
      await connected(command, at => get([kind, ...names], at, given));
    });
  addApply(program);
  addCreate(program);
  addDelete(program);
  for (const [verb, field] of [
    ['label', 'labels'],
    ['annotate', 'annotations'],
  ] as const) {
    clusterCommand(program, `${verb} <kind> <words...>`, `change ${field}: KIND NAME… KEY=VALUE… KEY-…`)
      .option('--overwrite', 'replace values that are there')
      .option('--all', 'all of the kind in the namespace')
      .option('-l, --selector <labels>', 'those with these labels')
      .action(async (kind: string, words: string[], given, command: Command) => {
        const { changeMetadata } = await import('../objects/change.ts');
        await connected(command, at => changeMetadata(field, [kind, ...words], at, given));
      });
  }
}
