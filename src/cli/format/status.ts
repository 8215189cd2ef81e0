import type {
  ClusterHealth,
  ComponentStatus,
  ConnectivityStatus,
  ControllerStatus,
  NodeHealth,
  PathStatus,
  StatusResponse,
} from '../../api/types.ts';
import { goDuration, timeSince } from './duration.ts';
import { table, tabulate } from './tabwriter.ts';

const onOff = (enabled: boolean): string => (enabled ? 'Enabled' : 'Disabled');
const isBad = (component: ComponentStatus | undefined): boolean =>
  component?.state === 'Warning' || component?.state === 'Failure';

/** The first thing that is wrong, as `--brief` words it; undefined when all is well. Pure. */
export function firstProblem(status: StatusResponse): string | undefined {
  const components: [string, ComponentStatus | undefined][] = [
    ['kvstore', status.kvstore],
    ['kubernetes', status.kubernetes],
    ['cilium', status.cilium],
    ['cni-file', status['cni-file']],
    ['cilium-health', status['cilium-health']],
  ];
  for (const [name, component] of components) if (isBad(component)) return `${name}: ${component?.msg ?? ''}`;
  for (const controller of status.controllers) {
    const message = controller.status['last-failure-msg'];
    if ((controller.status['consecutive-failure-count'] ?? 0) > 0 && message) {
      return `controller ${controller.name}: ${message}`;
    }
  }
  return undefined;
}

/** What `status --brief` prints, with its line feed. Pure. */
export function formatBrief(status: StatusResponse): string {
  const problem = firstProblem(status);
  return problem === undefined ? 'OK\n' : `error in ${problem}\n`;
}

function devices(status: StatusResponse): string {
  const { deviceList = [], 'direct-routing-device': direct } = status['kube-proxy-replacement'];
  return deviceList
    .map(({ name, ip }) => `${name}   ${ip.join(' ')}${name === direct ? ' (Direct Routing)' : ''}`)
    .join(', ');
}

function masquerading({ masquerading: how }: StatusResponse): string {
  if (how.mode === 'Disabled' || (!how.ipv4 && !how.ipv6)) return 'Disabled';
  const families = `[IPv4: ${onOff(how.ipv4)}, IPv6: ${onOff(how.ipv6)}]`;
  if (how.mode === 'IPTables') return `IPTables ${families}`;
  return `BPF\t[${(how.devices ?? []).join(', ')}]\t${how['snat-exclusion-cidr-v4'] ?? ''}  ${families}`;
}

function controllers(all: ControllerStatus[], verbose: boolean, now: number): string {
  const isFailing = ({ status }: ControllerStatus): boolean => (status['consecutive-failure-count'] ?? 0) > 0;
  const shown = all.filter(controller => verbose || isFailing(controller));
  const healthy = all.length - all.filter(isFailing).length;
  const head = `Controller Status:\t${healthy}/${all.length} healthy\n`;
  if (shown.length === 0) return head;
  const rows = shown.map(({ name, status }) => [
    `  ${name}`,
    timeSince(status['last-success-timestamp'], now),
    timeSince(status['last-failure-timestamp'], now),
    String(status['consecutive-failure-count'] ?? 0),
    (status['last-failure-msg'] || 'no error').replaceAll(/\s+/g, ' '),
  ]);
  rows.sort((a, b) => (a.join('\t') < b.join('\t') ? -1 : 1));
  // Laid out by itself: its lines have no tab any more and so end the columns around them.
  return (
    head + table([['  Name', 'Last success', 'Last error', 'Count', 'Message'], ...rows], { minWidth: 0 })
  );
}

