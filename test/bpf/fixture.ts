import { DropReason, PacketMark, TracePoint } from '../../src/maps/abi.gen.ts';
import type { Configuration, Input } from './harness.ts';
import { VERDICT } from './harness.ts';

/**
 * A packet and what must become of it. What an expectation leaves out must not happen: bytes and mark stay as they
 * are, nothing is counted, no event is written, no tunnel key is set.
 */
export interface Fixture {
  name: string;
  program: string;
  input: Input;
  /** Configurations in which the program is attached at all; all when absent. */
  when?(c: Configuration): boolean;
  expect(c: Configuration): Expectation;
}

export interface Expectation {
  verdict: number;
  packet?: Uint8Array;
  mark?: number;
  counted?: { reason: number; direction: 'ingress' | 'egress'; file: string };
  /** Tracing is on in these tests, so whatever is forwarded is reported too. */
  event?: {
    type: 'drop' | 'trace';
    code: number;
    endpointId?: number;
    sourceIdentity?: number;
    destinationIdentity?: number;
  };
  tunnel?: { vni: number; remote: string };
}

interface Who {
  endpointId?: number;
  from?: number;
  to?: number;
}

const identities = (who: Who) => ({
  endpointId: who.endpointId ?? 0,
  sourceIdentity: who.from ?? 0,
  destinationIdentity: who.to ?? 0,
});

/** Goes on untouched, uncounted, unreported. */
export const ignored = (): Expectation => ({ verdict: VERDICT.pass });

export function dropped(
  reason: keyof typeof DropReason,
  file: string,
  direction: 'ingress' | 'egress',
  who: Who = {},
): Expectation {
  const code = DropReason[reason];
  return {
    verdict: VERDICT.drop,
    counted: { reason: code, direction, file },
    event: { type: 'drop', code, ...identities(who) },
  };
}

export function forwarded(
  verdict: keyof typeof VERDICT,
  point: keyof typeof TracePoint,
  file: string,
  direction: 'ingress' | 'egress',
  who: Who = {},
  more: Pick<Expectation, 'packet' | 'mark' | 'tunnel'> = {},
): Expectation {
  return {
    verdict: VERDICT[verdict],
    counted: { reason: DropReason.REASON_FORWARDED, direction, file },
    event: { type: 'trace', code: TracePoint[point], ...identities(who) },
    ...more,
  };
}

/** The mark that carries an identity across the stack. */
export function markOf(identity: number): number {
  return (PacketMark.MARK_MAGIC_IDENTITY | ((identity & 0xffff) << 16) | ((identity >>> 16) & 0xff)) >>> 0;
}
