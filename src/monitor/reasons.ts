/*
 * Cilium's numbers and texts: below 130 why a packet was counted, from 130 on why it was dropped.
 * The numbers that Fimbria's programs use are `enum drop_reason` in `bpf/lib/abi.h`; a test compares the two.
 */
const texts: Readonly<Record<number, string>> = {
  0: 'Success',
  2: 'Invalid packet',
  3: 'Interface',
  4: 'Interface Decrypted',
  5: 'LB: no backend slot entry found',
  6: 'LB: no backend entry found',
  7: 'LB: reverse entry update failed',
  8: 'LB: reverse entry stale',
  9: 'Fragmented packet',
  10: 'Fragmented packet entry update failed',
  11: 'Missed tail call to custom program',
  130: 'Invalid source mac',
  131: 'Invalid destination mac',
  132: 'Invalid source ip',
  133: 'Policy denied',
  134: 'Invalid packet',
  135: 'CT: Truncated or invalid header',
  136: 'Fragmentation needed',
  137: 'CT: Unknown L4 protocol',
  138: "CT: Can't create entry from packet",
  139: 'Unsupported L3 protocol',
  140: 'Missed tail call',
  141: 'Error writing to packet',
  142: 'Unknown L4 protocol',
  143: 'Unknown ICMPv4 code',
  144: 'Unknown ICMPv4 type',
  145: 'Unknown ICMPv6 code',
  146: 'Unknown ICMPv6 type',
  147: 'Error retrieving tunnel key',
  148: 'Error retrieving tunnel options',
  149: 'Invalid Geneve option',
  150: 'Unknown L3 target address',
  151: 'Stale or unroutable IP',
  152: 'No matching local container found',
  153: 'Error while correcting L3 checksum',
  154: 'Error while correcting L4 checksum',
  155: 'CT: Map insertion failed',
  156: 'Invalid IPv6 extension header',
  157: 'IP fragmentation not supported',
  158: 'Service backend not found',
  160: 'No tunnel/encapsulation endpoint (datapath BUG!)',
  161: 'NAT 46/64 not enabled',
  162: 'Reached EDT rate-limiting drop horizon',
  163: 'Unknown connection tracking state',
  164: 'Local host is unreachable',
  165: 'No configuration available to perform policy decision',
  166: 'Unsupported L2 protocol',
  167: 'No mapping for NAT masquerade',
  168: 'Unsupported protocol for NAT masquerade',
  169: 'FIB lookup failed',
  170: 'Encapsulation traffic is prohibited',
  171: 'Invalid identity',
  172: 'Unknown sender',
  173: 'NAT not needed',
  174: 'Is a ClusterIP',
  175: 'First logical datagram fragment not found',
  176: 'Forbidden ICMPv6 message',
  177: 'Denied by LB src range check',
  178: 'Socket lookup failed',
  179: 'Socket assign failed',
  180: 'Proxy redirection not supported for protocol',
  181: 'Policy denied by denylist',
  182: 'VLAN traffic disallowed by VLAN filter',
  183: 'Incorrect VNI from VTEP',
  184: 'Failed to update or lookup TC buffer',
  185: 'No SID was found for the IP address',
  186: 'SRv6 state was removed during tail call',
  187: 'L3 translation from IPv4 to IPv6 failed (NAT46)',
  188: 'L3 translation from IPv6 to IPv4 failed (NAT64)',
  189: 'Authentication required',
  190: 'No conntrack map found',
  191: 'No nat map found',
  192: 'Invalid ClusterID',
  193: 'Unsupported packet protocol for DSR encapsulation',
  194: 'No egress gateway found',
  195: 'Traffic is unencrypted',
  196: 'TTL exceeded',
  197: 'No node ID found',
  198: 'Rate limited',
  199: 'IGMP handled',
  200: 'IGMP subscribed',
  201: 'Multicast handled',
  202: 'Host datapath not ready',
  203: 'Endpoint policy program not available',
  204: 'No Egress IP configured',
  205: 'Punt to proxy',
};

/** Text of a reason as `bpf metrics list` and `monitor` print it; the number where there is none. */
export function reasonText(reason: number): string {
  return texts[reason] ?? String(reason);
}

/** A source file as Cilium's users know it: the programs' own files are `bpf_lxc.c` and the like, headers as they are. */
export function sourceFileText(file: string): string {
  return file.endsWith('.c') && !file.startsWith('bpf_') ? `bpf_${file}` : file;
}

/** Where on its way a packet was seen. The numbers are `enum trace_point`, which are Cilium's. */
const points: Readonly<Record<number, { readonly name: string; readonly arrow: string }>> = {
  0: { name: 'to-endpoint', arrow: '-> endpoint' },
  1: { name: 'to-proxy', arrow: '-> proxy' },
  2: { name: 'to-host', arrow: '-> host' },
  3: { name: 'to-stack', arrow: '-> stack' },
  4: { name: 'to-overlay', arrow: '-> overlay' },
  5: { name: 'from-endpoint', arrow: '<- endpoint' },
  6: { name: 'from-proxy', arrow: '<- proxy' },
  7: { name: 'from-host', arrow: '<- host' },
  8: { name: 'from-stack', arrow: '<- stack' },
  9: { name: 'from-overlay', arrow: '<- overlay' },
  10: { name: 'from-network', arrow: '<- network' },
  11: { name: 'to-network', arrow: '-> network' },
};

export const TRACE_TO_ENDPOINT = 0;
export const TRACE_FROM_ENDPOINT = 5;

/** `to-endpoint`, as in JSON. */
export function tracePointName(point: number): string {
  return points[point]?.name ?? `unknown(${point})`;
}

/** `-> endpoint 235`, `<- network`: the beginning of a line for people. */
export function tracePointText(point: number, endpointId: number): string {
  const arrow = points[point]?.arrow ?? `-- point ${point}`;
  return point === TRACE_TO_ENDPOINT || point === TRACE_FROM_ENDPOINT ? `${arrow} ${endpointId}` : arrow;
}
