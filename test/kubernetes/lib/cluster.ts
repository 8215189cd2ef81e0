import type { Node } from '../../../src/model/types.ts';
import { agentImage } from './agent-image.ts';
import { Cluster } from './any-cluster.ts';
import { Containerd } from './containerd.ts';
import { ControlPlane } from './control-plane.ts';
import { Kubelet } from './kubelet.ts';
import { ClusterNode, tail } from './node.ts';
import { joinUnderlay, makeUnderlay, OUTSIDE_HOST } from './underlay.ts';

const FIRST_NODE_OCTET = 101;

/** One machine of the cluster with what Kubernetes runs on it. */
export interface Member {
  readonly name: string;
  readonly ip: string;
  readonly node: ClusterNode;
  readonly containerd: Containerd;
  readonly kubelet: Kubelet;
}

/**
 * A Kubernetes of the test's own: a control plane, nodes with containerd and kubelet, and a host outside, on an underlay
 * of their own (192.168.10.0/24: nodes from .101, outside .1, the API .10). Everything ends with this process.
 */
export class TestCluster extends Cluster {
  readonly plane: ControlPlane;
  readonly outside: ClusterNode;
  readonly #members: Map<string, Member>;

  private constructor(plane: ControlPlane, outside: ClusterNode, members: readonly Member[]) {
    super(plane.kubeconfig, 'old');
    this.plane = plane;
    this.outside = outside;
    this.#members = new Map(members.map(member => [member.name, member]));
  }

  /** Brings it up with every node registered, and none Ready: there is no network yet. */
  static async up(names: readonly string[] = ['w1', 'w2']): Promise<TestCluster> {
    const made: ClusterNode[] = [];
    try {
      const machine = async (name: string): Promise<ClusterNode> => {
        const node = await ClusterNode.create(name);
        made.push(node);
        return node;
      };
      const control = await machine('control');
      const outside = await machine('outside');
      await makeUnderlay(control);
      await joinUnderlay(control, outside, OUTSIDE_HOST);
      const machines: { name: string; ip: string; node: ClusterNode }[] = [];
      for (const [index, name] of names.entries()) {
        const ip = `192.168.10.${FIRST_NODE_OCTET + index}`;
        const node = await machine(name);
        await joinUnderlay(control, node, ip);
        machines.push({ name, ip, node });
      }
      const [plane, ...runtimes] = await Promise.all([
        ControlPlane.start(control, names),
        ...machines.map(({ node }) => startRuntime(node)),
      ]);
      const members = machines.map((one, index) => startKubelet(plane, one, runtimes[index]!));
      const cluster = new TestCluster(plane, outside, members);
      await cluster.until<Node>('all nodes to register', 'Node', nodes => nodes.length === names.length);
      return cluster;
    } catch (error) {
      await Promise.all(made.map(node => node.remove()));
      throw error;
    }
  }

  async down(): Promise<void> {
    this.client.close();
    this.plane.close();
    for (const { containerd } of this.members) containerd.close();
    await Promise.all([...this.members.map(m => m.node), this.outside, this.plane.node].map(n => n.remove()));
  }

  /** Takes a machine away, with all that is on it and without a word to anybody. */
  async destroy(name: string): Promise<void> {
    const { containerd, node } = this.member(name);
    this.#members.delete(name);
    containerd.close();
    await node.remove();
  }

  /** A new machine under an old name, or a new one's; the API server must know the name from the beginning. */
  async join(name: string, ip: string): Promise<void> {
    const node = await ClusterNode.create(name);
    await joinUnderlay(this.plane.node, node, ip);
    const containerd = await startRuntime(node);
    this.#members.set(name, startKubelet(this.plane, { name, ip, node }, containerd));
    // Until then a question about all nodes is one about the others.
    await this.until<Node>(`${name} to register`, 'Node', nodes =>
      nodes.some(one => one.status?.addresses?.some(({ address }) => address === ip)),
    );
  }

  get members(): readonly Member[] {
    return [...this.#members.values()];
  }

  member(name: string): Member {
    return this.#members.get(name)!;
  }

  override async diagnosis(): Promise<string> {
    const logs = this.members.map(m => `${m.name} kubelet:\n${tail(m.node.log('kubelet'), 5)}`);
    return [await super.diagnosis(), ...logs].join('\n');
  }
}

async function startRuntime(node: ClusterNode): Promise<Containerd> {
  const containerd = await Containerd.start(node);
  await containerd.importImage(await agentImage());
  return containerd;
}

function startKubelet(
  plane: ControlPlane,
  { name, ip, node }: { name: string; ip: string; node: ClusterNode },
  containerd: Containerd,
): Member {
  const kubelet = new Kubelet(node, containerd, { ip, kubeconfig: plane.kubeconfigFor(name) });
  kubelet.start();
  return { name, ip, node, containerd, kubelet };
}
