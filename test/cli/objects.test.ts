import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { codeOf } from '../../src/base/errors.ts';
import { parseChanges } from '../../src/cli/objects/change.ts';
import { findKubeconfig } from '../../src/cli/objects/connect.ts';
import { objectTable } from '../../src/cli/objects/get.ts';
import { parseSelection, requireKind, resourceName } from '../../src/cli/objects/kinds.ts';
import { parseManifest, readManifests } from '../../src/cli/objects/manifest.ts';
import { applied, mergePatch, sameJson } from '../../src/cli/objects/merge.ts';
import { temporaryDirectory } from '../api/fixtures.ts';

test('a manifest may have many documents, empty ones and lists', t => {
  const items = parseManifest(
    `# a comment
---
apiVersion: v1
kind: Pod
metadata: {name: a}
---
---
apiVersion: v1
kind: List
items:
  - {apiVersion: apps/v1, kind: Deployment, metadata: {name: b}}
  - {apiVersion: cilium.io/v2alpha1, kind: CiliumPodIPPool, metadata: {name: c}}
`,
    'f.yaml',
  );
  t.deepEqual(
    items.map(({ object, kind }) => `${resourceName(kind)}/${object.metadata.name}`),
    ['pod/a', 'deployment.apps/b', 'ciliumpodippool.cilium.io/c'],
  );
  t.regex(items[1]?.where ?? '', /^f\.yaml document \d item 1$/);
});

test('what is wrong with a manifest is said with its document', t => {
  for (const [text, message] of [
    ['a: [', /^read f document 1: /],
    ['just text', /^read f document 1: it is not an object/],
    ['kind: Pod', /^read f document 1: apiVersion is missing/],
    ['{apiVersion: v1, kind: Pod}', /^read f document 1: metadata is missing/],
    ['{apiVersion: v1, kind: Nothing, metadata: {name: x}}', /kind Nothing of v1 is not known; kinds are /],
  ] as const) {
    t.regex(t.throws(() => parseManifest(text, 'f'))?.message ?? '', message);
  }
});

test('manifests come from files and directories, in order', async t => {
  const directory = temporaryDirectory(t);
  const pod = (name: string): string => `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"${name}"}}`;
  writeFileSync(join(directory, '2.json'), pod('b'));
  writeFileSync(join(directory, '1.yaml'), pod('a'));
  writeFileSync(join(directory, 'README'), 'not a manifest');
  const names = async (paths: string[]): Promise<string[]> =>
    (await readManifests(paths)).map(({ object }) => object.metadata.name);
  t.deepEqual(await names([directory]), ['a', 'b']);
  t.deepEqual(await names([join(directory, '2.json'), directory]), ['b', 'a', 'b']);
  writeFileSync(join(directory, '1.yaml'), '# nothing');
  await t.throwsAsync(readManifests([join(directory, '1.yaml')]), { message: /there is no object in it/ });
  await t.throwsAsync(readManifests([join(directory, 'none')]), { message: /ENOENT/ });
});

test('what was applied before and is not wanted any more goes, the rest stays', t => {
  const last = { metadata: { labels: { a: '1', b: '2' } }, spec: { replicas: 2, paused: true } };
  const wanted = { metadata: { labels: { a: '1', c: '3' } }, spec: { replicas: 3 } };
  const current = {
    metadata: { uid: 'u', labels: { a: '1', b: '2', theirs: 'x' } },
    spec: { replicas: 2, paused: true, strategy: {} },
    status: { ready: 2 },
  };
  const target = applied(last, wanted, current);
  t.deepEqual(target, {
    metadata: { uid: 'u', labels: { a: '1', c: '3', theirs: 'x' } },
    spec: { replicas: 3, strategy: {} },
    status: { ready: 2 },
  });
  t.deepEqual(mergePatch(current, target), {
    metadata: { labels: { b: null, c: '3' } },
    spec: { replicas: 3, paused: null },
  });
});

test('an object that is not wanted any more loses only what was applied', t => {
  t.deepEqual(applied({ annotations: { a: '1' } }, {}, { annotations: { a: '1', theirs: '2' } }), {
    annotations: { theirs: '2' },
  });
  t.deepEqual(applied({ annotations: { a: '1' } }, {}, { annotations: { a: '1' } }), {});
  t.deepEqual(applied({ annotations: {} }, {}, { annotations: { theirs: '2' } }), {
    annotations: { theirs: '2' },
  });
});

test('elements of a list keep their defaults by name, unwanted ones go', t => {
  const current = [
    { name: 'web', image: 'old', pull: 'Always' },
    { name: 'side', image: 'x' },
  ];
  t.deepEqual(applied(current, [{ name: 'web', image: 'new' }], current), [{ name: 'web', image: 'new' }]);
  t.deepEqual(applied(undefined, [{ name: 'web', image: 'new' }], current), [
    { name: 'web', image: 'new', pull: 'Always' },
  ]);
  t.deepEqual(applied(undefined, [3, 1], [1, 2]), [3, 1]);
});

