import type { Field, FieldType, Message, ScalarType } from './fields.ts';
import { messageNamed } from './fields.ts';

/** What is wrong with a value: at which path, what it should be, and the value. */
export interface StructureFault {
  path: readonly (string | number)[];
  expected: string;
  value: unknown;
}

type Path = readonly (string | number)[];
type Report = (fault: StructureFault) => void;

const QUANTITY = /^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+|[numkMGTPE]|[KMGTPE]i)?$/;
const BASE64 = /^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/;

/**
 * Compares a value with a type of Kubernetes' API, every field of it. Pure.
 * @returns the value without the fields that the type does not have, and what is of the wrong type
 */
export function checkStructure(
  message: Message,
  value: unknown,
): { kept: unknown; faults: StructureFault[] } {
  const faults: StructureFault[] = [];
  const kept = checkMessage(message.byName, value, [], fault => faults.push(fault));
  return { kept, faults };
}

function checkMessage(
  fields: ReadonlyMap<string, Field>,
  value: unknown,
  path: Path,
  report: Report,
): unknown {
  if (!isObject(value)) return wrong(path, 'object', value, report);
  const kept: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value)) {
    const field = fields.get(key);
    // No name of a field is special, so plain assignment does.
    if (field) kept[key] = checkValue(field.type, item, [...path, key], report);
  }
  return kept;
}

function checkValue(type: FieldType, value: unknown, path: Path, report: Report): unknown {
  switch (type.is) {
    case 'message':
      return checkMessage(messageNamed(type.name).byName, value, path, report);
    case 'list':
      if (!Array.isArray(value)) return wrong(path, 'array', value, report);
      return value.map((item, index) => checkValue(type.of, item, [...path, index], report));
    case 'map':
      if (!isObject(value)) return wrong(path, 'object', value, report);
      for (const [key, item] of Object.entries(value)) checkValue(type.of, item, [...path, key], report);
      return value;
    default:
      if (!isScalar(type.is, value)) wrong(path, SCALAR_NAMES[type.is] ?? type.is, value, report);
      return value;
  }
}

const SCALAR_NAMES: Partial<Record<ScalarType, string>> = {
  any: 'object',
  bool: 'boolean',
  bytes: 'byte',
  int: 'integer',
  intOrString: 'integer or string',
  microTime: 'date-time',
  time: 'date-time',
};

function isScalar(type: ScalarType, value: unknown): boolean {
  switch (type) {
    case 'any':
      return isObject(value);
    case 'bool':
      return typeof value === 'boolean';
    case 'string':
      return typeof value === 'string';
    case 'int':
      return Number.isSafeInteger(value);
    case 'number':
      return typeof value === 'number';
    case 'intOrString':
      return Number.isSafeInteger(value) || typeof value === 'string';
    case 'quantity':
      return typeof value === 'number' || (typeof value === 'string' && QUANTITY.test(value));
    case 'bytes':
      return typeof value === 'string' && BASE64.test(value);
    case 'time':
    case 'microTime':
      return typeof value === 'string' && TIME.test(value) && !Number.isNaN(Date.parse(value));
  }
}

function wrong(path: Path, expected: string, value: unknown, report: Report): unknown {
  report({ path, expected, value });
  return value;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
