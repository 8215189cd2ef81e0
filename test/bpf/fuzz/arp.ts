import { parseIpv4 } from '../../../src/base/addr.ts';
import { parseMac } from '../../../src/base/mac.ts';
import { TracePoint } from '../../../src/maps/abi.gen.ts';
import { ANNOUNCED, NODE } from '../world.ts';
import { macAt, u16At, u32At } from './frame.ts';
import { endpointAt } from './model.ts';
import { type Decision, type Passage, Refused } from './passage.ts';

/** Who is told which address by ARP, by the specification. */

/** Whoever asks truthfully is told the host side's MAC, whatever the address; the rest is for the stack. */
export function answerPod(p: Passage): Decision {
  const { bytes, flow } = p;
  const ethernetIpv4 = bytes.length >= 42 && u32At(bytes, 14) === 0x00010800 && u16At(bytes, 18) === 0x0604;
  if (!ethernetIpv4) throw new Refused('DROP_INVALID');
  const isRequest = u16At(bytes, 20) === 1;
  const [asker, asked] = [u32At(bytes, 28), u32At(bytes, 38)];
  if (isRequest && asker === 0) return p.forwarded('pass', TracePoint.TRACE_TO_STACK);
  const sender = endpointAt(asker);
  const genuine =
    sender &&
    sender.ifindex === p.ifindex &&
    macAt(bytes, 22) === sender.mac &&
    macAt(bytes, 6) === sender.mac;
  if (!genuine) throw new Refused('DROP_INVALID_SIP');
  flow.source = sender.identity;
  flow.endpointId = sender.endpointId;
  if (!isRequest || asked === asker) return p.forwarded('pass', TracePoint.TRACE_TO_STACK);
  answerArp(bytes, parseMac(sender.mac), parseMac(sender.nodeMac));
  return p.forwarded('redirect', TracePoint.TRACE_TO_LXC);
}

/** Who asks for an address that this node announces here and now is answered; the rest is the stack's. */
export function announce(p: Passage): Decision {
  const { bytes } = p;
  const asks =
    bytes.length >= 42 &&
    u32At(bytes, 14) === 0x00010800 &&
    u32At(bytes, 18) === 0x06040001 &&
    p.ifindex === NODE.ifindex;
  if (!asks) return p.ignored();
  const [asker, asked] = [u32At(bytes, 28), u32At(bytes, 38)];
  if (asked !== parseIpv4(ANNOUNCED.held) || asker === asked) return p.ignored();
  answerArp(bytes, Buffer.from(bytes.subarray(22, 28)), parseMac(NODE.mac));
  return p.forwarded('redirect', TracePoint.TRACE_TO_NETWORK);
}

/** Makes a request its own answer: what was asked for is at `answerer`. */
function answerArp(bytes: Buffer, asker: Uint8Array, answerer: Uint8Array): void {
  const [askerIp, askedIp] = [bytes.readUInt32BE(28), bytes.readUInt32BE(38)];
  bytes.set(asker, 0);
  bytes.set(answerer, 6);
  bytes.writeUInt16BE(2, 20);
  bytes.set(answerer, 22);
  bytes.writeUInt32BE(askedIp, 28);
  bytes.set(asker, 32);
  bytes.writeUInt32BE(askerIp, 38);
}
