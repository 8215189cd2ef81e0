import test from 'ava';
import fc from 'fast-check';
import { schedule } from '../../src/controllers/schedule.ts';
import type { Node, Pod } from '../../src/model/types.ts';

function node(
  name: string,
  more: { unschedulable?: boolean; ready?: boolean; labels?: Record<string, string> } = {},
): Node {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, labels: more.labels ?? {} },
    spec: { unschedulable: more.unschedulable ?? false },
    status: { conditions: [{ type: 'Ready', status: more.ready === false ? 'False' : 'True' }] },
  };
}

function pod(spec: Partial<Pod['spec']> = {}): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p' },
    spec: { containers: [{ name: 'c' }], ...spec },
  };
}

const none = () => 0;

test('a pod goes to the node with the fewest pods, the first by name among equals', t => {
  const nodes = [node('b'), node('a'), node('c')];
  t.deepEqual(schedule(pod(), nodes, none), { node: 'a' });
  t.deepEqual(
    schedule(pod(), nodes, name => ({ a: 2, b: 1, c: 1 })[name] ?? 0),
    { node: 'b' },
  );
});

test('cordoned, unready, tainted and unselected nodes are passed over and counted', t => {
  const tainted: Node = { ...node('t'), spec: { taints: [{ key: 'k', value: 'v', effect: 'NoSchedule' }] } };
  const nodes = [node('a', { unschedulable: true }), node('b', { ready: false }), node('c'), tainted];
  t.deepEqual(schedule(pod({ nodeSelector: { zone: 'x' } }), nodes, none), {
    unschedulable:
      "0/4 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, " +
      '1 node(s) had untolerated taint {k: v}, 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }, ' +
      '1 node(s) were unschedulable.',
  });
  t.deepEqual(schedule(pod(), nodes, none), { node: 'c' });
});

test('a toleration opens a tainted node; without nodes it says so', t => {
  const tainted: Node = { ...node('t'), spec: { taints: [{ key: 'k', value: 'v', effect: 'NoSchedule' }] } };
  t.deepEqual(schedule(pod({ tolerations: [{ key: 'k', value: 'v' }] }), [tainted], none), { node: 't' });
  t.deepEqual(schedule(pod({ tolerations: [{ operator: 'Exists' }] }), [tainted], none), { node: 't' });
  t.true('unschedulable' in schedule(pod({ tolerations: [{ key: 'k', value: 'w' }] }), [tainted], none));
  t.deepEqual(schedule(pod(), [], none), { unschedulable: 'no nodes available to schedule pods' });
});

test('whatever the cluster looks like: only a fitting node is chosen, and none that has more pods than another', t => {
  const zones = fc.constantFrom('x', 'y');
  const nodes = fc.uniqueArray(
    fc.record({
      name: fc.stringMatching(/^[a-d]{1,2}$/),
      unschedulable: fc.boolean(),
      ready: fc.boolean(),
      zone: zones,
      pods: fc.nat(5),
    }),
    { selector: n => n.name },
  );
  fc.assert(
    fc.property(nodes, fc.option(zones, { nil: undefined }), (given, zone) => {
      const made = given.map(n => node(n.name, { ...n, labels: { zone: n.zone } }));
      const selector = zone === undefined ? {} : { nodeSelector: { zone } };
      const result = schedule(pod(selector), made, name => given.find(n => n.name === name)?.pods ?? 0);
      const fits = given.filter(n => n.ready && !n.unschedulable && (zone === undefined || n.zone === zone));
      if (!('node' in result)) return fits.length === 0;
      const chosen = fits.find(n => n.name === result.node);
      return chosen !== undefined && fits.every(n => n.pods >= chosen.pods);
    }),
  );
  t.pass();
});
