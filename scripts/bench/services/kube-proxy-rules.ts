import { createHash } from 'node:crypto';

/** A service as kube-proxy is told of it. */
export interface RuleService {
  /** `namespace/name`, without a port's name. */
  readonly name: string;
  readonly clusterIp: string;
  readonly port: number;
  readonly nodePort?: number;
  readonly backends: readonly { readonly address: string; readonly port: number }[];
}

const hash = (text: string): string =>
  createHash('sha256')
    .update(text)
    .digest('base64')
    .replace(/[^A-Z2-7]/gi, 'A')
    .slice(0, 16)
    .toUpperCase();

const MASQUERADE_BIT = '0x4000';

/**
 * What `iptables-restore` gets from kube-proxy's iptables mode (1.29 and later), all services at once, TCP only. Pure.
 * @param podRange cluster's pods, whose own requests are not masqueraded
 */
export function iptablesRules(services: readonly RuleService[], podRange: string): string {
  const chains: string[] = [];
  const lines: string[] = [];
  const portals: string[] = [];
  const nodePorts: string[] = [];
  for (const { name, clusterIp, port, nodePort, backends } of services) {
    const svc = `KUBE-SVC-${hash(name)}`;
    chains.push(svc);
    portals.push(
      `-A KUBE-SERVICES -m comment --comment "${name} cluster IP" -m tcp -p tcp -d ${clusterIp}/32 --dport ${port} -j ${svc}`,
    );
    lines.push(
      `-A ${svc} -m comment --comment "${name} cluster IP" -m tcp -p tcp -d ${clusterIp}/32 --dport ${port} ! -s ${podRange} -j KUBE-MARK-MASQ`,
    );
    if (nodePort !== undefined) {
      const ext = `KUBE-EXT-${hash(name)}`;
      chains.push(ext);
      nodePorts.push(
        `-A KUBE-NODEPORTS -m comment --comment ${name} -m tcp -p tcp --dport ${nodePort} -j ${ext}`,
      );
      lines.push(
        `-A ${ext} -m comment --comment "masquerade traffic for ${name} external destinations" -j KUBE-MARK-MASQ`,
        `-A ${ext} -j ${svc}`,
      );
    }
    for (const [i, backend] of backends.entries()) {
      const to = `${backend.address}:${backend.port}`;
      const sep = `KUBE-SEP-${hash(`${name} ${to}`)}`;
      const left = backends.length - i;
      const random = left > 1 ? ` -m statistic --mode random --probability ${(1 / left).toFixed(10)}` : '';
      chains.push(sep);
      lines.push(
        `-A ${svc} -m comment --comment "${name} -> ${to}"${random} -j ${sep}`,
        `-A ${sep} -m comment --comment ${name} -s ${backend.address} -j KUBE-MARK-MASQ`,
        `-A ${sep} -m comment --comment ${name} -m tcp -p tcp -j DNAT --to-destination ${to}`,
      );
    }
  }
  const always = ['KUBE-SERVICES', 'KUBE-NODEPORTS', 'KUBE-POSTROUTING', 'KUBE-MARK-MASQ'];
  return [
    '*filter',
    ':KUBE-FORWARD - [0:0]',
    ':KUBE-PROXY-FIREWALL - [0:0]',
    ':KUBE-SERVICES - [0:0]',
    '-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL',
    '-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD',
    '-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
    '-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP',
    `-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark ${MASQUERADE_BIT}/${MASQUERADE_BIT} -j ACCEPT`,
    '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
    'COMMIT',
    '*nat',
    ...[...always, ...chains].map(chain => `:${chain} - [0:0]`),
    '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
    '-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
    '-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
    `-A KUBE-MARK-MASQ -j MARK --or-mark ${MASQUERADE_BIT}`,
    `-A KUBE-POSTROUTING -m mark ! --mark ${MASQUERADE_BIT}/${MASQUERADE_BIT} -j RETURN`,
    `-A KUBE-POSTROUTING -j MARK --xor-mark ${MASQUERADE_BIT}`,
    '-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully',
    ...portals,
    '-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS',
    ...nodePorts,
    ...lines,
    'COMMIT',
    '',
  ].join('\n');
}

