import { Rtnetlink } from '../kernel/rtnetlink.ts';
import { type LabNode, OUTSIDE, OUTSIDE_IP, UNDERLAY_PREFIX_LENGTH } from './names.ts';
import { netnsOf } from './namespaces.ts';

/** The device that every host of the underlay has. */
export const HOST_DEVICE = 'eth0';

const UNDERLAY_BRIDGE = 'br0';

/** A host of the underlay and the process that holds its namespace. */
interface Host {
  readonly name: string;
  readonly ip: string;
  readonly pid: number;
}

async function within<T>(pid: number, work: (netlink: Rtnetlink) => Promise<T>): Promise<T> {
  const netlink = Rtnetlink.open({ netns: netnsOf(pid) });
  try {
    return await work(netlink);
  } finally {
    netlink.close();
  }
}

/** The address at the end of the underlay's network. */
function broadcastOf(ip: string): string {
  return ip.replace(/\d+$/, '255');
}

async function setUpHost(host: Host): Promise<void> {
  await within(host.pid, async netlink => {
    await netlink.setLink(HOST_DEVICE, { up: true });
    const link = await netlink.link(HOST_DEVICE);
    const ifindex = link?.ifindex ?? 0;
    await netlink.addAddress({
      ifindex,
      address: host.ip,
      prefixLength: UNDERLAY_PREFIX_LENGTH,
      broadcast: broadcastOf(host.ip),
    });
    if (host.ip === OUTSIDE_IP) return;
    await netlink.replaceRoute({ dst: 'default', gateway: OUTSIDE_IP, ifindex, protocol: 'boot' });
  });
}

/** Joins the nodes and the outside host to the underlay's bridge: `eth0` each, with an address; nodes route to outside. */
export async function connectUnderlay(
  underlayPid: number,
  outsidePid: number,
  nodes: readonly (LabNode & { pid: number })[],
): Promise<void> {
  const hosts: Host[] = [{ name: OUTSIDE, ip: OUTSIDE_IP, pid: outsidePid }, ...nodes];
  await within(underlayPid, async netlink => {
    await netlink.createBridge({ name: UNDERLAY_BRIDGE, up: true });
    const bridge = await netlink.link(UNDERLAY_BRIDGE);
    for (const [i, host] of hosts.entries()) {
      const name = `port${i}`;
      await netlink.createVeth({ name, peer: { name: HOST_DEVICE, netns: netnsOf(host.pid) } });
      await netlink.setLink(name, { master: bridge?.ifindex ?? 0, up: true });
    }
  });
  await Promise.all(hosts.map(setUpHost));
}
