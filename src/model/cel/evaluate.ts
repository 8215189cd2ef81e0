import { FimbriaError } from '../../base/errors.ts';
import { Cidr, IpAddress, isCidr, isIp } from './addresses.ts';
import type { Expression, Macro } from './parse.ts';

/** Values of names: `self`, `oldSelf`. */
export type Scope = ReadonlyMap<string, unknown>;

/**
 * Evaluates an expression of {@link parseCel}. Values are JSON, and addresses while they are being computed with. Pure.
 * @throws FimbriaError INVALID where CEL would have an error: a field that is not there, a value of the wrong type
 */
export function evaluateCel(expression: Expression, scope: Scope): unknown {
  switch (expression.is) {
    case 'literal':
      return expression.value;
    case 'name':
      if (!scope.has(expression.name)) throw failed(`there is no ${expression.name}`);
      return scope.get(expression.name);
    case 'field':
      return fieldOf(evaluateCel(expression.of, scope), expression.name);
    case 'has':
      return Object.hasOwn(objectOf(evaluateCel(expression.of, scope)), expression.name);
    case 'not':
      return !truth(evaluateCel(expression.of, scope));
    case 'choice':
      return evaluateCel(truth(evaluateCel(expression.test, scope)) ? expression.yes : expression.no, scope);
    case 'binary':
      return binary(expression.operator, expression.left, expression.right, scope);
    case 'macro':
      return quantify(expression.macro, elements(evaluateCel(expression.over, scope)), element =>
        truth(evaluateCel(expression.body, new Map(scope).set(expression.variable, element))),
      );
    case 'call':
      return call(
        expression.name,
        expression.args.map(arg => evaluateCel(arg, scope)),
      );
    case 'method':
      return method(
        evaluateCel(expression.of, scope),
        expression.name,
        expression.args.map(arg => evaluateCel(arg, scope)),
      );
  }
}

function binary(operator: string, left: Expression, right: Expression, scope: Scope): unknown {
  const a = evaluateCel(left, scope);
  if (operator === '&&') return truth(a) && truth(evaluateCel(right, scope));
  if (operator === '||') return truth(a) || truth(evaluateCel(right, scope));
  const b = evaluateCel(right, scope);
  switch (operator) {
    case '==':
      return same(a, b);
    case '!=':
      return !same(a, b);
    case 'in':
      return Array.isArray(b) ? b.some(item => same(a, item)) : Object.hasOwn(objectOf(b), String(a));
    case '<':
      return number(a) < number(b);
    case '<=':
      return number(a) <= number(b);
    case '>':
      return number(a) > number(b);
    case '>=':
      return number(a) >= number(b);
    case '+':
      return typeof a === 'string' && typeof b === 'string' ? a + b : number(a) + number(b);
    default:
      return number(a) - number(b);
  }
}

function quantify(macro: Macro, items: unknown[], holds: (item: unknown) => boolean): boolean {
  switch (macro) {
    case 'all':
      return items.every(holds);
    case 'exists':
      return items.some(holds);
    case 'exists_one':
      return items.filter(holds).length === 1;
  }
}

function call(name: string, args: unknown[]): unknown {
  const [value] = args;
  switch (name) {
    case 'size':
      if (typeof value === 'string') return [...value].length;
      return elements(value).length;
    case 'isCIDR':
      return isCidr(string(value));
    case 'isIP':
      return isIp(string(value));
    case 'cidr':
      return Cidr.parse(string(value));
    case 'ip':
      return IpAddress.parse(string(value));
    default:
      throw failed(`there is no function ${name}`);
  }
}

function method(of: unknown, name: string, args: unknown[]): unknown {
  const [argument] = args;
  if (of instanceof Cidr) {
    switch (name) {
      case 'ip':
        return of.ip();
      case 'masked':
        return of.masked();
      case 'prefixLength':
        return of.prefixLength;
      case 'containsCIDR':
        return of.contains(argument instanceof Cidr ? argument : Cidr.parse(string(argument)));
    }
  }
  if (of instanceof IpAddress && name === 'family') return of.family;
  if (typeof of === 'string' && name === 'startsWith') return of.startsWith(string(argument));
  throw failed(`there is no method ${name}`);
}

function same(a: unknown, b: unknown): boolean {
  if (a instanceof Cidr || a instanceof IpAddress)
    return a.constructor === b?.constructor && a.text === (b as Cidr).text;
  if (Array.isArray(a))
    return Array.isArray(b) && a.length === b.length && a.every((item, i) => same(item, b[i]));
  if (typeof a !== 'object' || a === null) return a === b;
  if (typeof b !== 'object' || b === null || Array.isArray(b)) return false;
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length &&
    keys.every(key => Object.hasOwn(b, key) && same((a as never)[key], (b as never)[key]))
  );
}

function fieldOf(value: unknown, name: string): unknown {
  const object = objectOf(value);
  if (!Object.hasOwn(object, name)) throw failed(`no such key: ${name}`);
  return object[name];
}

function elements(value: unknown): unknown[] {
  return Array.isArray(value) ? value : Object.keys(objectOf(value));
}

function objectOf(value: unknown): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw failed('a value is not an object');
}

function truth(value: unknown): boolean {
  if (typeof value === 'boolean') return value;
  throw failed('a value is not a boolean');
}

function number(value: unknown): number {
  if (typeof value === 'number') return value;
  throw failed('a value is not a number');
}

function string(value: unknown): string {
  if (typeof value === 'string') return value;
  throw failed('a value is not a string');
}

function failed(why: string): FimbriaError {
  return new FimbriaError({ code: 'INVALID', op: 'evaluate', object: 'rule', why });
}
