import { LbServiceFlag } from '../../../src/maps/abi.gen.ts';
import { ipNumber, TUNNEL_MTU } from '../harness.ts';
import { CtFlags, FlowTables } from './conntrack.ts';
import { type End, type FlowPacket, ICMP, reversed, TCP, type Tuple } from './flows.ts';
import { u16At, u32At } from './frame.ts';
import { endpointAt, identityOf, type Remote, remoteAt } from './model.ts';
import { Refused } from './passage.ts';
import { type Backend, type Frontend, isInRanges, type ServiceModel } from './services.ts';

/** Services, masquerade and direct server return, as they are specified. */

export interface Choice extends Backend {
  frontend: End;
  service: Frontend;
}

const LOOPBACK = ipNumber('169.254.42.1');
const NODE_PORTS = { first: 30_000, last: 32_767 } as const;
const FIRST_PORT = 1024;
const isServicePort = (port: number): boolean => port >= NODE_PORTS.first && port <= NODE_PORTS.last;
const DSR = { type: 0x9a, bytes: 8, at: 34 } as const;

const source = ({ source: address, sourcePort: port }: Tuple): End => ({ address, port });
const destination = ({ destination: address, destinationPort: port }: Tuple): End => ({ address, port });
const same = (a: End, b: End): boolean => a.address === b.address && a.port === b.port;

/** The reply to a packet that left in another name. */
const replyTo = (tuple: Tuple, name: End): Tuple =>
  reversed({ ...tuple, source: name.address, sourcePort: name.port });

export class Translation {
  readonly #services: ServiceModel;
  readonly #tables: FlowTables;
  readonly #dsr: boolean;
  /** What every node must come to again. */
  readonly #maglev = new Map<string, number>();

  constructor(services: ServiceModel, tables: FlowTables, dsr: boolean) {
    this.#services = services;
    this.#tables = tables;
    this.#dsr = dsr;
  }

