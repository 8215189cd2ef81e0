import type { ClusterStatus } from '../../install/cluster-status.ts';
import { tabulate } from './tabwriter.ts';

type Component = ClusterStatus['components'][number];

const COLOURS = {
  yellow: '\u001b[33m',
  cyan: '\u001b[36m',
  green: '\u001b[32m',
  red: '\u001b[31m',
  off: '\u001b[0m',
};

function summaryOf(component: Component | undefined): string {
  if (component === undefined) return 'disabled';
  const { errors, warnings } = component;
  if (errors.length === 0 && warnings.length === 0) return 'OK';
  const counted = (count: number, what: string): string[] =>
    count === 0 ? [] : [`${count} ${what}${count === 1 ? '' : 's'}`];
  return [...counted(errors.length, 'error'), ...counted(warnings.length, 'warning')].join(', ');
}

/** Lines of one title: the first has it, the others only align. */
function rows(title: string, cells: readonly (readonly string[])[]): string {
  return cells.map((row, index) => `${[index === 0 ? title : '', ...row].join('\t')}\n`).join('');
}

/** `running: 3, pending: 1` as the rows that Cilium's summary has. */
function counts(record: Record<string, number>): string {
  return Object.entries(record)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, count]) => `${name}: ${count}`)
    .join(', ');
}

/** What `status --cluster` prints, as Cilium's summary is laid out. Pure. */
export function formatClusterStatus(status: ClusterStatus, colour = false): string {
  const { components, pods } = status;
  const named = (name: string) => components.find(component => component.name === name);
  const agent = named('cilium');
  const state = agent === undefined ? '1 error' : summaryOf(agent);
  let text = '    /¯¯\\\n';
  text += ` /¯¯\\__/¯¯\\\tCilium:\t${state}\n`;
  text += ` \\__/¯¯\\__/\tOperator:\t${summaryOf(named('cilium-operator'))}\n`;
  text += ' /¯¯\\__/¯¯\\\tEnvoy DaemonSet:\tdisabled (using embedded mode)\n';
  text += ' \\__/¯¯\\__/\tHubble Relay:\tdisabled\n';
  text += '    \\__/\tClusterMesh:\tdisabled\n\n';
  let table = '';
  for (const kind of ['DaemonSet', 'Deployment']) {
    const cells = components
      .filter(component => component.kind === kind)
      .map(c => [
        c.name,
        `Desired: ${c.desired}, Ready: ${c.ready}/${c.desired}, Available: ${c.available}/${c.desired}`,
      ]);
    table += rows(kind, cells);
  }
  table += rows(
    'Containers:',
    components.map(({ name, phases }) => [name, counts(phases)]),
  );
  table += `Cluster Pods:\t${pods.managed}/${pods.total} managed by Cilium\n`;
  table += `Helm chart version:\t${status.version ?? ''}\n`;
  table += rows(
    'Image versions',
    components.flatMap(({ name, images }) =>
      Object.entries(images).map(([image, count]) => [name, `${image}: ${count}`]),
    ),
  );
  const problems = (list: 'errors' | 'warnings'): string[][] => [
    ...status[list].map(text => ['cilium', text]),
    ...components.flatMap(component => component[list].map(text => [component.name, text])),
  ];
  table += rows('Errors:', problems('errors')) + rows('Warnings:', problems('warnings'));
  const plain = tabulate(text, { minWidth: 0, padding: 4 }) + tabulate(table, { minWidth: 0, padding: 4 });
  return colour ? coloured(plain) : plain;
}

function coloured(text: string): string {
  const { yellow, cyan, green, red, off } = COLOURS;
  return text
    .replace(/^ {4}\/¯¯\\$/m, match => `${yellow}${match}${off}`)
    .replaceAll(/(: +)(OK)$/gm, `$1${green}$2${off}`)
    .replaceAll(/(: +)(disabled.*)$/gm, `$1${cyan}$2${off}`)
    .replaceAll(/(: +)(\d+ errors?.*)$/gm, `$1${red}$2${off}`);
}
