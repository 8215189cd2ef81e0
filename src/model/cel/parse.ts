import { FimbriaError } from '../../base/errors.ts';

/** A parsed expression of the part of CEL that our rules use. */
export type Expression =
  | { is: 'literal'; value: string | number | boolean }
  | { is: 'name'; name: string }
  | { is: 'field'; of: Expression; name: string }
  /** `has(a.b)` */
  | { is: 'has'; of: Expression; name: string }
  | { is: 'call'; name: string; args: Expression[] }
  | { is: 'method'; of: Expression; name: string; args: Expression[] }
  /** `list.all(x, …)` */
  | { is: 'macro'; macro: Macro; over: Expression; variable: string; body: Expression }
  | { is: 'not'; of: Expression }
  | { is: 'binary'; operator: string; left: Expression; right: Expression }
  | { is: 'choice'; test: Expression; yes: Expression; no: Expression };

const MACROS = ['all', 'exists', 'exists_one'] as const;
export type Macro = (typeof MACROS)[number];

/** Binary operators, those that bind loosest first. */
const LEVELS = [['||'], ['&&'], ['==', '!=', '<=', '>=', '<', '>', 'in'], ['+', '-']];
const TOKEN = /\s*(?:(\d+)|'([^'\\]*)'|"([^"\\]*)"|([A-Za-z_]\w*)|(\|\||&&|==|!=|<=|>=|[-+!<>?:.,()]))/y;

type Token = { is: 'number' | 'text' | 'word' | 'sign'; text: string };

/**
 * Parses an expression of CEL as Kubernetes' validation rules have it, as far as ours go: literals, fields, calls, the
 * macros `all`, `exists`, `exists_one` and `has`, and the operators of booleans, comparison and sums.
 * @throws FimbriaError INVALID
 */
export function parseCel(text: string): Expression {
  const parser = new Parser(text);
  const expression = parser.choice();
  parser.end();
  return expression;
}

class Parser {
  readonly #text: string;
  readonly #tokens: Token[] = [];
  #at = 0;

  constructor(text: string) {
    this.#text = text;
    const body = text.trimEnd();
    const token = new RegExp(TOKEN);
    while (token.lastIndex < body.length) {
      const match = token.exec(body);
      if (!match) throw this.#error('has a character that is not understood');
      const [, number, single, double, word, sign] = match;
      if (number !== undefined) this.#tokens.push({ is: 'number', text: number });
      else if (word !== undefined) this.#tokens.push({ is: word === 'in' ? 'sign' : 'word', text: word });
      else if (sign !== undefined) this.#tokens.push({ is: 'sign', text: sign });
      else this.#tokens.push({ is: 'text', text: single ?? double ?? '' });
    }
  }

  choice(): Expression {
    const test = this.#binary(0);
    if (!this.#take('?')) return test;
    const yes = this.choice();
    this.#expect(':');
    return { is: 'choice', test, yes, no: this.choice() };
  }

  end(): void {
    if (this.#at < this.#tokens.length)
      throw this.#error(`does not end before "${this.#tokens[this.#at]!.text}"`);
  }

  #binary(level: number): Expression {
    const operators = LEVELS[level];
    if (!operators) return this.#unary();
    let left = this.#binary(level + 1);
    for (;;) {
      const operator = operators.find(sign => this.#take(sign));
      if (operator === undefined) return left;
      left = { is: 'binary', operator, left, right: this.#binary(level + 1) };
    }
  }

  #unary(): Expression {
    if (this.#take('!')) return { is: 'not', of: this.#unary() };
    let value = this.#primary();
    while (this.#take('.')) {
      const name = this.#word();
      value = this.#take('(') ? this.#method(value, name) : { is: 'field', of: value, name };
    }
    return value;
  }

  #method(of: Expression, name: string): Expression {
    const args = this.#arguments();
    const macro = MACROS.find(one => one === name);
    if (!macro) return { is: 'method', of, name, args };
    const [variable, body] = args;
    if (args.length !== 2 || variable?.is !== 'name')
      throw this.#error(`${name} takes a name and an expression`);
    return { is: 'macro', macro, over: of, variable: variable.name, body: body! };
  }

  #primary(): Expression {
    if (this.#take('(')) {
      const inner = this.choice();
      this.#expect(')');
      return inner;
    }
    const token = this.#tokens[this.#at++];
    if (token?.is === 'number') return { is: 'literal', value: Number(token.text) };
    if (token?.is === 'text') return { is: 'literal', value: token.text };
    if (token?.is !== 'word') throw this.#error(`ends, or has "${token?.text}", where a value is expected`);
    if (token.text === 'true' || token.text === 'false')
      return { is: 'literal', value: token.text === 'true' };
    if (!this.#take('(')) return { is: 'name', name: token.text };
    const args = this.#arguments();
    if (token.text !== 'has') return { is: 'call', name: token.text, args };
    const [field] = args;
    if (args.length !== 1 || field?.is !== 'field') throw this.#error('has takes a field');
    return { ...field, is: 'has' };
  }

  #arguments(): Expression[] {
    const args: Expression[] = [];
    if (this.#take(')')) return args;
    do args.push(this.choice());
    while (this.#take(','));
    this.#expect(')');
    return args;
  }

  #word(): string {
    const token = this.#tokens[this.#at++];
    if (token?.is !== 'word') throw this.#error('lacks a name behind a dot');
    return token.text;
  }

  #take(sign: string): boolean {
    const token = this.#tokens[this.#at];
    if (token?.is !== 'sign' || token.text !== sign) return false;
    this.#at++;
    return true;
  }

  #expect(sign: string): void {
    if (!this.#take(sign)) throw this.#error(`lacks a "${sign}"`);
  }

  #error(why: string): FimbriaError {
    return new FimbriaError({ code: 'INVALID', op: 'parse', object: `rule ${this.#text}`, why: `it ${why}` });
  }
}
