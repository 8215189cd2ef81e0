import { API_HOST } from './control-plane.ts';
import type { ClusterNode } from './node.ts';

export const OUTSIDE_HOST = '192.168.10.1';
const BRIDGE = 'br0';

/** The network of a cluster's machines: a bridge in the control plane's node, which has {@link API_HOST} on it. */
export async function makeUnderlay(control: ClusterNode): Promise<void> {
  await control.must('ip', 'link', 'add', BRIDGE, 'type', 'bridge');
  await control.must('ip', 'address', 'add', `${API_HOST}/24`, 'dev', BRIDGE);
  await control.must('ip', 'link', 'set', BRIDGE, 'up');
}

/** Gives a machine its `eth0` in it, with an address and, unless it is that host, the way through {@link OUTSIDE_HOST}. */
export async function joinUnderlay(control: ClusterNode, machine: ClusterNode, ip: string): Promise<void> {
  const port = `port-${machine.name}`;
  const peer = ['peer', 'name', 'eth0', 'netns', String(machine.pid)];
  await control.must('ip', 'link', 'add', port, 'type', 'veth', ...peer);
  await control.must('ip', 'link', 'set', port, 'master', BRIDGE, 'up');
  await machine.must('ip', 'address', 'add', `${ip}/24`, 'broadcast', '+', 'dev', 'eth0');
  await machine.must('ip', 'link', 'set', 'eth0', 'up');
  if (ip !== OUTSIDE_HOST) await machine.must('ip', 'route', 'add', 'default', 'via', OUTSIDE_HOST);
}
