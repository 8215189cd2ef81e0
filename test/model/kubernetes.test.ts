import test from 'ava';
import { KINDS } from '../../src/model/kinds.ts';
import { findMessage, messageNames, messageOfKind } from '../../src/model/kubernetes/fields.ts';
import { checkStructure } from '../../src/model/kubernetes/structure.ts';

test('every kind of Kubernetes has its fields, and every type that they name is there', t => {
  for (const kind of KINDS) {
    const described = !kind.custom && kind.kind !== 'CustomResourceDefinition';
    t.is(messageOfKind(kind) !== undefined, described, kind.kind);
  }
  for (const name of messageNames()) {
    for (const { type } of findMessage(name)!.byNumber.values()) {
      const inner = 'of' in type ? type.of : type;
      if (inner.is === 'message') t.truthy(findMessage(inner.name), `${name} uses ${inner.name}`);
    }
  }
});

test('what a type does not have is left out, what is of another type is named', t => {
  const pod = findMessage('core.v1.Pod')!;
  const found = checkStructure(pod, {
    spec: {
      volumes: [{ name: 'v', emptyDir: {}, nonsense: 1 }],
      containers: [{ name: 7, ports: 'none', livenessProbe: { httpGet: { port: true } } }],
      nodeSelector: { a: 1 },
    },
    nonsense: {},
  });
  t.deepEqual(
    found.faults.map(({ path, expected }) => [path.join('.'), expected]),
    [
      ['spec.containers.0.name', 'string'],
      ['spec.containers.0.ports', 'array'],
      ['spec.containers.0.livenessProbe.httpGet.port', 'integer or string'],
      ['spec.nodeSelector.a', 'string'],
    ],
  );
  const kept = found.kept as { spec: { volumes: unknown[] } };
  t.deepEqual(Object.keys(kept), ['spec']);
  t.deepEqual(kept.spec.volumes, [{ name: 'v', emptyDir: {} }]);
});
