import test from 'ava';
import fc from 'fast-check';
import { applySet, parseSet } from '../../src/config/set.ts';

const apply = (...expressions: string[]): unknown =>
  expressions.reduce(applySet, {} as Record<string, unknown>);

test("values are typed as Helm's", t => {
  t.deepEqual(apply('a=true,b=false,c=0,d=-12,e=007,f=1.5,g=,h=text,i=99999999999999999999'), {
    a: true,
    b: false,
    c: 0,
    d: -12,
    e: '007',
    f: '1.5',
    g: '',
    h: 'text',
    i: '99999999999999999999',
  });
});

test('dots nest, lists stand in braces or get an index', t => {
  t.deepEqual(apply('a.b.c=1,a.b.d=2'), { a: { b: { c: 1, d: 2 } } });
  t.deepEqual(apply('l={a,2,true},e={}'), { l: ['a', 2, true], e: [] });
  t.deepEqual(apply('l[0]=x,l[2].k=y'), { l: ['x', null, { k: 'y' }] });
  t.deepEqual(apply('l={a,b}', 'l[1]=c'), { l: ['a', 'c'] });
  t.deepEqual(apply('m[0][1]=x'), { m: [[null, 'x']] });
  t.deepEqual(apply('l={,a}'), { l: ['', 'a'] });
});

test('the lines of the documents', t => {
  t.deepEqual(
    apply(
      'ipam.mode=multi-pool',
      'ipam.operator.autoCreateCiliumPodIPPools.default.ipv4.cidrs={10.10.0.0/16}',
      'ipam.operator.autoCreateCiliumPodIPPools.default.ipv4.maskSize=27',
      'endpointRoutes.enabled=true',
    ),
    {
      ipam: {
        mode: 'multi-pool',
        operator: {
          autoCreateCiliumPodIPPools: { default: { ipv4: { cidrs: ['10.10.0.0/16'], maskSize: 27 } } },
        },
      },
      endpointRoutes: { enabled: true },
    },
  );
});

test('a backslash takes the next character as it is', t => {
  t.deepEqual(apply('a=x\\,y,b\\.c=1,d=\\{x\\},e={p\\,q,r\\}}'), {
    a: 'x,y',
    'b.c': 1,
    d: '{x}',
    e: ['p,q', 'r}'],
  });
  t.deepEqual(apply('a=b=c'), { a: 'b=c' });
});

test('null deletes what was there', t => {
  t.deepEqual(applySet({ a: { b: 1, c: 2 } }, 'a.b=null'), { a: { c: 2 } });
});

test('later assignments win, and a map gives way to a scalar and back', t => {
  t.deepEqual(apply('a=1,a=2'), { a: 2 });
  t.deepEqual(apply('a.b=1', 'a=2'), { a: 2 });
  t.deepEqual(apply('a=2', 'a.b=1'), { a: { b: 1 } });
});

test('what is given is not changed', t => {
  const given = Object.freeze({ a: Object.freeze({ l: Object.freeze([1]) }) });
  t.deepEqual(applySet(given, 'a.l[0]=2,a.x=3'), { a: { l: [2], x: 3 } });
});

test('malformed expressions are refused with what is wrong', t => {
  const cases: [string, RegExp][] = [
    ['', /empty/],
    ['a', /key a has no value/],
    ['a,b=1', /key a has no value/],
    ['=1', /a key is empty/],
    ['a..b=1', /a key is empty/],
    ['.a=1', /a key is empty/],
    ['a.=1', /a key is empty/],
    ['a={x', /not closed/],
    ['a={x}y', /"y" follows a list/],
    ['a[x]=1', /not a list index/],
    ['a[=1', /not a list index/],
    ['a[-1]=1', /not a list index/],
    ['a[999999]=1', /not a list index/],
    ['a[0]b=1', /"b" follows an index/],
    ['a[0].=1', /a key is empty/],
    ['[0]=1', /a key is empty/],
    ['__proto__.x=1', /not a key/],
  ];
  for (const [expression, message] of cases) {
    t.throws(() => parseSet(expression), { code: 'BAD_VALUES', message }, expression);
  }
  t.is(({} as Record<string, unknown>).x, undefined);
});

test('any text can be written as a value by escaping it', t => {
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), text => {
      const escaped = [...text].map(char => `\\${char}`).join('');
      const { a } = applySet({}, `a=x${escaped},b=1`) as { a: string };
      return a === `x${text}`;
    }),
  );
  t.pass();
});

test('arbitrary texts are parsed or refused, never anything else', t => {
  fc.assert(
    fc.property(fc.stringMatching(/^[a.,=[\]{}\\0]{0,16}$/), text => {
      try {
        applySet({}, text);
      } catch (error) {
        return (error as { code?: string }).code === 'BAD_VALUES';
      }
      return true;
    }),
    { numRuns: 2000 },
  );
  t.pass();
});