function serviceDetails(status: StatusResponse): string {
  const { mode, features } = status['kube-proxy-replacement'];
  const state = onOff(mode === 'True');
  const rows = [
    ['  Status:', mode],
    ['  Socket LB:', state],
    ['  Socket LB Tracing:', state],
    ['  Socket LB Coverage:', features?.['socket-lb-coverage'] ?? 'Full'],
    ...(mode === 'True' ? [['  Devices:', devices(status)]] : []),
    ...(features
      ? [
          ['  Mode:', features.mode],
          ['  Backend Selection:', features['backend-selection']],
        ]
      : []),
    ['  Session Affinity:', state],
    ['  NAT46/64 Support:', 'Disabled'],
    ['  XDP Acceleration:', 'Disabled'],
    ['  Services:'],
    ['  - ClusterIP:', state],
    ['  - NodePort:', features ? `Enabled (Range: ${features['node-port-range']})` : state],
    ['  - LoadBalancer:', state],
    ['  - externalIPs:', state],
    ['  - HostPort:', state],
  ];
  return `KubeProxyReplacement Details:\n${table(rows, { minWidth: 0 })}`;
}

function mapSizes({ 'bpf-maps': maps }: StatusResponse): string {
  const ratio = maps['dynamic-size-ratio'] ?? 0;
  const sizing = ratio > 0 && ratio <= 1 ? `on (ratio: ${ratio.toFixed(6)})` : 'off';
  const counted = maps.maps.some(map => map.entries !== undefined);
  const rows = [
    ['  Name', 'Size', ...(counted ? ['Pressure'] : [])],
    ...maps.maps.map(({ name, size, entries }) => [
      `  ${name}`,
      String(size),
      ...(counted ? [entries === undefined ? '-' : `${((100 * entries) / size).toFixed(1)} %`] : []),
    ]),
  ];
  return `BPF Maps:\tdynamic sizing: ${sizing}\n${table(rows, { minWidth: 0 })}`;
}

const probeOk = (probe: ConnectivityStatus | undefined): boolean => probe !== undefined && !probe.status;
const pathOk = (path: PathStatus): boolean => probeOk(path.icmp) && probeOk(path.http);
const nodeOk = (node: NodeHealth): boolean => pathOk(node.host) && (!node.endpoint || pathOk(node.endpoint));

function formatPath(what: string, path: PathStatus): string {
  const line = (name: string, probe: ConnectivityStatus | undefined): string => {
    if (probe === undefined) return '';
    return `      ${name}:\t${probe.status || `OK, RTT=${goDuration(probe.latency ?? 0)}`}\n`;
  };
  return `    ${what} connectivity to ${path.ip}:\n${line('ICMP to stack', path.icmp)}${line('HTTP to agent', path.http)}`;
}

/** The nodes that are shown: this one first, then by name. */
function sortedNodes(cluster: ClusterHealth): NodeHealth[] {
  return cluster.nodes.toSorted(
    (a, b) => Number(b.local ?? false) - Number(a.local ?? false) || (a.name < b.name ? -1 : 1),
  );
}

function clusterHealth({ cluster }: StatusResponse, verbose: boolean): string {
  const when = cluster.timestamp === undefined ? '' : `\t(${cluster.timestamp.replace(/\.\d+Z$/, 'Z')})`;
  let text = `Cluster health:\t${cluster.reachable}/${cluster.total} reachable${when}\nName\tIP\tNode\tEndpoints\n`;
  for (const node of sortedNodes(cluster)) {
    const name = `  ${node.name}${node.local ? ' (localhost)' : ''}`;
    if (verbose) {
      text += `${name}:\n${formatPath('Host', node.host)}`;
      if (node.endpoint) text += formatPath('Endpoint', node.endpoint);
    } else if (!nodeOk(node)) {
      const endpoint = node.endpoint === undefined ? '0/0' : `${Number(pathOk(node.endpoint))}/1`;
      text += `${name}\t${node['primary-address']}\t${Number(pathOk(node.host))}/1\t${endpoint}\n`;
    }
  }
  return text;
}

/**
 * What `status` prints. Pure.
 * @param options.verbose everything, also addresses, controllers, map sizes and the probes of each node
 * @param options.now Unix time in milliseconds that "ago" counts from
 */
