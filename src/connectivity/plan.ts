import {
  type Destination,
  type Place,
  PROBE_KINDS,
  type ProbeKind,
  SCENARIOS,
  type Scenario,
  type Target,
} from './types.ts';

/** A source and all that is tried from it. */
export interface Itinerary {
  readonly source: Place;
  readonly targets: readonly Target[];
}

/** Which scenario it is to go from one place to another; undefined for ways that are not tried. Pure. */
export function scenarioOf(from: Place, to: Place): Scenario | undefined {
  const same = from.node === to.node;
  switch (`${from.kind} ${to.kind}`) {
    case 'pod pod':
      return same ? 'pod-to-pod-same-node' : 'pod-to-pod-other-node';
    case 'pod node':
      return same ? 'pod-to-own-node' : 'pod-to-other-node';
    case 'node pod':
      return same ? 'node-to-own-pod' : 'node-to-other-pod';
    case 'node node':
      return same ? undefined : 'node-to-node';
    case 'pod outside':
      return 'pod-to-outside';
    case 'outside pod':
      return 'outside-to-pod';
    default:
      return undefined;
  }
}

function kindsFor(port: number, echoes: boolean): readonly ProbeKind[] {
  if (port === 0) return ['ping', 'mtu'];
  return echoes ? PROBE_KINDS : ['ping', 'tcp', 'mtu'];
}

/** Every way from every source to every destination, so that each is tried in both directions. Pure. */
export function plan(sources: readonly Place[], destinations: readonly Destination[]): Itinerary[] {
  return sources
    .map(source => ({
      source,
      targets: destinations.flatMap(({ name, address, port, echoes, ...at }): Target[] => {
        const scenario = scenarioOf(source, { name, ...at });
        if (scenario === undefined) return [];
        return [{ scenario, to: name, address, port, echoes, kinds: kindsFor(port, echoes) }];
      }),
    }))
    .filter(({ targets }) => targets.length > 0);
}

/** Scenarios that no itinerary has. Pure. */
export function missing(itineraries: readonly Itinerary[]): Scenario[] {
  const tried = new Set(itineraries.flatMap(({ targets }) => targets.map(({ scenario }) => scenario)));
  return SCENARIOS.filter(scenario => !tried.has(scenario));
}
