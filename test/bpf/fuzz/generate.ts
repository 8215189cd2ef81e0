import { parseIpv4 } from '../../../src/base/addr.ts';
import { parseMac } from '../../../src/base/mac.ts';
import { markOf } from '../fixture.ts';
import { FIXTURES } from '../fixtures/all.ts';
import { OVERLAY_IFINDEX, TUNNEL_MTU } from '../harness.ts';
import { checksum, ETHERTYPE } from '../packet.ts';
import { ANNOUNCED, ELSEWHERE, IDENTITY, NODE, PODS } from '../world.ts';
import type { Random } from './random.ts';
import type { Program } from './specification.ts';

/** Packets near enough to good ones to get far into a program, and wrong in one thing or in many. */

/** A frame and what BPF_PROG_TEST_RUN and the probes are told beside it. */
export interface Case {
  /** At least 15 bytes, 34 with IPv4's type and 54 with IPv6's: the kernel runs no shorter ones. */
  frame: Buffer;
  ifindex: number;
  mark: number;
  gsoSize: number;
  /** Where the frame breaks off; 0 nowhere. For probes, as are the two that follow. */
  cutTo: number;
  /** Tag taken out of the frame, 0 none. */
  tag: number;
  vni: number;
}

/** Largest frame made. */
export const MOST_BYTES = 2048;

const pods = Object.values(PODS);
const BROADCAST = 'ff:ff:ff:ff:ff:ff';
const MULTICAST = '01:00:5e:00:00:fb';
const STRANGER = '02:00:00:00:99:99';
const CILIUM_HOST = { ifindex: 3, mac: '02:00:00:00:c1:11' };

const MACS = [...pods.flatMap(p => [p.mac, p.nodeMac]), NODE.mac, BROADCAST, MULTICAST, STRANGER].map(
  parseMac,
);
const ADDRESSES = [
  ...pods.map(p => p.ip),
  ...Object.values(ELSEWHERE),
  NODE.ip,
  NODE.router,
  ...Object.values(ANNOUNCED),
  ...['0.0.0.0', '0.0.0.1', '10.0.0.255', '127.0.0.1', '169.254.1.1', '172.16.0.1', '192.168.10.1'],
  ...['192.168.10.255', '198.51.100.255', '223.255.255.255', '224.0.0.1', '240.0.0.1', '255.255.255.255'],
].map(parseIpv4);
const PORTS = [80, 53, 22, 23, 4240, 0, 65535];
const IDENTITIES = [0, 1, 2, 6, 0x10000, 0xffffff, ...pods.map(p => p.identity), IDENTITY.remotePod];
const MARKS = [0, 0x4000, 0x0c00, 0x0f00, 0xffffffff];
const PROTOCOLS = [1, 6, 17, 132];
const TTLS = [0, 1, 2, 255];
/** Around what a tunnel, a narrow route, a device carries. */
const SIZES = [TUNNEL_MTU, 1400, 1500];
const CHECKSUMS = [0, 0xfdff, 0xfefe, 0xfeff, 0xff00, 0xffff];
const OTHER_TYPES = [46, 0x0100, 0x05ff, 0x0600, 0x0801, 0x8035, 0x8847, 0x8863, 0x88a8, 0x88cc, 0xffff];

/** One case for a program, aimed at it. @param prepared whether probes may cut, tag, and give a tunnel key */
export function generate(program: Program, random: Random, prepared: boolean): Case {
  const made = base(program, random);
  if (!prepared) {
    made.cutTo = 0;
    made.tag = 0;
  } else if (made.gsoSize === 0 && made.cutTo === 0 && random.oneIn(8)) {
    // Mostly within the headers.
    made.cutTo = 14 + random.below(random.oneIn(4) ? made.frame.length - 13 : 46);
    if (made.cutTo > made.frame.length) made.cutTo = 0;
  }
  if (prepared && random.oneIn(24)) made.tag = 1 + random.below(4094);
  return acceptable(made, prepared);
}