/** What `nft -f` gets from kube-proxy's nftables mode, all services at once, TCP only. Pure. */
export function nftablesRules(
  services: readonly RuleService[],
  podRange: string,
  nodeAddresses: readonly string[],
): string {
  const chains: string[] = [];
  const serviceIps: string[] = [];
  const nodePorts: string[] = [];
  const clusterIps: string[] = [];
  for (const { name, clusterIp, port, nodePort, backends } of services) {
    const id = `${hash(name)}-${name}/tcp/http`;
    const service = `service-${id}`;
    clusterIps.push(clusterIp);
    serviceIps.push(`${clusterIp} . tcp . ${port} : goto ${service}`);
    const endpoints = backends.map(
      backend =>
        `endpoint-${hash(`${name} ${backend.port}`)}-${name}/tcp/__${backend.address}/${backend.port}`,
    );
    for (const [i, { address, port: to }] of backends.entries())
      chains.push(
        `chain ${endpoints[i]} {`,
        `  ip saddr ${address} jump mark-for-masquerade`,
        `  meta l4proto tcp dnat to ${address}:${to}`,
        '}',
      );
    chains.push(
      `chain ${service} {`,
      `  ip daddr ${clusterIp} tcp dport ${port} ip saddr != ${podRange} jump mark-for-masquerade`,
      `  numgen random mod ${backends.length} vmap { ${endpoints.map((e, i) => `${i} : goto ${e}`).join(', ')} }`,
      '}',
    );
    if (nodePort === undefined) continue;
    nodePorts.push(`tcp . ${nodePort} : goto external-${id}`);
    chains.push(`chain external-${id} {`, '  jump mark-for-masquerade', `  goto ${service}`, '}');
  }
  const elements = (list: readonly string[]): string =>
    list.length === 0 ? '' : `elements = { ${list.join(',\n')} }`;
  return [
    'table ip kube-proxy {',
    'chain mark-for-masquerade {',
    `  meta mark set meta mark or ${MASQUERADE_BIT}`,
    '}',
    ...chains,
    `set cluster-ips { type ipv4_addr; ${elements(clusterIps)} }`,
    `set nodeport-ips { type ipv4_addr; ${elements(nodeAddresses)} }`,
    'map no-endpoint-services { type ipv4_addr . inet_proto . inet_service : verdict; }',
    'map no-endpoint-nodeports { type inet_proto . inet_service : verdict; }',
    'map firewall-ips { type ipv4_addr . inet_proto . inet_service : verdict; }',
    `map service-ips { type ipv4_addr . inet_proto . inet_service : verdict; ${elements(serviceIps)} }`,
    `map service-nodeports { type inet_proto . inet_service : verdict; ${elements(nodePorts)} }`,
    'chain services {',
    '  ip daddr . meta l4proto . th dport vmap @service-ips',
    '  ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports',
    '}',
    'chain service-endpoints-check {',
    '  ip daddr . meta l4proto . th dport vmap @no-endpoint-services',
    '  fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @no-endpoint-nodeports',
    '}',
    'chain firewall-check {',
    '  ip daddr . meta l4proto . th dport vmap @firewall-ips',
    '}',
    'chain cluster-ips-check {',
    '  ip daddr @cluster-ips reject',
    '}',
    'chain masquerading {',
    `  meta mark and ${MASQUERADE_BIT} == 0 return`,
    `  meta mark set meta mark xor ${MASQUERADE_BIT}`,
    '  masquerade fully-random',
    '}',
    'chain filter-prerouting-pre-dnat { type filter hook prerouting priority -110; ct state new jump firewall-check; }',
    'chain filter-output-pre-dnat { type filter hook output priority -110; ct state new jump firewall-check; }',
    'chain filter-input { type filter hook input priority 0; ct state new jump service-endpoints-check; }',
    'chain filter-forward { type filter hook forward priority 0; ct state new jump service-endpoints-check; ct state new jump cluster-ips-check; }',
    'chain filter-output { type filter hook output priority 0; ct state new jump service-endpoints-check; ct state new jump cluster-ips-check; }',
    'chain nat-prerouting { type nat hook prerouting priority -100; jump services; }',
    'chain nat-output { type nat hook output priority -100; jump services; }',
    'chain nat-postrouting { type nat hook postrouting priority 100; jump masquerading; }',
    '}',
    '',
  ].join('\n');
}
