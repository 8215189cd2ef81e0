import { FimbriaError } from '../../base/errors.ts';
import { cellText } from '../../model/columns.ts';
import type { Kind } from '../../model/kinds.ts';
import type { AnyObject } from '../../model/meta.ts';
import { print, serialise, unknownFormat } from '../format/output.ts';
import { byText } from '../format/tables.ts';
import { table } from '../format/tabwriter.ts';
import type { Connection } from './connect.ts';
import { parseSelection, resourceName, type Selection } from './kinds.ts';

export interface GetOptions {
  allNamespaces?: boolean;
  selector?: string;
  fieldSelector?: string;
  output?: string;
  ignoreNotFound?: boolean;
  headers?: boolean;
}

const FORMATS = ['wide', 'name', 'json', 'yaml', 'jsonpath=TEMPLATE'];

/** The table of one kind, as kubectl lays it out. Pure. */
export function objectTable(
  kind: Kind,
  objects: AnyObject[],
  options: { wide: boolean; withNamespace: boolean; withKind: boolean; headers: boolean; now: Date },
): string {
  const columns = kind.columns.filter(column => options.wide || column.priority === 0);
  const withNamespace = options.withNamespace && kind.namespaced;
  const prefix = options.withKind ? `${resourceName(kind)}/` : '';
  const rows = objects.map(object => [
    ...(withNamespace ? [object.metadata.namespace ?? ''] : []),
    prefix + object.metadata.name,
    ...columns.map(column => String(cellText(column, object, options.now)).replaceAll(/[\t\n]/g, ' ')),
  ]);
  const header = [
    ...(withNamespace ? ['NAMESPACE'] : []),
    'NAME',
    ...columns.map(({ name }) => name.toUpperCase()),
  ];
  return table(options.headers ? [header, ...rows] : rows, { minWidth: 6 });
}

async function fetchObjects(
  { kind, names }: Selection,
  at: Connection,
  options: GetOptions,
): Promise<AnyObject[]> {
  const namespace = kind.namespaced && !options.allNamespaces ? at.namespace : undefined;
  const name = resourceName(kind);
  if (names.length > 0) {
    const found: AnyObject[] = [];
    for (const one of names) {
      try {
        found.push(await at.client.get<AnyObject>(name, one, namespace));
      } catch (error) {
        if (!(options.ignoreNotFound && error instanceof FimbriaError && error.code === 'NOT_FOUND'))
          throw error;
      }
    }
    return found;
  }
  const { items } = await at.client.list<AnyObject>(name, {
    ...(namespace !== undefined && { namespace }),
    ...(options.selector && { labelSelector: options.selector }),
    ...(options.fieldSelector && { fieldSelector: options.fieldSelector }),
  });
  const key = ({ metadata }: AnyObject): string => `${metadata.namespace ?? ''}/${metadata.name}`;
  // Items of a list come without their type; alone they need it.
  return items
    .map(item => ({ ...item, apiVersion: item.apiVersion ?? kind.apiVersion, kind: item.kind ?? kind.kind }))
    .toSorted((a, b) => byText(key(a), key(b)));
}

/** `get KIND[,KIND] [NAME…]`. Finding nothing is no failure unless a name was given. */
export async function get(words: string[], at: Connection, options: GetOptions): Promise<void> {
  const { output } = options;
  if (
    output !== undefined &&
    !['wide', 'name', 'json', 'yaml'].includes(output) &&
    !output.startsWith('jsonpath=')
  ) {
    throw unknownFormat(output, FORMATS);
  }
  const selections = parseSelection(words);
  if (options.allNamespaces && selections.some(({ names }) => names.length > 0)) {
    throw new FimbriaError({
      code: 'USAGE',
      op: 'get',
      object: words.join(' '),
      why: 'a name and all namespaces do not go together',
      hint: 'name the namespace with -n',
    });
  }
  const found: { kind: Kind; objects: AnyObject[] }[] = [];
  for (const selection of selections) {
    found.push({ kind: selection.kind, objects: await fetchObjects(selection, at, options) });
  }
  const all = found.flatMap(({ objects }) => objects);
  if (output === 'name') {
    const line = ({ kind, objects }: (typeof found)[number]): string =>
      objects.map(object => `${resourceName(kind)}/${object.metadata.name}\n`).join('');
    await print(found.map(line).join(''));
    return;
  }
  if (output !== undefined && output !== 'wide') {
    const isOne = selections.length === 1 && selections[0]?.names.length === 1;
    if (isOne && all.length === 0) return;
    const value = isOne
      ? all[0]
      : { apiVersion: 'v1', items: all, kind: 'List', metadata: { resourceVersion: '' } };
    await print((await serialise(value, output)) ?? '');
    return;
  }
  const filled = found.filter(({ objects }) => objects.length > 0);
  if (filled.length === 0 && !options.ignoreNotFound) {
    const isEverywhere = options.allNamespaces || selections.every(({ kind }) => !kind.namespaced);
    process.stderr.write(`No resources found${isEverywhere ? '' : ` in ${at.namespace} namespace.`}\n`);
  }
  const tables = filled.map(({ kind, objects }) =>
    objectTable(kind, objects, {
      wide: output === 'wide',
      withNamespace: options.allNamespaces ?? false,
      withKind: found.length > 1,
      headers: options.headers ?? true,
      now: new Date(),
    }),
  );
  await print(tables.join('\n'));
}