function base(program: Program, random: Random): Case {
  const dice = random.below(100);
  if (dice < 12) return ofFixture(program, random);
  const made = setting(program, random);
  if (dice < 70) ipv4(program, made, random);
  else if (dice < 82) {
    ipv4(program, made, random);
    spoil(made, random);
  } else if (dice < 92) arp(made, random);
  else if (dice < 94) other(made, ETHERTYPE.ipv6, random);
  else if (dice < 96) {
    ipv4(program, made, random);
    const tag = Buffer.of(
      ...random.pick([
        [0x81, 0],
        [0x88, 0xa8],
      ]),
      random.below(256),
      random.below(256),
    );
    made.frame = Buffer.concat([made.frame.subarray(0, 12), tag, made.frame.subarray(12)]);
  } else if (dice < 98) other(made, random.pick(OTHER_TYPES), random);
  else made.frame = noise(15 + random.below(120), random);
  if (random.oneIn(8)) flipBits(made.frame, random);
  return made;
}

/** What is not the packet: device, mark, VNI, and a frame of MACs as they are where this program is. */
function setting(program: Program, random: Random): Case {
  const pod = random.pick(pods);
  let [ifindex, dst, src] = [pod.ifindex as number, pod.nodeMac as string, pod.mac as string];
  if (program === 'to_container') [dst, src] = [src, dst];
  if (program === 'from_host' || program === 'to_host')
    [ifindex, dst, src] = [CILIUM_HOST.ifindex, CILIUM_HOST.mac, CILIUM_HOST.mac];
  if (program === 'from_netdev') [ifindex, dst, src] = [NODE.ifindex, NODE.mac, STRANGER];
  if (program.endsWith('_overlay')) ifindex = OVERLAY_IFINDEX;
  const frame = Buffer.alloc(14);
  frame.set(parseMac(dst), 0);
  frame.set(parseMac(src), 6);
  if (random.oneIn(16)) frame.set(random.pick(MACS), 0);
  if (random.oneIn(16)) frame.set(random.pick(MACS), 6);
  if (random.oneIn(24)) ifindex = random.pick(pods).ifindex;
  let mark = 0;
  if (random.oneIn(2)) mark = random.oneIn(2) ? markOf(random.pick(IDENTITIES)) : random.pick(MARKS);
  if (random.oneIn(16)) mark = random.word();
  const vni = random.oneIn(4) ? random.pick(IDENTITIES) : IDENTITY.remotePod;
  return { frame, ifindex, mark, gsoSize: 0, cutTo: 0, tag: 0, vni };
}

function address(random: Random): number {
  return random.oneIn(16) ? random.word() : random.pick(ADDRESSES);
}

/** The address of the pod whose MAC these bytes begin with; of any when it is no pod's. */
function addressBehind(mac: Uint8Array, random: Random): number {
  const text = Buffer.from(mac.subarray(0, 6)).toString('hex');
  const pod = pods.find(p => p.mac.replaceAll(':', '') === text);
  return parseIpv4((pod ?? random.pick(pods)).ip);
}

