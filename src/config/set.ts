import { FimbriaError } from '../base/errors.ts';

/** One step of a path: a key of a map or an index of a list. */
export type PathStep = string | number;

/** One assignment of a `--set` expression. A null value deletes. */
export interface Assignment {
  readonly path: readonly PathStep[];
  readonly value: unknown;
}

/** A list index beyond this is a slip of the finger, not a list (Helm's own limit). */
const MAX_INDEX = 65536;

function refuse(expression: string, why: string, hint?: string): FimbriaError {
  return new FimbriaError({
    code: 'BAD_VALUES',
    op: 'parse',
    object: `--set ${expression}`,
    why,
    ...(hint === undefined ? {} : { hint }),
  });
}

/** Helm's typing: true, false, null and whole numbers without leading zero; all else is text, floats too. */
function typed(text: string): unknown {
  if (text === 'true') return true;
  if (text === 'false') return false;
  if (text === 'null') return null;
  if (text === '0' || (/^-?[1-9][0-9]*$/.test(text) && Number.isSafeInteger(Number(text))))
    return Number(text);
  return text;
}

class SetParser {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  parse(): Assignment[] {
    const assignments: Assignment[] = [];
    while (this.#at < this.#text.length) assignments.push(this.#assignment());
    if (assignments.length === 0) throw refuse(this.#text, 'it is empty', 'write key=value');
    return assignments;
  }

  /** Reads up to an unescaped character of `stops` and past it. A backslash takes the next character as it is. */
  #until(stops: string): { text: string; stop: string | undefined } {
    let text = '';
    while (this.#at < this.#text.length) {
      const char = this.#text[this.#at++]!;
      if (char === '\\' && this.#at < this.#text.length) text += this.#text[this.#at++];
      else if (stops.includes(char)) return { text, stop: char };
      else text += char;
    }
    return { text, stop: undefined };
  }

  #assignment(): Assignment {
    const path: PathStep[] = [];
    for (;;) {
      const { text, stop } = this.#until('.=,[');
      // Nothing stands between an index and what follows it: `list[0].key`, `list[0]=`, `list[0][1]`.
      const afterIndex = typeof path.at(-1) === 'number' && text === '' && stop !== undefined;
      if (!afterIndex) {
        if (text === '') throw refuse(this.#text, 'a key is empty');
        if (text === '__proto__') throw refuse(this.#text, `${text} is not a key`);
        path.push(text);
      }
      if (stop === '.') {
        // `a.` followed by nothing is caught as an empty key in the next round, `list[0].k` must drop the marker.
        if (afterIndex) this.#requireKey();
        continue;
      }
      if (stop === '[') path.push(this.#index());
      else if (stop === '=') return { path, value: this.#value() };
      else throw refuse(this.#text, `key ${path.join('.')} has no value`, `write ${path.join('.')}=VALUE`);
    }
  }

  #requireKey(): void {
    const next = this.#text[this.#at];
    if (next === undefined || '.=,['.includes(next)) throw refuse(this.#text, 'a key is empty');
  }

  #index(): number {
    const { text, stop } = this.#until(']');
    const index = /^[0-9]{1,6}$/.test(text) ? Number(text) : Number.NaN;
    if (stop === undefined || !(index <= MAX_INDEX)) {
      throw refuse(this.#text, `"${text}" is not a list index of 0 to ${MAX_INDEX}`);
    }
    const next = this.#text[this.#at];
    if (next !== undefined && !'.=,['.includes(next)) {
      throw refuse(this.#text, `"${next}" follows an index`, 'write list[0]=VALUE or list[0].key=VALUE');
    }
    return index;
  }

  #value(): unknown {
    if (this.#text[this.#at] !== '{') return typed(this.#until(',').text);
    this.#at++;
    const list: unknown[] = [];
    for (;;) {
      const { text, stop } = this.#until(',}');
      if (stop === undefined) throw refuse(this.#text, 'a list is not closed', 'write key={a,b}');
      // `{}` is the empty list; elsewhere an empty element is an empty text.
      if (!(stop === '}' && text === '' && list.length === 0)) list.push(typed(text));
      if (stop === '}') break;
    }
    const next = this.#text[this.#at];
    if (next !== undefined && next !== ',') throw refuse(this.#text, `"${next}" follows a list`);
    this.#at++;
    return list;
  }
}

/**
 * Parses Helm's `--set` syntax: `a.b=1,c={x,y},d[0].e=f`, with `\,` `\.` and any other escaped character taken as
 * it is. Throws BAD_VALUES.
 */
export function parseSet(expression: string): Assignment[] {
  return new SetParser(expression).parse();
}

function assign(node: unknown, path: readonly PathStep[], value: unknown): unknown {
  const [step, ...rest] = path;
  if (step === undefined) return value;
  if (typeof step === 'number') {
    const list = Array.isArray(node) ? [...node] : [];
    while (list.length < step) list.push(null);
    list[step] = assign(list[step], rest, value);
    return list;
  }
  const map: Record<string, unknown> =
    typeof node === 'object' && node !== null && !Array.isArray(node) ? { ...node } : {};
  const below = assign(map[step], rest, value);
  if (below === null) delete map[step];
  else map[step] = below;
  return map;
}

/** `values` with a `--set` expression applied. Pure. Throws BAD_VALUES. */
export function applySet(values: Record<string, unknown>, expression: string): Record<string, unknown> {
  let result: unknown = values;
  for (const { path, value } of parseSet(expression)) result = assign(result, path, value);
  return result as Record<string, unknown>;
}
