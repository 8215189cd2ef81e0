import { messageOf } from '../../base/errors.ts';
import { evaluateCel } from '../cel/evaluate.ts';
import { type Expression, parseCel } from '../cel/parse.ts';
import type { CrdSchema, ValidationRule } from './json-schema.ts';

/** A broken rule. */
export interface RuleFault {
  path: readonly (string | number)[];
  message: string;
  /** What is at `path`. */
  value: unknown;
}

type Path = readonly (string | number)[];

const parsed = new Map<string, Expression>();

/** Rules about one object by itself that a structurally valid `value` breaks. Pure. */
export function ruleFaults(schema: CrdSchema, value: unknown): RuleFault[] {
  return check(schema, value, undefined, [], rule => !isTransition(rule));
}

/** Rules about the change from `old` to `value` that it breaks. Both are structurally valid. Pure. */
export function transitionFaults(schema: CrdSchema, value: unknown, old: unknown): RuleFault[] {
  return check(schema, value, old, [], isTransition);
}

function isTransition({ rule }: ValidationRule): boolean {
  return /\boldSelf\b/.test(rule);
}

function check(
  schema: CrdSchema,
  value: unknown,
  old: unknown,
  path: Path,
  wanted: (rule: ValidationRule) => boolean,
): RuleFault[] {
  if (value === undefined) return [];
  const faults = (schema['x-kubernetes-validations'] ?? [])
    // What was not there before has not changed.
    .filter(rule => wanted(rule) && (old !== undefined || !isTransition(rule)))
    .flatMap(rule => evaluate(rule, value, old, path));
  const inner = (of: CrdSchema, key: string | number, before: unknown): void => {
    faults.push(...check(of, fieldOf(value, key), before, [...path, key], wanted));
  };
  for (const [key, of] of Object.entries(schema.properties ?? {})) inner(of, key, fieldOf(old, key));
  if (schema.additionalProperties && typeof value === 'object' && value !== null) {
    for (const key of Object.keys(value)) inner(schema.additionalProperties, key, fieldOf(old, key));
  }
  if (schema.items && Array.isArray(value)) {
    // Elements of lists have no former self: nobody says which it was.
    for (const index of value.keys()) inner(schema.items, index, undefined);
  }
  return faults;
}

function evaluate(rule: ValidationRule, self: unknown, oldSelf: unknown, path: Path): RuleFault[] {
  const fieldPath = (rule.fieldPath ?? '').split('.').filter(part => part !== '');
  const value = fieldPath.reduce(fieldOf, self);
  const fault = (message: string): RuleFault[] => [{ path: [...path, ...fieldPath], message, value }];
  let expression = parsed.get(rule.rule);
  if (!expression) {
    expression = parseCel(rule.rule);
    parsed.set(rule.rule, expression);
  }
  const scope = new Map([['self', self]]);
  if (oldSelf !== undefined) scope.set('oldSelf', oldSelf);
  try {
    return evaluateCel(expression, scope) === true ? [] : fault(rule.message);
  } catch (error) {
    return fault(`rule evaluation error: ${messageOf(error)}`);
  }
}

function fieldOf(value: unknown, key: string | number): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
  return (value as Record<string | number, unknown>)[key];
}
