import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ignoring } from '../base/errors.ts';
import { BpfProgram, TcFilter, TcxLink } from '../kernel/libbpf/index.ts';
import type { Link, Rtnetlink } from '../kernel/rtnetlink.ts';
import { Maps } from '../maps/abi.gen.ts';
import { nextOf } from './map-upgrade.ts';
import { MASQUERADE_TABLE, MasqueradeTarget } from './masquerade-table.ts';
import { policyMapOwner } from './policy-maps.ts';
import { isOurDevice, ROUTE_NOTES } from './route-table.ts';
import { removeSocketLink, socketPinRoot } from './socket-lb.ts';

/** Something of ours that is on a node, and how it goes. Removing what is gone succeeds. */
export interface Remain {
  /** For people: `route 10.244.1.0/24 via 192.168.10.101`. */
  what: string;
  remove(): Promise<void> | void;
}

const MAIN_TABLE = 254;

/**
 * What a datapath has put into the kernel of this node, in the order in which it may be taken away: routes and
 * filters first, then devices (with which the pods' interfaces and their routes go), maps last. Changes nothing.
 * @param journal what the agent noted, to tell our routes through a gateway from others'
 */
export async function datapathRemains(
  rtnl: Rtnetlink,
  bpfRoot: string,
  journal: ReadonlyMap<string, unknown>,
): Promise<Remain[]> {
  const links = await rtnl.links();
  return [
    ...(await routeRemains(rtnl, journal)),
    ...(await masqueradeRemains()),
    ...links.filter(link => !isOurDevice(link.name)).flatMap(filterRemains),
    ...tcxRemains(join(bpfRoot, 'cilium', 'devices')),
    ...socketRemains(bpfRoot),
    ...deviceRemains(rtnl, links),
    ...mapRemains(join(bpfRoot, 'tc', 'globals')),
  ];
}

async function routeRemains(rtnl: Rtnetlink, journal: ReadonlyMap<string, unknown>): Promise<Remain[]> {
  const routes = await rtnl.routes({ table: MAIN_TABLE });
  return routes
    .filter(route => {
      const note = journal.get(ROUTE_NOTES + route.dst) as { gateway?: string } | undefined;
      return route.protocol === 'kernel' && note?.gateway !== undefined && note.gateway === route.gateway;
    })
    .map(route => ({
      what: `route ${route.dst} via ${route.gateway}`,
      remove: async () => void (await ignoring(['ESRCH'], () => rtnl.deleteRoute(route))),
    }));
}

async function masqueradeRemains(): Promise<Remain[]> {
  const target = new MasqueradeTarget();
  const present = await target.read().finally(() => target.close());
  return [...present.keys()].map(() => ({
    what: `nftables table ip ${MASQUERADE_TABLE}`,
    remove: () => target.delete().finally(() => target.close()),
  }));
}

/** A filter in our slot is ours when its program's name says so. */
function filterRemains(link: Link): Remain[] {
  return (['ingress', 'egress'] as const).flatMap(direction => {
    const hook = { ifindex: link.ifindex, direction };
    const filter = TcFilter.query(hook);
    if (!filter) return [];
    const program = BpfProgram.fromId(filter.programId);
    const { name } = program;
    program.close();
    if (!name.startsWith('cil_')) return [];
    return [
      {
        what: `filter ${name} at ${direction} of ${link.name}`,
        remove: async () =>
          void (await ignoring(['ENOENT', 'EINVAL', 'ENODEV'], () => TcFilter.detach(hook))),
      },
    ];
  });
}

function tcxRemains(pinRoot: string): Remain[] {
  return namesIn(pinRoot).flatMap(device =>
    namesIn(join(pinRoot, device, 'links')).map(name => {
      const pin = join(pinRoot, device, 'links', name);
      return {
        what: `TCX link ${name} at ${device}`,
        remove: async () => {
          await ignoring(['ENOENT'], () => {
            const link = TcxLink.fromPin(pin);
            // Also where somebody else holds a descriptor of it.
            link.detach();
            link.close();
          });
          rmSync(pin, { force: true });
        },
      };
    }),
  );
}

function socketRemains(bpfRoot: string): Remain[] {
  const pins = socketPinRoot(bpfRoot);
  return namesIn(pins).map(name => ({
    what: `socket program ${name}`,
    remove: () => removeSocketLink(join(pins, name)),
  }));
}

function deviceRemains(rtnl: Rtnetlink, links: readonly Link[]): Remain[] {
  const kindOf = (name: string): string => (name === 'cilium_vxlan' ? 'vxlan' : 'veth');
  return (
    links
      .filter(link => isOurDevice(link.name) && link.kind === kindOf(link.name))
      // Goes with its peer.
      .filter(link => link.name !== 'cilium_net' || !links.some(l => l.name === 'cilium_host'))
      .map(link => ({
        what: `device ${link.name}`,
        remove: async () => void (await rtnl.deleteLink(link.name)),
      }))
  );
}

function mapRemains(folder: string): Remain[] {
  const ours = (name: string): boolean => name in Maps || policyMapOwner(name) !== undefined;
  return namesIn(folder)
    .filter(name => ours(nextOf(name) ?? name))
    .map(name => ({
      what: `map pin ${join(folder, name)}`,
      remove: () => rmSync(join(folder, name), { force: true }),
    }));
}

function namesIn(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder).sort() : [];
}
