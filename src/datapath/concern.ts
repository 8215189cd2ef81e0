import { ALL_DEVICES, type NetlinkEvent } from '../kernel/rtnetlink.ts';
import type { Attachment } from './attachments.ts';
import type { DeviceSpec } from './device-table.ts';
import { HOST_DEVICE } from './devices.ts';
import type { RouteSpec } from './route-table.ts';

/** What is wanted at the moment. */
export interface Wanted {
  devices: ReadonlyMap<string, DeviceSpec>;
  routes: ReadonlyMap<string, RouteSpec>;
  attachments: ReadonlyMap<string, Attachment>;
  /** Names of the devices that carry the node's traffic. */
  networkDevices: readonly string[];
}

const MAIN_TABLE = 254;

/**
 * Whether a change goes against what is wanted, so that a pass is worth its while. Our own changes never do: the
 * wish always comes before the deed. Pure.
 */
export function goesAgainst(event: NetlinkEvent, wanted: Wanted): boolean {
  switch (event.type) {
    case 'link-del':
      return wanted.devices.get(event.link.name)?.ifindex === event.link.ifindex;
    case 'link-new': {
      const { name, ifindex, up, mtu } = event.link;
      const want = wanted.devices.get(name);
      if (want) return !up || mtu !== want.mtu || ifindex !== want.ifindex;
      // A device that came back up lost its routes; one of ours that was renamed is missing under its name.
      if (wanted.networkDevices.includes(name)) return true;
      return [...wanted.devices.values()].some(d => d.ifindex === ifindex);
    }
    case 'address-del':
    case 'address-new': {
      const host = wanted.devices.get(HOST_DEVICE);
      if (!host || event.address.ifindex !== host.ifindex || event.address.address.includes(':'))
        return false;
      return (event.address.address === host.ipv4) === (event.type === 'address-del');
    }
    case 'route-del':
      return event.route.table === MAIN_TABLE && wanted.routes.has(event.route.dst);
    case 'route-new': {
      const { table, dst, ifindex, gateway } = event.route;
      const want = wanted.routes.get(dst);
      return (
        table === MAIN_TABLE &&
        want !== undefined &&
        (ifindex !== want.ifindex || (gateway ?? '') !== (want.gateway ?? ''))
      );
    }
    case 'filter-del':
      return [...wanted.attachments.values()].some(a => a.ifindex === event.ifindex && !a.tcx);
    case 'sysctl': {
      const ours =
        event.ifindex === ALL_DEVICES ||
        [...wanted.attachments.values()].some(a => a.ifindex === event.ifindex);
      return ours && (event.forwarding === 0 || (event.rpFilter ?? 0) !== 0);
    }
    default:
      return false;
  }
}
