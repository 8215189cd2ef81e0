import { KINDS, type Kind, qualifiedResource } from '../kinds.ts';
import type { KubeObject } from '../meta.ts';
import { schemaOf } from '../schema/index.ts';
import { type CrdSchema, toCrdSchema } from './json-schema.ts';

export type { CrdSchema } from './json-schema.ts';
export { ruleFaults, transitionFaults } from './rules.ts';

/** A CustomResourceDefinition of `apiextensions.k8s.io/v1`, without what a server adds. */
export interface CustomResourceDefinition extends KubeObject {
  apiVersion: 'apiextensions.k8s.io/v1';
  kind: 'CustomResourceDefinition';
  spec: {
    group: string;
    names: Record<string, string | readonly string[]>;
    scope: 'Cluster' | 'Namespaced';
    versions: Record<string, unknown>[];
  };
}

const schemas = new Map<Kind, CrdSchema>();

/** The structural schema of a custom kind's objects, without apiVersion, kind and metadata. Made once. */
export function crdSchemaOf(kind: Kind): CrdSchema {
  let schema = schemas.get(kind);
  if (!schema) {
    schema = toCrdSchema(schemaOf(kind)!);
    schemas.set(kind, schema);
  }
  return schema;
}

/** The definition of a custom kind, as it is in `deploy/crds/`. */
export function crdOf(kind: Kind): CustomResourceDefinition {
  const { group, plural, singular, shortNames, categories, namespaced } = kind;
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: qualifiedResource(kind) },
    spec: {
      group,
      names: {
        ...(categories.length > 0 && { categories }),
        kind: kind.kind,
        listKind: `${kind.kind}List`,
        plural,
        ...(shortNames.length > 0 && { shortNames }),
        singular,
      },
      scope: namespaced ? 'Namespaced' : 'Cluster',
      versions: kind.versions.map((version, index) => versionOf(kind, version, index === 0)),
    },
  };
}

/** The definitions of all custom kinds. */
export function allCrds(): CustomResourceDefinition[] {
  return KINDS.filter(kind => kind.custom).map(crdOf);
}

function versionOf(kind: Kind, name: string, storage: boolean): Record<string, unknown> {
  const { properties = {}, required = [], ...rest } = crdSchemaOf(kind);
  return {
    name,
    served: true,
    storage,
    additionalPrinterColumns: kind.columns.map(({ name: title, type, priority, jsonPath }) => ({
      jsonPath,
      name: title,
      type,
      ...(priority > 0 && { priority }),
    })),
    schema: {
      openAPIV3Schema: {
        ...rest,
        properties: {
          apiVersion: { type: 'string' },
          kind: { type: 'string' },
          metadata: { type: 'object' },
          ...properties,
        },
        required: ['metadata', ...required],
      },
    },
    ...(kind.hasStatus && { subresources: { status: {} } }),
  };
}
