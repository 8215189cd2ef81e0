import type { ChildProcess } from 'node:child_process';
import type { Pod } from '../../../src/model/types.ts';
import { collect, type Outcome, printed } from '../../e2e/lab.ts';
import { lostOf } from '../../e2e/traffic.ts';
import type { Cluster } from './any-cluster.ts';
import { TestCluster } from './cluster.ts';

export const ipOf = (pod: Pod): string => pod.status?.podIP ?? '';
export const nodeOf = (pod: Pod): string => pod.spec?.nodeName ?? '';

/**
 * Starts a command in a pod, or on a cluster of ours in its network, seen from the node: that needs neither kubelet nor API
 * server, so it goes on without them. `ping`, `nc` and `sh` are in both. The caller reads and ends it.
 */
export async function spawnInPod(cluster: Cluster, pod: Pod, ...command: string[]): Promise<ChildProcess> {
  const { name, namespace } = pod.metadata;
  if (!(cluster instanceof TestCluster)) {
    return cluster.spawnKubectl(['exec', '-n', namespace ?? 'default', name, '--', ...command]);
  }
  const { node, containerd } = cluster.member(nodeOf(pod));
  const sandboxes = await containerd.cri.sandboxes();
  const sandbox = sandboxes.find(one => one.name === name && one.state === 'SANDBOX_READY');
  if (sandbox === undefined) throw new Error(`find sandbox of ${name}: ${JSON.stringify(sandboxes)}`);
  const { pid } = await containerd.cri.sandboxStatus(sandbox.id);
  return node.spawn(['nsenter', `--target=${pid}`, '--net', ...command]);
}

/** As `spawnInPod`, to the end. */
export async function runInPod(cluster: Cluster, pod: Pod, ...command: string[]): Promise<Outcome> {
  return collect(await spawnInPod(cluster, pod, ...command));
}

/** What went unanswered of three pings to each address, by address; empty when all is well. */
export async function unreached(
  cluster: Cluster,
  from: Pod,
  addresses: readonly string[],
): Promise<Record<string, string>> {
  const script = addresses.map(a => `ping -q -c 3 -i 0.05 -W 5 ${a} &`).join(' ');
  const { stdout } = await runInPod(cluster, from, 'sh', '-c', `${script} wait`);
  const answered = new Set(
    [
      ...stdout.matchAll(
        /--- ([\d.]+) ping statistics ---\s+3 packets transmitted, 3 (?:packets )?received/g,
      ),
    ].map(([, address]) => address),
  );
  const missing = addresses.filter(address => !answered.has(address));
  return Object.fromEntries(missing.map(address => [address, stdout]));
}

/** What a pod's server says, over HTTP, to somebody in a pod; its own name when all is well. */
export async function ask(cluster: Cluster, from: Pod, address: string, port = 8080): Promise<string> {
  // The image's wget, linked statically, dies of every name and address.
  const request = `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 20 ${address} ${port}`;
  const { name, namespace = 'default' } = from.metadata;
  const said = await cluster.tryKubectl(['exec', '-n', namespace, name, '--', 'sh', '-c', request]);
  return /\r\n\r\n(.*)/s.exec(said.stdout)?.[1]?.trim() ?? `${said.stderr}${said.stdout}`;
}

/**
 * Pings of a hundred a second to each of the addresses, answered ones by now.
 * @returns what ends them and resolves with how many packets of each got no answer
 */
export async function pingFrom(
  cluster: TestCluster,
  from: Pod,
  addresses: readonly string[],
): Promise<() => Promise<number[]>> {
  const pings = await Promise.all(
    addresses.map(to => spawnInPod(cluster, from, 'ping', '-i', '0.01', '-W', '2', '-O', to)),
  );
  const said = pings.map(collect);
  await Promise.all(pings.map(ping => printed(ping, /icmp_seq=20 /)));
  return async () => {
    for (const ping of pings) ping.kill('SIGINT');
    return (await Promise.all(said)).map(outcome => lostOf(outcome.stdout));
  };
}
