/* Names of ICMP types and codes, as packet tools and Cilium's monitor print them. */

interface IcmpType {
  readonly name: string;
  readonly codes?: Readonly<Record<number, string>>;
}

const v4: Readonly<Record<number, IcmpType>> = {
  0: { name: 'EchoReply' },
  3: {
    name: 'DestinationUnreachable',
    codes: {
      0: 'Net',
      1: 'Host',
      2: 'Protocol',
      3: 'Port',
      4: 'FragmentationNeeded',
      5: 'SourceRoutingFailed',
      6: 'NetUnknown',
      7: 'HostUnknown',
      8: 'SourceIsolated',
      9: 'NetAdminProhibited',
      10: 'HostAdminProhibited',
      11: 'NetTOS',
      12: 'HostTOS',
      13: 'CommAdminProhibited',
      14: 'HostPrecedence',
      15: 'PrecedenceCutoff',
    },
  },
  4: { name: 'SourceQuench' },
  5: { name: 'Redirect', codes: { 0: 'Net', 1: 'Host', 2: 'TOS+Net', 3: 'TOS+Host' } },
  8: { name: 'EchoRequest' },
  9: { name: 'RouterAdvertisement' },
  10: { name: 'RouterSolicitation' },
  11: { name: 'TimeExceeded', codes: { 0: 'TTLExceeded', 1: 'FragmentReassemblyTimeExceeded' } },
  12: { name: 'ParameterProblem', codes: { 0: 'PointerIndicatesError', 1: 'MissingOption', 2: 'BadLength' } },
  13: { name: 'TimestampRequest' },
  14: { name: 'TimestampReply' },
};

const v6: Readonly<Record<number, IcmpType>> = {
  1: {
    name: 'DestinationUnreachable',
    codes: {
      0: 'NoRouteToDst',
      1: 'AdminProhibited',
      2: 'BeyondScopeOfSrc',
      3: 'AddressUnreachable',
      4: 'PortUnreachable',
      5: 'SrcAddressFailedPolicy',
      6: 'RejectRouteToDst',
    },
  },
  2: { name: 'PacketTooBig' },
  3: { name: 'TimeExceeded', codes: { 0: 'HopLimitExceeded', 1: 'FragmentReassemblyTimeExceeded' } },
  4: { name: 'ParameterProblem' },
  128: { name: 'EchoRequest' },
  129: { name: 'EchoReply' },
  130: { name: 'MulticastListenerQueryMessage' },
  131: { name: 'MulticastListenerReportMessage' },
  132: { name: 'MulticastListenerDoneMessage' },
  133: { name: 'RouterSolicitation' },
  134: { name: 'RouterAdvertisement' },
  135: { name: 'NeighborSolicitation' },
  136: { name: 'NeighborAdvertisement' },
  137: { name: 'Redirect' },
  143: { name: 'MLDv2MulticastListenerReportMessageV2' },
};

/** `EchoRequest`, `DestinationUnreachable(Port)`; numbers where there is no name. */
export function icmpText(version: 4 | 6, type: number, code: number): string {
  const known = (version === 4 ? v4 : v6)[type];
  if (known === undefined) return `${type}(${code})`;
  if (known.codes === undefined) return code === 0 ? known.name : `${known.name}(Code: ${code})`;
  return `${known.name}(${known.codes[code] ?? `Code: ${code}`})`;
}
