import type { AgentConfig } from '../config/index.ts';
import type { Mode } from './types.ts';

/** A mode with its words. Pure. */
export function mode(of: Omit<Mode, 'text'>): Mode {
  const network = of.routing === 'native' ? 'native' : 'VXLAN';
  const routes = of.endpointRoutes ? 'on' : 'off';
  return { ...of, text: `${network}, endpoint routes ${routes}, host routing ${of.hostRouting}` };
}

/** The mode that a configuration makes. Pure. */
export function modeOf(config: AgentConfig): Mode {
  return mode({
    routing: config.routingMode,
    endpointRoutes: config.endpointRoutes,
    hostRouting: config.hostLegacyRouting ? 'Legacy' : 'BPF',
  });
}
