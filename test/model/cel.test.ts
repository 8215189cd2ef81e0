import test from 'ava';
import fc from 'fast-check';
import { codeOf } from '../../src/base/errors.ts';
import { evaluateCel } from '../../src/model/cel/evaluate.ts';
import { parseCel } from '../../src/model/cel/parse.ts';

const evaluate = (rule: string, values: Record<string, unknown> = {}): unknown =>
  evaluateCel(parseCel(rule), new Map(Object.entries(values)));

test('expressions mean what CEL says', t => {
  const self = { a: 1, list: ['x', 'y', 'x'], text: 'hello', inner: { b: true } };
  const cases: [string, unknown][] = [
    ['1 + 2 == 3 && !(4 < 3)', true],
    ['self.a >= 1 || self.nothing', true],
    ['self.a == 1 ? "one" : \'other\'', 'one'],
    ['false ? 1 : true ? 2 : 3', 2],
    ['has(self.inner.b) && !has(self.inner.c)', true],
    ['size(self.list) - size(self.text)', -2],
    ['"x" in self.list && !("z" in self.list) && "a" in self', true],
    ['self.list.all(v, v.startsWith("x") || v == "y")', true],
    ['self.list.exists(v, v == "y")', true],
    ['self.list.exists_one(v, v == "x")', false],
  ];
  for (const [rule, expected] of cases) t.is(evaluate(rule, { self }), expected, rule);
});

test('addresses and ranges are those of the Kubernetes library', t => {
  const cases: [string, unknown][] = [
    ['isCIDR("10.0.0.0/8") && !isCIDR("10.0.0.0/33") && !isCIDR("10.0.0.0") && isCIDR("fd00::/8")', true],
    ['isIP("::1") && !isIP("1.2.3")', true],
    ['cidr("10.0.0.1/8").ip().family()', 4],
    ['cidr("fd00::/8").ip().family()', 6],
    ['cidr("10.0.0.1/8") == cidr("10.0.0.1/8").masked()', false],
    ['cidr("fd00:0::/64") == cidr("fd00::/64").masked()', true],
    ['cidr("10.0.0.0/8").prefixLength()', 8],
    ['cidr("10.0.0.0/8").containsCIDR("10.1.0.0/16")', true],
    ['cidr("10.1.0.0/16").containsCIDR("10.0.0.0/8")', false],
    ['cidr("0.0.0.0/0").containsCIDR(cidr("fd00::/8"))', false],
    ['cidr("::/0").containsCIDR("fd00::/8")', true],
    ['ip("::0") == ip("::")', true],
  ];
  for (const [rule, expected] of cases) t.is(evaluate(rule), expected, rule);
});

test('a rule that is no CEL, or has no value, is an error', t => {
  for (const rule of [
    '',
    '1 +',
    'a b',
    'self.',
    'f(1',
    '(1',
    'x.all(1, true)',
    'has(x)',
    '1 # 2',
    '"open',
    'self.list == ["x"]',
  ]) {
    t.is(codeOf(t.throws(() => parseCel(rule))), 'INVALID', rule);
  }
  for (const rule of [
    'nobody',
    'self.b',
    '1 && true',
    '"a" < 1',
    'nonsense(1)',
    'self.x()',
    'size(1)',
    'cidr(1)',
  ]) {
    t.is(codeOf(t.throws(() => evaluate(rule, { self: { a: 1 } }))), 'INVALID', rule);
  }
});

test('any text is parsed or refused', t => {
  const words = [
    'self',
    'oldSelf',
    '.',
    'all',
    '(',
    ')',
    ',',
    'x',
    '&&',
    '||',
    '!',
    '==',
    '?',
    ':',
    '1',
    "'a'",
    ' ',
    'in',
    'has',
  ];
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(fc.constantFrom(...words)).map(parts => parts.join(' ')),
      ),
      text => {
        try {
          parseCel(text);
        } catch (error) {
          t.is(codeOf(error), 'INVALID', `${text}: ${error}`);
        }
      },
    ),
    { numRuns: 2000 },
  );
});
