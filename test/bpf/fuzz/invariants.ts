import { parseIpv4 } from '../../../src/base/addr.ts';
import { ENDPOINTS } from '../world.ts';
import { headerSum, macAt, u16At, u32At } from './frame.ts';
import type { Meeting } from './passage.ts';
import type { Program } from './specification.ts';

/** What holds for every packet whatever the decision; short enough to be believed where the oracle is long. */

interface Outcome {
  verdict: string | number;
  bytes: Uint8Array;
}

const macsOfSenders = new Map(
  ENDPOINTS.map(([ip, { ifindex, mac }]) => [`${ifindex} ${parseIpv4(ip)}`, mac] as const),
);

const TTL_AT = 22;
const CHECKSUM_AT = 24;

/** The first that does not hold. */
export function brokenInvariant(program: Program, before: Meeting, after: Outcome): string | undefined {
  const [was, is] = [before.bytes, after.bytes];
  const isIpv4 = u16At(was, 12) === 0x0800;
  if (is.length !== was.length) return `the packet's length became ${is.length}`;
  if (u16At(is, 12) !== u16At(was, 12)) return 'the ethertype changed';
  if (after.verdict !== 'redirect' && !Buffer.from(is).equals(was))
    return 'a packet that is not redirected changed';
  if (program === 'from_container' && isIpv4 && after.verdict !== 'drop') {
    const mac = macsOfSenders.get(`${before.ifindex} ${u32At(was, 26)}`);
    if (mac === undefined || mac !== macAt(was, 6)) return 'it got through with a source that is not its own';
  }
  if (!isIpv4) return undefined;
  for (let at = 14; at < was.length; at++)
    if (was[at] !== is[at] && at !== TTL_AT && at !== CHECKSUM_AT && at !== CHECKSUM_AT + 1)
      return `byte ${at} changed, which is no router's to change`;
  if (after.verdict !== 'redirect') return undefined;
  const lost = was[TTL_AT]! - is[TTL_AT]!;
  // From the host's stack the TTL has been taken already.
  if (lost !== (program === 'from_host' ? 0 : 1)) return `it lost a TTL of ${lost}`;
  if (is[TTL_AT] === 0 && program !== 'from_host') return 'it was forwarded with its last TTL';
  const header = (was[14]! & 0xf) * 4;
  if (headerSum(is, header) !== headerSum(was, header)) return "its checksum's error changed";
  return undefined;
}