  /** A node port stands for the node's addresses, and for clients inside for every node's. */
  #frontendOf({ tuple }: FlowPacket, client: 'inside' | 'outside'): Frontend | undefined {
    const asked = destination(tuple);
    const found = this.#services.frontend(asked, tuple.l4Proto, client);
    if (found || !isServicePort(asked.port)) return found;
    const own = endpointAt(asked.address);
    const isNode = own ? own.host : client === 'inside' && [1, 6].includes(identityOf(asked.address));
    return isNode ? this.#services.frontend({ ...asked, address: 0 }, tuple.l4Proto, client) : undefined;
  }

  /** The backend of a packet to a service: the one its flow has, or a new one. Undefined when it is for none. */
  choose(packet: FlowPacket, client: 'inside' | 'outside'): Choice | undefined {
    const { tuple } = packet;
    const service = this.#frontendOf(packet, client);
    if (!service) return undefined;
    if (client === 'outside' && service.flags & LbServiceFlag.LB_F_CLUSTER_IP)
      throw new Refused('DROP_IS_CLUSTER_IP');
    const limited = client === 'outside' && service.flags & LbServiceFlag.LB_F_SOURCE_RANGES;
    if (limited && !isInRanges(tuple.source, service.sourceRanges))
      throw new Refused('DROP_NOT_IN_SOURCE_RANGE');
    const frontend = destination(tuple);
    const given = this.#tables.find(this.#tables.conntrack, 'service', tuple);
    // A new connection on the ports of one that is over goes where new ones go.
    const isNew = packet.isSyn && given && given.expiresS - this.#tables.nowS <= 10;
    if (given?.revNatIndex === service.revNatIndex && !isNew)
      return { ...this.#services.backend(given.backendId)!, frontend, service };
    if (packet.kind === 'icmp error') return undefined;
    const backend = this.#newBackend(packet, service);
    const { id: backendId, address, port } = backend;
    const { revNatIndex } = service;
    this.#tables.open('service', packet, { revNatIndex, backendId, name: { address, port } });
    return { ...backend, frontend, service };
  }

  #newBackend(packet: FlowPacket, { flags, backends, revNatIndex }: Frontend): Backend {
    if (backends.length === 0) throw new Refused('DROP_NO_SERVICE_BACKEND');
    const client = `${packet.tuple.source} ${revNatIndex}`;
    const flow = `${JSON.stringify(packet.tuple)} ${revNatIndex}`;
    const hasAffinity = (flags & LbServiceFlag.LB_F_AFFINITY) !== 0;
    const isMaglev = (flags & LbServiceFlag.LB_F_MAGLEV) !== 0;
    const due = hasAffinity
      ? this.#tables.affinity.get(client)
      : isMaglev
        ? this.#maglev.get(flow)
        : undefined;
    const given = u32At(this.#tables.seen!.frame, 30);
    const chosen = backends.find(({ id, address }) => (due === undefined ? address === given : id === due));
    if (!chosen) throw new Error(`none of the service's backends was given, but ${given}`);
    if (hasAffinity) this.#tables.affinity.set(client, chosen.id);
    if (isMaglev) this.#maglev.set(flow, chosen.id);
    return chosen;
  }

  /** The flow as the backend sees it, so that replies get their name back; the client's own entry lives as long. */
  #track(packet: FlowPacket, { frontend, service }: Choice, asked: Tuple, direction: string, flags: number) {
    if (packet.kind === 'icmp error') return;
    const tables = this.#tables;
    let entry = tables.find(tables.conntrack, direction, packet.tuple);
    const { revNatIndex } = service;
    if (entry) {
      if (!same(entry.name, frontend)) Object.assign(entry, { name: frontend, revNatIndex });
      entry.flags |= flags;
      packet.isBegunHere = direction === 'egress';
      tables.note([entry], packet, 'opener');
    } else entry = tables.open(direction, packet, { revNatIndex, name: frontend, flags });
    const own = tables.conntrack.get(FlowTables.key('service', asked));
    if (own) own.expiresS = entry.expiresS;
  }

  /** A reply, or an error about one, comes from where the flow had been sent to. */
  reply(packet: FlowPacket, direction: 'ingress' | 'egress'): boolean {
    if (!packet.isFlow) return false;
    const flow = this.#tables.find(this.#tables.conntrack, direction, reversed(packet.tuple));
    if (!flow || flow.name.address === 0) return false;
    this.#tables.note([flow], packet, 'reply');
    packet.rename('source', flow.name);
    return true;
  }

  /** A pod that is sent to itself sees the loopback address in its own place, both ways. */
  fromPod(packet: FlowPacket): 'to itself' | undefined {
    if (!packet.isFlow) return undefined;
    const asked = { ...packet.tuple };
    if (asked.destination === LOOPBACK) {
      if (!this.reply(packet, 'egress')) return undefined;
      packet.rename('destination', { address: asked.source, port: asked.destinationPort });
      return 'to itself';
    }
    const choice = this.choose(packet, 'inside');
    if (!choice) return undefined;
    const isItself = choice.address === asked.source;
    if (isItself) packet.rename('source', { address: LOOPBACK, port: asked.sourcePort });
    packet.rename('destination', choice);
    this.#track(packet, choice, asked, 'egress', isItself ? CtFlags.CT_F_LOOPBACK : 0);
    packet.toService = true;
    return isItself ? 'to itself' : undefined;
  }

  /**
   * From a client outside. A backend of this node sees the client, a remote one the node, or the client where it
   * answers by itself. @returns whether it is to be sent on
   * @param leaveBy is asked before a packet leaves; refuses, or has the address that it leaves with
   */
  toBackend(packet: FlowPacket, choice: Choice, leaveBy: (to: Remote | undefined) => number): boolean {
    const asked = { ...packet.tuple };
    packet.rename('destination', choice);
    const local = endpointAt(choice.address);
    const mayAnswer = this.#dsr && !local && choice.service.flags & LbServiceFlag.LB_F_DSR;
    const answers = mayAnswer && this.#backendAnswers(packet);
    const flags = CtFlags.CT_F_NODE_PORT | (answers ? CtFlags.CT_F_DSR : 0);
    this.#track(packet, choice, asked, local ? 'ingress' : 'egress', flags);
    packet.toService = true;
    const address = leaveBy(local ? undefined : remoteAt(choice.address));
    if (local) return false;
    if (answers) this.#tellName(packet, choice.frontend);
    else this.leaveAs(packet, address);
    return true;
  }

  /** Its node is told in whose name it answers: by TCP's SYN, and by every datagram that has room. */
  #isTold(packet: FlowPacket): boolean {
    const { bytes, frame, gsoSize } = packet.passage;
    if (packet.kind !== 'flow' || !packet.here || gsoSize !== 0) return false;
    if (frame.headerBytes + DSR.bytes > 60 || bytes.length - 14 + DSR.bytes > TUNNEL_MTU) return false;
    return packet.tuple.l4Proto !== TCP || packet.isSyn;
  }

  #backendAnswers(packet: FlowPacket): boolean {
    const known = this.#tables.find(this.#tables.conntrack, 'egress', packet.tuple);
    if (known) return (known.flags & CtFlags.CT_F_DSR) !== 0;
    return (packet.tuple.l4Proto === TCP && !packet.isSyn) || this.#isTold(packet);
  }

  #tellName(packet: FlowPacket, { address, port }: End): void {
    if (!this.#isTold(packet)) return;
    const option = Buffer.alloc(DSR.bytes);
    option.set([DSR.type, DSR.bytes]);
    option.writeUInt16BE(port, 2);
    option.writeUInt32BE(address, 4);
    this.#resize(packet, option, 1);
  }

  /** In whose name a backend of this node is to answer a client that another node has sent here. */
  learnName(packet: FlowPacket): void {
    const { bytes, frame } = packet.passage;
    const told = frame.headerBytes >= 28 && bytes[DSR.at] === DSR.type && bytes[DSR.at + 1] === DSR.bytes;
    if (!this.#dsr || packet.kind !== 'flow' || !endpointAt(packet.tuple.destination) || !told) return;
    if (packet.tuple.l4Proto === ICMP) return;
    const name = { address: u32At(bytes, DSR.at + 4), port: u16At(bytes, DSR.at + 2) };
    const known = this.#tables.find(this.#tables.conntrack, 'ingress', packet.tuple);
    const flags = CtFlags.CT_F_NODE_PORT | CtFlags.CT_F_DSR;
    if (known && same(known.name, name)) this.#tables.note([known], packet, 'opener');
    else this.#tables.open('ingress', packet, { name, flags });
    this.#resize(packet, bytes.subarray(DSR.at, DSR.at + DSR.bytes), -1);
  }

  /** The header with one option more or less, whose words its checksum covers. */
  #resize(packet: FlowPacket, option: Uint8Array, sign: 1 | -1): void {
    const { passage } = packet;
    const { bytes } = passage;
    const was = [u16At(bytes, 14), u16At(bytes, 16)];
    bytes[14]! += (sign * DSR.bytes) / 4;
    bytes.writeUInt16BE(bytes.readUInt16BE(16) + sign * DSR.bytes, 16);
    passage.adjustSum(24, was[0]!, u16At(bytes, 14));
    passage.adjustSum(24, was[1]!, u16At(bytes, 16));
    for (let i = 0; i < DSR.bytes; i += 2)
      passage.adjustSum(24, sign < 0 ? u16At(option, i) : 0, sign < 0 ? 0 : u16At(option, i));
    const rest = bytes.subarray(DSR.at + (sign < 0 ? DSR.bytes : 0));
    passage.bytes = Buffer.concat([bytes.subarray(0, DSR.at), ...(sign < 0 ? [] : [option]), rest]);
    const moved = [...passage.sums].map(at => (at < DSR.at ? at : at + sign * DSR.bytes));
    passage.sums.clear();
    for (const at of moved) passage.sums.add(at);
    packet.at += sign * DSR.bytes;
    passage.readAgain();
  }

  /** Out with another source address. */
  leaveAs(packet: FlowPacket, address: number): void {
    const { tuple } = packet;
    const { translations } = this.#tables;
    const known = this.#tables.find(translations, 'out', tuple);
    const twin = known && translations.get(FlowTables.key('in', replyTo(tuple, known.name)));
    if (known?.name.address === address && twin && same(twin.name, source(tuple))) {
      this.#tables.note([known, twin], packet, 'opener');
      packet.rename('source', known.name);
    } else if (packet.kind === 'icmp error') throw new Refused('DROP_NO_NAT_MAPPING');
    else packet.rename('source', this.#newName(packet, address));
  }

  /** The port is kept where it may be; else it is one that no other flow to there has, and no service. */
  #newName(packet: FlowPacket, address: number): End {
    const { tuple } = packet;
    const { translations, seen } = this.#tables;
    const kept = { address, port: tuple.sourcePort };
    const mayKeep =
      tuple.l4Proto === ICMP ||
      (kept.port >= FIRST_PORT && !isServicePort(kept.port) && tuple.source !== address);
    const isFree = (name: End): boolean => {
      const holder = this.#tables.find(translations, 'in', replyTo(tuple, name));
      return !holder || same(holder.name, source(tuple));
    };
    let name = kept;
    if (!mayKeep || !isFree(kept)) {
      const port = packet.here
        ? u16At(seen!.frame, packet.at + (tuple.l4Proto === ICMP ? 4 : 0))
        : seen!.translationOf(FlowTables.key('out', tuple))?.port;
      if (port === undefined) throw new Error('it was given no port');
      name = { address, port };
      if (port < FIRST_PORT || isServicePort(port) || !isFree(name))
        throw new Error(`it was given port ${port}, which is not to be had`);
    }
    const entry = this.#tables.fresh(packet, { name });
    translations.set(FlowTables.key('out', tuple), entry);
    translations.set(FlowTables.key('in', replyTo(tuple, name)), { ...entry, name: source(tuple) });
    return name;
  }

  /** A reply to what has left in another name has its old destination again. */
  back(packet: FlowPacket): boolean {
    const { translations } = this.#tables;
    const known = this.#tables.find(translations, 'in', packet.tuple);
    if (!known) return false;
    const twin = translations.get(
      FlowTables.key(
        'out',
        reversed({ ...packet.tuple, destination: known.name.address, destinationPort: known.name.port }),
      ),
    );
    this.#tables.note(twin ? [known, twin] : [known], packet, 'reply');
    packet.rename('destination', known.name);
    return true;
  }

  /** The node's own packet: a backend's reply, or of a flow whose port is another's. */
  ownLeaves(packet: FlowPacket): void {
    if (!packet.isFlow || this.reply(packet, 'ingress')) return;
    const { translations } = this.#tables;
    const known = this.#tables.find(translations, 'out', packet.tuple);
    // An error that the node has about a reply to a pod is one about what the world knows of that flow.
    if (packet.kind === 'icmp error') {
      if (known) this.leaveAs(packet, known.name.address);
      return;
    }
    const isTaken = known ?? this.#tables.find(translations, 'in', reversed(packet.tuple));
    if (isTaken && !packet.isEchoReply) this.leaveAs(packet, packet.tuple.source);
  }

  /** Who sees pods' own addresses. */
  keepsAddress(to: number): boolean {
    const remote = remoteAt(to);
    if (to < 0x01000000 || to >= 0xe0000000) return true;
    if (remote?.cluster || remote?.ownPodCidr || remote?.identity === 1) return true;
    // Behind a tunnel nodes know no way back to a pod.
    return this.#dsr && remote?.identity === 6;
  }

  /** Who asks from outside by a pod's own address; where the pod has a policy for that, it remembers the flow. */
  remember(packet: FlowPacket): void {
    if (packet.kind !== 'flow' || packet.tuple.l4Proto === ICMP) return;
    const { conntrack, translations } = this.#tables;
    const known = this.#tables.find(conntrack, 'ingress', packet.tuple);
    if (known) this.#tables.note([known], packet, 'opener');
    // The pod's own flow goes on in the node's name, whoever pretends to answer it.
    else if (!this.#tables.find(translations, 'out', reversed(packet.tuple)))
      this.#tables.open('ingress', packet, {});
  }

  #answersCaller(packet: FlowPacket): boolean {
    if (!packet.isFlow) return false;
    const asked = this.#tables.find(this.#tables.conntrack, 'ingress', reversed(packet.tuple));
    if (asked?.name.address !== 0) return false;
    if (!(asked.flags & CtFlags.CT_F_ALLOWED)) this.#tables.note([asked], packet, 'reply');
    return true;
  }

  masquerade(packet: FlowPacket, address: number): void {
    // Who asks a pod by its own address is answered by it.
    if (packet.isEchoReply || this.#answersCaller(packet)) return;
    if (packet.kind === 'truncated') throw new Refused('DROP_INVALID');
    if (packet.kind === 'lost fragment') throw new Refused('DROP_FRAGMENT_NOT_FOUND');
    if (packet.kind === 'other') throw new Refused('DROP_NAT_UNSUPPORTED_PROTOCOL');
    this.leaveAs(packet, address);
  }
}
