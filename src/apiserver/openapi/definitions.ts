import { crdSchemaOf } from '../../model/crd/index.ts';
import { apiVersionOf, KINDS, type Kind } from '../../model/kinds.ts';
import {
  type Field,
  type FieldType,
  messageNamed,
  messageNames,
  messageOfKind,
} from '../../model/kubernetes/fields.ts';

export type Schema = Record<string, unknown>;

const META = 'meta.v1.ObjectMeta';

/** The name of a type in an OpenAPI document: `io.k8s.api.core.v1.Pod`, `io.cilium.v2.CiliumNode`. */
export function definitionName(kind: Kind, version: string): string {
  const message = messageOfKind(kind);
  if (message) return nameOfMessage(message.name);
  return `${kind.group.split('.').reverse().join('.')}.${version}.${kind.kind}`;
}

/**
 * Schemas of all kinds of the given group and version, or of all, with those that they refer to.
 * @param prefix what stands before the name in a reference: `#/definitions/`
 */
export function definitions(
  prefix: string,
  only?: { group: string; version: string },
): Record<string, Schema> {
  const result: Record<string, Schema> = {};
  for (const name of messageNames()) result[nameOfMessage(name)] = schemaOfMessage(name, prefix);
  for (const kind of KINDS) {
    for (const version of kind.versions) {
      if (only && (only.group !== kind.group || only.version !== version)) continue;
      result[definitionName(kind, version)] = rootSchema(kind, version, prefix);
    }
  }
  return only ? reachable(result, only) : result;
}

/** How documents say which kind something is about. */
export function groupVersionKind({ group, kind }: Kind, version: string): Schema {
  return { group, version, kind };
}

function rootSchema(kind: Kind, version: string, prefix: string): Schema {
  const message = messageOfKind(kind);
  const base = message ? schemaOfMessage(message.name, prefix) : customSchema(kind);
  return {
    ...base,
    properties: {
      apiVersion: { type: 'string', description: `Always ${apiVersionOf(kind, version)}.` },
      kind: { type: 'string', description: `Always ${kind.kind}.` },
      ...(base['properties'] as Schema),
      metadata: { $ref: prefix + nameOfMessage(META) },
    },
    'x-kubernetes-group-version-kind': [groupVersionKind(kind, version)],
  };
}

function customSchema(kind: Kind): Schema {
  if (kind.custom) return crdSchemaOf(kind);
  return { type: 'object', properties: { spec: { type: 'object' }, status: { type: 'object' } } };
}

function schemaOfMessage(name: string, prefix: string): Schema {
  const properties: Schema = {};
  for (const field of messageNamed(name).byName.values()) {
    if (name === META && field.name === 'managedFields') continue;
    properties[field.name] = { ...schemaOfType(field.type, prefix), ...mergeHints(field) };
  }
  return Object.keys(properties).length === 0 ? { type: 'object' } : { type: 'object', properties };
}

function schemaOfType(type: FieldType, prefix: string): Schema {
  switch (type.is) {
    case 'message':
      return { $ref: prefix + nameOfMessage(type.name) };
    case 'list':
      return { type: 'array', items: schemaOfType(type.of, prefix) };
    case 'map':
      return { type: 'object', additionalProperties: schemaOfType(type.of, prefix) };
    case 'any':
      return { type: 'object' };
    case 'bool':
      return { type: 'boolean' };
    case 'bytes':
      return { type: 'string', format: 'byte' };
    case 'int':
      return { type: 'integer', format: 'int64' };
    case 'intOrString':
      return { type: 'string', format: 'int-or-string' };
    case 'time':
    case 'microTime':
      return { type: 'string', format: 'date-time' };
    case 'number':
    case 'string':
      return { type: type.is };
    case 'quantity':
      return { type: 'string' };
  }
}

function mergeHints({ mergeKey, retainKeys }: Field): Schema {
  const strategies = [...(mergeKey === undefined ? [] : ['merge']), ...(retainKeys ? ['retainKeys'] : [])];
  return {
    ...(strategies.length > 0 && { 'x-kubernetes-patch-strategy': strategies.join(',') }),
    ...(mergeKey && { 'x-kubernetes-patch-merge-key': mergeKey }),
  };
}

function nameOfMessage(name: string): string {
  return name.startsWith('meta.') ? `io.k8s.apimachinery.pkg.apis.${name}` : `io.k8s.api.${name}`;
}

/** The definitions that a group's kinds refer to, directly or not. */
function reachable(
  all: Record<string, Schema>,
  only: { group: string; version: string },
): Record<string, Schema> {
  const waiting = KINDS.filter(kind => kind.group === only.group && kind.versions.includes(only.version)).map(
    kind => definitionName(kind, only.version),
  );
  const found: Record<string, Schema> = {};
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    const schema = all[name];
    if (found[name] || !schema) continue;
    found[name] = schema;
    for (const [, target] of JSON.stringify(schema).matchAll(/"\$ref":"[^"]*\/([^"/]+)"/g))
      waiting.push(target!);
  }
  return found;
}
