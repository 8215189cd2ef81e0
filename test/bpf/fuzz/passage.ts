import { parseMac } from '../../../src/base/mac.ts';
import { DropReason, PacketMark, TracePoint } from '../../../src/maps/abi.gen.ts';
import type { MetricsRow } from '../../../src/maps/metrics.ts';
import { markOf } from '../fixture.ts';
import { checksum } from '../packet.ts';
import type { FlowPacket } from './flows.ts';
import { type Frame, readFrame } from './frame.ts';
import type { Endpoint } from './model.ts';
import type { Verdict } from './specification.ts';

/** One packet on its way through a program, and the ways in which it can leave. */

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
  /** Offsets of checksums that were changed with what they cover: equal modulo 65535 is equal. */
  sums: ReadonlySet<number>;
  /** What is counted and reported, where it is not what the packet becomes: it is a drop then. */
  told?: { bytes: Buffer; mark: number };
  tunnel: { vni: number; remote: number } | undefined;
  /** The stack is told that the frame is for this host. */
  forHost: boolean;
}

type Change = Partial<Pick<Decision, 'mark' | 'tunnel' | 'forHost'>>;
export type Reason = keyof typeof DropReason;

/** The packet is dropped here; it stays as it is at that moment. */
export class Refused extends Error {
  readonly reason: Reason;

  constructor(reason: Reason) {
    super(reason);
    this.reason = reason;
  }
}

const NOBODY: Flow = { direction: 'unknown', endpointId: 0, source: 0, destination: 0 };

export class Passage implements Meeting {
  bytes: Buffer;
  readonly sums = new Set<number>();
  frame: Frame;
  ifindex: number;
  mark: number;
  gsoSize: number;
  tagged: boolean;
  vni: number | undefined;
  readonly flow: Flow;
  /** It has the addresses it is to leave with. */
  translated = false;
  /** As it was read on its way, and renamed since. */
  packet: FlowPacket | undefined;

  constructor(meeting: Meeting, direction: Flow['direction']) {
    this.bytes = Buffer.from(meeting.bytes);
    ({ ifindex: this.ifindex, mark: this.mark, gsoSize: this.gsoSize } = meeting);
    ({ tagged: this.tagged, vni: this.vni } = meeting);
    this.frame = readFrame(this.bytes, this.gsoSize !== 0);
    this.flow = { ...NOBODY, direction };
  }

  /** After the packet was written to. */
  readAgain(): void {
    this.frame = readFrame(this.bytes, this.gsoSize !== 0);
  }

  /** A checksum after one of its words changed. UDP's 0 is none, and its sum is never written as 0. */
  adjustSum(at: number, was: number, is: number, ofUdp = false): void {
    const before = this.bytes.readUInt16BE(at);
    if (ofUdp && before === 0) return;
    const after = (before + was + 0xffff - is) % 0xffff;
    this.bytes.writeUInt16BE(ofUdp && after === 0 ? 0xffff : after, at);
    this.sums.add(at);
  }

  /** Goes on uncounted and unreported. */
  ignored(verdict: Verdict = 'pass'): Decision {
    const { mark, bytes, sums } = this;
    return {
      ...NOBODY,
      ...{ verdict, mark, bytes, sums },
      counted: undefined,
      point: undefined,
      tunnel: undefined,
      forHost: false,
    };
  }

  dropped(reason: Reason): Decision {
    return { ...this.ignored('drop'), ...this.flow, counted: DropReason[reason] };
  }

  forwarded(verdict: Verdict, point: number, change: Change = {}): Decision {
    const counted = DropReason.REASON_FORWARDED;
    return { ...this.ignored(verdict), ...this.flow, counted, point, ...change };
  }

  toStack(point: number = TracePoint.TRACE_TO_STACK): Decision {
    this.mark = this.translated ? PacketMark.MARK_MAGIC_TRANSLATED : markOf(this.flow.source);
    return this.forwarded('pass', point);
  }

  /** Back to its sender as an ICMP error, "port unreachable", that quotes it. It counts as dropped. */
  sendBack(reason: Reason, quotedBytes: number): Decision {
    const told = { bytes: this.bytes, mark: this.mark };
    const quoted = this.bytes.subarray(14, 14 + 20 + quotedBytes);
    const error = Buffer.concat([Buffer.of(3, 3, 0, 0, 0, 0, 0, 0), quoted]);
    error.writeUInt16BE(checksum(error), 2);
    const header = Buffer.alloc(20);
    header.set([0x45]);
    header.writeUInt16BE(20 + error.length, 2);
    header.set([64, 1], 8);
    header.set(this.bytes.subarray(30, 34), 12);
    header.set(this.bytes.subarray(26, 30), 16);
    header.writeUInt16BE(checksum(header), 10);
    const macs = [this.bytes.subarray(6, 12), this.bytes.subarray(0, 6), this.bytes.subarray(12, 14)];
    this.bytes = Buffer.concat([...macs, header, error]);
    this.mark = PacketMark.MARK_MAGIC_TRANSLATED;
    return { ...this.dropped(reason), verdict: 'redirect', told };
  }

  /** One TTL less; the checksum's error, if it has one, stays what it is. */
  route(): this {
    this.bytes[22] = this.bytes[22]! - 1;
    this.bytes.writeUInt16BE((this.bytes.readUInt16BE(24) + 0x100) % 0xffff, 24);
    return this;
  }

  readdress(receiver: Endpoint): this {
    this.bytes.set(parseMac(receiver.mac), 0);
    this.bytes.set(parseMac(receiver.nodeMac), 6);
    return this;
  }
}
