import { parseIpv4 } from '../../../src/base/addr.ts';
import { DropReason, Identity, PacketMark, TracePoint } from '../../../src/maps/abi.gen.ts';
import { markOf } from '../fixture.ts';
import { type Configuration, NODE_IPV4, TUNNEL_MTU } from '../harness.ts';
import { ETHERTYPE } from '../packet.ts';
import { NODE, type PolicyRule } from '../world.ts';
import { announce, answerPod } from './arp.ts';
import { FlowTables, type Seen } from './conntrack.ts';
import { FlowPacket, TCP, UDP } from './flows.ts';
import {
  bytesOnWire,
  type Endpoint,
  endpointAt,
  identityOf,
  identityOfMark,
  isForDevice,
  isSeenBy,
  type Remote,
  remoteAt,
  routedPastStack,
  senderBehindStack,
} from './model.ts';
import { type Decision, type Flow, type Meeting, Passage, Refused } from './passage.ts';
import { applyPolicy } from './policy.ts';
import type { ServiceModel } from './services.ts';
import { deliversItself, type Program } from './specification.ts';
import { type Choice, Translation } from './translation.ts';

/** The specification as a program: what must become of a packet, decided without any line of `bpf/`. */

const NODE_ADDRESS = parseIpv4(NODE_IPV4);
const ROUTER_ADDRESS = parseIpv4(NODE.router);

const DIRECTIONS: Record<Program, Flow['direction']> = {
  from_container: 'egress',
  to_container: 'ingress',
  from_host: 'egress',
  to_host: 'ingress',
  from_netdev: 'ingress',
  to_netdev: 'egress',
  from_overlay: 'ingress',
  to_overlay: 'egress',
};

export class Oracle {
  readonly #configuration: Configuration;
  readonly #policies: Map<number, PolicyRule[]>;
  readonly tables = new FlowTables();
  readonly #translation: Translation | undefined;

  /**
   * @param policies rules by endpoint id; an endpoint that has none here has no map
   * @param services what is translated, and masquerade; undefined without either
   */
  constructor(configuration: Configuration, policies: Map<number, PolicyRule[]>, services?: ServiceModel) {
    this.#configuration = configuration;
    this.#policies = policies;
    this.#translation = services && new Translation(services, this.tables, !configuration.tunnel);
  }

  /** @param seen what was chosen where the specification leaves a choice */
  decide(program: Program, meeting: Meeting, seen?: Seen): Decision {
    const p = new Passage(meeting, DIRECTIONS[program]);
    this.tables.seen = seen;
    try {
      const decision = this.#decide(program, p);
      // Who watches has it read once more.
      if (seen?.isTraced && decision.point !== undefined && p.frame.wellFormed)
        new FlowPacket(p, this.tables);
      return decision;
    } catch (error) {
      if (error instanceof Refused) return p.dropped(error.reason);
      throw error;
    }
  }

