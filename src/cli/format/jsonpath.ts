import { FimbriaError } from '../../base/errors.ts';

/** A step of a path: a field, an index or slice, every element, or every element for which a filter holds. */
type Step =
  | { field: string }
  | { slice: { from?: number; to?: number } }
  | { all: true }
  | { deep: string }
  | { filter: { path: Step[]; operator?: string; value?: string } };

/** A piece of a template: text, a path, or a repeated part. */
type Piece = { text: string } | { path: Step[] } | { range: Step[]; body: Piece[] };

const ESCAPES: Record<string, string> = { n: '\n', t: '\t', r: '\r', '"': '"', "'": "'", '\\': '\\' };

function bad(template: string, why: string): FimbriaError {
  return new FimbriaError({
    code: 'USAGE',
    op: 'read',
    object: `jsonpath ${template}`,
    why,
    hint: "write it like '{.items[*].metadata.name}'",
  });
}

function unquote(text: string): string {
  return text.slice(1, -1).replaceAll(/\\(.)/g, (_, letter: string) => ESCAPES[letter] ?? letter);
}

/** The steps of `.a.b[0][*]['c'][?(@.x=="y")]..d`. */
function parsePath(source: string, template: string): Step[] {
  const steps: Step[] = [];
  let rest = source.replace(/^[$@]/, '').replaceAll('.[', '[');
  const take = (pattern: RegExp): RegExpExecArray | undefined => {
    const match = pattern.exec(rest);
    if (match === null) return undefined;
    rest = rest.slice(match[0].length);
    return match;
  };
  while (rest !== '') {
    let match = take(/^\.\.((?:\\.|[^.[\]\\\s])+)/);
    if (match) {
      steps.push({ deep: (match[1] ?? '').replaceAll(/\\(.)/g, '$1') });
      continue;
    }
    if (take(/^(?:\.\*|\[\*\])/)) {
      steps.push({ all: true });
      continue;
    }
    match = take(/^\.?((?:\\.|[^.[\]\\\s])+)/);
    if (match) {
      steps.push({ field: (match[1] ?? '').replaceAll(/\\(.)/g, '$1') });
      continue;
    }
    match = take(/^\[('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")\]/);
    if (match) {
      steps.push({ field: unquote(match[1] ?? '') });
      continue;
    }
    match = take(/^\[(-?\d+)\]/);
    if (match) {
      const from = Number(match[1]);
      steps.push({ slice: { from, ...(from === -1 ? {} : { to: from + 1 }) } });
      continue;
    }
    match = take(/^\[(-?\d*):(-?\d*)\]/);
    if (match) {
      const [, from, to] = match;
      steps.push({ slice: { ...(from && { from: Number(from) }), ...(to && { to: Number(to) }) } });
      continue;
    }
    match = take(
      /^\[\?\(\s*(@[^=!<>\s)]*)\s*(?:(==|!=|<=|>=|<|>)\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s)]+)\s*)?\)\]/,
    );
    if (match) {
      const [, path = '@', operator, value = ''] = match;
      steps.push({
        filter: {
          path: parsePath(path, template),
          ...(operator && { operator, value: /^["']/.test(value) ? unquote(value) : value }),
        },
      });
      continue;
    }
    if (rest === '.') break;
    throw bad(template, `cannot read '${rest}'`);
  }
  return steps;
}

/** Splits a template into pieces; nested ranges are allowed. */
function parseTemplate(template: string): Piece[] {
  const tokens = template.match(/\{(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^{}"'])*\}|[^{]+|\{/g) ?? [];
  const root: Piece[] = [];
  const open: Piece[][] = [root];
  for (const token of tokens) {
    const target = open.at(-1) as Piece[];
    if (!token.startsWith('{')) {
      target.push({ text: token });
      continue;
    }
    if (!token.endsWith('}')) throw bad(template, 'a brace is not closed');
    const inner = token.slice(1, -1).trim();
    if (/^["']/.test(inner)) target.push({ text: unquote(inner) });
    else if (inner === 'end') {
      if (open.length === 1) throw bad(template, '{end} without {range}');
      open.pop();
    } else if (/^range\s/.test(inner)) {
      const body: Piece[] = [];
      target.push({ range: parsePath(inner.slice(5).trim(), template), body });
      open.push(body);
    } else target.push({ path: parsePath(inner, template) });
  }
  if (open.length > 1) throw bad(template, '{range} without {end}');
  return root;
}

function descend(value: unknown, field: string): unknown[] {
  if (typeof value !== 'object' || value === null) return [];
  const own =
    !Array.isArray(value) && Object.hasOwn(value, field) ? [(value as Record<string, unknown>)[field]] : [];
  return [...own, ...Object.values(value).flatMap(child => descend(child, field))];
}

function holds(
  value: unknown,
  { path, operator, value: wanted }: Extract<Step, { filter: unknown }>['filter'],
): boolean {
  const [found] = select([value], path);
  if (operator === undefined) return found !== undefined;
  const numeric = typeof found === 'number' && wanted !== undefined;
  const order = numeric ? found - Number(wanted) : String(found ?? '').localeCompare(wanted ?? '');
  switch (operator) {
    case '==':
      return order === 0;
    case '!=':
      return order !== 0;
    case '<':
      return order < 0;
    case '>':
      return order > 0;
    case '<=':
      return order <= 0;
    default:
      return order >= 0;
  }
}

function select(values: unknown[], steps: Step[]): unknown[] {
  let current = values;
  for (const step of steps) {
    current = current.flatMap((value): unknown[] => {
      if (typeof value !== 'object' || value === null) return [];
      if ('deep' in step) return descend(value, step.deep);
      if ('all' in step) return Object.values(value);
      if ('field' in step) {
        if (!Object.hasOwn(value, step.field)) return [];
        return [(value as Record<string, unknown>)[step.field]];
      }
      if (!Array.isArray(value)) return [];
      return 'slice' in step
        ? value.slice(step.slice.from, step.slice.to)
        : value.filter(element => holds(element, step.filter));
    });
  }
  return current;
}

const show = (value: unknown): string => (typeof value === 'object' ? JSON.stringify(value) : String(value));

function expand(pieces: Piece[], value: unknown): string {
  return pieces
    .map(piece => {
      if ('text' in piece) return piece.text;
      if ('path' in piece) return select([value], piece.path).map(show).join(' ');
      return select([value], piece.range)
        .map(element => expand(piece.body, element))
        .join('');
    })
    .join('');
}

/**
 * A template as `kubectl -o jsonpath=` takes it: fields, indices, slices, `*`, `..`, filters, `range … end` and
 * quoted text. Several values are joined by a blank; what is missing is empty. Pure.
 * @throws FimbriaError USAGE when the template cannot be read
 */
export function evaluate(template: string, value: unknown): string {
  return expand(parseTemplate(template.includes('{') ? template : `{${template}}`), value);
}