/** Appends an IPv4 packet that can be routed, in whatever ways one can be unusual. */
function ipv4(program: Program, made: Case, random: Random): void {
  const { frame } = made;
  const options = random.oneIn(6) ? 4 * (1 + random.below(10)) : 0;
  const header = Buffer.alloc(20 + options, 1);
  const proto = random.oneIn(12) ? random.below(256) : random.pick(PROTOCOLS);
  const payload = noise(random.oneIn(6) ? random.below(8) : 8 + random.below(56), random);
  if (payload.length >= 4)
    payload.writeUInt16BE(random.oneIn(8) ? random.below(65536) : random.pick(PORTS), 2);
  if (payload.length >= 13 && random.oneIn(2)) payload[12] = 0x50 + 0x10 * random.below(11);
  let packet = Buffer.concat([header, payload]);
  if (random.oneIn(12)) {
    const bytes = random.pick(SIZES) - 1 + random.below(3);
    packet = Buffer.concat([packet, Buffer.alloc(bytes - packet.length)]);
  }

  const genuine = addressBehind(frame.subarray(program === 'to_container' ? 0 : 6), random);
  let [src, dst] = [genuine, address(random)];
  if (program === 'to_container') [src, dst] = [dst, src];
  if (program === 'from_host' || program === 'to_host') src = parseIpv4(NODE.router);
  if (program === 'from_netdev' || program === 'from_overlay') src = parseIpv4(ELSEWHERE.remotePod);
  if (random.oneIn(8)) src = address(random);
  if (random.oneIn(16)) dst = address(random);

  packet[0] = 0x40 | (header.length / 4);
  packet[1] = random.oneIn(8) ? random.below(256) : 0;
  packet.writeUInt16BE(packet.length, 2);
  packet.writeUInt16BE(random.below(65536), 4);
  // Fragments: the first, a later one, the last; reserved and DF bits as they come.
  packet.writeUInt16BE(random.oneIn(6) ? random.below(65536) : random.oneIn(6) ? 0x2000 : 0, 6);
  packet[8] = random.oneIn(6) ? random.pick(TTLS) : random.oneIn(8) ? random.below(256) : 64;
  packet[9] = proto;
  packet.writeUInt16BE(0, 10);
  packet.writeUInt32BE(src, 12);
  packet.writeUInt32BE(dst, 16);
  const sum = checksum(packet.subarray(0, header.length));
  const wrong = random.oneIn(8);
  packet.writeUInt16BE(wrong ? random.pick([...CHECKSUMS, random.below(65536)]) : sum, 10);
  if (random.oneIn(8)) chooseChecksum(packet, header.length, random.pick(CHECKSUMS));

  if (random.oneIn(16)) {
    made.gsoSize = segmentBytes(proto, header.length, payload, random);
    if (random.oneIn(4)) packet.writeUInt16BE(0, 2);
  }
  const padding = random.oneIn(6) ? noise(random.below(random.oneIn(4) ? 80 : 20), random) : Buffer.alloc(0);
  frame.writeUInt16BE(ETHERTYPE.ipv4, 12);
  made.frame = Buffer.concat([frame, packet, padding]);
}

/** A right checksum of this value, by an identification that makes it so. */
function chooseChecksum(packet: Buffer, headerBytes: number, wanted: number): void {
  packet.writeUInt16BE(0, 4);
  packet.writeUInt16BE(0, 10);
  const without = ~checksum(packet.subarray(0, headerBytes)) & 0xffff;
  packet.writeUInt16BE(((~wanted & 0xffff) - without + 0xffff) % 0xffff, 4);
  packet.writeUInt16BE(checksum(packet.subarray(0, headerBytes)), 10);
}

/** Segments that just fit or just do not, or of any size that fits the field. */
function segmentBytes(proto: number, headerBytes: number, payload: Buffer, random: Random): number {
  if (random.oneIn(3)) return random.oneIn(2) ? 1 + random.below(65535) : 65535 - random.below(128);
  const transport = proto === 17 ? 8 : proto === 6 && payload.length >= 20 ? (payload[12]! >> 4) * 4 : 60;
  return random.pick(SIZES) - headerBytes - transport - 1 + random.below(3);
}

/** Makes an IPv4 header lie. */
function spoil(made: Case, random: Random): void {
  const { frame } = made;
  const room = frame.length - 14;
  switch (random.below(3)) {
    case 0:
      frame[14] = (random.oneIn(2) ? 0x40 : frame[14]! & 0xf0) | random.below(16);
      break;
    case 1:
      frame[14] = (frame[14]! & 0x0f) | (random.below(16) << 4);
      break;
    default: {
      const header = (frame[14]! & 0xf) * 4;
      const total = random.pick([
        0,
        1,
        19,
        20,
        header - 1,
        header,
        header + 3,
        header + 4,
        room,
        room + 1,
        65535,
      ]);
      frame.writeUInt16BE(total, 16);
    }
  }
}

