import { mkdirSync } from 'node:fs';
import { labCgroups, makeCgroup } from './cgroup.ts';
import { type LabNode, labPaths, OUTSIDE } from './names.ts';
import { type PauseOptions, startDetached } from './pause.ts';
import { findProcess } from './processes.ts';

/** What a node has for itself where the machine has one for all. Also the mount points that must exist. */
export const NODE_DIRECTORIES = {
  run: '/run/fimbria',
  lib: '/var/lib/fimbria',
  cni: '/etc/cni/net.d',
} as const;

const BPFFS = '/sys/fs/bpf';

/** What a machine that routes for pods has switched on; the rest is the agent's to set. */
const NODE_SYSCTLS = ['net/ipv4/ip_forward=1', 'net/ipv6/conf/all/forwarding=1'];

/** Paths of a process's namespaces, as `setns` and netlink take them. */
export function netnsOf(pid: number): string {
  return `/proc/${pid}/ns/net`;
}

/** See `netnsOf`. */
export function mountnsOf(pid: number): string {
  return `/proc/${pid}/ns/mnt`;
}

/** How a process gets into a node, as its own processes see it. */
export function enterNode(
  lab: string,
  node: string,
  pid: number,
): Pick<PauseOptions, 'joinNet' | 'joinMount' | 'cgroup'> {
  return { joinNet: netnsOf(pid), joinMount: mountnsOf(pid), cgroup: makeCgroup(labCgroups(lab).node(node)) };
}

/** Starts the holder of the underlay's namespace. Returns its pid. */
export async function startUnderlay(lab: string): Promise<number> {
  const cgroup = makeCgroup(labCgroups(lab).beside('underlay'));
  return startDetached({
    lab,
    role: 'underlay',
    name: 'underlay',
    newNet: true,
    cgroup,
  });
}

/** Starts the holder of the outside host's namespace. Returns its pid. */
export async function startOutside(lab: string): Promise<number> {
  const cgroup = makeCgroup(labCgroups(lab).beside(OUTSIDE));
  return startDetached({ lab, role: 'outside', name: OUTSIDE, newNet: true, cgroup });
}

/** Starts the holder of a node's namespaces: its own network, /sys, bpffs, cgroup2 tree and directories. Returns its pid. */
export async function startNode(lab: string, node: LabNode): Promise<number> {
  const cgroup = makeCgroup(labCgroups(lab).node(node.name));
  const own = labPaths(lab).node(node.name);
  const binds = (['run', 'lib', 'cni'] as const).map(which => {
    mkdirSync(own[which], { recursive: true, mode: 0o755 });
    return `${own[which]}:${NODE_DIRECTORIES[which]}`;
  });
  return startDetached({
    lab,
    role: 'node',
    name: node.name,
    newNet: true,
    newMount: true,
    cgroup,
    sysCgroup: cgroup,
    bpffs: BPFFS,
    binds,
    sysctls: NODE_SYSCTLS,
  });
}

/** The pid that holds a node's namespaces, or undefined when the node is gone. */
export function nodePid(lab: string, node: string): number | undefined {
  return findProcess(lab, 'node', node)?.pid;
}