export function formatStatus(status: StatusResponse, options: { verbose: boolean; now: number }): string {
  const { verbose, now } = options;
  const line = (label: string, ...cells: string[]): string => `${label}:\t${cells.join('\t')}\n`;
  const component = (label: string, { state, msg }: ComponentStatus): string => line(label, state, msg ?? '');
  const kpr = status['kube-proxy-replacement'];
  let text = component('KVStore', status.kvstore ?? { state: 'Disabled' });
  text += component('Kubernetes', status.kubernetes);
  const versions = status.kubernetes['k8s-api-versions'] ?? [];
  if (versions.length > 0) {
    text += line(
      'Kubernetes APIs',
      `[${versions
        .toSorted()
        .map(version => `"${version}"`)
        .join(', ')}]`,
    );
  }
  const deviceText = devices(status);
  text += line('KubeProxyReplacement', kpr.mode, deviceText === '' ? '' : `[${deviceText}]`);
  text += line('Host firewall', status['host-firewall']?.mode ?? 'Disabled');
  text += line('SRv6', onOff(status.srv6?.enabled ?? false));
  text += line('CNI Chaining', status['cni-chaining'].mode);
  text += line('CNI Config file', status['cni-file'].msg ?? status['cni-file'].state);
  text += line('Cilium', `${status.cilium.state}   ${status.cilium.msg ?? ''}`);
  const stale = Object.entries(status.stale ?? {}).toSorted(([a], [b]) => (a < b ? -1 : 1));
  if (stale.length > 0) {
    text += line('Stale status', stale.map(([probe, since]) => `"${probe}" since ${since}`).join(', '));
  }
  text += line('NodeMonitor', status.nodeMonitor.msg ?? status.nodeMonitor.state);
  text += component('Cilium health daemon', status['cilium-health']);
  text += line('IPAM', status.ipam.status);
  if (verbose) {
    const addresses = Object.entries(status.ipam.allocations).map(([ip, owner]) => `  ${ip} (${owner})\n`);
    text += `Allocated addresses:\n${addresses.toSorted().join('')}`;
  }
  text += line('IPv4 BIG TCP', onOff(status['ipv4-big-tcp']?.enabled ?? false));
  text += line('IPv6 BIG TCP', onOff(status['ipv6-big-tcp']?.enabled ?? false));
  text += line('BandwidthManager', onOff(status['bandwidth-manager']?.enabled ?? false));
  const { network, host, 'host-reason': why } = status.routing;
  text += line('Routing', `Network: ${network}`, `Host: ${host}${verbose && why ? ` (${why})` : ''}`);
  text += line('Attach Mode', status['attach-mode'] === 'tcx' ? 'TCX' : 'Legacy TC');
  text += line('Device Mode', status['datapath-mode']);
  text += line('Masquerading', masquerading(status));
  if (verbose && status['clock-source']) text += line('Clock Source for BPF', status['clock-source']);
  text += controllers(status.controllers, verbose, now);
  text +=
    status.proxy === null
      ? line('Proxy Status', 'No managed proxy redirect')
      : line(
          'Proxy Status',
          `OK, ip ${status.proxy.ip}, ${status.proxy.redirects} redirects active on ports ${status.proxy['port-range']}`,
        );
  const range = status['identity-range'];
  text += line('Global Identity Range', `min ${range['min-identity']}, max ${range['max-identity']}`);
  text += line(
    'Hubble',
    status.hubble.state,
    ...(status.hubble.metrics ? [`Metrics: ${status.hubble.metrics}`] : []),
  );
  if (verbose) text += serviceDetails(status) + mapSizes(status);
  text += line('Encryption', status.encryption?.mode ?? 'Disabled', '');
  text += clusterHealth(status, verbose);
  return tabulate(text, { minWidth: 2, padding: 3 });
}
