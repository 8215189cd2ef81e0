import { readdirSync, readFileSync } from 'node:fs';
import test from 'ava';
import fc from 'fast-check';
import { parse } from 'yaml';
import { ipv4Overlaps, parseIpv4Cidr } from '../../src/base/addr.ts';
import { parseCel } from '../../src/model/cel/parse.ts';
import {
  allCrds,
  type CrdSchema,
  crdSchemaOf,
  ruleFaults,
  transitionFaults,
} from '../../src/model/crd/index.ts';
import { findKind } from '../../src/model/kinds.ts';

const FOLDER = new URL('../../deploy/crds/', import.meta.url);

test('the files are the definitions', t => {
  const crds = allCrds();
  t.is(readdirSync(FOLDER).length, crds.length);
  for (const crd of crds) {
    const file = readFileSync(new URL(`${String(crd.spec.names['plural'])}.yaml`, FOLDER), 'utf8');
    t.deepEqual(parse(file), JSON.parse(JSON.stringify(crd)), crd.metadata.name);
  }
});

/** Every schema within one, with where it stands. */
function* schemasIn(schema: CrdSchema, path = ''): Generator<[string, CrdSchema]> {
  yield [path, schema];
  for (const [key, inner] of Object.entries(schema.properties ?? {}))
    yield* schemasIn(inner, `${path}.${key}`);
  if (schema.items) yield* schemasIn(schema.items, `${path}[]`);
  if (schema.additionalProperties) yield* schemasIn(schema.additionalProperties, `${path}{}`);
}

test('every schema is structural: Kubernetes takes no other', t => {
  const known = [
    ...[
      'description',
      'type',
      'format',
      'enum',
      'minimum',
      'maximum',
      'minLength',
      'maxLength',
      'minItems',
      'maxItems',
    ],
    ...['anyOf', 'items', 'required', 'properties', 'additionalProperties'],
    ...['x-kubernetes-preserve-unknown-fields', 'x-kubernetes-validations'],
  ];
  for (const crd of allCrds()) {
    for (const version of crd.spec.versions) {
      const { openAPIV3Schema } = version['schema'] as { openAPIV3Schema: CrdSchema };
      for (const [path, schema] of schemasIn(openAPIV3Schema)) {
        const where = `${crd.metadata.name} ${path}`;
        t.deepEqual(
          Object.keys(schema).filter(key => !known.includes(key)),
          [],
          where,
        );
        t.is(typeof schema.type, 'string', where);
        t.false(schema.properties !== undefined && schema.additionalProperties !== undefined, where);
        if (schema.type === 'array') t.truthy(schema.items, where);
        for (const { rule, message } of schema['x-kubernetes-validations'] ?? []) {
          t.truthy(message);
          t.notThrows(() => parseCel(rule), rule);
          // Elements of plain lists have no former self, and Kubernetes refuses rules that speak of one.
          if (path.includes('[]')) t.notRegex(rule, /oldSelf/, where);
        }
      }
    }
  }
});

const POOL = crdSchemaOf(findKind('CiliumPodIPPool')!);
const pool = (ipv4: object | undefined, ipv6?: object): object => ({
  spec: { ...(ipv4 && { ipv4 }), ...(ipv6 && { ipv6 }) },
});
const shown = (faults: ReturnType<typeof ruleFaults>): string[] =>
  faults.map(({ path, message }) => `${path.join('.')}: ${message}`);

test('what a pool may not be', t => {
  const cases: [object, string[]][] = [
    [pool({ cidrs: ['10.0.0.0/16'], maskSize: 24 }, { cidrs: ['fd00::/64'], maskSize: 96 }), []],
    [
      pool({ cidrs: ['10.0.0.0/16'], maskSize: 8 }),
      ['spec.ipv4.maskSize: blocks must not be larger than the ranges that they are cut from'],
    ],
    [pool(undefined, { cidrs: ['10.0.0.0/16'], maskSize: 96 }), ['spec.ipv6.cidrs.0: must be an IPv6 range']],
    [
      pool(undefined, { cidrs: ['fd00::1/64'], maskSize: 96 }),
      ['spec.ipv6.cidrs.0: must not have bits set behind the prefix'],
    ],
    [
      pool({ cidrs: ['10.0.0.0/16', '10.0.0.0/16'], maskSize: 24 }),
      ['spec.ipv4.cidrs: ranges must not overlap'],
    ],
  ];
  for (const [object, faults] of cases) t.deepEqual(shown(ruleFaults(POOL, object)), faults);
});

test('what may not become of a pool', t => {
  const old = pool({ cidrs: ['10.0.0.0/16'], maskSize: 24 });
  const cases: [object, string[]][] = [
    [old, []],
    [
      pool({ cidrs: ['10.1.0.0/16', '10.0.0.0/16'], maskSize: 24 }, { cidrs: ['fd00::/64'], maskSize: 96 }),
      [],
    ],
    [pool({ cidrs: ['10.0.0.0/16'], maskSize: 25 }), ['spec.ipv4.maskSize: maskSize is immutable']],
    [
      pool({ cidrs: ['10.0.0.0/8'], maskSize: 24 }),
      ['spec.ipv4.cidrs: ranges can be appended, but not removed or changed'],
    ],
    [pool(undefined), ['spec: ipv4 cannot be removed']],
  ];
  for (const [object, faults] of cases) t.deepEqual(shown(transitionFaults(POOL, object, old)), faults);
});

test('ranges overlap for the rule exactly where they do', t => {
  const range = fc
    .tuple(fc.constantFrom(8, 12, 16, 20), fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 3 }))
    .map(([bits, a, b]) => {
      const mask = (0xffffffff << (32 - bits)) >>> 0;
      const network = (((10 + a) << 24) | (b << 20) | (b << 14)) & mask;
      return `${(network >>> 24) & 255}.${(network >>> 16) & 255}.${(network >>> 8) & 255}.0/${bits}`;
    });
  fc.assert(
    fc.property(fc.array(range, { minLength: 1, maxLength: 5 }), cidrs => {
      const parsed = cidrs.map(text => parseIpv4Cidr(text));
      const overlap = parsed.some((a, i) => parsed.some((b, j) => i !== j && ipv4Overlaps(a, b)));
      const faults = shown(ruleFaults(POOL, pool({ cidrs, maskSize: 24 })));
      t.deepEqual(faults, overlap ? ['spec.ipv4.cidrs: ranges must not overlap'] : []);
    }),
  );
});
