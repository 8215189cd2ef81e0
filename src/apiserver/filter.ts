import { messageOf } from '../base/errors.ts';
import type { Kind } from '../model/kinds.ts';
import {
  type FieldRequirement,
  matchesLabels,
  parseFieldSelector,
  parseLabelSelector,
} from '../model/selectors.ts';
import type { AnyObject } from '../model/types.ts';
import { badRequest } from './failure.ts';

/** Fields that a kind can be selected by, beside its name and namespace. */
const SELECTABLE: Record<string, readonly string[]> = {
  Pod: [
    'spec.nodeName',
    'spec.restartPolicy',
    'spec.schedulerName',
    'spec.serviceAccountName',
    'spec.hostNetwork',
    'status.phase',
    'status.podIP',
    'status.nominatedNodeName',
  ],
  Node: ['spec.unschedulable'],
  Namespace: ['status.phase'],
  ReplicaSet: ['status.replicas'],
  Event: [
    'involvedObject.kind',
    'involvedObject.namespace',
    'involvedObject.name',
    'involvedObject.uid',
    'involvedObject.apiVersion',
    'involvedObject.resourceVersion',
    'involvedObject.fieldPath',
    'reason',
    'reportingComponent',
    'source',
    'type',
  ],
};

/** Which objects of a kind a list or a watch is about. */
export type Filter = (object: AnyObject) => boolean;

export interface FilterOptions {
  /** Empty for all. */
  namespace: string;
  /** Only this one. */
  name?: string | undefined;
  labelSelector?: string | undefined;
  fieldSelector?: string | undefined;
}

/** @throws ApiFailure 400 when a selector cannot be parsed or names a field that the kind cannot be selected by */
export function makeFilter(kind: Kind, options: FilterOptions): Filter {
  const { namespace, name } = options;
  const labels = parsed(() => parseLabelSelector(options.labelSelector ?? ''));
  const fields = parsed(() => parseFieldSelector(options.fieldSelector ?? ''));
  for (const { field } of fields) checkSelectable(kind, field);
  return object =>
    (namespace === '' || object.metadata.namespace === namespace) &&
    (name === undefined || object.metadata.name === name) &&
    matchesLabels(labels, object.metadata.labels) &&
    fields.every(requirement => matchesField(object, requirement));
}

function checkSelectable(kind: Kind, field: string): void {
  const common = ['metadata.name', ...(kind.namespaced ? ['metadata.namespace'] : [])];
  if (![...common, ...(SELECTABLE[kind.kind] ?? [])].includes(field)) {
    throw badRequest(`field label not supported: ${field}`);
  }
}

function matchesField(object: AnyObject, { field, equal, value }: FieldRequirement): boolean {
  return (fieldText(object, field) === value) === equal;
}

function fieldText(object: AnyObject, field: string): string {
  const path = field === 'source' ? ['source', 'component'] : field.split('.');
  let value: unknown = object;
  for (const part of path) value = (value as Record<string, unknown> | undefined)?.[part];
  // Absent booleans are false to Kubernetes, absent strings empty.
  return value === undefined ? (BOOLEAN_FIELDS.includes(field) ? 'false' : '') : String(value);
}

const BOOLEAN_FIELDS = ['spec.unschedulable', 'spec.hostNetwork'];

function parsed<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw badRequest(messageOf(error));
  }
}
