import type { ClusterNode } from './node.ts';

/** What Fimbria could leave on a node, by what it is; each in a form that can be compared. */
export type Footprint = Record<string, string[]>;

/** Shell that prints one kind of thing, a line each; what is not there is no line. */
const QUESTIONS: Record<string, string> = {
  devices: `ip -o link | sed 's/^[0-9]*: \\([^:@]*\\).*/\\1/'`,
  routes: 'ip route show table all',
  rules: 'ip rule',
  addresses: `ip -o -4 addr | awk '{print $2, $4}'`,
  neighbours: 'ip neigh show nud permanent',
  pins: 'find /sys/fs/bpf -mindepth 1',
  'filters of eth0':
    'tc filter show dev eth0 ingress; tc filter show dev eth0 egress; tc qdisc show dev eth0',
  'programs of eth0': 'bpftool net show dev eth0 | grep -w eth0',
  'programs of cgroups': `cd $(awk '$3 == "cgroup2" {print $2; exit}' /proc/mounts) && bpftool cgroup tree . | grep -w cil_`,
  'CNI configurations': 'ls /etc/cni/net.d',
  'CNI plugins': 'ls /opt/cni/bin',
  files: 'find /run/fimbria /var/lib/fimbria /run/cilium /var/run/cilium -mindepth 1',
  mounts: `awk '{print $2}' /proc/mounts | grep -E 'fimbria/netns|cilium'`,
};

/** All of it on one node. */
export async function footprint(node: ClusterNode): Promise<Footprint> {
  const answers = await Promise.all(
    Object.entries(QUESTIONS).map(async ([what, question]) => {
      const { stdout } = await node.run('sh', '-c', `{ ${question}; } 2>/dev/null`);
      const lines = stdout
        .split('\n')
        .map(line => line.trim())
        .filter(Boolean)
        .sort();
      return [what, lines] as const;
    }),
  );
  return Object.fromEntries(answers);
}
