import type { z } from 'zod';
import { crdSchemaOf, ruleFaults } from '../model/crd/index.ts';
import type { Kind } from '../model/kinds.ts';
import { messageOfKind } from '../model/kubernetes/fields.ts';
import { checkStructure } from '../model/kubernetes/structure.ts';
import { nameRule, objectMeta, schemaOf } from '../model/schema/index.ts';
import type { AnyObject } from '../model/types.ts';
import type { FieldFault } from './failure.ts';
import { isObject, jsonEqual } from './patch/json.ts';

/** What is wrong with an object by itself, and what of it the kind does not have. */
export interface Verdict {
  faults: FieldFault[];
  /** The object without the fields that the kind does not have. */
  object: AnyObject;
  /** Those fields: `spec.foo`. */
  unknown: string[];
}

type Path = readonly PropertyKey[];

/** Checks an object against the rules of its kind. Pure. */
export function validate(kind: Kind, object: AnyObject): Verdict {
  const faults = nameFaults(kind, object);
  const metadata = objectMeta.safeParse(object.metadata);
  if (!metadata.success) faults.push(...toFaults(metadata.error, object, ['metadata']));
  const known = knownFields(kind, object, faults);
  const body = faults.length === 0 ? schemaOf(kind)?.safeParse(known) : undefined;
  if (body && !body.success) faults.push(...toFaults(body.error, object, []));
  if (faults.length > 0) return { faults, object, unknown: [] };

  const kept = { ...(body?.data ?? known), apiVersion: object.apiVersion, kind: object.kind } as AnyObject;
  kept.metadata = metadata.data as AnyObject['metadata'];
  if (kind.custom) faults.push(...ruleFaults(crdSchemaOf(kind), kept).map(brokenRule));
  return { faults, object: kept, unknown: missingFields(object, kept, '') };
}

/** An object of Kubernetes' own kinds without the fields that they do not have; others as they are. */
function knownFields(kind: Kind, object: AnyObject, faults: FieldFault[]): object {
  const message = messageOfKind(kind);
  if (!message) return object;
  const { metadata, ...body } = object;
  const found = checkStructure(message, body);
  for (const { path, expected, value } of found.faults) {
    faults.push(wrongType(fieldName(path), value, expected));
  }
  return { ...(found.kept as object), metadata };
}

/** A broken rule of a CustomResourceDefinition in Kubernetes' words, which show no lists and objects. */
export function brokenRule({ path, message, value }: ReturnType<typeof ruleFaults>[number]): FieldFault {
  const fault: FieldFault = { field: fieldName(path), type: 'Invalid value', detail: message };
  return typeof value === 'object' ? fault : { ...fault, value };
}

function wrongType(field: string, value: unknown, expected: string): FieldFault {
  const shown = JSON.stringify(typeof value === 'string' ? value : typeName(value));
  const detail = `${field} in body must be of type ${expected}: ${shown}`;
  return { field, type: 'Invalid value', value: typeof value === 'string' ? value : typeName(value), detail };
}

function nameFaults(kind: Kind, { metadata }: AnyObject): FieldFault[] {
  const field = 'metadata.name';
  if (typeof metadata.name !== 'string' || metadata.name === '') {
    return [{ field, type: 'Required value', detail: 'name or generateName is required' }];
  }
  const detail = nameRule(kind)(metadata.name);
  return detail === undefined ? [] : [{ field, type: 'Invalid value', value: metadata.name, detail }];
}

function toFaults(error: z.ZodError, root: unknown, prefix: Path): FieldFault[] {
  return error.issues.map(issue => toFault(issue as z.core.$ZodIssue, root, [...prefix, ...issue.path]));
}

function toFault(issue: z.core.$ZodIssue, root: unknown, path: Path): FieldFault {
  const field = fieldName(path);
  const value = valueAt(root, path);
  switch (issue.code) {
    case 'invalid_type':
      if (value === undefined) return { field, type: 'Required value' };
      return wrongType(field, typeof value === 'string' ? 'string' : value, expectedName(issue.expected));
    case 'invalid_value':
      if (value === undefined) return { field, type: 'Required value' };
      return {
        field,
        type: 'Unsupported value',
        value,
        detail: `supported values: ${issue.values.map(one => JSON.stringify(one)).join(', ')}`,
      };
    case 'too_small':
      if (issue.origin === 'array' || issue.origin === 'string') return { field, type: 'Required value' };
      return outOfRange(field, value, `greater than or equal to ${issue.minimum}`);
    case 'too_big':
      return outOfRange(field, value, `less than or equal to ${issue.maximum}`);
    case 'custom': {
      const params = issue.params ?? {};
      const type = (params['type'] as FieldFault['type'] | undefined) ?? 'Invalid value';
      const shown = 'value' in params ? params['value'] : value;
      if (issue.message.startsWith('must be of type')) {
        return {
          field,
          type,
          value: shown,
          detail: `${field} in body ${issue.message}: ${JSON.stringify(shown)}`,
        };
      }
      return { field, type, value: shown, ...(issue.message !== '' && { detail: issue.message }) };
    }
    default:
      return { field, type: 'Invalid value', value, detail: issue.message };
  }
}

function outOfRange(field: string, value: unknown, bound: string): FieldFault {
  return { field, type: 'Invalid value', value, detail: `${field} in body should be ${bound}` };
}

/** `spec.containers[0].name`; keys that are no plain words stand in brackets. */
function fieldName(path: Path): string {
  let name = '';
  for (const part of path) {
    if (typeof part === 'number') name += `[${part}]`;
    else if (!/^[\w-]+$/.test(String(part))) name += `[${String(part)}]`;
    else name += name === '' ? String(part) : `.${String(part)}`;
  }
  return name;
}

function valueAt(root: unknown, path: Path): unknown {
  let value = root;
  for (const part of path) value = (value as Record<PropertyKey, unknown> | undefined)?.[part];
  return value;
}

function typeName(value: unknown): string {
  if (Array.isArray(value)) return 'array';
  if (value === null) return 'null';
  return typeof value === 'number' && Number.isInteger(value) ? 'integer' : typeof value;
}

function expectedName(expected: string): string {
  return { int: 'integer', record: 'object' }[expected] ?? expected;
}

/** Fields of `before` that `after` lacks. */
function missingFields(before: unknown, after: unknown, path: string): string[] {
  if (jsonEqual(before, after)) return [];
  if (Array.isArray(before) && Array.isArray(after)) {
    return before.flatMap((item, index) => missingFields(item, after[index], `${path}[${index}]`));
  }
  if (!isObject(before) || !isObject(after)) return [];
  return Object.keys(before).flatMap(key => {
    const name = path === '' ? key : `${path}.${key}`;
    return Object.hasOwn(after, key) ? missingFields(before[key], after[key], name) : [name];
  });
}