const json = fc.jsonValue({ maxDepth: 3 }).filter(value => !JSON.stringify(value).includes('null'));
const object = fc.dictionary(fc.string(), json);
/** RFC 7386 as it is written there. */
function mergeRfc7386(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const isObject = typeof target === 'object' && target !== null && !Array.isArray(target);
  const result = new Map<string, unknown>(isObject ? Object.entries(target) : []);
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) result.delete(key);
    else result.set(key, mergeRfc7386(result.get(key), value));
  }
  return Object.fromEntries(result);
}

test('a merge patch turns one object into the other', t => {
  fc.assert(
    fc.property(object, object, (from, to) => {
      const patch = mergePatch(from, to);
      return patch === undefined ? sameJson(from, to) : sameJson(mergeRfc7386(from, patch), to);
    }),
  );
  t.pass();
});

test('applying the same twice changes nothing', t => {
  fc.assert(
    fc.property(object, object, object, (last, wanted, current) => {
      const once = applied(last, wanted, current);
      return sameJson(applied(wanted, wanted, once), once);
    }),
  );
  t.pass();
});

test('kinds are found by every name, and selections by every form', t => {
  for (const name of ['Pod', 'pods', 'po']) t.is(requireKind(name).plural, 'pods');
  t.is(requireKind('ciliumnodes.cilium.io').kind, 'CiliumNode');
  t.regex(
    t.throws(() => requireKind('thing'))?.message ?? '',
    /^find kind 'thing': there is none; kinds are /,
  );
  const names = (words: string[]): [string, string[]][] =>
    parseSelection(words).map(selection => [selection.kind.plural, selection.names]);
  t.deepEqual(names(['po']), [['pods', []]]);
  t.deepEqual(names(['po', 'a', 'b']), [['pods', ['a', 'b']]]);
  t.deepEqual(names(['po/a', 'deploy/b']), [
    ['pods', ['a']],
    ['deployments', ['b']],
  ]);
  t.deepEqual(names(['po,svc']), [
    ['pods', []],
    ['services', []],
  ]);
  t.is(codeOf(t.throws(() => parseSelection(['po/a', 'b']))), 'USAGE');
});

test('changes of labels set and remove', t => {
  t.deepEqual(parseChanges(['a=1', 'b=', 'c-', 'd=x=y']), { a: '1', b: '', c: null, d: 'x=y' });
  for (const wrong of ['a', '=x', '-']) t.is(codeOf(t.throws(() => parseChanges([wrong]))), 'USAGE', wrong);
});

test('the kubeconfig is the option’s, the environment’s, or the only lab’s', t => {
  const root = temporaryDirectory(t);
  const lab = (name: string): string => {
    mkdirSync(join(root, name));
    writeFileSync(join(root, name, 'kubeconfig'), '');
    return join(root, name, 'kubeconfig');
  };
  t.is(findKubeconfig('/a', { KUBECONFIG: '/b' }, root), '/a');
  t.is(findKubeconfig(undefined, { KUBECONFIG: ':/b:/c' }, root), '/b');
  t.regex(
    t.throws(() => findKubeconfig(undefined, {}, root))?.message ?? '',
    /no lab runs; .*`fimbria lab up`/,
  );
  t.regex(t.throws(() => findKubeconfig(undefined, {}, join(root, 'none')))?.message ?? '', /no lab runs/);
  const one = lab('one');
  t.is(findKubeconfig(undefined, {}, root), one);
  const two = lab('two');
  t.regex(
    t.throws(() => findKubeconfig(undefined, {}, root))?.message ?? '',
    /2 labs run: one, two; choose with/,
  );
  t.is(findKubeconfig(undefined, { FIMBRIA_LAB: 'two' }, root), two);
});

test('objects are laid out as kubectl lays them out', t => {
  const kind = {
    ...requireKind('pods'),
    columns: [
      { name: 'Status', type: 'string' as const, priority: 0 as const, value: () => 'Running' },
      { name: 'Age', type: 'date' as const, priority: 0 as const, value: () => '2026-01-01T00:00:00Z' },
      { name: 'Node', type: 'string' as const, priority: 1 as const, value: () => undefined },
    ],
  };
  const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'web', namespace: 'default' } };
  const now = new Date('2026-01-01T00:05:31Z');
  const show = { wide: false, withNamespace: false, withKind: false, headers: true, now };
  t.is(objectTable(kind, [pod], show), 'NAME   STATUS    AGE\nweb    Running   5m31s\n');
  t.is(
    objectTable(kind, [pod], { ...show, wide: true, withNamespace: true }),
    'NAMESPACE   NAME   STATUS    AGE     NODE\ndefault     web    Running   5m31s   <none>\n',
  );
  t.is(objectTable(kind, [pod], { ...show, headers: false, withKind: true }), 'pod/web   Running   5m31s\n');
});
