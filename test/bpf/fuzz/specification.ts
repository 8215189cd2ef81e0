import type { DropReason } from '../../../src/maps/abi.gen.ts';
import type { Configuration } from '../harness.ts';

/** What each program may answer and for which reasons it may drop. Whatever is not listed here never happens. */

export const PROGRAMS = [
  'from_container',
  'to_container',
  'from_host',
  'to_host',
  'from_netdev',
  'from_overlay',
  'to_overlay',
] as const;
/** `to_netdev` is attached only where something is translated. */
export type Program = (typeof PROGRAMS)[number] | 'to_netdev';

export type Verdict = 'pass' | 'drop' | 'redirect';

export interface Allowance {
  verdicts: Verdict[];
  reasons: (keyof typeof DropReason)[];
}

/** By the endpoint's policy: no rule, a rule against, no map where one is due, a port that cannot be read. */
const POLICY = ['DROP_POLICY', 'DROP_POLICY_DENY', 'DROP_POLICY_MAP_MISSING', 'DROP_INVALID'] as const;

const unique = <T>(items: T[]): T[] => [...new Set(items)];

/** Destinations that the ipcache alone forbids. */
function unreachable(c: Configuration): Allowance['reasons'] {
  return c.tunnel ? ['DROP_UNROUTABLE', 'DROP_NO_TUNNEL_ENDPOINT'] : ['DROP_UNROUTABLE'];
}

/** Whether who finds a local endpoint delivers to it, rather than the stack behind it. */
export const deliversItself = (c: Configuration): boolean => c.hostRouting || !c.endpointRoutes;

export function allowance(program: Program, c: Configuration): Allowance {
  const redirects = (does: boolean): Verdict[] => (does ? ['redirect'] : []);
  switch (program) {
    case 'from_container':
      return {
        // ARP is answered by redirecting it to where it came from.
        verdicts: ['pass', 'drop', 'redirect'],
        reasons: unique(['DROP_UNKNOWN_L3', 'DROP_INVALID_SIP', ...unreachable(c), ...POLICY]),
      };
    case 'to_container':
      return { verdicts: ['pass', 'drop'], reasons: ['DROP_UNKNOWN_L3', 'DROP_UNROUTABLE', ...POLICY] };
    case 'from_host':
      return {
        verdicts: ['pass', 'drop', 'redirect'],
        reasons: unique(['DROP_INVALID', ...unreachable(c), ...(c.endpointRoutes ? [] : POLICY)]),
      };
    case 'to_host':
    case 'to_netdev':
    case 'to_overlay':
      return { verdicts: ['pass'], reasons: [] };
    case 'from_netdev':
      return {
        // ARP for announced addresses is answered in every configuration.
        verdicts: ['pass', 'drop', 'redirect'],
        reasons: [...unreachable(c), ...(c.hostRouting ? POLICY : [])],
      };
    case 'from_overlay':
      return {
        verdicts: ['pass', 'drop', ...redirects(deliversItself(c))],
        reasons: unique([
          'DROP_TUNNEL_KEY',
          'DROP_INVALID_IDENTITY',
          'DROP_UNKNOWN_L3',
          'DROP_INVALID',
          ...unreachable(c),
          ...(deliversItself(c) ? POLICY : []),
        ]),
      };
  }
}
