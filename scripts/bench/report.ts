import type { ApiserverResult } from './apiserver.ts';
import type { PacketTime } from './ebpf.ts';
import type { IpamResult } from './ipam.ts';
import type { IpcachePoint } from './ipcache.ts';
import { reachRows } from './reach.ts';
import type { Outcome } from './rounds.ts';
import type { ScaleResult } from './scale.ts';
import type { ServicesResult } from './services/index.ts';
import { isNoisy, NOISY_CALLS } from './stats.ts';

/** All that a run found; also what `--output` writes. */
export interface Results {
  readonly takenAt: string;
  readonly machine: Record<string, string | number>;
  readonly settings: Record<string, unknown>;
  ipam?: IpamResult;
  scale?: ScaleResult;
  apiserver?: ApiserverResult;
  roundTrip?: Outcome[];
  connection?: Outcome[];
  stream?: Outcome[];
  packetTimes?: Record<'same' | 'native' | 'vxlan', PacketTime>;
  ipcache?: IpcachePoint[];
  services?: ServicesResult;
}

/** Columns as wide as their widest cell; the first left, the others right. Pure. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map(row => (row[column] ?? '').length)));
  const line = (row: readonly string[]) =>
    widths
      .map((width, i) => (i === 0 ? (row[i] ?? '').padEnd(width) : (row[i] ?? '').padStart(width)))
      .join('  ')
      .trimEnd();
  return all.map(row => `  ${line(row)}\n`).join('');
}

const fixed = (value: number, digits = 1): string => (Number.isFinite(value) ? value.toFixed(digits) : '-');
const percent = (share: number): string => `${(share * 100).toFixed(0)} %`;

function outcomes(title: string, unit: string, all: readonly Outcome[]): string {
  const rows = all.map(({ key, title: name, value, ratio, baseline, noisy }) => [
    name,
    fixed(value.p50, value.p50 > 1000 ? 0 : 1),
    `${fixed(value.min)}-${fixed(value.max)}`,
    ratio ? fixed(ratio.p50, 2) : '1',
    ratio ? `${all.find(o => o.key === baseline)?.title ?? baseline}` : `(${key})`,
    percent((ratio ?? value).spread),
    noisy ? 'NOISY' : '',
  ]);
  const head = ['', `p50 ${unit}`, 'lowest-highest', 'ratio', 'to', 'spread', ''];
  return `\n${title}\n${table(head, rows)}`;
}

function servicesTables(services: ServicesResult): string {
  const { points, programs, roundTrip, packetTimes: times, packetCosts, programming, change } = services;
  const connects = points.map(({ services: count, connect }) =>
    outcomes(`The connect call, ${count.toLocaleString('en')} services`, 'µs', connect),
  );
  const costs = packetCosts.map(({ title, requestNs, replyNs }) => [
    title,
    fixed(requestNs.p50, 0),
    fixed(replyNs.p50, 0),
    fixed((requestNs.p50 + replyNs.p50) / 2, 0),
  ]);
  const count = programming.services.toLocaleString('en');
  const tables = [
    [`${count} services into empty maps`, fixed(programming.allMs.p50), fixed(programming.allMs.max)],
    [
      'one backend replaced, in the tables',
      fixed(programming.changeMs.p50, 2),
      fixed(programming.changeMs.max),
    ],
    ['one endpoint, from the event to the map', fixed(change.fromEventMs.p50), fixed(change.fromEventMs.max)],
    [
      'one endpoint, from the request to the map',
      fixed(change.fromRequestMs.p50),
      fixed(change.fromRequestMs.max),
    ],
    ...points.flatMap(({ services: n, rulesMs }) =>
      Object.entries(rulesMs).map(([family, ms]) => [
        `${n.toLocaleString('en')} services as rules, ${programs[family as keyof typeof programs]}`,
        fixed(ms),
        '',
      ]),
    ),
  ];
  const memory = points.map(p => `${fixed(p.agentMemoryMb, 0)} MB with ${p.services.toLocaleString('en')}`);
  return [
    ...connects,
    outcomes('Round trip with policies, conntrack, masquerade and services on', 'µs', roundTrip),
    packetTimes(times),
    "\ncil_from_container on made-up packets between two pods of a node (the kernel's counting included)\n",
    table(['', 'request ns', 'reply ns', 'mean'], costs),
    '\nProgramming services\n',
    table(['', 'p50 ms', 'highest'], tables),
    `  agent: ${memory.join(', ')}\n`,
  ].join('');
}

function packetTimes(times: Partial<NonNullable<Results['packetTimes']>>): string {
  const names = { same: 'same node', native: 'across, native', vxlan: 'across, VXLAN' };
  const rows = Object.entries(times).map(([way, { totalNs, perRunNs }]) => [
    names[way as keyof typeof names],
    fixed(totalNs, 0),
    Object.entries(perRunNs)
      .map(([name, ns]) => `${name} ${fixed(ns, 0)}`)
      .join(', '),
  ]);
  return `\neBPF time of one packet (the kernel's counting included)\n${table(['', 'ns', 'of which, a run'], rows)}`;
}

function scaleTables({ points, cleanReadyMs, firstAddMs, idleMemoryMb, away }: ScaleResult): string {
  const names = Object.keys(points[0]?.add ?? {});
  const plugins = points.flatMap(point =>
    names.map(name => [
      `${point.pods} pods, ${name}`,
      fixed(point.add[name]!.p50),
      fixed(point.add[name]!.p99),
      fixed(point.del[name]!.p50),
      fixed(point.del[name]!.p99),
      fixed(point.podsPerSecond[name]!, 0),
      [point.add[name]!, point.del[name]!].some(s => isNoisy(s, NOISY_CALLS)) ? 'NOISY' : '',
    ]),
  );
  const agent = points.map(point => [
    `${point.pods} pods`,
    fixed(point.memoryMb, 0),
    fixed(point.restartedMemoryMb, 0),
    fixed(point.readyMs.p50, 0),
    ...point.roundTrip.flatMap(o => [`${fixed(o.value.p50)}${o.noisy ? ' (noisy)' : ''}`]),
  ]);
  return [
    '\nCNI plugins, from start to exit, in turns; ms\n',
    table(['', 'ADD p50', 'p99', 'DEL p50', 'p99', 'pods/s', ''], plugins),
    '\nThe agent over the pods of its node; round trip p50 in µs between two of them\n',
    table(['', 'MB', 'MB restarted', 'ready ms', ...names.map(name => `rr ${name}`)], agent),
    `  clean node: ready after ${fixed(cleanReadyMs, 0)} ms, first ADD ${fixed(firstAddMs)} ms; idle ${fixed(idleMemoryMb, 0)} MB\n`,
    `  ADD while the agent is away: code ${away.code} after ${fixed(away.milliseconds)} ms\n`,
  ].join('');
}

function ipcacheTable(points: readonly IpcachePoint[]): string {
  const rows = points.map(({ entries, roundTrip, packet, fillMs, readyMs, memoryMb }) => {
    const own = roundTrip.find(o => o.ratio)!;
    return [
      entries.toLocaleString('en'),
      fixed(own.value.p50),
      `${fixed(own.ratio!.p50, 2)}${own.noisy ? ' (noisy)' : ''}`,
      fixed(packet.totalNs, 0),
      fixed(fillMs, 0),
      fixed(readyMs, 0),
      fixed(memoryMb, 0),
    ];
  });
  const head = ['entries', 'rr p50 µs', 'to bare nodes', 'eBPF ns', 'fill ms', 'ready ms', 'agent MB'];
  return `\nOver the entries of cilium_ipcache, native, Host: BPF (entries the cluster does not know)\n${table(head, rows)}`;
}

function apiserverTable({ throughput, delay, diskMs }: ApiserverResult): string {
  const rows = [
    [
      `${throughput.writers} writers, ${throughput.watchers} watchers`,
      fixed(throughput.writesPerSecond, 0),
      '',
      '',
    ],
    [`${delay.watchers} watchers`, fixed(delay.writesPerSecond, 0), fixed(delay.ms.p50), fixed(delay.ms.p99)],
    ['the disk alone, a wait', '', fixed(diskMs.p50, 2), fixed(diskMs.p99, 2)],
  ];
  return `\nThe embedded API server, durable writes\n${table(['', 'writes/s', 'delay p50 ms', 'p99 ms'], rows)}`;
}

function noisyLine(results: Results): string {
  const measured = {
    'round trip': results.roundTrip,
    connection: results.connection,
    stream: results.stream,
  };
  const noisy = Object.entries(measured).flatMap(([what, all]) =>
    (all ?? [])
      .filter(o => o.noisy)
      .map(o => `${o.title} (${what}, ${percent((o.ratio ?? o.value).spread)})`),
  );
  if (noisy.length === 0) return '\nNothing was too noisy to rank.\n';
  return `\nToo noisy to rank after all rounds, do not quote: ${noisy.join('; ')}.\n`;
}

function ipamTable(ipam: IpamResult): string {
  const rows = [
    [
      `operator, ${ipam.nodes} nodes times ${ipam.pools} pools`,
      `${fixed(ipam.operatorCpuSeconds, 2)} s of CPU`,
      '<= 5 s for 5000',
    ],
    ['operator, one more node', `${fixed(ipam.oneMoreNodeCpuMs, 2)} ms of CPU`, '<= 1 ms'],
    ['agent, an address claimed and freed, 10,000 in use', `${fixed(ipam.addressUs, 2)} µs`, '<= 20 µs'],
  ];
  return `\nAddresses\n${table(['', 'measured', 'reach'], rows)}`;
}

/** The whole run as text. Pure. */
export function report(results: Results): string {
  const { roundTrip, connection, stream } = results;
  const reach = reachRows(results).map(r => [r.figure, r.measured, r.reach, r.verdict, r.peers]);
  return [
    roundTrip ? outcomes('Round trip of one byte (TCP_RR)', 'µs', roundTrip) : '',
    connection ? outcomes('A connection for every byte (TCP_CRR)', 'µs', connection) : '',
    stream ? outcomes('One stream, segmentation offload on', 'Mbit/s', stream) : '',
    results.packetTimes ? packetTimes(results.packetTimes) : '',
    results.ipam ? ipamTable(results.ipam) : '',
    results.scale ? scaleTables(results.scale) : '',
    results.ipcache ? ipcacheTable(results.ipcache) : '',
    results.services ? servicesTables(results.services) : '',
    results.apiserver ? apiserverTable(results.apiserver) : '',
    noisyLine(results),
    '\nptp, bridge and kernel VXLAN run without any firewall rule, service or conntrack: they are flattered.\n',
    `\nReach\n${table(['', 'measured', 'reach', '', 'peers, measured elsewhere'], reach)}`,
  ].join('');
}
