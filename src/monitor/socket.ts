import type { SocketEvent } from '../maps/events.ts';
import { l4ProtoText } from './dissect.ts';

/** `[pre-xlate-fwd] cgroup_id: 42 sock_cookie: 7, dst [10.96.0.1]:80 tcp`. */
export function formatSocketEvent(event: SocketEvent): string {
  const { point, cgroupId, socketCookie, address, port, l4Proto } = event;
  return `[${point}] cgroup_id: ${cgroupId} sock_cookie: ${socketCookie}, dst [${address}]:${port} ${l4ProtoText(l4Proto)}`;
}

/** What `monitor -o json` prints of it; 64-bit numbers are texts. */
export function socketEventToJson(event: SocketEvent): { type: 'trace-sock' } & Record<string, unknown> {
  return {
    type: event.type,
    xlatePoint: event.point,
    dstIP: event.address,
    dstPort: event.port,
    protocol: l4ProtoText(event.l4Proto),
    cgroupID: event.cgroupId.toString(),
    sockCookie: event.socketCookie.toString(),
    timeNs: event.timeNs.toString(),
  };
}
