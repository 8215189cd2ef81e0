import { valueAt } from '../config/deployment.ts';
import { isTree, type Values } from '../config/tree.ts';

/**
 * What the manifests are written in: plain objects with holes. The same text is filled in by `fill` and printed as a Helm
 * template by `helm.ts`, so that both say the same.
 */
export type Template =
  | string
  | number
  | boolean
  | readonly Template[]
  | { readonly [key: string]: Template }
  | Hole;

/** A place that depends on the values. */
export type Hole = Value | Json | Text | When | Items | Builtin;

/** What decides about a `When`. A path means that its value is neither false, 0 nor empty. */
export type Condition =
  | string
  | { readonly not: Condition }
  | { readonly any: readonly Condition[] }
  | { readonly kubernetes: string };

/** What is known beside the values. */
export interface Surroundings {
  values: Values;
  namespace: string;
  version: string;
  /** `1.20`: the API server's, or the one that is meant. */
  kubernetes: string;
  /** Who installs: `fimbria`. */
  managedBy: string;
  /** Of the ConfigMap. */
  configChecksum: string;
  /** The ConfigMap's entries. */
  flat: Readonly<Record<string, string>>;
}

/** A value as it is: a table, a list, a number. */
export class Value {
  readonly path: string;
  constructor(path: string) {
    this.path = path;
  }
}

/** A table as a text of JSON, its keys in order. */
export class Json {
  readonly path: string;
  constructor(path: string) {
    this.path = path;
  }
}

/** Text and values in a row; always a string. */
export class Text {
  readonly parts: readonly (string | Value | Builtin | When)[];
  constructor(parts: readonly (string | Value | Builtin | When)[]) {
    this.parts = parts;
  }
}

/** There only if: as an item of a list, an entry of an object, a part of a text, or a whole document. */
export class When {
  readonly condition: Condition;
  readonly yes: Template;
  readonly no: Template | undefined;
  constructor(condition: Condition, yes: Template, no?: Template) {
    this.condition = condition;
    this.yes = yes;
    this.no = no;
  }
}

/** The items of a list or the entries of a table, among others: `[a, items('extra')]`, `{ a: 1, [MERGE]: items('labels') }`. */
export class Items {
  readonly path: string;
  constructor(path: string) {
    this.path = path;
  }
}

/** The key under which `Items` put their entries among an object's own. */
export const MERGE = '<<';

/** What Helm knows beside the values. */
export class Builtin {
  readonly name: 'namespace' | 'version' | 'managedBy' | 'configChecksum' | 'flat';
  constructor(name: Builtin['name']) {
    this.name = name;
  }
}

export const value = (path: string): Value => new Value(path);
export const json = (path: string): Json => new Json(path);
export const items = (path: string): Items => new Items(path);
export const when = (condition: Condition, yes: Template, no?: Template): When =>
  new When(condition, yes, no);
export const namespace = new Builtin('namespace');
export const version = new Builtin('version');
export const managedBy = new Builtin('managedBy');

/** A text with holes: text`--x=${value('a.b')}`. */
export function text(strings: TemplateStringsArray, ...holes: readonly (Value | Builtin | When)[]): Text {
  return new Text(
    strings
      .flatMap((string, index) => [string, ...(index < holes.length ? [holes[index]!] : [])])
      .filter(p => p !== ''),
  );
}

/** Fills the holes. The result is plain and not shared with anything. Undefined where a `When` says that it is not there. */
export function fill(template: Template, around: Surroundings): unknown {
  if (template instanceof Value) return structuredClone(valueAt(around.values, template.path));
  if (template instanceof Json) return jsonOf(valueAt(around.values, template.path));
  if (template instanceof Text) return template.parts.map(part => textOf(part, around)).join('');
  if (template instanceof When) {
    const chosen = holds(template.condition, around) ? template.yes : template.no;
    return chosen === undefined ? undefined : fill(chosen, around);
  }
  if (template instanceof Builtin) return around[template.name];
  if (template instanceof Items) throw new TypeError(`items of ${template.path} stand alone`);
  if (isArray(template)) {
    return template.flatMap(item => {
      if (item instanceof Items)
        return structuredClone((valueAt(around.values, item.path) as unknown[]) ?? []);
      const filled = fill(item, around);
      return filled === undefined ? [] : [filled];
    });
  }
  if (typeof template !== 'object') return template;
  const filled: Record<string, unknown> = {};
  for (const [key, below] of Object.entries(template)) {
    if (below instanceof Items) Object.assign(filled, structuredClone(valueAt(around.values, below.path)));
    else {
      const inner = fill(below, around);
      if (inner !== undefined) filled[key] = inner;
    }
  }
  return filled;
}

/** Whether a condition holds; as Helm has it, what is empty is false. Pure. */
export function holds(condition: Condition, around: Surroundings): boolean {
  if (typeof condition === 'string') return isSet(valueAt(around.values, condition));
  if ('not' in condition) return !holds(condition.not, around);
  if ('any' in condition) return condition.any.some(one => holds(one, around));
  return isAtLeast(around.kubernetes, condition.kubernetes);
}

function textOf(part: string | Value | Builtin | When, around: Surroundings): string {
  return typeof part === 'string' ? part : String(fill(part, around) ?? '');
}

function jsonOf(found: unknown): string {
  return JSON.stringify(found, (_, below) =>
    isTree(below) ? Object.fromEntries(Object.entries(below).sort(([a], [b]) => (a < b ? -1 : 1))) : below,
  );
}

function isSet(found: unknown): boolean {
  if (Array.isArray(found)) return found.length > 0;
  if (isTree(found)) return Object.keys(found).length > 0;
  return Boolean(found);
}

/** Whether a version such as `1.20`, `v1.32.2` or `1.29+` is `wanted` or newer, by its first two numbers. Pure. */
export function isAtLeast(found: string, wanted: string): boolean {
  const numbers = (text: string): number[] => [...text.matchAll(/\d+/g)].slice(0, 2).map(Number);
  const [[major = 0, minor = 0], [wantMajor = 0, wantMinor = 0]] = [numbers(found), numbers(wanted)];
  return major > wantMajor || (major === wantMajor && minor >= wantMinor);
}

export const isArray = (template: Template): template is readonly Template[] => Array.isArray(template);
