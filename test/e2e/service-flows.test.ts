import test, { type ExecutionContext } from 'ava';
import { type ClusterClient, createClient } from '../../src/cluster/index.ts';
import { BpfMap } from '../../src/kernel/libbpf/index.ts';
import { waitUntil } from '../../src/lab/deadline.ts';
import { labPaths, OUTSIDE } from '../../src/lab/names.ts';
import { runtimeMap } from '../../src/maps/tables.ts';
import type { Pod, Service } from '../../src/model/types.ts';
import { TestLab } from './lab.ts';
import { countingServer, type FlowTarget, LongFlows } from './long-lived.ts';
import { TestNode } from './node.ts';
import { probe } from './probe.ts';
import { untilObjects } from './until.ts';

/**
 * Flows to services that stay open while everything around them changes: from outside by node ports, packet by packet,
 * and from pods and nodes by their sockets. Time is made to pass by the offset of conntrack's clock, which only tests set.
 */
const lab = new TestLab('flows');
let client: ClusterClient;
const NODES = ['left', 'right'];
const ADDRESS: Record<string, string> = { left: '192.168.10.100', right: '192.168.10.101' };
/** Lifetimes of conntrack, in seconds: of TCP that is answered, and of UDP. */
const [TCP_S, UDP_S] = [8000, 60];

const common = { kubeProxyReplacement: true, 'bpf.masquerade': true };
const native = { ...common, routingMode: 'native', autoDirectNodeRoutes: true };
const MODES: Record<string, Record<string, unknown>> = {
  'native, snat': native,
  'native, dsr': { ...native, 'loadBalancer.mode': 'dsr' },
  vxlan: common,
};

interface Frontend {
  clusterIp: string;
  tcp: number;
  udp: number;
}
let web: Frontend;

const serverPod = (name: string, node: string, app: string) =>
  client.create<Pod>({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', labels: { app } },
    spec: {
      nodeName: node,
      terminationGracePeriodSeconds: 1,
      containers: [{ name: 'main', image: 'none', command: countingServer(name, 8080) }],
    },
  });

async function createService(name: string): Promise<Frontend> {
  await client.create<Service>({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'default' },
    spec: {
      type: 'NodePort',
      selector: { app: name },
      ports: (['TCP', 'UDP'] as const).map(protocol => ({
        name: protocol.toLowerCase(),
        protocol,
        port: 80,
        targetPort: 8080,
      })),
    },
  });
  const isThere = ({ metadata, spec }: Service) =>
    metadata.name === name && spec.clusterIP && spec.ports!.every(port => port.nodePort);
  const { spec } = (await untilObjects<Service>(client, 'Service', all => all.some(isThere))).find(isThere)!;
  const port = (proto: string) => spec.ports!.find(p => p.name === proto)!.nodePort!;
  return { clusterIp: spec.clusterIP!, tcp: port('tcp'), udp: port('udp') };
}

/** Until new clients everywhere get these and nobody else. */
async function untilServedBy({ clusterIp, udp }: Frontend, names: string[]): Promise<void> {
  for (const [place, address, port] of [
    ['client', clusterIp, 80],
    ['left', clusterIp, 80],
    ['right', clusterIp, 80],
    [OUTSIDE, ADDRESS['left']!, udp],
    [OUTSIDE, ADDRESS['right']!, udp],
  ] as const)
    await waitUntil(`answers in ${place}`, 90_000, async because => {
      const ask = { proto: 'udp', address, port, connected: true } as const;
      const answers = await probe(
        lab,
        place,
        Array.from({ length: 24 }, () => ask),
      );
      const found = [...new Set(answers.map(answer => answer.split(' ')[0]!))].sort();
      because(`${found}`);
      return found.join() === names.join() || undefined;
    });
}

test.before(async () => {
  await lab.up(NODES.join(), ...Object.entries(native).map(pair => pair.join('=')));
  client = createClient(labPaths(lab.name).localKubeconfig);
  await lab.pod('client', 'left');
  await serverPod('one', 'left', 'web');
  await serverPod('two', 'right', 'web');
  web = await createService('web');
  await untilServedBy(web, ['one', 'two']);
});

test.after.always(async () => {
  client?.close();
  await lab.down();
});

/** Every flow's own server, and its next number: nothing is lost, nobody is given to another. */
class Watched {
  readonly #t: ExecutionContext;
  readonly #flows: Record<string, LongFlows>;
  readonly #servers: Record<string, string[]> = {};
  /** Answers so far, of each place. */
  readonly #counts: Record<string, number[]> = {};

  private constructor(t: ExecutionContext, flows: Record<string, LongFlows>) {
    this.#t = t;
    this.#flows = flows;
    t.teardown(() => {
      for (const one of Object.values(flows)) one.end();
    });
  }

