import { parseIpv4 } from '../../../src/base/addr.ts';
import { parseMac } from '../../../src/base/mac.ts';
import { DropReason, Identity, TracePoint } from '../../../src/maps/abi.gen.ts';
import type { MetricsRow } from '../../../src/maps/metrics.ts';
import { markOf } from '../fixture.ts';
import { type Configuration, TUNNEL_MTU } from '../harness.ts';
import { ETHERTYPE } from '../packet.ts';
import { ANNOUNCED, NODE, type PolicyRule } from '../world.ts';
import { FlowMemory, reversed } from './flows.ts';
import { type Frame, macAt, readFrame, u16At, u32At } from './frame.ts';
import {
  bytesOnWire,
  type Endpoint,
  endpointAt,
  identityOf,
  identityOfMark,
  isForDevice,
  isSeenBy,
  policyAnswer,
  type Remote,
  remoteAt,
  routedPastStack,
  senderBehindStack,
} from './model.ts';
import { deliversItself, type Program, type Verdict } from './specification.ts';

/** The specification as a program: what must become of a packet, decided without any line of `bpf/`. */

/** A packet as a program meets it. */
export interface Meeting {
  bytes: Uint8Array;
  ifindex: number;
  mark: number;
  gsoSize: number;
  /** A tag that the device has taken out of the frame. */
  tagged: boolean;
  /** VNI of the tunnel it came through; undefined without. */
  vni: number | undefined;
}

export interface Flow {
  direction: MetricsRow['direction'];
  endpointId: number;
  source: number;
  destination: number;
}

export interface Decision extends Flow {
  verdict: Verdict;
  /** `DropReason` under which it is counted, undefined when it is not. */
  counted: number | undefined;
  /** Trace point, undefined when nothing is reported. A drop reports its reason. */
  point: number | undefined;
  mark: number;
  /** What the packet looks like afterwards. */
  bytes: Uint8Array;
  tunnel: { vni: number; remote: number } | undefined;
  /** The stack is told that the frame is for this host. */
  forHost: boolean;
}

type Change = Partial<Pick<Decision, 'mark' | 'bytes' | 'tunnel' | 'forHost'>>;

export class Oracle {
  readonly #configuration: Configuration;
  readonly #policies: Map<number, PolicyRule[]>;
  readonly #flows = new FlowMemory();

  /** @param policies rules by endpoint id; an endpoint that has none here has no map */
  constructor(configuration: Configuration, policies: Map<number, PolicyRule[]>) {
    this.#configuration = configuration;
    this.#policies = policies;
  }

  /** Conntrack is empty. */
  forgetFlows(): void {
    this.#flows.forget();
  }

  decide(program: Program, meeting: Meeting): Decision {
    const frame = readFrame(meeting.bytes, meeting.gsoSize !== 0);
    switch (program) {
      case 'from_container':
        return this.#fromContainer(meeting, frame);
      case 'to_container':
        return this.#toContainer(meeting, frame);
      case 'from_host':
        return this.#fromHost(meeting, frame);
      case 'to_host':
        return this.#toHost(meeting, frame);
      case 'from_netdev':
        return this.#fromNetdev(meeting, frame);
      case 'from_overlay':
        return this.#fromOverlay(meeting, frame);
      case 'to_overlay':
        return this.#toOverlay(meeting, frame);
    }
  }

  /** A pod may speak ARP and IPv4, untagged, as nobody but itself. */
  #fromContainer(m: Meeting, frame: Frame): Decision {
    const flow = flowOf('egress');
    if (!m.tagged && frame.etherType === ETHERTYPE.arp) return this.#arp(m, flow);
    if (m.tagged || frame.etherType !== ETHERTYPE.ipv4) return dropped(m, 'DROP_UNKNOWN_L3', flow);
    if (!frame.wellFormed) return dropped(m, 'DROP_INVALID', flow);
    const sender = endpointAt(frame.source);
    if (!sender || sender.ifindex !== m.ifindex || sender.mac !== frame.sourceMac)
      return dropped(m, 'DROP_INVALID_SIP', flow);
    flow.source = sender.identity;
    flow.endpointId = sender.endpointId;

    const receiver = endpointAt(frame.destination);
    const remote = remoteAt(frame.destination);
    flow.destination = receiver?.identity ?? remote?.identity ?? Identity.IDENTITY_WORLD;
    const refusal = this.#refusal(m, frame, sender, 'egress', flow.destination, flow);
    if (refusal) return refusal;
    if (receiver?.host) return toStack(m, flow, TracePoint.TRACE_TO_HOST);
    if (receiver) return this.#deliver(m, frame, receiver, flow);

