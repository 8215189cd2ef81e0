import { FimbriaError } from '../base/errors.ts';
import type { LabelSelector, LabelSelectorRequirement } from './meta.ts';

type Labels = Readonly<Record<string, string>> | undefined;

/**
 * Whether labels satisfy a selector object. An absent selector matches nothing, an empty one everything.
 * Pure.
 */
export function matchesLabels(selector: LabelSelector | undefined, labels: Labels): boolean {
  if (selector === undefined) return false;
  const exact = Object.entries(selector.matchLabels ?? {});
  return (
    exact.every(([key, value]) => own(labels, key) === value) &&
    (selector.matchExpressions ?? []).every(requirement => satisfies(requirement, labels))
  );
}

function satisfies({ key, operator, values = [] }: LabelSelectorRequirement, labels: Labels): boolean {
  const value = own(labels, key);
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
  }
}

function own(labels: Labels, key: string): string | undefined {
  return labels !== undefined && Object.hasOwn(labels, key) ? labels[key] : undefined;
}

const WORD = '[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?';
const KEY = `${WORD}(?:/${WORD})?`;
const VALUE = '[-A-Za-z0-9_.]*';
const FORMS: [RegExp, (match: RegExpMatchArray) => LabelSelectorRequirement][] = [
  [new RegExp(`^(${KEY})$`), m => ({ key: m[1]!, operator: 'Exists' })],
  [new RegExp(`^!\\s*(${KEY})$`), m => ({ key: m[1]!, operator: 'DoesNotExist' })],
  [
    new RegExp(`^(${KEY})\\s*(?:==|=)\\s*(${VALUE})$`),
    m => ({ key: m[1]!, operator: 'In', values: [m[2]!] }),
  ],
  [new RegExp(`^(${KEY})\\s*!=\\s*(${VALUE})$`), m => ({ key: m[1]!, operator: 'NotIn', values: [m[2]!] })],
  [
    new RegExp(`^(${KEY})\\s+(in|notin)\\s*\\(\\s*(${VALUE}(?:\\s*,\\s*${VALUE})*)\\s*\\)$`),
    m => ({
      key: m[1]!,
      operator: m[2] === 'in' ? 'In' : 'NotIn',
      values: m[3]!.split(',').map(value => value.trim()),
    }),
  ],
];

/**
 * Parses a selector text such as `a=b,c!=d,e in (f,g),h notin (i),j,!k`. The empty text selects everything.
 * @throws FimbriaError INVALID
 */
export function parseLabelSelector(text: string): LabelSelector {
  if (text.trim() === '') return {};
  return { matchExpressions: splitOutsideParentheses(text).map(parseRequirement) };
}

/** The text that `parseLabelSelector` reads, for a selector that is there. Pure. */
export function formatLabelSelector({ matchLabels = {}, matchExpressions = [] }: LabelSelector): string {
  const exact = Object.entries(matchLabels).map(([key, value]) => `${key}=${value}`);
  const others = matchExpressions.map(({ key, operator, values = [] }) => {
    if (operator === 'Exists') return key;
    if (operator === 'DoesNotExist') return `!${key}`;
    return `${key} ${operator.toLowerCase()} (${values.join(',')})`;
  });
  return [...exact, ...others].join(',');
}

function parseRequirement(text: string): LabelSelectorRequirement {
  for (const [form, make] of FORMS) {
    const match = text.trim().match(form);
    if (match) return make(match);
  }
  throw new FimbriaError({
    code: 'INVALID',
    op: 'parse',
    object: 'label selector',
    why: `unable to parse requirement: found '${text.trim()}'`,
  });
}

function splitOutsideParentheses(text: string): string[] {
  return text.split(/,(?![^(]*\))/);
}

/** One term of a field selector. */
export interface FieldRequirement {
  /** `metadata.name` */
  field: string;
  equal: boolean;
  value: string;
}

/**
 * Parses a field selector text such as `metadata.name=a,spec.nodeName!=b`; `\,`, `\=` and `\\` stand for themselves.
 * @throws FimbriaError INVALID
 */
export function parseFieldSelector(text: string): FieldRequirement[] {
  return (text.match(/(?:\\.|[^,\\])+/g) ?? []).map(term => {
    const match = term.match(/^([^=!\\]+)(!=|==|=)((?:\\[\\,=]|[^\\=])*)$/);
    if (match) {
      const value = match[3]!.replace(/\\([\\,=])/g, '$1');
      return { field: match[1]!, equal: match[2] !== '!=', value };
    }
    throw new FimbriaError({
      code: 'INVALID',
      op: 'parse',
      object: 'field selector',
      why: `invalid selector: '${text}'; can't understand '${term}'`,
    });
  });
}
