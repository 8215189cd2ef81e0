#!/usr/bin/env node
/**
 * Writes src/model/kubernetes/fields.gen.ts: the names, types and protobuf numbers of the fields of Kubernetes' own kinds, as
 * far as they can be reached from those that Fimbria serves. They are read from the Go types in Debian's packages of
 * Kubernetes' API. Run by hand when there is a new release of it: what it writes is committed, and nothing else fetches it.
 *
 *   node scripts/generate/kubernetes-fields.mjs
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { withPackages } from '../lib/apt.mjs';
import { root } from '../lib/project.mjs';

const TARGET = 'src/model/kubernetes/fields.gen.ts';
const SUITE = 'trixie';
const GO = 'usr/share/gocode/src/k8s.io';
/** Go package as fields name it, short name, and where its types are: 0 in the API's package, 1 in the machinery's. */
const SOURCES = [
  ['v1', 'core.v1', 0, 'api/core/v1'],
  ['appsv1', 'apps.v1', 0, 'api/apps/v1'],
  ['coordinationv1', 'coordination.v1', 0, 'api/coordination/v1'],
  ['discoveryv1', 'discovery.v1', 0, 'api/discovery/v1'],
  ['networkingv1', 'networking.v1', 0, 'api/networking/v1'],
  ['policyv1', 'policy.v1', 0, 'api/policy/v1'],
  ['metav1', 'meta.v1', 1, 'apimachinery/pkg/apis/meta/v1'],
];
const ROOTS = [
  ...[
    'ConfigMap',
    'Endpoints',
    'Event',
    'Namespace',
    'Node',
    'Pod',
    'Service',
    'ServiceAccount',
    'Binding',
  ].map(kind => `core.v1.${kind}`),
  'apps.v1.Deployment',
  'apps.v1.ReplicaSet',
  'coordination.v1.Lease',
  'discovery.v1.EndpointSlice',
  'networking.v1.NetworkPolicy',
  'policy.v1.Eviction',
  'meta.v1.DeleteOptions',
];
const SCALARS = {
  string: 'string',
  bool: 'bool',
  byte: 'byte',
  int: 'int',
  int32: 'int',
  int64: 'int',
  uint32: 'int',
  float64: 'number',
  'types.UID': 'string',
  'types.NodeName': 'string',
  'resource.Quantity': 'quantity',
  'intstr.IntOrString': 'intOrString',
  'metav1.Time': 'time',
  'metav1.MicroTime': 'microTime',
  'metav1.Duration': 'string',
  'metav1.FieldsV1': 'any',
  'runtime.RawExtension': 'any',
};

class Types {
  /** Short name of a message to the fields of its Go struct. */
  structs = new Map();
  /** Short name of a named type to what it stands for. */
  aliases = new Map();

  read(prefix, text) {
    for (const [, name, body] of text.matchAll(/^type (\w+) struct \{\n(.*?)^\}/gms)) {
      const fields = [...body.matchAll(/^\t(?:(\w+) +)?([\w.*[\]]+) +`(.*)`/gm)];
      this.structs.set(
        `${prefix}.${name}`,
        fields.map(([, , type, tags]) => this.#field(prefix, type, tags)),
      );
    }
    for (const [, name, type] of text.matchAll(/^type (\w+) ([\w.[\]]+)$/gm))
      this.aliases.set(`${prefix}.${name}`, type);
  }

  #field(prefix, type, tags) {
    const tag = key => new RegExp(`(?:^| )${key}:"([^"]*)"`).exec(tags)?.[1];
    const [name, ...options] = (tag('json') ?? '').split(',');
    const number = /^\w+,(\d+),/.exec(tag('protobuf') ?? '')?.[1];
    return {
      name: name === '' && options.includes('inline') ? '+' : name,
      number: number === undefined ? 0 : Number(number),
      pointer: type.startsWith('*'),
      type: this.#resolver(prefix)(type.replace(/^\*/, '')),
      merge: (tag('patchStrategy') ?? '').split(',').includes('merge')
        ? (tag('patchMergeKey') ?? '')
        : undefined,
      retainKeys: (tag('patchStrategy') ?? '').split(',').includes('retainKeys'),
    };
  }

  /** A Go type as we write it; named types are looked up when everything has been read. */
  #resolver(prefix) {
    const resolve = type => () => {
      if (type.startsWith('[]')) {
        const item = resolve(type.slice(2).replace(/^\*/, ''))();
        return item === 'byte' ? 'bytes' : `[]${item}`;
      }
      const map = /^map\[[\w.]+\](.+)$/.exec(type);
      if (map) return `{}${resolve(map[1].replace(/^\*/, ''))()}`;
      const qualified = prefix === 'meta.v1' && SCALARS[`metav1.${type}`] ? `metav1.${type}` : type;
      if (SCALARS[qualified]) return SCALARS[qualified];
      const [pkg, base] = type.includes('.') ? type.split('.') : [undefined, type];
      const source = SOURCES.find(([go]) => go === pkg);
      const name = `${pkg === undefined ? prefix : source?.[1]}.${base}`;
      if (this.structs.has(name)) return name;
      const alias = this.aliases.get(name);
      if (alias === undefined) throw new Error(`generate fields: ${prefix} uses the unknown type ${type}`);
      return this.#resolver(name.replace(/\.\w+$/, ''))(alias)();
    };
    return resolve;
  }
}

function collect(types) {
  const found = new Map();
  const waiting = [...ROOTS];
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    if (found.has(name)) continue;
    const fields = types.structs.get(name);
    if (!fields) throw new Error(`generate fields: there is no type ${name}`);
    const kept = fields.filter(field => field.name !== '' && field.name !== '-' && field.number > 0);
    const lines = kept.map(field => ({ ...field, type: field.type() }));
    found.set(name, lines);
    for (const { type } of lines) {
      const base = type.replace(/^(\[\]|\{\})+/, '');
      if (base.includes('.')) waiting.push(base);
    }
  }
  return new Map([...found].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function render(messages, version) {
  const lines = [
    `// Generated by scripts/generate/kubernetes-fields.mjs from the types of Kubernetes ${version}. Do not edit.`,
    '',
    '/** Fields by message, one text each: `name number type[*] [merge[=KEY]] [retainKeys]`; `*` is a pointer, `+` an inlined message. */',
    'export const FIELDS: Record<string, readonly string[]> = {',
  ];
  for (const [name, fields] of messages) {
    lines.push(`  '${name}': [`);
    for (const { name: field, number, type, pointer, merge, retainKeys } of fields) {
      const strategy = merge === undefined ? '' : merge === '' ? ' merge' : ` merge=${merge}`;
      lines.push(
        `    '${field} ${number} ${type}${pointer ? '*' : ''}${strategy}${retainKeys ? ' retainKeys' : ''}',`,
      );
    }
    lines.push('  ],');
  }
  return `${lines.join('\n')}\n};\n`;
}

const packages = ['golang-k8s-api-dev', 'golang-k8s-apimachinery-dev'].map(name => ({
  suite: SUITE,
  package: name,
}));
withPackages(packages, folders => {
  const types = new Types();
  for (const [, prefix, index, path] of SOURCES) {
    types.read(prefix, readFileSync(join(folders[index], GO, path, 'types.go'), 'utf8'));
  }
  const version = '1.32';
  writeFileSync(join(root, TARGET), render(collect(types), version));
});