  #decide(program: Program, p: Passage): Decision {
    switch (program) {
      case 'from_container':
        return this.#fromContainer(p);
      case 'to_container':
        return this.#toContainer(p);
      case 'from_host':
        return this.#fromHost(p);
      case 'to_host':
        return this.#toHost(p);
      case 'from_netdev':
        return this.#fromNetdev(p);
      case 'to_netdev':
        return this.#toNetdev(p);
      case 'from_overlay':
        return this.#fromOverlay(p);
      case 'to_overlay':
        return this.#toOverlay(p);
    }
  }

  /** A pod may speak ARP and IPv4, untagged, as nobody but itself. */
  #fromContainer(p: Passage): Decision {
    const { flow } = p;
    if (!p.tagged && p.frame.etherType === ETHERTYPE.arp) return answerPod(p);
    if (p.tagged || p.frame.etherType !== ETHERTYPE.ipv4) throw new Refused('DROP_UNKNOWN_L3');
    if (!p.frame.wellFormed) throw new Refused('DROP_INVALID');
    const sender = endpointAt(p.frame.source);
    if (!sender || sender.ifindex !== p.ifindex || sender.mac !== p.frame.sourceMac)
      throw new Refused('DROP_INVALID_SIP');
    flow.source = sender.identity;
    flow.endpointId = sender.endpointId;

    const packet = this.#translation && FlowPacket.of(p, this.tables);
    if (packet && this.#translation!.fromPod(packet) === 'to itself') {
      flow.destination = sender.identity;
      flow.direction = 'ingress';
      if (p.frame.ttl <= 1) throw new Refused('DROP_TTL_EXCEEDED');
      return p.route().readdress(sender).forwarded('redirect', TracePoint.TRACE_TO_LXC);
    }
    const receiver = endpointAt(p.frame.destination);
    const remote = remoteAt(p.frame.destination);
    flow.destination = receiver?.identity ?? remote?.identity ?? Identity.IDENTITY_WORLD;
    this.#applyPolicy(p, sender, 'egress', flow.destination);
    if (receiver?.host) return p.toStack(TracePoint.TRACE_TO_HOST);
    if (receiver) return this.#deliver(p, receiver);
    this.#refuseUnreachable(remote);
    // A backend's reply to a client outside; what the pod itself has begun answers nobody.
    if (packet && !packet.isBegunHere && this.#translation!.reply(packet, 'ingress')) p.translated = true;
    return this.#leave(p, remote);
  }

  /** Into the tunnel, or to the next hop past the stack where that is the way; what does not fit is the stack's. */
  #leave(p: Passage, remote: Remote | undefined): Decision {
    const wireBytes = bytesOnWire(p.frame, p.gsoSize);
    const tunnelled = this.#behindTunnel(remote);
    if (tunnelled) {
      if (p.frame.ttl <= 1 || wireBytes > TUNNEL_MTU) return p.toStack();
      return this.#encapsulate(p.route(), tunnelled);
    }
    const fits = remote?.neighbour
      ? wireBytes <= TUNNEL_MTU
      : routedPastStack(p.frame.destination, wireBytes);
    return (this.#configuration.hostRouting || p.translated) && p.frame.ttl > 1 && fits
      ? p.route().forwarded('redirect', TracePoint.TRACE_TO_NETWORK)
      : p.toStack();
  }

  /** Out of the stack, so the stack has judged TTL and route; what is left is whether it is for this pod. */
  #toContainer(p: Passage): Decision {
    const { flow, frame } = p;
    if (frame.etherType === ETHERTYPE.arp) return p.ignored();
    if (frame.etherType !== ETHERTYPE.ipv4) throw new Refused('DROP_UNKNOWN_L3');
    if (!frame.wellFormed) throw new Refused('DROP_INVALID');
    flow.source = senderBehindStack(p.mark, frame.source);
    const receiver = endpointAt(frame.destination);
    if (!receiver || receiver.ifindex !== p.ifindex) throw new Refused('DROP_UNROUTABLE');
    flow.destination = receiver.identity;
    flow.endpointId = receiver.endpointId;
    this.#admit(p, receiver);
    return p.forwarded('pass', TracePoint.TRACE_TO_LXC);
  }

  #fromHost(p: Passage): Decision {
    const { flow, frame } = p;
    if (frame.etherType !== ETHERTYPE.ipv4) return p.ignored();
    if (!frame.wellFormed) throw new Refused('DROP_INVALID');
    flow.source = senderBehindStack(p.mark, frame.source);
    const receiver = endpointAt(frame.destination);
    const remote = remoteAt(frame.destination);
    flow.destination = receiver?.identity ?? remote?.identity ?? Identity.IDENTITY_WORLD;
    if (receiver?.host) return p.forwarded('pass', TracePoint.TRACE_TO_HOST);
    // With endpoint routes the pod's own program judges and counts, by the mark.
    if (receiver && this.#configuration.endpointRoutes) return this.#handOver(p, receiver);
    if (receiver) {
      flow.direction = 'ingress';
      flow.endpointId = receiver.endpointId;
      this.#admit(p, receiver);
      return p.readdress(receiver).forwarded('redirect', TracePoint.TRACE_TO_LXC);
    }
    this.#refuseUnreachable(remote);
    const tunnelled = this.#behindTunnel(remote);
    return tunnelled ? this.#encapsulate(p, tunnelled) : p.forwarded('pass', TracePoint.TRACE_TO_STACK);
  }

  #handOver(p: Passage, receiver: Endpoint): Decision {
    p.mark = markOf(p.flow.source);
    return p.readdress(receiver).ignored('redirect');
  }

  #toHost(p: Passage): Decision {
    if (p.frame.etherType !== ETHERTYPE.ipv4) return p.ignored();
    p.flow.destination = Identity.IDENTITY_HOST;
    // An unmarked packet's sender is not looked for here.
    p.flow.source = identityOfMark(p.mark) ?? Identity.IDENTITY_UNKNOWN;
    return p.forwarded('pass', TracePoint.TRACE_TO_HOST, { forHost: true });
  }

  /** The machine's own traffic goes by unseen; only what is clearly for a service, a pod, or for nobody, is ours. */
  #fromNetdev(p: Passage): Decision {
    const { flow } = p;
    if (!p.tagged && p.frame.etherType === ETHERTYPE.arp && isSeenBy(p.ifindex, p.frame)) return announce(p);
    if (p.tagged || !isForDevice(p.ifindex, p.frame) || !p.frame.wellFormed) return p.ignored();
    const asked = endpointAt(p.frame.destination);
    // A pod's address is no frontend's; with options it may be another node's, for a backend that answers by itself.
    const mayCarryName = !this.#configuration.tunnel && p.frame.headerBytes > 20;
    if (this.#translation && (!asked || asked.host || mayCarryName)) {
      const decision = this.#fromOutside(p, this.#translation);
      if (decision) return decision;
      if (p.frame.destination === NODE_ADDRESS) return p.ignored();
    } else if (asked && !asked.policyIngress && this.#translation?.keepsAddress(p.frame.source) === false)
      this.#translation.remember(FlowPacket.of(p, this.tables));
    const receiver = endpointAt(p.frame.destination);
    const remote = remoteAt(p.frame.destination);
    flow.destination = receiver?.identity ?? remote?.identity ?? Identity.IDENTITY_UNKNOWN;
    if (!receiver) {
      this.#refuseUnreachable(remote);
      return p.ignored();
    }
    if (receiver.host || !this.#configuration.hostRouting) return p.ignored();
    flow.source = identityOf(p.frame.source);
    return this.#deliver(p, receiver);
  }

  /** For a service; from a node that asks ours to answer in a service's name; to a port that was given to a flow. */
  #fromOutside(p: Passage, translation: Translation): Decision | undefined {
    const packet = FlowPacket.of(p, this.tables);
    if (!packet.isFlow) return undefined;
    let choice: Choice | undefined;
    try {
      choice = translation.choose(packet, 'outside');
    } catch (error) {
      // Who is not let in learns nothing; who asks for what nobody serves need not wait.
      const mayLearn = error instanceof Refused && error.reason === 'DROP_NO_SERVICE_BACKEND';
      if (mayLearn && mayBeRefused(packet))
        return p.sendBack(error.reason, packet.tuple.l4Proto === TCP ? 20 : 8);
      throw error;
    }
    if (choice) {
      p.flow.source = identityOf(packet.tuple.source);
      const sent = translation.toBackend(packet, choice, remote => {
        const to = endpointAt(choice.address) ?? remote;
        p.flow.destination = to?.identity ?? Identity.IDENTITY_WORLD;
        if (remote) this.#refuseUnreachable(remote);
        return this.#behindTunnel(remote) ? ROUTER_ADDRESS : NODE_ADDRESS;
      });
      return sent ? this.#sendTranslated(p) : this.#deliverToBackend(p, endpointAt(choice.address)!);
    }
    translation.learnName(packet);
    return packet.tuple.destination === NODE_ADDRESS ? this.#backToClient(p, packet, translation) : undefined;
  }

  #deliverToBackend(p: Passage, backend: Endpoint): Decision {
    if (backend.host) return p.toStack(TracePoint.TRACE_TO_HOST);
    if (deliversItself(this.#configuration)) return this.#deliver(p, backend);
    // The stack would see one direction only.
    return p.frame.ttl <= 1 ? p.toStack() : this.#handOver(p.route(), backend);
  }

  /** A reply to what has this node's address by translation, when it goes on to a client outside. */
  #backToClient(p: Passage, packet: FlowPacket, translation: Translation): Decision | undefined {
    const backend = packet.tuple.source;
    if (!translation.back(packet) || endpointAt(packet.tuple.destination)) return undefined;
    if (!translation.reply(packet, 'egress')) return undefined;
    p.flow.direction = 'egress';
    p.flow.source ||= this.#configuration.tunnel ? identityOf(backend) : 0;
    p.flow.destination = identityOf(packet.tuple.destination);
    return this.#sendTranslated(p);
  }

  #sendTranslated(p: Passage): Decision {
    const remote = remoteAt(p.frame.destination);
    if (!this.#behindTunnel(remote)) {
      p.mark = PacketMark.MARK_MAGIC_TRANSLATED;
      p.translated = true;
    }
    return this.#leave(p, remote);
  }

  /** Pods' packets get the node's address where theirs is unknown; the node's own go out of the way. */
  #toNetdev(p: Passage): Decision {
    const magic = p.mark & PacketMark.MARK_MAGIC_MASK;
    const asItLeaves = magic === PacketMark.MARK_MAGIC_TRANSLATED || magic === PacketMark.MARK_MAGIC_OVERLAY;
    if (!this.#translation || !p.frame.wellFormed || asItLeaves) return p.ignored();
    if (p.frame.source === NODE_ADDRESS) {
      this.#translation.ownLeaves(FlowPacket.of(p, this.tables));
      return p.ignored();
    }
    const sender = endpointAt(p.frame.source);
    const ownAddress = sender?.host && p.frame.source !== ROUTER_ADDRESS;
    if (!sender || ownAddress || this.#translation.keepsAddress(p.frame.destination)) return p.ignored();
    p.flow.source = sender.identity;
    p.flow.endpointId = sender.endpointId;
    p.flow.destination = identityOf(p.frame.destination);
    this.#translation.masquerade(FlowPacket.of(p, this.tables), NODE_ADDRESS);
    // It was counted on its way out of the pod.
    return { ...p.forwarded('pass', TracePoint.TRACE_TO_NETWORK), counted: undefined };
  }

  /** The VNI says who sent it; nobody there is this node's host. */
  #fromOverlay(p: Passage): Decision {
    if (p.tagged || p.frame.etherType !== ETHERTYPE.ipv4) throw new Refused('DROP_UNKNOWN_L3');
    if (p.vni === undefined) throw new Refused('DROP_TUNNEL_KEY');
    p.flow.source = p.vni;
    if (p.vni === Identity.IDENTITY_UNKNOWN || p.vni === Identity.IDENTITY_HOST)
      throw new Refused('DROP_INVALID_IDENTITY');
    return { ...this.#outOfTunnel(p), forHost: true };
  }

  #outOfTunnel(p: Passage): Decision {
    const { flow } = p;
    if (!p.frame.wellFormed) throw new Refused('DROP_INVALID');
    if (this.#translation && p.frame.destination === ROUTER_ADDRESS) {
      const packet = FlowPacket.of(p, this.tables);
      const decision = packet.isFlow ? this.#backToClient(p, packet, this.#translation) : undefined;
      if (decision) return decision;
    }
    const receiver = endpointAt(p.frame.destination);
    const remote = remoteAt(p.frame.destination);
    flow.destination = receiver?.identity ?? remote?.identity ?? Identity.IDENTITY_WORLD;
    if (receiver?.host) return p.toStack(TracePoint.TRACE_TO_HOST);
    if (receiver) return this.#deliver(p, receiver);
    this.#refuseUnreachable(remote);
    return p.toStack();
  }

  /** Counted as seen at the interface; what is not IPv4 is the device's own chatter. */
  #toOverlay(p: Passage): Decision {
    if (p.frame.etherType !== ETHERTYPE.ipv4) return p.ignored();
    return { ...p.ignored(), counted: DropReason.REASON_INTERFACE, direction: 'egress' };
  }

  /** Into a pod of this node, as its last router; or by the stack, which has a route or an ICMP error for it. */
  #deliver(p: Passage, receiver: Endpoint): Decision {
    if (!deliversItself(this.#configuration) || p.frame.ttl <= 1) return p.toStack();
    p.flow.direction = 'ingress';
    p.flow.endpointId = receiver.endpointId;
    this.#admit(p, receiver);
    return p.route().readdress(receiver).forwarded('redirect', TracePoint.TRACE_TO_LXC);
  }

  /** A pod's last step: its policy, and replies to it come from where it had sent to. */
  #admit(p: Passage, receiver: Endpoint): void {
    this.#applyPolicy(p, receiver, 'ingress', p.flow.source);
    if (!this.#translation) return;
    const packet = FlowPacket.of(p, this.tables);
    if (!packet.toService) this.#translation.reply(packet, 'egress');
  }

  #encapsulate(p: Passage, remote: Remote): Decision {
    const { source } = p.flow;
    const vni = source === Identity.IDENTITY_HOST ? Identity.IDENTITY_REMOTE_NODE : source;
    const tunnel = { vni, remote: remote.tunnelEndpoint };
    return p.forwarded('redirect', TracePoint.TRACE_TO_OVERLAY, { tunnel });
  }

  /** Who is reached through the tunnel. */
  #behindTunnel(remote: Remote | undefined): Remote | undefined {
    return this.#configuration.tunnel && remote?.tunnelEndpoint ? remote : undefined;
  }

  #refuseUnreachable(remote: Remote | undefined): void {
    if (remote?.ownPodCidr) throw new Refused('DROP_UNROUTABLE');
    if (this.#configuration.tunnel && remote?.cluster && remote.tunnelEndpoint === 0)
      throw new Refused('DROP_NO_TUNNEL_ENDPOINT');
  }

  #applyPolicy(p: Passage, endpoint: Endpoint, direction: 'ingress' | 'egress', peer: number): void {
    if (direction === 'ingress' ? endpoint.policyIngress : endpoint.policyEgress)
      applyPolicy(this.tables, this.#policies.get(endpoint.endpointId), p, endpoint, direction, peer);
  }
}

/** RFC 1122: errors are about one host's first fragments, and never about an error. */
function mayBeRefused({ kind, here, passage, tcpFlags, tuple }: FlowPacket): boolean {
  const { frame, gsoSize } = passage;
  const net = frame.source >>> 24;
  if (kind !== 'flow' || !here || gsoSize !== 0 || frame.headerBytes !== 20) return false;
  if (net === 0 || net === 127 || net >= 224) return false;
  return tuple.l4Proto === TCP ? (tcpFlags & 0x04) === 0 : tuple.l4Proto === UDP;
}
