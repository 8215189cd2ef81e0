import { cellText, leadsWithName } from '../model/columns.ts';
import type { Kind } from '../model/kinds.ts';
import type { AnyObject } from '../model/types.ts';

/** What of each object goes into its row: `includeObject` of the request. */
export type IncludeObject = 'None' | 'Metadata' | 'Object';

/** Kubernetes' Table: what `kubectl get` prints. */
export function table(
  kind: Kind,
  objects: AnyObject[],
  metadata: object,
  include: IncludeObject,
  now: Date,
): object {
  const leads = leadsWithName(kind.kind);
  return {
    kind: 'Table',
    apiVersion: 'meta.k8s.io/v1',
    metadata,
    columnDefinitions: [
      ...(leads
        ? [
            {
              name: 'Name',
              type: 'string',
              format: 'name',
              description: 'Name must be unique within a namespace.',
              priority: 0,
            },
          ]
        : []),
      ...kind.columns.map(({ name, type, priority }) => ({
        name,
        type: type === 'date' ? 'string' : type,
        format: '',
        description: '',
        priority,
      })),
    ],
    rows: objects.map(object => ({
      cells: [
        ...(leads ? [object.metadata.name] : []),
        ...kind.columns.map(column => cellText(column, object, now)),
      ],
      ...(include !== 'None' && { object: include === 'Object' ? object : partial(object) }),
    })),
  };
}

function partial({ metadata }: AnyObject): object {
  return { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata };
}
