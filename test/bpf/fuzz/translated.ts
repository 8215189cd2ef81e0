import type { DropReason } from '../../../src/maps/abi.gen.ts';
import type { Configuration } from '../harness.ts';
import { headerSum, readFrame, u16At, u32At } from './frame.ts';
import { endpointAt, remoteAt } from './model.ts';
import { allowance, type Program } from './specification.ts';

/** What holds for every packet where services and masquerade are on, whatever is chosen for it. */

export type TranslatingProgram = Exclude<Program, 'to_host' | 'to_overlay'>;

/** Reasons that come with translation. */
const TRANSLATION: (keyof typeof DropReason)[] = [
  'DROP_NO_SERVICE_BACKEND',
  'DROP_IS_CLUSTER_IP',
  'DROP_NOT_IN_SOURCE_RANGE',
  'DROP_NO_NAT_MAPPING',
  'DROP_NAT_UNSUPPORTED_PROTOCOL',
  'DROP_FRAGMENT_NOT_FOUND',
];

/** The reasons for which a program may drop. */
export function reasonsOf(program: TranslatingProgram, c: Configuration): Set<keyof typeof DropReason> {
  const before = program === 'to_netdev' ? (['DROP_INVALID'] as const) : allowance(program, c).reasons;
  // A backend may be a pod with policy, a loop ends here, and what goes to a backend passes every check on its way.
  const backend = ['from_container', 'from_netdev', 'from_overlay'].includes(program)
    ? ([
        'DROP_POLICY',
        'DROP_POLICY_DENY',
        'DROP_POLICY_MAP_MISSING',
        'DROP_INVALID',
        'DROP_TTL_EXCEEDED',
      ] as const)
    : [];
  return new Set<keyof typeof DropReason>([...before, ...backend, ...TRANSLATION]);
}

/** The ones' complement sum over transport header, data and pseudo-header, modulo 65535; undefined where there is none to check. */
function transportSum(bytes: Uint8Array): number | undefined {
  const frame = readFrame(bytes, false);
  if (!frame.wellFormed || frame.fragmentOffset > 0 || (bytes[20]! & 0x20) !== 0) return undefined;
  const [at, end] = [14 + frame.headerBytes, 14 + frame.packetBytes];
  const need = { 1: 8, 6: 20, 17: 8 }[frame.l4Proto];
  if (need === undefined || at + need > end) return undefined;
  if (frame.l4Proto === 17 && u16At(bytes, at + 6) === 0) return undefined;
  let sum = 0;
  for (let i = at; i < end; i += 2) sum += bytes[i]! * 0x100 + (i + 1 < end ? bytes[i + 1]! : 0);
  if (frame.l4Proto !== 1) for (let i = 26; i < 34; i += 2) sum += u16At(bytes, i);
  return sum % 0xffff;
}

/** Whether a packet became the ICMP error that tells its sender that nobody serves what it asks for. */
export function isRefusal(was: Uint8Array, is: Uint8Array): boolean {
  const [before, after] = [readFrame(was, false), readFrame(is, false)];
  return (
    before.wellFormed &&
    after.wellFormed &&
    // An error that is passed on is none of ours.
    before.l4Proto !== 1 &&
    after.l4Proto === 1 &&
    is[34] === 3 &&
    u32At(is, 26) === u32At(was, 30)
  );
}

/** The first thing that does not hold of such an error: back to the sender, whole, and about that packet. */
export function brokenRefusal(was: Uint8Array, is: Uint8Array): string | undefined {
  const [before, after] = [readFrame(was, false), readFrame(is, false)];
  const quoted = before.l4Proto === 6 ? 40 : 28;
  if (!before.wellFormed || before.fragmentOffset > 0 || ![6, 17].includes(before.l4Proto))
    return 'this packet is not to be answered';
  if (!isRefusal(was, is) || is[35] !== 3) return 'it is no ICMP port unreachable';
  if (is.length !== 14 + 28 + quoted || after.packetBytes !== 28 + quoted) return `it has ${is.length} bytes`;
  if (u32At(is, 30) !== u32At(was, 26)) return 'it goes to somebody else';
  const macs = [...was.subarray(6, 12), ...was.subarray(0, 6)];
  if (macs.some((byte, i) => byte !== is[i])) return 'it goes to another station';
  if (was.subarray(14, 14 + quoted).some((byte, i) => byte !== is[42 + i])) return 'it quotes another packet';
  if (headerSum(is, 20) !== 0) return 'its header checksum is wrong';
  return transportSum(is) === 0 ? undefined : 'its checksum is wrong';
}

const OPTION_BYTES = 8;

/** The first thing that does not hold of a packet that was not dropped. */
export function brokenTranslation(
  program: TranslatingProgram,
  was: Uint8Array,
  is: Uint8Array,
  passed: boolean,
): string | undefined {
  const before = readFrame(was, false);
  const grown = is.length - was.length;
  if (grown !== 0 && !(program === 'from_netdev' && Math.abs(grown) === OPTION_BYTES))
    return `the packet's length became ${is.length}`;
  if (!before.wellFormed) return grown === 0 ? undefined : 'a malformed packet was resized';
  const after = readFrame(is, false);
  if (!after.wellFormed) return 'the packet is not well-formed any more';
  if (after.l4Proto !== before.l4Proto || after.packetBytes !== before.packetBytes + grown)
    return 'protocol or length changed';
  if (headerSum(is, after.headerBytes) !== headerSum(was, before.headerBytes))
    return "the header checksum's error changed";
  const [sumBefore, sumAfter] = [transportSum(was), transportSum(is)];
  if (sumBefore !== sumAfter) return `the transport checksum's error was ${sumBefore}, is ${sumAfter}`;
  // Who asks a pod by its own address is answered by it.
  const isEchoReply = after.l4Proto === 1 && (after.fragmentOffset > 0 || is[14 + after.headerBytes] === 0);
  if (program !== 'to_netdev' || !passed || isEchoReply) return undefined;
  const sender = endpointAt(u32At(is, 26));
  const destination = u32At(is, 30);
  const isUnicast = destination >= 2 ** 24 && destination < 0xe0000000;
  const remote = remoteAt(destination);
  const inCluster =
    remote && (remote.cluster || remote.ownPodCidr || remote.identity === 1 || remote.identity === 6);
  return sender && !sender.host && isUnicast && !inCluster ? "a pod's address leaves the cluster" : undefined;
}
