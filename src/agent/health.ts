import { createServer, request, type Server } from 'node:http';
import type { ClusterHealth, ConnectivityStatus, NodeHealth } from '../api/types.ts';
import { messageOf } from '../base/errors.ts';
import { HEALTH_DEVICE } from '../datapath/devices.ts';
import type { EndpointDeps } from '../endpoint/deps.ts';
import { type Endpoint, HEALTH_CONTAINER } from '../endpoint/types.ts';
import { IDENTITY } from '../identity/index.ts';
import { createNetns, deleteNetns, icmpEcho, isNetns, listenTcp } from '../kernel/netns.ts';
import type { Rtnetlink } from '../kernel/rtnetlink.ts';
import type { NodeView } from '../routing/nodes.ts';

/** Port of the health responders, Cilium's. */
export const HEALTH_PORT = 4240;
const HEALTH_IFNAME = 'eth0';
const PROBE_TIMEOUT_MS = 3_000;

/**
 * Makes the node's health endpoint stand: an endpoint like a pod's, `lxc_health`, in a namespace of its own.
 * Namespace, device, id and address outlive the agent; they are made anew only when they are gone.
 * @param netnsPath where the namespace is kept
 * @returns what had to be made
 */
export async function ensureHealthEndpoint(
  deps: EndpointDeps,
  rtnl: Rtnetlink,
  netnsPath: string,
  ipv4: string,
  poolName: string,
): Promise<{ link: boolean; netns: boolean }> {
  const known = deps.store.list().find(e => e.containerId === HEALTH_CONTAINER);
  const link = await rtnl.link(HEALTH_DEVICE);
  const netnsLives = isNetns(netnsPath);
  if (known && link && link.ifindex === known.ifindex && known.ipv4 === ipv4 && netnsLives) {
    if (!deps.datapath.admitted.has(ipv4)) {
      await deps.datapath.attach(known);
      await deps.datapath.admit(known);
    }
    return { link: false, netns: false };
  }
  if (link) await deps.datapath.deleteLink(HEALTH_DEVICE);
  if (!netnsLives) {
    await deleteNetns(netnsPath);
    await createNetns(netnsPath);
  }
  const created = await deps.datapath.createLink({
    hostName: HEALTH_DEVICE,
    netns: netnsPath,
    ifname: HEALTH_IFNAME,
    ipv4,
  });
  const endpoint: Endpoint = {
    id: known?.id ?? deps.store.reserveId().id,
    containerId: HEALTH_CONTAINER,
    ifname: '',
    netns: netnsPath,
    ipv4,
    poolName,
    hostIfname: HEALTH_DEVICE,
    ...created,
    identity: IDENTITY.health,
    labels: ['reserved:health'],
    createdAt: new Date().toISOString(),
  };
  await deps.datapath.attach(endpoint);
  await deps.datapath.admit(endpoint);
  deps.store.put(endpoint);
  return { link: true, netns: !netnsLives };
}

/** Answers `GET /hello` for other nodes' probes: inside the health namespace and on the node's own address. */
export class HealthResponder {
  readonly #servers = new Map<string, Server>();

  /** Listening again in a namespace that was made anew replaces the former. @throws FimbriaError when the port is taken */
  async listen(where: { netns?: string; address: string }): Promise<void> {
    const key = where.netns ?? '';
    await this.#end(this.#servers.get(key));
    const fd = await listenTcp({ ...where, port: HEALTH_PORT });
    const server = createServer((req, res) => {
      const known = req.url === '/hello';
      res
        .writeHead(known ? 200 : 404, { 'content-type': 'text/plain' })
        .end(known ? 'hello\n' : 'not found\n');
    });
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen({ fd }, resolve));
    this.#servers.set(key, server);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#servers.values()].map(server => this.#end(server)));
  }

  async #end(server: Server | undefined): Promise<void> {
    server?.closeAllConnections();
    await new Promise(resolve => (server ? server.close(resolve) : resolve(undefined)));
  }
}

/** Probes every node's stack and health endpoint, and remembers the outcome for `status`. */
export class HealthProber {
  #results = new Map<string, NodeHealth>();
  #timestamp: string | undefined;

  /** One round; nodes are probed side by side. Never throws. */
  async probe(nodes: readonly NodeView[], selfName: string): Promise<void> {
    const results = await Promise.all(nodes.map(node => probeNode(node, node.name === selfName)));
    this.#results = new Map(results.map(r => [r.name, r]));
    this.#timestamp = new Date().toISOString();
  }

  summary(): ClusterHealth {
    const nodes = [...this.#results.values()].sort((a, b) =>
      a.local !== b.local ? (a.local ? -1 : 1) : a.name < b.name ? -1 : 1,
    );
    return {
      nodes,
      reachable: nodes.filter(isReachable).length,
      total: nodes.length,
      ...(this.#timestamp ? { timestamp: this.#timestamp } : {}),
    };
  }
}

function isReachable(node: NodeHealth): boolean {
  const probes = [node.host.icmp, node.host.http, node.endpoint?.icmp, node.endpoint?.http];
  return probes.every(p => p !== undefined && !p.status);
}

async function probeNode(node: NodeView, local: boolean): Promise<NodeHealth> {
  const path = async (ip: string): Promise<NodeHealth['host']> => {
    const [icmp, http] = await Promise.all([probeIcmp(ip), probeHttp(ip)]);
    return { ip, icmp, http };
  };
  const [host, endpoint] = await Promise.all([
    path(node.ipv4),
    node.healthIpv4 ? path(node.healthIpv4) : undefined,
  ]);
  return {
    name: node.name,
    ...(local ? { local: true } : {}),
    'primary-address': node.ipv4,
    ...(node.healthIpv4 ? { 'health-endpoint': node.healthIpv4 } : {}),
    host,
    ...(endpoint ? { endpoint } : {}),
  };
}

/** One ICMP echo. A failure is in `status`. */
export async function probeIcmp(address: string): Promise<ConnectivityStatus> {
  try {
    const { rttUs } = await icmpEcho({ address, timeoutMs: PROBE_TIMEOUT_MS });
    return { latency: Math.round(rttUs * 1000) };
  } catch (error) {
    return { status: messageOf(error) };
  }
}

function probeHttp(address: string): Promise<ConnectivityStatus> {
  const start = process.hrtime.bigint();
  return new Promise(resolve => {
    const call = request(
      { host: address, port: HEALTH_PORT, path: '/hello', timeout: PROBE_TIMEOUT_MS, agent: false },
      response => {
        response.resume();
        const latency = Number(process.hrtime.bigint() - start);
        resolve(response.statusCode === 200 ? { latency } : { status: `answered ${response.statusCode}` });
      },
    );
    call.on('timeout', () => call.destroy(new Error(`no answer within ${PROBE_TIMEOUT_MS} ms`)));
    call.on('error', error => resolve({ status: error.message }));
    call.end();
  });
}