  static async open(t: ExecutionContext): Promise<Watched> {
    const times = <T>(n: number, list: T[]): T[] => Array.from({ length: n }, () => list).flat();
    const inside: FlowTarget[] = times(
      3,
      (['tcp', 'udp'] as const).map(proto => ({ proto, address: web.clusterIp, port: 80 })),
    );
    const outside: FlowTarget[] = times(
      4,
      NODES.flatMap(node =>
        (['tcp', 'udp'] as const).map(proto => ({ proto, address: ADDRESS[node]!, port: web[proto] })),
      ),
    );
    const watched = new Watched(t, {
      client: new LongFlows(lab, 'client', inside),
      left: new LongFlows(lab, 'left', inside),
      [OUTSIDE]: new LongFlows(lab, OUTSIDE, outside),
    });
    for (const [place, flows] of Object.entries(watched.#flows)) {
      const answers = await flows.ask();
      for (const answer of answers) t.regex(answer, /^(one|two) 1$/, place);
      watched.#servers[place] = answers.map(answer => answer.split(' ')[0]!);
      watched.#counts[place] = answers.map(() => 1);
    }
    const servers = watched.#servers[OUTSIDE]!;
    t.is(new Set(servers).size, 2, 'some of the flows from outside end at either node');
    return watched;
  }

  /** Asks once more on all flows; only those that `matter` have to go on. */
  async goOn(
    after: string,
    matter: (place: string, flow: FlowTarget) => boolean = () => true,
  ): Promise<void> {
    for (const [place, flows] of Object.entries(this.#flows)) {
      const answers = await flows.ask();
      for (const [i, answer] of answers.entries()) {
        const flow = flows.targets[i]!;
        const [name, count] = answer.split(' ');
        if (matter(place, flow)) {
          const want = `${this.#servers[place]![i]} ${this.#counts[place]![i]! + 1}`;
          this.#t.is(
            answer,
            want,
            `${flow.proto} from ${place} to ${flow.address}:${flow.port} after ${after}`,
          );
        }
        this.#servers[place]![i] = name!;
        this.#counts[place]![i] = Number(count);
      }
    }
  }
}

/** What conntrack's clock is ahead of the machine's, on every node. */
function setClocks(clockOffsetS: number): void {
  withRuntimes(runtime => runtime.set(0, { trace: false, ...runtime.get(0), clockOffsetS }));
}

function withRuntimes(use: (runtime: ReturnType<typeof runtimeMap>) => void): void {
  for (const name of NODES) {
    const node = new TestNode(lab.name, name);
    const map = BpfMap.fromPin(`${node.bpffs}/tc/globals/cilium_runtime`);
    use(runtimeMap(map));
    map.close();
  }
}

/** TCP flows in conntrack of a node that were over long ago by its clock. */
async function deadFlows(node: string): Promise<number> {
  const rows = await lab.json<{ proto: string; expiresS: number }[]>(node, 'cilium', 'bpf', 'ct', 'list');
  return rows.filter(({ proto, expiresS }) => proto === 'TCP' && expiresS < -TCP_S / 2).length;
}

/** Sweeps of what flows left behind, as the agent counts them. */
async function sweeps(node: string): Promise<number> {
  const all = await lab.json<{ name: string; value: number }[]>(node, 'cilium', 'metrics', 'list');
  return all
    .filter(({ name }) => name === 'cilium_datapath_conntrack_gc_runs_total')
    .reduce((sum, { value }) => sum + value, 0);
}

/** Agents begin anew, and sweep once: ten seconds after. */
async function restartAndSweep(): Promise<void> {
  for (const node of NODES) {
    await lab.must('lab', 'node', 'stop', node);
    await lab.must('lab', 'node', 'start', node);
  }
  for (const node of NODES) {
    const before = await sweeps(node);
    await waitUntil(`a sweep on ${node}`, 120_000, async () => (await sweeps(node)) > before || undefined);
  }
}

/** All of them with FIMBRIA_TEST_FULL=1: the others have in them what the first is about. */
const TITLES = Object.keys(MODES).slice(process.env['FIMBRIA_TEST_FULL'] ? 0 : 1);

for (const title of TITLES) {
  const values = MODES[title]!;
  test.serial(`flows go on: ${title}`, async t => {
    t.timeout(900_000);
    setClocks(0);
    await lab.upgrade(values);
    await untilServedBy(web, ['one', 'two']);
    const flows = await Watched.open(t);
    await flows.goOn('nothing');

    await serverPod('three', 'left', 'web');
    await untilServedBy(web, ['one', 'three', 'two']);
    await flows.goOn('a backend has come');

    const other = await createService('other');
    await serverPod('other', 'right', 'other');
    await untilServedBy(other, ['other']);
    await client.delete('Service', 'other', { namespace: 'default' });
    await lab.must('lab', 'pod', 'delete', 'other');
    await flows.goOn('another service has come and gone');

    for (const node of NODES) await lab.must('lab', 'node', 'kill', node);
    await flows.goOn('the agents were killed');
    for (const node of NODES) await lab.must('lab', 'node', 'start', node);
    await flows.goOn('the agents came back');

    await lab.upgrade({ ...values, 'bpf.hostLegacyRouting': true, 'loadBalancer.algorithm': 'maglev' });
    await flows.goOn('other programs were loaded');
    await lab.upgrade(values);
    await flows.goOn('the first ones were loaded again');

    await lab.must('lab', 'pod', 'delete', 'three');
    await untilServedBy(web, ['one', 'two']);
    await flows.goOn('a backend has gone');

    setClocks(UDP_S - 20);
    await flows.goOn('40 idle seconds');
    setClocks(UDP_S - 20 + TCP_S - 100);
    await restartAndSweep();
    await flows.goOn(
      'idling for nearly as long as TCP may',
      (place, { proto }) => place !== OUTSIDE || proto === 'tcp',
    );
    setClocks(UDP_S + 4 * TCP_S);
    await restartAndSweep();
    withRuntimes(runtime => t.is(runtime.get(0)?.clockOffsetS, UDP_S + 4 * TCP_S, 'the clock is the same'));
    for (const node of NODES) t.is(await deadFlows(node), 0, 'what is over is swept');
    await flows.goOn('idling beyond it', place => place !== OUTSIDE);
  });
}