    const unreachable = this.#unreachable(m, remote, flow);
    if (unreachable) return unreachable;
    const wireBytes = bytesOnWire(frame, m.gsoSize);
    const tunnelled = this.#behindTunnel(remote);
    if (tunnelled) {
      if (frame.ttl <= 1 || wireBytes > TUNNEL_MTU) return toStack(m, flow);
      return this.#encapsulate(m, tunnelled, flow, routed(m.bytes));
    }
    const fits = remote?.neighbour ? wireBytes <= TUNNEL_MTU : routedPastStack(frame.destination, wireBytes);
    return this.#configuration.hostRouting && frame.ttl > 1 && fits
      ? forwarded(m, 'redirect', TracePoint.TRACE_TO_NETWORK, flow, { bytes: routed(m.bytes) })
      : toStack(m, flow);
  }

  /** Whoever asks truthfully is told the host side's MAC, whatever the address; the rest is for the stack. */
  #arp(m: Meeting, flow: Flow): Decision {
    const { bytes } = m;
    const ethernetIpv4 = bytes.length >= 42 && u32At(bytes, 14) === 0x00010800 && u16At(bytes, 18) === 0x0604;
    if (!ethernetIpv4) return dropped(m, 'DROP_INVALID', flow);
    const isRequest = u16At(bytes, 20) === 1;
    const [asker, asked] = [u32At(bytes, 28), u32At(bytes, 38)];
    if (isRequest && asker === 0) return forwarded(m, 'pass', TracePoint.TRACE_TO_STACK, flow);
    const sender = endpointAt(asker);
    const genuine =
      sender &&
      sender.ifindex === m.ifindex &&
      macAt(bytes, 22) === sender.mac &&
      macAt(bytes, 6) === sender.mac;
    if (!genuine) return dropped(m, 'DROP_INVALID_SIP', flow);
    flow.source = sender.identity;
    flow.endpointId = sender.endpointId;
    if (!isRequest || asked === asker) return forwarded(m, 'pass', TracePoint.TRACE_TO_STACK, flow);
    const answer = Buffer.from(bytes);
    const [pod, node] = [parseMac(sender.mac), parseMac(sender.nodeMac)];
    answer.set(pod, 0);
    answer.set(node, 6);
    answer.writeUInt16BE(2, 20);
    answer.set(node, 22);
    answer.writeUInt32BE(asked, 28);
    answer.set(pod, 32);
    answer.writeUInt32BE(asker, 38);
    return forwarded(m, 'redirect', TracePoint.TRACE_TO_LXC, flow, { bytes: answer });
  }

  /** Out of the stack, so the stack has judged TTL and route; what is left is whether it is for this pod. */
  #toContainer(m: Meeting, frame: Frame): Decision {
    const flow = flowOf('ingress');
    if (frame.etherType === ETHERTYPE.arp) return ignored(m);
    if (frame.etherType !== ETHERTYPE.ipv4) return dropped(m, 'DROP_UNKNOWN_L3', flow);
    if (!frame.wellFormed) return dropped(m, 'DROP_INVALID', flow);
    flow.source = senderBehindStack(m.mark, frame.source);
    const receiver = endpointAt(frame.destination);
    if (!receiver || receiver.ifindex !== m.ifindex) return dropped(m, 'DROP_UNROUTABLE', flow);
    flow.destination = receiver.identity;
    flow.endpointId = receiver.endpointId;
    return (
      this.#refusal(m, frame, receiver, 'ingress', flow.source, flow) ??
      forwarded(m, 'pass', TracePoint.TRACE_TO_LXC, flow)
    );
  }

  #fromHost(m: Meeting, frame: Frame): Decision {
    const flow = flowOf('egress');
    if (frame.etherType !== ETHERTYPE.ipv4) return ignored(m);
    if (!frame.wellFormed) return dropped(m, 'DROP_INVALID', flow);
    flow.source = senderBehindStack(m.mark, frame.source);
    const receiver = endpointAt(frame.destination);
    const remote = remoteAt(frame.destination);
    flow.destination = receiver?.identity ?? remote?.identity ?? Identity.IDENTITY_WORLD;
    if (receiver?.host) return forwarded(m, 'pass', TracePoint.TRACE_TO_HOST, flow);
    if (receiver) {
      const bytes = readdressed(m.bytes, receiver);
      // With endpoint routes the pod's own program judges and counts, by the mark.
      if (this.#configuration.endpointRoutes)
        return { ...ignored(m), verdict: 'redirect', bytes, mark: markOf(flow.source) };
      flow.direction = 'ingress';
      flow.endpointId = receiver.endpointId;
      return (
        this.#refusal(m, frame, receiver, 'ingress', flow.source, flow) ??
        forwarded(m, 'redirect', TracePoint.TRACE_TO_LXC, flow, { bytes })
      );
    }
    const tunnelled = this.#behindTunnel(remote);
    return (
      this.#unreachable(m, remote, flow) ??
      (tunnelled
        ? this.#encapsulate(m, tunnelled, flow, m.bytes)
        : forwarded(m, 'pass', TracePoint.TRACE_TO_STACK, flow))
    );
  }

  #toHost(m: Meeting, frame: Frame): Decision {
    if (frame.etherType !== ETHERTYPE.ipv4) return ignored(m);
    const flow = flowOf('ingress');
    flow.destination = Identity.IDENTITY_HOST;
    // An unmarked packet's sender is not looked for here.
    flow.source = identityOfMark(m.mark) ?? Identity.IDENTITY_UNKNOWN;
    return forwarded(m, 'pass', TracePoint.TRACE_TO_HOST, flow, { forHost: true });
  }

  /** Who asks for an address that this node announces here and now is answered; the rest is the stack's. */
  #announce(m: Meeting, flow: Flow): Decision {
    const { bytes } = m;
    const asks =
      bytes.length >= 42 &&
      u32At(bytes, 14) === 0x00010800 &&
      u32At(bytes, 18) === 0x06040001 &&
      m.ifindex === NODE.ifindex;
    if (!asks) return ignored(m);
    const [asker, asked] = [u32At(bytes, 28), u32At(bytes, 38)];
    if (asked !== parseIpv4(ANNOUNCED.held) || asker === asked) return ignored(m);
    const answer = Buffer.from(bytes);
    const own = parseMac(NODE.mac);
    answer.set(bytes.subarray(22, 28), 0);
    answer.set(own, 6);
    answer.writeUInt16BE(2, 20);
    answer.set(own, 22);
    answer.writeUInt32BE(asked, 28);
    answer.set(bytes.subarray(22, 28), 32);
    answer.writeUInt32BE(asker, 38);
    return forwarded(m, 'redirect', TracePoint.TRACE_TO_NETWORK, flow, { bytes: answer });
  }

  /** The machine's own traffic goes by unseen; only what is clearly for a pod, or for nobody, is ours. */
  #fromNetdev(m: Meeting, frame: Frame): Decision {
    const flow = flowOf('ingress');
    if (!m.tagged && frame.etherType === ETHERTYPE.arp && isSeenBy(m.ifindex, frame))
      return this.#announce(m, flow);
    if (m.tagged || !isForDevice(m.ifindex, frame) || !frame.wellFormed) return ignored(m);
    const receiver = endpointAt(frame.destination);
    const remote = remoteAt(frame.destination);
    flow.destination = receiver?.identity ?? remote?.identity ?? Identity.IDENTITY_UNKNOWN;
    if (!receiver) return this.#unreachable(m, remote, flow) ?? ignored(m);
    if (receiver.host || !this.#configuration.hostRouting) return ignored(m);
    flow.source = identityOf(frame.source);
    return this.#deliver(m, frame, receiver, flow);
  }

  /** The VNI says who sent it; nobody there is this node's host. */
  #fromOverlay(m: Meeting, frame: Frame): Decision {
    const flow = flowOf('ingress');
    if (m.tagged || frame.etherType !== ETHERTYPE.ipv4) return dropped(m, 'DROP_UNKNOWN_L3', flow);
    if (m.vni === undefined) return dropped(m, 'DROP_TUNNEL_KEY', flow);
    flow.source = m.vni;
    if (m.vni === Identity.IDENTITY_UNKNOWN || m.vni === Identity.IDENTITY_HOST)
      return dropped(m, 'DROP_INVALID_IDENTITY', flow);
    return { ...this.#outOfTunnel(m, frame, flow), forHost: true };
  }

  #outOfTunnel(m: Meeting, frame: Frame, flow: Flow): Decision {
    if (!frame.wellFormed) return dropped(m, 'DROP_INVALID', flow);
    const receiver = endpointAt(frame.destination);
    const remote = remoteAt(frame.destination);
    flow.destination = receiver?.identity ?? remote?.identity ?? Identity.IDENTITY_WORLD;
    if (receiver?.host) return toStack(m, flow, TracePoint.TRACE_TO_HOST);
    if (receiver) return this.#deliver(m, frame, receiver, flow);
    return this.#unreachable(m, remote, flow) ?? toStack(m, flow);
  }

  /** Counted as seen at the interface; what is not IPv4 is the device's own chatter. */
  #toOverlay(m: Meeting, frame: Frame): Decision {
    if (frame.etherType !== ETHERTYPE.ipv4) return ignored(m);
    return { ...ignored(m), counted: DropReason.REASON_INTERFACE, direction: 'egress' };
  }

  /** Into a pod of this node, as its last router; or by the stack, which has a route or an ICMP error for it. */
  #deliver(m: Meeting, frame: Frame, receiver: Endpoint, flow: Flow): Decision {
    if (!deliversItself(this.#configuration) || frame.ttl <= 1) return toStack(m, flow);
    flow.direction = 'ingress';
    flow.endpointId = receiver.endpointId;
    return (
      this.#refusal(m, frame, receiver, 'ingress', flow.source, flow) ??
      forwarded(m, 'redirect', TracePoint.TRACE_TO_LXC, flow, {
        bytes: readdressed(routed(m.bytes), receiver),
      })
    );
  }

  #encapsulate(m: Meeting, remote: Remote, flow: Flow, bytes: Uint8Array): Decision {
    const vni = flow.source === Identity.IDENTITY_HOST ? Identity.IDENTITY_REMOTE_NODE : flow.source;
    const tunnel = { vni, remote: remote.tunnelEndpoint };
    return forwarded(m, 'redirect', TracePoint.TRACE_TO_OVERLAY, flow, { bytes, tunnel });
  }

  /** Who is reached through the tunnel. */
  #behindTunnel(remote: Remote | undefined): Remote | undefined {
    return this.#configuration.tunnel && remote?.tunnelEndpoint ? remote : undefined;
  }

  #unreachable(m: Meeting, remote: Remote | undefined, flow: Flow): Decision | undefined {
    if (remote?.ownPodCidr) return dropped(m, 'DROP_UNROUTABLE', flow);
    if (this.#configuration.tunnel && remote?.cluster && remote.tunnelEndpoint === 0)
      return dropped(m, 'DROP_NO_TUNNEL_ENDPOINT', flow);
    return undefined;
  }

  #refusal(
    m: Meeting,
    frame: Frame,
    endpoint: Endpoint,
    direction: 'ingress' | 'egress',
    peer: number,
    flow: Flow,
  ): Decision | undefined {
    if (!(direction === 'ingress' ? endpoint.policyIngress : endpoint.policyEgress)) return undefined;
    const { kind, tuple } = this.#flows.tupleOf(frame);
    const isFlow = kind === 'flow' || kind === 'icmp error';
    const other = direction === 'ingress' ? 'egress' : 'ingress';
    // What answers a flow that was let through needs no rule.
    if (isFlow && this.#flows.isAllowed(other, reversed(tuple))) return undefined;
    const answer = policyAnswer(this.#policies.get(endpoint.endpointId), direction, peer, frame);
    if (answer !== 'allow') return dropped(m, answer, flow);
    if (kind === 'flow') this.#flows.allow(direction, tuple);
    return undefined;
  }
}

const flowOf = (direction: MetricsRow['direction']): Flow => ({
  direction,
  endpointId: 0,
  source: 0,
  destination: 0,
});

/** Goes on untouched, uncounted, unreported. */
function ignored(m: Meeting): Decision {
  return {
    ...flowOf('unknown'),
    verdict: 'pass',
    counted: undefined,
    point: undefined,
    mark: m.mark,
    bytes: m.bytes,
    tunnel: undefined,
    forHost: false,
  };
}

function dropped(m: Meeting, reason: keyof typeof DropReason, flow: Flow): Decision {
  return { ...ignored(m), ...flow, verdict: 'drop', counted: DropReason[reason] };
}

function forwarded(m: Meeting, verdict: Verdict, point: number, flow: Flow, change: Change = {}): Decision {
  return { ...ignored(m), ...flow, verdict, counted: DropReason.REASON_FORWARDED, point, ...change };
}

const toStack = (m: Meeting, flow: Flow, point: number = TracePoint.TRACE_TO_STACK): Decision =>
  forwarded(m, 'pass', point, flow, { mark: markOf(flow.source) });

/** One TTL less; the checksum's error, if it has one, stays what it is. */
function routed(bytes: Uint8Array): Uint8Array {
  const copy = Buffer.from(bytes);
  copy[22] = copy[22]! - 1;
  copy.writeUInt16BE((copy.readUInt16BE(24) + 0x100) % 0xffff, 24);
  return copy;
}

function readdressed(bytes: Uint8Array, receiver: Endpoint): Uint8Array {
  const copy = Buffer.from(bytes);
  copy.set(parseMac(receiver.mac), 0);
  copy.set(parseMac(receiver.nodeMac), 6);
  return copy;
}
