import { parseIpv4 } from '../../../src/base/addr.ts';
import { LbScope, LbServiceFlag } from '../../../src/maps/abi.gen.ts';
import { NODE_IPV4 } from '../harness.ts';
import type { TestService } from '../services.ts';
import { ELSEWHERE, PODS } from '../world.ts';
import { type End, TCP, UDP } from './flows.ts';

/** The services of the fuzz: written into the maps as they stand here, and read from here by the oracle. */

export interface Backend extends End {
  id: number;
}

export interface Frontend extends Omit<TestService, 'backends' | 'address'> {
  address: number;
  flags: number;
  scope: number;
  backends: Backend[];
}

const { client, server, walled } = PODS;
const SOME = [client.ip, server.ip, walled.ip, ELSEWHERE.remotePod, ELSEWHERE.neighbourPod];
const { LB_F_CLUSTER_IP, LB_F_LOAD_BALANCER, LB_F_NODE_PORT, LB_F_DSR, LB_F_MAGLEV } = LbServiceFlag;
const { LB_F_SOURCE_RANGES, LB_F_AFFINITY, LB_F_TWO_SCOPES, LB_F_LOCAL } = LbServiceFlag;

const PLANS: [address: string, flags: number, backends: string[], port: number, internal?: string[]][] = [
  ['10.96.0.1', LB_F_CLUSTER_IP, SOME, 80],
  ['10.96.0.2', LB_F_CLUSTER_IP, [client.ip], 80],
  ['10.96.0.3', LB_F_CLUSTER_IP, [], 80],
  ['10.0.250.1', LB_F_LOAD_BALANCER | LB_F_AFFINITY, [...SOME, ELSEWHERE.remoteNode, NODE_IPV4], 80],
  ['10.0.250.2', LB_F_LOAD_BALANCER | LB_F_SOURCE_RANGES, SOME, 80],
  ['10.0.250.3', LB_F_LOAD_BALANCER | LB_F_DSR, [ELSEWHERE.remotePod, ELSEWHERE.neighbourPod], 80],
  ['10.0.250.4', LB_F_LOAD_BALANCER | LB_F_TWO_SCOPES | LB_F_LOCAL, [], 80, [server.ip]],
  ['10.0.250.5', LB_F_LOAD_BALANCER | LB_F_MAGLEV, [...SOME, ELSEWHERE.world], 80],
  ['0.0.0.0', LB_F_NODE_PORT, SOME, 30_080],
];

/** Each for TCP and UDP. */
export const SERVICES: TestService[] = PLANS.flatMap(([address, flags, ips, port, internal], i) =>
  [TCP, UDP].flatMap((l4Proto, j) => {
    const common = { address, flags, port, l4Proto, affinityTimeoutS: 600, sourceRanges: ['198.18.0.0/15'] };
    const of = (backends: string[]) => backends.map(ip => `${ip}:8080`);
    const revNatIndex = 1 + 4 * i + 2 * j;
    const external = { ...common, revNatIndex, backends: of(ips), scope: LbScope.LB_SCOPE_EXTERNAL };
    if (!internal) return [external];
    const inside = { ...external, scope: LbScope.LB_SCOPE_INTERNAL, backends: of(internal) };
    return [external, { ...inside, revNatIndex: revNatIndex + 1 }];
  }),
);

export const FRONTENDS: string[] = [...new Set(PLANS.map(([address]) => address))].filter(
  a => a !== '0.0.0.0',
);
export const NODE_PORT = 30_080;

const key = (address: number, port: number, l4Proto: number, scope: number): string =>
  `${address} ${port} ${l4Proto} ${scope}`;

/** Which services there are. */
export class ServiceModel {
  readonly #frontends = new Map<string, Frontend>();
  readonly #backends = new Map<number, Backend>();

  constructor(services: TestService[]) {
    for (const { address, backends, ...rest } of services) {
      const frontend: Frontend = {
        flags: 0,
        scope: LbScope.LB_SCOPE_EXTERNAL,
        ...rest,
        address: parseIpv4(address),
        backends: backends.map((backend, i) => {
          const [ip = '', port] = backend.split(':');
          return { id: rest.revNatIndex * 100 + i, address: parseIpv4(ip), port: Number(port) };
        }),
      };
      this.#frontends.set(key(frontend.address, frontend.port, frontend.l4Proto, frontend.scope), frontend);
      for (const backend of frontend.backends) this.#backends.set(backend.id, backend);
    }
  }

  /** Clients inside ask for the internal scope where the external one says that there is one. */
  frontend({ address, port }: End, l4Proto: number, client: 'inside' | 'outside'): Frontend | undefined {
    const found = this.#frontends.get(key(address, port, l4Proto, LbScope.LB_SCOPE_EXTERNAL));
    if (client === 'outside' || !found || !(found.flags & LB_F_TWO_SCOPES)) return found;
    return this.#frontends.get(key(address, port, l4Proto, LbScope.LB_SCOPE_INTERNAL));
  }

  backend(id: number): Backend | undefined {
    return this.#backends.get(id);
  }
}

/** Whether a client may, by the service's ranges of addresses. */
export function isInRanges(address: number, ranges: string[] = []): boolean {
  return ranges.some(range => {
    const [base = '', bits] = range.split('/');
    const span = 2 ** (32 - Number(bits));
    return Math.floor(address / span) === Math.floor(parseIpv4(base) / span);
  });
}