function arp(made: Case, random: Random): void {
  const { frame } = made;
  const message = Buffer.alloc(28 + (random.oneIn(4) ? random.below(30) : 0));
  message.writeUInt32BE(random.oneIn(12) ? random.word() : 0x00010800, 0);
  message.writeUInt16BE(random.oneIn(12) ? random.below(65536) : 0x0604, 4);
  message.writeUInt16BE(random.oneIn(8) ? random.below(12) : 1 + random.below(2), 6);
  message.set(random.oneIn(8) ? random.pick(MACS) : frame.subarray(6, 12), 8);
  const own = addressBehind(frame.subarray(6), random);
  message.writeUInt32BE(random.oneIn(4) ? address(random) : own, 14);
  message.set(random.pick(MACS), 18);
  message.writeUInt32BE(random.oneIn(4) ? message.readUInt32BE(14) : address(random), 24);
  if (random.oneIn(2)) frame.set(parseMac(BROADCAST), 0);
  frame.writeUInt16BE(ETHERTYPE.arp, 12);
  made.frame = Buffer.concat([frame, random.oneIn(8) ? message.subarray(0, 1 + random.below(28)) : message]);
}

function other(made: Case, etherType: number, random: Random): void {
  made.frame.writeUInt16BE(etherType, 12);
  made.frame = Buffer.concat([made.frame, noise(1 + random.below(80), random)]);
}

const FIXTURES_OF = new Map<string, Case[]>();
for (const { program, input } of FIXTURES) {
  const name = program.replace(/^(cil|probe)_/, '');
  const { packet, ifindex, mark = 0, gsoSize = 0, cutTo = 0, vni = 0 } = input;
  if (packet.length > MOST_BYTES) continue;
  const cases = FIXTURES_OF.get(name) ?? [];
  FIXTURES_OF.set(name, cases);
  cases.push({ frame: Buffer.from(packet), ifindex, mark, gsoSize, cutTo, tag: 0, vni });
}

/** A packet of the fixtures, spoilt in a few bits, bytes or in its length. */
function ofFixture(program: Program, random: Random): Case {
  const chosen = random.pick(FIXTURES_OF.get(program)!);
  const made = { ...chosen, frame: Buffer.from(chosen.frame) };
  flipBits(made.frame, random);
  if (random.oneIn(4)) made.frame[random.below(made.frame.length)] = random.below(256);
  if (random.oneIn(8)) made.frame = Buffer.concat([made.frame, noise(random.below(64), random)]);
  if (random.oneIn(8)) made.frame = made.frame.subarray(0, 1 + random.below(made.frame.length));
  return made;
}

/** Up to four bits, mostly within the headers. */
function flipBits(frame: Buffer, random: Random): void {
  for (let left = random.below(5); left > 0; left--) {
    const at = random.below(random.oneIn(4) ? frame.length : Math.min(frame.length, 42));
    frame[at] = frame[at]! ^ (1 << random.below(8));
  }
}

function noise(bytes: number, random: Random): Buffer {
  const made = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at++) made[at] = random.word();
  return made;
}

/** Lengthens what the kernel would refuse to run; a probe then cuts it again. */
function acceptable(made: Case, prepared: boolean): Case {
  const bytes = Math.min(made.frame.length, MOST_BYTES);
  const frame = Buffer.alloc(Math.max(bytes, 54));
  made.frame.copy(frame, 0, 0, bytes);
  const type = frame.readUInt16BE(12);
  const least = type === ETHERTYPE.ipv4 ? 34 : type === ETHERTYPE.ipv6 ? 54 : 15;
  if (bytes < least && prepared && made.cutTo === 0 && made.gsoSize === 0 && bytes >= 14) made.cutTo = bytes;
  const size = Math.max(bytes, least);
  return { ...made, frame: frame.subarray(0, size), cutTo: made.cutTo < size ? made.cutTo : 0 };
}
