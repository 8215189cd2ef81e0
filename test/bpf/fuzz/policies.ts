import { IDENTITY, PODS, POLICIES, type PodName, type PolicyRule } from '../world.ts';
import type { Random } from './random.ts';

const PEERS = [
  0,
  IDENTITY.host,
  IDENTITY.world,
  IDENTITY.remotePod,
  ...Object.values(PODS).map(p => p.identity),
];
const PROTOCOLS = [1, 6, 17, 132];
const PORTS = [80, 53, 22, 23, 4240, 65535];

/** The world's policies by endpoint id, with random ones for `fortified`. */
export function policiesOf(random: Random): Map<number, PolicyRule[]> {
  const policies = new Map<number, PolicyRule[]>(
    Object.entries(POLICIES).map(([name, rules]) => [PODS[name as PodName].endpointId, rules]),
  );
  // Whatever the rest says, each direction denies something.
  const rules = new Map<string, PolicyRule>(
    (['ingress', 'egress'] as const).map(direction => {
      const key = { direction, identity: 0, l4Proto: 6, dport: 22 };
      return [JSON.stringify(key), [key, { deny: true }]];
    }),
  );
  for (let left = 4 + random.below(40); left > 0; left--) {
    const l4Proto = random.oneIn(3) ? undefined : random.pick(PROTOCOLS);
    const dport = l4Proto === undefined || l4Proto === 1 || random.oneIn(3) ? undefined : random.pick(PORTS);
    const key = {
      direction: random.pick(['ingress', 'egress'] as const),
      identity: random.pick(PEERS),
      ...(l4Proto === undefined ? {} : { l4Proto }),
      ...(dport === undefined ? {} : { dport }),
    };
    rules.set(JSON.stringify(key), [key, { deny: random.oneIn(3) }]);
  }
  return policies.set(PODS.fortified.endpointId, [...rules.values()]);
}
