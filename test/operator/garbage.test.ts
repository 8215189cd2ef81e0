import test from 'ava';
import { FimbriaError } from '../../src/base/errors.ts';
import { silent } from '../../src/base/log.ts';
import type {
  CiliumEndpoint,
  CiliumIdentity,
  CiliumNode,
  KubeObject,
  Node,
  Pod,
} from '../../src/model/types.ts';
import { AbsenceTimer } from '../../src/operator/absence.ts';
import { Collector } from '../../src/operator/collector.ts';

test('what is absent is due after its grace, and not if it came back in between', t => {
  const timer = new AbsenceTimer(100);
  t.deepEqual(timer.due(['a', 'b'], 0), []);
  t.deepEqual(timer.due(['a', 'b'], 99), []);
  t.deepEqual(timer.due(['b'], 99), []);
  t.deepEqual(timer.due(['a', 'b'], 100), ['b']);
  t.deepEqual(timer.due(['a', 'b'], 200), ['a', 'b']);
  t.deepEqual(new AbsenceTimer(0).due(['x'], 5), ['x']);
});

/** A collector over lists that the test changes; `server` is what a fresh look finds beside them. */
function setUp() {
  const lists = {
    nodes: [] as Node[],
    ciliumNodes: [] as CiliumNode[],
    pods: [] as Pod[],
    endpoints: [] as CiliumEndpoint[],
    identities: [] as CiliumIdentity[],
  };
  const server = new Map<string, KubeObject>();
  const deleted: string[] = [];
  const handlers: { deleted?(node: Node): void; added?(node: Node): void }[] = [];
  const clock = { ms: 0 };
  const find = (list: KubeObject[], name: string) => list.find(object => object.metadata.name === name);
  const abort = new AbortController();
  const collector = new Collector({
    client: {
      get: async (kind, name) => {
        const found = server.get(`${kind}/${name}`);
        if (!found) throw new FimbriaError({ code: 'NOT_FOUND', op: 'get', why: 'no' });
        return found as never;
      },
      delete: async (kind, name, options) => {
        deleted.push(`${kind}/${name}/${options?.uid}`);
        return true;
      },
    },
    view: {
      nodes: {
        list: () => lists.nodes,
        get: name => find(lists.nodes, name) as Node | undefined,
        on: handler => void handlers.push(handler),
      },
      ciliumNodes: { list: () => lists.ciliumNodes },
      pods: { get: name => find(lists.pods, name) as Pod | undefined },
      endpoints: { list: () => lists.endpoints },
      identities: { list: () => lists.identities },
    },
    log: silent,
    signal: abort.signal,
    grace: { identityMs: 900, nodeMs: 300 },
    now: () => clock.ms,
  });
  return { collector, lists, server, deleted, handlers, clock, abort };
}

const object = <T extends KubeObject>(kind: string, name: string, rest: object = {}): T =>
  ({
    apiVersion: 'v1',
    kind,
    metadata: { name, uid: `uid-${name}`, namespace: 'ns' },
    ...rest,
  }) as unknown as T;

test('an endpoint whose pod the watch has not brought yet is left alone', async t => {
  const { collector, lists, server, deleted } = setUp();
  lists.endpoints = [object('CiliumEndpoint', 'young'), object('CiliumEndpoint', 'gone')];
  server.set('Pod/young', object('Pod', 'young'));
  await collector.pass();
  t.deepEqual(deleted, ['CiliumEndpoint/gone/uid-gone']);
});

test('identities go when unused for the whole grace time', async t => {
  const { collector, lists, deleted, clock } = setUp();
  const user = object<CiliumEndpoint>('CiliumEndpoint', 'web', { status: { identity: { id: 300 } } });
  lists.pods = [object('Pod', 'web')];
  lists.identities = [object('CiliumIdentity', '300'), object('CiliumIdentity', '301')];
  lists.endpoints = [user];
  await collector.pass();
  clock.ms = 600;
  lists.endpoints = [];
  await collector.pass();
  t.deepEqual(deleted, []);
  clock.ms = 1000;
  await collector.pass();
  t.deepEqual(deleted, ['CiliumIdentity/301/uid-301']);
  lists.endpoints = [user];
  clock.ms = 2000;
  await collector.pass();
  t.deepEqual(deleted.slice(1), ['CiliumIdentity/301/uid-301']);
});

test('a CiliumNode goes at once when its Node was seen going, after the grace time else, never without any Node', async t => {
  const { collector, lists, deleted, handlers, clock } = setUp();
  lists.ciliumNodes = [object('CiliumNode', 'a'), object('CiliumNode', 'stranger')];
  await collector.pass();
  clock.ms = 1000;
  await collector.pass();
  t.deepEqual(deleted, [], 'a cluster that keeps no Nodes loses nothing');
  lists.nodes = [object('Node', 'a')];
  await collector.pass();
  clock.ms = 1200;
  await collector.pass();
  t.deepEqual(deleted, []);
  clock.ms = 1300;
  await collector.pass();
  t.deepEqual(deleted, ['CiliumNode/stranger/uid-stranger']);
  lists.ciliumNodes = [object('CiliumNode', 'a')];
  lists.nodes = [];
  for (const handler of handlers) handler.deleted?.(object('Node', 'a'));
  await collector.pass();
  t.deepEqual(deleted.slice(1), ['CiliumNode/a/uid-a']);
});

test('a Node that came back keeps its CiliumNode', async t => {
  const { collector, lists, deleted, handlers, server } = setUp();
  lists.ciliumNodes = [object('CiliumNode', 'a')];
  for (const handler of handlers) handler.deleted?.(object('Node', 'a'));
  server.set('Node/a', object('Node', 'a'));
  await collector.pass();
  for (const handler of handlers) handler.added?.(object('Node', 'a'));
  server.clear();
  await collector.pass();
  t.deepEqual(deleted, []);
});

test('who may no longer write deletes nothing', async t => {
  const { collector, lists, deleted, abort } = setUp();
  lists.endpoints = [object('CiliumEndpoint', 'gone')];
  abort.abort();
  await collector.pass();
  t.deepEqual(deleted, []);
});
